//! What is told when: everything once all is listed, then changes, and everything again where changes do not do.

mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use plimsoll_telemetry::metrics::Lane;
use plimsoll_telemetry::{Health, Metrics};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kinds::{self, Kind};
use crate::reduce::Key;
use crate::source::{Pace, Seen, Served, Trouble, Watch, backoff, discover};
use crate::tell::{Gateway, Mode, TellError};
use crate::view::{Unit, View};

/// Events that wait between the lists and watches and the view.
const CHANNEL: usize = 1024;
/// Failures in a row after which a kind that was never listed is not waited for.
const FAILURES: u32 = 3;
/// How long a watch that failed is waited for before everything is told again.
const SETTLING: Duration = Duration::from_secs(30);
/// Objects that a gateway may refuse before it is taken for one that refuses everything.
const MOST_REFUSED: usize = 500;
/// Deletions a request.
const DELETIONS: usize = 2000;
/// Longest time between two looks at the clock.
const TICK: Duration = Duration::from_secs(30);

/// How the agent works. The default is what `plimsoll watch` takes where nothing else is said.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespaces to watch; empty: the whole cluster.
    pub namespaces: Vec<String>,
    /// How long changes are gathered before they are told.
    pub gather: Duration,
    /// Longest silence: after that one object is told again, so that the view does not age.
    pub heartbeat: Duration,
    /// How often everything is told again.
    pub resend: Duration,
    /// How often it is asked which kinds are installed.
    pub discover: Duration,
    /// How long a watch may fail before the view no longer counts as complete.
    pub patience: Duration,
    /// Most bytes of a document; at most what the gateway takes (`limits.deploy_body`).
    pub max_body: usize,
    /// About as many bytes of changes are told at once.
    pub part: usize,
    /// Most changes that wait to be told one by one.
    pub most_waiting: usize,
    /// First and longest pause after the gateway did not take something.
    pub retry: (Duration, Duration),
    pub pace: Pace,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            gather: Duration::from_millis(250),
            heartbeat: Duration::from_secs(600),
            resend: Duration::from_secs(6 * 3600),
            discover: Duration::from_secs(300),
            patience: Duration::from_secs(600),
            max_body: 16 << 20,
            part: 1 << 20,
            most_waiting: 20_000,
            retry: (Duration::from_secs(1), Duration::from_secs(60)),
            pace: Pace::default(),
        }
    }
}

