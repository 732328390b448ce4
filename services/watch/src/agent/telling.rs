//! Requests to the gateway: what the next one says, and what follows from its answer.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_telemetry::metrics::Outcome;
use tokio::time::Instant;

use super::{Agent, DELETIONS, MOST_REFUSED, Work};
use crate::kinds::Kind;
use crate::source::backoff;
use crate::tell::{Mode, TellError};

impl Agent {
    /// The next request; none where nothing is to be told now.
    pub(super) fn next(&mut self) -> Option<(Work, Mode, Vec<u8>)> {
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
            let work = Work::Beat(key);
            let (mode, document) = self.document(&work)?;
            return Some((work, mode, document));
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
    pub(super) fn told(&mut self, work: Work, complete: bool, result: Result<(), TellError>) {
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
        self.pauses = backoff(self.settings.retry);
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
                let whole = self.view.in_parts(None, self.settings.part);
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
        for part in self.view.in_parts(Some(name), self.settings.part).into_iter().rev() {
            self.queue.push_front(Work::Changed(part));
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
}
