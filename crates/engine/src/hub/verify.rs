//! Hashing what lies in the cache again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::cache::{self, files_below, is_commit, snapshots};
use super::hash::{git_hash, is_lfs, sha256};
use super::layout::Repository;
use super::progress::{OnFile, Progress};
use super::{HubConfig, Reference, paths};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

/// The verdict on a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedModel {
    /// Hub id.
    pub id: String,
    /// Its folder in the cache.
    pub path: PathBuf,
    /// Whether every file is right.
    pub ok: bool,
    /// Each file of each snapshot.
    pub files: Vec<VerifiedFile>,
}

/// The verdict on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedFile {
    /// Path in the repository.
    pub file: String,
    /// The commit.
    pub revision: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether it has the hash that it should.
    pub ok: bool,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Hashes every file of the models in the cache again, or of one of them.
///
/// # Errors
/// `MODEL_NOT_FOUND` for a model that is not there; `INVALID_INPUT` for a folder, whose files have no hashes
/// to be compared with; `ABORTED`.
pub fn verify(
    model: Option<&str>,
    config: &HubConfig,
    known: &[&str],
    on_file: OnFile,
    cancel: &Cancel,
) -> Result<Vec<VerifiedModel>> {
    let cache = paths::cache_dir(config)?;
    let ids = match model.map(Reference::parse).transpose()? {
        None => cache::cached_models(&cache)?.into_iter().map(|model| model.id).collect(),
        Some(Reference::Hub { id, revision }) => {
            if snapshots(&Repository::new(&cache, &id).root()).is_empty() {
                return Err(cache::missing(Code::ModelNotFound, &id, revision.as_deref(), &cache, known));
            }
            vec![id]
        }
        Some(Reference::Folder(path)) => {
            let message =
                format!("{} is a folder of yours: only files of the hub cache have hashes to compare.", path.display());
            return Err(Error::new(Code::InvalidInput, message));
        }
    };
    ids.iter().map(|id| verify_model(&cache, id, Arc::clone(&on_file), cancel)).collect()
}

/// Each content is hashed once, however many names it has.
fn verify_model(cache: &Path, id: &str, on_file: OnFile, cancel: &Cancel) -> Result<VerifiedModel> {
    let repository = Repository::new(cache, id);
    let mut found: Vec<(String, String, PathBuf, u64)> = Vec::new();
    for commit in snapshots(&repository.root()) {
        let root = repository.snapshot(&commit);
        for path in files_below(&root) {
            let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
            found.push((name, commit.clone(), path, bytes));
        }
    }
    let progress = Progress::new(id, on_file);
    for (name, commit, _, bytes) in &found {
        progress.initiate(&label(name, commit), *bytes);
    }
    let mut verdicts: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
    let mut files = Vec::with_capacity(found.len());
    for (file, revision, path, bytes) in found {
        let told = label(&file, &revision);
        let content = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let reason = match verdicts.get(&content) {
            Some(known) => known.clone(),
            None => {
                let reason = check(&content, cancel, &progress, &told)?;
                verdicts.insert(content, reason.clone());
                reason
            }
        };
        progress.done(&told);
        files.push(VerifiedFile { file, revision, bytes, ok: reason.is_none(), reason });
    }
    progress.finish();
    Ok(VerifiedModel { id: id.to_owned(), path: repository.root(), ok: files.iter().all(|file| file.ok), files })
}

fn label(file: &str, commit: &str) -> String {
    format!("{}/{file}", &commit[..7.min(commit.len())])
}

/// What is wrong with a content whose name is its hash.
fn check(content: &Path, cancel: &Cancel, progress: &Arc<Progress>, told: &str) -> Result<Option<String>> {
    let name = content.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !content.exists() {
        return Ok(Some("it is missing".to_owned()));
    }
    let found = if is_lfs(name) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        sha256(content, cancel, |done, read| progress.at(told, done, read))
    } else if is_commit(name) {
        git_hash(content, cancel)
    } else {
        // A copy, on a file system without links: its name says nothing.
        return Ok(Some("it has no hash to compare with: download the model again to be sure".to_owned()));
    };
    match found {
        Err(error) => Ok(Some(format!("it cannot be read: {error}"))),
        Ok(Err(aborted)) => Err(aborted),
        Ok(Ok(hash)) if hash == name => Ok(None),
        Ok(Ok(hash)) => Ok(Some(format!("it has the hash {hash}, not {name}"))),
    }
}
