//! What an engine can be told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::json;
use crate::backend::candle::Dtype;
use crate::device::cuda::ProbeCommand;
use crate::device::{self, Host};
use crate::error::{Error, Result};
use crate::hub::{self, HubConfig, Token};
use crate::model::ModelOverrides;

/// Tokens that may wait where `maxQueuedTokens` does not say otherwise: 16 MiB of ids, and about
/// as much work as a CPU does in an hour.
const DEFAULT_MAX_QUEUED_TOKENS: u64 = 4 << 20;
const MAX_THREADS: usize = 1024;

/// Options of an [`Engine`](super::Engine).
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// `auto`, `cpu`, `cuda:1`, …; default `EMBEDDING_ENGINE_DEVICE`, else `auto`.
    pub device: Option<String>,
    /// Precision of the weights; default `auto`.
    pub dtype: Dtype,
    /// The hub cache; default as the hub's own tools have it.
    pub cache_dir: Option<PathBuf>,
    /// Our own state; default `EMBEDDING_ENGINE_HOME`, then the platform's data folder.
    pub home: Option<PathBuf>,
    /// Address of the hub.
    pub endpoint: Option<String>,
    /// Access token for the hub.
    pub token: Option<Token>,
    /// Never touch the network.
    pub offline: Option<bool>,
    /// Tokens of one batch; default depends on the device (2,048 on a CPU). A longer text runs alone.
    pub max_tokens_per_batch: Option<usize>,
    /// Bytes that the weights of all loaded models may take together; default: no limit.
    pub memory_limit: Option<u64>,
    /// Tokens that may wait, of all calls together; past it a call is `QUEUE_FULL`. Default 4,194,304.
    /// A call larger than this is taken where nothing else waits, because it could never be made otherwise.
    pub max_queued_tokens: u64,
    /// A model that is not used for so long is unloaded; default (and 0): never.
    pub idle_unload_ms: u64,
    /// Threads that compute; default: as many as the process may use at once.
    pub threads: Option<usize>,
    /// Overrides, by model as it is named in calls.
    pub model_defaults: BTreeMap<String, ModelOverrides>,
    /// The ONNX Runtime library; default `EMBEDDING_ENGINE_ONNXRUNTIME`.
    pub onnx_runtime: Option<PathBuf>,
    /// The folder of the model that comes with the package (`bundled`), a full path; default: there is none.
    pub bundled_model: Option<PathBuf>,
    /// How to start a process that tries the libraries of a GPU; default: there is none, and no GPU is used.
    pub probe: Option<ProbeCommand>,
    /// Folders with CUDA's libraries, looked into first; default `EMBEDDING_ENGINE_CUDA_LIBS`.
    pub cuda_libraries: Option<Vec<PathBuf>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            device: None,
            dtype: Dtype::Auto,
            cache_dir: None,
            home: None,
            endpoint: None,
            token: None,
            offline: None,
            max_tokens_per_batch: None,
            memory_limit: None,
            max_queued_tokens: DEFAULT_MAX_QUEUED_TOKENS,
            idle_unload_ms: 0,
            threads: None,
            model_defaults: BTreeMap::new(),
            onnx_runtime: None,
            bundled_model: None,
            probe: None,
            cuda_libraries: None,
        }
    }
}

const KNOWN: &[&str] = &[
    "device",
    "dtype",
    "cacheDir",
    "home",
    "endpoint",
    "token",
    "offline",
    "maxTokensPerBatch",
    "memoryLimit",
    "maxQueuedTokens",
    "idleUnloadMs",
    "threads",
    "modelDefaults",
    "onnxRuntime",
    "bundledModel",
    "probe",
    "cudaLibraries",
];

