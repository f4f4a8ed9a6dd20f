//! Progress: what a call tells while it runs.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::reporter::Reporter;
use crate::cancel::Cancel;
use crate::hub::FileEvent;
use crate::sync::lock;

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

impl Event {
    /// Whether nobody needs to hear of `earlier` any more once there is this.
    pub(super) fn outdates(&self, earlier: &Event) -> bool {
        match (self, earlier) {
            (Event::Embedding { .. }, Event::Embedding { .. })
            | (Event::File(FileEvent::ProgressTotal { .. }), Event::File(FileEvent::ProgressTotal { .. })) => true,
            (Event::File(FileEvent::Progress { file, .. }), Event::File(FileEvent::Progress { file: earlier, .. })) => {
                file == earlier
            }
            _ => false,
        }
    }
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

/// Where the events of a call go: in order, one at a time, all before the call's result unless it is cancelled. Called
/// on the engine's threads with nothing locked; it should not take long, because its thread has other work to do.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

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
    /// Lets `reporter` hear of everything until `stop` is raised. What it is to hear at once waits for
    /// [`Reporter::tell`], so that this may be called under a lock.
    pub(super) fn join(&self, stop: &Cancel, reporter: &Reporter) {
        let mut state = lock(&self.state);
        state.listeners.retain(|(stop, _)| !stop.is_cancelled());
        state.listeners.push((stop.clone(), reporter.clone()));
        let steps: Vec<Event> = state.steps.iter().cloned().map(Event::File).collect();
        steps.into_iter().chain(std::mem::take(&mut state.unheard)).for_each(|event| reporter.put(event));
    }

    pub(super) fn tell(&self, event: Event) {
        let listeners = {
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
            let count = if matches!(event, Event::Notice { .. }) { 1 } else { usize::MAX };
            let listeners: Vec<Reporter> =
                state.listeners.iter().map(|(_, reporter)| reporter.clone()).take(count).collect();
            // Under the lock, so that all hear of it in the same order, whichever threads tell.
            listeners.iter().for_each(|reporter| reporter.put(event.clone()));
            listeners
        };
        listeners.iter().for_each(Reporter::tell);
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
    fn what_is_newer_outdates_what_tells_of_the_same() {
        let file = |file: &str, loaded| {
            let (name, file, progress) = ("m".into(), file.into(), 0.0);
            let event = FileEvent::Progress {
                name,
                file,
                progress,
                loaded,
                total: 9,
                bytes_per_second: 1.0,
                eta_seconds: None,
            };
            Event::File(event)
        };
        assert!(embedding(2, 3).outdates(&embedding(1, 3)));
        assert!(file("a", 2).outdates(&file("a", 1)));
        assert!(!file("a", 2).outdates(&file("b", 1)));
        assert!(!file("a", 2).outdates(&embedding(1, 3)));
        let notice = Event::Notice { level: Level::Info, message: "n".into() };
        assert!(!notice.outdates(&notice));
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
        let join = |stop: &Cancel, reporter: &Reporter| {
            audience.join(stop, reporter);
            reporter.tell();
        };
        join(&stop, &gone);
        join(&Cancel::never(), &first);
        stop.cancel();
        let initiate = Event::File(FileEvent::Initiate { name: "m".into(), file: "f".into() });
        let notice = Event::Notice { level: Level::Info, message: "n".into() };
        audience.tell(initiate.clone());
        join(&Cancel::never(), &second);
        audience.tell(notice.clone());
        audience.tell(notice.clone());
        assert_eq!(*lock(&heard_first), [initiate.clone(), notice]);
        assert_eq!(*lock(&heard_by_gone), [early]);
        assert_eq!(*lock(&heard_second), [initiate]);
    }
}
