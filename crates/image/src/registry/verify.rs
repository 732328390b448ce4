//! Hashing of small content as it arrives. Layers are hashed by their reader, on its own thread.

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use plimsoll_model::Digest;
use plimsoll_model::digest::push_hex;

/// A digest in the making.
pub(crate) struct Hasher {
    context: Context,
    algorithm: &'static str,
}

impl Hasher {
    /// A hasher of the algorithm of `like`.
    pub(crate) fn like(like: &Digest) -> Self {
        match like.algorithm() {
            "sha512" => Self { context: Context::new(&SHA512), algorithm: "sha512" },
            _ => Self::sha256(),
        }
    }

    pub(crate) fn sha256() -> Self {
        Self { context: Context::new(&SHA256), algorithm: "sha256" }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of a SHA-256 hasher.
    pub(crate) fn sha256_digest(self) -> Digest {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.context.finish().as_ref()) {
            *to = *from;
        }
        Digest::from_sha256(&out)
    }

    /// `algorithm:hex`.
    pub(crate) fn finish(self) -> String {
        let mut text = format!("{}:", self.algorithm);
        push_hex(&mut text, self.context.finish().as_ref());
        text
    }
}

/// True when `bytes` are what `digest` names.
pub(crate) fn is(bytes: &[u8], digest: &Digest) -> bool {
    let mut hasher = Hasher::like(digest);
    hasher.update(bytes);
    hasher.finish() == digest.as_str()
}
