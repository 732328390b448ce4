//! Programs that are found by their content alone (`pkg:generic/NAME`), and the names under which feeds speak of them:
//! CPE products of NVD and packages of Bitnami. Matches of these are of low confidence, always: a build of somebody may
//! have patches that its version does not show.

/// Name of the classifier, CPE products `vendor:product`, package of Bitnami.
const PROGRAMS: &[(&str, &[&str], &str)] = &[
    ("bash", &["gnu:bash"], ""),
    ("busybox", &["busybox:busybox"], ""),
    ("consul", &["hashicorp:consul"], "consul"),
    ("curl", &["haxx:curl", "haxx:libcurl"], ""),
    ("envoy", &["envoyproxy:envoy"], "envoy"),
    ("erlang", &["erlang:erlang/otp", "erlang:otp"], ""),
    ("haproxy", &["haproxy:haproxy"], "haproxy"),
    ("httpd", &["apache:http_server"], "apache"),
    ("lighttpd", &["lighttpd:lighttpd"], ""),
    ("mariadb", &["mariadb:mariadb"], "mariadb"),
    ("memcached", &["memcached:memcached"], "memcached"),
    ("mongodb", &["mongodb:mongodb"], "mongodb"),
    ("mysql", &["oracle:mysql", "oracle:mysql_server", "mysql:mysql"], ""),
    ("nginx", &["f5:nginx", "nginx:nginx", "f5:nginx_open_source"], "nginx"),
    ("node", &["nodejs:node.js", "nodejs:nodejs"], "node"),
    ("openssl", &["openssl:openssl"], ""),
    ("oracle/openjdk", &["oracle:openjdk"], "java"),
    ("oracle/jdk", &["oracle:jdk"], ""),
    ("oracle/jre", &["oracle:jre"], ""),
    ("azul/zulu", &["azul:zulu"], ""),
    ("perl", &["perl:perl"], ""),
    ("php-cli", &["php:php"], "php"),
    ("php-fpm", &["php:php"], "php"),
    ("postgresql", &["postgresql:postgresql"], "postgresql"),
    ("proftpd", &["proftpd:proftpd", "proftpd_project:proftpd"], ""),
    ("python", &["python:python", "python_software_foundation:python"], "python"),
    ("redis", &["redis:redis", "redislabs:redis"], "redis"),
    ("ruby", &["ruby-lang:ruby"], "ruby"),
    ("sqlite", &["sqlite:sqlite"], "sqlite"),
    ("squid", &["squid-cache:squid"], ""),
    ("traefik", &["traefik:traefik"], ""),
    ("unbound", &["nlnetlabs:unbound"], ""),
    ("valkey", &["lfprojects:valkey"], "valkey"),
    ("vault", &["hashicorp:vault"], "vault"),
];

/// What tells a CPE product from a program's own name.
const CPE: &str = "cpe:";

/// The name under which the Db keeps what is said of a CPE product.
pub fn cpe_name(product: &str) -> String {
    format!("{CPE}{product}")
}

/// True for a CPE product that some classifier finds.
pub fn is_named(product: &str) -> bool {
    PROGRAMS.iter().any(|(_, products, _)| products.contains(&product))
}

/// The CPE products of a program, and its Bitnami package, where it has them.
pub fn names(program: &str) -> (&'static [&'static str], Option<&'static str>) {
    match PROGRAMS.iter().find(|(name, ..)| *name == program) {
        Some((_, products, bitnami)) => (products, Some(*bitnami).filter(|name| !name.is_empty())),
        None => (&[], None),
    }
}

/// The programs that a name of the Db stands for, `cpe:nodejs:node.js` or a package of Bitnami.
pub fn programs(name: &str) -> impl Iterator<Item = &'static str> {
    let product = name.strip_prefix(CPE);
    PROGRAMS.iter().filter_map(move |(program, products, bitnami)| match product {
        Some(product) => products.contains(&product).then_some(*program),
        None => (*bitnami == name).then_some(*program),
    })
}
