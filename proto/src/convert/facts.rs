//! Facts.

use plimsoll_model::exposure::{Exposure, ExposureLevel};
use plimsoll_model::fact::{
    ConnectionChange, ConnectionChangeKind, ContainerFact, ExposureFact, Fact, FactBody, ImageFact,
    ManifestFact, ManifestKind, MatchFact, NetworkNote, Resolution, ResolvedFact, ScanFailed, Unlisted,
    WorkloadFact,
};
use plimsoll_model::time::Timestamp;

use super::common::same_fields;
use super::{Invalid, all, into_all, optional, parse, parse_optional, text, words};
use crate::v1;

words!(level_word, level, "level", ExposureLevel {
    ExposureLevel::Isolated => "isolated", ExposureLevel::Small => "small",
    ExposureLevel::Controlled => "controlled", ExposureLevel::Open => "open",
});
words!(connection_word, connection, "kind", ConnectionChangeKind {
    ConnectionChangeKind::Added => "added", ConnectionChangeKind::Removed => "removed",
    ConnectionChangeKind::Changed => "changed",
});

impl From<Exposure> for v1::Exposure {
    fn from(value: Exposure) -> Self {
        Self {
            level: level_word(value.level),
            paths: value.paths,
            caveats: value.caveats,
            reaches: value.reaches,
            as_of: value.as_of.0,
            complete: value.complete,
            enforced: value.enforced,
        }
    }
}

impl TryFrom<v1::Exposure> for Exposure {
    type Error = Invalid;
    fn try_from(message: v1::Exposure) -> Result<Self, Invalid> {
        Ok(Self {
            level: level(&message.level)?,
            paths: message.paths,
            caveats: message.caveats,
            reaches: message.reaches,
            as_of: Timestamp(message.as_of),
            complete: message.complete,
            enforced: message.enforced,
        })
    }
}

impl From<ContainerFact> for v1::ContainerFact {
    fn from(value: ContainerFact) -> Self {
        Self { name: value.name, image: value.image, digest: text(value.digest.as_ref()) }
    }
}

impl TryFrom<v1::ContainerFact> for ContainerFact {
    type Error = Invalid;
    fn try_from(message: v1::ContainerFact) -> Result<Self, Invalid> {
        Ok(Self {
            name: message.name,
            image: message.image,
            digest: parse_optional("digest", &message.digest)?,
        })
    }
}

same_fields!(NetworkNote, NetworkNote { code, about, message, decided_by, peers });

impl From<WorkloadFact> for v1::WorkloadFact {
    fn from(value: WorkloadFact) -> Self {
        Self {
            name: Some(value.name.into()),
            exposure: Some(value.exposure.into()),
            changed_seq: value.changed_seq,
            containers: into_all(value.containers),
            privileged: value.privileged,
            replicas: value.replicas,
            notes: into_all(value.notes),
        }
    }
}

impl TryFrom<v1::WorkloadFact> for WorkloadFact {
    type Error = Invalid;
    fn try_from(message: v1::WorkloadFact) -> Result<Self, Invalid> {
        Ok(Self {
            name: message.name.ok_or(Invalid::missing("name"))?.into(),
            exposure: message.exposure.ok_or(Invalid::missing("exposure"))?.try_into()?,
            changed_seq: message.changed_seq,
            containers: all(message.containers)?,
            privileged: message.privileged,
            replicas: message.replicas,
            notes: into_all(message.notes),
        })
    }
}

impl From<ConnectionChange> for v1::ConnectionChange {
    fn from(value: ConnectionChange) -> Self {
        Self {
            kind: connection_word(value.kind),
            source: value.source,
            destination: value.destination,
            before: value.before,
            after: value.after,
            because: value.because,
            decided_before: value.decided_before,
            decided_after: value.decided_after,
        }
    }
}

impl TryFrom<v1::ConnectionChange> for ConnectionChange {
    type Error = Invalid;
    fn try_from(message: v1::ConnectionChange) -> Result<Self, Invalid> {
        Ok(Self {
            kind: connection(&message.kind)?,
            source: message.source,
            destination: message.destination,
            before: message.before,
            after: message.after,
            because: message.because,
            decided_before: message.decided_before,
            decided_after: message.decided_after,
        })
    }
}

impl From<Unlisted> for v1::Unlisted {
    fn from(value: Unlisted) -> Self {
        let Unlisted { added, removed, changed, at_least } = value;
        Self { added, removed, changed, at_least }
    }
}

