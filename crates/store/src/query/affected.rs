//! Where are we affected, and where not although the package is there?

use std::collections::HashMap;

use plimsoll_findings::network::described;
use plimsoll_model::exposure::Exposure;
use plimsoll_model::fact::WorkloadFact;
use plimsoll_model::vex::{StatementKind, is_network};
use plimsoll_model::{ComponentKey, Ecosystem, Finding, Holder, PackageKey, Suppression, Vulnerability};
use sqlx::Row as _;

use super::findings::finding_of;
use crate::apply::list;
use crate::error::{StoreError, decode};
use crate::reader::Reader;
use crate::rows::{matched_ids, matches_of};
use crate::view::component_key;

/// The answer for one vulnerability, or one package.
#[derive(Debug, Clone, PartialEq)]
pub struct Affected {
    /// The vulnerability asked about, if it was one and is known.
    pub vulnerability: Option<Vulnerability>,
    /// Open findings in the order of work.
    pub affected: Vec<AffectedHolder>,
    /// Who has the package and is not affected.
    pub unaffected: Vec<Unaffected>,
    /// True when there was more than [`MAX_ROWS`] of either.
    pub truncated: bool,
}

/// One holder that is affected.
#[derive(Debug, Clone, PartialEq)]
pub struct AffectedHolder {
    /// With images, versions and the fixed version.
    pub finding: Finding,
    /// What is known about who reaches it, for a workload.
    pub exposure: Option<Exposure>,
    /// `registry/repository` of the image, where known.
    pub repository: String,
    /// The reference as the workload writes it, and how its digest is known.
    pub reference: Option<(String, String)>,
}

/// A holder with the package that is not affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unaffected {
    pub holder: Holder,
    pub component: ComponentKey,
    /// `VEX: <statement>`, `ignored: <reason>`, `not affected: <advisory>`, `no advisory matches this version`, or
    /// `unmatched: no Db yet`.
    pub because: String,
    /// The statements, where it is because of statements.
    pub suppressions: Vec<Suppression>,
}

/// What statements suppress: by holder and package, vulnerability with versions and statements.
type Suppressed = HashMap<(String, PackageKey), Vec<(String, Vec<String>, Vec<Suppression>)>>;

/// [`Unaffected::because`] where all that is known is that no advisory matches.
pub const UNMATCHED_VERSION: &str = "no advisory matches this version";

/// Most rows of each list.
pub const MAX_ROWS: i64 = 2_000;

