//! BERT, RoBERTa, XLM-RoBERTa and CamemBERT, with the defaults of transformers 5.

use super::qwen::epsilon;
use super::unsupported;
use crate::error::Result;
use crate::model::folder::Json;
use crate::model::modules::MAX_WIDTH;
use crate::model::{Activation, BertConfig};

pub(super) fn read(config: &Json, roberta: bool) -> Result<BertConfig> {
    if let Some(positions) = config.str("position_embedding_type")?
        && positions != "absolute"
    {
        return Err(unsupported(config, format!("positions are {positions:?}. Supported are absolute ones")));
    }
    for key in ["is_decoder", "add_cross_attention"] {
        if config.bool(key)? == Some(true) {
            return Err(unsupported(config, format!("`{key}` is true. Supported are encoders")));
        }
    }
    // Code of the model's own (ALiBi, flash attention, LoRA …) names its weights as it likes.
    if let Some(class) = config.object("auto_map")?.and_then(|map| map.get("AutoModel").cloned()) {
        return Err(unsupported(config, format!("the model runs Python code of its own ({class})")));
    }
    let hidden_size = config.required_size("hidden_size", 1..=MAX_WIDTH)?;
    let num_heads = config.required_size("num_attention_heads", 1..=4096)?;
    if hidden_size % num_heads != 0 {
        return Err(config.wrong("hidden_size", format!("a multiple of num_attention_heads ({num_heads})")));
    }
    let position_offset = match roberta {
        true => config.size("pad_token_id", 0..=1 << 26)?.unwrap_or(1) + 1,
        false => 0,
    };
    let max_positions = config.size("max_position_embeddings", 1..=1 << 26)?.unwrap_or(512);
    if max_positions <= position_offset {
        return Err(config.wrong("max_position_embeddings", format!("above {position_offset} (pad_token_id + 1)")));
    }
    Ok(BertConfig {
        vocab_size: config.required_size("vocab_size", 1..=1 << 26)?,
        hidden_size,
        intermediate_size: config.required_size("intermediate_size", 1..=MAX_WIDTH)?,
        num_layers: config.required_size("num_hidden_layers", 1..=1024)?,
        num_heads,
        max_positions,
        type_vocab_size: config.size("type_vocab_size", 1..=1 << 20)?.unwrap_or(2),
        position_offset,
        layer_norm_eps: epsilon(config, "layer_norm_eps", 1e-12)?,
        activation: activation(config)?,
    })
}

fn activation(config: &Json) -> Result<Activation> {
    Ok(match config.str("hidden_act")?.unwrap_or("gelu") {
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "linear" => Activation::Identity,
        other => {
            let message = format!("the activation is {other:?}. Supported are gelu, gelu_new, relu, silu and tanh");
            return Err(unsupported(config, message));
        }
    })
}
