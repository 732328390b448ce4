//! OCI layouts, as directories and in archives, and what `docker save` writes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use plimsoll_model::{Digest, Platform, Reference};
use serde::Deserialize;

use super::archive::Archive;
use super::error::SourceError;
use super::{Content, pick_platform};
use crate::layer::LayerSource;
use crate::manifest::{
    Child, ImageConfig, Index, MAX_CONFIG_BYTES, MAX_ENTRIES, MAX_MANIFEST_BYTES, Manifest, ManifestError,
};
use crate::registry::verify::{self, Hasher};

/// Indexes within indexes.
pub(super) const MAX_NESTING: usize = 4;
/// The name of an image in a layout (OCI image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name that containerd writes beside it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A place of blobs.
pub(super) enum Place {
    Dir(PathBuf),
    Archive(Archive),
}

/// Bytes and their number, where known.
type Opened = (Box<dyn Read + Send>, u64);

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Dir(path) => path,
            Self::Archive(archive) => &archive.path,
        }
    }

    fn corrupt(&self, detail: impl Into<String>) -> SourceError {
        SourceError::Corrupt { path: self.path().to_owned(), detail: detail.into() }
    }

    /// Opens a file of the layout by a name that we made ourselves.
    fn open(&self, name: &str) -> Result<Opened, SourceError> {
        match self {
            Self::Dir(dir) => {
                let path = dir.join(name);
                let failed = |source| SourceError::Io { path: path.clone(), source };
                // Opening a FIFO would wait for ever.
                if !std::fs::metadata(&path).map_err(failed)?.is_file() {
                    return Err(self.corrupt(format!("{name} is not a file")));
                }
                let file = File::open(&path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                Ok((Box::new(file), size))
            }
            Self::Archive(archive) => match archive.read(name) {
                Some((window, size)) => Ok((Box::new(window), size)),
                None => Err(self.corrupt(format!("{name} is missing"))),
            },
        }
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Opened, SourceError> {
        self.open(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
    }

    /// A file by the name that an archive's manifest gives it.
    pub(super) fn named(&self, name: &str) -> Result<Opened, SourceError> {
        match self {
            Self::Dir(_) => Err(self.corrupt("not an archive")),
            Self::Archive(_) => self.open(name),
        }
    }

    fn small(&self, name: &str, opened: Opened, limit: usize) -> Result<Vec<u8>, SourceError> {
        let (reader, _) = opened;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        reader
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| SourceError::Io { path: self.path().join(name), source })?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(SourceError::TooLarge { path: self.path().to_owned(), what: name.to_owned(), limit });
        }
        Ok(bytes)
    }

    fn verified(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.small(digest.as_str(), self.blob(digest)?, limit)?;
        if verify::is(&bytes, digest) {
            return Ok(bytes);
        }
        let mut hasher = Hasher::like(digest);
        hasher.update(&bytes);
        let what = format!("{}: blob {digest}", self.path().display());
        Err(SourceError::Digest { what, expected: digest.clone(), actual: hasher.finish() })
    }
}

/// Opens an image of a layout.
pub(super) fn layout(
    place: &Place,
    image: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Content, SourceError> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let bytes = place.small("oci-layout", place.open("oci-layout")?, 64 * 1024)?;
    match serde_json::from_slice::<Version>(&bytes) {
        Ok(found) if found.version.starts_with("1.") => {}
        Ok(found) => return Err(place.corrupt(format!("layout version {:?} is not known", found.version))),
        Err(error) => return Err(place.corrupt(format!("oci-layout: {error}"))),
    }
    let bytes = place.small("index.json", place.open("index.json")?, MAX_MANIFEST_BYTES)?;
    let index = match Manifest::parse(&bytes, crate::manifest::media::OCI_INDEX)? {
        Manifest::Index(index) => index,
        _ => return Err(place.corrupt("index.json is not an index")),
    };
    let name = place.path().display().to_string();
    let mut child = choose(&index, image, platform, &name)?.clone();
    for _ in 0..MAX_NESTING {
        let digest = child.descriptor.digest.clone();
        let bytes = place.verified(&digest, MAX_MANIFEST_BYTES)?;
        match Manifest::parse(&bytes, &child.descriptor.media_type)? {
            Manifest::Index(inner) => child = pick_platform(&inner, platform, &name)?.clone(),
            Manifest::NotAnImage { artifact_type } => {
                return Err(SourceError::NotAnImage { name, artifact_type });
            }
            Manifest::Image(image) => {
                let bytes = place.verified(&image.config.digest, MAX_CONFIG_BYTES)?;
                let config = ImageConfig::parse(&bytes, image.layers.len())?;
                return Ok(Content::of_manifest(digest, image, config));
            }
        }
    }
    Err(SourceError::Nested { place: name })
}

fn names(child: &Child) -> impl Iterator<Item = &str> {
    let annotations = &child.descriptor.annotations;
    [REF_NAME, CONTAINERD_NAME].into_iter().filter_map(|key| annotations.get(key)).map(String::as_str)
}

