//! How far the files of a model are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::sync::lock;

/// Ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// The speed is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(5);

/// One step of a download, in the shape of transformers.js.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum FileEvent {
    /// A file is needed and not there.
    Initiate {
        /// Hub id of the model.
        name: String,
        /// Path in the repository.
        file: String,
    },
    /// Its transfer begins.
    Download {
        /// Hub id of the model.
        name: String,
        /// Path in the repository.
        file: String,
    },
    /// How far it is.
    Progress {
        /// Hub id of the model.
        name: String,
        /// Path in the repository.
        file: String,
        /// 0 to 100.
        progress: f64,
        /// Bytes that are there, what an earlier call fetched included.
        loaded: u64,
        /// Bytes of the file.
        total: u64,
        /// Over the last seconds.
        bytes_per_second: f64,
        /// At this speed.
        #[serde(skip_serializing_if = "Option::is_none")]
        eta_seconds: Option<f64>,
    },
    /// How far all files are that are known to be needed so far.
    ProgressTotal {
        /// Hub id of the model.
        name: String,
        /// 0 to 100.
        progress: f64,
        /// Bytes that are there.
        loaded: u64,
        /// Bytes of these files.
        total: u64,
        /// Over the last seconds.
        bytes_per_second: f64,
        /// At this speed.
        #[serde(skip_serializing_if = "Option::is_none")]
        eta_seconds: Option<f64>,
        /// Each file.
        files: BTreeMap<String, Loaded>,
    },
    /// It is verified and in its place.
    Done {
        /// Hub id of the model.
        name: String,
        /// Path in the repository.
        file: String,
    },
}

/// How much of a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Bytes that are there.
    pub loaded: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// Where the steps go. Called on the thread that downloads: it must not wait.
pub type OnFile = Arc<dyn Fn(FileEvent) + Send + Sync>;

/// Counts the bytes of all files of a download, and tells of them.
pub(super) struct Progress {
    name: String,
    target: OnFile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    speed: Speed,
    received: u64,
    last: Option<Instant>,
    /// The file that was told of last: the next one is another, if another has moved.
    told: String,
}

#[derive(Default)]
struct File {
    loaded: u64,
    total: u64,
    /// Came over the network by this call.
    received: u64,
    speed: Speed,
    begun: bool,
    changed: bool,
}

/// Bytes over the last seconds.
#[derive(Default)]
struct Speed {
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    fn note(&mut self, now: Instant, received: u64) {
        self.samples.push_back((now, received));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(then, _)| now - *then > WINDOW) {
            self.samples.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let (Some((first, from)), Some((last, to))) = (self.samples.front(), self.samples.back()) else { return 0.0 };
        let seconds = (*last - *first).as_secs_f64();
        if seconds > 0.0 { (to - from) as f64 / seconds } else { 0.0 }
    }
}

impl Progress {
    pub(super) fn new(name: &str, target: OnFile) -> Arc<Self> {
        Arc::new(Progress { name: name.to_owned(), target, state: Mutex::default() })
    }

    /// A file is needed.
    pub(super) fn initiate(&self, file: &str, total: u64) {
        lock(&self.state).files.insert(file.to_owned(), File { total, ..File::default() });
        self.tell(FileEvent::Initiate { name: self.name.clone(), file: file.to_owned() });
    }

    /// It is being fetched by this call.
    pub(super) fn begin(&self, file: &str) {
        let first = {
            let mut state = lock(&self.state);
            state.files.get_mut(file).is_some_and(|file| !std::mem::replace(&mut file.begun, true))
        };
        if first {
            self.tell(FileEvent::Download { name: self.name.clone(), file: file.to_owned() });
        }
    }

    /// So many bytes of it are there, of which `received` have just come over the network.
    pub(super) fn at(&self, file: &str, loaded: u64, received: u64) {
        let now = Instant::now();
        let events = {
            let mut state = lock(&self.state);
            state.received += received;
            if let Some(file) = state.files.get_mut(file) {
                file.loaded = loaded.min(file.total);
                file.received += received;
                file.changed = true;
            }
            if state.last.is_some_and(|last| now - last < INTERVAL) {
                return;
            }
            state.last = Some(now);
            self.measure(&mut state, now)
        };
        events.into_iter().for_each(|event| self.tell(event));
    }

    /// It is in its place.
    pub(super) fn done(&self, file: &str) {
        let last = {
            let mut state = lock(&self.state);
            let Some(found) = state.files.get_mut(file) else { return };
            found.loaded = found.total;
            found.changed = false;
            self.progress_of(file, found)
        };
        self.tell(last);
        self.tell(FileEvent::Done { name: self.name.clone(), file: file.to_owned() });
    }

