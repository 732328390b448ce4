//! What differs between two Dbs: the package keys whose components must be matched again.

use std::cmp::Ordering;

use super::codec::Reader;
use super::entry::KeyRecord;
use super::{Db, DbError, record};
use crate::names::LookupKey;

/// Differences between two Dbs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DbDiff {
    /// Keys whose advisories changed: matches may appear, vanish or have another fix. Sorted.
    pub keys: Vec<LookupKey>,
    /// Keys of which only what is known of a vulnerability changed (KEV, EPSS, SSVC, severity, …): the same components
    /// match, with another rank. Sorted, disjoint from `keys`.
    pub intelligence: Vec<LookupKey>,
    /// Canonical ids of vulnerabilities that appeared, vanished or changed. Sorted.
    pub vulnerabilities: Vec<String>,
}

impl DbDiff {
    /// All keys of which anything changed, sorted.
    pub fn all(&self) -> Vec<LookupKey> {
        let mut all: Vec<LookupKey> = self.keys.iter().chain(&self.intelligence).cloned().collect();
        all.sort();
        all
    }
}

/// Compares two Dbs by the fingerprints of their records: both are read once in order, nothing is decoded but what
/// differs.
pub fn diff(old: &Db, new: &Db) -> Result<DbDiff, DbError> {
    let mut found = DbDiff::default();
    let key = |db: &Db, ordinal| -> Result<Vec<u8>, DbError> {
        Ok(KeyRecord::new(db.keys().get(ordinal)?)?.key.to_vec())
    };
    walk(
        (old.keys().len(), new.keys().len()),
        |ordinal| key(old, ordinal),
        |ordinal| key(new, ordinal),
        |a, b| Ok(old.keys().fingerprint(a)? == new.keys().fingerprint(b)?),
        |bytes, _, _| {
            found.keys.push(LookupKey::from_bytes(&bytes).ok_or(DbError::Corrupt("package key"))?);
            Ok(())
        },
    )?;
    found.keys.sort();
    let id = |db: &Db, ordinal| -> Result<Vec<u8>, DbError> {
        Ok(Reader::new(db.vulns().get(ordinal)?).text()?.as_bytes().to_vec())
    };
    let mut touched = Vec::new();
    walk(
        (old.vulns().len(), new.vulns().len()),
        |ordinal| id(old, ordinal),
        |ordinal| id(new, ordinal),
        |a, b| Ok(old.vulns().fingerprint(a)? == new.vulns().fingerprint(b)?),
        |id, a, b| {
            found.vulnerabilities.push(String::from_utf8_lossy(&id).into_owned());
            for (db, ordinal) in [(old, a), (new, b)] {
                let Some(ordinal) = ordinal else { continue };
                for key in record::keys_of(db.vulns().get(ordinal)?)? {
                    touched.push(db.lookup_key(key)?);
                }
            }
            Ok(())
        },
    )?;
    touched.sort();
    touched.dedup();
    touched.retain(|key| found.keys.binary_search(key).is_err());
    found.intelligence = touched;
    Ok(found)
}

/// Walks two sorted tables side by side and reports what is in one only or differs.
fn walk(
    (old_count, new_count): (u32, u32),
    old_key: impl Fn(u32) -> Result<Vec<u8>, DbError>,
    new_key: impl Fn(u32) -> Result<Vec<u8>, DbError>,
    equal: impl Fn(u32, u32) -> Result<bool, DbError>,
    mut report: impl FnMut(Vec<u8>, Option<u32>, Option<u32>) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let (mut a, mut b) = (0, 0);
    while a < old_count || b < new_count {
        let old = if a < old_count { Some(old_key(a)?) } else { None };
        let new = if b < new_count { Some(new_key(b)?) } else { None };
        let order = match (&old, &new) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => {
                report(old.unwrap_or_default(), Some(a), None)?;
                a += 1;
            }
            Ordering::Greater => {
                report(new.unwrap_or_default(), None, Some(b))?;
                b += 1;
            }
            Ordering::Equal => {
                if !equal(a, b)? {
                    report(new.unwrap_or_default(), Some(a), Some(b))?;
                }
                a += 1;
                b += 1;
            }
        }
    }
    Ok(())
}
