//! A child process that does not outlive its owner.
//!
//! The child leads a process group of its own, so that a wrapper script dies with the server that it
//! started. Dropping the handle kills the group. When the owner itself is killed, `Drop` does not run; for that
//! a watchdog shell holds the reading end of a pipe whose only writer is the owner, and kills the group
//! at end of file. (`PR_SET_PDEATHSIG` would need `unsafe`, and fires when the starting *thread* ends.)

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait;

/// How much of a child's log goes into an error.
const LOG_TAIL: u64 = 2_000;

/// A child could not be started, signalled or awaited.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The log file could not be made.
    #[error("create the log {path}")]
    Log {
        /// Where it should have been.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("start {program}")]
    Spawn {
        /// What was to be run.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signal could not be sent, or the exit not awaited.
    #[error("signal {program}")]
    Signal {
        /// What was running.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The child was asked to end and did not; it has been killed.
    #[error("{program} did not end within {bound:?} of being asked to, and was killed")]
    Stubborn {
        /// What was running.
        program: String,
        /// How long it was given.
        bound: Duration,
    },
}

/// A running child, its log, and its watchdog.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
    group: Option<Pid>,
    log: PathBuf,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    shell: Child,
    _lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `command` in a process group of its own with its output going to `log` (truncated).
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let log_error = |source| ProcessError::Log { path: log.to_owned(), source };
        let out = File::create(log).map_err(log_error)?;
        let err = out.try_clone().map_err(log_error)?;
        let spawn_error = |source| ProcessError::Spawn { program: name.clone(), source };
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(spawn_error)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let mut guarded = Self { name, child, group, log: log.to_owned(), watchdog: None };
        guarded.watchdog = Watchdog::over(guarded.child.id());
        Ok(guarded)
    }

    /// Process id of the child, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the child's output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the child's output, or why there are none.
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// The exit status, if the child has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills the whole group with SIGKILL and reaps the child. A child that has ended already is no error.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        // Once reaped, the id may belong to somebody else: look first.
        if self.exited().is_none() {
            if let Some(group) = self.group {
                match kill_process_group(group, Signal::KILL) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(source) => {
                        return Err(ProcessError::Signal {
                            program: self.name.clone(),
                            source: source.into(),
                        });
                    }
                }
            }
            self.child
                .wait()
                .map_err(|source| ProcessError::Signal { program: self.name.clone(), source })?;
        }
        self.watchdog = None;
        Ok(())
    }

    /// Asks the group to end with SIGTERM and waits; after `bound` it is killed, which is an error.
    pub async fn stop(&mut self, bound: Duration) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.exited() {
            self.watchdog = None;
            return Ok(status);
        }
        if let Some(group) = self.group {
            match kill_process_group(group, Signal::TERM) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(source) => {
                    return Err(ProcessError::Signal { program: self.name.clone(), source: source.into() });
                }
            }
        }
        let ended = {
            let child = std::sync::Mutex::new(&mut self.child);
            wait::until_some("a child to end", bound, || {
                let status = child.lock().ok().and_then(|mut child| child.try_wait().ok().flatten());
                async move { status }
            })
            .await
        };
        match ended {
            Ok(status) => {
                self.watchdog = None;
                Ok(status)
            }
            Err(_) => {
                self.kill()?;
                Err(ProcessError::Stubborn { program: self.name.clone(), bound })
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(program = %self.name, %error, "child not killed");
        }
    }
}

impl Watchdog {
    /// Watches over the group `pid`. Without a shell there is none, and only `Drop` protects.
    fn over(pid: u32) -> Option<Self> {
        // `read` returns at end of file, which is when the last writer of the pipe is gone: that is us.
        let mut shell = Command::new("/bin/sh")
            .arg("-c")
            .arg("read -r _; kill -s KILL -- \"-$1\" 2>/dev/null")
            .arg("watchdog")
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .ok()?;
        let lifeline = shell.stdin.take();
        Some(Self { shell, _lifeline: lifeline })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Dead before the lifeline is cut, or it would signal a group that may have a new owner.
        if self.shell.kill().is_ok()
            && let Err(error) = self.shell.wait()
        {
            tracing::warn!(%error, "watchdog not reaped");
        }
    }
}
