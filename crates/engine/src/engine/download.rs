//! Models onto this machine: for calls that need them, and for those who want them ahead of time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Serialize;
use serde_json::Value;

use super::event::{Event, Level, OnEvent};
use super::settle::{Settle, disposed};
use super::{Inner, json, reference};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::hub::{self, HubConfig, Listing, Located, Obtained, OnFile, VerifiedModel, Wishes};
use crate::model::{self, License, ModelOverrides, catalogue};
use crate::sync::catch;

/// A model that is to be on disk.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) overrides: &'a ModelOverrides,
    /// Further files of the repository.
    pub(super) include: Option<&'a GlobSet>,
}

/// Finds a model, fetches what is missing, and tells its licence once it is being downloaded.
pub(super) fn obtain(config: &HubConfig, asked: &Asked<'_>, cancel: &Cancel, events: &OnEvent) -> Result<Obtained> {
    let known = known_names(asked.model);
    let id = asked.model.split('@').next().unwrap_or(asked.model);
    let mut told = false;
    let mut select = |listing: &Listing<'_>| {
        let revision = listing.root().file_name().map(|commit| commit.to_string_lossy().into_owned());
        let located = Located { id: id.to_owned(), revision, root: listing.root().to_owned() };
        let files: BTreeMap<&str, Option<u64>> = listing.files().collect();
        let mut selection = model::needed(&located, &files, asked.overrides)?;
        if selection.later == 0 {
            let further = files.keys().filter(|file| asked.include.is_some_and(|include| include.is_match(file)));
            selection.files.extend(further.map(|file| (*file).to_owned()));
            selection.files.sort_unstable();
            selection.files.dedup();
        }
        // By now its README is there, and the large files are not.
        let describes = selection.files.iter().all(|file| located.root.join(file).exists());
        if selection.later == 0 && !describes && !std::mem::replace(&mut told, true) {
            events(license_notice(id, model::license(&located)));
        }
        Ok(selection)
    };
    let on_file: OnFile = {
        let events = Arc::clone(events);
        Arc::new(move |event| events(Event::File(event)))
    };
    let wishes = Wishes {
        known: &known,
        is_complete: &|located, listing| is_complete(located, listing, asked),
        select: &mut select,
        on_file,
        on_fallback: &|message| events(Event::Notice { level: Level::Warn, message }),
    };
    hub::obtain(asked.model, config, wishes, cancel)
}

/// Whether a snapshot has what is needed, further files included.
fn is_complete(located: &Located, listing: Option<&Listing<'_>>, asked: &Asked<'_>) -> bool {
    if !model::is_complete(located, asked.overrides) {
        return false;
    }
    // Without a list of the files, only the hub can say whether there are further ones.
    let Some(listing) = listing else { return asked.include.is_none() };
    let is_further = |file: &str| asked.include.is_some_and(|include| include.is_match(file));
    let mut further = listing.files().map(|(file, _)| file).filter(|file| is_further(file));
    has_needed(located, listing, asked.overrides).unwrap_or(false) && further.all(|file| listing.has(file))
}

/// Whether a snapshot has all files that the model needs. A README that is missing is no reason to ask the hub.
///
/// # Errors
/// As [`model::needed`].
pub(super) fn has_needed(located: &Located, listing: &Listing<'_>, overrides: &ModelOverrides) -> Result<bool> {
    let selection = model::needed(located, &listing.files().collect(), overrides)?;
    Ok(selection.files.iter().all(|file| file == "README.md" || listing.has(file)))
}

/// Names that a mistyped one may have meant; who asks for a model that we know did not mistype it.
pub(super) fn known_names(model: &str) -> Vec<&str> {
    let id = model.split('@').next().unwrap_or(model);
    match catalogue::find(id) {
        Some(_) => vec![id],
        None => catalogue::names().collect(),
    }
}

