//! Extracts and Sboms, with the front-coded shadow set.

use plimsoll_model::extract::{Entries, Entry, EntryKind, Extract, Selected, SelectorRevision};
use plimsoll_model::sbom::{Base, Component, Confidence, Distribution, LayerInfo, Location, Sbom, Secret};

use super::common::same_fields;
use super::{Invalid, all, into_all, parse, parse_optional, text};
use crate::v1;

/// Format of Extract artifacts that this version writes. It reads 1.
pub const EXTRACT_FORMAT: u32 = 1;
/// Format of Sbom artifacts that this version writes. It reads 1.
pub const SBOM_FORMAT: u32 = 1;

same_fields!(SelectorRevision, SelectorRevision { name, revision });

impl From<Extract> for v1::Extract {
    fn from(value: Extract) -> Self {
        let mut message = Self {
            format: EXTRACT_FORMAT,
            layer: value.layer.into(),
            profile: value.profile,
            selectors: into_all(value.selectors),
            anomalies: into_all(value.anomalies),
            partial: into_all(value.partial),
            compressed_size: value.compressed_size,
            uncompressed_size: value.uncompressed_size,
            ..Default::default()
        };
        message.shared.reserve(value.entries.len());
        message.suffix.reserve(value.entries.len());
        let mut kinds = Vec::with_capacity(value.entries.len());
        let mut before = "";
        for entry in value.entries.iter() {
            let shared = shared_prefix(before, entry.path);
            message.shared.push(u32::try_from(shared).unwrap_or(0));
            message.suffix.push(entry.path.get(shared..).unwrap_or_default().to_owned());
            before = entry.path;
            kinds.push(match entry.kind {
                EntryKind::File => b'f',
                EntryKind::Directory => b'd',
                EntryKind::Symlink(target) => {
                    message.targets.push(target.to_owned());
                    b'l'
                }
                EntryKind::Hardlink(target) => {
                    message.targets.push(target.to_owned());
                    b'h'
                }
                EntryKind::Other => b'o',
                EntryKind::Whiteout => b'w',
                EntryKind::Opaque => b'q',
            });
        }
        drop(value.entries); // the message has it all
        message.kinds = kinds;
        message.selected = value
            .selected
            .into_iter()
            .map(|s| v1::SelectedFile {
                path: s.path,
                selector: s.selector,
                size: s.size,
                content: s.bytes.into(),
            })
            .collect();
        message
    }
}

/// Bytes that two texts share at their start, cut at a character of both.
fn shared_prefix(a: &str, b: &str) -> usize {
    let mut n = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(n) {
        n -= 1;
    }
    n
}

impl TryFrom<v1::Extract> for Extract {
    type Error = Invalid;
    fn try_from(message: v1::Extract) -> Result<Self, Invalid> {
        if message.format != EXTRACT_FORMAT {
            return Err(Invalid::new("format", format!("{} is not {EXTRACT_FORMAT}", message.format)));
        }
        let count = message.kinds.len();
        if message.shared.len() != count || message.suffix.len() != count {
            return Err(Invalid::new("entries", "the columns differ in length"));
        }
        let mut targets = message.targets.iter();
        let mut entries = Entries::with_capacity(count, 0);
        let mut path = String::new();
        for ((shared, suffix), kind) in message.shared.iter().zip(&message.suffix).zip(message.kinds.iter()) {
            let kept = usize::try_from(*shared).ok().filter(|n| path.is_char_boundary(*n));
            let Some(kept) = kept else {
                return Err(Invalid::new("shared", "longer than the path before"));
            };
            path.truncate(kept);
            path.push_str(suffix);
            let mut target = || targets.next().map(String::as_str).ok_or(Invalid::missing("targets"));
            let kind = match kind {
                b'f' => EntryKind::File,
                b'd' => EntryKind::Directory,
                b'l' => EntryKind::Symlink(target()?),
                b'h' => EntryKind::Hardlink(target()?),
                b'o' => EntryKind::Other,
                b'w' => EntryKind::Whiteout,
                b'q' => EntryKind::Opaque,
                other => return Err(Invalid::new("kinds", format!("unknown kind {other}"))),
            };
            if !entries.push(&Entry { path: path.as_str(), kind }) {
                return Err(Invalid::new("entries", "more than 4 GiB of paths"));
            }
        }
        Ok(Self {
            layer: parse("layer", &message.layer)?,
            profile: message.profile,
            selectors: into_all(message.selectors),
            entries,
            selected: message
                .selected
                .into_iter()
                .map(|s| Selected {
                    path: s.path,
                    selector: s.selector,
                    size: s.size,
                    bytes: s.content.into(),
                })
                .collect(),
            anomalies: into_all(message.anomalies),
            partial: into_all(message.partial),
            compressed_size: message.compressed_size,
            uncompressed_size: message.uncompressed_size,
        })
    }
}

