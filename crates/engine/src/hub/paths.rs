//! The folders of this machine: the hub cache that is shared with Python tools, and our own state.

use std::path::{Path, PathBuf};

use super::HubConfig;
use crate::error::{Code, Error, Result};

/// The environment, passed in so that tests need not change that of the process.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The hub cache: `HubConfig::cache_dir`, else `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`,
/// `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`, as `huggingface_hub` looks for it. It
/// need not exist.
///
/// # Errors
/// `MODEL_NOT_FOUND` on a machine without a home folder where none of these is set.
pub fn cache_dir(config: &HubConfig) -> Result<PathBuf> {
    cache_dir_in(config, &var)
}

pub(super) fn cache_dir_in(config: &HubConfig, env: Env<'_>) -> Result<PathBuf> {
    if let Some(dir) = &config.cache_dir {
        return Ok(absolute(dir));
    }
    let named = |name: &str| env(name).map(|value| absolute(&expand_home(&value, env)));
    named("HF_HUB_CACHE")
        .or_else(|| named("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| hf_home_in(env).map(|home| home.join("hub")))
        .ok_or_else(|| {
            Error::new(
                Code::ModelNotFound,
                "There is no hub cache, because this user has no home folder. Set cacheDir or HF_HUB_CACHE.",
            )
        })
}

/// The folder of the hub's own tools: `HF_HOME`, `$XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface`.
pub(super) fn hf_home_in(env: Env<'_>) -> Option<PathBuf> {
    let named = |name: &str| env(name).map(|value| absolute(&expand_home(&value, env)));
    named("HF_HOME")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
        .or_else(|| user_home(env).map(|home| home.join(".cache").join("huggingface")))
}

/// The folder of our own state: `HubConfig::home`, else `EMBEDDING_ENGINE_HOME`, else
/// `embedding-engine` in the platform's data folder (`$XDG_DATA_HOME` or `~/.local/share`,
/// `~/Library/Application Support`, `%LOCALAPPDATA%`). `None` on a machine without any. It need not exist.
pub fn home_dir(config: &HubConfig) -> Option<PathBuf> {
    home_dir_in(config, &var)
}

pub(super) fn home_dir_in(config: &HubConfig, env: Env<'_>) -> Option<PathBuf> {
    if let Some(dir) = &config.home {
        return Some(absolute(dir));
    }
    if let Some(dir) = env("EMBEDDING_ENGINE_HOME") {
        return Some(absolute(&expand_home(&dir, env)));
    }
    let data = if cfg!(windows) {
        env("LOCALAPPDATA").map(PathBuf::from).or_else(|| user_home(env).map(|home| home.join("AppData").join("Local")))
    } else if cfg!(target_os = "macos") {
        user_home(env).map(|home| home.join("Library").join("Application Support"))
    } else {
        // The XDG rule: a relative value is to be ignored.
        env("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .or_else(|| user_home(env).map(|home| home.join(".local").join("share")))
    };
    data.map(|data| data.join("embedding-engine"))
}

/// An environment variable that is set and not empty.
pub(super) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn user_home(env: Env<'_>) -> Option<PathBuf> {
    if cfg!(windows) { env("USERPROFILE").or_else(|| env("HOME")) } else { env("HOME") }.map(PathBuf::from)
}

/// A leading `~` is expanded, as `huggingface_hub` does in these variables.
fn expand_home(value: &str, env: Env<'_>) -> PathBuf {
    let rest = match value {
        "~" => Some(""),
        _ => value.strip_prefix("~/").or_else(|| value.strip_prefix("~\\")),
    };
    match (rest, user_home(env)) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
