//! Values that several kinds of messages speak about.

use plimsoll_model::exposure::WorkloadName;
use plimsoll_model::extract::{Anomaly, Partial};
use plimsoll_model::package::{ComponentKey, PackageKey, Release, SourcePackage};
use plimsoll_model::platform::Platform;
use plimsoll_model::vulnerability::{
    Exploit, Intelligence, Kev, Match, MatchSet, MatchStatus, Severity, Sourced, Vulnerability,
};

use super::{Invalid, all, into_all, optional, parse, parse_optional, text, words};
use crate::v1;

words!(severity_word, severity, "severity", Severity {
    Severity::Unknown => "unknown", Severity::Negligible => "negligible", Severity::Low => "low",
    Severity::Medium => "medium", Severity::High => "high", Severity::Critical => "critical",
});
words!(exploit_word, exploit, "exploit", Exploit {
    Exploit::None => "none", Exploit::Poc => "poc", Exploit::Weaponised => "weaponised",
});
words!(status_word, status, "status", MatchStatus {
    MatchStatus::Affected => "affected", MatchStatus::WontFix => "wont_fix",
    MatchStatus::NotAffected => "not_affected", MatchStatus::UnderInvestigation => "under_investigation",
});

macro_rules! same_fields {
    ($model:ident, $message:ident { $($field:ident),* }) => {
        impl From<$model> for v1::$message {
            fn from(value: $model) -> Self {
                Self { $($field: value.$field.into()),* }
            }
        }
        impl From<v1::$message> for $model {
            fn from(message: v1::$message) -> Self {
                Self { $($field: message.$field.into()),* }
            }
        }
    };
}
pub(super) use same_fields;

same_fields!(Release, Release { id, version });
same_fields!(SourcePackage, SourcePackage { name, version });
same_fields!(Partial, Partial { code, detail });
same_fields!(Anomaly, Anomaly { code, path, detail });
same_fields!(WorkloadName, WorkloadName { cluster, namespace, kind, name });

impl From<Platform> for v1::Platform {
    fn from(value: Platform) -> Self {
        Self { os: value.os, architecture: value.architecture, variant: value.variant.unwrap_or_default() }
    }
}

impl From<v1::Platform> for Platform {
    fn from(message: v1::Platform) -> Self {
        Self { os: message.os, architecture: message.architecture, variant: optional(message.variant) }
    }
}

impl From<PackageKey> for v1::PackageKey {
    fn from(value: PackageKey) -> Self {
        Self { ecosystem: value.ecosystem.into(), release: value.release.map(Into::into), name: value.name }
    }
}

impl TryFrom<v1::PackageKey> for PackageKey {
    type Error = Invalid;
    fn try_from(message: v1::PackageKey) -> Result<Self, Invalid> {
        Ok(Self {
            ecosystem: parse("ecosystem", &message.ecosystem)?,
            release: message.release.map(Into::into),
            name: message.name,
        })
    }
}

impl From<ComponentKey> for v1::ComponentKey {
    fn from(value: ComponentKey) -> Self {
        Self {
            package: Some(value.package.into()),
            version: value.version,
            source: value.source.map(Into::into),
            arch: value.arch,
            stream: value.stream,
        }
    }
}

impl TryFrom<v1::ComponentKey> for ComponentKey {
    type Error = Invalid;
    fn try_from(message: v1::ComponentKey) -> Result<Self, Invalid> {
        Ok(Self {
            package: message.package.ok_or(Invalid::missing("package"))?.try_into()?,
            version: message.version,
            source: message.source.map(Into::into),
            arch: message.arch,
            stream: message.stream,
        })
    }
}

fn flag(value: Sourced<bool>) -> v1::SourcedFlag {
    v1::SourcedFlag { value: value.value, source: value.source }
}

fn sourced(message: v1::SourcedFlag) -> Sourced<bool> {
    Sourced { value: message.value, source: message.source }
}

impl From<Vulnerability> for v1::Vulnerability {
    fn from(value: Vulnerability) -> Self {
        let intelligence = value.intelligence;
        Self {
            id: value.id,
            aliases: value.aliases,
            summary: value.summary,
            severity: severity_word(value.severity),
            severity_source: value.severity_source,
            cvss: value.cvss,
            published: text(value.published.as_ref()),
            modified: text(value.modified.as_ref()),
            kev: intelligence
                .kev
                .map(|kev| v1::Kev { date_added: kev.date_added.to_string(), ransomware: kev.ransomware }),
            epss: intelligence.epss,
            exploit: exploit_word(intelligence.exploit),
            automatable: intelligence.automatable.map(flag),
            total_impact: intelligence.total_impact.map(flag),
        }
    }
}

impl TryFrom<v1::Vulnerability> for Vulnerability {
    type Error = Invalid;
    fn try_from(message: v1::Vulnerability) -> Result<Self, Invalid> {
        let kev = match message.kev {
            Some(kev) => {
                Some(Kev { date_added: parse("date_added", &kev.date_added)?, ransomware: kev.ransomware })
            }
            None => None,
        };
        Ok(Self {
            id: message.id,
            aliases: message.aliases,
            summary: message.summary,
            severity: severity(&message.severity)?,
            severity_source: message.severity_source,
            cvss: message.cvss,
            published: parse_optional("published", &message.published)?,
            modified: parse_optional("modified", &message.modified)?,
            intelligence: Intelligence {
                kev,
                epss: message.epss,
                exploit: exploit(&message.exploit)?,
                automatable: message.automatable.map(sourced),
                total_impact: message.total_impact.map(sourced),
            },
        })
    }
}

impl From<Match> for v1::Match {
    fn from(value: Match) -> Self {
        Self {
            vulnerability: value.vulnerability,
            component: Some(value.component.into()),
            advisory: value.advisory,
            feed: value.feed,
            status: status_word(value.status),
            range: value.range,
            compared: value.compared,
            fixed: value.fixed,
            confident: value.confident,
            feed_date: value.feed_date.map(|at| at.0),
        }
    }
}

impl TryFrom<v1::Match> for Match {
    type Error = Invalid;
    fn try_from(message: v1::Match) -> Result<Self, Invalid> {
        Ok(Self {
            vulnerability: message.vulnerability,
            component: message.component.ok_or(Invalid::missing("component"))?.try_into()?,
            advisory: message.advisory,
            feed: message.feed,
            status: status(&message.status)?,
            range: message.range,
            compared: message.compared,
            fixed: message.fixed,
            confident: message.confident,
            feed_date: message.feed_date.map(plimsoll_model::Timestamp),
        })
    }
}

impl From<MatchSet> for v1::MatchSet {
    fn from(value: MatchSet) -> Self {
        Self {
            db_seq: value.db_seq,
            matches: into_all(value.matches),
            vulnerabilities: into_all(value.vulnerabilities),
            uncovered: value.uncovered,
            end_of_life: value.end_of_life,
        }
    }
}

impl TryFrom<v1::MatchSet> for MatchSet {
    type Error = Invalid;
    fn try_from(message: v1::MatchSet) -> Result<Self, Invalid> {
        Ok(Self {
            db_seq: message.db_seq,
            matches: all(message.matches)?,
            vulnerabilities: all(message.vulnerabilities)?,
            uncovered: message.uncovered,
            end_of_life: message.end_of_life,
        })
    }
}
