//! The files of a commit, as the hub lists them, and the copy of that list in the cache
//! (`trees/<commit>.json`, as `huggingface_hub` 2 writes it): a commit never changes, so neither does its list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::Repository;

/// The files of a commit by path.
pub(super) type Files = BTreeMap<String, RemoteFile>;

/// A file of a commit, in the words of the copy on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    /// Bytes; `None` where the listing does not say.
    pub(super) size: Option<u64>,
    /// git's hash of what git holds: the file itself, or its pointer into LFS.
    pub(super) blob_id: Option<String>,
    /// For a file in LFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_sha256: Option<String>,
    /// For a file in LFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_size: Option<u64>,
    /// Not used here, but by Python's tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xet_hash: Option<String>,
}

impl RemoteFile {
    /// Bytes of the content.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.lfs_size.or(self.size)
    }

    /// sha256 of a file in LFS, git's blob hash of another; `None` where the listing does not say.
    pub(super) fn hash(&self) -> Option<&str> {
        match &self.lfs_sha256 {
            Some(sha256) => Some(sha256).filter(|hash| is_hash(hash, 64)),
            None => self.blob_id.as_ref().filter(|hash| self.lfs_size.is_none() && is_hash(hash, 40)),
        }
        .map(String::as_str)
    }
}

/// Whether it is a hash that a blob may be called by.
pub(super) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A path that stays inside the folder that it is put into, on every platform.
pub(super) fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.contains(['\\', ':', '\0'])
}

/// The files of a snapshot, of which some may be on disk already.
#[derive(Debug)]
pub struct Listing<'a> {
    root: &'a Path,
    files: &'a Files,
}

impl<'a> Listing<'a> {
    pub(super) fn new(root: &'a Path, files: &'a Files) -> Self {
        Listing { root, files }
    }

    /// The folder of the snapshot.
    pub fn root(&self) -> &Path {
        self.root
    }

    /// Paths and sizes of all files of the repository.
    pub fn files(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file.bytes()))
    }

    /// Whether the snapshot has the file, of the size that it should have.
    pub fn has(&self, file: &str) -> bool {
        let path = self.root.join(file);
        match self.files.get(file).and_then(RemoteFile::bytes) {
            Some(size) => is_there(&path, size),
            None => path.is_file(),
        }
    }
}

/// Whether a file has this size; a link is followed.
pub(super) fn is_there(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size)
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    files: Files,
}

/// The copy in the cache, if there is one that can be used.
pub(super) fn read(repository: &Repository, commit: &str) -> Option<Files> {
    let stored: Stored = serde_json::from_slice(&fs::read(repository.tree(commit)).ok()?).ok()?;
    let usable = stored.format_version == FORMAT && stored.files.keys().all(|path| is_plain(path));
    usable.then_some(stored.files)
}

/// Keeps a copy in the cache. It only saves a request, so that a failure is none.
pub(super) fn write(repository: &Repository, commit: &str, files: &Files) {
    // Python's reader wants both of each file.
    if files.is_empty() || files.values().any(|file| file.size.is_none() || file.blob_id.is_none()) {
        return;
    }
    let mut json = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
    let stored = Stored { format_version: FORMAT, files: files.clone() };
    if stored.serialize(&mut serializer).is_ok() {
        let _ = repository.write_whole(&repository.tree(commit), &json);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_stay_inside() {
        for path in ["config.json", "1_Pooling/config.json", ".gitattributes", "a..b/c"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", r"a\b", "c:/x", "a\0"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn a_copy_is_read_again_and_a_bad_one_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "o/n");
        let commit = "0".repeat(40);
        let small = RemoteFile {
            size: Some(7),
            blob_id: Some("a".repeat(40)),
            lfs_sha256: None,
            lfs_size: None,
            xet_hash: None,
        };
        let large = RemoteFile { lfs_sha256: Some("b".repeat(64)), lfs_size: Some(9_000_000_000), ..small.clone() };
        let files = Files::from([("config.json".to_owned(), small), ("model.safetensors".to_owned(), large)]);
        assert_eq!(read(&repository, &commit), None);
        write(&repository, &commit, &files);
        assert_eq!(read(&repository, &commit).unwrap(), files);
        let file = repository.tree(&commit);
        for bad in ["", "{}", r#"{"format_version":2,"files":{}}"#, r#"{"format_version":1,"files":{"../x":{}}}"#] {
            fs::write(&file, bad).unwrap();
            assert_eq!(read(&repository, &commit), None, "{bad}");
        }
    }
}
