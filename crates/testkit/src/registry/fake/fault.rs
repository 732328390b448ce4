//! What goes wrong, for which requests, and how often.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

/// Which endpoint a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// `/v2/_catalog`
    Catalog,
    /// The token endpoint.
    Token,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/v2/<name>/manifests/<reference>`
    Manifest,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/blobs/uploads/…`
    Upload,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
    /// Anything else.
    Other,
}

/// One way to misbehave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers, but only after this long.
    Latency(Duration),
    /// 401 with the challenge in force, whatever was presented.
    Unauthorized,
    /// 401 with this `WWW-Authenticate`, such as one whose realm is another host.
    Challenge(String),
    /// 429; `Retry-After` as given, seconds or an HTTP date.
    TooManyRequests {
        /// The header's value; without one there is no header.
        retry_after: Option<String>,
    },
    /// This status with an error document.
    Status(u16),
    /// Only this many bytes of the content, and a `Content-Length` that agrees: the transfer looks complete.
    Truncate(u64),
    /// The right length, but the middle byte is another one.
    Corrupt,
    /// These bytes instead of the content.
    Replace(Bytes),
    /// 307 to the same path at this base (`http://other:5000`).
    Redirect(String),
    /// The whole `Content-Length`, then the connection ends after this many bytes.
    DropAfter(u64),
    /// The whole `Content-Length`, then nothing more after this many bytes.
    StallAfter(u64),
    /// `Range` is ignored: 200 with the whole content.
    IgnoreRange,
    /// The `Docker-Content-Digest` header is left out.
    NoDigestHeader,
}

/// A fault, the requests that it meets, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    fault: Fault,
    kind: Option<Kind>,
    method: Option<Method>,
    repository: Option<String>,
    reference: Option<String>,
    skip: u32,
    left: Option<u32>,
}

impl Behaviour {
    /// Meets every request, until [`super::FakeRegistry::calm`].
    pub fn new(fault: Fault) -> Self {
        Self { fault, kind: None, method: None, repository: None, reference: None, skip: 0, left: None }
    }

    /// Only requests to this endpoint.
    #[must_use]
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only requests to this repository.
    #[must_use]
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Only requests for this digest or tag.
    #[must_use]
    pub fn reference(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Only so often; then it is used up.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// GETs of one blob.
    pub fn blob(digest: &str, fault: Fault) -> Self {
        Self::new(fault).on(Kind::Blob).method(Method::GET).reference(digest)
    }

    /// Takes the fault if this request is met, and counts it.
    fn take(&mut self, method: &Method, kind: Kind, repository: &str, reference: &str) -> Option<Fault> {
        let met = self.kind.is_none_or(|wanted| wanted == kind)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.repository.as_deref().is_none_or(|wanted| wanted == repository)
            && self.reference.as_deref().is_none_or(|wanted| wanted == reference);
        if !met || self.left == Some(0) {
            return None;
        }
        if self.skip > 0 {
            self.skip = self.skip.saturating_sub(1);
            return None;
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Some(self.fault.clone())
    }
}

/// The faults that meet one request. Of those that answer instead of the registry, only the first is taken, so
/// that "three times 429, then twice 503" can be said in order.
pub(super) fn met(
    behaviours: &mut Vec<Behaviour>,
    method: &Method,
    kind: Kind,
    repository: &str,
    reference: &str,
) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for behaviour in behaviours.iter_mut() {
        if answers(&behaviour.fault) && faults.iter().any(answers) {
            continue;
        }
        faults.extend(behaviour.take(method, kind, repository, reference));
    }
    behaviours.retain(|behaviour| behaviour.left != Some(0));
    faults
}

/// Whether a fault is the answer, rather than a change to it.
fn answers(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Unauthorized
            | Fault::Challenge(_)
            | Fault::TooManyRequests { .. }
            | Fault::Status(_)
            | Fault::Redirect(_)
    )
}