impl Reader {
    /// Answers for a vulnerability id, an alias, the code of a finding about network policy (NETPOL001), a purl (`pkg:npm/left-pad@1.0`, version and qualifiers optional) or a package name.
    /// `more` names packages of the vulnerability that the caller knows from the Db, so that an answer can also say who
    /// has the package when nobody is affected.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn affected(&self, query: &str, more: &[(Ecosystem, String)]) -> Result<Affected, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM vulnerabilities WHERE id = ?1 UNION SELECT id FROM aliases WHERE alias = ?1",
        )
        .bind(query)
        .fetch_all(&self.pool)
        .await?;
        if is_network(query) {
            return self.by_vulnerability(&[query.to_owned()], &[]).await;
        }
        if ids.is_empty() && !query.starts_with("pkg:") && !more.is_empty() {
            return self.by_vulnerability(&[query.to_owned()], more).await;
        }
        if ids.is_empty() { self.by_package(query).await } else { self.by_vulnerability(&ids, more).await }
    }

    async fn by_vulnerability(
        &self,
        ids: &[String],
        more: &[(Ecosystem, String)],
    ) -> Result<Affected, StoreError> {
        let ids_json = list(ids)?;
        let body: Option<String> = sqlx::query_scalar(
            "SELECT v.body FROM json_each(?) j CROSS JOIN vulnerabilities v ON v.id = j.value ORDER BY v.db_seq DESC, v.id LIMIT 1",
        )
        .bind(&ids_json)
        .fetch_optional(&self.pool)
        .await?;
        let vulnerability = match body.as_deref() {
            Some(body) => Some(decode("vulnerabilities", body)?),
            None => ids.first().and_then(|id| described(id)),
        };
        let rows = sqlx::query(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body, h.key, v.body AS known, c.image, c.basis, w.body AS workload, r.registry || '/' || r.repository AS place
             FROM json_each(?1) j CROSS JOIN findings f ON f.vulnerability = j.value AND f.state = 0 CROSS JOIN holders h ON h.id = f.holder LEFT JOIN vulnerabilities v ON v.id = f.vulnerability LEFT JOIN containers c ON c.holder = h.id LEFT JOIN pods p ON p.holder = h.id LEFT JOIN workloads w ON w.id = COALESCE(c.workload, p.workload) LEFT JOIN repositories r ON r.id = COALESCE(h.repo, c.repo)
             ORDER BY f.class, f.assumed, f.negative_rank, f.opened_at, f.id LIMIT ?2",
        )
        .bind(&ids_json)
        .bind(MAX_ROWS + 1)
        .fetch_all(&self.pool)
        .await?;
        let mut affected = rows.iter().map(affected_of).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<(&str, &str)> = more.iter().map(|(e, n)| (e.purl_type(), n.as_str())).collect();
        let candidates: Vec<(String, i64, Option<String>, String)> = sqlx::query_as(
            "WITH hit (component) AS (SELECT m.component FROM json_each(?1) j CROSS JOIN matched m ON m.vulnerability = j.value),
             name (ecosystem, name) AS (SELECT c.ecosystem, c.name FROM hit CROSS JOIN components c ON c.id = hit.component UNION SELECT value->>0, value->>1 FROM json_each(?2)),
             other (id) AS (SELECT c.id FROM name n CROSS JOIN components c ON c.ecosystem = n.ecosystem AND c.name = n.name UNION SELECT c.id FROM name n CROSS JOIN components c INDEXED BY components_folded ON c.ecosystem = n.ecosystem AND lower(c.name) = n.name WHERE c.ecosystem IN ('nuget', 'swift') UNION SELECT c.id FROM name n CROSS JOIN components c ON c.ecosystem = n.ecosystem AND c.source = n.name AND c.source <> '')
             SELECT DISTINCT c.key, c.db_seq, c.matches, h.key FROM other o CROSS JOIN components c ON c.id = o.id CROSS JOIN image_components ic ON ic.component = c.id CROSS JOIN held d ON d.image = ic.image CROSS JOIN holders h ON h.id = d.holder ORDER BY h.key, c.key LIMIT ?3",
        )
        .bind(&ids_json)
        .bind(list(&names)?)
        .bind(MAX_ROWS + 1)
        .fetch_all(&self.pool)
        .await?;
        let most = usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
        let truncated = affected.len() > most || candidates.len() > most;
        affected.truncate(most);
        let holders =
            rows.iter().map(|row| row.try_get("holder")).collect::<Result<Vec<i64>, sqlx::Error>>()?;
        self.fill_images(affected.iter_mut().map(|a| &mut a.finding).zip(holders)).await?;
        let suppressed = self.suppressed(Some(&ids_json), None).await?;
        let mut unaffected = unaffected_of(candidates.into_iter().take(most), ids, None, &suppressed)?;
        if ids.iter().any(|id| is_network(id)) {
            unaffected.extend(accepted(suppressed)?);
        }
        let truncated = truncated || unaffected.len() > most;
        unaffected.truncate(most);
        Ok(Affected { vulnerability, affected, unaffected, truncated })
    }

    /// Findings that statements suppress, of vulnerabilities or of packages' names; either a list in JSON.
    async fn suppressed(&self, ids: Option<&str>, names: Option<&str>) -> Result<Suppressed, StoreError> {
        let rows: Vec<(String, String, String)> = match (ids, names) {
            (Some(ids), _) => {
                sqlx::query_as(
                    "SELECT h.key, f.vulnerability, f.body FROM json_each(?) j CROSS JOIN findings f ON f.vulnerability = j.value AND f.state = 2 JOIN holders h ON h.id = f.holder LIMIT ?",
                )
                .bind(ids)
                .bind(MAX_ROWS + 1)
                .fetch_all(&self.pool)
                .await?
            }
            (None, names) => {
                sqlx::query_as(
                    "SELECT h.key, f.vulnerability, f.body FROM json_each(?) n CROSS JOIN findings f ON f.name = n.value AND f.state = 2 JOIN holders h ON h.id = f.holder LIMIT ?",
                )
                .bind(names)
                .bind(MAX_ROWS + 1)
                .fetch_all(&self.pool)
                .await?
            }
        };
        let mut suppressed = Suppressed::new();
        for (holder, vulnerability, body) in rows {
            let SuppressedBody { package, versions, suppressions } = decode("findings", &body)?;
            if !suppressions.is_empty() {
                let of = suppressed.entry((holder, package)).or_default();
                of.push((vulnerability, versions, suppressions));
            }
        }
        Ok(suppressed)
    }

    async fn by_package(&self, query: &str) -> Result<Affected, StoreError> {
        let (ecosystem, name, version) = package_of(query);
        // Images write names of these as their authors did.
        let mut names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT name FROM components INDEXED BY components_folded WHERE ecosystem IN ('nuget', 'swift') AND lower(name) = lower(?1) AND (?2 IS NULL OR ecosystem = ?2) AND name <> ?1",
        )
        .bind(&name)
        .bind(ecosystem.as_deref())
        .fetch_all(&self.pool)
        .await?;
        names.push(name);
        let names = list(&names)?;
        let rows = sqlx::query(
            "SELECT f.id, f.holder, f.vulnerability, f.state, f.opened_at, f.due, f.revision, f.db_seq, f.body, h.key, v.body AS known, c.image, c.basis, w.body AS workload, r.registry || '/' || r.repository AS place
             FROM json_each(?1) n CROSS JOIN findings f ON f.name = n.value AND f.state = 0 CROSS JOIN holders h ON h.id = f.holder LEFT JOIN vulnerabilities v ON v.id = f.vulnerability LEFT JOIN containers c ON c.holder = h.id LEFT JOIN workloads w ON w.id = c.workload LEFT JOIN repositories r ON r.id = COALESCE(h.repo, c.repo)
             WHERE (?2 IS NULL OR f.package LIKE ?2 || '%')
             ORDER BY f.class, f.assumed, f.negative_rank, f.opened_at, f.id LIMIT ?3",
        )
        .bind(&names)
        .bind(ecosystem.as_deref())
        .bind(MAX_ROWS + 1)
        .fetch_all(&self.pool)
        .await?;
        let mut affected = rows.iter().map(affected_of).collect::<Result<Vec<_>, _>>()?;
        let holders =
            rows.iter().map(|row| row.try_get("holder")).collect::<Result<Vec<i64>, sqlx::Error>>()?;
        self.fill_images(affected.iter_mut().map(|a| &mut a.finding).zip(holders)).await?;
        if let Some(version) = &version {
            affected.retain(|a| a.finding.versions.contains(version));
        }
        let holding: Vec<(String, i64, Option<String>, String)> = sqlx::query_as(
            "SELECT DISTINCT c.key, c.db_seq, c.matches, h.key FROM json_each(?2) n CROSS JOIN json_each(?1) e CROSS JOIN components c ON c.ecosystem = e.value AND c.name = n.value CROSS JOIN image_components ic ON ic.component = c.id CROSS JOIN held d ON d.image = ic.image CROSS JOIN holders h ON h.id = d.holder ORDER BY h.key, c.key LIMIT ?3",
        )
        .bind(match &ecosystem {
            Some(one) => list(&[one])?,
            None => list(Ecosystem::ALL)?,
        })
        .bind(&names)
        .bind(MAX_ROWS + 1)
        .fetch_all(&self.pool)
        .await?;
        let most = usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
        let truncated = affected.len() > most || holding.len() > most;
        affected.truncate(most);
        let suppressed = self.suppressed(None, Some(&names)).await?;
        let unaffected = unaffected_of(holding.into_iter().take(most), &[], version.as_deref(), &suppressed)?;
        Ok(Affected { vulnerability: None, affected, unaffected, truncated })
    }
}

