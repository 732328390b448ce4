//! How a request gets its `Authorization` header: from the configuration, from memory, or from the registry's
//! token service.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::Url;

use super::auth::{self, Challenge, Credentials};
use super::error::RegistryError;
use super::host::{Ask, Body, Host, listed, read_bounded, reason, shown};
use super::retry::{random, retry_after};

impl Host {
    /// The `Authorization` header for a request, if we know of any need. `refused` is a header that the
    /// registry has just turned down.
    pub(super) async fn authorization(
        &self,
        ask: &Ask,
        refused: Option<&str>,
    ) -> Result<Option<Arc<str>>, RegistryError> {
        if let Credentials::Bearer(token) = &self.credentials {
            return match refused {
                None => Ok(Some(format!("Bearer {}", token.expose()).into())),
                Some(_) => Err(self.denied(ask, "it does not accept the configured token")),
            };
        }
        match self.memory.challenge() {
            None => Ok(None),
            Some(Challenge::Basic) => match self.credentials.basic() {
                Some(basic) if refused != Some(&basic) => Ok(Some(basic.into())),
                Some(_) => Err(self.denied(ask, "it does not accept the configured password")),
                None => Err(self.denied(ask, "it asks for a password and none is configured")),
            },
            Some(Challenge::Bearer { realm, service }) => {
                let slot = self.memory.slot(&ask.scope);
                let mut slot = slot.lock().await;
                if let Some(token) = slot.as_ref()
                    && token.usable_until > Instant::now()
                    && refused != Some(&token.header)
                {
                    return Ok(Some(Arc::clone(&token.header)));
                }
                let token = self.fetch_token(ask, &realm, service.as_deref()).await?;
                let header = Arc::clone(&token.header);
                *slot = Some(token);
                Ok(Some(header))
            }
        }
    }

    /// Asks the token service. It is the registry's own host or a listed one; nothing else is connected to.
    async fn fetch_token(
        &self,
        ask: &Ask,
        realm: &str,
        service: Option<&str>,
    ) -> Result<auth::Token, RegistryError> {
        let Ok(realm) = Url::parse(realm) else {
            return Err(self.unsupported(ask, "its token service's address is no URL".into()));
        };
        if !self.is_own(&realm) && !listed(&realm, &self.token_hosts, self.plain_http) {
            return Err(RegistryError::NotConfigured { host: shown(&realm), role: "token service" });
        }
        let mut attempt = 0;
        loop {
            if let Some(rate) = &self.rate {
                rate.until_ready().await;
            }
            let (error, after) = match self.token_request(&realm, service, &ask.scope).send().await {
                Err(error) => (self.unavailable(ask, &reason(error)), None),
                Ok(mut response) => {
                    let status = response.status();
                    let after = retry_after(response.headers(), SystemTime::now());
                    if status == StatusCode::OK {
                        match read_bounded(&mut response, auth::MAX_TOKEN_BYTES).await {
                            Body::Whole(bytes) => {
                                return auth::read_token(&bytes, Instant::now())
                                    .ok_or_else(|| self.denied(ask, "its token service gives no token"));
                            }
                            Body::TooLarge => {
                                return Err(RegistryError::TooLarge {
                                    what: format!("the token for {}", ask.what),
                                    limit: u64::try_from(auth::MAX_TOKEN_BYTES).unwrap_or(u64::MAX),
                                });
                            }
                            Body::Broken(error) => (self.unavailable(ask, &reason(error)), None),
                        }
                    } else {
                        match status.as_u16() {
                            429 => (
                                RegistryError::RateLimited {
                                    registry: self.identity.clone(),
                                    what: ask.what.clone(),
                                },
                                after,
                            ),
                            408 | 425 | 500..=599 => {
                                (self.unavailable(ask, "its token service fails"), after)
                            }
                            status => {
                                let why = format!("its token service answers {status}");
                                return Err(self.denied(ask, &why));
                            }
                        }
                    }
                }
            };
            attempt += 1;
            if attempt >= self.retry.attempts {
                return Err(error);
            }
            tokio::time::sleep(self.retry.pause(attempt - 1, after, random())).await;
        }
    }

    fn token_request(&self, realm: &Url, service: Option<&str>, scope: &str) -> reqwest::RequestBuilder {
        if let Credentials::Refresh(token) = &self.credentials {
            let mut form = Url::clone(realm);
            form.set_query(None);
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or(""))
                .append_pair("client_id", "plimsoll")
                .append_pair("scope", scope)
                .append_pair("refresh_token", token.expose());
            let body = form.query().unwrap_or("").to_owned();
            let request = self.client.post(realm.clone());
            return request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let request = self.client.get(auth::token_url(realm, service, scope));
        match self.credentials.basic() {
            Some(basic) => request.header(AUTHORIZATION, basic),
            None => request,
        }
    }
}
