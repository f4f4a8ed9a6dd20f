//! How an engine gets at models: a seam, so that the engine can be tested without any.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::download::{self, Asked};
use super::event::OnEvent;
use super::fallback::Fallback;
use super::options::EngineOptions;
use crate::backend::candle::{self, Dtype};
use crate::backend::weights::Checkpoint;
use crate::backend::{Backend, cards, head::Head, onnx, static_table};
use crate::cancel::Cancel;
use crate::device;
use crate::error::{Code, Error, Result};
use crate::hub::{self, HubConfig, Located};
use crate::model::static_table::table_shape;
use crate::model::{self, Architecture, BackendKind, ModelOverrides, ModelSpec};
use crate::sync::catch;
use crate::tokenize::{Encoded, Tokenizer, words::WordTokenizer};

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

impl Encoder for WordTokenizer {
    fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded> {
        WordTokenizer::encode(self, text, prompt)
    }

    fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        WordTokenizer::encode_chunks(self, text, prompt, chunks)
    }
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
    /// Finds the folder of a model that is no alias, and fetches what is missing of it.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND`, `INVALID_INPUT`; as [`hub::obtain`].
    fn locate(&self, model: &str, overrides: &ModelOverrides, cancel: &Cancel, events: &OnEvent) -> Result<Located>;

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

    /// Why a model that was loaded does not run where `auto` would rather have it: each reason once.
    fn take_warning(&self) -> Option<String> {
        None
    }
}

/// Devices that ONNX Runtime alone reaches: what our own encoders run elsewhere gets a graph there.
const BY_ONNX_RUNTIME: [&str; 5] = ["tensorrt", "migraphx", "directml", "coreml", "openvino"];

/// Models in folders, in the hub cache and on the hub, run by our backends.
pub struct Files {
    options: EngineOptions,
    hub: HubConfig,
    fallback: Fallback,
}

/// What a model takes on a card beside its weights: CUDA's own state and the work of one batch. An estimate, with
/// which `auto` passes over cards that are nearly full.
const CARD_WORKSPACE: u64 = 1 << 30;

impl Files {
    /// A loader for an engine with these options.
    pub fn new(options: &EngineOptions) -> Self {
        Files { options: options.clone(), hub: options.hub(), fallback: Fallback::default() }
    }

    /// The device for a model: ONNX Runtime may reach some that our own encoders cannot, and a table gains nothing
    /// from a card.
    fn device(&self, spec: &ModelSpec) -> Result<String> {
        let request = self.options.device_request()?;
        match spec.backend {
            BackendKind::Onnx if request != "auto" => return Ok(request),
            BackendKind::Onnx | BackendKind::Static if request == "auto" => return Ok("cpu".to_owned()),
            // What only the CPU has is computed there, card or no card.
            BackendKind::Candle if request == "auto" && self.options.dtype == Dtype::Int8 => {
                return Ok("cpu".to_owned());
            }
            _ => {}
        }
        let needed = match spec.backend {
            BackendKind::Candle => self.card_bytes(spec)?,
            BackendKind::Onnx | BackendKind::Static => 0,
        };
        let chosen = device::choose(&request, needed, &self.options.device_host())?;
        if let Some(warning) = &chosen.warning {
            self.fallback.warn(warning);
        }
        Ok(chosen.to_string())
    }

    /// What a model takes on one card.
    fn card_bytes(&self, spec: &ModelSpec) -> Result<u64> {
        let bytes = bytes_of(self.options.dtype.on("cuda"));
        Ok(Checkpoint::open(&spec.files.weights)?.values() * bytes + CARD_WORKSPACE)
    }

    /// The backend for a model that was described without looking at the device.
    fn backend(&self, spec: &ModelSpec, overrides: &ModelOverrides) -> Result<BackendKind> {
        let request = self.options.device_request()?;
        let kind = request.split(':').next().unwrap_or_default();
        let free = spec.backend == BackendKind::Candle && overrides.backend.is_none();
        Ok(if free && BY_ONNX_RUNTIME.contains(&kind) { BackendKind::Onnx } else { spec.backend })
    }

    fn load_backend(&self, spec: &ModelSpec, cancel: &Cancel) -> Result<Arc<dyn Backend>> {
        let device = self.device(spec)?;
        let is_auto = self.options.device_request()? == "auto";
        self.fallback.load(&device, is_auto, |device| {
            self.load_on(spec, device, cancel).map_err(|error| name_attempt(error, device))
        })
    }

    fn load_on(&self, spec: &ModelSpec, device: &str, cancel: &Cancel) -> Result<Arc<dyn Backend>> {
        match spec.backend {
            BackendKind::Candle if device != "cpu" => {
                if device.starts_with("cuda") {
                    device::cuda::make_ready(device, &self.options.device_host())?;
                }
                let limits =
                    cards::Limits { memory: self.options.memory_limit, tokens: self.options.max_tokens_per_batch };
                cards::load(spec, device, self.options.dtype, limits, cancel)
            }
            BackendKind::Candle => candle::load(spec, device, self.options.dtype, cancel),
            BackendKind::Static => {
                static_table::load(spec, device).and_then(|backend| check_dtype(spec, backend, self.options.dtype))
            }
            BackendKind::Onnx => onnx::load(spec, device, &self.onnx_options(device, cancel))
                .and_then(|backend| check_dtype(spec, backend, self.options.dtype)),
        }
    }

