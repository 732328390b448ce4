//! Tables. A migration is a list of statements; its number is its place in [`MIGRATIONS`], and it never changes
//! once released.
//!
//! Everything that a fact says is kept so that the result does not depend on the order of facts: a row carries the
//! sequence or Db that it comes from and is replaced only by a newer one, and what is deleted leaves a mark.

use plimsoll_inventory::base::chain;
use plimsoll_model::Digest;
use sqlx::{Connection as _, SqliteConnection};

use crate::error::{StoreError, decode};

type Statements = &'static [&'static str];

/// Statements of each schema version, in order.
const MIGRATIONS: &[Statements] = &[FIRST, BACKLOG, STATEMENTS, PODS, FOLDED, BASES, PUBLICATIONS];

const FIRST: Statements = &[
    // Counters: epoch, seq (last of the outbox), db_seq, fence.
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('epoch', 1), ('seq', 0), ('db_seq', 0), ('fence', 0), ('published', 0)",
    "CREATE TABLE inbox (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX inbox_at ON inbox (at)",
    // Registries.
    "CREATE TABLE repositories (id INTEGER PRIMARY KEY, registry TEXT NOT NULL, repository TEXT NOT NULL, UNIQUE (registry, repository))",
    // `tag` is `@digest` and `bare` 1 for a manifest that was pushed by digest; `digest` is NULL for a deleted tag.
    "CREATE TABLE tags (repo INTEGER NOT NULL, tag TEXT NOT NULL, bare INTEGER NOT NULL, digest TEXT, seq INTEGER NOT NULL, PRIMARY KEY (repo, tag)) WITHOUT ROWID",
    "CREATE INDEX tags_seq ON tags (repo, bare, seq)",
    "CREATE INDEX tags_digest ON tags (digest) WHERE digest IS NOT NULL",
    "CREATE TABLE deleted (repo INTEGER NOT NULL, digest TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (repo, digest)) WITHOUT ROWID",
    // A manifest was read from this repository.
    "CREATE TABLE sightings (digest TEXT NOT NULL, repo INTEGER NOT NULL, PRIMARY KEY (digest, repo)) WITHOUT ROWID",
    "CREATE TABLE manifests (digest TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE parents (child TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY (child, parent)) WITHOUT ROWID",
    // Inventories. `components` is a JSON array of ids of components.
    "CREATE TABLE images (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, platform TEXT NOT NULL, layers TEXT NOT NULL, sbom TEXT NOT NULL, components TEXT NOT NULL, db_seq INTEGER NOT NULL, partial TEXT NOT NULL, uncovered TEXT NOT NULL, at INTEGER NOT NULL, fact TEXT NOT NULL)",
    "CREATE INDEX images_unmatched ON images (id) WHERE db_seq = 0",
    "CREATE INDEX images_partial ON images (id) WHERE partial <> '[]'",
    "CREATE TABLE components (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, ecosystem TEXT NOT NULL, release TEXT NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, db_seq INTEGER NOT NULL, matches TEXT)",
    "CREATE INDEX components_name ON components (ecosystem, name)",
    "CREATE INDEX components_source ON components (ecosystem, source) WHERE source <> ''",
    "CREATE TABLE image_components (component INTEGER NOT NULL, image INTEGER NOT NULL, PRIMARY KEY (component, image)) WITHOUT ROWID",
    "CREATE TABLE matched (vulnerability TEXT NOT NULL, component INTEGER NOT NULL, PRIMARY KEY (vulnerability, component)) WITHOUT ROWID",
    "CREATE TABLE vulnerabilities (id TEXT PRIMARY KEY, db_seq INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE aliases (alias TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (alias, id)) WITHOUT ROWID",
    "CREATE TABLE catch_up (component INTEGER PRIMARY KEY, need INTEGER NOT NULL)",
    // Clusters. A workload lives while it is not removed and no newer full view lacks it.
    "CREATE TABLE clusters (name TEXT PRIMARY KEY, full_seq INTEGER NOT NULL, target_seq INTEGER NOT NULL, as_of INTEGER NOT NULL, stale INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE workloads (id INTEGER PRIMARY KEY, cluster TEXT NOT NULL, namespace TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, live INTEGER NOT NULL, body TEXT, UNIQUE (cluster, namespace, kind, name))",
    "CREATE TABLE resolutions (cluster TEXT NOT NULL, seq INTEGER NOT NULL, reference TEXT NOT NULL, body TEXT NOT NULL, found INTEGER NOT NULL, fact TEXT NOT NULL, PRIMARY KEY (cluster, seq, reference)) WITHOUT ROWID",
    "CREATE TABLE holders (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, repo INTEGER, cluster TEXT, namespace TEXT, registry TEXT, repository TEXT)",
    "CREATE INDEX holders_repo ON holders (repo) WHERE repo IS NOT NULL",
    // What live workloads run; `repo` by the identity of the reference.
    "CREATE TABLE containers (holder INTEGER PRIMARY KEY, workload INTEGER NOT NULL, cluster TEXT NOT NULL, changed_seq INTEGER NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL, stated TEXT, digest TEXT, basis TEXT NOT NULL, code TEXT NOT NULL, repo INTEGER, tag TEXT)",
    "CREATE INDEX containers_workload ON containers (workload)",
    "CREATE INDEX containers_digest ON containers (digest) WHERE digest IS NOT NULL",
    "CREATE INDEX containers_repo ON containers (repo) WHERE repo IS NOT NULL",
    "CREATE INDEX containers_pending ON containers (cluster, changed_seq, image)",
    // The images that a holder has now.
    "CREATE TABLE held (image INTEGER NOT NULL, holder INTEGER NOT NULL, PRIMARY KEY (image, holder)) WITHOUT ROWID",
    "CREATE INDEX held_holder ON held (holder)",
    // Findings. `state`: 0 open, 1 fixed, 2 suppressed; `class`: 0 most urgent; `negative_rank` so that one index has the order of work.
    // Rows lie in the order of writing, which puts those of a holder together; by id they would be scattered.
    "CREATE TABLE findings (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, holder INTEGER NOT NULL, vulnerability TEXT NOT NULL, package TEXT NOT NULL, name TEXT NOT NULL, state INTEGER NOT NULL, class INTEGER NOT NULL, assumed INTEGER NOT NULL, negative_rank REAL NOT NULL, opened_at INTEGER NOT NULL, due INTEGER, revision INTEGER NOT NULL, db_seq INTEGER NOT NULL, changed_at INTEGER NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX findings_order ON findings (state, class, assumed, negative_rank, opened_at, id)",
    "CREATE INDEX findings_holder ON findings (holder, state, name)",
    "CREATE INDEX findings_vulnerability ON findings (vulnerability, state)",
    "CREATE INDEX findings_name ON findings (name, state)",
    // Scans that failed and to whom that was told. Empty text where a part is unknown.
    "CREATE TABLE failures (repo INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, stage TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repo, tag, digest, code)) WITHOUT ROWID",
    "CREATE INDEX failures_digest ON failures (digest)",
    "CREATE TABLE notices (holder INTEGER NOT NULL, code TEXT NOT NULL, PRIMARY KEY (holder, code)) WITHOUT ROWID",
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, subject TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL)",
    // What was said about a tag before, until what it points at now is known.
    "CREATE TABLE earlier (repo INTEGER NOT NULL, tag TEXT NOT NULL, seq INTEGER NOT NULL, digest TEXT, PRIMARY KEY (repo, tag, seq)) WITHOUT ROWID",
    "CREATE INDEX earlier_digest ON earlier (digest) WHERE digest IS NOT NULL",
];

