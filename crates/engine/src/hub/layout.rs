//! Where the files of one repository lie in the hub cache, and how they are put there, as
//! `huggingface_hub` does it (its `file_download.py` is the definition of the layout).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

/// Tells backup programs to leave the cache out; the same text as Python's.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#\thttps://bford.info/cachedir/
";

/// The folder of one repository.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    cache: PathBuf,
    folder: String,
    links: bool,
}

/// What becomes of a blob where no link to it can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlinked {
    /// Nothing else needs it: it is the file from now on.
    Move,
    /// Another file has the same content, or may be a link to it.
    Copy,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        Repository { cache: cache.to_owned(), folder: format!("models--{}", id.replace('/', "--")), links: true }
    }

    /// Whether links may be made at all.
    pub(super) fn with_links(self, links: bool) -> Self {
        Repository { links, ..self }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.cache.join(&self.folder)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root().join("snapshots").join(commit)
    }

    /// The content with this hash.
    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.root().join("blobs").join(hash)
    }

    /// What has come of it so far: always its beginning.
    pub(super) fn incomplete(&self, hash: &str) -> PathBuf {
        self.root().join("blobs").join(format!("{hash}.incomplete"))
    }

    /// The list of the files of a commit.
    pub(super) fn tree(&self, commit: &str) -> PathBuf {
        self.root().join("trees").join(format!("{commit}.json"))
    }

    fn lock_file(&self, hash: &str) -> PathBuf {
        self.cache.join(".locks").join(&self.folder).join(format!("{hash}.lock"))
    }

    /// The folder of its locks.
    pub(super) fn locks(&self) -> PathBuf {
        self.cache.join(".locks").join(&self.folder)
    }

    pub(super) fn make_folders(&self) -> Result<()> {
        for folder in [self.root().join("blobs"), self.locks()] {
            fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        }
        let tag = self.cache.join("CACHEDIR.TAG");
        if tag.exists() { Ok(()) } else { self.write_whole(&tag, CACHEDIR_TAG.as_bytes()) }
    }

    /// Takes the lock of a blob, the one that Python's tools take; `None` while another holds it. It goes
    /// with the process that holds it, however that ends.
    pub(super) fn try_lock(&self, hash: &str) -> Result<Option<BlobLock>> {
        let path = self.lock_file(hash);
        let failed = |error: &io::Error| cannot_write(&path, error);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| failed(&e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // A file system without locks: better unguarded than not at all. The hash is checked anyway.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
            // Whoever held it before may have removed the file.
            if is_same_file(&file, &path) {
                return Ok(Some(BlobLock { _file: file }));
            }
        }
    }

    /// Makes the blob known as `file` of a snapshot: by a link, or by the content itself where links are not to
    /// be had, as Python does it.
    pub(super) fn link(&self, commit: &str, file: &str, hash: &str, unlinked: Unlinked) -> Result<()> {
        let pointer = self.snapshot(commit).join(file);
        let failed = |error: &io::Error| cannot_write(&pointer, error);
        let folder = pointer.parent().unwrap_or(&pointer);
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        // Put beside it and renamed, so that no other process finds it missing meanwhile.
        let fresh = folder.join(format!(".{}.{}", unique(), file_name(file)));
        let up = "../".repeat(2 + file.matches('/').count());
        let target = format!("{up}blobs/{hash}");
        let linked =
            if self.links { symlink(Path::new(&target), &fresh) } else { Err(io::ErrorKind::Unsupported.into()) };
        let copy = || fs::copy(self.blob(hash), &fresh).map(drop);
        let made = linked.or_else(|_| match unlinked {
            Unlinked::Move => fs::rename(self.blob(hash), &fresh).or_else(|_| copy()),
            Unlinked::Copy => copy(),
        });
        let placed = made.and_then(|()| fs::rename(&fresh, &pointer));
        placed.map_err(|error| {
            let _ = fs::remove_file(&fresh);
            failed(&error)
        })
    }

    /// Notes the commit that a branch or tag stands for.
    pub(super) fn write_ref(&self, name: &str, commit: &str) -> Result<()> {
        let path = self.root().join("refs").join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == commit) {
            return Ok(());
        }
        self.write_whole(&path, commit.as_bytes())
    }

    /// Writes a small file so that nobody ever sees half of it.
    pub(super) fn write_whole(&self, path: &Path, content: &[u8]) -> Result<()> {
        let failed = |error: io::Error| cannot_write(path, &error);
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(failed)?;
        let fresh = folder.join(format!(".{}", unique()));
        fs::write(&fresh, content).and_then(|()| fs::rename(&fresh, path)).map_err(|error| {
            let _ = fs::remove_file(&fresh);
            failed(error)
        })
    }
}

