//! The Db: one immutable, memory-mapped file that answers which advisories there are for a package.
//!
//! A Db is built once ([`build`]), verified once when it is installed ([`Db::verify`]), and opened without being read
//! ([`Db::open`]). Equal inputs, sequence number and time give equal bytes.

pub mod build;
mod codec;
pub mod diff;
mod entry;
mod intelligence;
pub(crate) mod layout;
mod map;
mod record;
mod versions;

use std::fs::File;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::Vulnerability;
use serde::{Deserialize, Serialize};

use crate::feeds::{FeedError, FeedReport};
use crate::names::LookupKey;
use codec::Reader;
use layout::{Header, Section, Table};
use map::Bytes;

pub use entry::Statement;
pub(crate) use entry::{Entry, Hit, KeyRecord, Position};
pub use layout::FORMAT;

/// A Db that cannot be built or used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("read {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the database ends early")]
    Truncated,
    #[error("the database is damaged: {0}")]
    Corrupt(&'static str),
    #[error("the file is no database of format {FORMAT}{}", found.map_or_else(String::new, |f| format!(" but of format {f}")))]
    Format { found: Option<u32> },
    #[error("read a feed")]
    Feed(#[from] FeedError),
    #[error("too many {0} for one database")]
    TooLarge(&'static str),
}

impl From<codec::Damaged> for DbError {
    fn from(damaged: codec::Damaged) -> Self {
        Self::Corrupt(damaged.0)
    }
}

impl DbError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "db_unreadable",
            Self::Truncated => "db_truncated",
            Self::Corrupt(_) => "db_corrupt",
            Self::Format { .. } => "db_format",
            Self::Feed(error) => error.code(),
            Self::TooLarge(_) => "db_too_large",
        }
    }
}

/// What a Db says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbInfo {
    pub format: u32,
    pub seq: u64,
    pub built_at: Timestamp,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the content after the header, hexadecimal.
    pub content: String,
    /// Package keys, advisories, vulnerabilities.
    pub keys: u32,
    pub advisories: u32,
    pub vulnerabilities: u32,
    /// Ecosystems and releases that advisories cover, sorted.
    pub coverage: Vec<String>,
    pub feeds: Vec<FeedReport>,
}

/// An open Db. Cheap to share behind an `Arc`; all methods take `&self`.
#[derive(Debug)]
pub struct Db {
    bytes: Bytes,
    header: Header,
}