impl From<v1::Unlisted> for Unlisted {
    fn from(message: v1::Unlisted) -> Self {
        let v1::Unlisted { added, removed, changed, at_least } = message;
        Self { added, removed, changed, at_least }
    }
}

impl From<ExposureFact> for v1::ExposureFact {
    fn from(value: ExposureFact) -> Self {
        Self {
            cluster: value.cluster,
            base_seq: value.base_seq,
            target_seq: value.target_seq,
            workloads: into_all(value.workloads),
            removed: into_all(value.removed),
            changes: into_all(value.changes),
            actor: value.actor,
            transient: into_all(value.transient),
            unlisted: (!value.unlisted.is_none()).then(|| value.unlisted.into()),
            publication: value.publication,
            through_seq: value.through_seq,
        }
    }
}

impl TryFrom<v1::ExposureFact> for ExposureFact {
    type Error = Invalid;
    fn try_from(message: v1::ExposureFact) -> Result<Self, Invalid> {
        Ok(Self {
            cluster: message.cluster,
            base_seq: message.base_seq,
            target_seq: message.target_seq,
            workloads: all(message.workloads)?,
            removed: into_all(message.removed),
            changes: all(message.changes)?,
            actor: message.actor,
            transient: all(message.transient)?,
            unlisted: message.unlisted.map(Unlisted::from).unwrap_or_default(),
            publication: message.publication,
            through_seq: message.through_seq,
        })
    }
}

impl From<ManifestFact> for v1::ManifestFact {
    fn from(value: ManifestFact) -> Self {
        use v1::manifest_fact::Kind;
        let kind = match value.kind {
            ManifestKind::Index { children } => Kind::Index(v1::IndexManifest {
                children: children
                    .into_iter()
                    .map(|(platform, digest)| v1::IndexChild {
                        platform: Some(platform.into()),
                        digest: digest.into(),
                    })
                    .collect(),
            }),
            ManifestKind::Image { platform, layers } => {
                Kind::Image(v1::ImageManifest { platform: Some(platform.into()), layers: into_all(layers) })
            }
            ManifestKind::NotAnImage { artifact_type } => Kind::NotAnImage(artifact_type),
        };
        Self {
            registry: value.registry,
            repository: value.repository,
            digest: value.digest.into(),
            kind: Some(kind),
            sbom: None,
        }
    }
}

impl TryFrom<v1::ManifestFact> for ManifestFact {
    type Error = Invalid;
    fn try_from(message: v1::ManifestFact) -> Result<Self, Invalid> {
        use v1::manifest_fact::Kind;
        let kind = match message.kind.ok_or(Invalid::missing("kind"))? {
            Kind::Index(index) => ManifestKind::Index {
                children: index
                    .children
                    .into_iter()
                    .map(|child| {
                        Ok((
                            child.platform.unwrap_or_default().into(),
                            parse("children.digest", &child.digest)?,
                        ))
                    })
                    .collect::<Result<_, Invalid>>()?,
            },
            Kind::Image(image) => ManifestKind::Image {
                platform: image.platform.ok_or(Invalid::missing("platform"))?.into(),
                layers: image.layers.iter().map(|d| parse("layers", d)).collect::<Result<_, _>>()?,
            },
            Kind::NotAnImage(artifact_type) => ManifestKind::NotAnImage { artifact_type },
        };
        Ok(Self {
            registry: message.registry,
            repository: message.repository,
            digest: parse("digest", &message.digest)?,
            kind,
        })
    }
}

impl From<Resolution> for v1::Resolution {
    fn from(value: Resolution) -> Self {
        Self {
            reference: value.reference,
            registry: value.registry,
            repository: value.repository,
            digest: text(value.digest.as_ref()),
            code: value.code,
        }
    }
}

impl TryFrom<v1::Resolution> for Resolution {
    type Error = Invalid;
    fn try_from(message: v1::Resolution) -> Result<Self, Invalid> {
        Ok(Self {
            reference: message.reference,
            registry: message.registry,
            repository: message.repository,
            digest: parse_optional("digest", &message.digest)?,
            code: message.code,
        })
    }
}

impl From<ImageFact> for v1::ImageFact {
    fn from(value: ImageFact) -> Self {
        Self {
            digest: value.digest.into(),
            platform: Some(value.platform.into()),
            sbom: value.sbom,
            components: into_all(value.components),
            matches: Some(value.matches.into()),
            partial: into_all(value.partial),
            layers: into_all(value.layers),
            inside: value
                .inside
                .into_iter()
                .map(|(component, outer)| v1::Inside { component, outer })
                .collect(),
            introduced: value.introduced,
        }
    }
}

