//! Questions about findings, vulnerabilities, images and actions.

pub mod actions;
pub mod affected;
pub mod bases;
pub mod findings;
pub mod images;
mod rebuilds;