impl EngineOptions {
    /// Reads options from a JSON object with the names of the public API (`maxTokensPerBatch`, …).
    ///
    /// # Errors
    /// `INVALID_OPTION` with the option and its value; `INVALID_INPUT` for what is no JSON object.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut options = EngineOptions::default();
        for (name, value) in &json::object(json, "options of an engine")? {
            options.set(name, value)?;
        }
        options.validate()?;
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        const TEXT: &str = "a string that is not empty";
        const COUNT: &str = "a whole number, 1 or more";
        match name {
            "device" => self.device = Some(text(name, value, TEXT)?),
            "dtype" => self.dtype = json::option(name, value, "auto, float32, bfloat16, float16 or int8")?,
            "cacheDir" => self.cache_dir = Some(text(name, value, TEXT)?.into()),
            "home" => self.home = Some(text(name, value, TEXT)?.into()),
            "endpoint" => self.endpoint = Some(text(name, value, TEXT)?),
            // Not through `text`: its message would show the token.
            "token" => self.token = Some(secret(name, value)?),
            "offline" => self.offline = Some(json::option(name, value, "true or false")?),
            "maxTokensPerBatch" => self.max_tokens_per_batch = Some(json::option(name, value, COUNT)?),
            "memoryLimit" => self.memory_limit = Some(json::option(name, value, COUNT)?),
            "maxQueuedTokens" => self.max_queued_tokens = json::option(name, value, COUNT)?,
            "idleUnloadMs" => self.idle_unload_ms = json::option(name, value, "a whole number, 0 or more")?,
            "threads" => self.threads = Some(json::option(name, value, THREADS)?),
            "modelDefaults" => self.model_defaults = model_defaults(value)?,
            "onnxRuntime" => self.onnx_runtime = Some(text(name, value, TEXT)?.into()),
            "bundledModel" => self.bundled_model = Some(text(name, value, TEXT)?.into()),
            "probe" => self.probe = Some(json::option(name, value, "an object with program, args and env")?),
            "cudaLibraries" => {
                self.cuda_libraries = Some(folders(&text(name, value, "folders, separated as in PATH")?));
            }
            _ => return Err(json::unknown(name, KNOWN)),
        }
        Ok(())
    }

    /// Checks what a type cannot say.
    ///
    /// # Errors
    /// `INVALID_OPTION` with the option and its value.
    pub fn validate(&self) -> Result<()> {
        if let Some(device) = &self.device {
            device::check_name(device, "device")?;
        }
        at_least_one("maxTokensPerBatch", self.max_tokens_per_batch.map(|tokens| tokens as u64))?;
        at_least_one("memoryLimit", self.memory_limit)?;
        at_least_one("maxQueuedTokens", Some(self.max_queued_tokens))?;
        match self.threads {
            Some(threads) if !(1..=MAX_THREADS).contains(&threads) => {
                Err(json::refused("threads", &threads.into(), THREADS))
            }
            _ => Ok(()),
        }
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Where models are looked for.
    pub fn hub(&self) -> HubConfig {
        HubConfig {
            cache_dir: self.cache_dir.clone(),
            home: self.home.clone(),
            endpoint: self.endpoint.clone(),
            token: self.token.clone(),
            offline: self.offline,
        }
    }

    /// What finding a GPU needs to know.
    pub fn device_host(&self) -> Host {
        let libraries = self.cuda_libraries.clone().or_else(|| {
            let paths = std::env::var("EMBEDDING_ENGINE_CUDA_LIBS").ok()?;
            Some(folders(&paths))
        });
        let libraries = libraries.unwrap_or_default();
        Host { probe: self.probe.clone(), home: hub::home_dir(&self.hub()), libraries }
    }

    /// The device as it was asked for, in options or environment.
    ///
    /// # Errors
    /// `INVALID_OPTION` for a name in `EMBEDDING_ENGINE_DEVICE` that does not exist.
    pub fn device_request(&self) -> Result<String> {
        const VARIABLE: &str = "EMBEDDING_ENGINE_DEVICE";
        if let Some(device) = &self.device {
            return Ok(device.clone());
        }
        let Some(device) = std::env::var(VARIABLE).ok().filter(|device| !device.is_empty()) else {
            return Ok("auto".to_owned());
        };
        device::check_name(&device, VARIABLE)?;
        Ok(device)
    }
}

const THREADS: &str = "a whole number from 1 to 1024";

fn text(name: &str, value: &Value, expected: &str) -> Result<String> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(json::refused(name, value, expected)),
    }
}

/// Full paths of folders that are separated as in `PATH`.
fn folders(paths: &str) -> Vec<PathBuf> {
    let full = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    std::env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()).map(full).collect()
}

fn secret(name: &str, value: &Value) -> Result<Token> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.into()),
        _ => Err(Error::invalid_option(name, format!("{name} must be a string that is not empty."))),
    }
}

fn at_least_one(name: &str, value: Option<u64>) -> Result<()> {
    if value == Some(0) { Err(json::refused(name, &0.into(), "a whole number, 1 or more")) } else { Ok(()) }
}

fn model_defaults(value: &Value) -> Result<BTreeMap<String, ModelOverrides>> {
    let Value::Object(models) = value else {
        return Err(json::refused("modelDefaults", value, "an object with a member for each model"));
    };
    models.iter().map(|(model, value)| Ok((model.clone(), overrides(model, value)?))).collect()
}

