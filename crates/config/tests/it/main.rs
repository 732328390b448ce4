#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use plimsoll_config::{Assumption, ByteSize, Completeness, Config, Durability, Feed, Registry, Scope, Span};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/plimsoll")).map_err(|error| error.to_string())
}

#[test]
fn no_file_and_an_empty_file_are_the_defaults() {
    let config = Config::load(None).unwrap();
    assert_eq!(config, parse("").unwrap());
    assert_eq!(config, parse("# nothing\n\n").unwrap());
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.registries.is_empty() && config.tokens.is_empty());
    assert_eq!(config.exposure.max_age, Span(Duration::from_secs(86_400)));
    assert_eq!(config.exposure.assume, Assumption::Exposed);
    assert_eq!(config.limits.deploy_body, ByteSize::mib(16));
    assert_eq!((config.tracked_tags.newest, config.tracked_tags.always.len()), (3, 1));
    assert_eq!(config.durability, Durability::R1);
    let unknown = config.exposure.cluster("x");
    assert!(!unknown.enforcement_asserted && unknown.complete == Completeness::Declared);
}

#[test]
fn the_example_parses_and_states_the_defaults() {
    let config = parse(Config::example()).unwrap();
    let default = Config::default();
    assert_eq!(config.limits, default.limits);
    assert_eq!(config.workers, default.workers);
    assert_eq!(config.retention, default.retention);
    assert_eq!(config.tracked_tags, default.tracked_tags);
    assert_eq!(config.telemetry, default.telemetry);
    assert_eq!(config.nats, default.nats);
    assert_eq!((config.durability, config.listen), (default.durability, default.listen));
    assert_eq!(config.registries.len(), 3);
    assert_eq!(config.registries[0].aliases, ["registry.internal:5000"]);
    assert_eq!(config.feeds[0], Feed::Path("/etc/plimsoll/advisories/".into()));
    assert!(matches!(&config.feeds[1], Feed::Url(url) if url.starts_with("https://")));
    let registry = config.token("an-example-token-for-the-registry").unwrap();
    assert!(registry.allows(Scope::Webhooks) && !registry.allows(Scope::Read));
    assert_eq!(config.token("hello").map(|token| token.name.as_str()), None);
    assert_eq!(config.token("secret").map(|token| token.name.as_str()), Some("ci"));
    assert!(config.exposure.cluster("production").enforcement_asserted);
}

#[test]
fn secrets_come_from_files_and_never_show() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "open sesame\n").unwrap();
    std::fs::write(dir.path().join("token"), "let-me-in\r\n").unwrap();
    std::fs::write(dir.path().join("hook"), "signed-with-this-one\n").unwrap();
    let file = dir.path().join("plimsoll.yaml");
    std::fs::write(
        &file,
        "registries:\n- {host: R.example.com, username: u, password_file: password, webhook_secret_file: hook}\n\
         tokens:\n- {name: t, token_file: token, scopes: [read]}\n\
         nats: {user: n, password_file: password, token: hush}\n",
    )
    .unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert_eq!(config.registries[0].host, "r.example.com");
    assert_eq!(config.registries[0].password.as_ref().unwrap().expose(), "open sesame");
    assert_eq!(config.registries[0].webhook_secret.as_ref().unwrap().expose(), "signed-with-this-one");
    assert_eq!(config.nats.password.as_ref().unwrap().expose(), "open sesame");
    assert!(config.token("let-me-in").is_some());
    let shown = format!("{config:?}");
    for secret in ["sesame", "let-me-in", "hush", "signed-with"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    std::fs::write(dir.path().join("token"), "\n").unwrap();
    assert_eq!(Config::load(Some(&file)).unwrap_err().code(), "config_invalid");
    std::fs::remove_file(dir.path().join("token")).unwrap();
    let missing = Config::load(Some(&file)).unwrap_err();
    assert_eq!(missing.code(), "config_unreadable");
    assert!(missing.to_string().starts_with("tokens[0].token_file: cannot read"), "{missing}");
}

