//! Package URLs (<https://github.com/package-url/purl-spec>, ECMA-427): parsing and the canonical text.
//!
//! [`Purl::from_str`] reads any valid purl, whatever was percent-encoded; [`Purl`]'s `Display` writes the canonical
//! form: qualifiers sorted, empty ones dropped, everything encoded but letters, digits, `.-_~:` and the separators.
//! Types whose names have no case (`deb`, `apk`, `github`, `pypi`, …) are folded. Two rules of the specification
//! are not followed, because they join packages that their registries keep apart: npm and Go names keep their case.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest purl that is read, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// What is left as it is: unreserved characters of RFC 3986, and the colon.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b':');

/// A package URL, decoded and normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purl {
    /// The type, in lower case (`deb`).
    pub kind: String,
    /// Segments joined by `/`, empty if there are none.
    pub namespace: String,
    pub name: String,
    pub version: Option<String>,
    /// Keys in lower case; no empty value.
    pub qualifiers: BTreeMap<String, String>,
    /// Segments joined by `/`, empty if there are none.
    pub subpath: String,
}

/// Why a text is no purl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurlError {
    #[error("package URL is longer than 16 KiB")]
    TooLong,
    #[error("package URL does not begin with \"pkg:\"")]
    Scheme,
    #[error("package URL has no valid type")]
    Type,
    #[error("package URL has no name")]
    Name,
    #[error("package URL has an invalid qualifier key")]
    Qualifier,
    #[error("package URL is not UTF-8 when decoded")]
    Encoding,
}

impl PurlError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "purl_too_long",
            Self::Scheme => "purl_scheme",
            Self::Type => "purl_type",
            Self::Name => "purl_name",
            Self::Qualifier => "purl_qualifier",
            Self::Encoding => "purl_encoding",
        }
    }
}

impl Purl {
    /// A purl without qualifiers. `kind` must be a valid type (as [`plimsoll_model::Ecosystem::purl_type`] gives);
    /// empty `namespace` and `version` are absent.
    pub fn new(kind: &str, namespace: &str, name: &str, version: &str) -> Self {
        let mut purl = Self {
            kind: kind.to_ascii_lowercase(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            version: (!version.is_empty()).then(|| version.to_owned()),
            qualifiers: BTreeMap::new(),
            subpath: String::new(),
        };
        purl.normalise();
        purl
    }

    /// Adds a qualifier; an empty value adds nothing.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.qualifiers.insert(key.to_ascii_lowercase(), value.to_owned());
        }
        self
    }

    /// A qualifier's value, empty if it is absent.
    pub fn qualifier(&self, key: &str) -> &str {
        self.qualifiers.get(key).map_or("", String::as_str)
    }

    /// `namespace/name`, or the name alone.
    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// The rules of the types: case, and the characters that are the same in names.
    fn normalise(&mut self) {
        match self.kind.as_str() {
            "alpm" | "apk" | "bitbucket" | "bitnami" | "composer" | "deb" | "github" | "gitlab" | "hex"
            | "oci" | "pub" => {
                self.namespace = self.namespace.to_lowercase();
                self.name = self.name.to_lowercase();
            }
            "rpm" => self.namespace = self.namespace.to_lowercase(),
            "pypi" => self.name = pep503(&self.name),
            "huggingface" => self.version = self.version.take().map(|v| v.to_lowercase()),
            _ => {}
        }
    }
}

/// The normalised name of a Python package (PEP 503): lower case, runs of `-_.` as one `-`.
pub fn pep503(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut run = false;
    for c in name.trim().chars() {
        if matches!(c, '-' | '_' | '.') {
            run = true;
            continue;
        }
        if run {
            text.push('-');
            run = false;
        }
        text.extend(c.to_lowercase());
    }
    if run {
        text.push('-');
    }
    text
}

fn decode(text: &str) -> Result<String, PurlError> {
    percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| PurlError::Encoding)
}

/// Decoded segments without the empty ones, and for subpaths without `.` and `..`.
fn segments(text: &str, subpath: bool) -> Result<String, PurlError> {
    let mut kept = Vec::new();
    for segment in text.split('/') {
        let segment = decode(segment)?;
        if segment.is_empty() || (subpath && matches!(segment.as_str(), "." | "..")) {
            continue;
        }
        kept.push(segment);
    }
    Ok(kept.join("/"))
}

