//! `config.json`: which architecture the transformer has, and its shape.

mod bert;
mod qwen;

use super::folder::Json;
use super::{Architecture, Attention};
use crate::error::{Error, Result};

/// The families that our own encoders run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Qwen2,
    Qwen3,
    Bert,
    /// RoBERTa, XLM-RoBERTa and CamemBERT: one architecture.
    Roberta,
}

const SUPPORTED: &str = "Supported are qwen2, qwen3, bert, roberta, xlm-roberta and camembert, \
                         and any architecture with an ONNX export (onnx/model.onnx)";

/// The family by `model_type`, and where that is missing by `architectures`.
pub(super) fn family(config: &Json) -> Result<Option<Family>> {
    let known = |name: &str| {
        Some(match name {
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            "bert" => Family::Bert,
            "roberta" | "xlm-roberta" | "camembert" => Family::Roberta,
            _ => return None,
        })
    };
    if let Some(name) = config.str("model_type")? {
        return Ok(known(name));
    }
    let architectures = config.strings("architectures")?.unwrap_or_default();
    Ok(architectures.first().and_then(|class| {
        let end = class.find("For").or_else(|| class.find("Model"))?;
        Some(match &class[..end] {
            "Qwen2" => Family::Qwen2,
            "Qwen3" => Family::Qwen3,
            "Bert" => Family::Bert,
            "Roberta" | "XLMRoberta" | "Camembert" => Family::Roberta,
            _ => return None,
        })
    }))
}

/// The shape for our own encoders.
///
/// # Errors
/// `MODEL_UNSUPPORTED` for what they do not run, `BAD_CHECKPOINT` for values that cannot be.
pub(super) fn architecture(config: &Json) -> Result<Architecture> {
    let Some(family) = family(config)? else {
        let found = match config.str("model_type")? {
            Some(name) => format!("the architecture {name:?}"),
            None => "no model_type that we know".to_owned(),
        };
        return Err(Error::unsupported(format!("{}: found {found}. {SUPPORTED}.", config.file().display())));
    };
    if let Some(quantization) = config.get("quantization_config") {
        let method = quantization.get("quant_method").and_then(|name| name.as_str()).unwrap_or("unknown");
        return Err(unsupported(
            config,
            format!("the weights are quantised ({method}). Supported are float32, float16 and bfloat16 safetensors"),
        ));
    }
    match family {
        Family::Qwen2 | Family::Qwen3 => qwen::read(config, family == Family::Qwen3).map(Architecture::Qwen),
        Family::Bert | Family::Roberta => bert::read(config, family == Family::Roberta).map(Architecture::Bert),
    }
}

/// What config.json says about attention. Qwen is causal unless `is_causal` is false, as transformers
/// reads it (null counts as false there); encoders see all tokens. For an architecture of an ONNX graph
/// this only tells what the graph does: a causal language model is taken to be causal.
pub(super) fn attention(config: &Json) -> Result<Attention> {
    let causal = match family(config)? {
        Some(Family::Qwen2 | Family::Qwen3) => true,
        Some(Family::Bert | Family::Roberta) => return Ok(Attention::Bidirectional),
        None => is_causal_lm(config)?,
    };
    let told = config.bool("is_causal")?.unwrap_or(!config.has("is_causal"));
    Ok(if causal && told { Attention::Causal } else { Attention::Bidirectional })
}

/// Whether the checkpoint was made as a causal language model.
pub(super) fn is_causal_lm(config: &Json) -> Result<bool> {
    let architectures = config.strings("architectures")?.unwrap_or_default();
    Ok(architectures.first().is_some_and(|class| class.ends_with("ForCausalLM")))
}

/// Width of a token's vector, under the names that architectures give it.
pub(super) fn hidden_size(config: &Json) -> Result<Option<usize>> {
    for key in ["hidden_size", "d_model", "dim", "n_embd"] {
        if let Some(width) = config.size(key, 1..=super::modules::MAX_WIDTH)? {
            return Ok(Some(width));
        }
    }
    Ok(None)
}

fn unsupported(config: &Json, what: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("{}: {what}.", config.file().display()))
}
