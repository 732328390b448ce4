//! Keys and credentials in files, found while their bytes pass, in constant memory.
//!
//! A [`Scanner`] is fed a file piece by piece. It looks for a few fixed texts at once ([`Texts`]) and asks the
//! [rule](rules) of each whether what stands there is a secret: its length, its alphabet, its entropy, and whether it
//! is an example. Some small files are read whole, because what a password is depends on the file's format
//! ([`files`]). Files that are no text are looked at for private keys only.
//!
//! What is noted never holds the secret, nor a part or hash of it: rule, line, and an excerpt of fixed text.
//!
//! Not looked into: compressed content, encodings other than ASCII-compatible ones, and private keys below folders
//! of installed packages, which ship test keys that everybody has.

mod files;
mod rules;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{self, Searcher};
use memchr::memmem::Finder;
use serde::Serialize;

use files::Format;
use rules::RULES;

/// Bytes that a rule may look at from the beginning of its text: the longest secret and what surrounds it.
const LOOK: usize = 4 << 10;
/// A file is taken for text unless a NUL is among its first bytes.
const SNIFF: usize = 1 << 10;
/// Findings of one file.
const MAX_OF_FILE: usize = 50;
/// Files of known formats are read whole up to this size.
const MAX_WHOLE: usize = 256 << 10;

/// What was found, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Note {
    /// From 1; 0 in a file that is no text.
    line: u32,
    rule: &'static str,
    excerpt: String,
}

/// Finds the texts of all rules.
///
/// An automaton of all of them reads every byte by itself; vector instructions compare the beginnings of all texts with
/// many bytes at once, ten times as fast, but only for texts of four bytes and more: shorter ones are looked for one by
/// one.
struct Texts {
    /// The rules of `many`, by number of the text.
    rules: Vec<usize>,
    /// `None` on processors without the instructions.
    many: Option<Searcher>,
    automaton: Option<AhoCorasick>,
    short: Vec<(usize, Finder<'static>)>,
}

/// Texts of fewer bytes are looked for one by one.
const LEAST: usize = 4;

impl Texts {
    fn new() -> Self {
        let (long, short): (Vec<_>, Vec<_>) =
            RULES.iter().enumerate().partition(|(_, rule)| rule.text.len() >= LEAST);
        let many = packed::Config::new().builder().extend(long.iter().map(|(_, rule)| rule.text)).build();
        let automaton = match many {
            Some(_) => None,
            None => AhoCorasick::new(long.iter().map(|(_, rule)| rule.text)).ok(),
        };
        Self {
            rules: long.into_iter().map(|(index, _)| index).collect(),
            many,
            automaton,
            short: short.into_iter().map(|(index, rule)| (index, Finder::new(rule.text))).collect(),
        }
    }

    /// Calls `found` with the rule of each text and where it begins.
    fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize)) {
        let mut long = |text: usize, at: usize| {
            if let Some(rule) = self.rules.get(text) {
                found(*rule, at);
            }
        };
        if let Some(many) = &self.many {
            many.find_iter(bytes).for_each(|one| long(one.pattern().as_usize(), one.start()));
        } else if let Some(automaton) = &self.automaton {
            automaton.find_iter(bytes).for_each(|one| long(one.pattern().as_usize(), one.start()));
        }
        for (rule, finder) in &self.short {
            finder.find_iter(bytes).for_each(|at| found(*rule, at));
        }
    }
}

static TEXTS: LazyLock<Texts> = LazyLock::new(Texts::new);

/// Looks at one file after another.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    notes: Vec<Note>,
    format: Option<Format>,
    whole: Vec<u8>,
    /// Private keys count here.
    keys: bool,
    begun: bool,
    binary: bool,
    /// The end of what was fed, not looked at yet for want of what follows.
    pending: Vec<u8>,
    /// The byte before `pending`.
    before: Option<u8>,
    /// Line breaks before `pending`.
    lines: usize,
}

impl Scanner {
    /// Starts a file.
    pub(crate) fn begin(&mut self, path: &str) {
        self.notes.clear();
        self.whole.clear();
        self.pending.clear();
        self.format = Format::of(path);
        self.keys = !rules::of_package(path);
        (self.begun, self.binary, self.before, self.lines) = (false, false, None, 0);
    }

