//! What a person names becomes an Sbom, with the functions that the services use.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plimsoll_config::Config;
use plimsoll_cpu::{ByteBudget, Cancel, Permit};
use plimsoll_image::layer::{Hooks, Limits, Progress};
use plimsoll_image::manifest::normalize;
use plimsoll_image::registry::Registries;
use plimsoll_image::select::Table;
use plimsoll_image::source::{self, ImageSource, SourceError, Target, directory};
use plimsoll_model::extract::{Extract, Partial};
use plimsoll_model::sbom::LayerInfo;
use plimsoll_model::{Digest, Platform, Sbom};
use plimsoll_sbom::{ImageMeta, base, document};

use super::fault;
use crate::error::CliError;

/// Labels of an image that are kept, and characters of one: what the services keep.
const MAX_LABELS: usize = 50;
const MAX_LABEL: usize = 500;

/// What a TARGET may be, for the help of the commands.
pub(super) const TARGETS: &str = "\
TARGET is one of
  HOST/REPOSITORY[:TAG][@DIGEST]   an image in a registry that the configuration lists
  oci:DIR[:TAG]                    an OCI image layout
  oci-archive:FILE[:TAG]           the same in a tar file
  docker-archive:FILE[:NAME:TAG]   what `docker save` writes
  dir:PATH                         a directory as if it were an image's root
  sbom:FILE                        CycloneDX (JSON, XML), SPDX (JSON, tag-value) or syft-json;
                                   `sbom:-` reads standard input";

/// Where packages come from.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Image(Target),
    Document(PathBuf),
}

impl FromStr for Subject {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        if let Some(path) = text.strip_prefix("sbom:") {
            if path.is_empty() {
                return Err(CliError::new("invalid_reference", "nothing follows sbom:"));
            }
            return Ok(Self::Document(path.into()));
        }
        let is_path = || Path::new(text).exists();
        let by_path = || {
            format!(
                "to read a path, say what it is: oci:{text}, oci-archive:{text}, docker-archive:{text} or dir:{text}"
            )
        };
        match text.parse::<Target>() {
            // A name alone would be an image of Docker Hub; a path of that name is what was meant.
            Ok(Target::Registry(_)) if is_path() => {
                Err(CliError::new("invalid_reference", format!("{text:?} is a path, not an image"))
                    .hint(by_path()))
            }
            Ok(target) => Ok(Self::Image(target)),
            Err(error) => {
                let cli = CliError::new(error.code(), &error);
                Err(if is_path() {
                    cli.hint(by_path())
                } else {
                    cli.hint("see plimsoll scan --help for what can be named")
                })
            }
        }
    }
}

/// Reads `OS/ARCHITECTURE[/VARIANT]`.
pub(super) fn platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
    match (os, architecture, parts.next()) {
        (Some(os), Some(architecture), None)
            if !os.is_empty() && !architecture.is_empty() && variant != Some("") =>
        {
            Ok(Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            })
        }
        _ => Err("expected OS/ARCHITECTURE[/VARIANT], e.g. linux/arm64".to_owned()),
    }
}

/// How a subject is read.
#[derive(Debug, Default, clap::Args)]
pub(super) struct How {
    /// The configuration file; default: $PLIMSOLL_CONFIG
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Of an image for several platforms, the one to read; default: linux/amd64, or the only one
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    pub(super) platform: Option<Platform>,
    /// Look for keys and credentials in the layers, removed files included
    #[arg(long)]
    secrets: bool,
    /// An image that others are built on (may be repeated): tells its packages from the application's
    #[arg(long, value_name = "TARGET")]
    base: Vec<String>,
}

/// An Sbom, and the layers that could not be read: their codes and details are in its `partial` too.
pub(super) struct Content {
    pub(super) sbom: Sbom,
    pub(super) failed_layers: Vec<Partial>,
}

