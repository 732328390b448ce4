//! Lists and watches of the API server: which kinds it serves, and what becomes of their objects.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResource};
use kube::api::{Api, ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Error};
use plimsoll_netpol::objects::{Format, parse_documents};
use tokio::sync::mpsc;

use crate::kinds::{Kind, Part};
use crate::reduce::{Key, Reduced, reduce};
use crate::view::Unit;

/// A kind that the API server has.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// Its number.
    pub kind: u16,
    pub resource: ApiResource,
    pub namespaced: bool,
}

/// Why a list or watch does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// We may not look at this kind.
    Forbidden,
    /// The API server does not know us.
    Unauthorized,
    /// The kind is no longer there.
    Gone,
    /// Anything else, which may pass.
    Failing,
}

impl Trouble {
    fn of(error: &watcher::Error) -> Self {
        let status = match error {
            watcher::Error::InitialListFailed(Error::Api(status))
            | watcher::Error::WatchStartFailed(Error::Api(status))
            | watcher::Error::WatchFailed(Error::Api(status)) => status,
            watcher::Error::WatchError(status) => status,
            _ => return Self::Failing,
        };
        match status.code {
            403 => Self::Forbidden,
            401 => Self::Unauthorized,
            404 => Self::Gone,
            _ => Self::Failing,
        }
    }

    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "cluster_forbidden",
            Self::Unauthorized => "cluster_unauthorized",
            Self::Gone | Self::Failing => "cluster_unavailable",
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub enum Seen {
    /// What the API server serves of what is watched, and the groups of which that could not be learned.
    Serves(Vec<Served>, Vec<String>),
    /// The API server did not say what it serves.
    NotServing(Trouble, String),
    /// A list begins: what it does not name is gone.
    Listing(Unit),
    /// An object of a list, or one that was created or changed.
    Object(Unit, Reduced),
    /// An object that is gone, or runs nothing.
    Gone(Unit, Key),
    /// An object that cannot be told, and why.
    Unreadable(Unit, Key, String),
    /// A list is over.
    Listed(Unit),
    /// A list or watch failed; it is tried again.
    Troubled(Unit, Trouble, String),
    /// A watch goes on after it failed.
    Going(Unit),
}

/// Times of lists and watches.
#[derive(Debug, Clone)]
pub struct Pace {
    /// First and longest pause after a failure.
    pub backoff: (Duration, Duration),
    /// A watch that has not failed again for so long goes on.
    pub going: Duration,
    /// Pause after we were told that we may not look.
    pub forbidden: Duration,
    /// Seconds after which the server is to end a watch; it is begun again.
    pub watch_seconds: u32,
    /// Objects a page.
    pub page: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: (Duration::from_secs(1), Duration::from_secs(60)),
            going: Duration::from_secs(15),
            forbidden: Duration::from_secs(300),
            watch_seconds: 290,
            page: 500,
        }
    }
}

