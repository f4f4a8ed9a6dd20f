//! What works on this machine, for `doctor` and for `models list`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::download::{has_needed, known_names};
use super::options::EngineOptions;
use super::reference;
use crate::backend::onnx::{self, OnnxOptions};
use crate::cancel::Cancel;
use crate::device;
use crate::error::{Code, Error, Result};
use crate::hub::{self, CachedModel, CachedRevision, HubStatus, Listing, Located, Removed};
use crate::model::{self, License, ModelOverrides, catalogue};

/// All that a report of a problem should say about the core and its surroundings, as JSON with members
/// for people to read: version, CPU, threads, ONNX Runtime (or why there is none), devices with reasons,
/// the hub cache and the folder of our own state with their free space.
///
/// Nothing in it fails: what cannot be found out says why.
pub fn doctor(options: &EngineOptions) -> Value {
    let onnx = onnx_options(options);
    let onnx_runtime = match onnx::runtime(&onnx) {
        Ok((path, version)) => json!({ "path": path, "version": version }),
        Err(reason) => json!({ "reason": reason }),
    };
    let host = options.device_host();
    let device = match options.device_request().and_then(|request| device::choose(&request, 0, &host)) {
        Ok(chosen) => json!(chosen.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        Err(error) => json!({ "reason": error.message }),
    };
    let hub = options.hub();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "threads": options.threads(),
        "device": device,
        "devices": device::list(&onnx, &host),
        "onnxRuntime": onnx_runtime,
        "cache": match hub::cache_dir(&hub) {
            Ok(path) => folder(&path),
            Err(error) => json!({ "reason": error.message }),
        },
        "home": match hub::home_dir(&hub) {
            Some(path) => folder(&path),
            None => json!({ "reason": "This user has no home folder. Set home or EMBEDDING_ENGINE_HOME." }),
        },
    })
}

/// Where the hub is and whether it answers; asks it once, for at most 2.5 s.
pub fn hub_status(options: &EngineOptions) -> HubStatus {
    hub::status(&options.hub(), &Cancel::never())
}

/// The folder of a model, without any network.
///
/// # Errors
/// `MODEL_NOT_FOUND` if it is not there, or not whole; `INVALID_INPUT`.
pub fn model_path(options: &EngineOptions, model: &str) -> Result<Located> {
    let found = reference::resolve(Some(model), None, options)?;
    let (hub, known) = (options.hub(), known_names(&found.model));
    let located = hub::locate_known(&found.model, &hub, &known)?;
    if lacks_files(&hub::cache_dir(&hub)?, &located, &found.overrides) {
        let command = format!("npx embedding-engine models download {}", found.model);
        let message = format!(
            "The model {} is not whole in {}: its download was broken off. Get the rest with `{command}`.",
            found.model,
            located.root.display()
        );
        return Err(Error::new(Code::ModelNotFound, message).with("model", found.model).with("command", command));
    }
    Ok(located)
}

/// Whether files of a snapshot are known to be missing. Nothing is known where the cache has no list of them, and
/// of a model that we cannot run.
fn lacks_files(cache: &Path, located: &Located, overrides: &ModelOverrides) -> bool {
    let look = |listing: &Listing<'_>| has_needed(located, listing, overrides).is_ok_and(|has| !has);
    hub::with_listing(cache, located, look).unwrap_or(false)
}

/// Removes a model from the hub cache: see [`hub::remove`].
///
/// # Errors
/// As there.
pub fn remove_model(options: &EngineOptions, model: &str) -> Result<Removed> {
    let model = reference::with_all_revisions(model, options)?;
    hub::remove(&model, &options.hub(), &known_names(&model))
}

/// Every device that this build knows, as `listDevices` tells it.
pub fn list_devices(options: &EngineOptions) -> Vec<device::DeviceInfo> {
    device::list(&onnx_options(options), &options.device_host())
}

fn onnx_options(options: &EngineOptions) -> OnnxOptions {
    OnnxOptions { library: options.onnx_runtime.clone(), threads: options.threads(), ..OnnxOptions::default() }
}

fn folder(path: &Path) -> Value {
    json!({
        "path": path,
        "exists": path.is_dir(),
        "writable": is_writable(path),
        "freeSpace": hub::free_space(path),
    })
}

/// Whether a file can be made in the folder, or in the nearest one above it that exists. Tried, because
/// permissions do not tell of mounts and quotas.
fn is_writable(path: &Path) -> bool {
    let Some(folder) = path.ancestors().find(|folder| folder.is_dir()) else { return false };
    let file = folder.join(format!(".embedding-engine-{}", std::process::id()));
    let made = std::fs::File::create_new(&file).is_ok();
    if made {
        let _ = std::fs::remove_file(&file);
    }
    made
}

/// A model that is known by name, or lies in the hub cache, or both.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelEntry {
    /// Hub id.
    pub id: String,
    /// Short names for it.
    pub aliases: Vec<&'static str>,
    /// Its licence, where it is known.
    pub license: Option<License>,
    /// The commit that the aliases stand for.
    pub revision: Option<&'static str>,
    /// What it is good for.
    pub summary: Option<&'static str>,
    /// Millions of parameters.
    pub parameters: Option<u32>,
    /// Width of its vectors.
    pub dimensions: Option<usize>,
    /// The longest text, in tokens.
    pub max_tokens: Option<usize>,
    /// Widths that its vectors can be cut to.
    pub matryoshka: Vec<usize>,
    /// What of it lies in the hub cache.
    pub cached: Option<CachedFiles>,
}

