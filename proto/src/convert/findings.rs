//! Findings and their roll-ups.

use plimsoll_model::exposure::Unproved;
use plimsoll_model::finding::{
    Assessment, Cause, Change, ChangeKind, Class, Factors, Finding, FindingKey, FindingState, Holder, RollUp,
};

use plimsoll_model::vex::{StatementKind, Suppression, VexStatus};

use super::common::{same_fields, status, status_word};
use super::facts::{level, level_word};
use super::{Invalid, all, into_all, parse, parse_optional, text, words};
use crate::v1;

words!(unproved_word, unproved, "unproved", Unproved {
    Unproved::NotDeployed => "not_deployed", Unproved::Incomplete => "incomplete", Unproved::Stale => "stale",
    Unproved::NotEnforced => "not_enforced",
});
words!(state_word, state, "state", FindingState {
    FindingState::Open => "open", FindingState::Fixed => "fixed", FindingState::Suppressed => "suppressed",
});
words!(change_word, change, "kind", ChangeKind {
    ChangeKind::Opened => "opened", ChangeKind::Reclassified => "reclassified", ChangeKind::Updated => "updated",
    ChangeKind::Fixed => "fixed", ChangeKind::Reopened => "reopened", ChangeKind::Suppressed => "suppressed",
    ChangeKind::Rescoped => "rescoped", ChangeKind::Merged => "merged", ChangeKind::ScanFailed => "scan_failed",
});

words!(kind_word, kind, "kind", StatementKind {
    StatementKind::Vex => "vex", StatementKind::Ignore => "ignore",
});
words!(vex_word, vex_status, "status", VexStatus {
    VexStatus::Affected => "affected", VexStatus::UnderInvestigation => "under_investigation",
    VexStatus::Fixed => "fixed", VexStatus::NotAffected => "not_affected",
});

same_fields!(Cause, Cause { kind, id, sentence });

impl From<Holder> for v1::Holder {
    fn from(value: Holder) -> Self {
        use v1::holder::Holder as Message;
        let holder = match value {
            Holder::Workload { workload, container } => {
                Message::Workload(v1::WorkloadHolder { workload: Some(workload.into()), container })
            }
            Holder::Repository { registry, repository, platform } => {
                Message::Repository(v1::RepositoryHolder {
                    registry,
                    repository,
                    platform: Some(platform.into()),
                })
            }
        };
        Self { holder: Some(holder) }
    }
}

impl TryFrom<v1::Holder> for Holder {
    type Error = Invalid;
    fn try_from(message: v1::Holder) -> Result<Self, Invalid> {
        use v1::holder::Holder as Message;
        match message.holder.ok_or(Invalid::missing("holder"))? {
            Message::Workload(holder) => Ok(Self::Workload {
                workload: holder.workload.ok_or(Invalid::missing("workload"))?.into(),
                container: holder.container,
            }),
            Message::Repository(holder) => Ok(Self::Repository {
                registry: holder.registry,
                repository: holder.repository,
                platform: holder.platform.ok_or(Invalid::missing("platform"))?.into(),
            }),
        }
    }
}

impl From<Factors> for v1::Factors {
    fn from(value: Factors) -> Self {
        Self {
            exploited: value.exploited,
            exposed: value.exposed,
            level: level_word(value.level),
            unproved: value.unproved.map(unproved_word).unwrap_or_default(),
            automatable: value.automatable,
            total_impact: value.total_impact,
            assumed: value.assumed,
            threat: value.threat,
            epss: value.epss,
            reaches: value.reaches,
            modifiers: value.modifiers,
        }
    }
}

impl TryFrom<v1::Factors> for Factors {
    type Error = Invalid;
    fn try_from(message: v1::Factors) -> Result<Self, Invalid> {
        Ok(Self {
            exploited: message.exploited,
            exposed: message.exposed,
            level: level(&message.level)?,
            unproved: if message.unproved.is_empty() { None } else { Some(unproved(&message.unproved)?) },
            automatable: message.automatable,
            total_impact: message.total_impact,
            assumed: message.assumed,
            threat: message.threat,
            epss: message.epss,
            reaches: message.reaches,
            modifiers: message.modifiers,
        })
    }
}

