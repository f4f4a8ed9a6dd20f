//! Taking models out of the hub cache.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cache::{bytes, entries, files_below, is_commit, missing, read_ref, refs, snapshots};
use super::layout::Repository;
use super::{HubConfig, Reference, paths, reason};
use crate::error::{Code, Error, Result};

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Hub id.
    pub id: String,
    /// The commits of the snapshots.
    pub revisions: Vec<String>,
    /// Bytes that were freed.
    pub bytes: u64,
    /// The folder of the model in the cache.
    pub path: PathBuf,
}

/// Removes a model from the hub cache; with `@revision`, that snapshot and the contents that no other has.
///
/// # Errors
/// `MODEL_NOT_FOUND` if it is not there; `INVALID_INPUT` for a folder, which is not ours to remove, and for
/// what cannot be removed.
pub fn remove(model: &str, config: &HubConfig, known: &[&str]) -> Result<Removed> {
    let Reference::Hub { id, revision } = Reference::parse(model)? else {
        let message = format!("{model} is a folder of yours, not a model of the hub cache. Remove it yourself.");
        return Err(Error::new(Code::InvalidInput, message).with("model", model));
    };
    let cache = paths::cache_dir(config)?;
    let repository = Repository::new(&cache, &id);
    let path = repository.root();
    let there = snapshots(&path);
    let gone = || missing(Code::ModelNotFound, &id, revision.as_deref(), &cache, known);
    if !path.is_dir() {
        return Err(gone());
    }
    let before = bytes(&path, 16);
    let revisions = match &revision {
        None => there.clone(),
        Some(name) => {
            let commit = if is_commit(name) { Some(name.clone()) } else { read_ref(&path, name) };
            vec![commit.filter(|commit| there.contains(commit)).ok_or_else(gone)?]
        }
    };
    let failed = |path: &Path, error: &std::io::Error| {
        let message = format!("{} cannot be removed: {}.", path.display(), reason(error));
        Error::new(Code::InvalidInput, message).with("path", path.display().to_string())
    };
    if revisions.len() == there.len() {
        for folder in [path.clone(), repository.locks()].iter().filter(|folder| folder.exists()) {
            fs::remove_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        return Ok(Removed { id, revisions, bytes: before, path });
    }
    for commit in &revisions {
        // The names first: a snapshot that is half removed must not be found by them.
        for (name, target) in refs(&path) {
            if target == *commit {
                let file = path.join("refs").join(name);
                fs::remove_file(&file).map_err(|error| failed(&file, &error))?;
            }
        }
        let _ = fs::remove_file(repository.tree(commit));
        let snapshot = repository.snapshot(commit);
        fs::remove_dir_all(&snapshot).map_err(|error| failed(&snapshot, &error))?;
    }
    let used: BTreeSet<PathBuf> =
        files_below(&path.join("snapshots")).into_iter().filter_map(|pointer| fs::canonicalize(pointer).ok()).collect();
    for blob in entries(&path.join("blobs")) {
        let partial = blob.extension().is_some_and(|extension| extension == "incomplete");
        let is_used = fs::canonicalize(&blob).is_ok_and(|blob| used.contains(&blob));
        if !partial && !is_used {
            fs::remove_file(&blob).map_err(|error| failed(&blob, &error))?;
        }
    }
    let bytes = before.saturating_sub(bytes(&path, 16));
    Ok(Removed { id, revisions, bytes, path })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::hub::layout::Unlinked;

    #[test]
    fn a_snapshot_goes_with_what_only_it_has() {
        let cache = tempfile::tempdir().unwrap();
        let config = HubConfig { cache_dir: Some(cache.path().to_owned()), ..HubConfig::default() };
        let repository = Repository::new(cache.path(), "o/n");
        repository.make_folders().unwrap();
        let (old, new) = ("a".repeat(40), "b".repeat(40));
        for (hash, content) in [("shared", "xxxx"), ("old", "yy"), ("new", "z")] {
            fs::write(repository.blob(hash), content).unwrap();
        }
        for (commit, hash) in [(&old, "old"), (&new, "new")] {
            repository.link(commit, "config.json", "shared", Unlinked::Copy).unwrap();
            repository.link(commit, "1_Pooling/config.json", hash, Unlinked::Copy).unwrap();
        }
        repository.write_ref("main", &new).unwrap();
        repository.write_ref("v1", &old).unwrap();
        assert_eq!(remove("o/other", &config, &[]).unwrap_err().code, Code::ModelNotFound);
        assert_eq!(remove("./m", &config, &[]).unwrap_err().code, Code::InvalidInput);

        let removed = remove("o/n@v1", &config, &[]).unwrap();
        assert_eq!((removed.revisions, removed.bytes), (vec![old], 2 + 40));
        assert!(repository.blob("shared").exists() && !repository.blob("old").exists());
        assert_eq!(fs::read_to_string(repository.snapshot(&new).join("1_Pooling/config.json")).unwrap(), "z");

        let removed = remove("o/n", &config, &[]).unwrap();
        assert_eq!(removed.revisions, [new]);
        assert!(!repository.root().exists());
    }
}
