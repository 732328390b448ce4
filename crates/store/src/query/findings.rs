//! Findings by filter, in the order of work, in pages.

use plimsoll_model::finding::FindingState;
use plimsoll_model::{Class, Finding, Holder};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow as _, QueryBuilder, Row as _, Sqlite};

use super::bases::Origin;
use crate::apply::list;
use crate::error::{StoreError, decode};
use crate::reader::Reader;
use crate::rows::{FindingRow, class_number, only_id, state_number};
use crate::view::{component_key, parse};

/// Which findings; an empty field means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub class: Option<Class>,
    /// `None` means open.
    pub state: Option<FindingState>,
    pub cluster: Option<String>,
    pub namespace: Option<String>,
    /// `repository` or `registry/repository`: of the holder, or of what its workload runs.
    pub repository: Option<String>,
    /// Canonical id or alias.
    pub vulnerability: Option<String>,
    /// Name, or the whole key as it displays (`deb:debian:12/openssl`).
    pub package: Option<String>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub findings: Vec<Finding>,
    /// To be given back for the next part; `None` at the end.
    pub next: Option<String>,
    /// For each finding, where what is affected came from; `None` where no base is known, or not which layer brought it in.
    pub origins: Vec<Option<Origin>>,
}

/// Most findings in one page.
pub const MAX_PAGE: u32 = 1_000;

const SELECT: &str = "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body, f.class, f.assumed, f.negative_rank, h.key, v.body AS known FROM findings f JOIN holders h ON h.id = f.holder LEFT JOIN vulnerabilities v ON v.id = f.vulnerability WHERE f.state = ";

/// The place of a finding in the order of work.
struct Cursor {
    class: i64,
    assumed: i64,
    negative_rank: f64,
    opened_at: i64,
    id: String,
}

impl Cursor {
    fn text(&self) -> String {
        let rank = self.negative_rank.to_bits();
        format!("{}.{}.{rank:016x}.{}.{}", self.class, self.assumed, self.opened_at, self.id)
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let read = || {
            let mut parts = text.split('.');
            let cursor = Self {
                class: parts.next()?.parse().ok()?,
                assumed: parts.next()?.parse().ok()?,
                negative_rank: f64::from_bits(u64::from_str_radix(parts.next()?, 16).ok()?),
                opened_at: parts.next()?.parse().ok()?,
                id: parts.next()?.to_owned(),
            };
            (parts.next().is_none() && cursor.negative_rank.is_finite()).then_some(cursor)
        };
        read().ok_or_else(|| StoreError::Cursor(text.chars().take(120).collect()))
    }
}

pub(crate) fn finding_of(row: &SqliteRow) -> Result<Finding, StoreError> {
    let finding = FindingRow::from_row(row)?;
    let holder: Holder = decode("holders", row.try_get("key")?)?;
    let vulnerability = match row.try_get::<Option<&str>, _>("known")? {
        Some(body) => decode("vulnerabilities", body)?,
        None => only_id(&finding.vulnerability),
    };
    finding.into_finding(holder, vulnerability)
}