/// Watches until `stop`. What waits to be told then is told by whoever starts next, with everything else.
pub async fn run(
    client: Client,
    gateway: Gateway,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) {
    let kinds: Arc<[Kind]> = kinds::all().into();
    let (out, mut seen) = mpsc::channel(CHANNEL);
    let asks =
        discover(client.clone(), Arc::clone(&kinds), settings.discover, settings.pace.clone(), out.clone());
    let asks = tokio::spawn(asks).abort_handle();
    health.starting("cluster");
    health.starting("gateway");
    let mut agent = Agent::new(client, kinds, settings, metrics, health, out);
    let mut telling: Option<Telling> = None;
    loop {
        if telling.is_none()
            && let Some((work, mode, document)) = agent.next()
        {
            let (gateway, complete) = (gateway.clone(), agent.is_complete());
            // Said once, and with everything: a change of how far a view is believed concerns every workload.
            let silent = agent.known_partial && !matches!(mode, Mode::Replace { .. });
            telling = Some(Box::pin(async move {
                let result = gateway.tell(&mode, complete || silent, document).await;
                (work, complete, result)
            }));
        }
        let wake = agent.wake();
        let told = async {
            match &mut telling {
                Some(telling) => telling.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (work, complete, result) = told => {
                telling = None;
                agent.told(work, complete, result);
            }
            Some(one) = seen.recv() => {
                agent.take(one);
                while let Ok(one) = seen.try_recv() {
                    agent.take(one);
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        agent.report();
    }
    asks.abort();
    agent.units.values().for_each(|state| state.task.abort());
}

type Telling = Pin<Box<dyn Future<Output = (Work, bool, Result<(), TellError>)> + Send>>;

/// One request.
#[derive(Debug)]
enum Work {
    Everything(Option<Box<str>>),
    Changed(Vec<Key>),
    Gone(Vec<Key>),
    /// An object that is told again so that the view does not age.
    Beat(Key),
}

/// A list and watch.
#[derive(Debug)]
struct State {
    served: Served,
    task: AbortHandle,
    /// Objects of the list that is being read.
    listing: Option<BTreeSet<Key>>,
    listed: bool,
    began: Instant,
    trouble: Option<(Trouble, Instant)>,
    failures: u32,
}

impl State {
    /// Nothing more is to be waited for.
    fn is_settled(&self) -> bool {
        match self.trouble {
            Some((Trouble::Forbidden | Trouble::Unauthorized, _)) => true,
            // After the API server was away, lists come one after the other: one word for all of them.
            Some((_, since)) if self.listed => since.elapsed() > SETTLING,
            Some(_) => self.failures >= FAILURES,
            None => self.listed && self.listing.is_none(),
        }
    }

    /// It cannot be seen what the cluster has of it.
    fn is_gap(&self, patience: Duration) -> bool {
        match self.trouble {
            Some((Trouble::Forbidden, _)) => true,
            Some((_, since)) => !self.listed && self.failures >= FAILURES || since.elapsed() > patience,
            // A kind that was just installed is listed in a moment.
            None => !self.listed && self.began.elapsed() > patience,
        }
    }
}

struct Agent {
    client: Client,
    kinds: Arc<[Kind]>,
    /// Number of the kind Namespace.
    namespace: u16,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    out: mpsc::Sender<Seen>,
    view: View,
    units: BTreeMap<Unit, State>,
    /// It is known which kinds there are.
    discovered: bool,
    /// Groups of which that is not known.
    unknown: Vec<String>,
    unreadable: BTreeSet<Key>,
    queue: VecDeque<Work>,
    /// Everything is to be told.
    everything: bool,
    /// Everything is too large for one document.
    split: bool,
    /// Whether the view was complete when everything was told last; none before the first time.
    told_complete: Option<bool>,
    /// The gateway has heard that the view is not complete, and has not been told everything since.
    known_partial: bool,
    last_everything: Instant,
    last_success: Instant,
    /// When the first of the changes that wait was seen.
    news_since: Option<Instant>,
    not_before: Instant,
    pauses: backon::ExponentialBackoff,
}

impl Agent {
    fn new(
        client: Client,
        kinds: Arc<[Kind]>,
        settings: Settings,
        metrics: Metrics,
        health: Health,
        out: mpsc::Sender<Seen>,
    ) -> Self {
        let now = Instant::now();
        let namespace = kinds.iter().position(|kind| kind.group.is_empty() && kind.kind == "Namespace");
        Self {
            client,
            namespace: namespace.and_then(|at| u16::try_from(at).ok()).unwrap_or(u16::MAX),
            kinds,
            metrics,
            health,
            out,
            view: View::new(settings.most_waiting),
            units: BTreeMap::new(),
            discovered: false,
            unknown: Vec::new(),
            unreadable: BTreeSet::new(),
            queue: VecDeque::new(),
            everything: true,
            split: false,
            told_complete: None,
            known_partial: false,
            last_everything: now,
            last_success: now,
            news_since: None,
            not_before: now,
            pauses: backoff(settings.retry),
            settings,
        }
    }

    /// Takes in what was seen.
    fn take(&mut self, seen: Seen) {
        let lane = match &seen {
            Seen::Object(..) => "object",
            Seen::Gone(..) => "gone",
            Seen::Listed(_) => "list",
            Seen::Unreadable(..) => "unreadable",
            Seen::Troubled(..) | Seen::NotServing(..) => "trouble",
            Seen::Serves(..) | Seen::Listing(_) | Seen::Going(_) => "",
        };
        if !lane.is_empty() {
            let lane = Lane { stage: "watch".into(), lane: lane.into() };
            self.metrics.received.get_or_create(&lane).inc();
        }
        match seen {
            Seen::Serves(served, unknown) => self.serves(served, unknown),
            Seen::NotServing(trouble, detail) => {
                tracing::warn!(code = trouble.code(), %detail, "the API server does not say what it serves");
                if !self.discovered {
                    self.health.failing("cluster", trouble.code());
                }
            }
            Seen::Listing(unit) => {
                if let Some(state) = self.units.get_mut(&unit) {
                    state.listing = Some(BTreeSet::new());
                }
            }
            Seen::Object(unit, object) => {
                if let Some(state) = self.units.get_mut(&unit) {
                    if let Some(seen) = &mut state.listing {
                        seen.insert(object.key.clone());
                    }
                    self.unreadable.remove(&object.key);
                    self.view.apply(object);
                }
            }
            Seen::Gone(unit, key) => {
                if self.units.contains_key(&unit) {
                    self.unreadable.remove(&key);
                    self.view.delete(&key);
                }
            }
            Seen::Unreadable(unit, key, detail) => {
                if self.units.contains_key(&unit) {
                    self.view.delete(&key);
                    if self.unreadable.insert(key) {
                        tracing::warn!(code = "object_unreadable", %detail, "an object is not told");
                    }
                }
            }
            Seen::Listed(unit) => self.listed(&unit),
            Seen::Troubled(unit, trouble, detail) => self.troubled(&unit, trouble, &detail),
            Seen::Going(unit) => {
                if let Some(state) = self.units.get_mut(&unit) {
                    (state.trouble, state.failures) = (None, 0);
                }
            }
        }
        if self.view.take_overflow() {
            tracing::warn!("too many changes wait: everything will be told again");
            self.everything = true;
        }
        if self.view.has_news() {
            self.news_since.get_or_insert_with(Instant::now);
        }
    }

    fn printed(&self, unit: &Unit) -> String {
        let kind = self.kinds.get(usize::from(unit.kind)).map(Kind::printed).unwrap_or_default();
        match &unit.namespace {
            Some(namespace) => format!("{kind} in {namespace}"),
            None => kind,
        }
    }

    /// Begins to watch what is there now, and ceases to watch what no longer is.
    fn serves(&mut self, served: Vec<Served>, unknown: Vec<String>) {
        let mut wanted: BTreeMap<Unit, Served> = BTreeMap::new();
        for one in served {
            if self.settings.namespaces.is_empty() {
                wanted.insert(Unit { kind: one.kind, namespace: None }, one);
            } else if one.namespaced || one.kind == self.namespace {
                for namespace in &self.settings.namespaces {
                    let unit = Unit { kind: one.kind, namespace: Some(namespace.as_str().into()) };
                    wanted.insert(unit, one.clone());
                }
            }
        }
        let stale: Vec<Unit> = self
            .units
            .iter()
            .filter(|(unit, state)| match wanted.get(*unit) {
                Some(served) => *served != state.served,
                // Of a group that does not answer, nothing is known to be gone.
                None => !self
                    .kinds
                    .get(usize::from(unit.kind))
                    .is_some_and(|kind| unknown.iter().any(|g| g == kind.group)),
            })
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in stale {
            self.leave(&unit, wanted.contains_key(&unit));
        }
        for (unit, served) in wanted {
            if self.units.contains_key(&unit) {
                continue;
            }
            let watch = Watch {
                client: self.client.clone(),
                kinds: Arc::clone(&self.kinds),
                served: served.clone(),
                unit: unit.clone(),
                pace: self.settings.pace.clone(),
                out: self.out.clone(),
            };
            let task = tokio::spawn(watch.run()).abort_handle();
            tracing::debug!(kind = self.printed(&unit), version = served.resource.api_version, "watching");
            let state = State {
                served,
                task,
                listing: None,
                listed: false,
                began: Instant::now(),
                trouble: None,
                failures: 0,
            };
            self.units.insert(unit, state);
        }
        if unknown != self.unknown && !unknown.is_empty() {
            let groups = unknown.join(", ");
            tracing::warn!(
                code = "cluster_unavailable",
                groups,
                "API groups do not answer: the view is not complete"
            );
        }
        self.unknown = unknown;
        self.discovered = true;
    }

    /// Ceases to watch. What it had is gone, unless another watch takes its place.
    fn leave(&mut self, unit: &Unit, replaced: bool) {
        if let Some(state) = self.units.remove(unit) {
            state.task.abort();
        }
        if !replaced {
            tracing::info!(kind = self.printed(unit), "no longer installed");
            self.view.retain(unit, &BTreeSet::new());
            self.unreadable.retain(|key| !unit.covers(key));
        }
    }

    fn listed(&mut self, unit: &Unit) {
        let Some(state) = self.units.get_mut(unit) else { return };
        (state.trouble, state.failures) = (None, 0);
        let Some(seen) = state.listing.take() else { return };
        if std::mem::replace(&mut state.listed, true) {
            // Whatever was missed meanwhile: all is told.
            self.everything = true;
        }
        self.view.retain(unit, &seen);
    }

    fn troubled(&mut self, unit: &Unit, trouble: Trouble, detail: &str) {
        let printed = self.printed(unit);
        let Some(state) = self.units.get_mut(unit) else { return };
        if trouble == Trouble::Gone {
            self.leave(unit, false);
            return;
        }
        // What was listed in part says nothing.
        state.listing = None;
        state.failures = state.failures.saturating_add(1);
        let since = match state.trouble {
            Some((known, since)) if known == trouble => since,
            _ => {
                let code = trouble.code();
                match trouble {
                    Trouble::Forbidden => tracing::warn!(
                        code,
                        kind = printed,
                        detail,
                        "may not be listed and watched: the view is not complete; grant list and watch"
                    ),
                    _ => tracing::warn!(
                        code,
                        kind = printed,
                        detail,
                        "cannot be listed or watched; tried again"
                    ),
                }
                Instant::now()
            }
        };
        state.trouble = Some((trouble, since));
    }

    /// Everything was listed that can be.
    fn is_settled(&self) -> bool {
        self.discovered && !self.units.is_empty() && self.units.values().all(State::is_settled)
    }

    /// Why the view is not complete, as a number.
    fn gaps(&self) -> usize {
        let units = self.units.values().filter(|state| state.is_gap(self.settings.patience)).count();
        units + self.unknown.len() + self.unreadable.len() + self.view.refused()
    }

    /// True where everything that the cluster has is told.
    fn is_complete(&self) -> bool {
        self.settings.namespaces.is_empty() && !self.split && self.gaps() == 0
    }

    /// True while every watch goes on.
    fn is_going(&self) -> bool {
        self.discovered
            && self.units.values().all(|state| matches!(state.trouble, None | Some((Trouble::Forbidden, _))))
    }

    /// When there may be something to do, if nothing happens.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + TICK;
        if self.not_before > now {
            return self.not_before.min(wake);
        }
        if self.told_complete.is_some() {
            wake = wake
                .min(self.last_success + self.settings.heartbeat)
                .min(self.last_everything + self.settings.resend);
            if let Some(since) = self.news_since {
                wake = wake.min(since + self.settings.gather);
            }
        }
        // What could be done was begun: what is over is waited for elsewhere.
        wake.max(now + Duration::from_millis(1))
    }

    /// Brings gauges and readiness up to date.
    fn report(&self) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.set_state("watch_objects", number(self.view.len()));
        self.metrics.set_state("watch_waiting", number(self.view.waiting()));
        self.metrics.set_state("watch_gaps", number(self.gaps()));
        self.metrics.set_state("watch_complete", i64::from(self.told_complete == Some(true)));
        if self.discovered {
            let troubled = self.units.iter().find_map(|(unit, state)| match state.trouble {
                Some((trouble, _)) if trouble != Trouble::Forbidden => Some((unit, trouble)),
                _ => None,
            });
            match troubled {
                Some((unit, trouble)) => {
                    self.health.failing("cluster", format!("{}: {}", trouble.code(), self.printed(unit)));
                }
                None if self.is_settled() => self.health.ready("cluster"),
                None => self.health.failing("cluster", "listing"),
            }
        }
    }
}