/// The files of a model in the hub cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedFiles {
    /// Their folder.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// The snapshots that are there.
    pub revisions: Vec<CachedSnapshot>,
}

/// A snapshot in the hub cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedSnapshot {
    /// Which one, and where.
    #[serde(flatten)]
    pub revision: CachedRevision,
    /// False where files that the model needs are known to be missing: its download was broken off.
    pub complete: bool,
}

/// The models of the catalogue, then those that are only in the hub cache, by id.
///
/// # Errors
/// `INVALID_OPTION` if the cache exists and cannot be read.
pub fn list_models(options: &EngineOptions) -> Result<Vec<ModelEntry>> {
    let mut cached: Vec<(String, CachedFiles)> = match hub::cache_dir(&options.hub()) {
        Ok(cache) => {
            let models = hub::cached_models(&cache)?.into_iter();
            models.map(|model| (model.id.clone(), cached_files(&cache, model, options))).collect()
        }
        // Without a home folder there is no cache, but the catalogue stands.
        Err(_) => Vec::new(),
    };
    let mut take = |id: &str| {
        let index = cached.iter().position(|(cached, _)| cached.eq_ignore_ascii_case(id))?;
        Some(cached.remove(index).1)
    };
    let bundled = options.bundled_model.as_deref().and_then(bundled_entry);
    let known = catalogue::KNOWN.iter().map(|known| ModelEntry {
        id: known.id.to_owned(),
        aliases: known.aliases.to_vec(),
        license: Some(known.license()),
        revision: known.revision,
        summary: Some(known.summary),
        parameters: Some(known.parameters),
        dimensions: Some(known.dimensions),
        max_tokens: known.max_tokens,
        matryoshka: known.matryoshka.to_vec(),
        cached: take(known.id),
    });
    let mut entries: Vec<ModelEntry> = bundled.into_iter().chain(known).collect();
    entries.extend(cached.into_iter().map(|(id, files)| ModelEntry {
        id,
        aliases: Vec::new(),
        license: None,
        revision: None,
        summary: None,
        parameters: None,
        dimensions: None,
        max_tokens: None,
        matryoshka: Vec::new(),
        cached: Some(files),
    }));
    Ok(entries)
}

/// The model that came with the package, as its folder tells.
fn bundled_entry(folder: &Path) -> Option<ModelEntry> {
    let located = Located { id: "bundled".to_owned(), revision: None, root: folder.to_owned() };
    let spec = model::describe(&located, &ModelOverrides::default()).ok()?;
    let (rows, width) = model::static_table::table_shape(&spec.files.weights).ok()?;
    Some(ModelEntry {
        id: spec.id,
        aliases: Vec::new(),
        license: spec.license,
        revision: None,
        summary: Some("Code and questions about it, at once and without a download"),
        parameters: Some((rows * width).div_ceil(1_000_000) as u32),
        dimensions: Some(spec.dimensions),
        max_tokens: Some(spec.max_tokens),
        matryoshka: spec.matryoshka,
        cached: None,
    })
}

fn cached_files(cache: &Path, model: CachedModel, options: &EngineOptions) -> CachedFiles {
    let CachedModel { id, path, bytes, revisions } = model;
    let overrides = options.model_defaults.get(&id).cloned().unwrap_or_default();
    let snapshot = |revision: CachedRevision| {
        let located = Located { id: id.clone(), revision: Some(revision.commit.clone()), root: revision.path.clone() };
        CachedSnapshot { complete: !lacks_files(cache, &located, &overrides), revision }
    };
    CachedFiles { path, bytes, revisions: revisions.into_iter().map(snapshot).collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(folder: &Path) -> EngineOptions {
        let path = Some(folder.to_owned());
        EngineOptions { cache_dir: path.clone(), home: path, threads: Some(2), ..EngineOptions::default() }
    }

    #[test]
    fn tells_of_its_surroundings() {
        let folder = tempfile::tempdir().unwrap();
        let report = doctor(&options(folder.path()));
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&report["threads"], &report["cache"]["writable"]), (&2.into(), &true.into()));
        assert_eq!(report["cache"]["path"], folder.path().to_str().unwrap());
        assert!(report["onnxRuntime"]["version"].is_string() || report["onnxRuntime"]["reason"].is_string());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left behind");
        assert_eq!(folder_of_nothing()["writable"], false);
    }

    fn folder_of_nothing() -> Value {
        folder(Path::new("no such relative folder"))
    }

    #[test]
    fn lists_the_catalogue_and_what_is_cached() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("models--owner--name/snapshots/0123456789012345678901234567890123456789");
        std::fs::create_dir_all(&snapshot).unwrap();
        let entries = list_models(&options(folder.path())).unwrap();
        let code = entries.iter().find(|entry| entry.aliases.contains(&"code")).unwrap();
        assert!(code.license.is_some() && code.cached.is_none());
        let own = entries.last().unwrap();
        assert_eq!((own.id.as_str(), own.cached.as_ref().unwrap().revisions.len()), ("owner/name", 1));
        let json = serde_json::to_value(code).unwrap();
        assert!(json["maxTokens"].is_null() || json["maxTokens"].is_u64());
    }
}