    /// All that was needed is there.
    pub(super) fn finish(&self) {
        let total = {
            let mut state = lock(&self.state);
            let received = state.received;
            state.speed.note(Instant::now(), received);
            (!state.files.is_empty()).then(|| self.total_of(&state))
        };
        total.into_iter().for_each(|event| self.tell(event));
    }

    fn measure(&self, state: &mut State, now: Instant) -> Vec<FileEvent> {
        let received = state.received;
        state.speed.note(now, received);
        for file in state.files.values_mut().filter(|file| file.changed) {
            let received = file.received;
            file.speed.note(now, received);
        }
        // In turn, so that each file is heard of, however many there are.
        let changed = |(name, file): (&String, &File)| file.changed.then(|| name.clone());
        let after = state.files.iter().filter(|(name, _)| **name > state.told).find_map(changed);
        let next = after.or_else(|| state.files.iter().find_map(changed));
        let mut events = Vec::with_capacity(2);
        if let Some(name) = next {
            if let Some(file) = state.files.get_mut(&name) {
                file.changed = false;
                events.push(self.progress_of(&name, file));
            }
            state.told = name;
        }
        events.push(self.total_of(state));
        events
    }

    fn progress_of(&self, name: &str, file: &File) -> FileEvent {
        let speed = file.speed.per_second();
        FileEvent::Progress {
            name: self.name.clone(),
            file: name.to_owned(),
            progress: percent(file.loaded, file.total),
            loaded: file.loaded,
            total: file.total,
            bytes_per_second: speed,
            eta_seconds: eta(file.loaded, file.total, speed),
        }
    }

    fn total_of(&self, state: &State) -> FileEvent {
        let files: BTreeMap<String, Loaded> = state
            .files
            .iter()
            .map(|(name, file)| (name.clone(), Loaded { loaded: file.loaded, total: file.total }))
            .collect();
        let loaded = files.values().map(|file| file.loaded).sum();
        let total = files.values().map(|file| file.total).sum();
        let speed = state.speed.per_second();
        FileEvent::ProgressTotal {
            name: self.name.clone(),
            progress: percent(loaded, total),
            loaded,
            total,
            bytes_per_second: speed,
            eta_seconds: eta(loaded, total, speed),
            files,
        }
    }

    fn tell(&self, event: FileEvent) {
        (self.target)(event);
    }
}

fn percent(loaded: u64, total: u64) -> f64 {
    if total == 0 { 100.0 } else { 100.0 * loaded as f64 / total as f64 }
}

fn eta(loaded: u64, total: u64, per_second: f64) -> Option<f64> {
    match total.saturating_sub(loaded) {
        0 => Some(0.0),
        left => (per_second > 0.0).then(|| left as f64 / per_second),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_file_is_told_of_and_not_too_often() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&events);
        let progress = Progress::new("o/n", Arc::new(move |event| lock(&target).push(event)));
        for file in ["a", "b"] {
            progress.initiate(file, 1000);
            progress.begin(file);
            progress.begin(file);
        }
        for step in 1..=1000 {
            progress.at("a", step, 1);
            progress.at("b", step, 1);
        }
        std::thread::sleep(INTERVAL);
        progress.at("b", 1000, 0);
        progress.done("a");
        progress.done("b");
        progress.finish();
        let events = lock(&events);
        let count = |status: &str| {
            events.iter().filter(|event| serde_json::to_value(event).unwrap()["status"] == status).count()
        };
        assert_eq!((count("initiate"), count("download"), count("done")), (2, 2, 2));
        assert!(count("progress") < 10, "{}", count("progress"));
        let Some(FileEvent::ProgressTotal { progress, loaded, total, files, eta_seconds, .. }) = events.last() else {
            panic!("{:?}", events.last());
        };
        assert_eq!((*progress, *loaded, *total, files.len(), *eta_seconds), (100.0, 2000, 2000, 2, Some(0.0)));
        let told = |name: &str| {
            events.iter().any(|event| matches!(event, FileEvent::Progress { file, progress, .. } if file == name && *progress == 100.0))
        };
        assert!(told("a") && told("b"));
    }

    #[test]
    fn events_have_the_shape_of_transformers_js() {
        let event = FileEvent::Progress {
            name: "o/n".into(),
            file: "f".into(),
            progress: 50.0,
            loaded: 1,
            total: 2,
            bytes_per_second: 3.0,
            eta_seconds: None,
        };
        let expected = r#"{"status":"progress","name":"o/n","file":"f","progress":50.0,"loaded":1,"total":2,"bytesPerSecond":3.0}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), expected);
    }
}
