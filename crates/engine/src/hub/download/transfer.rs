//! One file into the cache: under the lock that Python's tools take as well, from where an earlier
//! transfer stopped, and under its final name only once its hash is right.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::api::{given_up, html};
use super::http::{Http, is_html, shown};
use super::retry::{Failure, Patience};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::hub::hash::{BUFFER, git_hash, hex, is_lfs};
use crate::hub::layout::{BlobLock, Repository, cannot_write};
use crate::hub::listing::is_there;
use crate::hub::progress::Progress;

/// Between two looks at a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What all transfers of a download share.
pub(super) struct Transfers {
    pub(super) http: Http,
    pub(super) repository: Repository,
    pub(super) progress: Arc<Progress>,
    pub(super) cancel: Cancel,
    /// As in [`super::Order`].
    pub(super) spare: bool,
}

/// A file whose size and hash are known.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Path in the repository.
    pub(super) file: String,
    /// Where the snapshot has it.
    pub(super) place: PathBuf,
    pub(super) url: Url,
    pub(super) size: u64,
    /// sha256 or git's blob hash, which is also the name of the blob.
    pub(super) hash: String,
}

impl Transfers {
    /// Sees to it that the blob is there; the bytes that came over the network for it.
    pub(super) async fn fetch(&self, wanted: &Wanted) -> Result<u64> {
        let _lock = self.lock(wanted).await?;
        // Another process may have fetched it while we waited, and on a disk without links put it in its place.
        if is_there(&self.repository.blob(&wanted.hash), wanted.size) || is_there(&wanted.place, wanted.size) {
            self.progress.begin(&wanted.file);
            return Ok(0);
        }
        let mut partial = Partial::open(self.repository.incomplete(&wanted.hash), &wanted.hash)?;
        let mut patience = Patience::unless(self.spare).from(partial.length);
        let mut received = 0;
        let mut wrong = 0;
        loop {
            let failure = match self.attempt(wanted, &mut partial, &mut received).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            patience.reached(partial.length);
            match failure {
                Failure::Final(error) => return Err(error),
                Failure::Wrong(reason) => {
                    wrong += 1;
                    partial.clear()?;
                    if wrong == 2 {
                        partial.remove();
                        return Err(integrity(wanted, &reason));
                    }
                    patience = Patience::default();
                }
                Failure::Passing { reason, wait, unreached } => {
                    // A network that goes away in the middle usually comes back.
                    let unreached = unreached && received == 0;
                    match patience.next(wait, unreached) {
                        Some(wait) => sleep(wait).await,
                        None => return Err(given_up(&wanted.url, &reason, &patience, unreached)),
                    }
                }
            }
        }
        let blob = self.repository.blob(&wanted.hash);
        blocking(move || partial.finish(&blob)).await?;
        Ok(received)
    }

    /// Waits for the lock; who holds it makes progress, which is seen in the size of the file.
    pub(super) async fn lock(&self, wanted: &Wanted) -> Result<BlobLock> {
        let incomplete = self.repository.incomplete(&wanted.hash);
        loop {
            if let Some(lock) = self.repository.try_lock(&wanted.hash)? {
                return Ok(lock);
            }
            if let Ok(meta) = fs::metadata(&incomplete) {
                self.progress.at(&wanted.file, meta.len(), 0);
            }
            sleep(LOCK_POLL).await;
        }
    }

    async fn attempt(&self, wanted: &Wanted, partial: &mut Partial, received: &mut u64) -> Result<(), Failure> {
        partial.resume(wanted.size, &self.cancel).await?;
        self.progress.begin(&wanted.file);
        self.progress.at(&wanted.file, partial.length, 0);
        if partial.length < wanted.size {
            self.receive(wanted, partial, received).await?;
        }
        let found = partial.digest(&self.cancel).await?;
        if found != wanted.hash {
            return Err(Failure::Wrong(format!("it has the hash {found}")));
        }
        Ok(())
    }

    async fn receive(&self, wanted: &Wanted, partial: &mut Partial, received: &mut u64) -> Result<(), Failure> {
        let mut answer = self.http.get(&wanted.url, partial.length).await.map_err(|failure| match failure {
            // The range lies outside of what the server has.
            Failure::Final(error) if partial.length > 0 && error.details.get("status") == Some(&416.into()) => {
                Failure::Wrong("the server has no such range".to_owned())
            }
            other => other,
        })?;
        if is_html(answer.headers()) && !wanted.file.ends_with(".html") {
            let message = html(&shown(&wanted.url), &format!("the file {}", wanted.file));
            return Err(Error::new(Code::DownloadFailed, format!("{message}."))
                .with("url", shown(&wanted.url))
                .with("file", wanted.file.as_str())
                .into());
        }
        let declared = if answer.status() == StatusCode::PARTIAL_CONTENT {
            match content_range(answer.headers()) {
                Some((from, total)) if from == partial.length => total,
                _ => return Err(Failure::Wrong("the server sent another range than was asked for".to_owned())),
            }
        } else {
            // It does not know ranges, and sends everything.
            partial.clear()?;
            answer.response.content_length()
        };
        while let Some(chunk) = answer.chunk().await? {
            let bytes = chunk.as_ref();
            if partial.length + bytes.len() as u64 > wanted.size {
                return Err(Failure::Wrong(format!("it is longer than {} bytes", wanted.size)));
            }
            partial.append(bytes)?;
            *received += bytes.len() as u64;
            self.progress.at(&wanted.file, partial.length, bytes.len() as u64);
        }
        if partial.length == wanted.size {
            return Ok(());
        }
        let what = format!("{} of {} bytes came", partial.length, wanted.size);
        // The server sent all that it has: asking for the rest brings nothing.
        if declared == Some(partial.length) { Err(Failure::Wrong(what)) } else { Err(Failure::passing(what)) }
    }
}

