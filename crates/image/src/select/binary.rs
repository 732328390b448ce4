//! Programs that no package manager installed, by the version that their content states: low confidence.
//!
//! A classifier looks only at files with the names that it knows, and there for a text that the program prints. Go
//! programs need none: their build information says more.

mod products;

use std::ops::Range;

use memchr::memmem;

use products::Rule::{self, After, Alone, Before, Between, BuildId, Near, Python};
use products::{CLASSIFIERS, Classifier};

use super::scan::{Scan, Scanned};
use super::{File, Selector, Trigger, Want};

/// Keeps `PRODUCT`, a tab, `VERSION`.
pub struct Binary;

/// Larger programs are not held.
const MAX: u64 = 4 << 20;
const MIN: u64 = 512;
/// Occurrences of a marker that are tried.
const MAX_TRIES: usize = 256;

impl Classifier {
    fn fits(&self, name: &str) -> bool {
        self.names.iter().any(|known| match known.split_once('*') {
            Some((beginning, more)) => name
                .strip_prefix(beginning)
                .is_some_and(|rest| more.is_empty() || rest.contains(more.trim_end_matches('*'))),
            None => name == *known,
        })
    }

    fn version(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let view = View { bytes, core: 0..bytes.len() };
        self.rules.iter().find_map(|rule| rule.version(name, &view, &mut 0))
    }
}

/// A program, or what of it is at hand.
struct View<'a> {
    bytes: &'a [u8],
    /// Where texts are looked for: what stands around is their context.
    core: Range<usize>,
}

impl View<'_> {
    /// Where a text begins, as long as the program was not `tried` too often.
    fn find<'v>(&'v self, text: &'v [u8], tried: &'v mut usize) -> impl Iterator<Item = usize> + 'v {
        let start = self.core.start.min(self.bytes.len());
        let found = memmem::find_iter(self.bytes.get(start..).unwrap_or(&[]), text);
        found.map(move |at| start + at).take_while(move |at| {
            *tried += 1;
            *at < self.core.end && *tried <= MAX_TRIES
        })
    }
}

impl Rule {
    fn version(&self, name: &str, view: &View<'_>, tried: &mut usize) -> Option<String> {
        let bytes = view.bytes;
        match *self {
            After(text) => view.find(text, tried).find_map(|at| version(bytes.get(at + text.len()..)?)),
            Before(text) => {
                view.find(text, tried).find_map(|at| before(bytes.get(at.saturating_sub(64)..at)?))
            }
            Between(from, to) => view.find(from, tried).find_map(|at| {
                let rest = bytes.get(at + from.len()..)?;
                let found = version(rest)?;
                rest.get(found.len()..)?.starts_with(to).then_some(found)
            }),
            Near { text, lead, before, after } => view.find(text, tried).find_map(|at| {
                let end = (at + text.len() + after).min(bytes.len());
                let near = bytes.get(at.saturating_sub(before)..end)?;
                alone(&View { bytes: near, core: 0..near.len() }, lead)
            }),
            Alone { lead } => alone(view, lead),
            BuildId => build_id(view),
            Python => python(name, view, tried),
        }
    }
}

/// The version at the end of a text, zeros and what is no part of a version aside.
fn before(text: &[u8]) -> Option<String> {
    let end = text.iter().rposition(|byte| *byte != 0)? + 1;
    let text = text.get(..end)?;
    let start = text.iter().rposition(|byte| !byte.is_ascii_alphanumeric() && !b".-".contains(byte))? + 1;
    // What stands before the number, as in `v1.2.3`, is no part of it.
    let text = text.get(start..)?;
    let text = text.get(text.iter().position(u8::is_ascii_digit)?..)?;
    version(text).filter(|found| found.len() == text.len())
}

/// The first text between zeros that is a version after `lead`.
fn alone(view: &View<'_>, lead: &[u8]) -> Option<String> {
    let core = view.bytes.get(view.core.clone()).unwrap_or(&[]);
    memchr::memchr_iter(0, core).find_map(|at| {
        let text = view.bytes.get(view.core.start + at + 1..)?.strip_prefix(lead)?;
        if !text.first()?.is_ascii_digit() {
            return None;
        }
        let found = version(text)?;
        (text.get(found.len()) == Some(&0)).then_some(found)
    })
}

