//! Network addresses in text: values of variables, arguments, configuration files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text that is looked at, in bytes; what Kubernetes allows a ConfigMap in all.
const MAX_TEXT: usize = 1 << 20;
/// Most addresses taken of one text.
const MAX_MENTIONS: usize = 4_096;

/// A port as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortWord {
    Number(u16),
    Name(String),
}

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

/// Something in a text that may be an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) host: Host,
    pub(super) port: Option<PortWord>,
    /// The scheme's usual port, where a URL names none.
    pub(super) usual: Option<u16>,
    /// It stands in a URL.
    pub(super) url: bool,
    /// The text is nothing but this, or a list of such.
    pub(super) alone: bool,
    /// The word before it, such as `host` of `host=db`.
    pub(super) before: String,
    /// A number after it, as in `nc -z db 5432`.
    pub(super) next: Option<u16>,
}

/// Ports that clients take when a URL names none.
const SCHEMES: [(&str, u16); 17] = [
    ("http", 80),
    ("ws", 80),
    ("https", 443),
    ("wss", 443),
    ("redis", 6379),
    ("rediss", 6379),
    ("amqp", 5672),
    ("amqps", 5671),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("mongodb", 27017),
    ("nats", 4222),
    ("ldap", 389),
    ("ldaps", 636),
    ("mqtt", 1883),
];

fn is_break(char: char) -> bool {
    char.is_whitespace() || ",;\"'`(){}<>=|&\\".contains(char)
}

/// Every address in a text, in its order.
pub(super) fn mentions(text: &str) -> Vec<Mention> {
    let text = match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    };
    let alone = !text.trim().contains(|char| is_break(char) && char != ',' && char != ';');
    let tokens: Vec<&str> = text.split(is_break).filter(|token| !token.is_empty()).collect();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if found.len() >= MAX_MENTIONS {
            break;
        }
        let before = index.checked_sub(1).and_then(|index| tokens.get(index)).copied().unwrap_or_default();
        let next = tokens.get(index + 1).and_then(|next| number(next));
        // A list in brackets, unless the brackets hold an IPv6 address.
        let parts: Vec<&str> = match one(token) {
            Some(_) => vec![token],
            None => token.split(['[', ']']).collect(),
        };
        for (host, port, scheme) in parts.into_iter().filter_map(one) {
            let url = scheme.is_some();
            let usual = scheme.and_then(|scheme| SCHEMES.iter().find(|(name, _)| *name == scheme));
            let usual = usual.map(|(_, port)| *port).filter(|_| port.is_none());
            found.push(Mention { host, port, usual, url, alone, before: normal(before), next });
        }
    }
    found
}

/// A port number.
pub(super) fn number(text: &str) -> Option<u16> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

fn one(token: &str) -> Option<(Host, Option<PortWord>, Option<String>)> {
    let (scheme, rest) = match token.split_once("://") {
        // `jdbc:mysql://…` is a URL inside another.
        Some((scheme, rest)) => (Some(scheme.rsplit(':').next()?.to_ascii_lowercase()), rest),
        None => (None, token),
    };
    if scheme.as_ref().is_some_and(|scheme| matches!(scheme.as_str(), "file" | "unix" | "jar")) {
        return None;
    }
    let rest = rest.split(['/', '?', '#']).next()?;
    let rest = rest.rsplit('@').next()?;
    if let Some(inside) = rest.strip_prefix('[') {
        let (address, after) = inside.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(PortWord::Number(number(port)?)),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some((Host::Address(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)), port, scheme));
    }
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port_word(port)?)),
        None => (rest, None),
    };
    Some((self::host(host)?, port, scheme))
}

fn port_word(text: &str) -> Option<PortWord> {
    if let Some(number) = number(text) {
        return Some(PortWord::Number(number));
    }
    let valid = (1..=15).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    valid.then(|| PortWord::Name(text.to_owned()))
}

/// A host name (RFC 1123) in lower case, or an IPv4 address.
fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(IpAddr::V4(address)));
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let named = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    (text.len() <= 253 && named && text.split('.').all(label)).then(|| Host::Name(text.to_ascii_lowercase()))
}

/// The name of a variable, flag or key in one form: `db.host`, `--db-host` and `DB_HOST` are the same.
pub(super) fn normal(key: &str) -> String {
    let key = key.trim_matches(|char: char| !char.is_ascii_alphanumeric());
    key.chars()
        .take(256)
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
        .collect()
}