/// Workloads of which rules accept a finding about network policy; its package is the side that it is about.
fn accepted(suppressed: Suppressed) -> Result<Vec<Unaffected>, StoreError> {
    let mut rows = Vec::with_capacity(suppressed.len());
    for ((holder, package), said) in suppressed {
        let component = ComponentKey {
            package,
            version: String::new(),
            source: None,
            arch: String::new(),
            stream: String::new(),
        };
        let suppressions: Vec<Suppression> = said.into_iter().flat_map(|(_, _, by)| by).collect();
        let because = suppressions.iter().map(words).collect::<Vec<_>>().join("; ");
        rows.push(Unaffected { holder: decode("holders", &holder)?, component, because, suppressions });
    }
    rows.sort_by(|a, b| (&a.holder, &a.component).cmp(&(&b.holder, &b.component)));
    Ok(rows)
}

fn affected_of(row: &sqlx::sqlite::SqliteRow) -> Result<AffectedHolder, StoreError> {
    let workload: Option<WorkloadFact> =
        row.try_get::<Option<&str>, _>("workload")?.map(|body| decode("workloads", body)).transpose()?;
    let image: Option<String> = row.try_get("image")?;
    let basis: Option<String> = row.try_get("basis")?;
    Ok(AffectedHolder {
        finding: finding_of(row)?,
        exposure: workload.map(|w| w.exposure),
        repository: row.try_get::<Option<String>, _>("place")?.unwrap_or_default(),
        reference: image.zip(basis),
    })
}