impl TryFrom<v1::ImageFact> for ImageFact {
    type Error = Invalid;
    fn try_from(message: v1::ImageFact) -> Result<Self, Invalid> {
        Ok(Self {
            digest: parse("digest", &message.digest)?,
            platform: message.platform.ok_or(Invalid::missing("platform"))?.into(),
            sbom: message.sbom,
            components: all(message.components)?,
            matches: message.matches.unwrap_or_default().try_into()?,
            partial: into_all(message.partial),
            layers: message.layers.iter().map(|d| parse("layers", d)).collect::<Result<_, _>>()?,
            inside: message.inside.into_iter().map(|inside| (inside.component, inside.outer)).collect(),
            introduced: message.introduced,
        })
    }
}

impl From<ScanFailed> for v1::ScanFailed {
    fn from(value: ScanFailed) -> Self {
        Self {
            digest: text(value.digest.as_ref()),
            registry: value.registry,
            repository: value.repository,
            tag: value.tag.unwrap_or_default(),
            stage: value.stage,
            code: value.code,
            detail: value.detail,
        }
    }
}

impl TryFrom<v1::ScanFailed> for ScanFailed {
    type Error = Invalid;
    fn try_from(message: v1::ScanFailed) -> Result<Self, Invalid> {
        Ok(Self {
            digest: parse_optional("digest", &message.digest)?,
            registry: message.registry,
            repository: message.repository,
            tag: optional(message.tag),
            stage: message.stage,
            code: message.code,
            detail: message.detail,
        })
    }
}

impl From<MatchFact> for v1::MatchFact {
    fn from(value: MatchFact) -> Self {
        Self {
            components: into_all(value.components),
            matches: Some(value.matches.into()),
            reason: value.reason,
        }
    }
}

impl TryFrom<v1::MatchFact> for MatchFact {
    type Error = Invalid;
    fn try_from(message: v1::MatchFact) -> Result<Self, Invalid> {
        Ok(Self {
            components: all(message.components)?,
            matches: message.matches.unwrap_or_default().try_into()?,
            reason: message.reason,
        })
    }
}

/// Facts that stages publish. What a registry announced comes from EVENTS instead and does not convert.
impl TryFrom<Fact> for v1::Fact {
    type Error = Invalid;
    fn try_from(value: Fact) -> Result<Self, Invalid> {
        use v1::fact::Body;
        let body = match value.body {
            FactBody::Manifest(fact) => Body::Manifest(fact.into()),
            FactBody::Resolved(fact) => Body::Resolved(v1::ResolvedFact {
                cluster: fact.cluster,
                seq: fact.seq,
                references: into_all(fact.references),
            }),
            FactBody::Image(fact) => Body::Image(fact.into()),
            FactBody::ScanFailed(fact) => Body::ScanFailed(fact.into()),
            FactBody::Exposure(fact) => Body::Exposure(fact.into()),
            FactBody::Match(fact) => Body::Match(fact.into()),
            FactBody::ImagePushed(_) | FactBody::ImageDeleted(_) => {
                return Err(Invalid::new("body", "announcements travel on EVENTS"));
            }
        };
        Ok(Self { id: value.id, at: value.at.0, trace: value.trace, body: Some(body) })
    }
}

impl TryFrom<v1::Fact> for Fact {
    type Error = Invalid;
    fn try_from(message: v1::Fact) -> Result<Self, Invalid> {
        use v1::fact::Body;
        let body = match message.body.ok_or(Invalid::missing("body"))? {
            Body::Manifest(fact) => FactBody::Manifest(fact.try_into()?),
            Body::Resolved(fact) => FactBody::Resolved(ResolvedFact {
                cluster: fact.cluster,
                seq: fact.seq,
                references: all(fact.references)?,
            }),
            Body::Image(fact) => FactBody::Image(fact.try_into()?),
            Body::ScanFailed(fact) => FactBody::ScanFailed(fact.try_into()?),
            Body::Exposure(fact) => FactBody::Exposure(fact.try_into()?),
            Body::Match(fact) => FactBody::Match(fact.try_into()?),
            Body::Layer(_) => return Err(Invalid::new("body", "a layer fact is the planner's")),
        };
        Ok(Self { id: message.id, at: Timestamp(message.at), trace: message.trace, body })
    }
}