/// A licence that restricts what may be done is worth a warning, one that does not is good to know.
fn license_notice(id: &str, license: Option<License>) -> Event {
    const PERMISSIVE: [&str; 9] =
        ["apache-2.0", "mit", "isc", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "cc-by-4.0", "unlicense"];
    let Some(License { name, link, note }) = license else {
        let message =
            format!("The model {id} states no licence: ask its author before you use it for more than a trial.");
        return Event::Notice { level: Level::Warn, message };
    };
    let link = link.map(|link| format!(" ({link})")).unwrap_or_default();
    let note = note.map(|note| format!(" {note}")).unwrap_or_default();
    let permissive = note.is_empty() && PERMISSIVE.iter().any(|known| known.eq_ignore_ascii_case(&name));
    let level = if permissive { Level::Info } else { Level::Warn };
    Event::Notice { level, message: format!("The model {id} is licensed under {name}{link}.{note}") }
}

/// A call that fetches a model without loading it.
#[derive(Debug, Clone, Default)]
pub struct DownloadRequest {
    /// As in [`super::EmbedRequest`], but not `auto`.
    pub model: Option<String>,
    /// Globs of files of the repository that are fetched beside those that are needed (`*` matches `/` too).
    pub include: Vec<String>,
}

impl DownloadRequest {
    /// Reads a request from a JSON object: `model`, `include`.
    ///
    /// # Errors
    /// `INVALID_OPTION`, `INVALID_INPUT`.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut request = DownloadRequest::default();
        for (name, value) in &json::object(json, "options of a download")? {
            match name.as_str() {
                "model" => request.model = Some(json::option(name, value, "an alias, a hub id or a path")?),
                "include" => request.include = json::option(name, value, "a list of globs")?,
                _ => return Err(json::unknown(name, &["model", "include"])),
            }
        }
        request.globs()?;
        Ok(request)
    }

    fn globs(&self) -> Result<Option<GlobSet>> {
        if self.include.is_empty() {
            return Ok(None);
        }
        let mut globs = GlobSetBuilder::new();
        for pattern in &self.include {
            let glob = Glob::new(pattern)
                .map_err(|error| json::refused("include", &pattern.as_str().into(), &error.to_string()))?;
            globs.add(glob);
        }
        globs.build().map(Some).map_err(|error| Error::invalid_option("include", format!("include: {error}.")))
    }
}

/// A model that is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Download {
    /// Hub id, or the path as it was given.
    pub id: String,
    /// The commit.
    pub revision: Option<String>,
    /// The folder with its files.
    pub path: PathBuf,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that came over the network.
    pub downloaded_bytes: u64,
    /// The files.
    pub files: Vec<DownloadedFile>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DownloadedFile {
    /// Path in the repository.
    pub file: String,
    /// Its size.
    pub bytes: u64,
}

/// A call of `download`.
pub(super) fn start(inner: &Arc<Inner>, settle: Arc<Settle<Download>>, request: DownloadRequest) {
    let events = settle.reporter().sink();
    on_own_thread(inner, settle, "embedding-fetch", move |inner, cancel| {
        let found = reference::resolve(request.model.as_deref(), None, &inner.options)?;
        let include = request.globs()?;
        let asked = Asked { model: &found.model, overrides: &found.overrides, include: include.as_ref() };
        let Obtained { located, downloaded } = obtain(&inner.options.hub(), &asked, cancel, &events)?;
        let files: Vec<DownloadedFile> =
            hub::files_of(&located).into_iter().map(|(file, bytes)| DownloadedFile { file, bytes }).collect();
        let bytes = files.iter().map(|file| file.bytes).sum();
        let Located { id, revision, root } = located;
        Ok(Download { id, revision, path: root, bytes, downloaded_bytes: downloaded, files })
    });
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether every file is right.
    pub ok: bool,
    /// Bytes of all files.
    pub bytes: u64,
    /// Each model.
    pub models: Vec<VerifiedModel>,
}

