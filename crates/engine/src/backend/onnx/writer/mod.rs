//! Writes the ONNX graph of a Qwen2, Qwen3, BERT, RoBERTa or XLM-R folder over its original weights.
//!
//! The weights are not copied: each tensor of the graph names the safetensors file, an offset and a
//! length. So one folder runs under every provider of ONNX Runtime, and is a second implementation of
//! our own encoders.
//!
//! | file | does |
//! |---|---|
//! | `proto`, `graph` | the format: messages, nodes, constants, weights |
//! | `files` | where the weights lie |
//! | `parts`, `attention` | what the families share |
//! | `qwen`, `bert` | the families |

mod attention;
mod bert;
mod files;
mod graph;
mod parts;
mod proto;
mod qwen;

pub(super) use self::files::Files;

use self::graph::{Element, Graph};
use self::parts::Encoder;
use crate::backend::candle::Dtype;
use crate::backend::weights::Checkpoint;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::{Architecture, ModelSpec};

/// The inputs, as exporters name them.
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
/// The output.
const HIDDEN: &str = "last_hidden_state";

/// Which operators a graph may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operators {
    /// Those of ONNX, which every provider knows.
    Plain,
    /// Those of ONNX Runtime's CPU as well: attention whose memory grows with the tokens.
    OnnxRuntime,
}

/// The type of the products and of the weights in them; all the rest is computed in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    F32,
    F16,
    Bf16,
}

impl Precision {
    /// The precision for `dtype` on a device of `kind`.
    ///
    /// # Errors
    /// `INVALID_OPTION` for one that the device, or the model, does not have.
    pub(super) fn choose(spec: &ModelSpec, kind: &str, dtype: Dtype) -> Result<Self> {
        let qwen = matches!(spec.architecture, Architecture::Qwen(_));
        let refused = |name: &str, reason: &str, instead: &str| {
            let message =
                format!("dtype '{name}' is not to be had for {} on {kind}: {reason}. Use {instead}.", spec.id);
            Err(Error::invalid_option("dtype", message).with("value", name))
        };
        match dtype {
            Dtype::Auto | Dtype::Float32 => Ok(Precision::F32),
            Dtype::Bfloat16 if matches!(kind, "cuda" | "tensorrt" | "migraphx") => Ok(Precision::Bf16),
            Dtype::Bfloat16 => refused("bfloat16", "ONNX Runtime has no operators for it there", "'float32'"),
            Dtype::Float16 if qwen => refused("float16", "Qwen embedders give NaN in it", "'bfloat16' or 'float32'"),
            Dtype::Float16 => Ok(Precision::F16),
            Dtype::Int8 => refused("int8", "the weights would have to be quantised", "'float32'"),
        }
    }

    /// As [`crate::backend::BackendInfo::dtype`] has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Precision::F32 => "float32",
            Precision::F16 => "float16",
            Precision::Bf16 => "bfloat16",
        }
    }

    fn element(self) -> Element {
        match self {
            Precision::F32 => Element::F32,
            Precision::F16 => Element::F16,
            Precision::Bf16 => Element::Bf16,
        }
    }
}

/// A graph, and where its weights lie.
pub(super) struct Written {
    /// The ONNX file.
    pub(super) model: Vec<u8>,
    /// The files of weights that it names.
    pub(super) files: Files,
    /// Bytes of the weights, in the types in which they are used.
    pub(super) weight_bytes: u64,
    /// Rows of the table of tokens: ids are below it.
    pub(super) vocabulary: usize,
}

/// Writes the graph of a model. It takes `input_ids` and `attention_mask`, int64 and
/// `[batch, sequence]` with padding at the end, and gives `last_hidden_state`, float32 and
/// `[batch, sequence, width]`, for up to [`ModelSpec::max_tokens`] tokens.
///
/// Reads every weight once, because a value that is not finite is no vector.
///
/// # Errors
/// `BAD_CHECKPOINT` for missing tensors, other shapes or values that are not finite, `MODEL_UNSUPPORTED`
/// for other types than F32, F16 and BF16, `INVALID_OPTION` for values that f16 cannot hold, `ABORTED`.
pub(super) fn write(spec: &ModelSpec, operators: Operators, precision: Precision, cancel: &Cancel) -> Result<Written> {
    let checkpoint = Checkpoint::open(&spec.files.weights)?;
    let files = Files::new(&spec.files.weights)?;
    let mut encoder = Encoder { graph: Graph::new(&files), operators, precision };
    encoder.declare_inputs();
    let (rows, width, vocabulary) = match &spec.architecture {
        Architecture::Qwen(config) => {
            let rows = qwen::write(&mut encoder, checkpoint, config, spec.attention, spec.max_tokens, cancel)?;
            (rows, config.hidden_size, config.vocab_size)
        }
        Architecture::Bert(config) => {
            (bert::write(&mut encoder, checkpoint, config, cancel)?, config.hidden_size, config.vocab_size)
        }
        Architecture::Onnx | Architecture::Static => {
            return Err(Error::internal(format!("{} is no encoder that a graph is written for", spec.id)));
        }
    };
    let shape = encoder.shape(&[width as i64]);
    let rows = encoder.graph.node("Reshape", &[&rows, &shape], &[]);
    encoder.graph.output(HIDDEN, &rows, width);
    let weight_bytes = encoder.graph.weight_bytes;
    let model = encoder.graph.finish();
    Ok(Written { model, files, weight_bytes, vocabulary })
}
