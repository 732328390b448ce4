//! Who may do what: none, Basic, or Bearer with a token endpoint (Distribution's token specification).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::Method;

use super::Kind;
use super::route::Route;

/// What the registry asks of its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A user and a password with each request.
    Basic {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token for each repository, from the registry's own token endpoint.
    Bearer {
        /// Who gets a token; `None` gives one to anybody.
        credentials: Option<(String, String)>,
        /// Whether a token to pull is given without credentials.
        anonymous_pull: bool,
        /// How long a token is good for.
        ttl: Duration,
        /// Token endpoint that challenges name, when it is not this registry's.
        realm: Option<String>,
    },
}

/// Tokens given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, Grant>,
}

#[derive(Debug)]
struct Grant {
    scopes: Vec<String>,
    until: Instant,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.given.clear();
    }

    /// A token for these scopes (`repository:<name>:pull,push`).
    fn give(&mut self, scopes: Vec<String>, ttl: Duration) -> String {
        let token = super::notify::random_hex(24);
        let now = Instant::now();
        // Those past their time need no memory.
        self.given.retain(|_, grant| grant.until > now);
        let until = now.checked_add(ttl).unwrap_or(now);
        self.given.insert(token.clone(), Grant { scopes, until });
        token
    }

    fn allows(&self, token: &str, repository: &str, action: &str) -> bool {
        self.given.get(token).is_some_and(|grant| {
            grant.until > Instant::now()
                && (repository.is_empty()
                    || grant.scopes.iter().any(|scope| covers(scope, repository, action)))
        })
    }
}

fn covers(scope: &str, repository: &str, action: &str) -> bool {
    let Some(rest) = scope.strip_prefix("repository:") else { return false };
    rest.rsplit_once(':').is_some_and(|(name, actions)| {
        name == repository && actions.split(',').any(|granted| granted == action || granted == "*")
    })
}

/// The token endpoint's answer.
pub(super) enum Issued {
    Token { token: String, seconds: u64 },
    Refused,
}

impl Auth {
    /// Whether a request may pass; else the challenge for it.
    pub(super) fn check(
        &self,
        tokens: &Tokens,
        method: &Method,
        route: &Route,
        authorization: Option<&str>,
        addr: &str,
    ) -> Result<(), String> {
        let action = action(method);
        let passes = match self {
            Self::None => true,
            Self::Basic { user, password } => basic(authorization) == Some((user.clone(), password.clone())),
            Self::Bearer { .. } => {
                bearer(authorization).is_some_and(|token| tokens.allows(token, &route.repository, action))
            }
        };
        if passes || route.kind == Kind::Token { Ok(()) } else { Err(self.challenge(method, route, addr)) }
    }

    /// `WWW-Authenticate` for a request.
    pub(super) fn challenge(&self, method: &Method, route: &Route, addr: &str) -> String {
        match self {
            Self::None | Self::Basic { .. } => "Basic realm=\"plimsoll-testkit\"".to_owned(),
            Self::Bearer { realm, .. } => {
                let realm = realm.clone().unwrap_or_else(|| format!("http://{addr}/token"));
                let mut out = format!("Bearer realm=\"{realm}\",service=\"{addr}\"");
                if !route.repository.is_empty() {
                    let actions = match action(method) {
                        "push" => "pull,push",
                        other => other,
                    };
                    out.push_str(&format!(",scope=\"repository:{}:{actions}\"", route.repository));
                }
                out
            }
        }
    }

    /// Answers the token endpoint.
    pub(super) fn issue(
        &self,
        tokens: &mut Tokens,
        query: &[(String, String)],
        authorization: Option<&str>,
    ) -> Issued {
        let Self::Bearer { credentials, anonymous_pull, ttl, .. } = self else { return Issued::Refused };
        let mut scopes: Vec<String> = query
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, value)| value.split(' '))
            .map(str::to_owned)
            .collect();
        let known = match credentials {
            None => true,
            Some(expected) => basic(authorization).as_ref() == Some(expected),
        };
        if !known {
            if !anonymous_pull || authorization.is_some() {
                return Issued::Refused;
            }
            // The specification gives what may be had rather than an error.
            for scope in &mut scopes {
                if let Some((name, _)) = scope.rsplit_once(':') {
                    *scope = format!("{name}:pull");
                }
            }
        }
        Issued::Token { token: tokens.give(scopes, *ttl), seconds: ttl.as_secs() }
    }
}

fn action(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    }
}

fn bearer(authorization: Option<&str>) -> Option<&str> {
    authorization?.strip_prefix("Bearer ")
}

fn basic(authorization: Option<&str>) -> Option<(String, String)> {
    let encoded = authorization?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