/// Ends of names of variables that hold addresses.
const ADDRESS_WORDS: [&str; 31] = [
    "HOST",
    "HOSTS",
    "HOSTNAME",
    "ADDR",
    "ADDRS",
    "ADDRESS",
    "ADDRESSES",
    "URL",
    "URLS",
    "URI",
    "URIS",
    "SERVER",
    "SERVERS",
    "SERVICE",
    "ENDPOINT",
    "ENDPOINTS",
    "BROKER",
    "BROKERS",
    "DSN",
    "NODE",
    "NODES",
    "PEER",
    "PEERS",
    "UPSTREAM",
    "TARGET",
    "PROXY",
    "MASTER",
    "LEADER",
    "SERVER_NAME",
    "HOST_NAME",
    "SERVICE_NAME",
];

/// Ends of names of variables that hold words which are no addresses, though a Service may have the same name.
const OTHER_WORDS: [&str; 25] = [
    "TYPE",
    "KIND",
    "MODE",
    "DRIVER",
    "DIALECT",
    "USER",
    "USERNAME",
    "PASSWORD",
    "PASS",
    "DATABASE",
    "DB",
    "DBNAME",
    "SCHEMA",
    "LEVEL",
    "ENV",
    "ENVIRONMENT",
    "NAMESPACE",
    "ROLE",
    "PROVIDER",
    "ENGINE",
    "VERSION",
    "NAME",
    "TOPIC",
    "QUEUE",
    "GROUP",
];

/// What the name of a variable says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Address,
    Other,
    None,
}

/// The hint of a [`normal`] name.
pub(super) fn hint(key: &str) -> Hint {
    let last =
        |word: &&&str| key.strip_suffix(**word).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    if ADDRESS_WORDS.iter().any(|word| key.ends_with(word)) {
        Hint::Address
    } else if OTHER_WORDS.iter().find(last).is_some() {
        Hint::Other
    } else {
        Hint::None
    }
}

/// Names under which the port to an address may stand: `DB_PORT` beside `DB_HOST`.
pub(super) fn port_keys(key: &str) -> Vec<String> {
    let mut keys = vec![format!("{key}_PORT")];
    for word in ADDRESS_WORDS {
        if let Some(stem) = key.strip_suffix(word) {
            keys.push(format!("{stem}PORT"));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let word = |mention: Mention| {
            let host = match mention.host {
                Host::Name(name) => name,
                Host::Address(address) => address.to_string(),
            };
            match (mention.port, mention.usual) {
                (Some(PortWord::Number(port)), _) => format!("{host}:{port}"),
                (Some(PortWord::Name(port)), _) => format!("{host}:{port}"),
                (None, Some(port)) => format!("{host}~{port}"),
                (None, None) => host,
            }
        };
        mentions(text).into_iter().map(word).collect()
    }

    #[test]
    fn forms_of_addresses() {
        let cases: [(&str, &[&str]); 16] = [
            ("redis", &["redis"]),
            ("redis-leader.redis:6379", &["redis-leader.redis:6379"]),
            ("db.shop.svc.cluster.local.", &["db.shop.svc.cluster.local"]),
            ("http://cart/items?x=1", &["cart~80"]),
            ("jdbc:mysql://db:3306/shop?useSSL=false", &["db:3306", "false"]),
            (
                "mongodb://user:p:w@mongo:27017,mongo-1.mongo:27017/test",
                &["mongo:27017", "mongo-1.mongo:27017"],
            ),
            ("amqp://guest:guest@rabbit", &["rabbit~5672"]),
            ("user:pw@tcp(mysql:3306)/db", &["tcp", "mysql:3306"]),
            ("host=db port=5432", &["host", "db", "port"]),
            ("[\"a:1\",\"b:2\"]", &["a:1", "b:2"]),
            ("[2001:db8::1]:443", &["2001:db8::1:443"]),
            ("10.1.2.3:5432", &["10.1.2.3:5432"]),
            (":8080", &[]),
            ("/var/lib/x", &[]),
            ("unix:///run/x.sock", &[]),
            ("12:30", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn hints_and_port_keys() {
        assert_eq!(hint(&normal("--currencyserviceAddr")), Hint::Address);
        assert_eq!(hint(&normal("host:")), Hint::Address, "as in YAML");
        assert_eq!(hint("DB_TYPE"), Hint::Other);
        assert_eq!(hint("ARCHETYPE"), Hint::None);
        assert_eq!(hint("APP_NAME"), Hint::Other);
        assert_eq!(hint("DB_SERVICE_NAME"), Hint::Address);
        assert!(port_keys("MYSQL_DB_HOST").contains(&"MYSQL_DB_PORT".to_owned()));
        assert!(port_keys(&normal("db.host")).contains(&normal("db.port")));
        assert!(port_keys("REDIS").contains(&"REDIS_PORT".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends(text in "[a-z0-9.:/@\\[\\],= \\n\\PC]{0,300}") {
            proptest::prop_assert!(mentions(&text).len() <= 600);
        }
    }
}
