//! Verdicts on disk, so that a program that starts often does not start a child each time.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Toolkit;
use super::search::Found;
use super::verdict::Verdict;

/// Changes with what [`Verdict`] holds.
const VERSION: u32 = 1;
/// Machines that share a home folder, and values of `CUDA_VISIBLE_DEVICES`.
const MAX_ENTRIES: usize = 16;
/// How long a verdict holds that may change by itself.
const PASSING_FOR: Duration = Duration::from_secs(600);

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    version: u32,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    /// Seconds since 1970.
    at: u64,
    verdict: Verdict,
}

/// What a verdict depends on: the files with their times and sizes, the driver's version, the cards on the bus, which
/// of them may be seen, and what this build needs.
pub(super) fn key(found: &Found, toolkit: Toolkit, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&toolkit.number().to_string());
    for candidate in found.all() {
        add(&candidate.path.to_string_lossy());
        let data = std::fs::metadata(&candidate.path).ok();
        let time = data.as_ref().and_then(|data| data.modified().ok()).map(since_1970);
        add(&format!("{:?} {:?}", data.map(|data| data.len()), time.map(|time| time.as_nanos())));
    }
    for attempt in &found.unfit {
        add(&attempt.path.to_string_lossy());
    }
    // Of the kernel's part of the driver, which may not fit to the library. Linux only; absent in WSL.
    add(&std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default());
    let cards = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten();
    let mut cards: Vec<String> = cards.filter_map(|card| card.ok()?.file_name().into_string().ok()).collect();
    cards.sort();
    add(&cards.join(" "));
    for name in ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"] {
        add(&env(name).unwrap_or_default());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn file(home: &Path) -> PathBuf {
    home.join("devices.json")
}

/// An unreadable file is an empty one: it only saves time.
fn load(home: &Path) -> File {
    let read = std::fs::read(file(home)).ok().and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
    read.filter(|file| file.version == VERSION).unwrap_or_default()
}

/// The verdict for these files, if it was found before.
pub(super) fn read(home: &Path, key: &str, now: SystemTime) -> Option<Verdict> {
    let entry = load(home).entries.into_iter().find(|entry| entry.key == key)?;
    let age = since_1970(now).checked_sub(Duration::from_secs(entry.at));
    let holds = !entry.verdict.passing || age.is_some_and(|age| age < PASSING_FOR);
    holds.then_some(entry.verdict)
}

/// Keeps a verdict. A failure costs the next program a moment, and is no error.
pub(super) fn write(home: &Path, key: &str, verdict: &Verdict, now: SystemTime) {
    let mut file_now = load(home);
    file_now.version = VERSION;
    file_now.entries.retain(|entry| entry.key != key);
    let entry = Entry { key: key.to_owned(), at: since_1970(now).as_secs(), verdict: verdict.clone() };
    file_now.entries.insert(0, entry);
    file_now.entries.truncate(MAX_ENTRIES);
    let Ok(bytes) = serde_json::to_vec_pretty(&file_now) else { return };
    let fresh = home.join(format!(".devices-{}.json", std::process::id()));
    let written = std::fs::create_dir_all(home)
        .and_then(|()| std::fs::write(&fresh, bytes))
        .and_then(|()| std::fs::rename(&fresh, file(home)));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::search::Candidate;
    use super::*;

    const TOOLKIT: Toolkit = Toolkit { major: 12, minor: 4 };

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_verdict_is_found_again_until_it_passes() {
        let home = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        assert_eq!(read(home.path(), "a", now), None);
        let good = Verdict { driver_cuda: 12040, ..Verdict::default() };
        let passing = Verdict { passing: true, ..Verdict::default() };
        write(home.path(), "a", &good, now);
        write(home.path(), "b", &passing, now);
        let later = now + PASSING_FOR + Duration::from_secs(2);
        assert_eq!(read(home.path(), "a", later), Some(good));
        assert_eq!(read(home.path(), "b", now), Some(passing));
        assert_eq!(read(home.path(), "b", later), None);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left");
        for i in 0..MAX_ENTRIES {
            write(home.path(), &i.to_string(), &Verdict::default(), now);
        }
        assert_eq!(read(home.path(), "a", now), None, "the oldest goes");
        std::fs::write(file(home.path()), "{").unwrap();
        assert_eq!(read(home.path(), "0", now), None);
    }

    #[test]
    fn the_key_follows_the_files_and_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libcuda.so.1");
        std::fs::write(&path, "a").unwrap();
        let driver = vec![Candidate { path: path.clone(), origin: String::new() }];
        let found = Found { driver, ..Found::default() };
        let first = key(&found, TOOLKIT, &none);
        assert_eq!(key(&found, TOOLKIT, &none), first);
        std::fs::write(&path, "ab").unwrap();
        let second = key(&found, TOOLKIT, &none);
        assert_ne!(second, first);
        let hidden = |name: &str| (name == "CUDA_VISIBLE_DEVICES").then(|| "1".to_owned());
        assert_ne!(key(&found, TOOLKIT, &hidden), second);
        assert_ne!(key(&found, Toolkit { major: 13, minor: 0 }, &none), second);
    }
}
