//! Hashing what lies in the cache again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::cache::{self, files_below, snapshots};
use super::hash::{git_hash, is_lfs, sha256};
use super::layout::Repository;
use super::listing::{self, RemoteFile, is_hash};
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

/// Hashes every file of the models in the cache again, or of one of them; with `@revision` those of that snapshot.
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
    let wanted = match model.map(Reference::parse).transpose()? {
        None => {
            let models = cache::cached_models(&cache)?.into_iter();
            models.map(|model| (model.revisions.into_iter().map(|found| found.commit).collect(), model.id)).collect()
        }
        Some(Reference::Hub { id, revision }) => {
            let missing = || cache::missing(Code::ModelNotFound, &id, revision.as_deref(), &cache, known);
            let commits = match revision.as_deref() {
                None => snapshots(&Repository::new(&cache, &id).root()),
                Some(name) => {
                    cache::find(&id, Some(name), &cache).and_then(|found| found.revision).into_iter().collect()
                }
            };
            if commits.is_empty() {
                return Err(missing());
            }
            vec![(commits, id)]
        }
        Some(Reference::Folder(path)) => {
            let message =
                format!("{} is a folder of yours: only files of the hub cache have hashes to compare.", path.display());
            return Err(Error::new(Code::InvalidInput, message));
        }
    };
    let verify = |(commits, id): &(Vec<String>, String)| {
        Work { progress: Progress::new(id, Arc::clone(&on_file)), cancel, hashes: BTreeMap::new() }.model(
            &Repository::new(&cache, id),
            id,
            commits,
        )
    };
    wanted.iter().map(verify).collect()
}

/// A file of a snapshot, and what its content should be.
struct Found {
    file: String,
    commit: String,
    path: PathBuf,
    bytes: u64,
    /// As the hub lists it, else as the blob is called.
    expected: Option<String>,
}

impl Found {
    fn label(&self) -> String {
        format!("{}/{}", &self.commit[..7.min(self.commit.len())], self.file)
    }
}

/// Hashing the files of a model.
struct Work<'a> {
    progress: Arc<Progress>,
    cancel: &'a Cancel,
    /// By content and kind of hash: each is read once, however many names it has.
    hashes: BTreeMap<(PathBuf, bool), std::result::Result<String, String>>,
}

impl Work<'_> {
    fn model(mut self, repository: &Repository, id: &str, commits: &[String]) -> Result<VerifiedModel> {
        let found: Vec<Found> = commits.iter().flat_map(|commit| files(repository, commit)).collect();
        for file in &found {
            self.progress.initiate(&file.label(), file.bytes);
        }
        let mut files = Vec::with_capacity(found.len());
        for found in found {
            let reason = self.check(&found)?;
            self.progress.done(&found.label());
            let Found { file, commit: revision, bytes, .. } = found;
            files.push(VerifiedFile { file, revision, bytes, ok: reason.is_none(), reason });
        }
        self.progress.finish();
        Ok(VerifiedModel { id: id.to_owned(), path: repository.root(), ok: files.iter().all(|file| file.ok), files })
    }

    /// What is wrong with a file.
    fn check(&mut self, found: &Found) -> Result<Option<String>> {
        let Ok(content) = fs::canonicalize(&found.path) else { return Ok(Some("it is missing".to_owned())) };
        let Some(expected) = &found.expected else {
            return Ok(Some("it has no hash to compare with: download the model again to be sure".to_owned()));
        };
        let key = (content, is_lfs(expected));
        if !self.hashes.contains_key(&key) {
            let hash = self.hash(&key.0, key.1, &found.label())?;
            self.hashes.insert(key.clone(), hash);
        }
        Ok(match &self.hashes[&key] {
            Ok(hash) if hash == expected => None,
            Ok(hash) => Some(format!("it has the hash {hash}, not {expected}")),
            Err(reason) => Some(reason.clone()),
        })
    }

    fn hash(&self, content: &Path, lfs: bool, label: &str) -> Result<std::result::Result<String, String>> {
        let hashed = if lfs {
            sha256(content, self.cancel, |done, read| self.progress.at(label, done, read))
        } else {
            git_hash(content, self.cancel)
        };
        match hashed {
            Ok(hash) => hash.map(Ok),
            Err(error) => Ok(Err(format!("it cannot be read: {error}"))),
        }
    }
}

