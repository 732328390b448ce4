//! What is told when: everything once all is listed, then changes, and everything again where changes do not do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use kube::Client;
use plimsoll_telemetry::metrics::{Lane, Outcome};
use plimsoll_telemetry::{Health, Metrics};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kinds::{self, Kind};
use crate::reduce::Key;
use crate::source::{Pace, Seen, Served, Trouble, Watch, discover};
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

fn pauses(settings: &Settings) -> backon::ExponentialBackoff {
    let (first, longest) = settings.retry;
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
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
            pauses: pauses(&settings),
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

    /// The next request; none where nothing is to be told now.
    fn next(&mut self) -> Option<(Work, Mode, Vec<u8>)> {
        let now = Instant::now();
        if now < self.not_before {
            return None;
        }
        let first = self.told_complete.is_none();
        if self.queue.is_empty() {
            let due = now >= self.last_everything + self.settings.resend;
            self.everything |= !first && (due || self.told_complete != Some(self.is_complete()));
            if self.everything && self.is_settled() {
                self.everything = false;
                self.plan_everything();
            } else if first {
                // The first word is everything.
                return None;
            }
        }
        if self.queue.is_empty()
            && self.view.has_news()
            && self.news_since.is_none_or(|since| now >= since + self.settings.gather)
        {
            self.news_since = None;
            // What comes in the place of something is told before that is gone.
            self.queue.extend(
                self.view
                    .take_changed(self.settings.part.min(self.settings.max_body))
                    .into_iter()
                    .map(Work::Changed),
            );
            self.queue.extend(self.view.gone(DELETIONS).into_iter().map(Work::Gone));
        }
        while let Some(work) = self.queue.pop_front() {
            if let Some((mode, document)) = self.document(&work) {
                return Some((work, mode, document));
            }
        }
        if !first && now >= self.last_success + self.settings.heartbeat && self.is_going() {
            let kinds = Arc::clone(&self.kinds);
            let quiet = |kind: u16| kinds.get(usize::from(kind)).is_some_and(|kind| !kind.runs());
            let namespace = self.namespace;
            let key = self.view.first(|kind| kind == namespace).or_else(|| self.view.first(quiet));
            let key = key.or_else(|| self.view.first(|_| true))?;
            let document = self.view.document(std::slice::from_ref(&key))?;
            return Some((Work::Beat(key), Mode::Apply, document));
        }
        None
    }

    /// Everything, in one document where it may be one.
    fn plan_everything(&mut self) {
        self.news_since = None;
        self.split |= self.view.size() > self.settings.max_body;
        if !self.settings.namespaces.is_empty() {
            let names = self.settings.namespaces.iter();
            self.queue.extend(names.map(|name| Work::Everything(Some(name.as_str().into()))));
        } else if self.split {
            let (namespaces, outside) = self.view.namespaces(self.namespace, self.settings.part);
            self.queue.extend(outside.into_iter().map(Work::Changed));
            self.queue.extend(namespaces.into_iter().map(|name| Work::Everything(Some(name))));
        } else {
            self.queue.push_back(Work::Everything(None));
        }
    }

    fn document(&mut self, work: &Work) -> Option<(Mode, Vec<u8>)> {
        Some(match work {
            Work::Everything(namespace) => {
                (Mode::Replace { namespace: namespace.clone() }, self.view.everything(namespace.as_deref()))
            }
            Work::Changed(keys) => (Mode::Apply, self.view.document(keys)?),
            Work::Gone(keys) => (Mode::Delete, self.view.document_of_gone(keys)?),
            Work::Beat(key) => (Mode::Apply, self.view.document(std::slice::from_ref(key))?),
        })
    }

    /// Takes in how a request ended.
    fn told(&mut self, work: Work, complete: bool, result: Result<(), TellError>) {
        let now = Instant::now();
        let outcome = match &result {
            Ok(()) => "ok",
            Err(error) => error.code(),
        };
        let outcome = Outcome { stage: "watch".into(), outcome: outcome.into() };
        self.metrics.outcome.get_or_create(&outcome).inc();
        match result {
            Ok(()) => self.accepted(work, complete, now),
            Err(error) => self.not_accepted(work, &error, now),
        }
    }

    fn accepted(&mut self, work: Work, complete: bool, now: Instant) {
        self.last_success = now;
        self.known_partial = !complete || self.known_partial && !matches!(work, Work::Everything(None));
        self.pauses = pauses(&self.settings);
        let seconds =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.metrics.set_state("watch_told_timestamp_seconds", i64::try_from(seconds).unwrap_or(i64::MAX));
        match work {
            Work::Gone(keys) => self.view.told_gone(&keys),
            Work::Everything(_) if !self.queue.iter().any(|work| matches!(work, Work::Everything(_))) => {
                let objects = self.view.len();
                tracing::info!(objects, complete, "the gateway has everything");
                self.told_complete = Some(complete);
                self.last_everything = now;
                self.health.ready("gateway");
            }
            Work::Everything(_) | Work::Changed(_) | Work::Beat(_) => {}
        }
        if self.told_complete.is_some() {
            self.health.ready("gateway");
        }
    }

    fn not_accepted(&mut self, work: Work, error: &TellError, now: Instant) {
        let objects_wrong = matches!(error, TellError::Refused { code, .. } if matches!(code.as_str(), "invalid_object" | "invalid_yaml"))
            && self.view.refused() < MOST_REFUSED;
        match (error, work) {
            (TellError::TooLarge, Work::Everything(None)) => {
                tracing::warn!(
                    code = error.code(),
                    bytes = self.view.size(),
                    "the gateway does not take everything at once: it is told by namespaces, and the view is not complete; \
                     raise limits.deploy_body and --max-body"
                );
                self.split = true;
                self.everything = true;
            }
            (TellError::TooLarge, Work::Everything(Some(name))) => {
                tracing::warn!(code = error.code(), namespace = &*name, "a namespace is told in parts");
                self.in_parts(&name);
            }
            (TellError::Refused { detail, .. }, Work::Everything(namespace)) if objects_wrong => {
                tracing::warn!(
                    code = error.code(),
                    detail,
                    "the gateway refuses an object; it is looked for"
                );
                // What is refused is found part by part, then all but that is told.
                let whole = self.view.in_parts(self.settings.part);
                self.queue.extend(whole.into_iter().map(Work::Changed));
                self.queue.push_back(Work::Everything(namespace));
                self.pause(now, None);
            }
            (TellError::TooLarge, work) => self.halve(work, error),
            (TellError::Refused { .. }, work) if objects_wrong => self.halve(work, error),
            (error, work) => {
                let after = match error {
                    TellError::Busy { after, .. } => *after,
                    _ => None,
                };
                let pause = self.pause(now, after);
                tracing::warn!(code = error.code(), %error, pause = ?pause, "not told; tried again");
                self.health.failing("gateway", error.code());
                match work {
                    // Made anew when it is told.
                    Work::Everything(None) => self.everything = true,
                    Work::Beat(_) => {}
                    work => self.queue.push_front(work),
                }
            }
        }
    }

    fn pause(&mut self, now: Instant, after: Option<Duration>) -> Duration {
        let pause = self.pauses.next().unwrap_or(self.settings.retry.1);
        let pause = after.map_or(pause, |after| after.max(pause));
        self.not_before = now + pause;
        pause
    }

    /// A namespace that is too large for one document: what it has is told, what is gone was or will be.
    fn in_parts(&mut self, name: &str) {
        let parts = self.view.in_parts(self.settings.part);
        let inside = |key: &Key| *key.namespace == *name || key.namespace.is_empty() && *key.name == *name;
        for part in parts.into_iter().rev() {
            let keys: Vec<Key> = part.into_iter().filter(inside).collect();
            if !keys.is_empty() {
                self.queue.push_front(Work::Changed(keys));
            }
        }
        // The last word of a telling of everything is one of these.
        if !self.queue.iter().any(|work| matches!(work, Work::Everything(_))) {
            self.told_complete = Some(false);
            self.last_everything = Instant::now();
        }
    }

    /// Tries the halves of what was too large or refused; what is alone is left out.
    fn halve(&mut self, work: Work, error: &TellError) {
        match work {
            Work::Changed(mut keys) | Work::Gone(mut keys) if keys.len() <= 1 => {
                let Some(key) = keys.pop() else { return };
                let kind = self.kinds.get(usize::from(key.kind)).map(Kind::printed).unwrap_or_default();
                tracing::warn!(
                    code = error.code(),
                    kind,
                    namespace = &*key.namespace,
                    name = &*key.name,
                    %error,
                    "an object is left out until it changes"
                );
                self.view.told_gone(std::slice::from_ref(&key));
                self.view.refuse(key);
            }
            Work::Changed(mut keys) => {
                let rest = keys.split_off(keys.len() / 2);
                self.queue.push_front(Work::Changed(rest));
                self.queue.push_front(Work::Changed(keys));
            }
            Work::Gone(mut keys) => {
                let rest = keys.split_off(keys.len() / 2);
                self.queue.push_front(Work::Gone(rest));
                self.queue.push_front(Work::Gone(keys));
            }
            Work::Everything(_) | Work::Beat(_) => {}
        }
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