impl From<Location> for v1::Location {
    fn from(value: Location) -> Self {
        Self { path: value.path, layer: text(value.layer.as_ref()) }
    }
}

impl TryFrom<v1::Location> for Location {
    type Error = Invalid;
    fn try_from(message: v1::Location) -> Result<Self, Invalid> {
        Ok(Self { path: message.path, layer: parse_optional("layer", &message.layer)? })
    }
}

impl From<LayerInfo> for v1::LayerInfo {
    fn from(value: LayerInfo) -> Self {
        Self { digest: value.digest.into(), created_by: value.created_by }
    }
}

impl TryFrom<v1::LayerInfo> for LayerInfo {
    type Error = Invalid;
    fn try_from(message: v1::LayerInfo) -> Result<Self, Invalid> {
        Ok(Self { digest: parse("digest", &message.digest)?, created_by: message.created_by })
    }
}

impl From<Component> for v1::Component {
    fn from(value: Component) -> Self {
        Self {
            key: Some(value.key.into()),
            purl: value.purl,
            display_name: value.display_name,
            locations: into_all(value.locations),
            licenses: value.licenses,
            owned_by: value.owned_by,
            low_confidence: value.confidence == Confidence::Low,
            supplier: value.supplier,
            found_by: value.found_by,
            depends_on: value.depends_on,
            introduced: text(value.introduced.as_ref()),
        }
    }
}

impl TryFrom<v1::Component> for Component {
    type Error = Invalid;
    fn try_from(message: v1::Component) -> Result<Self, Invalid> {
        Ok(Self {
            key: message.key.ok_or(Invalid::missing("key"))?.try_into()?,
            purl: message.purl,
            display_name: message.display_name,
            locations: all(message.locations)?,
            licenses: message.licenses,
            owned_by: message.owned_by,
            confidence: if message.low_confidence { Confidence::Low } else { Confidence::High },
            supplier: message.supplier,
            found_by: message.found_by,
            depends_on: message.depends_on,
            introduced: parse_optional("introduced", &message.introduced)?,
        })
    }
}

impl From<Sbom> for v1::Sbom {
    fn from(value: Sbom) -> Self {
        Self {
            format: SBOM_FORMAT,
            image: text(value.image.as_ref()),
            name: value.name,
            platform: value.platform.map(Into::into),
            distribution: value.distribution.map(|d| v1::Distribution {
                release: Some(d.release.into()),
                codename: d.codename,
                pretty_name: d.pretty_name,
                like: d.like,
            }),
            layers: into_all(value.layers),
            components: into_all(value.components),
            anomalies: into_all(value.anomalies),
            partial: into_all(value.partial),
            labels: value.labels.into_iter().map(|(name, value)| v1::Label { name, value }).collect(),
            base: value.base.map(|base| v1::Base {
                name: base.name,
                digest: base.digest.into(),
                layers: base.layers,
            }),
            secrets: into_all(value.secrets),
        }
    }
}

impl From<Secret> for v1::Secret {
    fn from(value: Secret) -> Self {
        Self {
            path: value.path,
            line: value.line,
            rule: value.rule,
            excerpt: value.excerpt,
            layer: text(value.layer.as_ref()),
            hidden: value.hidden,
        }
    }
}

impl TryFrom<v1::Secret> for Secret {
    type Error = Invalid;
    fn try_from(message: v1::Secret) -> Result<Self, Invalid> {
        Ok(Self {
            path: message.path,
            line: message.line,
            rule: message.rule,
            excerpt: message.excerpt,
            layer: parse_optional("layer", &message.layer)?,
            hidden: message.hidden,
        })
    }
}

impl TryFrom<v1::Sbom> for Sbom {
    type Error = Invalid;
    fn try_from(message: v1::Sbom) -> Result<Self, Invalid> {
        if message.format != SBOM_FORMAT {
            return Err(Invalid::new("format", format!("{} is not {SBOM_FORMAT}", message.format)));
        }
        let distribution = match message.distribution {
            Some(d) => Some(Distribution {
                release: d.release.ok_or(Invalid::missing("release"))?.into(),
                codename: d.codename,
                pretty_name: d.pretty_name,
                like: d.like,
            }),
            None => None,
        };
        let base = match message.base {
            Some(base) => {
                Some(Base { name: base.name, digest: parse("digest", &base.digest)?, layers: base.layers })
            }
            None => None,
        };
        Ok(Self {
            image: parse_optional("image", &message.image)?,
            name: message.name,
            platform: message.platform.map(Into::into),
            distribution,
            layers: all(message.layers)?,
            components: all(message.components)?,
            anomalies: into_all(message.anomalies),
            partial: into_all(message.partial),
            labels: message.labels.into_iter().map(|l| (l.name, l.value)).collect(),
            base,
            secrets: all(message.secrets)?,
        })
    }
}
