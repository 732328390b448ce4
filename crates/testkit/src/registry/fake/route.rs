//! Paths of the OCI distribution specification 1.1.

use super::Kind;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: Kind,
    /// Repository; empty where there is none.
    pub(super) repository: String,
    /// Tag, digest or upload; empty where there is none.
    pub(super) reference: String,
}

impl Route {
    pub(super) fn parse(path: &str) -> Self {
        let route = |kind, repository: &str, reference: &str| Self {
            kind,
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        };
        let other = route(Kind::Other, "", "");
        if path == "/token" {
            return route(Kind::Token, "", "");
        }
        let Some(rest) = path.strip_prefix("/v2") else { return other };
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return route(Kind::Ping, "", "");
        }
        if rest == "_catalog" {
            return route(Kind::Catalog, "", "");
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return named(route(Kind::Tags, name, ""));
        }
        if let Some((name, upload)) = rest.rsplit_once("/blobs/uploads") {
            return named(route(Kind::Upload, name, upload.trim_start_matches('/')));
        }
        for (part, kind) in
            [("/manifests/", Kind::Manifest), ("/blobs/", Kind::Blob), ("/referrers/", Kind::Referrers)]
        {
            if let Some((name, reference)) = rest.rsplit_once(part)
                && !reference.contains('/')
            {
                return named(route(kind, name, reference));
            }
        }
        other
    }
}

/// The route, if its repository is a name of the specification.
fn named(route: Route) -> Route {
    let component = |part: &str| {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.bytes().next().is_some_and(inside)
            && part.bytes().last().is_some_and(inside)
            && part.bytes().all(|byte| inside(byte) || matches!(byte, b'.' | b'_' | b'-'))
    };
    if route.repository.len() <= 255 && route.repository.split('/').all(component) {
        route
    } else {
        Route { kind: Kind::Other, ..route }
    }
}

/// The query's pairs, decoded.
pub(super) fn query(text: Option<&str>) -> Vec<(String, String)> {
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
    };
    text.unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_specification() {
        for (path, kind, repository, reference) in [
            ("/v2/", Kind::Ping, "", ""),
            ("/v2", Kind::Ping, "", ""),
            ("/v2/_catalog", Kind::Catalog, "", ""),
            ("/v2/a/tags/list", Kind::Tags, "a", ""),
            ("/v2/a/b/c/manifests/latest", Kind::Manifest, "a/b/c", "latest"),
            ("/v2/manifests/manifests/v1", Kind::Manifest, "manifests", "v1"),
            ("/v2/blobs/blobs/sha256:00", Kind::Blob, "blobs", "sha256:00"),
            ("/v2/a/blobs/uploads/", Kind::Upload, "a", ""),
            ("/v2/a/blobs/uploads/17", Kind::Upload, "a", "17"),
            ("/v2/a/referrers/sha256:00", Kind::Referrers, "a", "sha256:00"),
            ("/v2/A/manifests/latest", Kind::Other, "A", "latest"),
            ("/v2/../manifests/latest", Kind::Other, "..", "latest"),
            ("/v1/search", Kind::Other, "", ""),
            ("/token", Kind::Token, "", ""),
        ] {
            let expected = Route { kind, repository: repository.to_owned(), reference: reference.to_owned() };
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let pairs = query(Some("scope=repository%3Aa%3Apull&n=2&empty&plus=a+b"));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("scope", "repository:a:pull"), ("n", "2"), ("empty", ""), ("plus", "a b")]);
    }
}