fn valid_type(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
}

fn valid_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

impl FromStr for Purl {
    type Err = PurlError;

    fn from_str(text: &str) -> Result<Self, PurlError> {
        if text.len() > MAX_LENGTH {
            return Err(PurlError::TooLong);
        }
        let (text, subpath) = text.split_once('#').map_or((text, ""), |(rest, subpath)| (rest, subpath));
        let (text, query) = text.split_once('?').map_or((text, ""), |(rest, query)| (rest, query));
        let (scheme, rest) = text.split_once(':').ok_or(PurlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return Err(PurlError::Scheme);
        }
        let (kind, rest) = rest.trim_matches('/').split_once('/').ok_or(PurlError::Name)?;
        if !valid_type(kind) {
            return Err(PurlError::Type);
        }
        // The version follows the last `@` of the last segment: an npm scope's is in an earlier one.
        let last = rest.rfind('/').map_or(0, |at| at + 1);
        let (rest, version) = match rest.rfind('@') {
            Some(at) if at > last => (rest.get(..at).unwrap_or(""), rest.get(at + 1..).unwrap_or("")),
            // A version with a slash that someone forgot to encode: only if what precedes it is a name.
            Some(at) if at > 0 && !rest.get(..at).unwrap_or("").ends_with('/') => {
                (rest.get(..at).unwrap_or(""), rest.get(at + 1..).unwrap_or(""))
            }
            _ => (rest, ""),
        };
        let rest = rest.trim_matches('/');
        let (namespace, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        let name = decode(name)?;
        if name.is_empty() {
            return Err(PurlError::Name);
        }
        let version = decode(version)?;
        let mut qualifiers = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !valid_key(key) {
                return Err(PurlError::Qualifier);
            }
            let value = decode(value)?;
            if !value.is_empty() {
                qualifiers.insert(key.to_ascii_lowercase(), value);
            }
        }
        let mut purl = Self {
            kind: kind.to_ascii_lowercase(),
            namespace: segments(namespace, false)?,
            name,
            version: (!version.is_empty()).then_some(version),
            qualifiers,
            subpath: segments(subpath, true)?,
        };
        purl.normalise();
        Ok(purl)
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}", self.kind)?;
        for segment in self.namespace.split('/').filter(|segment| !segment.is_empty()) {
            write!(f, "/{}", utf8_percent_encode(segment, ENCODED))?;
        }
        write!(f, "/{}", utf8_percent_encode(&self.name, ENCODED))?;
        if let Some(version) = &self.version {
            write!(f, "@{}", utf8_percent_encode(version, ENCODED))?;
        }
        for (n, (key, value)) in self.qualifiers.iter().filter(|(_, value)| !value.is_empty()).enumerate() {
            write!(f, "{}{key}={}", if n == 0 { '?' } else { '&' }, utf8_percent_encode(value, ENCODED))?;
        }
        for (n, segment) in self.subpath.split('/').filter(|segment| !segment.is_empty()).enumerate() {
            write!(f, "{}{}", if n == 0 { '#' } else { '/' }, utf8_percent_encode(segment, ENCODED))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text, its canonical form.
    const CANONICAL: &[(&str, &str)] = &[
        (
            "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie",
            "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie",
        ),
        ("pkg:deb/Debian/libstdc%2B%2B6@12.2.0-14", "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14"),
        (
            "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?upstream=zlib",
            "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?upstream=zlib",
        ),
        ("pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1", "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1"),
        ("pkg:deb/debian/x@1?upstream=y@2&arch=all", "pkg:deb/debian/x@1?arch=all&upstream=y%402"),
        ("PKG:NPM/%40angular/animation@12.3.1", "pkg:npm/%40angular/animation@12.3.1"),
        ("pkg:npm/@angular/animation@12.3.1", "pkg:npm/%40angular/animation@12.3.1"),
        ("pkg:npm/%40angular/animation", "pkg:npm/%40angular/animation"),
        ("pkg:npm/@angular/animation", "pkg:npm/%40angular/animation"),
        ("pkg:pypi/Django_package@1.11.1.dev1", "pkg:pypi/django-package@1.11.1.dev1"),
        ("pkg:pypi/zope.interface@5.0", "pkg:pypi/zope-interface@5.0"),
        (
            "pkg:golang/google.golang.org/genproto#googleapis/api/annotations",
            "pkg:golang/google.golang.org/genproto#googleapis/api/annotations",
        ),
        (
            "pkg:golang/github.com/Masterminds/semver/v3@v3.2.0",
            "pkg:golang/github.com/Masterminds/semver/v3@v3.2.0",
        ),
        (
            "pkg:GitHub/Package-url/Purl-Spec@244fd47e07d1004f0aed9c",
            "pkg:github/package-url/purl-spec@244fd47e07d1004f0aed9c",
        ),
        (
            "pkg:docker/customer/dockerimage@sha256%3A244fd47e07d1004f0aed9c?repository_url=gcr.io",
            "pkg:docker/customer/dockerimage@sha256:244fd47e07d1004f0aed9c?repository_url=gcr.io",
        ),
        (
            "pkg:maven/org.apache.xmlgraphics/batik-anim@1.9.1?type=zip&classifier=sources",
            "pkg:maven/org.apache.xmlgraphics/batik-anim@1.9.1?classifier=sources&type=zip",
        ),
        (
            "pkg:rpm/Fedora/curl@7.50.3-1.fc25?Arch=i386&distro=fedora-25",
            "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25",
        ),
        ("pkg://gem/ruby-advisory-db-check@0.12.4", "pkg:gem/ruby-advisory-db-check@0.12.4"),
        ("pkg:nuget/EnterpriseLibrary.Common@6.0.1304", "pkg:nuget/EnterpriseLibrary.Common@6.0.1304"),
        ("pkg:generic/a@1?empty=&b=2", "pkg:generic/a@1?b=2"),
        ("pkg:generic/a%20b/c%2Fd@1%2F2#./x/../y%20z/", "pkg:generic/a%20b/c%2Fd@1%2F2#x/y%20z"),
    ];

    #[test]
    fn canonical_texts() {
        for (text, canonical) in CANONICAL {
            let purl: Purl = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(purl.to_string(), *canonical, "{text}");
        }
    }

    #[test]
    fn refused_texts() {
        for (text, why) in [
            ("", PurlError::Scheme),
            ("deb/debian/x@1", PurlError::Scheme),
            ("http:deb/x", PurlError::Scheme),
            ("pkg:deb", PurlError::Name),
            ("pkg:deb/", PurlError::Name),
            ("pkg:n&g?inx/nginx@0.8.9", PurlError::Name),
            ("pkg:n&g/nginx@0.8.9", PurlError::Type),
            ("pkg:3nginx/nginx@0.8.9", PurlError::Type),
            ("pkg:generic/x?in%20production=true", PurlError::Qualifier),
            ("pkg:generic/%FF@1", PurlError::Encoding),
        ] {
            assert_eq!(text.parse::<Purl>(), Err(why), "{text}");
        }
        assert_eq!(format!("pkg:npm/{}", "a".repeat(MAX_LENGTH)).parse::<Purl>(), Err(PurlError::TooLong));
    }

    proptest! {
        #[test]
        fn written_purls_read_back(kind in "[a-z][a-z0-9.+-]{0,6}", namespace in proptest::collection::vec("[^/]{1,6}", 0..3),
                                   name in ".{1,8}", version in ".{0,8}", value in ".{0,8}", subpath in "[^/.]{0,5}") {
            let mut purl = Purl::new(&kind, &namespace.join("/"), &name, &version).with("k", &value);
            purl.subpath = subpath;
            prop_assume!(!purl.name.is_empty());
            let text = purl.to_string();
            prop_assert_eq!(text.parse::<Purl>(), Ok(purl), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(pkg:)?[a-z/@?#&=%:.]{0,30}") {
            if let Ok(purl) = text.parse::<Purl>() {
                prop_assert_eq!(purl.to_string().parse::<Purl>(), Ok(purl));
            }
        }
    }
}