impl Selector for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn revision(&self) -> u32 {
        3
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Executable,
                Trigger::Name("node_version.h"),
                Trigger::Name("release"),
                // Scripts and archives of scripts.
                Trigger::Name("composer"),
                Trigger::Name("composer.phar"),
                Trigger::Name("elixir"),
                Trigger::Name("wp"),
                Trigger::Name("wp-cli.phar"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let name = file.name();
        let text = name == "node_version.h" && file.parent() == "node"
            || name == "release" && !file.is("etc/release");
        if text {
            // A release file of Java is small.
            return if file.size <= 64 << 10 { Want::WholeIfFits { max: 64 << 10 } } else { Want::No };
        }
        if file.size >= MIN && CLASSIFIERS.iter().any(|classifier| classifier.fits(name)) {
            Want::WholeOrScan { max: MAX }
        } else {
            Want::No
        }
    }

    fn scan(&self, file: &File<'_>) -> Option<Box<dyn Scan>> {
        Some(Box::new(BinaryScan::new(file.name())))
    }

    fn reduce(&self, file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let name = file.name();
        let (product, version) = match name {
            "node_version.h" => ("node", node(&String::from_utf8_lossy(bytes))?),
            "release" => java(&String::from_utf8_lossy(bytes))?,
            _ => CLASSIFIERS
                .iter()
                .filter(|classifier| classifier.fits(name))
                .find_map(|classifier| Some((classifier.product, classifier.version(name, bytes)?)))?,
        };
        Some(format!("{product}\t{version}").into_bytes())
    }
}

/// Bytes around a text that rules look at, at most.
const CONTEXT: usize = 2 << 10;

/// A scan by all rules of the classifiers that fit.
struct BinaryScan {
    name: String,
    /// In the order in which they count.
    rules: Vec<Search>,
    /// What is at hand.
    bytes: Vec<u8>,
    /// So many of `bytes` were searched.
    searched: usize,
}

struct Search {
    product: &'static str,
    rule: &'static Rule,
    tried: usize,
    found: Option<String>,
}

impl BinaryScan {
    fn new(name: &str) -> Self {
        let fitting = CLASSIFIERS.iter().filter(|classifier| classifier.fits(name));
        let rules = fitting.flat_map(|classifier| {
            let product = classifier.product;
            classifier.rules.iter().map(move |rule| Search { product, rule, tried: 0, found: None })
        });
        Self { name: name.to_owned(), rules: rules.collect(), bytes: Vec::new(), searched: 0 }
    }

    fn search(&mut self, to: usize) {
        let view = View { bytes: &self.bytes, core: self.searched..to };
        for search in &mut self.rules {
            if search.found.is_some() {
                break; // those after it count less
            }
            search.found = search.rule.version(&self.name, &view, &mut search.tried);
        }
        self.searched = to;
    }
}

impl Scan for BinaryScan {
    fn piece(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        let to = self.bytes.len().saturating_sub(CONTEXT);
        // Little pieces are gathered.
        if to >= self.searched + CONTEXT {
            self.search(to);
            let gone = self.searched.saturating_sub(CONTEXT);
            self.bytes.drain(..gone);
            self.searched -= gone;
        }
        self.rules.first().is_some_and(|first| first.found.is_none())
    }

    fn finish(mut self: Box<Self>) -> Scanned {
        self.search(self.bytes.len());
        let found = self.rules.into_iter().find_map(|search| Some((search.product, search.found?)));
        found.map_or(Scanned::Nothing, |(product, version)| {
            Scanned::Kept(format!("{product}\t{version}").into_bytes())
        })
    }
}