/// The parts of a finding's body that matter here.
#[derive(serde::Deserialize)]
struct SuppressedBody {
    package: PackageKey,
    versions: Vec<String>,
    #[serde(default)]
    suppressions: Vec<Suppression>,
}

/// Of components with their holders those that are not affected, and why. `ids` are the vulnerabilities that are asked about, all
/// when empty.
fn unaffected_of(
    rows: impl Iterator<Item = (String, i64, Option<String>, String)>,
    ids: &[String],
    version: Option<&str>,
    suppressed: &Suppressed,
) -> Result<Vec<Unaffected>, StoreError> {
    let mut unaffected = Vec::new();
    for (key, db_seq, matches, holder) in rows {
        let component = component_key(&key)?;
        if version.is_some_and(|v| *v != component.version) {
            continue;
        }
        let (because, suppressions) = match not_affected(&component, db_seq, matches.as_deref(), ids)? {
            Some(because) => (because, Vec::new()),
            None => {
                let said = suppressed.get(&(holder.clone(), component.package.clone()));
                let said: Vec<_> =
                    said.into_iter().flatten().filter(|(_, v, _)| v.contains(&component.version)).collect();
                let matched = matched_ids(matches.as_deref().unwrap_or("[]"))?;
                let all = matched
                    .iter()
                    .filter(|id| ids.is_empty() || ids.contains(id))
                    .all(|id| said.iter().any(|(v, _, _)| v == id));
                if said.is_empty() || !all {
                    continue;
                }
                let mut by: Vec<Suppression> = said.into_iter().flat_map(|(_, _, s)| s.clone()).collect();
                by.sort();
                by.dedup();
                (by.iter().map(words).collect::<Vec<_>>().join("; "), by)
            }
        };
        unaffected.push(Unaffected { holder: decode("holders", &holder)?, component, because, suppressions });
    }
    Ok(unaffected)
}