impl Reader {
    /// A page of findings in the order of work (class, known before assumed, rank, age, id). `limit` is at most
    /// [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`StoreError::Cursor`] for a text that is no cursor, or another.
    pub async fn findings(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(SELECT);
        query.push_bind(state_number(filter.state.unwrap_or(FindingState::Open)));
        if let Some(class) = filter.class {
            query.push(" AND f.class = ").push_bind(class_number(class));
        }
        if let Some(cluster) = &filter.cluster {
            query.push(" AND h.cluster = ").push_bind(cluster);
        }
        if let Some(namespace) = &filter.namespace {
            query.push(" AND h.namespace = ").push_bind(namespace);
        }
        if let Some(repository) = &filter.repository {
            query.push(" AND EXISTS (SELECT 1 FROM repositories r WHERE r.id = COALESCE(h.repo, (SELECT c.repo FROM containers c WHERE c.holder = h.id)) AND (r.repository = ");
            query.push_bind(repository).push(" OR r.registry || '/' || r.repository = ");
            query.push_bind(repository).push("))");
        }
        if let Some(vulnerability) = &filter.vulnerability {
            query.push(" AND (f.vulnerability = ").push_bind(vulnerability);
            query.push(" OR f.vulnerability IN (SELECT a.id FROM aliases a WHERE a.alias = ");
            query.push_bind(vulnerability).push("))");
        }
        if let Some(package) = &filter.package {
            query.push(" AND (f.name = ").push_bind(package);
            query.push(" OR f.package = ").push_bind(package).push(")");
        }
        if let Some(cursor) = cursor {
            let cursor = Cursor::parse(cursor)?;
            query.push(" AND (f.class, f.assumed, f.negative_rank, f.opened_at, f.id) > (");
            query.push_bind(cursor.class).push(", ").push_bind(cursor.assumed).push(", ");
            query.push_bind(cursor.negative_rank).push(", ").push_bind(cursor.opened_at).push(", ");
            query.push_bind(cursor.id).push(")");
        }
        query.push(" ORDER BY f.class, f.assumed, f.negative_rank, f.opened_at, f.id LIMIT ");
        query.push_bind(i64::from(limit) + 1);
        let mut rows = query.build().fetch_all(&self.pool).await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > most;
        rows.truncate(most);
        let next = match rows.last().filter(|_| more) {
            None => None,
            Some(row) => Some(
                Cursor {
                    class: row.try_get("class")?,
                    assumed: row.try_get("assumed")?,
                    negative_rank: row.try_get("negative_rank")?,
                    opened_at: row.try_get("opened_at")?,
                    id: row.try_get("id")?,
                }
                .text(),
            ),
        };
        let mut findings = rows.iter().map(finding_of).collect::<Result<Vec<_>, _>>()?;
        let holders =
            rows.iter().map(|row| row.try_get("holder")).collect::<Result<Vec<i64>, sqlx::Error>>()?;
        let held = self.fill_images(findings.iter_mut().zip(holders)).await?;
        let origins = self.origins(&held).await?;
        Ok(Page { findings, next, origins })
    }

    /// One finding.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finding(&self, id: &str) -> Result<Option<Finding>, StoreError> {
        let row = sqlx::query(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body, h.key, v.body AS known FROM findings f JOIN holders h ON h.id = f.holder LEFT JOIN vulnerabilities v ON v.id = f.vulnerability WHERE f.id = ?",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut finding = finding_of(&row)?;
        self.fill_images(std::iter::once((&mut finding, row.try_get("holder")?))).await?;
        Ok(Some(finding))
    }

    /// Fills in which images of its holder have each open or suppressed finding. Gives, for each finding, the ids of these
    /// images with the ids of the affected components in them.
    pub(crate) async fn fill_images<'f>(
        &self,
        findings: impl Iterator<Item = (&'f mut Finding, i64)>,
    ) -> Result<Vec<Vec<(i64, i64)>>, StoreError> {
        let mut findings: Vec<(&mut Finding, i64)> = findings.collect();
        let mut held: Vec<Vec<(i64, i64)>> = vec![Vec::new(); findings.len()];
        let wanted: Vec<(usize, i64, &str, &str)> = findings
            .iter()
            .enumerate()
            .filter(|(_, (f, _))| f.state != FindingState::Fixed)
            .map(|(n, (f, holder))| (n, *holder, f.key.vulnerability.as_str(), f.key.package.name.as_str()))
            .collect();
        if wanted.is_empty() {
            return Ok(held);
        }
        let rows: Vec<(i64, String, String, i64, i64)> = sqlx::query_as(
            "SELECT j.value->>0, c.key, i.digest, i.id, c.id FROM json_each(?) j CROSS JOIN held d ON d.holder = j.value->>1 CROSS JOIN matched m ON m.vulnerability = j.value->>2 CROSS JOIN image_components ic ON ic.component = m.component AND ic.image = d.image CROSS JOIN components c ON c.id = m.component AND c.name = j.value->>3 CROSS JOIN images i ON i.id = d.image",
        )
        .bind(list(&wanted)?)
        .fetch_all(&self.pool)
        .await?;
        for (n, key, digest, image, id) in rows {
            let place = usize::try_from(n).ok().and_then(|n| findings.get_mut(n));
            let Some((finding, _)) = place else { continue };
            let component = component_key(&key)?;
            if component.package == finding.key.package && finding.versions.contains(&component.version) {
                finding.images.push(parse(&digest)?);
                if let Some(pairs) = usize::try_from(n).ok().and_then(|n| held.get_mut(n)) {
                    pairs.push((image, id));
                }
            }
        }
        for (finding, _) in findings {
            finding.images.sort();
            finding.images.dedup();
        }
        Ok(held)
    }
}
