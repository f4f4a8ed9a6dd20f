//! Progress: what a call tells while it runs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::sync::{catch, lock};

/// Ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// One step of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The call waits for a model that is being loaded.
    Loading {
        /// The model, as it was resolved.
        model: String,
    },
    /// The model is loaded.
    Ready {
        /// The model, as it was resolved.
        model: String,
        /// Where it runs.
        device: String,
    },
    /// Texts are computed.
    Embedding {
        /// Texts that are done.
        done: usize,
        /// Texts of the call.
        total: usize,
        /// Since the call's first batch began.
        tokens_per_second: f64,
        /// What the rest will take at this speed.
        eta_seconds: f64,
    },
}

/// Where the events of a call go. Called on the engine's threads: it must not wait.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// Passes events on, at most ten a second of `embedding`; the others come once a call anyway.
#[derive(Clone, Default)]
pub(super) struct Reporter {
    target: Option<(OnEvent, Arc<Mutex<Option<Instant>>>)>,
}

impl Reporter {
    pub(super) fn new(target: Option<OnEvent>) -> Self {
        Reporter { target: target.map(|target| (target, Arc::default())) }
    }

    pub(super) fn send(&self, event: Event) {
        let Some((target, last)) = &self.target else { return };
        if let Event::Embedding { done, total, .. } = event {
            let mut last = lock(last);
            // The last one is always told, or a progress bar would stop short of its end.
            if done < total && last.is_some_and(|last| last.elapsed() < INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
        }
        // What a listener does wrong is no failure of the call.
        let _ = catch("telling progress", || {
            target(event);
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn embedding(done: usize, total: usize) -> Event {
        Event::Embedding { done, total, tokens_per_second: 1.0, eta_seconds: 2.0 }
    }

    fn collect() -> (Reporter, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&events);
        (Reporter::new(Some(Arc::new(move |event| lock(&target).push(event)))), events)
    }

    #[test]
    fn events_are_throttled_but_for_the_last() {
        let (reporter, events) = collect();
        for done in 1..=1000 {
            reporter.send(embedding(done, 1000));
        }
        let events = lock(&events);
        assert!(events.len() >= 2 && events.len() <= 5, "{}", events.len());
        assert_eq!(*events.first().unwrap(), embedding(1, 1000));
        assert_eq!(*events.last().unwrap(), embedding(1000, 1000));
    }

    #[test]
    fn a_listener_that_panics_is_no_failure() {
        Reporter::new(Some(Arc::new(|_| panic!("listener")))).send(embedding(1, 1));
    }

    #[test]
    fn events_have_the_shape_of_the_public_api() {
        let json = |event: &Event| serde_json::to_string(event).unwrap();
        assert_eq!(json(&Event::Loading { model: "m".into() }), r#"{"status":"loading","model":"m"}"#);
        let ready = Event::Ready { model: "m".into(), device: "cpu".into() };
        assert_eq!(json(&ready), r#"{"status":"ready","model":"m","device":"cpu"}"#);
        let expected = r#"{"status":"embedding","done":1,"total":3,"tokensPerSecond":1.0,"etaSeconds":2.0}"#;
        assert_eq!(json(&embedding(1, 3)), expected);
    }
}
