//! How an engine gets at models: a seam, so that the engine can be tested without any.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::EngineOptions;
use crate::backend::{Backend, candle, head::Head, onnx};
use crate::cancel::Cancel;
use crate::device;
use crate::error::{Error, Result};
use crate::hub::{self, HubConfig, Located};
use crate::model::{self, BackendKind, ModelOverrides, ModelSpec};
use crate::sync::catch;
use crate::tokenize::{Encoded, Tokenizer};

/// Text to token ids, as [`Tokenizer`] does it.
pub trait Encoder: Send + Sync {
    /// See [`Tokenizer::encode`].
    ///
    /// # Errors
    /// As there.
    fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded>;

    /// See [`Tokenizer::encode_chunks`].
    ///
    /// # Errors
    /// As there.
    fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)>;
}

impl Encoder for Tokenizer {
    fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded> {
        Tokenizer::encode(self, text, prompt)
    }

    fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        Tokenizer::encode_chunks(self, text, prompt, chunks)
    }
}

/// A model without its weights: enough to check a call and to count tokens.
pub struct Description {
    /// What the model is.
    pub spec: ModelSpec,
    /// Its tokenizer.
    pub encoder: Arc<dyn Encoder>,
}

/// What computes.
pub struct Weights {
    /// Runs batches.
    pub backend: Arc<dyn Backend>,
    /// The modules after pooling.
    pub head: Head,
    /// Digest of all that makes vectors what they are.
    pub content: String,
}

/// Finds and loads models. All of it may take long, and none of it runs on a caller's thread.
pub trait Loader: Send + Sync + 'static {
    /// Finds the folder of a model that is no alias.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND`, `INVALID_INPUT`.
    fn locate(&self, model: &str, cancel: &Cancel) -> Result<Located>;

    /// Reads all but the weights.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED`, `BAD_CHECKPOINT`, `INVALID_OPTION`.
    fn describe(&self, located: &Located, overrides: &ModelOverrides) -> Result<Description>;

    /// What the weights will take in memory, in bytes: known before they are loaded.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT`.
    fn weight_bytes(&self, spec: &ModelSpec) -> Result<u64>;

    /// Loads the weights.
    ///
    /// # Errors
    /// As the backends.
    fn load(&self, spec: &ModelSpec, cancel: &Cancel) -> Result<Weights>;

    /// Tokens of a batch where the options do not say: what keeps the device busy without making others wait.
    fn tokens_per_batch(&self, device: &str) -> usize;
}

/// Models in folders and in the hub cache, run by our backends.
pub struct Files {
    options: EngineOptions,
    hub: HubConfig,
}

impl Files {
    /// A loader for an engine with these options.
    pub fn new(options: &EngineOptions) -> Self {
        Files { options: options.clone(), hub: options.hub() }
    }

    fn device(&self) -> Result<String> {
        device::choose(&self.options.device_request()?)
    }

    fn load_backend(&self, spec: &ModelSpec) -> Result<Arc<dyn Backend>> {
        let device = self.device()?;
        match spec.backend {
            BackendKind::Candle => candle::load(spec, &device, self.options.dtype),
            BackendKind::Onnx => {
                let tokens = self.options.max_tokens_per_batch;
                let options = onnx::OnnxOptions {
                    library: self.options.onnx_runtime.clone(),
                    threads: self.options.threads(),
                    max_padded_tokens: tokens.unwrap_or_else(|| self.tokens_per_batch(&device)),
                };
                onnx::load(spec, &device, &options)
            }
        }
    }
}

impl Loader for Files {
    fn locate(&self, model: &str, _cancel: &Cancel) -> Result<Located> {
        hub::locate(model, &self.hub)
    }

    fn describe(&self, located: &Located, overrides: &ModelOverrides) -> Result<Description> {
        let spec = model::describe(located, overrides)?;
        let encoder = Arc::new(Tokenizer::load(&spec)?);
        Ok(Description { spec, encoder })
    }

    fn weight_bytes(&self, spec: &ModelSpec) -> Result<u64> {
        spec.files.weights.iter().map(|file| size_of(file)).sum()
    }

    fn load(&self, spec: &ModelSpec, cancel: &Cancel) -> Result<Weights> {
        // Reading every byte for the digest takes about as long as loading, so both go on at once.
        std::thread::scope(|scope| {
            let digest = scope.spawn(|| catch("reading a model", || content_digest(spec, &self.hub, cancel)));
            let loaded = self.load_backend(spec).and_then(|backend| Ok((backend, Head::load(&spec.head)?)));
            if loaded.is_err() {
                cancel.cancel();
            }
            let content =
                digest.join().unwrap_or_else(|_| Err(Error::internal("The digest of a model has no result.")));
            let (backend, head) = loaded?;
            Ok(Weights { backend, head, content: content? })
        })
    }

    fn tokens_per_batch(&self, device: &str) -> usize {
        if device == "cpu" { 2048 } else { 16_384 }
    }
}

fn content_digest(spec: &ModelSpec, _hub: &HubConfig, _cancel: &Cancel) -> Result<String> {
    Ok(spec.content.clone())
}

fn size_of(file: &Path) -> Result<u64> {
    let data = std::fs::metadata(file).map_err(|error| Error::bad_checkpoint(file, error))?;
    Ok(data.len() + external_data(file))
}

/// An ONNX graph keeps large weights in files beside it that begin with its name (`model.onnx_data`).
fn external_data(file: &Path) -> u64 {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else { return 0 };
    if !name.ends_with(".onnx") {
        return 0;
    }
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let beside: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| {
            path.file_name().and_then(|other| other.to_str()).is_some_and(|other| {
                other != name && (other.starts_with(&format!("{name}_")) || other.starts_with(&format!("{name}.")))
            })
        })
        .collect();
    beside.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
}