/// Work that a change of many components leaves for later transactions.
const BACKLOG: Statements = &[
    // `body` is a cause with its time and trace.
    "CREATE TABLE backlog_causes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    // Components whose holders are to be found.
    "CREATE TABLE backlog_components (component INTEGER PRIMARY KEY, cause INTEGER NOT NULL)",
    // Holders to be judged for the packages of a name; of an empty name, for all. `repo` is 0 where there is none.
    "CREATE TABLE backlog_holders (repo INTEGER NOT NULL, holder INTEGER NOT NULL, name TEXT NOT NULL, cause INTEGER NOT NULL, PRIMARY KEY (repo, holder, name)) WITHOUT ROWID",
    "CREATE INDEX components_matched ON components (name) WHERE matches IS NOT NULL",
];

/// What trusted issuers and the operator say of findings.
const STATEMENTS: Statements = &[
    // Statements of VEX documents and ignore rules, as JSON; `live` is 0 once they have expired.
    "CREATE TABLE statements (id TEXT PRIMARY KEY, expires INTEGER, live INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX statements_expires ON statements (expires) WHERE live = 1 AND expires IS NOT NULL",
    "INSERT INTO meta VALUES ('statements_seq', 0)",
    // Components of an image all of whose files are inside of another component's.
    "CREATE TABLE inside (image INTEGER NOT NULL, component INTEGER NOT NULL, outer INTEGER NOT NULL, PRIMARY KEY (image, component, outer)) WITHOUT ROWID",
];

