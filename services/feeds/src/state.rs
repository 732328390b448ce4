//! What is kept of each source: the copy that counts, one that waits for acceptance, and how the source was last found.

use std::path::{Path, PathBuf};

use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_vuln::{FeedReport, Provenance};
use serde::{Deserialize, Serialize};

use crate::fetch::Validators;
use crate::source::Source;

/// More than this part of its records gone is held: one in fifty.
const SHRINK: u64 = 50;
/// As many records as this may go from any source: advisories are withdrawn one by one, and of a short list each is
/// more than one in fifty.
const FEW: u64 = 10;

/// A source and its copies, as `state.json` in its folder keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub name: String,
    pub address: String,
    /// The copy that counts.
    pub current: Option<Copy>,
    pub held: Option<Held>,
    /// When the source was last known to have nothing else than the newest copy.
    pub checked: Option<Timestamp>,
    /// Why the source could not be read the last time.
    pub failure: Option<Failure>,
    pub progress: Progress,
}

/// How far fetching has come: of the newest copy, held or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Of the file, or of the list of changes.
    pub validators: Validators,
    /// Time of the newest change that was taken, as the list writes it.
    pub cursor: String,
    /// When the archive below the changes was fetched.
    pub base_at: Timestamp,
}

/// What a source was at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Number of its folder.
    pub number: u64,
    pub records: u64,
    pub newest: Option<Timestamp>,
    /// The date that the server gives the content.
    pub as_of: Option<Timestamp>,
    pub taken: Timestamp,
    /// Checksums of what was read.
    pub checksum: String,
    pub terms: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub copy: Copy,
    pub reason: String,
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub detail: String,
    pub since: Timestamp,
}

impl Copy {
    /// What was read of a copy.
    pub fn of(number: u64, reports: &[FeedReport], as_of: Option<Timestamp>, taken: Timestamp) -> Self {
        let mut terms: Vec<String> =
            reports.iter().flat_map(plimsoll_vuln::feeds::licence::of_report).map(str::to_owned).collect();
        terms.sort();
        terms.dedup();
        let checksums: Vec<String> = reports.iter().map(|report| report.checksum.to_string()).collect();
        Self {
            number,
            records: reports.iter().map(|report| report.records).sum(),
            newest: reports.iter().filter_map(|report| report.newest).max(),
            as_of,
            taken,
            checksum: checksums.join(" "),
            terms,
        }
    }
}

/// Why a copy may not take the place of the one before: it lost more than 2 % of the records and more than ten of them,
/// or more than half of a list that is shorter, or it is older. (What has no record at all is a failure, before this.)
pub fn judge(before: &Copy, after: &Copy) -> Option<String> {
    let lost = before.records.saturating_sub(after.records);
    let large = lost > FEW && lost.saturating_mul(SHRINK) > before.records;
    if large || lost.saturating_mul(2) > before.records {
        return Some(format!("{} records, {} before", after.records, before.records));
    }
    let day = |at: Timestamp| at.to_string();
    for (what, before, after) in
        [("its newest record", before.newest, after.newest), ("its date", before.as_of, after.as_of)]
    {
        match (before, after) {
            (Some(before), Some(after)) if after < before => {
                return Some(format!("{what} is of {}, before of {}", day(after), day(before)));
            }
            (Some(before), None) if what == "its newest record" => {
                return Some(format!("no record has a date, the newest before was of {}", day(before)));
            }
            _ => {}
        }
    }
    None
}

impl State {
    /// Reads the state of a source; a new one where there is none.
    pub fn load(folder: &Path, source: &Source) -> Result<Self, ProcessError> {
        let path = folder.join("state.json");
        let state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| ProcessError::role("feed_state", format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(ProcessError::io(format!("read {}", path.display()))(error)),
        };
        Ok(Self { name: source.name.clone(), address: source.address(), ..state })
    }

