//! The outputs of a graph: which one is read, and its values as f32.

use std::ops::Range;

use half::{bf16, f16};
use ort::value::{DynValue, TensorElementType};

use super::port::Port;
use crate::error::{Error, Result};
use crate::model::Pooling;

/// Names of token-level outputs, the most telling first (optimum, sentence-transformers, Jina, fastembed).
const TOKEN_NAMES: [&str; 5] = ["last_hidden_state", "token_embeddings", "text_embeds", "hidden_states", "output"];

/// Names of outputs that are the embedding of the text.
const POOLED_NAMES: [&str; 7] =
    ["sentence_embedding", "sentence_embeddings", "embedding", "embeddings", "text_embeds", "dense_vecs", "output"];

/// The tanh layer that BERT was pre-trained with on top of `[CLS]`: two-dimensional, and no embedding.
const POOLER: &str = "pooler_output";

/// What the rows of an output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// `[batch, sequence, width]`: one row for each token, pooled by us.
    Tokens,
    /// `[batch, width]`: one row for each text, pooled by the graph.
    Texts,
}

/// The output that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// Its name.
    pub(super) name: String,
    /// What its rows are.
    pub(super) level: Level,
    /// Width of a row, where the graph tells.
    pub(super) width: Option<usize>,
}

/// Chooses the output to read.
///
/// With a real pooling a token-level output comes first, because it serves prompts that are left out
/// of the pooling, and late chunking; with [`Pooling::None`] only rows that the graph pooled will do.
/// Within a level a well-known name wins, then the only candidate there is. `pooler_output` is taken
/// only where the graph pools by itself and offers nothing else.
///
/// # Errors
/// `MODEL_UNSUPPORTED` with the outputs that there are.
pub(super) fn choose(ports: &[Port], pooling: Pooling) -> Result<Output> {
    let tokens = || pick(ports, Level::Tokens);
    let texts = || pick(ports, Level::Texts);
    let only_pooler = || ports.first().filter(|port| ports.len() == 1 && is_candidate(port, Level::Texts));
    let chosen = match pooling {
        Pooling::None => texts().or_else(only_pooler).map(|port| (port, Level::Texts)),
        _ => tokens().map(|port| (port, Level::Tokens)).or_else(|| texts().map(|port| (port, Level::Texts))),
    };
    if let Some((port, level)) = chosen {
        let width = port.dimensions.last().and_then(|&width| usize::try_from(width).ok());
        return Ok(Output { name: port.name.clone(), level, width });
    }
    let found: Vec<_> = ports.iter().map(Port::to_string).collect();
    let wanted = match pooling {
        Pooling::None => "The model says that its graph pools by itself, but no output is clearly the embedding",
        _ => "No output of the graph is clearly that of the tokens or the embedding",
    };
    Err(Error::unsupported(format!(
        "{wanted}. Outputs: {}. Expected is one of {} of shape [batch, sequence, width], or of {} of shape \
         [batch, width], in float32, float16, bfloat16 or float64.",
        found.join(", "),
        TOKEN_NAMES.join(", "),
        POOLED_NAMES.join(", ")
    )))
}

/// The output of a level: by name, else the only one.
fn pick(ports: &[Port], level: Level) -> Option<&Port> {
    let names = match level {
        Level::Tokens => &TOKEN_NAMES[..],
        Level::Texts => &POOLED_NAMES[..],
    };
    let mut candidates = ports.iter().filter(|port| is_candidate(port, level));
    let named = names.iter().find_map(|name| candidates.clone().find(|port| port.name == *name));
    let rest = || {
        let mut unnamed = candidates.by_ref().filter(|port| port.name != POOLER && !port.dimensions.is_empty());
        unnamed.next().filter(|_| unnamed.next().is_none())
    };
    named.or_else(rest)
}

/// Whether the output is of a float type and, as far as the graph tells, of the level's rank.
fn is_candidate(port: &Port, level: Level) -> bool {
    let rank = match level {
        Level::Tokens => 3,
        Level::Texts => 2,
    };
    let float = matches!(
        port.element,
        TensorElementType::Float32
            | TensorElementType::Float16
            | TensorElementType::Bfloat16
            | TensorElementType::Float64
    );
    float && (port.dimensions.len() == rank || port.dimensions.is_empty())
}

/// The values of an output, in the type that the graph gives.
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    F64(&'a [f64]),
}

impl<'a> Values<'a> {
    /// Views the values and the shape of an output.
    ///
    /// # Errors
    /// `INTERNAL`: the run gave something else than the session had told.
    pub(super) fn view(output: &'a DynValue) -> Result<(Self, &'a [i64])> {
        let failed = |error: ort::Error| Error::internal(format!("the output cannot be read: {error}"));
        match output.dtype().tensor_type() {
            Some(TensorElementType::Float16) => {
                output.try_extract_tensor().map(|(shape, values)| (Values::F16(values), &shape[..]))
            }
            Some(TensorElementType::Bfloat16) => {
                output.try_extract_tensor().map(|(shape, values)| (Values::Bf16(values), &shape[..]))
            }
            Some(TensorElementType::Float64) => {
                output.try_extract_tensor().map(|(shape, values)| (Values::F64(values), &shape[..]))
            }
            _ => output.try_extract_tensor().map(|(shape, values)| (Values::F32(values), &shape[..])),
        }
        .map_err(failed)
    }

    /// A range of the values as f32; `scratch` holds them where they have to be converted.
    pub(super) fn range<'s>(&'s self, range: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        scratch.clear();
        match self {
            Values::F32(values) => return &values[range],
            Values::F16(values) => scratch.extend(values[range].iter().map(|value| value.to_f32())),
            Values::Bf16(values) => scratch.extend(values[range].iter().map(|value| value.to_f32())),
            Values::F64(values) => scratch.extend(values[range].iter().map(|&value| value as f32)),
        }
        scratch
    }
}

#[cfg(test)]
mod tests;