impl From<Finding> for v1::Finding {
    fn from(value: Finding) -> Self {
        Self {
            id: value.id,
            vulnerability_id: value.key.vulnerability,
            package: Some(value.key.package.into()),
            holder: Some(value.key.holder.into()),
            revision: value.revision,
            state: state_word(value.state),
            class: value.assessment.class.to_string(),
            rank: value.assessment.rank,
            factors: Some(value.assessment.factors.into()),
            sentence: value.assessment.sentence,
            vulnerability: Some(value.vulnerability.into()),
            versions: value.versions,
            fixed: value.fixed,
            status: status_word(value.status),
            images: into_all(value.images),
            advisory: value.advisory,
            opened_at: value.opened_at.to_string(),
            due: text(value.due.as_ref()),
            db_seq: value.db_seq,
            evidence: value.evidence,
            suppressions: into_all(value.suppressions),
        }
    }
}

impl TryFrom<v1::Finding> for Finding {
    type Error = Invalid;
    fn try_from(message: v1::Finding) -> Result<Self, Invalid> {
        Ok(Self {
            id: message.id,
            key: FindingKey {
                vulnerability: message.vulnerability_id,
                package: message.package.ok_or(Invalid::missing("package"))?.try_into()?,
                holder: message.holder.ok_or(Invalid::missing("holder"))?.try_into()?,
            },
            revision: message.revision,
            state: state(&message.state)?,
            assessment: Assessment {
                class: parse("class", &message.class)?,
                rank: message.rank,
                factors: message.factors.ok_or(Invalid::missing("factors"))?.try_into()?,
                sentence: message.sentence,
            },
            vulnerability: message.vulnerability.ok_or(Invalid::missing("vulnerability"))?.try_into()?,
            versions: message.versions,
            fixed: message.fixed,
            status: status(&message.status)?,
            images: message.images.iter().map(|d| parse("images", d)).collect::<Result<_, _>>()?,
            advisory: message.advisory,
            opened_at: parse("opened_at", &message.opened_at)?,
            due: parse_optional("due", &message.due)?,
            db_seq: message.db_seq,
            evidence: message.evidence,
            suppressions: all(message.suppressions)?,
        })
    }
}

impl From<Suppression> for v1::Suppression {
    fn from(value: Suppression) -> Self {
        Self {
            statement: value.statement,
            kind: kind_word(value.kind),
            status: vex_word(value.status),
            justification: value.justification,
            reason: value.reason,
            issuer: value.issuer,
            document: value.document,
            signed_by: value.signed_by,
            expires: text(value.expires.as_ref()),
        }
    }
}

impl TryFrom<v1::Suppression> for Suppression {
    type Error = Invalid;
    fn try_from(message: v1::Suppression) -> Result<Self, Invalid> {
        Ok(Self {
            statement: message.statement,
            kind: kind(&message.kind)?,
            status: vex_status(&message.status)?,
            justification: message.justification,
            reason: message.reason,
            issuer: message.issuer,
            document: message.document,
            signed_by: message.signed_by,
            expires: parse_optional("expires", &message.expires)?,
        })
    }
}

impl From<Change> for v1::Change {
    fn from(value: Change) -> Self {
        Self {
            kind: change_word(value.kind),
            previous_class: text(value.previous_class.as_ref()),
            finding: Some(value.finding.into()),
        }
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Invalid;
    fn try_from(message: v1::Change) -> Result<Self, Invalid> {
        Ok(Self {
            kind: change(&message.kind)?,
            previous_class: parse_optional::<Class>("previous_class", &message.previous_class)?,
            finding: message.finding.ok_or(Invalid::missing("finding"))?.try_into()?,
        })
    }
}

impl From<RollUp> for v1::RollUp {
    fn from(value: RollUp) -> Self {
        Self {
            epoch: value.epoch,
            seq: value.seq,
            at: value.at.to_string(),
            cause: Some(value.cause.into()),
            holder: Some(value.holder.into()),
            class: value.class.to_string(),
            changes: into_all(value.changes),
            failure: value.failure.map(|(code, detail)| v1::Failure { code, detail }),
            trace: value.trace,
        }
    }
}

impl TryFrom<v1::RollUp> for RollUp {
    type Error = Invalid;
    fn try_from(message: v1::RollUp) -> Result<Self, Invalid> {
        Ok(Self {
            epoch: message.epoch,
            seq: message.seq,
            at: parse("at", &message.at)?,
            cause: message.cause.ok_or(Invalid::missing("cause"))?.into(),
            holder: message.holder.ok_or(Invalid::missing("holder"))?.try_into()?,
            class: parse("class", &message.class)?,
            changes: all(message.changes)?,
            failure: message.failure.map(|f| (f.code, f.detail)),
            trace: message.trace,
        })
    }
}
