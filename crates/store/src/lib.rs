//! Persistence of inventory, components, findings, inbox and outbox.
//!
//! [`Store`] commits batches of facts, each batch in one transaction with the changes that it leads to; [`Reader`] answers
//! queries from snapshots and never waits for the writer. What should be open is computed by the pure crates inventory, risk
//! and findings; this crate loads what they need and saves what they say.
//!
//! | module | what |
//! |---|---|
//! | [`store`] | opening, commits, counters, backup |
//! | `apply` | one fact -> rows, and the holders that it touches |
//! | `view` | holders -> what they have (images, matches, exposure) |
//! | `settle` | touched holders -> transitions of findings -> rows, outbox |
//! | [`reader`], [`query`] | questions |
//!
//! Invariants: a fact changes nothing the second time; the open set is the same for any order of the same facts; nothing is
//! published that is not committed; a component's matches are never replaced by those of an older Db.
//!
//! SQLite in WAL mode; the statements keep to what PostgreSQL also has, but for `json_each` (there: `jsonb_array_elements`).

mod apply;
mod error;
pub mod query;
pub mod reader;
mod rows;
mod schema;
mod settle;
pub mod store;
mod view;

pub use error::StoreError;
pub use query::affected::{Affected, AffectedHolder, UNMATCHED_VERSION, Unaffected};
pub use query::bases::{BaseImage, Origin};
pub use query::findings::{Filter, Page};
pub use query::images::{CameWith, ImageFailure, ImageFilter, ImageRecord};
pub use reader::{Counts, OutboxRow, Reader, Roots};
pub use store::{CommitOutcome, Durability, Emit, Settings, StatementSet, Store};
