//! Finding the files of a model: a local folder, the standard hub cache, or the hub itself, from which they
//! are fetched into the cache.
//!
//! Knows places, not what the files mean: whoever calls says which files are needed.

mod cache;
mod disk;
mod download;
mod hash;
mod layout;
mod listing;
pub mod near;
mod obtain;
mod paths;
mod progress;
mod reference;
mod remove;
mod settings;
mod token;
mod verify;

use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

pub use cache::{CachedModel, CachedRevision, cached_models};
pub use disk::free_space;
pub use download::{HubStatus, Select, Selection, status};
pub use listing::Listing;
pub use obtain::{Obtained, Wishes, obtain};
pub use paths::{cache_dir, home_dir};
pub use progress::{FileEvent, Loaded, OnFile};
pub use reference::Reference;
pub use remove::{Removed, remove};
pub use token::Token;
pub use verify::{VerifiedFile, VerifiedModel, verify};

/// Where models are looked for, and what may be done to get them.
#[derive(Debug, Clone, Default)]
pub struct HubConfig {
    /// The hub cache; default `HF_HUB_CACHE`, then `HF_HOME/hub`, then `~/.cache/huggingface/hub`.
    pub cache_dir: Option<PathBuf>,
    /// Our own state; default `EMBEDDING_ENGINE_HOME`, then the platform's data folder.
    pub home: Option<PathBuf>,
    /// Address of the hub; default `HF_ENDPOINT`, then `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// Access token; default `HF_TOKEN`, then the token file.
    pub token: Option<Token>,
    /// Never touch the network; default `HF_HUB_OFFLINE`.
    pub offline: Option<bool>,
}

/// A model that was found on disk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Located {
    /// Hub id (`owner/name`), or the path as it was given.
    pub id: String,
    /// The commit of the snapshot; `None` for a plain folder.
    pub revision: Option<String>,
    /// The folder that holds the files (absolute).
    pub root: PathBuf,
}

/// Finds the folder of a model, without any network.
///
/// `model` is a path (`./x`, `../x`, `/x`, `C:\x`, `file:…`) or a hub id, with `@revision` if wanted
/// (a commit, a branch or a tag; default `main`). Aliases are not known here: resolve them first with
/// [`crate::model::catalogue::resolve_alias`].
///
/// # Errors
/// `MODEL_NOT_FOUND` with what was looked for, where, and how to get it; `INVALID_INPUT` for what is
/// no model reference at all.
pub fn locate(model: &str, config: &HubConfig) -> Result<Located> {
    locate_known(model, config, &[])
}

/// As [`locate`], and a name that is not found is answered with those of `known` (and of the cache)
/// that look like it.
///
/// # Errors
/// As [`locate`].
pub fn locate_known(model: &str, config: &HubConfig, known: &[&str]) -> Result<Located> {
    match Reference::parse(model)? {
        Reference::Folder(path) => locate_folder(model, path),
        Reference::Hub { id, revision } => {
            let (revision, cache) = (revision.as_deref(), paths::cache_dir(config)?);
            cache::find(&id, revision, &cache)
                .ok_or_else(|| cache::missing(Code::ModelNotFound, &id, revision, &cache, known))
        }
    }
}

/// The files of a model on disk: path in its folder, and bytes.
pub fn files_of(located: &Located) -> Vec<(String, u64)> {
    let name = |path: &Path| path.strip_prefix(&located.root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    cache::files_below(&located.root)
        .into_iter()
        .map(|path| (name(&path), std::fs::metadata(&path).map_or(0, |meta| meta.len())))
        .collect()
}

/// Hands `look` the list of the files of a snapshot in the hub cache `cache`; `None` where the cache has no such list.
pub fn with_listing<T>(cache: &Path, located: &Located, look: impl FnOnce(&Listing<'_>) -> T) -> Option<T> {
    let commit = located.revision.as_deref()?;
    let files = listing::read(&layout::Repository::new(cache, &located.id), commit)?;
    Some(look(&Listing::new(&located.root, &files)))
}

fn locate_folder(model: &str, path: PathBuf) -> Result<Located> {
    let root = std::path::absolute(&path)
        .map_err(|error| not_found(model, format!("Model folder {model}: {error}. Give the folder's full path.")))?;
    match std::fs::metadata(&root) {
        Ok(meta) if meta.is_dir() => Ok(Located { id: model.to_owned(), revision: None, root }),
        Ok(_) => Err(not_found(
            model,
            format!("{} is a file, not the folder of a model. Give the folder that holds config.json.", root.display()),
        )),
        Err(error) => Err(not_found(
            model,
            format!(
                "There is no model folder {} ({}). Check the path; a relative one starts at the current folder.",
                root.display(),
                reason(&error)
            ),
        )
        .with("path", root.display().to_string())),
    }
}

fn not_found(model: &str, message: String) -> Error {
    Error::new(Code::ModelNotFound, message).with("model", model)
}

/// An I/O error as a few words, without the number of the operating system.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
