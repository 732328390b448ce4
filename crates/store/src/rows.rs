//! Rows in their stored form, and what the writer remembers of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use plimsoll_findings::Statements;
use plimsoll_model::finding::{Assessment, FindingState};
use plimsoll_model::vex::Suppression;
use plimsoll_model::vulnerability::{Match, MatchStatus};
use plimsoll_model::{
    Class, ComponentKey, Finding, FindingKey, Holder, PackageKey, Timestamp, Vulnerability,
};
use serde::{Deserialize, Serialize};

use crate::error::{StoreError, decode, encode, unsigned};

/// What the writer knows without asking; exact, because there is one writer, and dropped when a transaction fails.
#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) repositories: HashMap<(String, String), i64>,
    pub(crate) components: HashMap<Box<str>, CachedComponent>,
    pub(crate) vulnerabilities: HashMap<String, CachedVulnerability>,
    pub(crate) holders: HashMap<Holder, i64>,
    pub(crate) rows: ComponentRows,
    /// By holder: the hash of all that its findings were computed from, when they were saved.
    pub(crate) judged: HashMap<i64, u64>,
    /// The statements that hold, with a hash of their ids.
    pub(crate) statements: Option<(Arc<Statements>, u64)>,
}

/// Components by id; `None` for those without matches.
pub(crate) type ComponentRows = HashMap<i64, Option<Arc<ComponentRow>>>;

/// A component with matches.
pub(crate) struct ComponentRow {
    pub(crate) db_seq: u64,
    pub(crate) hash: u64,
    pub(crate) matches: Vec<Match>,
}

#[derive(Clone)]
pub(crate) struct CachedVulnerability {
    pub(crate) db_seq: i64,
    /// Of the stored text.
    pub(crate) hash: u64,
    pub(crate) value: Arc<Vulnerability>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct CachedComponent {
    pub(crate) id: i64,
    pub(crate) db_seq: i64,
    /// Of the stored matches; 0 for none.
    pub(crate) hash: u64,
}

/// Entries after which a map is dropped.
const MOST_SMALL: usize = 50_000;
const MOST_COMPONENTS: usize = 300_000;

impl Cache {
    /// Keeps memory bounded; called between transactions.
    pub(crate) fn trim(&mut self) {
        if self.repositories.len() > MOST_SMALL {
            self.repositories.clear();
        }
        if self.components.len() > MOST_COMPONENTS {
            self.components.clear();
        }
        if self.vulnerabilities.len() > MOST_SMALL {
            self.vulnerabilities.clear();
        }
        if self.rows.len() > MOST_COMPONENTS {
            self.rows.clear();
        }
        if self.judged.len() > MOST_COMPONENTS {
            self.judged.clear();
        }
        if self.holders.len() > MOST_SMALL {
            self.holders.clear();
        }
    }
}

/// A hash of anything, for comparisons inside this process.
pub(crate) fn hash_of(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A hash of a component's matches that is 0 for none and only for none. `matches` must be sorted.
pub(crate) fn matches_hash<'a>(matches: impl Iterator<Item = &'a Match>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut any = false;
    for m in matches {
        any = true;
        (&m.vulnerability, &m.advisory, &m.feed, m.status, &m.range, &m.compared, &m.fixed, m.confident)
            .hash(&mut hasher);
    }
    if any { hasher.finish().max(1) } else { 0 }
}

/// A match without its component, which the row has.
#[derive(Serialize, Deserialize)]
struct StoredMatch {
    v: String,
    a: String,
    f: String,
    s: MatchStatus,
    r: String,
    c: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    /// Low confidence.
    l: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<i64>,
}

/// The text of a component's matches, which must be sorted; `None` where there are none.
pub(crate) fn matches_text(matches: &[&Match]) -> Result<Option<String>, StoreError> {
    if matches.is_empty() {
        return Ok(None);
    }
    let stored: Vec<StoredMatch> = matches
        .iter()
        .map(|m| StoredMatch {
            v: m.vulnerability.clone(),
            a: m.advisory.clone(),
            f: m.feed.clone(),
            s: m.status,
            r: m.range.clone(),
            c: m.compared.clone(),
            x: m.fixed.clone(),
            l: !m.confident,
            d: m.feed_date.map(|at| at.0),
        })
        .collect();
    encode("components", &stored).map(Some)
}

/// The reverse of [`matches_text`].
pub(crate) fn matches_of(component: &ComponentKey, text: &str) -> Result<Vec<Match>, StoreError> {
    let stored: Vec<StoredMatch> = decode("components", text)?;
    Ok(stored
        .into_iter()
        .map(|m| Match {
            vulnerability: m.v,
            component: component.clone(),
            advisory: m.a,
            feed: m.f,
            status: m.s,
            range: m.r,
            compared: m.c,
            fixed: m.x,
            confident: !m.l,
            feed_date: m.d.map(plimsoll_model::Timestamp),
        })
        .collect())
}

/// The vulnerabilities that a text of matches names.
pub(crate) fn matched_ids(text: &str) -> Result<Vec<String>, StoreError> {
    let stored: Vec<StoredMatch> = decode("components", text)?;
    Ok(stored.into_iter().map(|m| m.v).collect())
}

/// The parts of a finding that no column has. Its images are not stored: a rebuild with the same content would rewrite
/// every finding. They follow from what the holder has (`held`) and what is `matched`.
#[derive(Serialize)]
struct BodyRef<'a> {
    package: &'a PackageKey,
    assessment: &'a Assessment,
    versions: &'a [String],
    fixed: &'a Option<String>,
    status: MatchStatus,
    advisory: &'a str,
    evidence: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    suppressions: &'a [Suppression],
}