#[test]
fn errors_name_the_field() {
    for (text, expected) in [
        ("listne: 1", "listne"),
        ("registries: [{host: a, hots: b}]", "hots"),
        ("registries: [{hosts: a}]", "hosts"),
        ("registries: [{host: 'http://a'}]", "registries[0].host: \"http://a\""),
        ("registries: [{host: 'a/b'}]", "registries[0].host"),
        (
            "registries: [{host: a, aliases: [b]}, {host: b}]",
            "registries[1].host: \"b\" is also a name of registries[0]",
        ),
        ("registries: [{host: a, mirrors: [b]}]", "registries[0].mirrors: \"b\" needs an entry"),
        ("registries: [{host: a, mirrors: [a]}]", "registries[0].mirrors"),
        ("registries: [{host: a, username: u}]", "registries[0].username: needs password"),
        ("registries: [{host: a, password: p}]", "registries[0].password: needs username"),
        ("registries: [{host: a, token: p, docker_config: true}]", "registries[0]: credentials"),
        ("registries: [{host: a, webhook_secret: short}]", "registries[0].webhook_secret: must have"),
        (
            "registries: [{host: a, webhook_secret: 0123456789abcdef, webhook_secret_file: b}]",
            "registries[0].webhook_secret_file: cannot stand",
        ),
        ("registries: [{host: a, redirect_hosts: ['*']}]", "registries[0].redirect_hosts"),
        ("registries: [{host: a, max_concurrent: 0}]", "registries[0].max_concurrent"),
        ("registries: [{host: a, requests_per_second: 0}]", "registries[0].requests_per_second"),
        ("tokens: [{name: a, scopes: [read]}]", "tokens[0]: needs exactly one"),
        ("tokens: [{name: a, token: x, token_sha256: y, scopes: [read]}]", "tokens[0]: needs exactly one"),
        ("tokens: [{name: a, token_sha256: abc, scopes: [read]}]", "tokens[0].token_sha256"),
        ("tokens: [{name: a, token: x, scopes: []}]", "tokens[0].scopes"),
        ("tokens: [{name: a, token: x, scopes: [admin]}]", "admin"),
        (
            "tokens: [{name: a, token: x, scopes: [read]}, {name: b, token: x, scopes: [read]}]",
            "tokens[1]: repeats the token \"a\"",
        ),
        ("listen: nowhere", "listen: \"nowhere\""),
        ("exposure: {max_age: soon}", "soon"),
        ("exposure: {max_age: 0s}", "exposure.max_age"),
        ("exposure: {assume: hidden}", "hidden"),
        ("exposure: {clusters: [{name: a}, {name: a}]}", "exposure.clusters[1].name"),
        ("tracked_tags: {always: ['not a tag']}", "tracked_tags.always[0]"),
        ("limits: {deploy_body: 16QiB}", "16QiB"),
        ("limits: {deploy_body: -1}", "negative"),
        ("limits: {blob: 0}", "limits.blob"),
        ("durability: r2", "r2"),
        ("nats: {urls: ['http://x']}", "nats.urls[0]"),
        ("nats: {cert_file: x}", "nats.cert_file"),
        ("telemetry: {sample: 2.0}", "telemetry.sample"),
        ("telemetry: {otlp_endpoint: 'x:4318'}", "telemetry.otlp_endpoint"),
        ("listen: a\nlisten: b", "listen"),
        ("a: &a [*a]", ""),
        ("- 1", ""),
        ("{", ""),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn syntax_errors_do_not_quote_other_lines() {
    let error =
        parse("registries:\n- host: a\n  username: u\n  password: tell-nobody\n  nonsense: 1\n").unwrap_err();
    assert!(error.contains("nonsense") && !error.contains("tell-nobody"), "{error}");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let inner = format!("*a{}, ", n - 1).repeat(10);
        text.push_str(&format!("a{n}: &a{n} [{inner}]\n"));
    }
    assert!(parse(&text).is_err());
}

#[test]
fn anonymous_registries_speak_plainly_to_loopback_only() {
    for (host, plain) in
        [("localhost:5000", true), ("127.0.0.1", true), ("docker.io", false), ("localhost.evil", false)]
    {
        assert_eq!(Registry::anonymous(host).plain_http, plain, "{host}");
    }
}

#[test]
fn spans_and_sizes() {
    for (text, millis) in
        [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)]
    {
        assert_eq!(text.parse::<Span>().unwrap().as_millis(), millis, "{text}");
    }
    for bad in ["", "5", "h", "1y", "-1s", "1.5h", "99999999999999999999d", "18446744073709551615w"] {
        assert!(bad.parse::<Span>().is_err(), "{bad}");
    }
    for (text, bytes) in [("12", 12), ("64KiB", 65_536), ("1GB", 1_000_000_000), ("2 MiB", 2 << 20)] {
        assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
    }
    for bad in ["", "MiB", "1.5MiB", "1XB", "99999999999TiB"] {
        assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn spans_show_what_they_parse(millis in 0_u64..10_000_000_000) {
        let span = Span(Duration::from_millis(millis));
        prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
    }

    #[test]
    fn no_text_panics(text in ".{0,300}") {
        drop(parse(&text));
    }
}
