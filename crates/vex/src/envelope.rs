//! DSSE envelopes (<https://github.com/secure-systems-lab/dsse>) with an in-toto statement
//! (<https://github.com/in-toto/attestation>) or a document in them, verified with configured public keys.

use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use plimsoll_model::Digest;
use serde_json::Value;

use crate::document::{list, text};
use crate::error::VexError;

/// Largest key file, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// SubjectPublicKeyInfo (RFC 5480) of an uncompressed point on P-256, up to the point.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// SubjectPublicKeyInfo (RFC 8410) of Ed25519, up to the key.
const ED: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key that documents may be signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// For people: the file's name.
    pub name: String,
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl Key {
    /// Reads a file in PEM, as `cosign generate-key-pair` writes `cosign.pub`.
    ///
    /// # Errors
    /// [`VexError::Io`], or [`VexError::Key`] for anything but an ECDSA P-256 or Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, VexError> {
        let size = std::fs::metadata(path).map_err(VexError::io(path))?.len();
        if size > MAX_KEY {
            return Err(VexError::Key(path.to_owned()));
        }
        let pem = std::fs::read_to_string(path).map_err(VexError::io(path))?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&name, &pem).ok_or_else(|| VexError::Key(path.to_owned()))
    }

    /// Reads a text in PEM.
    pub fn parse(name: &str, pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
        let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        let of = |prefix: &[u8], length: usize| {
            der.strip_prefix(prefix).filter(|rest| rest.len() == length).map(<[u8]>::to_vec)
        };
        let (kind, bytes) = match (of(P256, 65), of(ED, 32)) {
            (Some(bytes), _) => (Kind::P256, bytes),
            (None, Some(bytes)) => (Kind::Ed25519, bytes),
            (None, None) => return None,
        };
        Some(Self { name: name.to_owned(), kind, bytes })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// An envelope that was opened.
pub(crate) struct Opened {
    pub(crate) document: Value,
    /// Empty where no key was asked for.
    pub(crate) signed_by: String,
    /// Digests that an in-toto statement is about.
    pub(crate) subjects: Vec<Digest>,
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Opens an envelope; with `keys`, one of them must have signed it. Gives the reason where it is not believed.
pub(crate) fn open(envelope: &Value, keys: &[Key]) -> Result<Opened, &'static str> {
    let kind = text(envelope, "payloadType");
    let payload = decoded(text(envelope, "payload")).ok_or("envelope_invalid")?;
    let signed_by = if keys.is_empty() { String::new() } else { signer(envelope, kind, &payload, keys)? };
    let value: Value = serde_json::from_slice(&payload).map_err(|_| "envelope_invalid")?;
    if kind != "application/vnd.in-toto+json" {
        return Ok(Opened { document: value, signed_by, subjects: Vec::new() });
    }
    let subjects: Vec<Digest> = list(&value, "subject")
        .iter()
        .filter_map(|subject| format!("sha256:{}", text(subject.get("digest")?, "sha256")).parse().ok())
        .collect();
    if subjects.is_empty() {
        return Err("attestation_without_subject");
    }
    let document = match value.get("predicate") {
        // cosign wraps what it does not know in `Data`.
        Some(predicate) => match predicate.get("Data") {
            Some(Value::String(data)) => serde_json::from_str(data).map_err(|_| "envelope_invalid")?,
            Some(data) if data.is_object() => data.clone(),
            _ => predicate.clone(),
        },
        None => return Err("envelope_invalid"),
    };
    Ok(Opened { document, signed_by, subjects })
}

fn signer(envelope: &Value, kind: &str, payload: &[u8], keys: &[Key]) -> Result<String, &'static str> {
    // The pre-authentication encoding of DSSE.
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    for signature in list(envelope, "signatures") {
        let Some(bytes) = decoded(text(signature, "sig")) else { continue };
        if let Some(key) = keys.iter().find(|key| key.verifies(&message, &bytes)) {
            return Ok(key.name.clone());
        }
    }
    Err("signature_invalid")
}