/// What lies in a snapshot.
fn files(repository: &Repository, commit: &str) -> Vec<Found> {
    let root = repository.snapshot(commit);
    let listed = listing::read(repository, commit).unwrap_or_default();
    let found = files_below(&root).into_iter().map(|path| {
        let file = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        let expected = match listed.get(&file).and_then(RemoteFile::hash) {
            Some(hash) => Some(hash.to_owned()),
            None => blob_name(&path),
        };
        Found { file, commit: commit.to_owned(), path, bytes, expected }
    });
    found.collect()
}

/// The hash that a blob is called by; a copy, on a disk without links, has none.
fn blob_name(path: &Path) -> Option<String> {
    let content = fs::read_link(path).ok()?;
    let name = content.file_name()?.to_str()?;
    (is_hash(name, 64) || is_hash(name, 40)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::hub::layout::Unlinked;
    use crate::hub::listing::Files;

    // `printf 'hello\n' | git hash-object --stdin`, and sha256sum of the same.
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn reasons(cache: &Path, model: Option<&str>) -> Vec<(String, Option<String>)> {
        let config = HubConfig { cache_dir: Some(cache.to_owned()), ..HubConfig::default() };
        let models = verify(model, &config, &[], Arc::new(|_| {}), &Cancel::never()).unwrap();
        models.into_iter().flat_map(|model| model.files).map(|file| (file.file, file.reason)).collect()
    }

    #[test]
    fn a_copy_is_compared_with_the_list_of_files() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "o/n").with_links(false);
        repository.make_folders().unwrap();
        let commit = "a".repeat(40);
        for (file, hash) in [("config.json", GIT), ("model.bin", SHA256)] {
            fs::write(repository.blob(hash), "hello\n").unwrap();
            repository.link(&commit, file, hash, Unlinked::Move).unwrap();
        }
        let unknown = reasons(cache.path(), None);
        assert!(unknown.iter().all(|(_, reason)| reason.as_ref().unwrap().contains("no hash")), "{unknown:?}");

        let small =
            RemoteFile { size: Some(6), blob_id: Some(GIT.into()), lfs_sha256: None, lfs_size: None, xet_hash: None };
        let large = RemoteFile { lfs_sha256: Some(SHA256.into()), lfs_size: Some(6), ..small.clone() };
        let list = Files::from([("config.json".to_owned(), small), ("model.bin".to_owned(), large)]);
        listing::write(&repository, &commit, &list);
        let right = [("config.json".to_owned(), None), ("model.bin".to_owned(), None)];
        assert_eq!(reasons(cache.path(), Some("o/n")), right);
        fs::write(repository.snapshot(&commit).join("model.bin"), "hellO\n").unwrap();
        let wrong = reasons(cache.path(), Some(&format!("o/n@{commit}")));
        assert_eq!(wrong[0], right[0]);
        assert!(wrong[1].1.as_ref().unwrap().contains(SHA256), "{wrong:?}");
    }

    #[test]
    fn the_snapshot_that_is_named_and_no_other() {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "o/n");
        repository.make_folders().unwrap();
        let (good, bad) = ("a".repeat(40), "b".repeat(40));
        fs::write(repository.blob(GIT), "hello\n").unwrap();
        fs::write(repository.blob(SHA256), "other").unwrap();
        repository.link(&good, "good", GIT, Unlinked::Copy).unwrap();
        repository.link(&bad, "bad", SHA256, Unlinked::Copy).unwrap();
        repository.link(&bad, "gone", &"c".repeat(40), Unlinked::Copy).unwrap();
        repository.write_ref("v1", &good).unwrap();
        assert_eq!(reasons(cache.path(), Some("o/n@v1")), [("good".to_owned(), None)]);
        let all = reasons(cache.path(), Some("o/n"));
        assert_eq!(all.len(), 3);
        assert!(
            all[1].1.as_ref().unwrap().contains("hash") && all[2].1.as_ref().unwrap().contains("missing"),
            "{all:?}"
        );
        let config = HubConfig { cache_dir: Some(cache.path().to_owned()), ..HubConfig::default() };
        let error = verify(Some("o/n@v2"), &config, &[], Arc::new(|_| {}), &Cancel::never()).unwrap_err();
        assert_eq!(error.code, Code::ModelNotFound);
    }
}