    fn onnx_options(&self, device: &str, cancel: &Cancel) -> onnx::OnnxOptions {
        let tokens = self.options.max_tokens_per_batch;
        onnx::OnnxOptions {
            library: self.options.onnx_runtime.clone(),
            threads: self.options.threads(),
            max_padded_tokens: tokens.unwrap_or_else(|| self.tokens_per_batch(device)),
            dtype: self.options.dtype,
            home: hub::home_dir(&self.hub),
            plain_operators: false,
            cancel: cancel.clone(),
        }
    }
}

/// A backend that cannot use a device says why; users are told of it as of every attempt.
fn name_attempt(error: Error, device: &str) -> Error {
    if error.code != Code::DeviceUnavailable || error.details.contains_key("attempts") {
        return error;
    }
    let attempts = json!([{ "device": device, "reason": error.message }]);
    error.with("device", device).with("attempts", attempts)
}

/// A graph or a table has its precision already: another one that was asked for is refused, not ignored.
fn check_dtype(spec: &ModelSpec, backend: Arc<dyn Backend>, asked: Dtype) -> Result<Arc<dyn Backend>> {
    let found = &backend.info().dtype;
    let name = match asked {
        Dtype::Auto => return Ok(backend),
        Dtype::Float32 => "float32",
        Dtype::Bfloat16 => "bfloat16",
        Dtype::Float16 => "float16",
        Dtype::Int8 => "int8",
    };
    if found == name {
        return Ok(backend);
    }
    let message = format!(
        "dtype '{name}' is not to be had for {}: its file holds {found}. Leave dtype at 'auto', or use another export \
         of the model.",
        spec.id
    );
    Err(Error::invalid_option("dtype", message).with("value", name).with("found", found.as_str()))
}

impl Loader for Files {
    fn locate(&self, model: &str, overrides: &ModelOverrides, cancel: &Cancel, events: &OnEvent) -> Result<Located> {
        let asked = Asked { model, overrides, include: None };
        let mut located = download::obtain(&self.hub, &asked, cancel, events)?.located;
        if self.options.bundled_model.as_ref() == Some(&located.root) {
            located.id = "bundled".to_owned();
        }
        Ok(located)
    }

    fn describe(&self, located: &Located, overrides: &ModelOverrides) -> Result<Description> {
        let mut spec = model::describe(located, overrides)?;
        spec.backend = self.backend(&spec, overrides)?;
        let encoder: Arc<dyn Encoder> = match words(&spec)? {
            Some(tokenizer) => Arc::new(tokenizer),
            None => Arc::new(Tokenizer::load(&spec)?),
        };
        Ok(Description { spec, encoder })
    }

    fn weight_bytes(&self, spec: &ModelSpec) -> Result<u64> {
        match spec.architecture {
            Architecture::Qwen(_) | Architecture::Bert(_) => {
                let values = Checkpoint::open(&spec.files.weights)?.values();
                let dtype = match spec.backend {
                    // A device that cannot be had is told of when the model is loaded.
                    BackendKind::Candle => {
                        let device = self.device(spec).unwrap_or_else(|_| "cpu".to_owned());
                        self.options.dtype.on(&device)
                    }
                    // A graph that is written is f32 where nothing else was asked for.
                    BackendKind::Onnx | BackendKind::Static => self.options.dtype,
                };
                Ok(values * bytes_of(dtype))
            }
            // As the file has them.
            Architecture::Onnx | Architecture::Static => {
                model::weight_files(spec)?.iter().map(|file| size_of(file)).sum()
            }
        }
    }

    fn load(&self, spec: &ModelSpec, cancel: &Cancel) -> Result<Weights> {
        let home = hub::home_dir(&self.hub);
        // A token of its own, so that a failed load ends the reading and nothing else.
        let reading = Cancel::new();
        let stop = reading.clone();
        let _listening = cancel.on_cancel(move || stop.cancel());
        // Reading every byte for the digest takes about as long as loading, so both go on at once.
        std::thread::scope(|scope| {
            let digest = || catch("reading a model", || model::content_digest(spec, home.as_deref(), &reading));
            let digest = scope.spawn(digest);
            let loaded = self.load_backend(spec, cancel).and_then(|backend| Ok((backend, Head::load(&spec.head)?)));
            if loaded.is_err() {
                reading.cancel();
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

    fn take_warning(&self) -> Option<String> {
        self.fallback.take()
    }
}

/// The quick tokenizer of our own static models.
fn words(spec: &ModelSpec) -> Result<Option<WordTokenizer>> {
    if spec.architecture != Architecture::Static || spec.lower_case {
        return Ok(None);
    }
    let (rows, _) = table_shape(&spec.files.weights)?;
    WordTokenizer::load(&spec.files.tokenizer, rows, spec.max_tokens)
}

/// Bytes of a weight in use.
fn bytes_of(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::Auto | Dtype::Float32 => 4,
        Dtype::Bfloat16 | Dtype::Float16 => 2,
        Dtype::Int8 => 1,
    }
}

fn size_of(file: &Path) -> Result<u64> {
    let data =
        std::fs::metadata(file).map_err(|error| Error::bad_checkpoint(file, format!("cannot be read: {error}.")))?;
    Ok(data.len())
}
