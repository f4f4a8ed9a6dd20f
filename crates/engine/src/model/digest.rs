//! SHA-256 of files, remembered, so that gigabytes of weights are read once.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Digests of files by canonical path, in `<home>/digests.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    #[serde(default)]
    files: BTreeMap<String, Entry>,
}

/// A digest holds as long as nothing of this changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    size: u64,
    /// Nanoseconds since 1970.
    modified: String,
    inode: u64,
    sha256: String,
}

/// More are not kept, so that the file stays small whatever happens.
const MAX_ENTRIES: usize = 4096;

/// SHA-256 of each file as lower-case hex, in order; several files are read in parallel.
///
/// A file of the hub cache is a link to a blob that is named by its SHA-256: that name is believed, as
/// it was when the blob was fetched. Other digests are remembered under `home` by path, size, time and
/// inode; that this fails is no error.
///
/// # Errors
/// `BAD_CHECKPOINT` for a file that cannot be read; `ABORTED`.
pub(super) fn sha256_of(files: &[PathBuf], home: Option<&Path>, cancel: &Cancel) -> Result<Vec<String>> {
    let memory_file = home.map(|home| home.join("digests.json"));
    let memory = memory_file.as_deref().map(load).unwrap_or_default();
    let digests: Vec<(String, Option<(String, Entry)>)> =
        files.par_iter().map(|file| digest(file, &memory, cancel)).collect::<Result<_>>()?;
    let fresh: Vec<(String, Entry)> = digests.iter().filter_map(|(_, fresh)| fresh.clone()).collect();
    if let (Some(memory_file), false) = (memory_file, fresh.is_empty()) {
        remember(&memory_file, fresh);
    }
    Ok(digests.into_iter().map(|(digest, _)| digest).collect())
}

/// The digest of a file, and what to remember if it had to be read.
fn digest(file: &Path, memory: &Memory, cancel: &Cancel) -> Result<(String, Option<(String, Entry)>)> {
    if let Some(name) = blob_name(file) {
        return Ok((name, None));
    }
    let unreadable = |error: std::io::Error| Error::bad_checkpoint(file, format!("cannot be read: {error}."));
    let path = fs::canonicalize(file).map_err(unreadable)?;
    let opened = File::open(&path).map_err(unreadable)?;
    let before = opened.metadata().map_err(unreadable)?;
    let key = path.to_str().map(str::to_owned);
    if let Some(entry) = key.as_ref().and_then(|key| memory.files.get(key))
        && *entry == entry_of(&before, entry.sha256.clone())
    {
        return Ok((entry.sha256.clone(), None));
    }
    let sha256 = hash(opened, cancel).map_err(|error| error.unwrap_or_else(Error::aborted, unreadable))?;
    let fresh = key.filter(|_| is_settled(&before)).map(|key| (key, entry_of(&before, sha256.clone())));
    Ok((sha256, fresh))
}

enum Stopped {
    Cancelled,
    Io(std::io::Error),
}

impl Stopped {
    fn unwrap_or_else(self, cancelled: fn() -> Error, io: impl FnOnce(std::io::Error) -> Error) -> Error {
        match self {
            Stopped::Cancelled => cancelled(),
            Stopped::Io(error) => io(error),
        }
    }
}

fn hash(mut file: File, cancel: &Cancel) -> Result<String, Stopped> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancel.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Io(error)),
        }
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 that names the blob behind a link of the hub cache (`snapshots/<commit>/x` ->
/// `blobs/<sha256>`). Small files have a git hash of 40 digits there, which is no digest of the file.
fn blob_name(file: &Path) -> Option<String> {
    let target = fs::read_link(file).ok()?;
    let name = target.file_name()?.to_str()?;
    let in_blobs = target.parent()?.file_name()? == "blobs";
    let is_sha256 = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (in_blobs && is_sha256).then(|| name.to_owned())
}

fn entry_of(meta: &Metadata, sha256: String) -> Entry {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(meta);
    #[cfg(not(unix))]
    let inode = 0;
    Entry { size: meta.len(), modified: modified.as_nanos().to_string(), inode, sha256 }
}

/// A file that was written a moment ago could be written again within the same tick of its clock.
fn is_settled(meta: &Metadata) -> bool {
    let age = meta.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > Duration::from_secs(3))
}

