//! Questions about findings, vulnerabilities, images and actions.

pub mod actions;
pub mod affected;
pub mod findings;
pub mod images;