impl Content {
    /// Tells on standard error which layers are missing.
    pub(super) fn warn(&self) {
        for failed in &self.failed_layers {
            eprintln!("warning {}: {}", failed.code, crate::output::clean(&failed.detail));
        }
    }
}

/// Reads a subject.
pub(super) fn read(subject: &Subject, how: &How, config: &Config) -> Result<Content, CliError> {
    let secrets = how.secrets || config.secrets;
    let target = match subject {
        Subject::Document(path) => {
            return Ok(Content { sbom: read_document(path)?, failed_layers: Vec::new() });
        }
        Subject::Image(target) => target,
    };
    let limits = Limits {
        profile: config.limits.layer_profile.clone(),
        compressed_bytes: config.limits.blob.0,
        ..Limits::default()
    };
    if let Target::Directory(path) = target {
        // A directory may hold sources: what lockfiles name counts there, unlike in an image.
        let extract = directory::extract(path, &limits, Table::of(true, secrets), &Cancel::new())
            .map_err(|e| fault::source(&e))?;
        let meta = ImageMeta { name: target.to_string(), ..ImageMeta::default() };
        return Ok(Content { sbom: plimsoll_sbom::build(meta, &[extract]), failed_layers: Vec::new() });
    }
    let bases: Vec<Target> =
        how.base.iter().map(|text| base_target(text)).collect::<Result<_, CliError>>()?;
    let configured: Vec<Target> =
        config.base_images.iter().map(|text| base_target(text)).collect::<Result<_, CliError>>()?;
    let of_registry = |target: &Target| matches!(target, Target::Registry(_));
    let (runtime, registries) = match target {
        _ if of_registry(target) || bases.iter().any(of_registry) => {
            let registries = Registries::new(&config.registries).map_err(|e| fault::setup(&e))?;
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2).enable_all();
            (runtime.build(), registries)
        }
        // Nothing to wait for but the reading threads: no reactor, no further threads.
        _ => {
            let registries = Registries::new(&[]).map_err(|e| fault::setup(&e))?;
            (tokio::runtime::Builder::new_current_thread().build(), registries)
        }
    };
    let runtime = runtime.map_err(CliError::io("start the runtime"))?;
    runtime.block_on(async {
        let cancel = Cancel::new();
        let image = source::open(target, how.platform.as_ref(), &registries, &cancel)
            .await
            .map_err(|e| fault::source(&e))?;
        if let Some(wanted) = &how.platform {
            same_platform(wanted, &image)?;
        }
        let mut known = Vec::new();
        for base in &bases {
            known.push(known_base(base, &image, &registries, &cancel).await?);
        }
        // What the configuration names is a help, not a condition; an image from elsewhere is read without a network.
        for base in configured.iter().filter(|base| of_registry(target) || !of_registry(base)) {
            match known_base(base, &image, &registries, &cancel).await {
                Ok(found) => known.push(found),
                Err(error) => eprintln!("warning {}: base image {base}: {}", error.code, error.message),
            }
        }
        read_image(&image, &known, Table::of(false, secrets), limits, config, &cancel).await
    })
}

/// A base image's name, digest and layers.
type Known = (String, Digest, Vec<Digest>);

fn base_target(text: &str) -> Result<Target, CliError> {
    let target = text.parse::<Target>();
    let target = target.map_err(|e| CliError::new(e.code(), &e).hint("name a base as a TARGET"))?;
    match target {
        Target::Directory(_) => Err(CliError::new("invalid_reference", "a directory is no base image")),
        target => Ok(target),
    }
}

async fn known_base(
    target: &Target,
    image: &ImageSource,
    registries: &Registries,
    cancel: &Cancel,
) -> Result<Known, CliError> {
    let platform = Some(&image.config.platform).filter(|platform| !platform.architecture.is_empty());
    let base = source::open(target, platform, registries, cancel).await.map_err(|e| fault::source(&e))?;
    let layers = base.layers.iter().map(|layer| layer.digest.clone()).collect();
    let digest = base.digest.clone().ok_or_else(|| {
        CliError::new(
            "invalid_reference",
            format!("{target} has no manifest, so it cannot be named as a base"),
        )
    })?;
    Ok((target.to_string(), digest, layers))
}