fn integrity(wanted: &Wanted, reason: &str) -> Error {
    let Wanted { file, url, hash, size, .. } = wanted;
    let kind = if is_lfs(hash) { "sha256" } else { "git hash" };
    let url = shown(url);
    Error::new(
        Code::IntegrityFailed,
        format!(
            "{file} arrived wrong twice: {reason}, but the hub states {kind} {hash} and {size} bytes. Nothing of it was \
             kept. A proxy or a mirror between ({url}) may change files; try another network or HF_ENDPOINT."
        ),
    )
    .with("file", file.as_str())
    .with("url", url)
    .with("expected", hash.as_str())
    .with("size", *size)
    .with("reason", reason)
}

/// `Content-Range: bytes 5-9/10` as where it begins and how long the whole is.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    let (from, _) = span.split_once('-')?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The beginning of a file, and its hash as far as it is.
struct Partial {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    /// Of what is there, for a file in LFS; small ones are hashed at the end, since their length stands first.
    sha256: Option<Sha256>,
    hashed: u64,
    lfs: bool,
}

impl Partial {
    fn open(path: PathBuf, hash: &str) -> Result<Self> {
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.map_err(|error| cannot_write(&path, &error))?;
        let length = file.metadata().map_err(|error| cannot_write(&path, &error))?.len();
        let lfs = is_lfs(hash);
        Ok(Partial { path, file: Some(file), length, sha256: Some(Sha256::new()), hashed: 0, lfs })
    }

    /// Hashes what is there already, and stands at its end.
    async fn resume(&mut self, size: u64, cancel: &Cancel) -> Result<()> {
        if self.length > size {
            self.clear()?;
        }
        if self.lfs && self.hashed < self.length {
            let (Some(mut file), Some(mut sha256)) = (self.file.take(), self.sha256.take()) else {
                return Err(Error::internal("A partial file is in use twice."));
            };
            let (path, cancel, from, to) = (self.path.clone(), cancel.clone(), self.hashed, self.length);
            let (file, sha256) = blocking(move || {
                let mut hash = || -> std::io::Result<Result<()>> {
                    file.seek(SeekFrom::Start(from))?;
                    let mut rest = (&mut file).take(to - from);
                    let mut buffer = vec![0; BUFFER];
                    loop {
                        if let Err(error) = cancel.check() {
                            return Ok(Err(error));
                        }
                        match rest.read(&mut buffer)? {
                            0 => return Ok(Ok(())),
                            read => sha256.update(&buffer[..read]),
                        }
                    }
                };
                hash().map_err(|error| cannot_write(&path, &error))??;
                Ok((file, sha256))
            })
            .await?;
            self.file = Some(file);
            self.sha256 = Some(sha256);
            self.hashed = self.length;
        }
        let length = self.length;
        self.with_file(|file| file.seek(SeekFrom::Start(length)).map(drop))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        // If it fails in the middle, what was written is a beginning as well.
        self.with_file(|file| file.write_all(bytes))?;
        self.length += bytes.len() as u64;
        if self.lfs {
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(bytes);
            }
            self.hashed = self.length;
        }
        Ok(())
    }

    /// The hash of all that is there.
    async fn digest(&mut self, cancel: &Cancel) -> Result<String> {
        if self.lfs {
            return Ok(self.sha256.clone().map(|sha256| hex(&sha256.finalize())).unwrap_or_default());
        }
        let (path, cancel) = (self.path.clone(), cancel.clone());
        blocking(move || git_hash(&path, &cancel).map_err(|error| cannot_write(&path, &error))?).await
    }

    /// What is there is worth nothing.
    fn clear(&mut self) -> Result<()> {
        self.length = 0;
        self.hashed = 0;
        self.sha256 = Some(Sha256::new());
        self.with_file(|file| {
            file.set_len(0)?;
            file.rewind()
        })
    }

    fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Gives it its final name; what is written must have reached the disk by then.
    fn finish(mut self, blob: &Path) -> Result<()> {
        self.with_file(|file| file.sync_all())?;
        // Windows does not rename a file that is open.
        drop(self.file.take());
        fs::rename(&self.path, blob).map_err(|error| cannot_write(blob, &error))
    }

    fn with_file<T>(&mut self, work: impl FnOnce(&mut File) -> std::io::Result<T>) -> Result<T> {
        let Some(file) = &mut self.file else { return Err(Error::internal("A partial file is in use twice.")) };
        work(file).map_err(|error| cannot_write(&self.path, &error))
    }
}

/// Long work on a disk, beside the other transfers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Error::internal("Work on a file of a model ended early.")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn ranges_are_read() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(value).unwrap());
            content_range(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse("bytes */10"), None);
        assert_eq!(parse("items 0-1/2"), None);
    }
}
