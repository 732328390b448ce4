//! What a network does to a transfer: authorities of one's own, tokens that end, registries that slow us down.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use plimsoll_image::registry::{Registries, RegistryError};
use plimsoll_model::{Digest, Reference};

use crate::fake::{Asked, Fake, broken, digest, registries, reply};

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

fn from(asked: &Asked) -> usize {
    let range = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
    range.and_then(|range| range.strip_suffix('-')?.parse().ok()).unwrap_or(0)
}

async fn read(registries: &Registries, host: &str, of: &Digest) -> Result<Vec<u8>, RegistryError> {
    let mut stream = registries.blob(host, "a/b", of, 1 << 20).await?;
    let mut out = Vec::new();
    while let Some(chunk) = stream.next().await {
        out.extend_from_slice(&chunk?);
    }
    Ok(out)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_configured() {
    let fake = Fake::start_tls(|_| reply(200, &[("docker-content-digest", digest(b"x").as_str())], "")).await;
    let image: Reference = format!("{}/a:1", fake.host).parse().unwrap();
    let mut entry = fake.entry();
    entry.plain_http = false;
    let refused = registries(std::slice::from_ref(&entry)).resolve(&image).await.unwrap_err();
    assert_eq!(refused.code(), "unavailable");
    assert!(refused.to_string().to_lowercase().contains("certificate"), "{refused}");
    assert!(fake.asked().is_empty(), "nothing is said to a registry that is not known");
    entry.ca_file = Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem")));
    let found = registries(std::slice::from_ref(&entry)).resolve(&image).await.unwrap();
    assert_eq!(found.digest, digest(b"x"));
    // The certificate is for an address and a name; another name is another registry.
    for (file, wrong) in [("ca.pem", false), ("server.key", true), ("none.pem", true)] {
        entry.ca_file = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(file));
        assert_eq!(Registries::new(std::slice::from_ref(&entry)).is_err(), wrong, "{file}");
    }
}

/// A registry whose tokens end in the middle of a transfer, or that has enough of us there.
#[tokio::test]
async fn a_transfer_survives_the_end_of_its_token_and_a_pause() {
    let all = bytes(300_000);
    let of = digest(&all);
    let served = all.clone();
    let fake = Fake::start(move |asked| {
        let host = asked.header("host").unwrap().to_owned();
        if asked.path == "/token" {
            return reply(200, &[], format!(r#"{{"token":"t{}","expires_in":3600}}"#, asked.n));
        }
        let start = from(asked);
        let range = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
        let code = if start > 0 { 206 } else { 200 };
        let rest = &served[start..];
        match (asked.header("authorization"), asked.n) {
            // 0: challenge, 1: token, 2: the first part, 3: refused, 4: token, 5: slow down, 6: a part, 7: the rest
            (Some("Bearer t1"), 2) => broken(code, &[("content-range", &range)], rest, 100_000),
            (Some("Bearer t4"), 5) => reply(429, &[("retry-after", "1")], ""),
            (Some("Bearer t4"), 6) => broken(code, &[("content-range", &range)], rest, 80_000),
            (Some("Bearer t4"), _) => reply(code, &[("content-range", &range)], rest.to_vec()),
            _ => reply(401, &[("www-authenticate", &format!("Bearer realm=\"http://{host}/token\""))], ""),
        }
    })
    .await;
    let began = Instant::now();
    assert!(read(&fake.registries(), &fake.host, &of).await.unwrap() == all);
    assert!(began.elapsed() >= Duration::from_secs(1), "what the registry asks for is waited");
    let asked: Vec<(String, usize)> =
        fake.asked().iter().map(|asked| (asked.path.clone(), from(asked))).collect();
    let blob = format!("/v2/a/b/blobs/{of}");
    let expected = [
        (blob.as_str(), 0),
        ("/token", 0),
        (&blob, 0),
        (&blob, 100_000),
        ("/token", 0),
        (&blob, 100_000),
        (&blob, 100_000),
        (&blob, 180_000),
    ];
    assert_eq!(asked, expected.map(|(path, start)| (path.to_owned(), start)));
}

#[tokio::test]
async fn no_more_requests_a_second_than_configured() {
    let fake = Fake::start(|_| reply(200, &[("docker-content-digest", digest(b"x").as_str())], "")).await;
    let mut entry = fake.entry();
    entry.requests_per_second = Some(2);
    let registries = registries(&[entry]);
    let image: Reference = format!("{}/a:1", fake.host).parse().unwrap();
    let began = Instant::now();
    // Two at once may be a burst; the three after them wait half a second each.
    let all = futures::future::join_all((0..5).map(|_| registries.resolve(&image))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{:?}", began.elapsed());
    assert_eq!(fake.asked().len(), 5);
}
