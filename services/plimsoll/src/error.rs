//! What goes wrong on the command line: a stable code, a message, and what to do.

use std::error::Error;
use std::fmt;

/// An error as a person reads it.
#[derive(Debug, Clone)]
pub struct CliError {
    /// Stable code; `docs/errors.md` has a line for each.
    pub code: String,
    pub message: String,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
}

impl CliError {
    pub fn new(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { code: code.into(), message: message.to_string(), hint: None }
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of a file.
    pub fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new("io", format!("cannot {what}: {error}"))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<plimsoll_process::ProcessError> for CliError {
    fn from(error: plimsoll_process::ProcessError) -> Self {
        Self::new(error.code(), error)
    }
}

impl From<plimsoll_bus::BusError> for CliError {
    fn from(error: plimsoll_bus::BusError) -> Self {
        Self::new(error.code(), error)
    }
}

impl Error for CliError {}
