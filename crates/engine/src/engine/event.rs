//! Progress: what a call tells while it runs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::hub::FileEvent;
use crate::sync::{catch, lock};

/// Ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// One step of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Something that belongs into a log, not into a progress bar: the licence of a model that is being
    /// downloaded, a hub that does not answer. Told to one of the calls that it concerns.
    Notice {
        /// How serious it is.
        level: Level,
        /// For people.
        message: String,
    },
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
    /// A file of the model is being fetched, or hashed again.
    #[serde(untagged)]
    File(FileEvent),
}

/// How serious a [`Event::Notice`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something to act on.
    Warn,
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

    /// The same as a function.
    pub(super) fn sink(&self) -> OnEvent {
        let reporter = self.clone();
        Arc::new(move |event| reporter.send(event))
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

/// All who wait for the same download. Whoever comes later is told what has happened so far.
#[derive(Default)]
pub(super) struct Audience {
    state: Mutex<AudienceState>,
}

#[derive(Default)]
struct AudienceState {
    listeners: Vec<(Cancel, Reporter)>,
    /// Files that were begun and those that are done, in order.
    steps: Vec<FileEvent>,
    notices: Vec<Event>,
    /// Notices that came before anybody listened.
    unheard: Vec<Event>,
}

impl Audience {
    /// Tells `reporter` of everything until `stop` is raised.
    pub(super) fn join(&self, stop: &Cancel, reporter: &Reporter) {
        let (steps, unheard) = {
            let mut state = lock(&self.state);
            state.listeners.retain(|(stop, _)| !stop.is_cancelled());
            state.listeners.push((stop.clone(), reporter.clone()));
            (state.steps.clone(), std::mem::take(&mut state.unheard))
        };
        steps.into_iter().map(Event::File).chain(unheard).for_each(|event| reporter.send(event));
    }

    pub(super) fn tell(&self, event: Event) {
        let listeners: Vec<Reporter> = {
            let mut state = lock(&self.state);
            state.listeners.retain(|(stop, _)| !stop.is_cancelled());
            match &event {
                Event::File(FileEvent::Progress { .. } | FileEvent::ProgressTotal { .. }) => {}
                Event::File(step) => state.steps.push(step.clone()),
                Event::Notice { .. } => {
                    // Once, however many wait.
                    if state.notices.contains(&event) {
                        return;
                    }
                    state.notices.push(event.clone());
                    if state.listeners.is_empty() {
                        state.unheard.push(event);
                        return;
                    }
                }
                _ => {}
            }
            let mut listeners = state.listeners.iter().map(|(_, reporter)| reporter.clone());
            if matches!(event, Event::Notice { .. }) {
                listeners.next().into_iter().collect()
            } else {
                listeners.collect()
            }
        };
        for reporter in listeners {
            reporter.send(event.clone());
        }
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
        let notice = Event::Notice { level: Level::Warn, message: "w".into() };
        assert_eq!(json(&notice), r#"{"status":"notice","level":"warn","message":"w"}"#);
        let file = Event::File(FileEvent::Done { name: "m".into(), file: "f".into() });
        assert_eq!(json(&file), r#"{"status":"done","name":"m","file":"f"}"#);
        let expected = r#"{"status":"embedding","done":1,"total":3,"tokensPerSecond":1.0,"etaSeconds":2.0}"#;
        assert_eq!(json(&embedding(1, 3)), expected);
    }

    #[test]
    fn who_comes_late_is_told_what_happened_and_a_notice_goes_to_one() {
        let audience = Audience::default();
        let early = Event::Notice { level: Level::Warn, message: "before anybody came".into() };
        audience.tell(early.clone());
        let ((first, heard_first), (second, heard_second), (gone, heard_by_gone)) = (collect(), collect(), collect());
        let stop = Cancel::new();
        audience.join(&stop, &gone);
        audience.join(&Cancel::never(), &first);
        stop.cancel();
        let initiate = Event::File(FileEvent::Initiate { name: "m".into(), file: "f".into() });
        let notice = Event::Notice { level: Level::Info, message: "n".into() };
        audience.tell(initiate.clone());
        audience.join(&Cancel::never(), &second);
        audience.tell(notice.clone());
        audience.tell(notice.clone());
        assert_eq!(*lock(&heard_first), [initiate.clone(), notice]);
        assert_eq!(*lock(&heard_by_gone), [early]);
        assert_eq!(*lock(&heard_second), [initiate]);
    }
}
