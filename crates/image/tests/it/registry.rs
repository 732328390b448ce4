use futures::StreamExt;
use plimsoll_config::{Registry, Secret};
use plimsoll_image::manifest::MAX_MANIFEST_BYTES;
use plimsoll_image::registry::{Registries, RegistryError};
use plimsoll_model::{Digest, Reference};

use crate::fake::{Asked, Fake, broken, digest, registries, reply, status};

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

async fn read(
    registries: &Registries,
    host: &str,
    digest: &Digest,
    limit: u64,
) -> Result<Vec<u8>, RegistryError> {
    let mut stream = registries.blob(host, "a/b", digest, limit).await?;
    let mut out = Vec::new();
    while let Some(chunk) = stream.next().await {
        out.extend_from_slice(&chunk?);
    }
    Ok(out)
}

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

fn from(asked: &Asked) -> Option<usize> {
    let range = asked.header("range")?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Some bytes that are not all alike.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn resolves_by_head_and_falls_back_to_get() {
    let fake = Fake::start(|asked| {
        let of_tag = digest(MANIFEST.as_bytes());
        match (asked.method.as_str(), asked.path.as_str()) {
            ("HEAD", "/v2/a/b/manifests/1") => {
                reply(200, &[("docker-content-digest", of_tag.as_str()), ("content-type", OCI)], "")
            }
            ("HEAD", "/v2/a/b/manifests/nodigest") => status(200),
            ("HEAD", "/v2/a/b/manifests/nohead") => status(405),
            ("GET", _) => reply(
                200,
                &[("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")],
                MANIFEST,
            ),
            _ => status(404),
        }
    })
    .await;
    let registries = fake.registries();
    for tag in ["1", "nodigest", "nohead"] {
        let found = registries.resolve(&reference(&fake.host, &format!("a/b:{tag}"))).await.unwrap();
        assert_eq!((found.digest, found.media_type.as_str()), (digest(MANIFEST.as_bytes()), OCI), "{tag}");
    }
    let missing = registries.resolve(&reference(&fake.host, "a/b:2")).await.unwrap_err();
    assert_eq!((missing.code(), missing.transient()), ("not_found", false));
    let asked = fake.asked();
    assert!(asked[0].header("accept").unwrap().contains("application/vnd.oci.image.index.v1+json"));
    assert!(asked[0].header("user-agent").unwrap().starts_with("plimsoll/"));
}

#[tokio::test]
async fn unknown_hosts_are_refused_and_aliases_are_one_identity() {
    let fake = Fake::start(|_| status(404)).await;
    let mut entry = fake.entry();
    entry.aliases = vec!["shop.example".into()];
    let registries = registries(&[entry]);
    for other in ["evil.example", "127.0.0.1", "docker.io", "shop.example:80", "localhost"] {
        let failed = registries.resolve(&reference("x.example", "a")).await.unwrap_err();
        assert_eq!(failed.code(), "registry_not_configured");
        let failed = registries.blob(other, "a/b", &digest(b""), 1).await.unwrap_err();
        assert_eq!((failed.code(), failed.transient()), ("registry_not_configured", false), "{other}");
        assert_eq!(registries.identity(other), None);
    }
    assert!(fake.asked().is_empty());
    assert_eq!(registries.identity("SHOP.example"), Some(fake.host.as_str()));
    let canonical = registries.canonical(&reference("shop.example", "a:1")).unwrap();
    assert_eq!(canonical.to_string(), format!("{}/a:1", fake.host));
    let missing = registries.resolve(&reference("shop.example", "a:1")).await.unwrap_err();
    assert_eq!(missing.code(), "not_found");
    for bad in ["../x", "a//b", "", "A", "a/b?c"] {
        let failed = registries.tags(&fake.host, bad, 1).await.unwrap_err();
        assert_eq!(failed.code(), "invalid_reference", "{bad}");
    }
}

/// A registry with a token service of its own that gives the tokens `t0`, `t1`, … and accepts what `accepts`
/// says.
async fn guarded(accepts: fn(&str) -> bool) -> Fake {
    Fake::start(move |asked| {
        let host = asked.header("host").unwrap().to_owned();
        if asked.path == "/token" {
            return reply(200, &[], format!(r#"{{"token":"t{}","expires_in":3600}}"#, asked.n));
        }
        match asked.header("authorization") {
            Some(header) if accepts(header) => {
                let of = digest(MANIFEST.as_bytes());
                reply(200, &[("docker-content-digest", of.as_str())], MANIFEST)
            }
            _ => {
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"the registry\"");
                reply(401, &[("www-authenticate", &challenge)], "")
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_refreshed_once() {
    let fake = guarded(|header| header == "Bearer t1" || header == "Bearer t5").await;
    let mut entry = fake.entry();
    entry.username = Some("me".into());
    entry.password = Some(Secret::new("sesame"));
    let registries = registries(&[entry]);
    let image = reference(&fake.host, "a/b:1");
    registries.resolve(&image).await.unwrap();
    registries.resolve(&image).await.unwrap();
    let asked = fake.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/v2/a/b/manifests/1", "/token", "/v2/a/b/manifests/1", "/v2/a/b/manifests/1"]);
    assert_eq!(asked[1].query, "service=the+registry&scope=repository%3Aa%2Fb%3Apull");
    assert_eq!(asked[1].header("authorization"), Some("Basic bWU6c2VzYW1l"));
    assert_eq!(asked[0].header("authorization"), None);
    // Another repository is another scope: the challenge is known, so its token is asked for first.
    let other = registries.resolve(&reference(&fake.host, "c:1")).await.unwrap_err();
    let paths: Vec<String> = fake.asked().iter().skip(4).map(|asked| asked.path.clone()).collect();
    assert_eq!(paths[0], "/token");
    // t4 is not accepted, t6 neither: one refresh, then the end.
    assert_eq!((other.code(), other.transient()), ("auth", false));
    assert_eq!(paths, ["/token", "/v2/c/manifests/1", "/token", "/v2/c/manifests/1"]);
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    // Accepts t1 for the first request only, then only t4.
    let fake = Fake::start(|asked| {
        let host = asked.header("host").unwrap().to_owned();
        match (asked.path.as_str(), asked.header("authorization"), asked.n) {
            ("/token", _, n) => reply(200, &[], format!(r#"{{"access_token":"t{n}"}}"#)),
            (_, Some("Bearer t1"), 2) | (_, Some("Bearer t4"), _) => {
                let of = digest(b"x");
                reply(200, &[("docker-content-digest", of.as_str())], "")
            }
            _ => reply(401, &[("www-authenticate", &format!("Bearer realm=\"http://{host}/token\""))], ""),
        }
    })
    .await;
    let registries = fake.registries();
    let image = reference(&fake.host, "a/b:1");
    registries.resolve(&image).await.unwrap();
    registries.resolve(&image).await.unwrap();
    assert_eq!(fake.asked().len(), 6);
}

#[tokio::test]
async fn credentials_never_go_to_a_foreign_token_service() {
    let thief = Fake::start(|_| reply(200, &[], r#"{"token":"t"}"#)).await;
    let realm = format!("http://{}/token", thief.host);
    let fake = Fake::start(move |_| {
        reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"x\""))], "")
    })
    .await;
    let mut entry = fake.entry();
    entry.username = Some("me".into());
    entry.password = Some(Secret::new("sesame"));
    let refused =
        registries(std::slice::from_ref(&entry)).resolve(&reference(&fake.host, "a:1")).await.unwrap_err();
    assert_eq!(refused.code(), "registry_not_configured");
    assert!(refused.to_string().contains(&thief.host), "{refused}");
    assert!(thief.asked().is_empty());
    // Listed, it is asked; the registry still refuses.
    entry.token_hosts = vec![thief.host.clone()];
    let refused = registries(&[entry]).resolve(&reference(&fake.host, "a:1")).await.unwrap_err();
    assert_eq!(refused.code(), "auth");
    assert_eq!(thief.asked()[0].header("authorization"), Some("Basic bWU6c2VzYW1l"));
}

#[tokio::test]
async fn passwords_and_fixed_tokens() {
    let fake = Fake::start(|asked| match asked.header("authorization") {
        Some("Basic bWU6c2VzYW1l" | "Bearer fixed") => {
            reply(200, &[("docker-content-digest", digest(b"x").as_str())], "")
        }
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    })
    .await;
    let image = reference(&fake.host, "a:1");
    let with = |username: Option<&str>, password: Option<&str>, token: Option<&str>| {
        let mut entry = fake.entry();
        entry.username = username.map(str::to_owned);
        entry.password = password.map(Secret::new);
        entry.token = token.map(Secret::new);
        registries(&[entry])
    };
    with(Some("me"), Some("sesame"), None).resolve(&image).await.unwrap();
    with(None, None, Some("fixed")).resolve(&image).await.unwrap();
    for wrong in [with(Some("me"), Some("x"), None), with(None, None, None), with(None, None, Some("no"))] {
        let error = wrong.resolve(&image).await.unwrap_err();
        assert_eq!(error.code(), "auth");
        assert!(!error.to_string().contains("sesame"));
    }
}

#[tokio::test]
async fn too_many_requests_and_outages_are_waited_out_but_not_for_ever() {
    for (code, expected) in
        [(429, "rate_limited"), (503, "unavailable"), (500, "unavailable"), (504, "unavailable")]
    {
        let fake = Fake::start(move |asked| {
            if asked.path.ends_with("/ok") && asked.n >= 2 {
                reply(200, &[("docker-content-digest", digest(b"x").as_str())], "")
            } else {
                reply(code, &[("retry-after", "0")], "")
            }
        })
        .await;
        let registries = fake.registries();
        registries.resolve(&reference(&fake.host, "a:ok")).await.unwrap();
        assert_eq!(fake.asked().len(), 3);
        let error = registries.resolve(&reference(&fake.host, "a:never")).await.unwrap_err();
        assert_eq!((error.code(), error.transient()), (expected, true));
        assert_eq!(fake.asked().len(), 3 + 4);
    }
    let nobody = Fake::start(|_| status(200)).await.host.clone();
    let error = registries(&[Registry::anonymous(&nobody)]).resolve(&reference(&nobody, "a:1")).await;
    // The fake is gone, so either nobody listens or the connection is closed.
    assert_eq!(error.unwrap_err().code(), "unavailable");
}

#[tokio::test]
async fn status_codes_are_typed() {
    for (code, expected) in [
        (400, "invalid_reference"),
        (403, "auth"),
        (404, "not_found"),
        (410, "not_found"),
        (418, "unsupported"),
    ] {
        let fake = Fake::start(move |_| {
            reply(code, &[], r#"{"errors":[{"code":"DENIED","message":"not\u0007 for you"}]}"#)
        })
        .await;
        let error = fake.registries().manifest(&fake.host, "a/b", &digest(b"x")).await.unwrap_err();
        assert_eq!((error.code(), error.transient()), (expected, false), "{code}");
        if code == 403 {
            assert!(error.to_string().ends_with("DENIED not for you"), "{error}");
        }
    }
}

#[tokio::test]
async fn manifests_are_verified_and_bounded() {
    let fake = Fake::start(|asked| {
        let name = asked.path.rsplit('/').next().unwrap();
        if name == digest(MANIFEST.as_bytes()).as_str() || name == "good" {
            reply(200, &[("content-type", OCI)], MANIFEST)
        } else if name == "lies" {
            reply(200, &[("docker-content-digest", digest(b"other").as_str())], MANIFEST)
        } else if name == "huge" {
            reply(200, &[], vec![b' '; MAX_MANIFEST_BYTES + 1])
        } else if name == "endless" {
            let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
            let body = futures::stream::repeat(Ok::<_, std::fmt::Error>(chunk));
            reply(200, &[], axum::body::Body::from_stream(body))
        } else {
            reply(200, &[], "something else")
        }
    })
    .await;
    let registries = fake.registries();
    let good = registries.manifest(&fake.host, "a/b", &digest(MANIFEST.as_bytes())).await.unwrap();
    assert_eq!((&good.bytes[..], good.media_type.as_str()), (MANIFEST.as_bytes(), OCI));
    let by_tag = registries.manifest_of(&reference(&fake.host, "a/b:good")).await.unwrap();
    assert_eq!(by_tag.digest, digest(MANIFEST.as_bytes()));
    let wrong = registries.manifest(&fake.host, "a/b", &digest(b"not this")).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.transient()), ("corrupt", false));
    for (tag, code) in [("lies", "corrupt"), ("huge", "too_large"), ("endless", "too_large")] {
        let error = registries.manifest_of(&reference(&fake.host, &format!("a/b:{tag}"))).await.unwrap_err();
        assert_eq!(error.code(), code, "{tag}");
    }
}

#[tokio::test]
async fn head_may_not_contradict_the_digest_that_was_asked_for() {
    let fake = Fake::start(|_| reply(200, &[("docker-content-digest", digest(b"other").as_str())], "")).await;
    let image = reference(&fake.host, "a/b").at(digest(b"this"));
    assert_eq!(fake.registries().resolve(&image).await.unwrap_err().code(), "corrupt");
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stopped() {
    let all = bytes(300_000);
    let of = digest(&all);
    for ranges in [true, false] {
        let served = all.clone();
        let fake = Fake::start(move |asked| {
            let start = from(asked).filter(|_| ranges).unwrap_or(0);
            let rest = &served[start..];
            let range = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
            let code = if start > 0 { 206 } else { 200 };
            match asked.n {
                0 => broken(code, &[("content-range", &range)], rest, 100_000),
                1 => broken(code, &[("content-range", &range)], rest, if ranges { 1 } else { 150_000 }),
                _ => reply(code, &[("content-range", &range)], rest.to_vec()),
            }
        })
        .await;
        let registries = fake.registries();
        assert!(read(&registries, &fake.host, &of, 1 << 20).await.unwrap() == all, "ranges: {ranges}");
        let ranges_asked: Vec<Option<usize>> = fake.asked().iter().map(from).collect();
        let second = if ranges { 100_001 } else { 150_000 };
        assert_eq!(ranges_asked.first(), Some(&None));
        assert_eq!(ranges_asked.last(), Some(&Some(second)));
        assert_eq!(registries.blob_bytes(&fake.host, "a/b", &of, 1 << 20).await.unwrap(), all);
    }
}

#[tokio::test]
async fn a_registry_that_dislikes_the_range_is_read_from_the_start() {
    let all = bytes(50_000);
    let served = all.clone();
    let fake = Fake::start(move |asked| match from(asked) {
        None if asked.n == 0 => broken(200, &[], &served, 20_000),
        None => reply(200, &[], served.clone()),
        Some(_) => status(416),
    })
    .await;
    assert!(read(&fake.registries(), &fake.host, &digest(&all), 1 << 20).await.unwrap() == all);
}

#[tokio::test]
async fn a_transfer_that_never_gets_on_ends() {
    let fake = Fake::start(|asked| {
        let start = from(asked).unwrap_or(0);
        let all = bytes(100_000);
        let range = format!("bytes {start}-99999/100000");
        broken(if start > 0 { 206 } else { 200 }, &[("content-range", &range)], &all[start..], 10)
    })
    .await;
    let error = read(&fake.registries(), &fake.host, &digest(b""), 1 << 20).await.unwrap_err();
    assert_eq!((error.code(), error.transient()), ("unavailable", true));
    assert_eq!(fake.asked().len(), 4);
}

#[tokio::test]
async fn blobs_are_bounded_and_may_not_change_size() {
    let fake = Fake::start(|asked| {
        let all = bytes(1_000);
        if asked.path.ends_with(digest(b"endless").as_str()) {
            let chunk = bytes::Bytes::from(vec![0; 1 << 16]);
            let body = futures::stream::repeat(Ok::<_, std::fmt::Error>(chunk));
            return reply(200, &[], axum::body::Body::from_stream(body));
        }
        if asked.path.ends_with(digest(b"shrinks").as_str()) {
            return match from(asked) {
                None => broken(200, &[], &all, 500),
                Some(start) => {
                    let range = format!("bytes {start}-899/900");
                    reply(206, &[("content-range", &range)], all[start..900].to_vec())
                }
            };
        }
        reply(200, &[], all)
    })
    .await;
    let registries = fake.registries();
    for (name, limit, code) in
        [("plain", 999, "too_large"), ("endless", 1 << 20, "too_large"), ("shrinks", 1_000, "corrupt")]
    {
        let error = read(&registries, &fake.host, &digest(name.as_bytes()), limit).await.unwrap_err();
        assert_eq!((error.code(), error.transient()), (code, false), "{name}");
    }
    let wrong = registries.blob_bytes(&fake.host, "a/b", &digest(b"wrong"), 1_000).await.unwrap_err();
    assert_eq!(wrong.code(), "corrupt");
    assert!(read(&registries, &fake.host, &digest(b"x"), 1_000).await.unwrap() == bytes(1_000));
}

#[tokio::test]
async fn redirects_lead_to_listed_hosts_only_and_without_credentials() {
    let storage = Fake::start(|_| reply(200, &[], "content")).await;
    let target = format!("http://{}/bucket/blob?signature=s", storage.host);
    let fake = Fake::start(move |asked| match asked.header("authorization") {
        Some("Bearer fixed") if asked.path.starts_with("/elsewhere") => reply(200, &[], "content"),
        Some("Bearer fixed") if asked.path.ends_with(digest(b"inside").as_str()) => {
            reply(307, &[("location", "/elsewhere")], "")
        }
        Some("Bearer fixed") if asked.path.ends_with(digest(b"user").as_str()) => {
            reply(307, &[("location", &target.replace("http://", "http://me:you@"))], "")
        }
        Some("Bearer fixed") if asked.path.ends_with(digest(b"loop").as_str()) => {
            reply(307, &[("location", &asked.path)], "")
        }
        Some("Bearer fixed") => reply(307, &[("location", &target)], ""),
        _ => status(403),
    })
    .await;
    let mut entry = fake.entry();
    entry.token = Some(Secret::new("fixed"));
    let strict = registries(std::slice::from_ref(&entry));
    let refused = read(&strict, &fake.host, &digest(b"content"), 100).await.unwrap_err();
    assert_eq!(refused.code(), "registry_not_configured");
    assert!(!refused.to_string().contains("signature"), "{refused}");
    assert!(storage.asked().is_empty());
    assert_eq!(read(&strict, &fake.host, &digest(b"inside"), 100).await.unwrap(), b"content");
    let lost = read(&strict, &fake.host, &digest(b"loop"), 100).await.unwrap_err();
    assert_eq!(lost.code(), "unsupported");
    entry.redirect_hosts = vec![storage.host.clone()];
    let open = registries(&[entry]);
    assert_eq!(read(&open, &fake.host, &digest(b"content"), 100).await.unwrap(), b"content");
    let asked = storage.asked();
    assert_eq!((asked.len(), asked[0].header("authorization")), (1, None));
    let refused = read(&open, &fake.host, &digest(b"user"), 100).await.unwrap_err();
    assert_eq!(refused.code(), "registry_not_configured");
}

#[tokio::test]
async fn mirrors_are_asked_first_for_digests_and_passed_over_when_wrong() {
    let all = bytes(200_000);
    let (of, of_manifest) = (digest(&all), digest(MANIFEST.as_bytes()));
    let (served, known) = (all.clone(), of.clone());
    let origin = Fake::start(move |asked| {
        if asked.path.contains("/manifests/") {
            return reply(200, &[("docker-content-digest", digest(MANIFEST.as_bytes()).as_str())], MANIFEST);
        }
        let start = from(asked).unwrap_or(0);
        let range = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
        reply(if start > 0 { 206 } else { 200 }, &[("content-range", &range)], served[start..].to_vec())
    })
    .await;
    let served = all.clone();
    let mirror = Fake::start(move |asked| {
        if asked.path.contains("/manifests/") {
            return reply(200, &[], "forged");
        }
        if asked.path.ends_with(known.as_str()) && from(asked).is_none() {
            return broken(200, &[], &served, 120_000);
        }
        status(404)
    })
    .await;
    let mut entry = origin.entry();
    entry.mirrors = vec![mirror.host.clone()];
    let registries = registries(&[entry.clone(), mirror.entry()]);
    let found = registries.manifest(&origin.host, "a/b", &of_manifest).await.unwrap();
    assert_eq!(found.bytes, MANIFEST.as_bytes());
    assert_eq!((mirror.asked().len(), origin.asked().len()), (1, 1));
    // The mirror breaks off and has no more: the origin goes on from there.
    assert!(read(&registries, &origin.host, &of, 1 << 20).await.unwrap() == all);
    assert_eq!(from(origin.asked().last().unwrap()), Some(120_000));
    let before = mirror.asked().len();
    registries.resolve(&reference(&origin.host, "a/b:1")).await.unwrap();
    let from_origin = registries.blob_from_origin(&origin.host, "a/b", &of, 1 << 20).await.unwrap();
    assert_eq!(from_origin.size(), Some(200_000));
    assert_eq!(mirror.asked().len(), before, "tags are the origin's to resolve");
    assert!(Registries::new(&[entry]).is_err(), "a mirror without an entry");
}

#[tokio::test]
async fn listings_are_paged_bounded_and_stay_at_home() {
    let fake = Fake::start(|asked| {
        let query = asked.query.as_str();
        match (asked.path.as_str(), query) {
            ("/v2/a/b/tags/list", "n=1000") => reply(
                200,
                &[("link", "</v2/a/b/tags/list?last=2&n=2>; rel=\"next\"")],
                r#"{"name":"a/b","tags":["1","2","not a tag"]}"#,
            ),
            ("/v2/a/b/tags/list", _) => reply(200, &[], r#"{"name":"a/b","tags":["3"]}"#),
            ("/v2/none/tags/list", _) => reply(200, &[], r#"{"name":"none","tags":null}"#),
            ("/v2/away/tags/list", _) => {
                reply(200, &[("link", "<http://evil.example/v2/x>; rel=next")], r#"{"tags":["1"]}"#)
            }
            ("/v2/loop/tags/list", _) => {
                reply(200, &[("link", "</v2/loop/tags/list?n=1000>; rel=\"next\"")], r#"{"tags":[]}"#)
            }
            ("/v2/_catalog", _) => reply(200, &[], r#"{"repositories":["a/b","../c","d"]}"#),
            _ => reply(200, &[], "[]"),
        }
    })
    .await;
    let registries = fake.registries();
    let tags = registries.tags(&fake.host, "a/b", 10).await.unwrap();
    assert_eq!((tags.names, tags.truncated), (vec!["1".into(), "2".into(), "3".into()], false));
    let tags = registries.tags(&fake.host, "a/b", 2).await.unwrap();
    assert_eq!((tags.names.len(), tags.truncated), (2, true));
    assert!(registries.tags(&fake.host, "none", 10).await.unwrap().names.is_empty());
    for (repository, code) in [("away", "registry_not_configured"), ("loop", "corrupt"), ("else", "corrupt")]
    {
        assert_eq!(
            registries.tags(&fake.host, repository, 10).await.unwrap_err().code(),
            code,
            "{repository}"
        );
    }
    assert_eq!(registries.catalog(&fake.host, 10).await.unwrap().names, ["a/b", "d"]);
}

#[tokio::test]
async fn no_more_requests_at_once_than_configured() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let fake = Fake::start(|_| reply(200, &[], bytes(100))).await;
    let mut entry = fake.entry();
    entry.max_concurrent = 2;
    let registries = registries(&[entry]);
    let of = digest(&bytes(100));
    // Two places: two streams that are open and not read keep a third out.
    let first = registries.blob(&fake.host, "a/b", &of, 1_000).await.unwrap();
    let second = registries.blob(&fake.host, "a/b", &of, 1_000).await.unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let mut third = Box::pin({
        let (registries, host, of, opened) =
            (registries.clone(), fake.host.clone(), of.clone(), Arc::clone(&opened));
        async move {
            let stream = registries.blob(&host, "a/b", &of, 1_000).await.unwrap();
            opened.fetch_add(1, Ordering::SeqCst);
            stream
        }
    });
    assert!(futures::poll!(third.as_mut()).is_pending());
    let gauges = registries.gauges(&fake.host).unwrap();
    assert_eq!((gauges.active, gauges.waiting), (2, 1));
    assert_eq!(fake.asked().len(), 2);
    drop(first);
    third.await;
    assert_eq!((opened.load(Ordering::SeqCst), fake.asked().len()), (1, 3));
    drop(second);
}