#[derive(Deserialize)]
struct Body {
    package: PackageKey,
    assessment: Assessment,
    versions: Vec<String>,
    fixed: Option<String>,
    status: MatchStatus,
    advisory: String,
    evidence: Vec<String>,
    #[serde(default)]
    suppressions: Vec<Suppression>,
}

pub(crate) fn finding_body(finding: &Finding) -> Result<String, StoreError> {
    encode(
        "findings",
        &BodyRef {
            package: &finding.key.package,
            assessment: &finding.assessment,
            versions: &finding.versions,
            fixed: &finding.fixed,
            status: finding.status,
            advisory: &finding.advisory,
            evidence: &finding.evidence,
            suppressions: &finding.suppressions,
        },
    )
}

/// A row of findings with its holder's id.
#[derive(Debug, Clone)]
pub(crate) struct FindingRow {
    pub(crate) id: String,
    pub(crate) holder: i64,
    pub(crate) vulnerability: String,
    pub(crate) state: i64,
    pub(crate) opened_at: i64,
    pub(crate) due: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) db_seq: i64,
    pub(crate) body: String,
}

/// Reads a row into a struct by the names of its fields.
macro_rules! from_row {
    ($row:ty { $($field:ident),* $(,)? }) => {
        impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for $row {
            fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}
pub(crate) use from_row;

from_row!(FindingRow { id, holder, vulnerability, state, opened_at, due, revision, db_seq, body });

impl FindingRow {
    pub(crate) fn into_finding(
        self,
        holder: Holder,
        vulnerability: Vulnerability,
    ) -> Result<Finding, StoreError> {
        let body: Body = decode("findings", &self.body)?;
        Ok(Finding {
            id: self.id,
            key: FindingKey { vulnerability: self.vulnerability, package: body.package, holder },
            revision: unsigned(self.revision),
            state: state_of(self.state)?,
            assessment: body.assessment,
            vulnerability,
            versions: body.versions,
            fixed: body.fixed,
            status: body.status,
            images: Vec::new(),
            advisory: body.advisory,
            opened_at: Timestamp(self.opened_at),
            due: self.due.map(Timestamp),
            db_seq: unsigned(self.db_seq),
            evidence: body.evidence,
            suppressions: body.suppressions,
        })
    }
}

pub(crate) fn state_number(state: FindingState) -> i64 {
    match state {
        FindingState::Open => 0,
        FindingState::Fixed => 1,
        FindingState::Suppressed => 2,
    }
}

fn state_of(number: i64) -> Result<FindingState, StoreError> {
    match number {
        0 => Ok(FindingState::Open),
        1 => Ok(FindingState::Fixed),
        2 => Ok(FindingState::Suppressed),
        other => Err(StoreError::Corrupt { table: "findings", what: format!("state {other}") }),
    }
}

/// Order of urgency as a number.
pub(crate) fn class_number(class: Class) -> i64 {
    match class {
        Class::ThreeDaysForensic => 0,
        Class::ThreeDays => 1,
        Class::FourteenDays => 2,
        Class::SixtyDays => 3,
        Class::NextUpgrade => 4,
    }
}

/// A vulnerability of which only the id is known.
pub(crate) fn only_id(id: &str) -> Vulnerability {
    if let Some(known) = plimsoll_findings::network::described(id) {
        return known;
    }
    Vulnerability {
        id: id.to_owned(),
        aliases: Vec::new(),
        summary: String::new(),
        severity: plimsoll_model::vulnerability::Severity::Unknown,
        severity_source: String::new(),
        cvss: String::new(),
        published: None,
        modified: None,
        intelligence: plimsoll_model::vulnerability::Intelligence::default(),
    }
}