fn read_document(path: &Path) -> Result<Sbom, CliError> {
    let name = path.display().to_string();
    let failed = || CliError::io(format!("read {name}"));
    let limit = u64::try_from(document::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed())?;
    } else {
        let file = std::fs::File::open(path).map_err(failed())?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed())?;
    }
    let mut sbom = document::read(&bytes).map_err(|e| fault::document(&name, &e))?;
    if sbom.name.is_empty() {
        sbom.name = format!("sbom:{name}");
    }
    Ok(sbom)
}

async fn read_image(
    image: &ImageSource,
    known: &[Known],
    table: &'static Table,
    limits: Limits,
    config: &Config,
    cancel: &Cancel,
) -> Result<Content, CliError> {
    let (extracts, failed_layers) = read_layers(image, table, &limits, config, cancel).await?;
    let layers: Vec<LayerInfo> = image
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| LayerInfo {
            digest: layer.digest.clone(),
            created_by: image.config.history.get(index).cloned().unwrap_or_default(),
        })
        .collect();
    let known = known.iter().map(|(name, digest, layers)| (name.as_str(), digest, layers.as_slice()));
    let annotations = image.annotations.iter().map(|(name, value)| (name.clone(), value.clone()));
    let labels = image.config.labels.iter().cloned().chain(annotations);
    let meta = ImageMeta {
        image: image.digest.clone(),
        name: image.name(),
        platform: Some(image.config.platform.clone()),
        base: base::find(&layers, known),
        layers,
        labels: labels
            .filter(|(name, _)| name.starts_with("org.opencontainers.image."))
            .map(|(name, value)| (name, value.chars().take(MAX_LABEL).collect()))
            .take(MAX_LABELS)
            .collect(),
        partial: failed_layers.clone(),
    };
    Ok(Content { sbom: plimsoll_sbom::build(meta, &extracts), failed_layers })
}

/// An image of a single platform has no index to choose from: what it says of itself must be what was asked for.
fn same_platform(wanted: &Platform, image: &ImageSource) -> Result<(), CliError> {
    let (wanted, found) = (normalize(wanted), normalize(&image.config.platform));
    if found.architecture.is_empty() || (wanted.os == found.os && wanted.architecture == found.architecture) {
        return Ok(());
    }
    Err(CliError::new("platform_not_found", format!("{} is for {found}, not for {wanted}", image.name()))
        .hint("leave --platform out to read it"))
}

