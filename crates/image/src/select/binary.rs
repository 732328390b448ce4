//! Programs that no package manager installed, by the version that their content states: low confidence.
//!
//! A classifier looks only at files with the names that it knows, and there for a text that the program prints. Go
//! programs need none: their build information says more.

use memchr::memmem;

use super::{File, Selector, Trigger, Want};

/// Keeps `PRODUCT`, a tab, `VERSION`.
pub struct Binary;

const MAX: u64 = 64 << 20;
const MIN: u64 = 512;
/// Occurrences of a marker that are tried.
const MAX_TRIES: usize = 256;

/// A program to be known by a text in it.
struct Classifier {
    product: &'static str,
    /// Names of the file; one that ends with `*` is the beginning of a name.
    names: &'static [&'static str],
    /// The version follows one of these.
    markers: &'static [&'static [u8]],
}

const CLASSIFIERS: &[Classifier] = &[
    Classifier { product: "bash", names: &["bash"], markers: &[b"@(#)Bash version "] },
    Classifier { product: "busybox", names: &["busybox"], markers: &[b"BusyBox v"] },
    Classifier { product: "curl", names: &["curl", "libcurl.so*"], markers: &[b"curl/", b"libcurl/"] },
    Classifier {
        product: "haproxy",
        names: &["haproxy"],
        markers: &[b"HAProxy version ", b"HA-Proxy version ", b"haproxy-"],
    },
    Classifier { product: "httpd", names: &["httpd", "apache2"], markers: &[b"Apache/"] },
    Classifier { product: "lighttpd", names: &["lighttpd"], markers: &[b"lighttpd/"] },
    Classifier { product: "mariadb", names: &["mariadb", "mariadbd", "mysqld"], markers: &[b"mariadb-"] },
    Classifier { product: "memcached", names: &["memcached"], markers: &[b"memcached ", b"\0VERSION "] },
    Classifier { product: "mysql", names: &["mysql", "mysqld"], markers: &[b"/mysql-"] },
    Classifier { product: "nginx", names: &["nginx"], markers: &[b"nginx version: nginx/", b"nginx/"] },
    Classifier { product: "node", names: &["node", "nodejs"], markers: &[b"node.js/v"] },
    Classifier {
        product: "openssl",
        names: &["openssl", "libssl.so*", "libcrypto.so*"],
        markers: &[b"\0OpenSSL "],
    },
    Classifier { product: "perl", names: &["perl", "perl5*"], markers: &[b"/lib/perl5/", b"/share/perl/"] },
    Classifier { product: "php-cli", names: &["php", "php7*", "php8*"], markers: &[b"X-Powered-By: PHP/"] },
    Classifier { product: "php-fpm", names: &["php-fpm*"], markers: &[b"X-Powered-By: PHP/"] },
    Classifier {
        product: "postgresql",
        names: &["postgres"],
        markers: &[b"\0PostgreSQL ", b"(PostgreSQL) "],
    },
    Classifier { product: "proftpd", names: &["proftpd"], markers: &[b"ProFTPD Version ", b"ProFTPD "] },
    Classifier { product: "ruby", names: &["ruby", "libruby.so*", "libruby-*"], markers: &[b"\0ruby "] },
    Classifier { product: "sqlite", names: &["sqlite3"], markers: &[b"\0SQLite version "] },
    Classifier { product: "squid", names: &["squid"], markers: &[b"\0squid/"] },
    Classifier { product: "unbound", names: &["unbound"], markers: &[b"\0unbound "] },
    Classifier { product: "valkey", names: &["valkey-server"], markers: &[] },
    Classifier { product: "redis", names: &["redis-server"], markers: &[] },
    Classifier { product: "python", names: &["python3*", "python2*", "libpython*"], markers: &[] },
];

impl Classifier {
    fn fits(&self, name: &str) -> bool {
        self.names.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *known,
        })
    }

    fn version(&self, name: &str, bytes: &[u8]) -> Option<String> {
        match self.product {
            "python" => python(name, bytes),
            "redis" | "valkey" => build_id(bytes),
            _ => self.markers.iter().find_map(|marker| {
                memmem::find_iter(bytes, marker)
                    .take(MAX_TRIES)
                    .find_map(|at| version(bytes.get(at + marker.len()..)?))
            }),
        }
    }
}

impl Selector for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Executable, Trigger::Name("node_version.h"), Trigger::Name("release")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        let name = file.name();
        let text = name == "node_version.h" && file.parent() == "node"
            || name == "release" && !file.is("etc/release");
        if text {
            // A release file of Java is small.
            return if file.size <= 64 << 10 { Want::WholeIfFits { max: 64 << 10 } } else { Want::No };
        }
        if (MIN..=MAX).contains(&file.size) && CLASSIFIERS.iter().any(|classifier| classifier.fits(name)) {
            Want::WholeIfFits { max: MAX }
        } else {
            Want::No
        }
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
fn python(name: &str, bytes: &[u8]) -> Option<String> {
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
    memmem::find_iter(bytes, marker.as_bytes()).take(MAX_TRIES).find_map(|at| {
        let text = bytes.get(at + 1..)?;
        let found = version(text.get(..text.iter().take(48).position(|byte| *byte == 0)?)?)?;
        (found.split('.').count() == 3).then_some(found)
    })
}

/// Redis puts version, host, time and commit into one text: `7.0.15buildhost-1704800000000000000…`.
fn build_id(bytes: &[u8]) -> Option<String> {
    memmem::find_iter(bytes, b"-1")
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
        ] {
            assert_eq!(kept(path, content).as_deref(), expected, "{path}");
        }
        let wants = |path| Binary.wants(&File { path, size: 1 << 20, mode: 0o755 }) != Want::No;
        assert!(wants("usr/bin/python3.11") && wants("usr/lib/libssl.so.3") && wants("bin/bash"));
        assert!(!wants("usr/bin/ls") && !wants("usr/bin/bashbug") && !wants("x/node_version.h"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(which in 0..CLASSIFIERS.len(), noise in proptest::collection::vec(any::<u8>(), 0..80), text in "[0-9.a-z\0-]{0,40}") {
            let classifier = &CLASSIFIERS[which];
            let name = classifier.names[0].replace('*', "3.11");
            for marker in classifier.markers.iter().copied().chain([&b"\x003.11."[..], b"-1"]) {
                let bytes = [&noise[..], marker, text.as_bytes(), &noise[..]].concat();
                if let Some(kept) = kept(&name, &bytes) {
                    let (_, version) = kept.split_once('\t').unwrap();
                    prop_assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'));
                }
            }
        }
    }
}
