//! Budgets, each measured in one run against its peer or its limit.

use std::process::ExitCode;

use crate::LoadError;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs benches.
pub fn run(_arguments: &Arguments) -> Result<ExitCode, LoadError> {
    Ok(ExitCode::SUCCESS)
}