/// A version at the beginning of a text: numbers between dots, two at least, and a suffix like `p1`, `-rc1`, `k`.
fn version(text: &[u8]) -> Option<String> {
    let text = text.get(..text.len().min(48))?;
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let numbers = text.get(..end)?;
    let numbers = numbers.strip_suffix(b".").unwrap_or(numbers);
    let parts: Vec<&[u8]> = numbers.split(|byte| *byte == b'.').collect();
    if !(2..=5).contains(&parts.len()) || parts.iter().any(|part| part.is_empty() || part.len() > 5) {
        return None;
    }
    let rest = text.get(numbers.len()..).unwrap_or(&[]);
    let length =
        rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(rest.len());
    let suffix = rest.get(..length).unwrap_or(&[]);
    let letters = suffix.strip_prefix(b"-").unwrap_or(suffix);
    let known = ["alpha", "beta", "rc", "pre", "dev", "p"];
    let kept = letters.len() <= 8
        && (letters.len() == 1 && letters.iter().all(u8::is_ascii_lowercase)
            || known.iter().any(|word| {
                letters
                    .strip_prefix(word.as_bytes())
                    .is_some_and(|number| number.iter().all(u8::is_ascii_digit))
            }));
    let whole = if kept { numbers.len() + suffix.len() } else { numbers.len() };
    String::from_utf8(text.get(..whole)?.to_vec()).ok()
}

/// The text between zeros that begins with the release in the file's name: `3.11` of `python3.11`.
fn python(name: &str, view: &View<'_>, tried: &mut usize) -> Option<String> {
    let stem = name.trim_start_matches("lib").strip_prefix("python")?;
    let end = stem.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(stem.len());
    let mut release = stem.get(..end)?.trim_end_matches('.');
    // `libpython3.11.so.1.0`; `python3` alone says too little to tell its version from others.
    if release.split('.').count() > 2 {
        release = release.get(..release.match_indices('.').nth(1)?.0)?;
    }
    if !release.contains('.') {
        return None;
    }
    let marker = format!("\0{release}.");
    view.find(marker.as_bytes(), tried).find_map(|at| {
        let text = view.bytes.get(at + 1..)?;
        let found = version(text.get(..text.iter().take(48).position(|byte| *byte == 0)?)?)?;
        (found.split('.').count() == 3).then_some(found)
    })
}

/// Redis puts version, host, time and commit into one text: `7.0.15buildhost-1704800000000000000…`.
fn build_id(view: &View<'_>) -> Option<String> {
    let bytes = view.bytes;
    view.find(b"-1", &mut 0)
        .filter_map(|at| {
            let digits = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let before = bytes.get(at.saturating_sub(80)..at)?;
            let text = before.rsplit(|byte| *byte == 0).next()?;
            if digits < 10 || text.len() == before.len() {
                return None;
            }
            let found = version(text)?;
            (found.split('.').count() == 3)
                .then(|| found.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect())
        })
        .next()
}

/// `node_version.h` of an installation.
fn node(text: &str) -> Option<String> {
    let number = |part: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == "#define"
                && words.next()?.strip_prefix("NODE_")?.strip_suffix("_VERSION")? == part)
                .then(|| words.next()?.parse::<u32>().ok())?
        })
    };
    Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
}

