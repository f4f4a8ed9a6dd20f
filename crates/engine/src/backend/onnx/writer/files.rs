//! Where the weights of a written graph lie: ONNX Runtime reads them from the safetensors files.
//!
//! It takes names within one folder only and looks at real paths, so that the links of a hub cache
//! must be resolved first. There all blobs lie in one folder, under other names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Code, Error, Result};

/// The files of a model by their names in the graph.
#[derive(Debug, Clone)]
pub(in crate::backend::onnx) struct Files {
    /// As the model's description names them, then the real path.
    real: BTreeMap<PathBuf, PathBuf>,
    /// The folder of all of them; `None` if they lie in several.
    folder: Option<PathBuf>,
}

impl Files {
    /// Finds the real places of `files`.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for a file that is not there.
    pub(super) fn new(files: &[PathBuf]) -> Result<Self> {
        let real: BTreeMap<PathBuf, PathBuf> = files
            .iter()
            .map(|file| {
                let real = file
                    .canonicalize()
                    .map_err(|error| Error::bad_checkpoint(file, format!("cannot be opened: {error}")))?;
                Ok((file.clone(), real))
            })
            .collect::<Result<_>>()?;
        let mut folders = real.values().filter_map(|file| file.parent());
        let first = folders.next();
        let shared = first.filter(|first| folders.all(|folder| folder == *first));
        // A name that is not UTF-8 cannot stand in a graph, nor in the configuration of a session.
        let named = real.values().all(|file| file.to_str().is_some());
        let folder = shared.filter(|_| named).map(Path::to_owned);
        Ok(Files { real, folder })
    }

    /// The folder that ONNX Runtime is to read the files from; `None` if they are given to it by
    /// [`Files::in_memory`].
    pub(in crate::backend::onnx) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The name of a file in the graph.
    pub(super) fn location(&self, file: &Path) -> String {
        let name = self.real.get(file).and_then(|real| real.file_name()).and_then(|name| name.to_str());
        match (&self.folder, name) {
            (Some(_), Some(name)) => name.to_owned(),
            _ => self.number(file),
        }
    }

    /// Files of several folders may have the same name: they are told apart by number.
    fn number(&self, file: &Path) -> String {
        let at = self.real.keys().position(|key| key == file).unwrap_or(self.real.len());
        format!("weights-{at}")
    }

    /// The files by their names in the graph, read into memory, for files that lie in several folders.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT`, `OUT_OF_MEMORY`.
    pub(in crate::backend::onnx) fn in_memory(&self) -> Result<Vec<(String, Arc<[u8]>)>> {
        let read = |file: &Path, real: &Path| {
            let bytes = std::fs::read(real).map_err(|error| match error.kind() {
                std::io::ErrorKind::OutOfMemory => {
                    Error::new(Code::OutOfMemory, format!("{}: no memory to read it", file.display()))
                }
                _ => Error::bad_checkpoint(file, format!("cannot be read: {error}")),
            })?;
            Ok((self.number(file), Arc::from(bytes)))
        };
        self.real.iter().map(|(file, real)| read(file, real)).collect()
    }

    /// What tells this set of files from every other one: real paths, sizes and times.
    pub(in crate::backend::onnx) fn identity(&self) -> String {
        super::super::cache::identity_of(self.real.values().cloned())
    }
}