fn load(memory_file: &Path) -> Memory {
    let text = fs::read_to_string(memory_file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Adds entries to what stands in the file by now, and puts the whole in its place at once.
fn remember(memory_file: &Path, fresh: Vec<(String, Entry)>) {
    let mut memory = load(memory_file);
    memory.files.retain(|path, _| Path::new(path).exists());
    while memory.files.len() + fresh.len() > MAX_ENTRIES && memory.files.pop_first().is_some() {}
    memory.files.extend(fresh);
    let Ok(text) = serde_json::to_string_pretty(&memory) else { return };
    let Some(folder) = memory_file.parent() else { return };
    // Another process may write at the same time: the last one wins, and neither leaves half a file.
    let temporary = folder.join(format!("digests.{}.tmp", std::process::id()));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&temporary, text));
    if written.and_then(|()| fs::rename(&temporary, memory_file)).is_err() {
        let _ = fs::remove_file(&temporary);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Code;

    /// SHA-256 of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(folder: &Path, name: &str, content: &str, age: u64) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        let opened = File::options().write(true).open(&path).unwrap();
        opened.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        path
    }

    #[test]
    fn remembers_what_it_read() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let weights = file(folder.path(), "w", "abc", 60);
        let read = |home| sha256_of(std::slice::from_ref(&weights), home, &Cancel::never()).unwrap();
        assert_eq!(read(Some(&home)), [ABC]);
        assert_eq!(read(None), [ABC]);

        // Remembered: a forged entry is believed as long as size, time and inode are the same.
        let memory_file = home.join("digests.json");
        let mut memory = load(&memory_file);
        assert_eq!(memory.files.len(), 1);
        memory.files.values_mut().next().unwrap().sha256 = "forged".into();
        fs::write(&memory_file, serde_json::to_string(&memory).unwrap()).unwrap();
        assert_eq!(read(Some(&home)), ["forged"]);

        // Another time or size: read again.
        file(folder.path(), "w", "abc", 120);
        assert_eq!(read(Some(&home)), [ABC]);
        file(folder.path(), "w", "abcd", 120);
        assert_ne!(read(Some(&home)), [ABC]);

        // Just written: not remembered.
        file(folder.path(), "w", "abc", 0);
        fs::remove_file(&memory_file).unwrap();
        assert_eq!(read(Some(&home)), [ABC]);
        assert!(!memory_file.exists());

        // Rubbish in the memory, or a home that cannot be written, is no error.
        file(folder.path(), "w", "abc", 60);
        fs::write(&memory_file, "{").unwrap();
        assert_eq!(read(Some(&home)), [ABC]);
        assert_eq!(read(Some(&weights)), [ABC]);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "no temporary file is left");
    }

    #[cfg(unix)]
    #[test]
    fn believes_the_names_of_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        let snapshot = folder.path().join("snapshots/x");
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        let link = |target: &str, name: &str| {
            let path = snapshot.join(name);
            std::os::unix::fs::symlink(target, &path).unwrap();
            path
        };
        let sha = "0".repeat(64);
        fs::write(blobs.join("git"), "abc").unwrap();
        fs::write(folder.path().join(&sha), "abc").unwrap();
        let files = [
            link(&format!("../../blobs/{sha}"), "weights"),
            link("../../blobs/git", "config"),
            link(&format!("../../{sha}"), "elsewhere"),
        ];
        assert_eq!(sha256_of(&files, None, &Cancel::never()).unwrap(), [sha.as_str(), ABC, ABC]);
    }

    #[test]
    fn errors() {
        let folder = tempfile::tempdir().unwrap();
        let weights = file(folder.path(), "w", "abc", 60);
        let error = sha256_of(&[folder.path().join("none")], None, &Cancel::never()).unwrap_err();
        assert_eq!(error.code, Code::BadCheckpoint);
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(sha256_of(&[weights], None, &cancel).unwrap_err().code, Code::Aborted);
    }
}