fn words(by: &Suppression) -> String {
    let why: Vec<&str> =
        [by.justification.as_str(), by.reason.as_str()].into_iter().filter(|t| !t.is_empty()).collect();
    let why = why.join(": ");
    match by.kind {
        StatementKind::Ignore => format!("ignored: {why} ({})", by.document),
        StatementKind::Vex if why.is_empty() => {
            format!("VEX: {} by {} ({})", by.status.as_str(), by.issuer, by.document)
        }
        StatementKind::Vex => {
            format!("VEX: {} by {}: {why} ({})", by.status.as_str(), by.issuer, by.document)
        }
    }
}

/// Why a component is not affected by any of `ids` (by anything, when empty); `None` when it is.
fn not_affected(
    component: &ComponentKey,
    db_seq: i64,
    matches: Option<&str>,
    ids: &[String],
) -> Result<Option<String>, StoreError> {
    if db_seq == 0 {
        return Ok(Some("unmatched: no Db yet".to_owned()));
    }
    let matches = match matches {
        Some(text) => matches_of(component, text)?,
        None => Vec::new(),
    };
    let mut denied = None;
    for matched in matches.iter().filter(|m| ids.is_empty() || ids.contains(&m.vulnerability)) {
        if matched.status != plimsoll_model::vulnerability::MatchStatus::NotAffected {
            return Ok(None);
        }
        denied.get_or_insert(&matched.advisory);
    }
    Ok(Some(match denied {
        Some(advisory) => format!("not affected: {advisory}"),
        None => UNMATCHED_VERSION.to_owned(),
    }))
}

/// Type, name and version of a purl, or a bare name. Namespaces join the name as the ecosystem writes it.
fn package_of(query: &str) -> (Option<String>, String, Option<String>) {
    let Some(rest) = query.strip_prefix("pkg:") else { return (None, query.to_owned(), None) };
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    let (ecosystem, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The version follows the last `@`; one at the start of the name is a scope, which purl writes as %40.
    let (path, version) = match path.rsplit_once('@') {
        Some((path, version)) if !path.is_empty() => (path, Some(unescape(version))),
        _ => (path, None),
    };
    let path = unescape(path);
    let name = match ecosystem {
        "deb" | "apk" | "rpm" | "alpm" => path.rsplit('/').next().unwrap_or("").to_owned(),
        "maven" => path.replacen('/', ":", 1),
        // As package URLs of these are normalised.
        "bitnami" | "composer" | "github" | "hex" | "pub" => path.to_lowercase(),
        "pypi" => python_name(&path),
        _ => path,
    };
    (Some(ecosystem.to_owned()), name, version)
}

/// The normalised name of a Python package (PEP 503).
fn python_name(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purls() {
        for (query, ecosystem, name, version) in [
            ("openssl", None, "openssl", None),
            ("pkg:pypi/Zope.Interface_x@1", Some("pypi"), "zope-interface-x", Some("1")),
            ("pkg:composer/Symfony/HTTP-Kernel", Some("composer"), "symfony/http-kernel", None),
            ("pkg:deb/debian/openssl@3.0.11-1?arch=amd64", Some("deb"), "openssl", Some("3.0.11-1")),
            ("pkg:npm/%40babel/core@7.0.0", Some("npm"), "@babel/core", Some("7.0.0")),
            ("pkg:npm/@babel/core", Some("npm"), "@babel/core", None),
            ("pkg:golang/golang.org/x/net@v0.1.0", Some("golang"), "golang.org/x/net", Some("v0.1.0")),
            ("pkg:maven/org.a/b@1", Some("maven"), "org.a:b", Some("1")),
            ("pkg:pypi/x%zz", Some("pypi"), "x%zz", None),
        ] {
            let got = package_of(query);
            assert_eq!(
                (got.0.as_deref(), got.1.as_str(), got.2.as_deref()),
                (ecosystem, name, version),
                "{query}"
            );
        }
    }
}
