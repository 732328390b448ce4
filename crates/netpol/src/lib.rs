//! Kubernetes objects become connectivity, exposure and the difference of two states.

mod attach;
mod bits;
pub mod conn;
pub mod diff;
pub mod effects;
pub mod engine;
pub mod entries;
pub mod exposure;
pub mod format;
pub mod ip;
pub mod live;
pub mod load;
mod locate;
mod nodes;
pub mod objects;
mod paged;
pub mod potential;
pub mod remarks;
pub mod report;
pub mod rules;
mod sample;
pub mod selector;
pub mod standing;
pub mod state;
pub mod suggest;
