//! The products that classifiers know, each by the names of its file and by texts in it.

/// A program to be known by a text in it.
pub(super) struct Classifier {
    /// Name as the CPE dictionary or Syft has it; with `pkg:TYPE/` before it where it is not `generic`.
    pub(super) product: &'static str,
    /// Names of the file; one that ends with `*` is the beginning of a name.
    pub(super) names: &'static [&'static str],
    /// Where the version is: the first rule that finds one counts.
    pub(super) rules: &'static [Rule],
}

/// Where a program's version is.
pub(super) enum Rule {
    /// Right after the text.
    After(&'static [u8]),
    /// Right before the text, zeros between them passed over.
    Before(&'static [u8]),
    /// Between the texts.
    Between(&'static [u8], &'static [u8]),
    /// Between zeros, after `lead`, no more than so many bytes before or after the text.
    Near { text: &'static [u8], lead: &'static [u8], before: usize, after: usize },
    /// Between zeros, after `lead`: the first such text.
    Alone { lead: &'static [u8] },
    /// In a build id: [`super::build_id`].
    BuildId,
    /// By the release in the file's name: [`super::python`].
    Python,
}

use Rule::{After, Alone, Before, Between, BuildId, Near, Python};

pub(super) const CLASSIFIERS: &[Classifier] = &[
    Classifier {
        product: "arangodb",
        names: &["arangosh", "arangod"],
        rules: &[Before(b" [linux]"), Before(b" enterprise [linux]")],
    },
    Classifier { product: "aws-lc", names: &["openssl", "libcrypto.so*"], rules: &[After(b"AWS-LC ")] },
    Classifier { product: "bash", names: &["bash"], rules: &[After(b"@(#)Bash version ")] },
    Classifier { product: "busybox", names: &["busybox"], rules: &[After(b"BusyBox v")] },
    Classifier { product: "chrome", names: &["chrome"], rules: &[Before(b"\0Default")] },
    Classifier {
        product: "composer",
        names: &["composer", "composer.phar"],
        rules: &[After(b"'pretty_version' => '")],
    },
    Classifier {
        product: "curl",
        names: &["curl", "libcurl.so*"],
        rules: &[After(b"curl/"), After(b"libcurl/")],
    },
    Classifier { product: "dart", names: &["dart"], rules: &[Before(b" (stable)"), Before(b" (beta)")] },
    Classifier { product: "deno", names: &["deno"], rules: &[After(b"Deno/")] },
    Classifier {
        product: "dropbear",
        names: &["dropbear", "dropbearmulti"],
        rules: &[After(b"SSH-2.0-dropbear_")],
    },
    Classifier { product: "elixir", names: &["elixir"], rules: &[After(b"ELIXIR_VERSION=")] },
    Classifier {
        product: "envoy",
        names: &["envoy"],
        rules: &[
            Near { text: b"envoy_reloadable_features", lead: b"", before: 1_000, after: 0 },
            Near { text: b"envoy.reloadable_features", lead: b"", before: 200, after: 0 },
            Near { text: b"envoy_quic_", lead: b"", before: 0, after: 1_000 },
            Near { text: b"ValidationError", lead: b"", before: 1_000, after: 0 },
        ],
    },
    Classifier {
        product: "erlang",
        names: &["erlexec", "beam.smp"],
        rules: &[
            Between(b"/src/otp_src_", b"/erts/"),
            Between(b"/src/otp-", b"/erts/"),
            Near { text: b"Erlang/OTP", lead: b"", before: 48, after: 200 },
        ],
    },
    Classifier {
        product: "ffmpeg",
        names: &["ffmpeg", "libav*", "libswresample*"],
        rules: &[After(b"%s version "), After(b"FFmpeg version ")],
    },
    Classifier {
        product: "pkg:github/fluent/fluent-bit",
        names: &["fluent-bit"],
        rules: &[Near { text: b"Fluent Bit", lead: b"", before: 32, after: 0 }],
    },
    Classifier { product: "gcc", names: &["gcc"], rules: &[After(b"GCC: (GNU) ")] },
    Classifier { product: "grafana", names: &["grafana", "grafana-server"], rules: &[After(b"\0release-")] },
    Classifier { product: "gzip", names: &["gzip"], rules: &[Alone { lead: b"" }] },
    Classifier {
        product: "haproxy",
        names: &["haproxy"],
        rules: &[After(b"HAProxy version "), After(b"HA-Proxy version "), After(b"haproxy-")],
    },
    Classifier {
        product: "haskell/cabal",
        names: &["cabal"],
        rules: &[After(b"\0Cabal-"), After(b"cabal-install-")],
    },
    Classifier {
        product: "haskell/ghc",
        names: &["ghc*"],
        rules: &[Between(b"\0GHC ", b"\0"), After(b"\0libHSghc-")],
    },
    Classifier { product: "haskell/stack", names: &["stack"], rules: &[Between(b"Version ", b", Git")] },
    Classifier { product: "httpd", names: &["httpd", "apache2"], rules: &[After(b"Apache/")] },
    Classifier { product: "jq", names: &["jq"], rules: &[Alone { lead: b"" }, Alone { lead: b"jq-" }] },
    Classifier {
        product: "julia",
        names: &["libjulia-internal.so*"],
        rules: &[Between(b"__init__\0", b"\0verify")],
    },
    Classifier { product: "libphp", names: &["libphp*.so*"], rules: &[After(b"X-Powered-By: PHP/")] },
    Classifier { product: "lighttpd", names: &["lighttpd"], rules: &[After(b"lighttpd/")] },
    Classifier {
        product: "mariadb",
        names: &["mariadb", "mariadbd", "mysql", "mysqld"],
        rules: &[Before(b"-MariaDB"), After(b"mariadb-")],
    },
    Classifier {
        product: "memcached",
        names: &["memcached"],
        rules: &[After(b"memcached "), After(b"\0VERSION ")],
    },
    Classifier {
        product: "mongodb",
        names: &["mongod", "mongos"],
        rules: &[Before(b"\0tcmalloc"), Before(b"\0heap_size"), Before(b"\0cppdefines")],
    },
    Classifier {
        product: "percona-server",
        names: &["mysql", "mysqld"],
        rules: &[After(b"/percona-server-")],
    },
    Classifier {
        product: "percona-xtrabackup",
        names: &["xtrabackup"],
        rules: &[After(b"/percona-xtrabackup-")],
    },
    Classifier {
        product: "percona-xtradb-cluster",
        names: &["mysql", "mysqld"],
        rules: &[After(b"/Percona-XtraDB-Cluster-")],
    },
    Classifier {
        product: "mysql",
        names: &["mysql", "mysqld"],
        rules: &[Before(b"\0mysql_real_esc"), After(b"/mysql-")],
    },
    Classifier {
        product: "nginx",
        names: &["nginx"],
        rules: &[After(b"nginx version: nginx/"), After(b"nginx version: openresty/"), After(b"nginx/")],
    },
    Classifier {
        product: "node",
        names: &["node", "nodejs"],
        rules: &[After(b"node.js/v"), Between(b"\0node v", b"\0")],
    },
    Classifier { product: "openldap", names: &["ldapsearch"], rules: &[After(b"$OpenLDAP: ldapsearch ")] },
    Classifier { product: "openssh", names: &["sshd", "ssh"], rules: &[After(b"OpenSSH_")] },
    Classifier {
        product: "openssl",
        names: &["openssl", "libssl.so*", "libcrypto.so*"],
        rules: &[After(b"\0OpenSSL ")],
    },
    Classifier {
        product: "perl",
        names: &["perl", "perl5*"],
        rules: &[After(b"/lib/perl5/"), After(b"/share/perl/")],
    },
    Classifier {
        product: "php-cli",
        names: &["php", "php7*", "php8*"],
        rules: &[After(b"X-Powered-By: PHP/")],
    },
    Classifier { product: "php-fpm", names: &["php-fpm*"], rules: &[After(b"X-Powered-By: PHP/")] },
    Classifier {
        product: "postgresql",
        names: &["postgres"],
        rules: &[After(b"\0PostgreSQL "), After(b"(PostgreSQL) ")],
    },
    Classifier {
        product: "proftpd",
        names: &["proftpd"],
        rules: &[After(b"ProFTPD Version "), After(b"ProFTPD ")],
    },
    Classifier { product: "pypy", names: &["libpypy*"], rules: &[After(b"[PyPy ")] },
    Classifier { product: "python", names: &["python3*", "python2*", "libpython*"], rules: &[Python] },
    Classifier {
        product: "qtbase",
        names: &["libQt5Core.so*", "libQt6Core.so*", "libQtCore.so*"],
        rules: &[Between(b"\0Qt ", b" ("), After(b"QtCore library version ")],
    },
    Classifier { product: "redis", names: &["redis-server"], rules: &[BuildId, After(b"Redis version ")] },
    Classifier { product: "ruby", names: &["ruby", "libruby.so*", "libruby-*"], rules: &[After(b"\0ruby ")] },
    Classifier {
        product: "rust",
        names: &["libstd-*"],
        rules: &[After(b"(rustc version "), After(b"rustc version ")],
    },
    Classifier { product: "sqlcipher", names: &["sqlcipher"], rules: &[Alone { lead: b"" }] },
    Classifier { product: "sqlite", names: &["sqlite3"], rules: &[After(b"\0SQLite version ")] },
    Classifier { product: "squid", names: &["squid"], rules: &[After(b"\0squid/")] },
    Classifier { product: "swipl", names: &["swipl"], rules: &[Between(b"swipl-", b"/")] },
    Classifier { product: "unbound", names: &["unbound"], rules: &[After(b"\0unbound ")] },
    Classifier { product: "util-linux", names: &["getopt"], rules: &[Between(b"\0util-linux ", b"\0")] },
    Classifier { product: "valkey", names: &["valkey-server"], rules: &[BuildId] },
    Classifier { product: "varnish", names: &["varnishd"], rules: &[After(b"varnish-")] },
    Classifier { product: "wp-cli", names: &["wp", "wp-cli.phar"], rules: &[After(b"wp-cli/wp-cli ")] },
    Classifier { product: "xz", names: &["xz"], rules: &[After(b"(XZ Utils) ")] },
    Classifier { product: "zstd", names: &["zstd"], rules: &[Alone { lead: b"v" }] },
];
