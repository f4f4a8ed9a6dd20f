//! Where a provider keeps what it compiled for a model.
//!
//! TensorRT, CoreML and OpenVINO name their files by the shape of a graph, not by its weights: two fine-tunes
//! of one model would share them. So each model and each set-up has a folder of its own.

use std::fs::create_dir_all;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

/// What tells a file from every other one, as long as nobody changes it in place: real path, size, time.
pub(super) fn identity(file: &Path) -> String {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let metadata = real.metadata().ok();
    let size = metadata.as_ref().map_or(0, std::fs::Metadata::len);
    let modified = metadata.and_then(|data| data.modified().ok()).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}\0{size}\0{}\0", real.display(), modified.unwrap_or_default().as_nanos())
}

/// What tells a model of several files from every other one. The graph alone does not: a fine-tune may change nothing
/// but the file of weights beside it.
pub(super) fn identity_of(files: impl Iterator<Item = PathBuf>) -> String {
    files.map(|file| identity(&file)).collect()
}

/// The folder `<home>/compiled/<kind>/<key>` for what `parts` tell, made; `None` if it cannot be made: what
/// was compiled is then not kept.
pub(super) fn folder(home: Option<&Path>, kind: &str, parts: &[&[u8]]) -> Option<PathBuf> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let folder = home?.join("compiled").join(kind).join(key);
    create_dir_all(&folder).ok().map(|()| folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_model_has_its_own_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = |kind: &str, parts: &[&[u8]]| folder(Some(home.path()), kind, parts).unwrap();
        let one = at("tensorrt", &[b"graph", b"weights"]);
        assert!(one.is_dir() && one.starts_with(home.path().join("compiled/tensorrt")));
        assert_eq!(one, at("tensorrt", &[b"graph", b"weights"]));
        assert_ne!(one, at("tensorrt", &[b"graphw", b"eights"]));
        assert_ne!(one, at("tensorrt", &[b"graph", b"other"]));
        assert_eq!(folder(None, "tensorrt", &[]), None);
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(folder(Some(&file), "tensorrt", &[]), None);
    }

    #[test]
    fn a_changed_file_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights");
        std::fs::write(&file, "1").unwrap();
        let before = identity(&file);
        assert_eq!(before, identity(&file));
        let graph = folder.path().join("graph");
        std::fs::write(&graph, "g").unwrap();
        let both = || identity_of([graph.clone(), file.clone()].into_iter());
        let model = both();
        std::fs::write(&file, "12").unwrap();
        assert_ne!(before, identity(&file));
        assert_ne!(model, both());
    }
}
