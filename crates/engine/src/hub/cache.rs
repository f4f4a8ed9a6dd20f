//! The standard hub cache, as `huggingface_hub` lays it out:
//!
//! ```text
//! models--owner--name/
//!   refs/main                  the commit that a branch or tag stands for
//!   snapshots/<commit>/…       the files, usually links into blobs/
//!   blobs/<sha256 or git hash>
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::Repository;
use super::near::suggest;
use super::{Located, reason};
use crate::error::{Code, Error, Result};

/// A model that lies in the hub cache.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CachedModel {
    /// `owner/name`.
    pub id: String,
    /// Its folder in the cache.
    pub path: PathBuf,
    /// Bytes on disk, all revisions together.
    pub bytes: u64,
    /// The snapshots that are there.
    pub revisions: Vec<CachedRevision>,
}

/// One snapshot of a cached model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// Branches and tags that stand for it.
    pub refs: Vec<String>,
    /// The folder with its files.
    pub path: PathBuf,
}

/// What lies in the hub cache, by id; empty where there is no cache.
///
/// # Errors
/// `INVALID_OPTION` if the cache exists and cannot be read.
pub fn cached_models(cache: &Path) -> Result<Vec<CachedModel>> {
    let mut models: Vec<CachedModel> = repositories(cache)?
        .into_iter()
        .map(|(id, path)| {
            let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, commit) in refs(&path) {
                names.entry(commit).or_default().push(name);
            }
            let revisions = snapshots(&path)
                .into_iter()
                .map(|commit| CachedRevision {
                    path: path.join("snapshots").join(&commit),
                    refs: names.remove(&commit).unwrap_or_default(),
                    commit,
                })
                .collect();
            CachedModel { bytes: bytes(&path, 8), id, path, revisions }
        })
        .collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(models)
}

/// The snapshot of a repository, if there is one.
pub(super) fn find(id: &str, revision: Option<&str>, cache: &Path) -> Option<Located> {
    let repository = Repository::new(cache, id);
    let wanted = revision.unwrap_or("main");
    let commit = if is_commit(wanted) { Some(wanted.to_owned()) } else { read_ref(&repository.root(), wanted) }?;
    let root = repository.snapshot(&commit);
    root.is_dir().then(|| Located { id: id.to_owned(), revision: Some(commit), root })
}

/// `code` for a repository that is not there: what the cache has in its place, and how to get it.
pub(super) fn missing(code: Code, id: &str, revision: Option<&str>, cache: &Path, known: &[&str]) -> Error {
    let repository = Repository::new(cache, id).root();
    let wanted = revision.map_or_else(|| id.to_owned(), |revision| format!("{id}@{revision}"));
    let mut message = format!("The model {wanted} is not in the hub cache {}", cache.display());
    if let Err(error) = fs::read_dir(cache) {
        message += &format!(" ({})", reason(&error));
    }
    message += ". ";

    let there = snapshots(&repository);
    let mut near = Vec::new();
    if there.is_empty() {
        let cached: Vec<String> = repositories(cache).unwrap_or_default().into_keys().collect();
        let names = known.iter().copied().chain(cached.iter().map(String::as_str));
        // A name that is right needs no other.
        if !known.contains(&id) {
            near = suggest(id, names).into_iter().map(str::to_owned).collect();
        }
        if !near.is_empty() {
            message += &format!("Did you mean {}? ", near.join(" or "));
        }
        // Only a hint: a folder is never taken for a hub id, or the other way round.
        if Path::new(id).is_dir() {
            message += &format!("There is a folder of that name here: for the folder write ./{id}. ");
        }
    } else {
        // The one that was asked for may be there, but not whole.
        let names = there.iter().map(|commit| format!("{id}@{commit}")).collect::<Vec<_>>().join(" and ");
        message += &format!("The cache has {names}, perhaps not whole. ");
    }
    if code == Code::Offline {
        message += "The network may not be used (offline, HF_HUB_OFFLINE). ";
    }
    let command = format!("npx embedding-engine models download {wanted}");
    message +=
        &format!("Get it with `{command}` where there is a network, or give the path of a folder that holds it.");
    Error::new(code, message)
        .with("model", wanted.as_str())
        .with("id", id)
        .with("cache", cache.display().to_string())
        .with("command", command)
        .with("suggestions", near)
        .with("cachedRevisions", there)
}

/// A commit has 40 hexadecimal digits; anything else is the name of a branch or tag.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn read_ref(repository: &Path, name: &str) -> Option<String> {
    let commit = fs::read_to_string(repository.join("refs").join(name)).ok()?;
    let commit = commit.trim();
    // What is read here becomes part of a path.
    is_commit(commit).then(|| commit.to_owned())
}

/// Every branch and tag with its commit; names may contain slashes, and are then folders.
pub(super) fn refs(repository: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let root = repository.join("refs");
    let mut folders = vec![(root.clone(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                if depth < 8 {
                    folders.push((path, depth + 1));
                }
            } else if let Ok(name) = path.strip_prefix(&root) {
                let name = name.to_string_lossy().replace('\\', "/");
                found.extend(read_ref(repository, &name).map(|commit| (name, commit)));
            }
        }
    }
    found.sort();
    found
}

/// The commits whose snapshots are there, sorted.
pub(super) fn snapshots(repository: &Path) -> Vec<String> {
    let mut commits: Vec<String> = entries(&repository.join("snapshots"))
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| is_commit(name))
        .collect();
    commits.sort();
    commits
}

/// The repositories of the cache by id.
fn repositories(cache: &Path) -> Result<BTreeMap<String, PathBuf>> {
    match fs::read_dir(cache) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            let message = format!("The hub cache {} cannot be read: {}.", cache.display(), reason(&error));
            return Err(Error::new(Code::InvalidOption, message).with("option", "cacheDir"));
        }
        Ok(_) => {}
    }
    Ok(entries(cache)
        .into_iter()
        .filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_prefix("models--")?.replacen("--", "/", 1);
            path.is_dir().then_some((id, path))
        })
        .collect())
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Bytes of the files below a folder; links are not followed, so that a blob counts once.
pub(super) fn bytes(folder: &Path, depth: usize) -> u64 {
    entries(folder)
        .into_iter()
        .filter_map(|path| Some((fs::symlink_metadata(&path).ok()?, path)))
        .map(|(meta, path)| match meta.file_type() {
            kind if kind.is_file() => meta.len(),
            kind if kind.is_dir() && depth > 0 => bytes(&path, depth - 1),
            _ => 0,
        })
        .sum()
}

/// Files and links below a folder, sorted.
pub(super) fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder) {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() && depth < 16 => folders.push((path, depth + 1)),
                Ok(meta) if !meta.is_dir() => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}