/// Pauses between attempts, from the shortest to the longest, without an end.
pub(crate) fn backoff((first, longest): (Duration, Duration)) -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Asks what the API server serves, again and again, until nobody listens.
pub async fn discover(
    client: Client,
    kinds: Arc<[Kind]>,
    every: Duration,
    pace: Pace,
    out: mpsc::Sender<Seen>,
) {
    let mut pauses = backoff(pace.backoff);
    loop {
        let pause = match served(&client, &kinds).await {
            Ok((served, unknown)) => {
                let troubled = !unknown.is_empty();
                if out.send(Seen::Serves(served, unknown)).await.is_err() {
                    return;
                }
                if troubled {
                    pauses.next().unwrap_or(every).min(every)
                } else {
                    pauses = backoff(pace.backoff);
                    every
                }
            }
            Err(error) => {
                let trouble = Trouble::of(&watcher::Error::InitialListFailed(error_of(&error)));
                if out.send(Seen::NotServing(trouble, error.to_string())).await.is_err() {
                    return;
                }
                pauses.next().unwrap_or(every)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The part of an error that says what kind of trouble it is.
fn error_of(error: &Error) -> Error {
    match error {
        Error::Api(status) => Error::Api(status.clone()),
        _ => Error::LinesCodecMaxLineLengthExceeded,
    }
}

/// Kinds that are served, each in the version that the server prefers, and groups that do not answer.
async fn served(client: &Client, kinds: &[Kind]) -> Result<(Vec<Served>, Vec<String>), Error> {
    let core = client.list_core_api_resources("v1").await?.resources;
    let groups = client.list_api_groups().await?.groups;
    let (mut served, mut unknown) = (Vec::new(), Vec::new());
    for (number, kind) in kinds.iter().enumerate().filter(|(_, kind)| kind.group.is_empty()) {
        served.extend(found(&core, number, kind, "v1"));
    }
    for group in groups.iter().filter(|group| kinds.iter().any(|kind| kind.group == group.name)) {
        let mut open: Vec<(usize, &Kind)> =
            kinds.iter().enumerate().filter(|(_, kind)| kind.group == group.name).collect();
        for version in versions(group) {
            if open.is_empty() {
                break;
            }
            let resources = match client.list_api_group_resources(&version).await {
                Ok(list) => list.resources,
                Err(Error::Api(status)) if status.code == 404 => continue,
                Err(error) => {
                    tracing::debug!(group = %group.name, %error, "what the group serves is not known");
                    unknown.push(group.name.clone());
                    break;
                }
            };
            open.retain(|(number, kind)| match found(&resources, *number, kind, &version) {
                Some(one) => {
                    served.push(one);
                    false
                }
                None => true,
            });
        }
    }
    Ok((served, unknown))
}

/// Versions of a group, `group/version`, the preferred one first.
fn versions(group: &APIGroup) -> Vec<String> {
    let preferred = group.preferred_version.iter().map(|version| version.group_version.clone());
    let mut versions: Vec<String> = preferred.collect();
    for version in &group.versions {
        if !versions.contains(&version.group_version) {
            versions.push(version.group_version.clone());
        }
    }
    versions
}

fn found(resources: &[APIResource], number: usize, kind: &Kind, api_version: &str) -> Option<Served> {
    let verb = |resource: &APIResource, verb: &str| resource.verbs.iter().any(|known| known == verb);
    let resource = resources.iter().find(|resource| {
        // Subresources have the kind of what they are part of, or one of their own.
        resource.kind == kind.kind
            && !resource.name.contains('/')
            && verb(resource, "list")
            && verb(resource, "watch")
    })?;
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    Some(Served {
        kind: u16::try_from(number).ok()?,
        resource: ApiResource {
            group: kind.group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.kind.to_owned(),
            plural: resource.name.clone(),
        },
        namespaced: resource.namespaced,
    })
}

/// A list and watch of one unit.
#[derive(Clone)]
pub struct Watch {
    pub client: Client,
    pub kinds: Arc<[Kind]>,
    pub served: Served,
    pub unit: Unit,
    pub pace: Pace,
    pub out: mpsc::Sender<Seen>,
}

impl Watch {
    /// Lists, then watches, and again after each failure, until nobody listens.
    pub async fn run(self) {
        let Some(kind) = self.kinds.get(usize::from(self.served.kind)).cloned() else { return };
        let mut config =
            watcher::Config::default().page_size(self.pace.page).timeout(self.pace.watch_seconds);
        let resource = &self.served.resource;
        let inside = self.unit.namespace.as_deref();
        if let Some(name) = inside.filter(|_| !self.served.namespaced) {
            // The namespace itself, which is in none.
            config = config.fields(&format!("metadata.name={name}"));
        }
        let inside = inside.filter(|_| self.served.namespaced);
        match kind.part {
            Part::Fields(_) => {
                let api: Api<DynamicObject> = match inside {
                    Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
                    None => Api::all_with(self.client.clone(), resource),
                };
                self.follow(&kind, watcher::watcher(api, config)).await;
            }
            Part::Name => {
                let api: Api<PartialObjectMeta<DynamicObject>> = match inside {
                    Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
                    None => Api::all_with(self.client.clone(), resource),
                };
                let events = watcher::watcher(api, config).map(|event| event.map(whole));
                self.follow(&kind, events).await;
            }
        }
    }

    async fn follow(&self, kind: &Kind, events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>) {
        let mut events = pin!(events);
        let mut pauses = backoff(self.pace.backoff);
        let mut troubled = false;
        loop {
            let next = if troubled {
                // A watch that was begun again says nothing until something happens.
                tokio::time::timeout(self.pace.going, events.next()).await.ok()
            } else {
                Some(events.next().await)
            };
            let goes = match &next {
                None => true,
                Some(next) => troubled && matches!(next, Some(Ok(event)) if !matches!(event, Event::Init)),
            };
            if goes {
                troubled = false;
                pauses = backoff(self.pace.backoff);
                if self.out.send(Seen::Going(self.unit.clone())).await.is_err() {
                    return;
                }
            }
            let Some(next) = next else { continue };
            let seen = match next {
                None => return,
                Some(Ok(Event::Init)) => Some(Seen::Listing(self.unit.clone())),
                Some(Ok(Event::InitDone)) => Some(Seen::Listed(self.unit.clone())),
                Some(Ok(Event::InitApply(object) | Event::Apply(object))) => self.object(kind, object),
                Some(Ok(Event::Delete(object))) => {
                    Key::of(self.unit.kind, &object.metadata).map(|key| Seen::Gone(self.unit.clone(), key))
                }
                // What we know is too old to go on from: the next event begins a list.
                Some(Err(watcher::Error::WatchError(status))) if status.code == 410 => {
                    tokio::time::sleep(self.pace.backoff.0).await;
                    None
                }
                Some(Err(error)) => {
                    troubled = true;
                    let trouble = Trouble::of(&error);
                    let seen = Seen::Troubled(self.unit.clone(), trouble, error.to_string());
                    if self.out.send(seen).await.is_err() {
                        return;
                    }
                    let pause = match trouble {
                        Trouble::Forbidden => self.pace.forbidden,
                        _ => pauses.next().unwrap_or(self.pace.backoff.1),
                    };
                    tokio::time::sleep(pause).await;
                    None
                }
            };
            if let Some(seen) = seen
                && self.out.send(seen).await.is_err()
            {
                return;
            }
        }
    }

    /// What is told of an object: nothing that the gateway could not read.
    fn object(&self, kind: &Kind, object: DynamicObject) -> Option<Seen> {
        let key = Key::of(self.unit.kind, &object.metadata)?;
        let Some(reduced) = reduce(kind, self.unit.kind, &self.served.resource.api_version, object) else {
            return Some(Seen::Gone(self.unit.clone(), key));
        };
        let mut json = Vec::new();
        reduced.write(&mut json);
        Some(match parse_documents(&json, Format::Json) {
            Ok(_) => Seen::Object(self.unit.clone(), reduced),
            Err(error) => Seen::Unreadable(self.unit.clone(), key, error.to_string()),
        })
    }
}

/// Metadata as an object of which nothing else is known.
fn whole(event: Event<PartialObjectMeta<DynamicObject>>) -> Event<DynamicObject> {
    let object = |meta: PartialObjectMeta<DynamicObject>| DynamicObject {
        types: None,
        metadata: meta.metadata,
        data: serde_json::Value::Null,
    };
    match event {
        Event::Apply(meta) => Event::Apply(object(meta)),
        Event::Delete(meta) => Event::Delete(object(meta)),
        Event::InitApply(meta) => Event::InitApply(object(meta)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}
