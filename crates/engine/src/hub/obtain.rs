//! From the name of a model to its folder: out of the cache if it is whole there, from the hub if not.

use super::cache::{self, is_commit};
use super::download::{Order, Select, fetch, quick_commit};
use super::layout::Repository;
use super::listing::{self, Listing};
use super::progress::OnFile;
use super::settings::Settings;
use super::{HubConfig, Located, Reference, locate_folder, paths};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

/// What whoever wants a model has to say.
pub struct Wishes<'a> {
    /// Names that a mistyped one may have meant.
    pub known: &'a [&'a str],
    /// Whether a snapshot in the cache has all files that are needed; with the list of its files, where the
    /// cache has that.
    pub is_complete: &'a dyn Fn(&Located, Option<&Listing<'_>>) -> bool,
    /// Which files of the repository are needed.
    pub select: &'a mut Select<'a>,
    /// Told how far the files are.
    pub on_file: OnFile,
    /// Told once that the hub was of no help and the cache is used.
    pub on_fallback: &'a dyn Fn(String),
}

/// A model that is on disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// Where.
    pub located: Located,
    /// Bytes that came over the network.
    pub downloaded: u64,
}

/// Finds a model, and fetches what is missing.
///
/// A folder is taken as it is. A snapshot in the cache that is complete is used without a request if its
/// commit is pinned or the network may not be used; for a branch the hub is asked once, for at most 1.5 s (`HF_HUB_ETAG_TIMEOUT`),
/// whether it has moved, and if it does not say, the cached one is used.
///
/// # Errors
/// `OFFLINE`; `MODEL_NOT_FOUND`, `ACCESS_DENIED`, `DOWNLOAD_FAILED`, `INTEGRITY_FAILED`, `DISK_FULL`; `ABORTED`;
/// `INVALID_OPTION` for an endpoint or token that cannot be; what `select` says.
pub fn obtain(model: &str, config: &HubConfig, wishes: Wishes<'_>, cancel: &Cancel) -> Result<Obtained> {
    let (id, revision) = match Reference::parse(model)? {
        Reference::Folder(path) => return Ok(Obtained { located: locate_folder(model, path)?, downloaded: 0 }),
        Reference::Hub { id, revision } => (id, revision),
    };
    let Wishes { known, is_complete, select, on_file, on_fallback } = wishes;
    let settings = Settings::resolve(config)?;
    let cache = paths::cache_dir(config)?;
    let revision = revision.as_deref();
    let found = cache::find(&id, revision, &cache);
    let files = found.as_ref().and_then(|located| {
        listing::read(&Repository::new(&cache, &id), located.revision.as_deref().unwrap_or_default())
    });
    let cached = found.clone().filter(|located| {
        let listing = files.as_ref().map(|files| Listing::new(&located.root, files));
        is_complete(located, listing.as_ref())
    });
    if settings.offline {
        // Without a list of its files, the reader of those that are there says best what is missing.
        let usable = if files.is_some() { cached } else { cached.or(found) };
        let located = usable.ok_or_else(|| cache::missing(Code::Offline, &id, revision, &cache, known))?;
        return Ok(Obtained { located, downloaded: 0 });
    }
    let wanted = revision.unwrap_or("main");
    let mut order = Order { id: &id, revision: wanted, commit: None, cache: &cache, known, spare: cached.is_some() };
    if let Some(located) = &cached {
        if is_commit(wanted) {
            return Ok(Obtained { located: located.clone(), downloaded: 0 });
        }
        match quick_commit(&settings, &id, wanted, cancel) {
            Ok(commit) if Some(&commit) == located.revision.as_ref() => {
                return Ok(Obtained { located: located.clone(), downloaded: 0 });
            }
            Ok(commit) => order.commit = Some(commit),
            Err(error) => return fall_back(error, located, wanted, on_fallback),
        }
    }
    match (fetch(&settings, &order, select, on_file, cancel), &cached) {
        (Ok(fetched), _) => {
            let located = cache::find(&id, Some(&fetched.commit), &cache)
                .ok_or_else(|| cache::missing(Code::ModelNotFound, &id, revision, &cache, known))?;
            Ok(Obtained { located, downloaded: fetched.downloaded })
        }
        (Err(error), Some(located)) => fall_back(error, located, wanted, on_fallback),
        (Err(error), None) => Err(error),
    }
}

/// The hub was of no help: the cached snapshot is used, and that is said.
fn fall_back(error: Error, located: &Located, revision: &str, tell: &dyn Fn(String)) -> Result<Obtained> {
    if error.code == Code::Aborted {
        return Err(error);
    }
    let Located { id, revision: commit, .. } = located;
    let commit = commit.as_deref().unwrap_or_default();
    tell(format!(
        "Whether {id} has changed on the hub ({revision}) cannot be found out; the cached revision {commit} is used. \
         Name it ({id}@{commit}) or set HF_HUB_OFFLINE=1 to have no such request. {}",
        error.message
    ));
    Ok(Obtained { located: located.clone(), downloaded: 0 })
}
