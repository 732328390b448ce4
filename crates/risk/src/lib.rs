//! A match with its exposure and intelligence becomes a class, a rank and a sentence.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | the class table of CISA BOD 26-04, as data that can be replaced |
//! | [`assess`](mod@assess) | inputs -> class, rank, factors, sentence |
//! | [`threat`] | how likely exploitation is: KEV, EPSS, exploit code; imputation of a missing EPSS |
//! | [`mod@derive`] | automatable and technical impact read from a CVSS vector, where nobody stated them |
//!
//! Invariant: unknown is a value of its own. It never becomes zero, and it never makes a class less urgent than
//! knowing the answer would, but for the documented cap of 14 days on what nobody stated.

pub mod assess;
pub mod derive;
pub mod table;
pub mod threat;

pub use assess::{Deployment, ExposureInput, OrderKey, Settings, assess, order_key};
pub use table::{ClassTable, TableError};
