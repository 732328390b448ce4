//! A stage and a fold whose work is whatever a test says; shared with the worker that tests kill.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plimsoll_bus::claims::WorkKey;
use plimsoll_bus::fold::{Fold, LogEvent, Parts, Publication};
use plimsoll_bus::subjects::Lane;
use plimsoll_bus::{Bus, Cx, Emit, Failure, Guard, Limits, Outgoing, Settings, Source, Stage};
use plimsoll_telemetry::{Health, Metrics};

pub type Done = Pin<Box<dyn Future<Output = Result<Vec<Outgoing>, Failure>> + Send>>;

/// Takes jobs whose payload is their identity; `bad…` does not decode and `decode-panic…` panics.
pub struct Toy {
    pub act: Arc<dyn Fn(Cx, String) -> Done + Send + Sync>,
    pub limits: Limits,
    pub lanes: Vec<Lane>,
}

pub struct Out(Vec<Outgoing>);

impl Emit for Out {
    fn messages(&self, _lane: Lane) -> Vec<Outgoing> {
        self.0.clone()
    }
}

impl Toy {
    pub fn new<F>(limits: Limits, act: impl Fn(Cx, String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Outgoing>, Failure>> + Send + 'static,
    {
        let act = Arc::new(move |cx: Cx, input: String| -> Done { Box::pin(act(cx, input)) });
        Self { act, limits, lanes: vec![Lane::Hot, Lane::Bulk, Lane::Hint] }
    }
}

/// Short limits for tests.
pub fn limits(guard: Guard) -> Limits {
    Limits { slots: 4, deadline: Duration::from_secs(60), stall: Duration::from_secs(60), attempts: 4, guard }
}

/// What a job says when it is done.
pub fn fact(text: impl Into<String>) -> Outgoing {
    Outgoing { subject: "facts.toy".into(), payload: text.into().into_bytes() }
}

#[async_trait]
impl Stage for Toy {
    const NAME: &'static str = "toy";
    const REVISION: u32 = 1;
    type In = String;
    type Out = Out;

    fn sources(&self) -> Vec<Source> {
        self.lanes.iter().map(|&lane| Source::jobs("toy", lane)).collect()
    }

    fn decode(&self, _subject: &str, payload: &[u8]) -> Result<String, String> {
        let text = String::from_utf8(payload.to_vec()).map_err(|e| e.to_string())?;
        assert!(!text.starts_with("decode-panic"), "as asked");
        if text.starts_with("bad") { Err(format!("{text}\r\nis bad: é")) } else { Ok(text) }
    }

    fn key(&self, input: &String) -> WorkKey {
        WorkKey::of(&["toy", "1", input])
    }

    fn limits(&self) -> Limits {
        self.limits.clone()
    }

    async fn run(&self, cx: &Cx, input: &String) -> Result<Out, Failure> {
        (self.act)(cx.clone(), input.clone()).await.map(Out)
    }

    async fn failed(&self, _cx: &Cx, input: &String, code: &str, _detail: &str) -> Option<Out> {
        assert!(!input.contains("failed-panic"), "as asked");
        Some(Out(vec![fact(format!("failed {input} {code}"))]))
    }
}

/// Appends the text of each event to its state, and says what was added.
pub struct Tape;

#[async_trait]
impl Fold for Tape {
    const NAME: &'static str = "tape";
    const STREAM: &'static str = "EVENTS";
    const SUBJECTS: &'static str = "events.cluster.*";
    type State = Vec<String>;

    async fn load(
        &self,
        _key: &str,
        checkpoint: Option<Bytes>,
        _beyond: bool,
    ) -> Result<Vec<String>, String> {
        let text = String::from_utf8(checkpoint.unwrap_or_default().to_vec()).map_err(|e| e.to_string())?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn save(&self, state: &mut Vec<String>) -> Result<Vec<u8>, String> {
        Ok(state.join("\n").into_bytes())
    }

    async fn apply(&self, state: &mut Vec<String>, event: &LogEvent) -> Result<(), String> {
        let text = String::from_utf8_lossy(&event.payload).into_owned();
        state.push(text.clone());
        // After the change, so that a failure that does not start over would be seen.
        assert!(!text.starts_with("panic"), "as asked");
        if text.starts_with("bad") { Err("as asked".into()) } else { Ok(()) }
    }

    async fn settle(&self, state: &mut Vec<String>, publication: &Publication) -> Vec<Outgoing> {
        let text = format!("{} {} {}", publication.base_seq, publication.target_seq, state.join(","));
        vec![Outgoing { subject: "facts.tape".into(), payload: text.into_bytes() }]
    }
}

/// Settings with short waits.
pub fn settings(url: &str, name: &str, ack_wait: Duration) -> Settings {
    Settings {
        ack_wait,
        retry_step: Duration::from_millis(20),
        longest_nak: Duration::from_secs(2),
        queue_bytes: 64 << 20,
        ..Settings::new(url, name)
    }
}

pub async fn connect(settings: Settings) -> Bus {
    Bus::connect(settings, Metrics::default(), Health::default()).await.unwrap()
}

/// Quiet after which a ledger's events are due.
pub const QUIET_MS: u64 = 400;

/// Keeps the texts of its events, which are `parts:text` with `*` for all parts, and says which are new.
pub struct Ledger;

#[derive(Default)]
pub struct Entries {
    pub told: Vec<String>,
    pub new: Vec<String>,
    pub beyond: bool,
}

#[async_trait]
impl Fold for Ledger {
    const NAME: &'static str = "ledger";
    const STREAM: &'static str = "EVENTS";
    const SUBJECTS: &'static str = "events.cluster.*";
    type State = Entries;

    fn parts(&self, payload: &[u8]) -> Parts {
        let text = String::from_utf8_lossy(payload);
        match text.split_once(':') {
            Some((parts, _)) if parts != "*" => Parts::Of(parts.split(',').map(str::to_owned).collect()),
            _ => Parts::All,
        }
    }

    async fn load(&self, _key: &str, checkpoint: Option<Bytes>, beyond: bool) -> Result<Entries, String> {
        let text = String::from_utf8(checkpoint.unwrap_or_default().to_vec()).map_err(|e| e.to_string())?;
        Ok(Entries { told: text.lines().map(str::to_owned).collect(), new: Vec::new(), beyond })
    }

    async fn save(&self, state: &mut Entries) -> Result<Vec<u8>, String> {
        Ok(state.told.join("\n").into_bytes())
    }

    async fn apply(&self, state: &mut Entries, event: &LogEvent) -> Result<(), String> {
        state.new.push(String::from_utf8_lossy(&event.payload).into_owned());
        Ok(())
    }

    async fn settle(&self, state: &mut Entries, publication: &Publication) -> Vec<Outgoing> {
        let Publication { base_seq, target_seq, through_seq, number, .. } = publication;
        let new = std::mem::take(&mut state.new);
        state.told.extend(new.iter().cloned());
        let (what, said) =
            if std::mem::take(&mut state.beyond) { ("all", &state.told) } else { ("more", &new) };
        let text = format!("{number} {base_seq} {target_seq} {through_seq} {what} {}", said.join(" "));
        vec![Outgoing { subject: "facts.ledger".into(), payload: text.into_bytes() }]
    }
}
