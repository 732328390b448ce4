//! Why a component is not affected: what the advisories of the Db say of its package.

use std::collections::HashMap;

use plimsoll_model::ComponentKey;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_vuln::{Db, DbError, LookupKey};

/// Components of one answer that are explained; the others keep the general sentence.
const MOST: usize = 500;
/// Ranges that are named.
const RANGES: usize = 4;

/// Explains components, each once.
pub(crate) struct Because<'d> {
    db: &'d Db,
    /// Canonical id of the vulnerability that is asked about.
    id: String,
    known: HashMap<ComponentKey, Option<String>>,
}

impl<'d> Because<'d> {
    pub(crate) fn new(db: &'d Db, id: String) -> Self {
        Self { db, id, known: HashMap::new() }
    }

    /// `not affected: ADVISORY (FEED)`, or which range the version is not in; `None` where no advisory names the package.
    pub(crate) fn of(&mut self, component: &ComponentKey) -> Result<Option<String>, DbError> {
        if let Some(known) = self.known.get(component) {
            return Ok(known.clone());
        }
        if self.known.len() >= MOST {
            return Ok(None);
        }
        let because = self.ask(component)?;
        self.known.insert(component.clone(), because.clone());
        Ok(because)
    }

    fn ask(&self, component: &ComponentKey) -> Result<Option<String>, DbError> {
        let version = component.source.as_ref().map_or(&component.version, |source| &source.version);
        let mut because = None;
        for key in LookupKey::of(component) {
            for statement in self.db.query(&key)? {
                if !statement.vulnerabilities.contains(&self.id) {
                    continue;
                }
                let by = format!("({}, {})", statement.advisory, statement.feed);
                if statement.status == MatchStatus::NotAffected {
                    return Ok(Some(format!("not affected: the advisory says so {by}")));
                }
                let mut ranges: Vec<&str> =
                    statement.ranges.iter().chain(&statement.versions).map(String::as_str).collect();
                let more = ranges.len().saturating_sub(RANGES);
                ranges.truncate(RANGES);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                because.get_or_insert(format!("{version} is not in {}{more} {by}", ranges.join("; ")));
            }
        }
        Ok(because)
    }
}