/// The Extracts of an image's layers, oldest first, and what came of those that cannot be read. As in the services a
/// layer that is broken is left out and said to be missing; what may succeed later is an error.
async fn read_layers(
    image: &ImageSource,
    table: &'static Table,
    limits: &Limits,
    config: &Config,
    cancel: &Cancel,
) -> Result<(Vec<Arc<Extract>>, Vec<Partial>), CliError> {
    let slots = match config.workers.layer_slots {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        slots => slots,
    };
    let budget = ByteBudget::new(config.workers.byte_budget.0);
    let bar = bar(image.layers.iter().filter_map(|layer| layer.size).sum());
    // Each content once; the largest first, so that none is left to be waited for alone.
    let mut first: BTreeMap<&Digest, usize> = BTreeMap::new();
    for (index, layer) in image.layers.iter().enumerate() {
        first.entry(&layer.digest).or_insert(index);
    }
    let mut order: Vec<usize> = first.values().copied().collect();
    order.sort_unstable_by_key(|&index| {
        let size = image.layers.get(index).and_then(|layer| layer.size).unwrap_or(u64::MAX);
        (std::cmp::Reverse(size), index)
    });
    let mut reading = futures::stream::iter(order)
        .map(|index| {
            let hooks = Arc::new(Watch {
                budget: budget.clone(),
                cancel: cancel.clone(),
                bar: bar.clone(),
                shown: AtomicU64::new(0),
            });
            async move { (index, image.extract(index, limits, table, hooks, cancel).await) }
        })
        .buffer_unordered(slots);
    let mut read: BTreeMap<&Digest, Result<Arc<Extract>, Partial>> = BTreeMap::new();
    let mut first_failure = None;
    while let Some((index, result)) = reading.next().await {
        let Some(layer) = image.layers.get(index) else { continue };
        let outcome = match result {
            Ok(extract) => Ok(Arc::new(extract)),
            Err(error) if passing(&error) => return Err(fault::source(&error)),
            Err(error) => {
                let fault = fault::source(&error);
                let partial = Partial {
                    code: fault.code.clone(),
                    detail: format!("layer {}: {}", layer.digest, fault.message),
                };
                first_failure.get_or_insert(fault);
                Err(partial)
            }
        };
        read.insert(&layer.digest, outcome);
    }
    bar.finish_and_clear();
    let mut extracts = Vec::with_capacity(image.layers.len());
    let mut failed = Vec::new();
    for layer in &image.layers {
        match read.get(&layer.digest) {
            Some(Ok(extract)) => extracts.push(Arc::clone(extract)),
            Some(Err(partial)) => failed.push(partial.clone()),
            None => {}
        }
    }
    match first_failure {
        // Nothing could be read: never an empty list that looks like a clean image.
        Some(fault) if extracts.is_empty() => Err(fault),
        _ => Ok((extracts, failed)),
    }
}

/// True for failures that are not the layer's own: the next call may find it whole.
fn passing(error: &SourceError) -> bool {
    error.transient()
        || matches!(error, SourceError::Run(_))
        || matches!(error.code(), "auth" | "registry_not_configured" | "unreadable")
}

/// A bar over the compressed bytes, if standard error is a terminal.
fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = "{spinner} reading layers {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// What a reading thread tells and asks.
struct Watch {
    budget: ByteBudget,
    cancel: Cancel,
    bar: ProgressBar,
    shown: AtomicU64,
}

impl Hooks for Watch {
    fn progress(&self, progress: &Progress) -> ControlFlow<()> {
        let before = self.shown.swap(progress.compressed, Ordering::Relaxed);
        self.bar.inc(progress.compressed.saturating_sub(before));
        ControlFlow::Continue(())
    }

    fn reserve(&self, bytes: u64) -> Option<Permit> {
        self.budget.reserve_blocking(bytes, &self.cancel).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms() {
        for (text, shown) in
            [("linux/arm64", Some("linux/arm64")), ("linux/arm/v7", Some("linux/arm/v7")), ("linux", None)]
        {
            assert_eq!(platform(text).ok().map(|p| p.to_string()).as_deref(), shown, "{text}");
        }
        for bad in ["", "/", "linux/", "/amd64", "a/b/", "a/b/c/d"] {
            assert!(platform(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects() {
        assert!(matches!("sbom:x.json".parse(), Ok(Subject::Document(path)) if path == Path::new("x.json")));
        assert!(matches!("dir:/".parse(), Ok(Subject::Image(Target::Directory(_)))));
        assert!(matches!("registry.example.com/a/b:1".parse(), Ok(Subject::Image(Target::Registry(_)))));
        for bad in ["sbom:", "dir:", "", "UPPER/Case"] {
            assert_eq!(
                bad.parse::<Subject>().err().map(|e| e.code).as_deref(),
                Some("invalid_reference"),
                "{bad}"
            );
        }
        // A path is never taken for an image of Docker Hub.
        let error = "src".parse::<Subject>().unwrap_err();
        assert!(error.hint.is_some_and(|hint| hint.contains("dir:src")));
    }
}
