//! The same advisories in SQLite, asked as scanners with a SQL database ask: one indexed query for each package, the
//! records of the answer decoded from JSON, their ranges compared in the program.

use std::cmp::Ordering;
use std::path::Path;
use std::time::Instant;

use plimsoll_model::package::ComponentKey;
use plimsoll_vuln::db::Statement;
use plimsoll_vuln::{BuildOptions, Db, LookupKey, build, diff, names};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{Connection, Executor};

use super::measure::{figure, mib, note};
use crate::LoadError;

/// Components of one measurement; SQLite is asked less often than the Db.
const ASKED: usize = 40_000;

/// What was measured of SQLite.
pub(super) struct Figures {
    pub(super) open_ms: f64,
    pub(super) lookups: f64,
    pub(super) matched: f64,
}

/// Puts what `db` says into a SQLite file and asks it for `components`.
pub(super) fn measure(db: &Db, folder: &Path, components: &[ComponentKey]) -> Result<Figures, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LoadError::io("start the runtime"))?;
    runtime.block_on(ask(db, &folder.join("bench.sqlite"), components))
}

async fn ask(db: &Db, path: &Path, components: &[ComponentKey]) -> Result<Figures, LoadError> {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Off);
    let mut connection = SqliteConnection::connect_with(&options.clone().create_if_missing(true))
        .await
        .map_err(LoadError::other)?;
    fill(db, &mut connection).await?;
    connection.close().await.map_err(LoadError::other)?;
    let size = std::fs::metadata(path).map_err(LoadError::io("look at the SQLite file"))?.len();
    note("SQLite holding the same", &format!("{} MiB", figure(mib(size))));
    let read = options.read_only(true).pragma("mmap_size", "4294967296");
    let began = Instant::now();
    let mut connection = SqliteConnection::connect_with(&read).await.map_err(LoadError::other)?;
    // A connection is made when the schema is read.
    connection.execute("SELECT 1 FROM affected LIMIT 1").await.map_err(LoadError::other)?;
    let open_ms = began.elapsed().as_secs_f64() * 1e3;
    let asked: Vec<&ComponentKey> = components.iter().cycle().take(ASKED.max(components.len())).collect();
    let began = Instant::now();
    for component in &asked {
        for key in LookupKey::of(component) {
            let known: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM affected WHERE key = ? LIMIT 1")
                .bind(key.to_bytes())
                .fetch_optional(&mut connection)
                .await
                .map_err(LoadError::other)?;
            if known.is_some() {
                break;
            }
        }
    }
    let lookups = asked.len() as f64 / began.elapsed().as_secs_f64();
    let mut found = 0_usize;
    let began = Instant::now();
    for component in &asked {
        for key in LookupKey::of(component) {
            let rows: Vec<(String,)> = sqlx::query_as("SELECT record FROM affected WHERE key = ?")
                .bind(key.to_bytes())
                .fetch_all(&mut connection)
                .await
                .map_err(LoadError::other)?;
            let version = component.source.as_ref().map_or(&component.version, |source| &source.version);
            for (record,) in &rows {
                let statement: Statement = serde_json::from_str(record).map_err(LoadError::other)?;
                found += usize::from(affects(&key, &statement, version));
            }
        }
    }
    let matched = asked.len() as f64 / began.elapsed().as_secs_f64();
    note("SQLite", &format!("{} components asked, {found} statements affect them", asked.len()));
    Ok(Figures { open_ms, lookups, matched })
}

/// One row for each statement of each key.
async fn fill(db: &Db, connection: &mut SqliteConnection) -> Result<(), LoadError> {
    let (empty, _) = build(&[], &BuildOptions::default()).map_err(LoadError::other)?;
    connection
        .execute("CREATE TABLE affected (key BLOB NOT NULL, record TEXT NOT NULL); BEGIN")
        .await
        .map_err(LoadError::other)?;
    for key in diff(&Db::from_bytes(empty)?, db)?.keys {
        for statement in db.query(&key)? {
            let record = serde_json::to_string(&statement).map_err(LoadError::other)?;
            sqlx::query("INSERT INTO affected VALUES (?, ?)")
                .bind(key.to_bytes())
                .bind(record)
                .execute(&mut *connection)
                .await
                .map_err(LoadError::other)?;
        }
    }
    connection
        .execute("COMMIT; CREATE INDEX affected_key ON affected (key); ANALYZE")
        .await
        .map_err(LoadError::other)?;
    Ok(())
}

/// True where a range in words (`>= 1.0, < 2.0`) or a single version holds `version`.
fn affects(key: &LookupKey, statement: &Statement, version: &str) -> bool {
    let Some(scheme) = names::scheme(key.ecosystem) else { return false };
    let holds = |bound: &str| {
        let bound = bound.trim();
        let (sign, than) = bound.split_once(' ').unwrap_or(("", bound));
        if than == "0" {
            return true;
        }
        match (sign, scheme.compare(version, than)) {
            (">=", Ok(order)) => order != Ordering::Less,
            ("<", Ok(order)) => order == Ordering::Less,
            ("<=", Ok(order)) => order != Ordering::Greater,
            _ => false,
        }
    };
    statement.ranges.iter().any(|range| range.split(',').all(holds))
        || statement.versions.iter().any(|single| scheme.compare(version, single) == Ok(Ordering::Equal))
}