/// The entry of a layout's index that is meant: by name, by digest, or the only one for the platform.
fn choose<'a>(
    index: &'a Index,
    image: Option<&str>,
    platform: Option<&Platform>,
    place: &str,
) -> Result<&'a Child, SourceError> {
    let available = || {
        let all = index.children.iter().filter(|child| child.runnable());
        all.map(|child| names(child).next().unwrap_or_else(|| child.descriptor.digest.as_str()).to_owned())
            .collect()
    };
    let Some(wanted) = image else {
        let mut runnable = index.children.iter().filter(|child| child.runnable());
        return match (runnable.next(), runnable.next()) {
            (None, _) => match index.children.as_slice() {
                // Nothing runnable: the only entry says what it is once it is read.
                [only] => Ok(only),
                _ => Err(SourceError::NotFound {
                    place: place.to_owned(),
                    wanted: String::new(),
                    available: available(),
                }),
            },
            (Some(only), None) => Ok(only),
            _ if index.children.iter().all(|child| !child.runnable() || child.platform.is_some()) => {
                let mut names: Vec<&str> = index.children.iter().flat_map(names).collect();
                names.sort_unstable();
                names.dedup();
                if names.len() > 1 {
                    return Err(SourceError::Ambiguous { place: place.to_owned(), available: available() });
                }
                pick_platform(index, platform, place)
            }
            _ => Err(SourceError::Ambiguous { place: place.to_owned(), available: available() }),
        };
    };
    let full = wanted.parse::<Reference>().ok();
    let fits = |child: &&Child| {
        child.descriptor.digest.as_str() == wanted
            || names(child).any(|name| {
                name == wanted
                    || full.as_ref().is_some_and(|full| name.parse::<Reference>().ok().as_ref() == Some(full))
            })
    };
    let found: Vec<Child> = index.children.iter().filter(fits).cloned().collect();
    if found.len() > 1 {
        // One name for several platforms.
        let narrowed = Index { children: found, annotations: Default::default() };
        let digest = pick_platform(&narrowed, platform, place)?.descriptor.digest.clone();
        let same = |child: &&Child| fits(child) && child.descriptor.digest == digest;
        if let Some(child) = index.children.iter().find(same) {
            return Ok(child);
        }
    }
    index.children.iter().find(fits).ok_or_else(|| SourceError::NotFound {
        place: place.to_owned(),
        wanted: wanted.to_owned(),
        available: available(),
    })
}

/// One image of a `docker save` archive.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    repo_tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// Opens an image of a `docker save` archive. Its layers are plain tar files, whose digests are computed by
/// reading them once, unless their names are digests, which the reading of the layer verifies.
pub(super) fn saved(place: &Place, image: Option<&str>) -> Result<Content, SourceError> {
    let Place::Archive(archive) = place else { return Err(place.corrupt("not an archive")) };
    if !archive.has("manifest.json") {
        return Err(place.corrupt("manifest.json is missing: not what docker save writes"));
    }
    let bytes = place.small("manifest.json", place.named("manifest.json")?, MAX_MANIFEST_BYTES)?;
    let all: Vec<Saved> =
        serde_json::from_slice(&bytes).map_err(|error| place.corrupt(format!("manifest.json: {error}")))?;
    let name = archive.path.display().to_string();
    let available = || all.iter().flat_map(|saved| saved.repo_tags.iter().flatten().cloned()).collect();
    let saved = match (image, all.as_slice()) {
        (None, [only]) => only,
        (None, []) => return Err(place.corrupt("manifest.json lists no image")),
        (None, _) => return Err(SourceError::Ambiguous { place: name, available: available() }),
        (Some(wanted), all) => {
            let full = wanted.parse::<Reference>().ok();
            let fits =
                |tag: &String| tag == wanted || (full.is_some() && tag.parse::<Reference>().ok() == full);
            all.iter().find(|saved| saved.repo_tags.iter().flatten().any(fits)).ok_or_else(|| {
                SourceError::NotFound { place: name, wanted: wanted.to_owned(), available: available() }
            })?
        }
    };
    let layers = saved.layers.as_deref().unwrap_or_default();
    if layers.len() > MAX_ENTRIES {
        return Err(ManifestError::TooLarge { what: "the list of layers", limit: MAX_ENTRIES }.into());
    }
    let bytes = place.small(&saved.config, place.named(&saved.config)?, MAX_CONFIG_BYTES)?;
    let config = ImageConfig::parse(&bytes, layers.len())?;
    let mut sources = Vec::with_capacity(layers.len());
    let mut files = Vec::with_capacity(layers.len());
    for layer in layers {
        let Some(file) = archive.resolve(layer) else {
            return Err(place.corrupt(format!("the layer {layer:?} is missing")));
        };
        let named = digest_of_name(&file);
        let (reader, size) = place.named(&file)?;
        let digest = match named {
            Some(digest) => digest,
            None => hash(reader).map_err(|source| SourceError::Io { path: archive.path.clone(), source })?,
        };
        sources.push(LayerSource { digest, size: Some(size), media_type: String::new() });
        files.push(file);
    }
    let mut hasher = Hasher::sha256();
    hasher.update(&bytes);
    let config_digest = hasher.sha256_digest();
    Ok(Content {
        digest: None,
        config_digest,
        config,
        layers: sources,
        annotations: Default::default(),
        files,
    })
}

/// The digest in `blobs/sha256/HEX`.
fn digest_of_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn hash(mut reader: Box<dyn Read + Send>) -> std::io::Result<Digest> {
    let mut hasher = Hasher::sha256();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        match buffer.get(..read) {
            Some([]) | None => break,
            Some(bytes) => hasher.update(bytes),
        }
    }
    Ok(hasher.sha256_digest())
}
