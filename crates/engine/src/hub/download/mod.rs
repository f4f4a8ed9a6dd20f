//! Fetching the files of a model from the hub into the cache.
//!
//! Our own, on an HTTP client: facts/hub.md says what the `hf-hub` crate's transfer does not do. Listings,
//! token and layout are few enough lines not to bring that crate and its second storage protocol (hf-xet)
//! along for them.

mod api;
mod http;
mod retry;
mod status;
mod tls;
mod transfer;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::api::Asked;
use self::http::Http;
use self::retry::{Failure, Patience};
use self::transfer::{Transfers, Wanted};
use super::cache::is_commit;
use super::layout::{Repository, Unlinked};
use super::listing::{self, Files, Listing, is_hash, is_there};
use super::progress::{OnFile, Progress};
use super::settings::Settings;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

pub use status::{HubStatus, status};

/// Files that are fetched at the same time: enough to fill a line with one large and several small ones.
const AT_ONCE: usize = 4;

/// What to fetch.
pub(super) struct Order<'a> {
    pub(super) id: &'a str,
    /// Commit, branch or tag.
    pub(super) revision: &'a str,
    /// The commit, where it was asked for already.
    pub(super) commit: Option<String>,
    /// The hub cache.
    pub(super) cache: &'a Path,
    /// Names that a mistyped one may have meant.
    pub(super) known: &'a [&'a str],
    /// Another snapshot can be used in its place: nobody waits long for a hub that does not help.
    pub(super) spare: bool,
}

/// Which files to have next.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Paths in the repository.
    pub files: Vec<String>,
    /// Bytes that will be wanted after these, as far as one can tell: whether there is room for them is
    /// found out first.
    pub later: u64,
}

/// Says which files are needed, from those that there are and from the contents of those on disk. Asked
/// again after each round, until all that it names are there.
pub type Select<'a> = dyn FnMut(&Listing<'_>) -> Result<Selection> + 'a;

/// What a download did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) commit: String,
    /// Bytes that came over the network.
    pub(super) downloaded: u64,
}

/// Fetches what `select` names. Waits; the cancel token ends it within a moment, and what came stays.
pub(super) fn fetch(
    settings: &Settings,
    order: &Order<'_>,
    select: &mut Select<'_>,
    on_file: OnFile,
    cancel: &Cancel,
) -> Result<Fetched> {
    run(cancel, async {
        let http = Http::new(settings)?;
        let asked = Asked { id: order.id, revision: order.revision, known: order.known };
        let commit = match &order.commit {
            Some(commit) => commit.clone(),
            None if is_commit(order.revision) => order.revision.to_owned(),
            None => api::commit(&http, asked, Patience::default()).await?,
        };
        let repository = Repository::new(order.cache, order.id).with_links(settings.links);
        let (files, known) = match listing::read(&repository, &commit) {
            Some(files) => (files, true),
            None => {
                let listed = api::files(&http, asked, &commit, Patience::unless(order.spare));
                let limit = if order.spare { settings.quick } else { Duration::MAX };
                (timeout(limit, listed).await.unwrap_or_else(|_| Err(no_answer(limit)))?, false)
            }
        };
        let progress = Progress::new(order.id, on_file);
        let transfers = Transfers { http, repository, progress, cancel: cancel.clone(), spare: order.spare };
        let round = Rounds { asked, commit: &commit, files: &files, known, transfers: Arc::new(transfers) };
        let downloaded = round.run(select).await?;
        if !is_commit(order.revision) {
            round.transfers.repository.write_ref(order.revision, &commit)?;
        }
        round.transfers.progress.finish();
        Ok(Fetched { commit, downloaded })
    })
}