    /// Takes the next bytes of the file.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.format.is_some() {
            let room = MAX_WHOLE.saturating_sub(self.whole.len()).min(bytes.len());
            self.whole.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        if self.pending.is_empty() && bytes.len() > 2 * LOOK {
            self.sniff(bytes);
            self.pass(bytes, 0);
            return;
        }
        let had = self.pending.len();
        let step = bytes.len().min(2 * LOOK);
        self.pending.extend_from_slice(bytes.get(..step).unwrap_or(bytes));
        if self.pending.len() <= 2 * LOOK {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        self.sniff(&pending);
        if step == bytes.len() {
            let done = pending.len().saturating_sub(LOOK);
            self.scan(&pending, 0, done);
            self.leave(&pending, done);
            pending.drain(..done);
            self.pending = pending;
            return;
        }
        // More follows in `bytes` than was copied: look at the seam, then go on without a copy.
        let done = pending.len().saturating_sub(LOOK);
        self.scan(&pending, 0, done);
        self.lines += self.breaks(pending.get(..had).unwrap_or(&[]));
        self.before = had.checked_sub(1).and_then(|at| pending.get(at).copied());
        pending.clear();
        self.pending = pending;
        self.pass(bytes, done.saturating_sub(had));
    }

    /// Looks at `bytes` from `from`, but for their end, which waits for what follows.
    fn pass(&mut self, bytes: &[u8], from: usize) {
        let done = bytes.len().saturating_sub(LOOK);
        self.scan(bytes, from, done);
        self.leave(bytes, done);
        self.pending.extend_from_slice(bytes.get(done..).unwrap_or(&[]));
    }

    fn leave(&mut self, bytes: &[u8], done: usize) {
        self.lines += self.breaks(bytes.get(..done).unwrap_or(&[]));
        self.before = done.checked_sub(1).and_then(|at| bytes.get(at).copied()).or(self.before);
    }

    /// Ends the file: what was found in it, as JSON; `None` for nothing.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        let pending = std::mem::take(&mut self.pending);
        self.sniff(&pending);
        self.scan(&pending, 0, pending.len());
        self.pending = pending;
        if let Some(format) = self.format.filter(|_| !self.binary) {
            format.read(&self.whole, &mut self.notes);
        }
        if self.notes.is_empty() {
            return None;
        }
        self.notes.sort();
        self.notes.dedup();
        self.notes.truncate(MAX_OF_FILE);
        serde_json::to_vec(&self.notes).ok()
    }

    fn sniff(&mut self, first: &[u8]) {
        if !self.begun {
            self.begun = true;
            let head = first.get(..SNIFF).unwrap_or(first);
            self.binary = memchr::memchr(0, head).is_some();
        }
    }

    fn breaks(&self, bytes: &[u8]) -> usize {
        if self.binary { 0 } else { memchr::memchr_iter(b'\n', bytes).count() }
    }

    /// Asks the rules about their texts that begin in `from..to` of the bytes.
    fn scan(&mut self, bytes: &[u8], from: usize, to: usize) {
        let Some(window) = bytes.get(from..).filter(|_| from < to) else { return };
        if self.binary {
            if self.keys {
                for at in memchr::memmem::find_iter(window, rules::KEY) {
                    if from + at >= to {
                        break;
                    }
                    self.ask(rules::PRIVATE_KEY, bytes, from + at);
                }
            }
            return;
        }
        TEXTS.find(window, |rule, at| {
            if from + at < to {
                self.ask(rule, bytes, from + at);
            }
        });
    }

    fn ask(&mut self, rule: usize, bytes: &[u8], at: usize) {
        let Some(rule) = RULES.get(rule) else { return };
        if self.notes.len() >= MAX_OF_FILE || (!self.keys && rule.is_key()) {
            return;
        }
        let before = match at.checked_sub(1) {
            Some(at) => bytes.get(at).copied(),
            None => self.before,
        };
        let end = bytes.len().min(at.saturating_add(LOOK));
        let rest = bytes.get(at..end).unwrap_or(&[]);
        let start = bytes.get(..at).unwrap_or(&[]);
        if let Some(excerpt) = rule.judge(start, before, rest) {
            let line = if self.binary { 0 } else { self.lines + self.breaks(start) + 1 };
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            self.notes.push(Note { line, rule: rule.id, excerpt });
        }
    }
}

#[cfg(test)]
mod tests;
