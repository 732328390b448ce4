//! What a person names on the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plimsoll_model::{Digest, Reference};

/// Where an image, or something like one, is to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `[docker://]HOST/REPOSITORY[:TAG][@DIGEST]`.
    Registry(Reference),
    /// `oci:DIR[:TAG]` or `oci:DIR@DIGEST`: an OCI image layout.
    OciDir { path: PathBuf, image: Option<String> },
    /// `oci-archive:FILE[:TAG]`: the same in a tar file.
    OciArchive { path: PathBuf, image: Option<String> },
    /// `docker-archive:FILE[:NAME:TAG]`: what `docker save` writes.
    DockerArchive { path: PathBuf, image: Option<String> },
    /// `dir:PATH`: a directory as if it were an image's root.
    Directory(PathBuf),
}

/// A text that names nothing that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no image: {reason}")]
pub struct InvalidTarget {
    text: String,
    reason: String,
}

impl InvalidTarget {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        "invalid_reference"
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// A path may hold colons: if the whole text after the scheme exists, it is the path; else what follows
    /// the last suitable colon is the image's name.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |reason: String| InvalidTarget { text: text.chars().take(300).collect(), reason };
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        if matches!(scheme, "oci" | "oci-archive" | "docker-archive" | "dir") && rest.is_empty() {
            return Err(invalid(format!("nothing follows {scheme}:")));
        }
        match scheme {
            "oci" => {
                let (path, image) = split(rest, false);
                Ok(Self::OciDir { path, image })
            }
            "oci-archive" => {
                let (path, image) = split(rest, false);
                Ok(Self::OciArchive { path, image })
            }
            "docker-archive" => {
                let (path, image) = split(rest, true);
                Ok(Self::DockerArchive { path, image })
            }
            "dir" => Ok(Self::Directory(rest.into())),
            "sbom" => Err(invalid("an SBOM is no image".into())),
            _ => {
                let reference = text.strip_prefix("docker://").unwrap_or(text);
                reference.parse().map(Self::Registry).map_err(
                    |error: plimsoll_model::reference::InvalidReference| invalid(error.reason.into()),
                )
            }
        }
    }
}

fn split(rest: &str, names_have_tags: bool) -> (PathBuf, Option<String>) {
    if Path::new(rest).exists() {
        return (rest.into(), None);
    }
    if let Some((path, digest)) = rest.rsplit_once('@')
        && digest.parse::<Digest>().is_ok()
    {
        return (path.into(), Some(digest.to_owned()));
    }
    if names_have_tags {
        // `FILE:NAME:TAG`, where the name may have a host with a port: the longest path that exists.
        let colons: Vec<usize> = rest.match_indices(':').map(|(at, _)| at).collect();
        for at in colons.iter().rev() {
            let (path, name) = (rest.get(..*at), rest.get(at + 1..));
            if let (Some(path), Some(name)) = (path, name)
                && Path::new(path).exists()
                && !name.is_empty()
            {
                return (path.into(), Some(name.to_owned()));
            }
        }
        return (rest.into(), None);
    }
    match rest.rsplit_once(':') {
        Some((path, name)) if !path.is_empty() && !name.is_empty() && !name.contains('/') => {
            (path.into(), Some(name.to_owned()))
        }
        _ => (rest.into(), None),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, image) = match self {
            Self::Registry(reference) => return write!(f, "{reference}"),
            Self::OciDir { path, image } => ("oci", path, image),
            Self::OciArchive { path, image } => ("oci-archive", path, image),
            Self::DockerArchive { path, image } => ("docker-archive", path, image),
            Self::Directory(path) => ("dir", path, &None),
        };
        write!(f, "{scheme}:{}", path.display())?;
        match image {
            Some(digest) if digest.parse::<Digest>().is_ok() => write!(f, "@{digest}"),
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}