/// The `release` file of a Java runtime.
fn java(text: &str) -> Option<(&'static str, String)> {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim().trim_matches('"'))
            .filter(|value| value.starts_with(|c: char| c.is_ascii_digit()) && value.len() <= 48)
            .filter(|value| value.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)))
    };
    let version = value("JAVA_RUNTIME_VERSION").or_else(|| value("JAVA_VERSION"))?;
    // Vendors and products as Syft and the CPE dictionary name them.
    let maker =
        text.lines().find_map(|line| line.strip_prefix("IMPLEMENTOR=")).unwrap_or("").to_ascii_lowercase();
    let developers = text.contains("jdk.compiler");
    let runtime = match maker {
        maker if maker.contains("azul") => "azul/zulu",
        maker if maker.contains("oracle") && developers => "oracle/jdk",
        maker if maker.contains("oracle") => "oracle/jre",
        _ => "oracle/openjdk",
    };
    Some((runtime, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(path: &str, bytes: &[u8]) -> Option<String> {
        let file = File { path, size: bytes.len() as u64, mode: 0o755 };
        Binary.reduce(&file, bytes).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn programs_by_what_they_print() {
        for (path, content, expected) in [
            ("bin/bash", &b"\0@(#)Bash version 5.2.15(1) release GNU\0"[..], Some("bash\t5.2.15")),
            ("bin/busybox", b"\0BusyBox v1.36.1 (2023-11-07 18:53:09 UTC)\0", Some("busybox\t1.36.1")),
            ("usr/sbin/nginx", b"nginx/%s\0nginx version: nginx/1.25.3\0", Some("nginx\t1.25.3")),
            ("usr/local/bin/node", b"\0node.js/v18.19.0\0", Some("node\t18.19.0")),
            ("usr/bin/openssl", b"\0OpenSSL %s\0OpenSSL 1.1.1k  25 Mar 2021\0", Some("openssl\t1.1.1k")),
            ("lib/libcrypto.so.3", b"\0OpenSSL 3.0.11 19 Sep 2023\0", Some("openssl\t3.0.11")),
            ("usr/lib/postgresql/bin/postgres", b"\0PostgreSQL 15.4 on x86_64\0", Some("postgresql\t15.4")),
            ("usr/bin/postgres", b"\0PostgreSQL 16beta1 on x\0", None),
            ("usr/bin/postgres", b"postgres (PostgreSQL) 16.0\n\0", Some("postgresql\t16.0")),
            ("usr/local/bin/python3.11", b"\x003.11\x003.11.4\0", Some("python\t3.11.4")),
            ("usr/local/lib/libpython3.12.so.1.0", b"\x003.12.0rc1\0", Some("python\t3.12.0rc1")),
            ("usr/bin/python3", b"\x003.11.4\0", None),
            ("usr/local/bin/redis-server", b"-1\x007.0.15buildkitsandbox-1704812345000000000\0", Some("redis\t7.0.15")),
            ("usr/local/bin/php", b"X-Powered-By: PHP/8.2.13\0", Some("php-cli\t8.2.13")),
            ("usr/bin/ruby", b"\0ruby 3.2.2p53 (2023)\0", Some("ruby\t3.2.2p53")),
            ("usr/sbin/mysqld", b"x/mysql-8.0.35/y", Some("mysql\t8.0.35")),
            ("usr/sbin/mysqld", b"mariadb-10.11.6/x", Some("mariadb\t10.11.6")),
            ("usr/bin/curl", b"curl/%s\0curl/7.88.1-DEV\0", Some("curl\t7.88.1")),
            ("usr/include/node/node_version.h", b"#define NODE_MAJOR_VERSION 18\n#define NODE_MINOR_VERSION 19\n#define NODE_PATCH_VERSION 0\n", Some("node\t18.19.0")),
            ("opt/java/release", b"IMPLEMENTOR=\"Eclipse\"\nJAVA_RUNTIME_VERSION=\"17.0.9+9\"\nJAVA_VERSION=\"17.0.9\"\nMODULES=\"java.base jdk.compiler\"\n", Some("oracle/openjdk\t17.0.9+9")),
            ("opt/java/release", b"IMPLEMENTOR=\"Oracle Corporation\"\nJAVA_VERSION=\"21\"\n", Some("oracle/jre\t21")),
            ("srv/release", b"v1.2.3\n", None),
            ("usr/bin/nginx", b"nothing", None),
            ("usr/sbin/nginx", b"\0nginx version: openresty/1.21.4.1\0", Some("nginx\t1.21.4.1")),
            ("usr/bin/arangosh", b"\x003.11.4 enterprise [linux] 64bit\0", Some("arangodb\t3.11.4")),
            ("usr/bin/openssl", b"\0OpenSSL 1.1.1 (compatible; AWS-LC 1.69.0)\0", Some("aws-lc\t1.69.0")),
            ("opt/google/chrome/chrome", b"\x00127.0.6533.119\0Default\0", Some("chrome\t127.0.6533.119")),
            ("usr/local/bin/composer", b"'name' => 'x', 'pretty_version' => '2.7.1', 'version'", Some("composer\t2.7.1")),
            ("usr/lib/dart/bin/dart", b"\x003.5.2 (stable) (Wed)\0", Some("dart\t3.5.2")),
            ("usr/bin/deno", b"xDeno/1.41.0 x", Some("deno\t1.41.0")),
            ("usr/local/bin/elixir", b"#!/bin/sh\nELIXIR_VERSION=1.16.1\n", Some("elixir\t1.16.1")),
            ("usr/local/bin/envoy", b"\x001.28.7\0abc\0envoy_reloadable_features_x\0", Some("envoy\t1.28.7")),
            ("usr/lib/erlang/bin/erlexec", b"\0/usr/src/otp_src_25.3.2.6/erts/\0", Some("erlang\t25.3.2.6")),
            ("usr/lib/erlang/bin/beam.smp", b"\0\x0026.1.2\0\0\0Erlang/OTP %s\0", Some("erlang\t26.1.2")),
            ("usr/lib/libavcodec.so.60", b"\0FFmpeg version 6.0\0", Some("ffmpeg\t6.0")),
            ("opt/bin/fluent-bit", b"\x002.2.3\0Fluent Bit\0", Some("pkg:github/fluent/fluent-bit\t2.2.3")),
            ("bin/gzip", b"\0x\x001.12\0", Some("gzip\t1.12")),
            ("opt/ghc/bin/ghc-9.4.7", b"\0GHC 9.4.7\0", Some("haskell/ghc\t9.4.7")),
            ("usr/bin/mysql", b"\x005.5.5-10.11.6-MariaDB\0", None),
            ("usr/bin/mysql", b"\x0010.11.6-MariaDB-1:10\0", Some("mariadb\t10.11.6")),
            ("usr/bin/mongod", b"\0\x006.0.27\0tcmalloc\0", Some("mongodb\t6.0.27")),
            ("usr/sbin/mysqld", b"/x/percona-server-8.0.35-27/y", Some("percona-server\t8.0.35")),
            ("usr/bin/mysql", b"shutdown\x008.0.37\0\0\0mysql_real_escape\0", Some("mysql\t8.0.37")),
            ("usr/sbin/sshd", b"\0OpenSSH_9.2p1\0", Some("openssh\t9.2p1")),
            ("lib/libpypy3.9-c.so", b"[PyPy 7.3.11 with GCC]", Some("pypy\t7.3.11")),
            ("lib/libQt6Core.so.6", b"\0\0Qt 6.5.0 (x86_64-little_endian)", Some("qtbase\t6.5.0")),
            ("lib/libstd-0123456789abcdef.so", b"\0clang LLVM (rustc version 1.75.0 (82e1608df 2023-12-21))\0", Some("rust\t1.75.0")),
            ("usr/bin/getopt", b"\0util-linux 2.38.1\0", Some("util-linux\t2.38.1")),
            ("usr/local/bin/wp", b"wp-cli/wp-cli 2.9.0\n", Some("wp-cli\t2.9.0")),
            ("usr/bin/xz", b"\0xz (XZ Utils) 5.4.1\0", Some("xz\t5.4.1")),
            ("usr/bin/zstd", b"\0v1.5.4\0", Some("zstd\t1.5.4")),
            ("usr/lib/libphp8.2.so", b"X-Powered-By: PHP/8.2.1\0", Some("libphp\t8.2.1")),
        ] {
            assert_eq!(kept(path, content).as_deref(), expected, "{path}");
        }
        let wants = |path| Binary.wants(&File { path, size: 1 << 20, mode: 0o755 }) != Want::No;
        assert!(wants("usr/bin/python3.11") && wants("usr/lib/libssl.so.3") && wants("bin/bash"));
        assert!(!wants("usr/bin/ls") && !wants("usr/bin/bashbug") && !wants("x/node_version.h"));
    }

    #[test]
    fn every_product_is_documented() {
        let page = include_str!("../../../../docs/sboms.md");
        let list = page.split("Classifiers of `binary`:").nth(1).unwrap().split("\n\n").next().unwrap();
        let words: Vec<&str> = list.split([',', ' ', '\n', '.']).collect();
        for classifier in CLASSIFIERS {
            let name = classifier.product.rsplit('/').next().unwrap();
            let name = name
                .strip_suffix("-cli")
                .or(name.strip_suffix("-fpm"))
                .filter(|name| *name == "php")
                .unwrap_or(name);
            assert!(words.contains(&name), "{name}");
        }
    }

    fn scanned(path: &str, bytes: &[u8], cuts: &[usize]) -> Option<String> {
        let file = File { path, size: bytes.len() as u64, mode: 0o755 };
        let mut scan = Binary.scan(&file).unwrap();
        let mut rest = bytes;
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            if !scan.piece(piece) {
                break;
            }
            rest = after;
        }
        match scan.finish() {
            Scanned::Kept(kept) => Some(String::from_utf8(kept).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn programs_of_any_size_are_classified() {
        let wants = |size| Binary.wants(&File { path: "usr/local/bin/node", size, mode: 0o755 });
        assert_eq!(wants(200 << 20), Want::WholeOrScan { max: MAX });
    }

    proptest! {
        /// As the bytes pass, however they are cut, the same is found as in the whole.
        #[test]
        fn pieces_make_no_difference(
            which in 0..CLASSIFIERS.len(),
            parts in proptest::collection::vec((0..4_usize, 0..3000_usize, "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]{1,2}"), 0..8),
            cuts in proptest::collection::vec(1..6000_usize, 0..12),
        ) {
            let name = CLASSIFIERS[which].names[0].replace('*', "3.11");
            let fitting: Vec<&Rule> = CLASSIFIERS.iter().filter(|c| c.fits(&name)).flat_map(|c| c.rules).collect();
            let mut bytes = Vec::new();
            for (turn, between, number) in parts {
                let rule = fitting[turn % fitting.len()];
                let text = match *rule {
                    After(text) => [text, number.as_bytes(), b"\0"].concat(),
                    Before(text) => [b"\0", number.as_bytes(), text].concat(),
                    Between(from, to) => [from, number.as_bytes(), to].concat(),
                    Near { text, lead, before, .. } if before > 0 => {
                        [b"\0", lead, number.as_bytes(), b"\0", &vec![b'x'; between % before], text].concat()
                    }
                    Near { text, lead, .. } => [text, b"\0", lead, number.as_bytes(), b"\0"].concat(),
                    Alone { lead } => [b"\0", lead, number.as_bytes(), b"\0"].concat(),
                    BuildId => [b"\0", number.as_bytes(), b"host-1704812345000000000\0"].concat(),
                    Python => [b"\x003.11.", number.as_bytes(), b"\0"].concat(),
                };
                bytes.extend(text);
                bytes.resize(bytes.len() + between, b'y');
            }
            prop_assert_eq!(scanned(&name, &bytes, &cuts), kept(&name, &bytes));
        }

        #[test]
        fn any_bytes_are_read_or_refused(which in 0..CLASSIFIERS.len(), noise in proptest::collection::vec(any::<u8>(), 0..80), text in "[0-9.a-z\0-]{0,40}") {
            let classifier = &CLASSIFIERS[which];
            let name = classifier.names[0].replace('*', "3.11");
            let texts = classifier.rules.iter().flat_map(|rule| match *rule {
                After(text) | Before(text) => vec![text],
                Between(from, to) => vec![from, to],
                Near { text, lead, .. } => vec![text, lead],
                Alone { lead } => vec![b"\0", lead],
                BuildId => vec![&b"-1"[..]],
                Python => vec![&b"\x003.11."[..]],
            });
            for marker in texts {
                let bytes = [&noise[..], text.as_bytes(), marker, text.as_bytes(), &noise[..]].concat();
                if let Some(kept) = kept(&name, &bytes) {
                    let (_, version) = kept.split_once('\t').unwrap();
                    prop_assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'));
                }
            }
        }
    }
}