/// Findings of workloads as a whole.
const PODS: Statements = &[
    // Holders without a container, each of a workload that something stands of or stood.
    "CREATE TABLE pods (holder INTEGER PRIMARY KEY, workload INTEGER NOT NULL)",
    "CREATE INDEX pods_workload ON pods (workload)",
];

/// Names of packages whose ecosystem does not tell case apart, where package URLs keep it (NuGet, Swift): the Db knows
/// them in lower case. All others are in the Db's form already.
const FOLDED: Statements = &[
    "CREATE INDEX components_folded ON components (ecosystem, lower(name)) WHERE ecosystem IN ('nuget', 'swift')",
];

/// Which images are built on which, and on which releases of distributions.
const BASES: &[&str] = &[
    // The number of the list of layers (`inventory::base`), filled in by [`fill_chains`] for what is there; a byte for
    // each of `components`, the newest layer that brought it in, 255 where that is not known.
    "ALTER TABLE images ADD COLUMN chain INTEGER",
    "ALTER TABLE images ADD COLUMN introduced BLOB",
    "CREATE INDEX images_chain ON images (chain)",
    // What tags pointed at before: written when one moves, and never changed.
    "CREATE TABLE moved (digest TEXT NOT NULL, repo INTEGER NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (digest, repo, tag)) WITHOUT ROWID",
    "INSERT INTO moved SELECT DISTINCT digest, repo, tag FROM earlier WHERE digest IS NOT NULL",
    // Releases, with their ecosystems (`deb:debian:12`), of which an image has packages.
    "CREATE TABLE image_releases (release TEXT NOT NULL, image INTEGER NOT NULL, PRIMARY KEY (release, image)) WITHOUT ROWID",
    "CREATE INDEX image_releases_image ON image_releases (image)",
    "INSERT INTO image_releases SELECT DISTINCT c.ecosystem || ':' || c.release, ic.image FROM components c JOIN image_components ic ON ic.component = c.id WHERE c.release <> ''",
];

/// Clusters' facts with the same target, of which the later tells what had waited.
const PUBLICATIONS: Statements = &[
    "ALTER TABLE workloads ADD COLUMN publication INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE clusters ADD COLUMN full_publication INTEGER NOT NULL DEFAULT 0",
];

/// Numbers the layers of the images that were there before the column was.
async fn fill_chains(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, layers FROM images WHERE id > ? ORDER BY id LIMIT 10000")
                .bind(after)
                .fetch_all(&mut *connection)
                .await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        for (id, layers) in &rows {
            sqlx::query("UPDATE images SET chain = ? WHERE id = ?")
                .bind(chain(&decode::<Vec<Digest>>("images", layers)?))
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
    }
}

/// Brings the schema to the newest version, one transaction for each.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, at INTEGER NOT NULL)")
        .execute(&mut *connection)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM migrations")
        .fetch_one(&mut *connection)
        .await?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, statements) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *transaction).await?;
        }
        if *statements == BASES {
            fill_chains(&mut transaction).await?;
        }
        sqlx::query("INSERT INTO migrations VALUES (?, ?)")
            .bind(version)
            .bind(plimsoll_model::Timestamp::now().0)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}
