//! Load generator, fault injection and benches against peers and limits.
//!
//! | module | what |
//! |---|---|
//! | [`crash`] | roles and the broker are killed at labelled points; the findings must equal the undisturbed run's |
//! | [`bench`] | each budget, measured in one run against its peer or its limit |
//! | [`fleet`] | every role as a process of its own, restarted when it dies |
//! | [`http`] | the few requests that a load needs |
//! | [`dice`] | repeatable chance |

pub mod bench;
pub mod crash;
pub mod dice;
pub mod fleet;
pub mod http;

use std::path::PathBuf;

/// Why a load, a crash run or a bench did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or a process failed.
    #[error("cannot {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Bus(#[from] plimsoll_bus::BusError),
    #[error(transparent)]
    Nats(#[from] plimsoll_testkit::nats::NatsError),
    #[error(transparent)]
    Registry(#[from] plimsoll_testkit::registry::RegistryError),
    #[error(transparent)]
    Process(#[from] plimsoll_testkit::process::ProcessError),
    #[error(transparent)]
    Image(#[from] plimsoll_testkit::image::ImageError),
    #[error(transparent)]
    Ports(#[from] plimsoll_testkit::ports::PortsError),
    #[error(transparent)]
    Db(#[from] plimsoll_vuln::DbError),
    /// The program that is put under load is not there.
    #[error("there is no {0}: build it (cargo build --release -p plimsoll), or set PLIMSOLL_BIN")]
    NoProgram(PathBuf),
    /// Something was awaited in vain.
    #[error("waited {seconds} s for {what}")]
    Timeout { what: String, seconds: u64 },
    #[error("{0}")]
    Other(String),
}

impl LoadError {
    /// A failure of the file system or of a process.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Any other failure, as text.
    pub fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// The `plimsoll` program that is put under load: `PLIMSOLL_BIN`, or the one beside this program (or, in a test,
/// in the folder above its own).
pub fn program() -> Result<PathBuf, LoadError> {
    if let Some(named) = std::env::var_os("PLIMSOLL_BIN") {
        let path = PathBuf::from(named);
        return if path.is_file() { Ok(path) } else { Err(LoadError::NoProgram(path)) };
    }
    let own = std::env::current_exe().map_err(LoadError::io("find this program"))?;
    let beside = own.with_file_name("plimsoll");
    let above = own.parent().and_then(|folder| folder.parent()).map(|folder| folder.join("plimsoll"));
    if beside.is_file() {
        return Ok(beside);
    }
    above.filter(|path| path.is_file()).ok_or(LoadError::NoProgram(beside))
}
