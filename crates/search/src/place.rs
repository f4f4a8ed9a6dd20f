//! Where the index of a folder lies unless the caller says so.

use std::path::{Path, PathBuf};

use embedding_engine::hub::{HubConfig, home_dir};
use embedding_engine::{Code, Error, Result};

use crate::recipe::hash;

/// `<home>/indexes/<name of the folder>-<hash of its whole path>.db`, with the home of the engine's own state.
///
/// # Errors
/// `INVALID_INPUT` on a machine without a home folder.
pub fn default_store(folder: &Path, home: Option<PathBuf>) -> Result<PathBuf> {
    let home = home_dir(&HubConfig { home, ..HubConfig::default() }).ok_or_else(|| {
        Error::new(
            Code::InvalidInput,
            "There is no place for the index, because this user has no home folder. Set the option store (a file), or \
             home or EMBEDDING_ENGINE_HOME (a folder).",
        )
    })?;
    let digest = hash(folder.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')).take(40).collect();
    Ok(home.join("indexes").join(format!("{name}-{digest}.db")))
}

/// The folder by its one true path.
///
/// # Errors
/// `INVALID_INPUT` for what is no folder.
pub fn canonical_folder(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display().to_string();
    let refused = |why: String| {
        Error::new(Code::InvalidInput, format!("{shown} {why}. Give the folder that is to be searched."))
            .with("path", shown.as_str())
    };
    let path = folder.canonicalize().map_err(|error| refused(format!("cannot be opened: {error}")))?;
    if path.is_dir() { Ok(path) } else { Err(refused("is no folder".to_owned())) }
}