/// A call of `verify`.
pub(super) fn start_verify(inner: &Arc<Inner>, settle: Arc<Settle<Verification>>, model: Option<String>) {
    let reporter = settle.reporter().clone();
    on_own_thread(inner, settle, "embedding-verify", move |inner, cancel| {
        let model = model.map(|model| reference::with_all_revisions(&model, &inner.options)).transpose()?;
        let model = model.as_deref();
        let known = model.map(known_names).unwrap_or_default();
        let on_file: OnFile = Arc::new(move |event| reporter.send(Event::File(event)));
        let models = hub::verify(model, &inner.options.hub(), &known, on_file, cancel)?;
        let files = || models.iter().flat_map(|model| &model.files);
        let (ok, bytes) = (files().all(|file| file.ok), files().map(|file| file.bytes).sum());
        Ok(Verification { ok, bytes, models })
    });
}

/// The model that `verify` is asked for, out of a JSON object.
///
/// # Errors
/// `INVALID_OPTION`, `INVALID_INPUT`.
pub fn verify_request(json: &str) -> Result<Option<String>> {
    let mut model = None;
    for (name, value) in &json::object(json, "options of verifying")? {
        match name.as_str() {
            "model" => model = Some(json::option::<String>(name, value as &Value, "an alias or a hub id")?),
            _ => return Err(json::unknown(name, &["model"])),
        }
    }
    Ok(model)
}

/// Work that waits for the network or a disk gets a thread of its own, so that no other call waits with it.
fn on_own_thread<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: Arc<Settle<T>>,
    name: &str,
    work: impl FnOnce(&Inner, &Cancel) -> Result<T> + Send + 'static,
) {
    let Some(running) = inner.models.threads().enter() else {
        settle.finish(Err(disposed()));
        return;
    };
    let (owner, call) = (Arc::clone(inner), Arc::clone(&settle));
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _running = running;
        let result = catch("handling the files of a model", || work(&owner, call.stop()));
        // Held until the caller was told: it may be the last to hold the engine, which ends with it.
        call.finish_holding(result, owner);
    });
    if let Err(error) = started {
        settle.finish(Err(Error::new(Code::OutOfMemory, format!("No thread can be started: {error}."))));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn licences_are_told_by_how_much_they_ask() {
        let notice = |id: &str, license: Option<License>| match license_notice(id, license) {
            Event::Notice { level, message } => (level, message),
            other => panic!("{other:?}"),
        };
        let known = |id: &str| notice(id, Some(catalogue::find(id).unwrap().license()));
        let (level, message) = known("Qodo/Qodo-Embed-1-1.5B");
        assert_eq!(level, Level::Warn);
        assert!(message.contains("QodoAI-Open-RAIL-M (https://") && message.contains("restrictions"), "{message}");
        assert!(known("jinaai/jina-embeddings-v3").1.contains("commercial"));
        assert_eq!(known("Qwen/Qwen3-Embedding-0.6B").0, Level::Info);
        assert_eq!(notice("o/n", None).0, Level::Warn);
        let own = License { name: "CC-BY-NC-4.0".into(), link: None, note: None };
        assert_eq!(notice("o/n", Some(own)).0, Level::Warn);
    }

    #[test]
    fn requests() {
        let request = DownloadRequest::from_json(r#"{"model":"o/n","include":["onnx/*","*.md"]}"#).unwrap();
        let globs = request.globs().unwrap().unwrap();
        assert!(globs.is_match("onnx/a/b.onnx") && globs.is_match("docs/x.md") && !globs.is_match("model.bin"));
        for wrong in [r#"{"include":["["]}"#, r#"{"include":"x"}"#, r#"{"x":1}"#, r#"{"model":1}"#] {
            assert_eq!(DownloadRequest::from_json(wrong).unwrap_err().code, Code::InvalidOption, "{wrong}");
        }
    }
}