impl Db {
    /// Opens an installed Db: maps it and checks the header and the length; its content is not read
    /// (see [`Db::verify`]). One page is touched and nothing is allocated, so that neither the size of the file nor the
    /// state of the heap counts.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let io = |source| DbError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // An empty file cannot be mapped everywhere.
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(DbError::Truncated);
        }
        Self::new(Bytes::map(&file).map_err(io)?)
    }

    /// Opens a Db in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, DbError> {
        Self::new(Bytes::Owned(bytes))
    }

    fn new(bytes: Bytes) -> Result<Self, DbError> {
        let header = Header::decode(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// Reads the whole file and compares its checksum. Once, when a Db is installed.
    pub fn verify(&self) -> Result<(), DbError> {
        let content = self.bytes.get(layout::HEADER..).ok_or(DbError::Truncated)?;
        if digest(&SHA256, content).as_ref() == self.header.content {
            Ok(())
        } else {
            Err(DbError::Corrupt("content checksum"))
        }
    }

    /// The sequence number.
    pub fn seq(&self) -> u64 {
        self.header.seq
    }

    /// When it was built, milliseconds.
    pub(crate) fn built_at(&self) -> i64 {
        self.header.built_at
    }

    /// What the Db says of itself.
    pub fn info(&self) -> Result<DbInfo, DbError> {
        let feeds = serde_json::from_slice(self.section(Section::Meta))
            .map_err(|_| DbError::Corrupt("description of feeds"))?;
        let mut content = String::with_capacity(64);
        plimsoll_model::digest::push_hex(&mut content, &self.header.content);
        Ok(DbInfo {
            format: FORMAT,
            seq: self.header.seq,
            built_at: Timestamp(self.header.built_at),
            size: self.bytes.len() as u64,
            content,
            keys: self.keys().len(),
            advisories: self.advisories().len(),
            vulnerabilities: self.vulns().len(),
            coverage: self.coverage()?.map(|name| name.map(str::to_owned)).collect::<Result<_, _>>()?,
            feeds,
        })
    }

    /// True where some feed covers the ecosystem and release of `key`.
    pub fn covers(&self, key: &LookupKey) -> bool {
        let asked = key.coverage();
        self.coverage().is_ok_and(|mut names| names.any(|name| name == Ok(asked.as_str())))
    }

    /// Names of what feeds cover, sorted: some hundred at most, read where they are.
    fn coverage(&self) -> Result<impl Iterator<Item = Result<&str, codec::Damaged>>, codec::Damaged> {
        let mut reader = Reader::new(self.section(Section::Coverage));
        let count = reader.count()?;
        Ok((0..count).map(move |_| reader.text()))
    }

    /// Everything that is said of a package, also what does not affect any version, sorted by advisory.
    pub fn query(&self, key: &LookupKey) -> Result<Vec<Statement>, DbError> {
        let Some(record) = self.key_record(&key.to_bytes())? else { return Ok(Vec::new()) };
        let mut statements = Vec::new();
        for entry in record.entries()? {
            statements.push(entry?.statement(&record, self)?);
        }
        Ok(statements)
    }

    /// The vulnerability that an id names, canonical or alias. An id that names several (a DSA) gives the first of them;
    /// see [`Db::vulnerabilities`].
    pub fn vulnerability(&self, id: &str) -> Result<Option<Vulnerability>, DbError> {
        match self.ordinals(id)?.first() {
            Some(&ordinal) => record::decode_vulnerability(self.vulns().get(ordinal)?).map(Some),
            None => Ok(None),
        }
    }

    /// All vulnerabilities that an id names, sorted by canonical id.
    pub fn vulnerabilities(&self, id: &str) -> Result<Vec<Vulnerability>, DbError> {
        let vulns = self.vulns();
        let ordinals = self.ordinals(id)?;
        ordinals.into_iter().map(|ordinal| record::decode_vulnerability(vulns.get(ordinal)?)).collect()
    }

    /// The keys of the packages that an id (vulnerability, alias or advisory) is about, sorted.
    pub fn lookup_keys_of(&self, id: &str) -> Result<Vec<LookupKey>, DbError> {
        let mut keys = Vec::new();
        for ordinal in self.ordinals(id)? {
            for key in record::keys_of(self.vulns().get(ordinal)?)? {
                keys.push(self.lookup_key(key)?);
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn lookup_key(&self, ordinal: u32) -> Result<LookupKey, DbError> {
        let record = KeyRecord::new(self.keys().get(ordinal)?)?;
        LookupKey::from_bytes(record.key).ok_or(DbError::Corrupt("package key"))
    }

    fn ordinals(&self, id: &str) -> Result<Vec<u32>, DbError> {
        let table = self.ids();
        let found = layout::find(self.section(Section::IdSlots), id.as_bytes(), |ordinal| {
            Ok(Reader::new(table.get(ordinal)?).text()? == id)
        })?;
        let Some(ordinal) = found else { return Ok(Vec::new()) };
        let mut reader = Reader::new(table.get(ordinal)?);
        reader.text()?;
        let count = reader.count()?;
        Ok((0..count).map(|_| reader.number()).collect::<Result<_, codec::Damaged>>()?)
    }

    pub(crate) fn key_record(&self, key: &[u8]) -> Result<Option<KeyRecord<'_>>, DbError> {
        let table = self.keys();
        let found = layout::find(self.section(Section::KeySlots), key, |ordinal| {
            let mut reader = Reader::new(table.get(ordinal)?);
            let length = reader.count()?;
            Ok(reader.take(length)? == key)
        })?;
        match found {
            Some(ordinal) => Ok(Some(KeyRecord::new(table.get(ordinal)?)?)),
            None => Ok(None),
        }
    }

    /// Id, feed and date of an advisory.
    pub(crate) fn advisory(&self, ordinal: u32) -> Result<(&str, &str, Option<Timestamp>), DbError> {
        let mut reader = Reader::new(self.advisories().get(ordinal)?);
        Ok((reader.text()?, reader.text()?, reader.optional()?.map(Timestamp)))
    }

    /// Canonical id of a vulnerability.
    pub(crate) fn vulnerability_id(&self, ordinal: u32) -> Result<&str, DbError> {
        Ok(Reader::new(self.vulns().get(ordinal)?).text()?)
    }

    pub(crate) fn vulnerability_at(&self, ordinal: u32) -> Result<Vulnerability, DbError> {
        record::decode_vulnerability(self.vulns().get(ordinal)?)
    }

    fn section(&self, section: Section) -> &[u8] {
        let (offset, length) = self.header.sections.get(section as usize).copied().unwrap_or_default();
        self.bytes.get(offset..offset.saturating_add(length)).unwrap_or_default()
    }

    fn table(&self, index: Section, data: Section) -> Table<'_> {
        Table { index: self.section(index), data: self.section(data) }
    }

    fn keys(&self) -> Table<'_> {
        self.table(Section::KeyIndex, Section::Keys)
    }

    fn advisories(&self) -> Table<'_> {
        self.table(Section::AdvisoryIndex, Section::Advisories)
    }

    fn vulns(&self) -> Table<'_> {
        self.table(Section::VulnIndex, Section::Vulns)
    }

    fn ids(&self) -> Table<'_> {
        self.table(Section::IdIndex, Section::Ids)
    }
}
