//! Finding the files of a model: a local folder or the standard hub cache.
//!
//! Knows places, not what the files mean.

use std::path::PathBuf;

use crate::error::{Code, Error, Result};

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
    pub token: Option<String>,
    /// Never touch the network; default `HF_HUB_OFFLINE`.
    pub offline: Option<bool>,
}

/// A model that was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Hub id (`owner/name`), or the path as it was given.
    pub id: String,
    /// The commit of the snapshot; `None` for a plain folder.
    pub revision: Option<String>,
    /// The folder that holds the files (absolute).
    pub root: PathBuf,
}

/// Finds the folder of a model.
///
/// `model` is a path (`./x`, `../x`, `/x`, `C:\x`, `file:…`), an alias or a hub id with `@revision` if wanted.
///
/// # Errors
/// `MODEL_NOT_FOUND` with what was looked for, where, and how to get it; `INVALID_INPUT` for what is
/// no model reference at all.
pub fn locate(model: &str, _config: &HubConfig) -> Result<Located> {
    Err(Error::new(Code::ModelNotFound, format!("{model}: not found")))
}