/// serde knows best what is wrong inside of the overrides, but not for which model.
fn overrides(model: &str, value: &Value) -> Result<ModelOverrides> {
    let name = format!("modelDefaults[{}]", Value::from(model));
    <ModelOverrides as serde::Deserialize>::deserialize(value)
        .map_err(|error| Error::invalid_option(&name, format!("{name}: {error}, in {}.", json::show(value))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Code;

    #[test]
    fn reads_every_option() {
        let options = EngineOptions::from_json(
            r#"{"device":"cpu","dtype":"bfloat16","cacheDir":"/c","home":"/h","endpoint":"https://e","token":"t",
                "offline":true,"maxTokensPerBatch":8,"memoryLimit":9,"maxQueuedTokens":10,"idleUnloadMs":11,"threads":2,
                "modelDefaults":{"./m":{"causal":false,"maxTokens":7}},"onnxRuntime":"/o.so",
                "probe":{"program":"/p","args":["-e"],"env":{"A":"1","B":null}},"cudaLibraries":"/x"}"#,
        )
        .unwrap();
        assert_eq!(options.device.as_deref(), Some("cpu"));
        assert_eq!(options.dtype, Dtype::Bfloat16);
        assert_eq!(options.max_tokens_per_batch, Some(8));
        assert_eq!((options.memory_limit, options.max_queued_tokens, options.idle_unload_ms), (Some(9), 10, 11));
        assert_eq!(options.threads(), 2);
        assert_eq!(options.model_defaults["./m"].causal, Some(false));
        assert_eq!(options.hub().offline, Some(true));
        assert_eq!(options.onnx_runtime, Some("/o.so".into()));
        let host = options.device_host();
        assert_eq!((host.home, host.libraries), (Some("/h".into()), vec!["/x".into()]));
        assert_eq!(host.probe.unwrap().env["B"], None);
    }

    #[test]
    fn absent_and_null_mean_the_default() {
        assert_eq!(EngineOptions::from_json("{}").unwrap(), EngineOptions::default());
        assert_eq!(EngineOptions::from_json(r#"{"threads":null,"device":null}"#).unwrap(), EngineOptions::default());
    }

    #[test]
    fn a_wrong_option_is_named_with_its_value() {
        let cases = [
            (r#"{"threads":0}"#, "threads", "0"),
            (r#"{"threads":4096}"#, "threads", "4096"),
            (r#"{"threads":"two"}"#, "threads", "two"),
            (r#"{"threads":1.5}"#, "threads", "1.5"),
            (r#"{"maxTokensPerBatch":-1}"#, "maxTokensPerBatch", "-1"),
            (r#"{"maxQueuedTokens":0}"#, "maxQueuedTokens", "0"),
            (r#"{"memoryLimit":0}"#, "memoryLimit", "0"),
            (r#"{"device":"gpu"}"#, "device", "gpu"),
            (r#"{"dtype":"f8"}"#, "dtype", "f8"),
            (r#"{"offline":"yes"}"#, "offline", "yes"),
            (r#"{"cacheDir":""}"#, "cacheDir", "\"\""),
            (r#"{"maxTokensPerbatch":1}"#, "maxTokensPerbatch", "maxTokensPerBatch"),
            (r#"{"modelDefaults":{"./m":{"casual":true}}}"#, "modelDefaults[\"./m\"]", "casual"),
        ];
        for (json, option, shown) in cases {
            let error = EngineOptions::from_json(json).unwrap_err();
            assert_eq!(error.code, Code::InvalidOption, "{json}");
            assert_eq!(error.details["option"], option, "{json}");
            assert!(error.message.contains(shown), "{}", error.message);
        }
        assert_eq!(EngineOptions::from_json("[]").unwrap_err().code, Code::InvalidInput);
        assert_eq!(EngineOptions::from_json("{").unwrap_err().code, Code::InvalidInput);
    }

    #[test]
    fn a_token_is_never_shown() {
        let error = EngineOptions::from_json(r#"{"token":["hf_secret"]}"#).unwrap_err();
        assert!(!error.message.contains("hf_secret") && error.details.get("value").is_none());
        let options = EngineOptions::from_json(r#"{"token":"hf_secret"}"#).unwrap();
        assert!(!format!("{options:?} {:?}", options.hub()).contains("hf_secret"));
    }
}
