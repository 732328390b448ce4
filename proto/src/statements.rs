//! The artifact that holds all statements (VEX, ignore rules): JSON with a format number, as the model writes them.

use plimsoll_model::Statement;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    statements: &'a [Statement],
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Deserialize)]
struct Read {
    statements: Vec<Statement>,
}

fn invalid(error: impl std::fmt::Display) -> Invalid {
    Invalid { field: "statements", reason: error.to_string() }
}

/// The bytes of the artifact.
///
/// # Errors
/// [`Invalid`] where they cannot be written as JSON, which no statement prevents.
pub fn encode(statements: &[Statement]) -> Result<Vec<u8>, Invalid> {
    serde_json::to_vec(&Written { format: FORMAT, statements }).map_err(invalid)
}

/// Reads [`encode`] back.
///
/// # Errors
/// [`Invalid`] for another format, or bytes that are none.
pub fn decode(bytes: &[u8]) -> Result<Vec<Statement>, Invalid> {
    let head: Head = serde_json::from_slice(bytes).map_err(invalid)?;
    if head.format != FORMAT {
        return Err(invalid(format!("format {} is not known", head.format)));
    }
    let read: Read = serde_json::from_slice(bytes).map_err(invalid)?;
    Ok(read.statements)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_known_is_read() {
        let bytes = super::encode(&[]).unwrap();
        assert_eq!(super::decode(&bytes).unwrap(), []);
        let newer = String::from_utf8(bytes).unwrap().replace(":1", ":2");
        assert!(super::decode(newer.as_bytes()).unwrap_err().to_string().contains("format 2"));
        assert!(super::decode(b"x").is_err());
    }
}
