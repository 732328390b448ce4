//! Where documents and tables go: standard output, or a file that is there whole or not at all.

use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::CliError;

/// Writes a document to standard output. A reader that has gone is no error, a full disk is one.
pub(super) fn emit(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::io("write the output")(error)),
        _ => Ok(()),
    }
}

/// As [`emit`], or to `file`, which is replaced in one step.
pub(super) fn emit_to(file: Option<&Path>, bytes: &[u8]) -> Result<(), CliError> {
    match file {
        Some(path) => replace(path, bytes),
        None => emit(bytes),
    }
}

/// Writes a file beside `path` and renames it into place.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = || CliError::io(format!("write {}", path.display()));
    // What is no plain file (`/dev/stdout`) cannot be replaced.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(failed());
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file, less what the user's mask takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut part = builder.prefix(".plimsoll-").tempfile_in(folder).map_err(failed())?;
    part.write_all(bytes).map_err(failed())?;
    part.as_file().sync_all().map_err(failed())?;
    part.persist(path).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// Indented JSON with a final line feed.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, CliError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| CliError::new("internal", error))?;
    bytes.push(b'\n');
    Ok(bytes)
}