/// Asks the hub once, and not for long, which commit a branch stands for now.
pub(super) fn quick_commit(settings: &Settings, id: &str, revision: &str, cancel: &Cancel) -> Result<String> {
    run(cancel, async {
        let http = Http::new(settings)?;
        let asked = Asked { id, revision, known: &[id] };
        let answer = timeout(settings.quick, api::commit(&http, asked, Patience::none())).await;
        answer.unwrap_or_else(|_| Err(no_answer(settings.quick)))
    })
}

fn no_answer(limit: Duration) -> Error {
    Error::new(Code::DownloadFailed, format!("The hub did not answer within {} s.", limit.as_secs_f32()))
}

/// Runs on this thread until it is done or cancelled.
fn run<T>(cancel: &Cancel, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Error::new(Code::OutOfMemory, format!("No thread can be prepared for the network: {error}."))
    })?;
    let cancelled = Arc::new(Notify::new());
    let told = Arc::clone(&cancelled);
    let _listening = cancel.on_cancel(move || told.notify_one());
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            () = cancelled.notified() => Err(Error::aborted()),
            result = work => result,
        }
    });
    // A disk that hangs is not waited for.
    runtime.shutdown_background();
    result
}

/// A download in rounds: small files tell which large ones are needed.
struct Rounds<'a> {
    asked: Asked<'a>,
    commit: &'a str,
    files: &'a Files,
    /// Whether the cache has the listing already.
    known: bool,
    transfers: Arc<Transfers>,
}