    /// Writes the state, in one step.
    pub fn save(&self, folder: &Path) -> Result<(), ProcessError> {
        let path = folder.join("state.json");
        let part = folder.join("state.part");
        let text = serde_json::to_vec_pretty(self).map_err(|error| ProcessError::role("internal", error))?;
        std::fs::write(&part, text).map_err(ProcessError::io(format!("write {}", part.display())))?;
        std::fs::rename(&part, &path).map_err(ProcessError::io(format!("write {}", path.display())))
    }

    /// The newest copy, held or not.
    pub fn newest(&self) -> Option<&Copy> {
        self.held.as_ref().map(|held| &held.copy).or(self.current.as_ref())
    }

    /// Takes a copy, or holds it.
    pub fn offer(&mut self, copy: Copy, now: Timestamp) {
        let reason = self.current.as_ref().and_then(|current| judge(current, &copy));
        match reason {
            None => {
                self.current = Some(copy);
                self.held = None;
            }
            Some(reason) => {
                let since = self.held.as_ref().map_or(now, |held| held.since);
                self.held = Some(Held { copy, reason, since });
            }
        }
    }

    /// Takes what is held; tells whether anything was.
    pub fn accept(&mut self) -> bool {
        match self.held.take() {
            Some(held) => {
                self.current = Some(held.copy);
                true
            }
            None => false,
        }
    }

    /// The folder of the copy that counts.
    pub fn path(&self, folder: &Path) -> Option<PathBuf> {
        self.current.as_ref().map(|copy| copy_folder(folder, copy.number))
    }

    /// What a Db says of the source.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            name: self.name.clone(),
            address: self.address.clone(),
            as_of: self.current.as_ref().and_then(|copy| copy.as_of),
            checked: self.checked,
            stale: self.failure.is_some(),
            held: self.held.is_some(),
        }
    }

    /// Removes copies that are neither current nor held.
    pub fn sweep(&self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let kept = [self.current.as_ref(), self.newest()].map(|copy| copy.map(|copy| copy.number));
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix('g')?.parse::<u64>().ok());
            if number.is_some_and(|number| !kept.contains(&Some(number)))
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::debug!(%error, "an old copy of a feed could not be removed");
            }
        }
    }
}

/// The folder of a copy.
pub fn copy_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("g{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(records: u64, newest: i64) -> Copy {
        Copy { records, newest: (newest > 0).then_some(Timestamp(newest)), ..Copy::default() }
    }

    #[test]
    fn what_is_held() {
        for (before, after, held) in [
            (copy(1000, 5), copy(980, 5), false),
            (copy(1000, 5), copy(979, 5), true),
            // Few records are few, also where they are more than 2 %; not where they are most.
            (copy(3, 5), copy(2, 5), false),
            (copy(100, 5), copy(90, 5), false),
            (copy(100, 5), copy(89, 5), true),
            (copy(499, 5), copy(489, 5), false),
            (copy(10, 5), copy(5, 5), false),
            (copy(10, 5), copy(4, 5), true),
            (copy(3, 5), copy(1, 5), true),
            (copy(10, 5), copy(2000, 6), false),
            (copy(10, 5), copy(11, 4), true),
            (copy(10, 5), copy(11, 0), true),
            (copy(10, 0), copy(10, 0), false),
            (copy(0, 0), copy(0, 0), false),
        ] {
            assert_eq!(judge(&before, &after).is_some(), held, "{before:?} {after:?}");
        }
    }

    #[test]
    fn held_until_accepted_or_repaired() {
        let mut state = State::default();
        state.offer(copy(100, 1), Timestamp(1));
        state.offer(copy(10, 2), Timestamp(2));
        state.offer(copy(11, 3), Timestamp(3));
        let held = state.held.clone().unwrap();
        assert_eq!((held.copy.records, held.since), (11, Timestamp(2)));
        assert_eq!(state.current.as_ref().unwrap().records, 100);
        // The source repairs itself.
        let mut repaired = state.clone();
        repaired.offer(copy(101, 4), Timestamp(4));
        assert_eq!((repaired.current.unwrap().records, repaired.held), (101, None));
        assert!(state.accept() && !state.accept());
        assert_eq!(state.current.unwrap().records, 11);
    }
}