/// Held while a blob is fetched.
#[derive(Debug)]
pub(super) struct BlobLock {
    _file: File,
}

/// An error of a write into the cache: `DISK_FULL`, or what stands in the way.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let shown = path.display();
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if full {
        let free = super::free_space(path);
        return Error::new(
            Code::DiskFull,
            format!(
                "There is no space left for {shown}. What has come stays: free some space and call again, or set cacheDir \
                 or HF_HUB_CACHE to another disk."
            ),
        )
        .with("path", shown.to_string())
        .with("free", free);
    }
    Error::new(
        Code::DownloadFailed,
        format!(
            "{shown} cannot be written: {}. Set cacheDir or HF_HUB_CACHE to a folder that can be.",
            super::reason(error)
        ),
    )
    .with("path", shown.to_string())
}

fn file_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Different in each process and at each call.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    // Windows does not follow a link with forward slashes.
    let target = PathBuf::from(target.to_string_lossy().replace('/', "\\"));
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> bool {
    // An open file cannot be removed there.
    path.exists()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository() -> (tempfile::TempDir, Repository) {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "o/n");
        repository.make_folders().unwrap();
        (cache, repository)
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let (_cache, repository) = repository();
        let held = repository.try_lock("h").unwrap().unwrap();
        assert!(repository.try_lock("h").unwrap().is_none());
        assert!(repository.try_lock("other").unwrap().is_some());
        // Some tools remove the file of a lock that they let go.
        fs::remove_file(repository.lock_file("h")).unwrap();
        let second = repository.try_lock("h").unwrap().unwrap();
        drop(held);
        assert!(repository.try_lock("h").unwrap().is_none());
        drop(second);
        assert!(repository.try_lock("h").unwrap().is_some());
    }

    #[test]
    fn links_are_relative_and_replace_what_was_there() {
        let (cache, repository) = repository();
        for (hash, content) in [("a", "first"), ("b", "second")] {
            fs::write(repository.blob(hash), content).unwrap();
            repository.link(COMMIT, "onnx/model.onnx", hash, Unlinked::Move).unwrap();
            assert!(repository.blob(hash).exists() || cfg!(windows));
            let pointer = repository.snapshot(COMMIT).join("onnx/model.onnx");
            assert_eq!(fs::read_to_string(&pointer).unwrap(), content);
            if cfg!(unix) {
                assert_eq!(fs::read_link(&pointer).unwrap(), Path::new(&format!("../../../blobs/{hash}")));
            }
        }
        assert_eq!(fs::read_dir(repository.snapshot(COMMIT).join("onnx")).unwrap().count(), 1);
        drop(cache);
    }

    #[test]
    fn without_links_the_content_itself_lies_in_the_snapshot() {
        let (_cache, repository) = repository();
        let repository = repository.with_links(false);
        fs::write(repository.blob("a"), "text").unwrap();
        // The same content under two names: the blob is there until the last of them has it.
        for (file, unlinked) in [("config.json", Unlinked::Copy), ("a/config.json", Unlinked::Move)] {
            assert!(repository.blob("a").exists());
            repository.link(COMMIT, file, "a", unlinked).unwrap();
            let pointer = repository.snapshot(COMMIT).join(file);
            assert!(fs::symlink_metadata(&pointer).unwrap().is_file());
            assert_eq!(fs::read_to_string(&pointer).unwrap(), "text");
        }
        assert!(!repository.blob("a").exists(), "not one copy more than there are names");
    }

    #[test]
    fn refs_are_replaced_whole() {
        let (_cache, repository) = repository();
        for commit in [COMMIT, &"f".repeat(40)] {
            repository.write_ref("refs/pr/1", commit).unwrap();
            assert_eq!(fs::read_to_string(repository.root().join("refs/refs/pr/1")).unwrap(), commit);
        }
        assert_eq!(fs::read_dir(repository.root().join("refs/refs/pr")).unwrap().count(), 1);
    }
}