impl Rounds<'_> {
    async fn run(&self, select: &mut Select<'_>) -> Result<u64> {
        let root = self.transfers.repository.snapshot(self.commit);
        drop_spoilt(&Listing::new(&root, self.files));
        let mut downloaded = 0;
        loop {
            let listing = Listing::new(&root, self.files);
            let selection = select(&listing)?;
            let missing: Vec<&String> = selection.files.iter().filter(|file| !listing.has(file)).collect();
            if missing.is_empty() {
                return Ok(downloaded);
            }
            let mut wanted = Vec::with_capacity(missing.len());
            for file in missing {
                wanted.push(self.wanted(file).await?);
            }
            self.check_space(&wanted, selection.later)?;
            self.transfers.repository.make_folders()?;
            if !self.known {
                listing::write(&self.transfers.repository, self.commit, self.files);
            }
            downloaded += self.fetch_all(wanted).await?;
        }
    }

    /// Size and hash of a file, by the listing or by asking for its head.
    async fn wanted(&self, file: &str) -> Result<Wanted> {
        let http = &self.transfers.http;
        let Some(remote) = self.files.get(file) else {
            let message = format!("The model {} has no file {file} at {}.", self.asked.id, self.commit);
            return Err(Error::new(Code::ModelNotFound, message).with("model", self.asked.id).with("file", file));
        };
        let url = http.url(&[self.asked.id, "resolve", self.commit, file]);
        let (mut size, mut hash) = (remote.bytes(), remote.hash().map(str::to_owned));
        if size.is_none() || hash.is_none() {
            let mut patience = Patience::default();
            let linked = loop {
                match http.head(&url).await {
                    Ok(linked) => break linked,
                    Err(Failure::Final(error)) => return Err(api::explain(error, http, self.asked)),
                    Err(Failure::Wrong(reason)) => return Err(http::failed(&url, reason)),
                    Err(Failure::Passing { reason, wait, unreached }) => match patience.next(wait, unreached) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(api::given_up(&url, &reason, &patience, unreached)),
                    },
                }
            };
            size = size.or(linked.size);
            hash = hash.or(linked.etag.filter(|etag| is_hash(etag, 40) || is_hash(etag, 64)));
        }
        match (size, hash) {
            (Some(size), Some(hash)) => {
                let place = self.transfers.repository.snapshot(self.commit).join(file);
                Ok(Wanted { file: file.to_owned(), place, url, size, hash })
            }
            _ => {
                let url = http::shown(&url);
                let message = format!(
                    "The hub gives neither size nor hash of {file} ({url}), so that it could not be verified. Is \
                     HF_ENDPOINT a mirror that speaks the hub's protocol?"
                );
                Err(Error::new(Code::DownloadFailed, message).with("url", url).with("file", file))
            }
        }
    }

    /// `DISK_FULL` before the first byte comes, where the system says how much is free.
    fn check_space(&self, wanted: &[Wanted], later: u64) -> Result<()> {
        let repository = &self.transfers.repository;
        let missing = |wanted: &Wanted| match is_there(&repository.blob(&wanted.hash), wanted.size) {
            true => 0,
            false => {
                let there = fs::metadata(repository.incomplete(&wanted.hash)).map_or(0, |meta| meta.len());
                wanted.size.saturating_sub(there)
            }
        };
        let needed = wanted.iter().map(missing).fold(later, u64::saturating_add);
        let Some(free) = super::free_space(&repository.root()) else { return Ok(()) };
        if needed <= free {
            return Ok(());
        }
        let root = repository.root().display().to_string();
        Err(Error::new(
            Code::DiskFull,
            format!(
                "The model {} needs {} more on the disk of {root}, and {} are free. Free some space, or set cacheDir or \
                 HF_HUB_CACHE to another disk. Nothing was downloaded, and what was there stays.",
                self.asked.id,
                in_words(needed),
                in_words(free)
            ),
        )
        .with("model", self.asked.id)
        .with("path", root)
        .with("needed", needed)
        .with("free", free))
    }

    /// Fetches all of a round, and then makes them known in the snapshot.
    async fn fetch_all(&self, wanted: Vec<Wanted>) -> Result<u64> {
        let repository = &self.transfers.repository;
        let is_fetched = |wanted: &Wanted| is_there(&repository.blob(&wanted.hash), wanted.size);
        // The others are of another revision, or fetched by an earlier call that was killed before it could say so.
        let new: Vec<Wanted> = wanted.iter().filter(|wanted| !is_fetched(wanted)).cloned().collect();
        let new_hashes: BTreeSet<String> = new.iter().map(|wanted| wanted.hash.clone()).collect();
        for wanted in &new {
            self.transfers.progress.initiate(&wanted.file, wanted.size);
        }
        let mut to_fetch = new.into_iter();
        let mut running = JoinSet::new();
        let mut downloaded = 0;
        loop {
            while running.len() < AT_ONCE
                && let Some(wanted) = to_fetch.next()
            {
                let transfers = Arc::clone(&self.transfers);
                running.spawn(async move {
                    let received = transfers.fetch(&wanted).await?;
                    transfers.progress.done(&wanted.file);
                    Ok::<u64, Error>(received)
                });
            }
            match running.join_next().await {
                None => break,
                Some(Ok(received)) => {
                    let received = received.map_err(|error| api::explain(error, &self.transfers.http, self.asked));
                    downloaded += received?;
                }
                Some(Err(_)) => return Err(Error::internal("A transfer ended without a result.")),
            }
        }
        for (index, next) in wanted.iter().enumerate() {
            // Another process, on a disk without links, makes the blob the file: before, or right now.
            let _lock = self.transfers.lock(next).await?;
            if !is_fetched(next) && is_there(&next.place, next.size) {
                continue;
            }
            let again = wanted[index + 1..].iter().any(|later| later.hash == next.hash);
            let unlinked = if new_hashes.contains(&next.hash) && !again { Unlinked::Move } else { Unlinked::Copy };
            repository.link(self.commit, &next.file, &next.hash, unlinked)?;
        }
        Ok(downloaded)
    }
}

/// Takes the names away from contents of another size than the hub states: something spoilt them since, and what
/// they say must not decide which files are needed.
fn drop_spoilt(listing: &Listing<'_>) {
    for (file, _) in listing.files().filter(|(file, _)| !listing.has(file)) {
        let _ = fs::remove_file(listing.root().join(file));
    }
}

fn in_words(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.2} GB", bytes as f64 / 1e9),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
