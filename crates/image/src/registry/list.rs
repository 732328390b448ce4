//! Listings, page by page (distribution specification, "Listing Tags"; Docker's catalog).

use std::sync::Arc;

use http::header::LINK;
use http::{HeaderMap, Method};
use reqwest::Url;
use serde::Deserialize;

use super::error::RegistryError;
use super::host::{Ask, Host};

/// Largest page, in bytes.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Most pages of one listing.
const MAX_PAGES: usize = 10_000;

/// The names that a registry lists, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    pub names: Vec<String>,
    /// True when there is more than the bound that was given.
    pub truncated: bool,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
    repositories: Option<Vec<String>>,
}

/// Which listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of<'a> {
    Tags(&'a str),
    Repositories,
}

pub(super) async fn list(host: &Arc<Host>, of: Of<'_>, limit: usize) -> Result<Listing, RegistryError> {
    let (path, scope, what) = match of {
        Of::Tags(repository) => (
            format!("{repository}/tags/list"),
            format!("repository:{repository}:pull"),
            format!("the tags of {repository}"),
        ),
        Of::Repositories => {
            ("_catalog".to_owned(), "registry:catalog:*".to_owned(), "the catalog".to_owned())
        }
    };
    let mut url = host.url(&path);
    url.set_query(Some("n=1000"));
    let mut listing = Listing::default();
    for _ in 0..MAX_PAGES {
        let ask = Ask {
            accept: Some("application/json".into()),
            ..Ask::read(Method::GET, url.clone(), scope.clone(), what.clone())
        };
        let (bytes, headers, at) = host.fetch(&ask, MAX_PAGE_BYTES).await?;
        let corrupt = |detail: String| RegistryError::Corrupt { what: what.clone(), detail };
        let page: Page = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let names = match of {
            Of::Tags(_) => page.tags,
            Of::Repositories => page.repositories,
        };
        for name in names.unwrap_or_default() {
            // A name that no reference can hold could never be asked for.
            let valid = match of {
                Of::Tags(_) => plimsoll_model::reference::valid_tag(&name),
                Of::Repositories => plimsoll_model::reference::valid_repository(&name),
            };
            if valid && listing.names.len() < limit {
                listing.names.push(name);
            } else if valid {
                listing.truncated = true;
                return Ok(listing);
            }
        }
        match next_page(&at, &headers) {
            None => return Ok(listing),
            Some(next) if !host.is_own(&next) => {
                let host = next.host_str().unwrap_or("").to_owned();
                return Err(RegistryError::NotConfigured { host, role: "next page" });
            }
            Some(next) if next == url => return Err(corrupt("a page that names itself as the next".into())),
            Some(next) => url = next,
        }
    }
    listing.truncated = true;
    Ok(listing)
}

/// The address in `Link: <…>; rel="next"` (RFC 8288), resolved against the page's own.
pub(super) fn next_page(at: &Url, headers: &HeaderMap) -> Option<Url> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        let (target, params) = text.trim().strip_prefix('<')?.split_once('>')?;
        let next = params.split(';').any(|param| {
            let param = param.trim();
            param.eq_ignore_ascii_case("rel=next") || param.eq_ignore_ascii_case("rel=\"next\"")
        });
        if next { at.join(target).ok() } else { None }
    })
}
