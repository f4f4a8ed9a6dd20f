//! What makes two vectors comparable: the content of a model, and the space id over it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::digest::{hex, sha256_of};
use super::{Activation, Architecture, Attention, BertConfig, EndToken, HeadModule, ModelSpec, Pooling, QwenConfig};
use super::{onnx_files, tokenizer_files};
use crate::cancel::Cancel;
use crate::error::Result;

/// The digest of everything that makes a model's vectors what they are: its weights, its tokenizer, and
/// what its configuration means (architecture, pooling, head, prompts, end token). Equal wherever the
/// files lie: a copy of a folder and a snapshot in the hub cache with the same files give the same.
///
/// Not in it: limits and licences, Matryoshka widths, and what [`SpaceParts`] adds.
///
/// Reads the weights the first time (about 1–2 GB/s a core) and remembers their digests under `home`; in
/// the hub cache they are known without reading.
///
/// # Errors
/// `BAD_CHECKPOINT` for files that cannot be read; `ABORTED`.
pub fn content_digest(spec: &ModelSpec, home: Option<&Path>, cancel: &Cancel) -> Result<String> {
    let mut files = weight_files(spec)?;
    files.extend(spec.head.iter().filter_map(|module| match module {
        HeadModule::Dense { file, .. } => Some(file.clone()),
        HeadModule::Normalize => None,
    }));
    files.push(spec.files.tokenizer.clone());
    let digests = sha256_of(&files, home, cancel)?;
    let settings = tokenizer_files::settings_beside(&spec.files.tokenizer)?;
    let meaning = json!({
        "version": 1,
        "files": digests,
        "tokenizer": {
            "class": settings.class,
            "lower_case": settings.lower_case,
            "strip_accents": settings.strip_accents,
            "chinese_chars": settings.chinese_chars,
            "prefix_space": settings.prefix_space,
            "split_special": settings.split_special,
            "truncate_left": settings.truncate_left,
        },
        "architecture": architecture(&spec.architecture),
        "attention": spec.attention,
        "pooling": spec.pooling,
        "include_prompt": spec.include_prompt,
        "head": spec.head.iter().map(head).collect::<Vec<_>>(),
        "tasks": spec.tasks.iter().map(|(task, spec)| json!([task, spec.prompt, spec.task_id])).collect::<Vec<_>>(),
        "end_token": match spec.end_token {
            EndToken::Tokenizer => Value::Null,
            EndToken::Append(id) => id.into(),
        },
        "lower_case": spec.lower_case,
    });
    Ok(sha256(&meaning))
}

/// Every file that holds weights: safetensors, or the graph and the files beside it.
///
/// # Errors
/// `BAD_CHECKPOINT` for what is no ONNX graph.
pub fn weight_files(spec: &ModelSpec) -> Result<Vec<PathBuf>> {
    let mut files = spec.files.weights.clone();
    if spec.architecture == Architecture::Onnx {
        for graph in &spec.files.weights {
            files.extend(onnx_files::external_data(graph)?);
        }
    }
    Ok(files)
}

/// What a space id is made of, besides the model itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceParts<'a> {
    /// The model as described (its content digest, pooling, attention and head are used).
    pub content: &'a str,
    /// Name and digest of the adapter, if one is used.
    pub adapter: Option<&'a str>,
    /// The task family and, where a caller gave one, the prompt.
    pub family: &'a str,
    /// A caller's own prompt; `None` where the model's own prompts are used.
    pub prompt: Option<&'a str>,
    /// Effective pooling and attention.
    pub pooling: Pooling,
    /// Effective attention.
    pub attention: Attention,
    /// Width of the vectors as returned.
    pub dimensions: usize,
    /// Whether they are unit vectors.
    pub normalize: bool,
    /// Whether the weights are int8.
    pub int8_weights: bool,
}

/// A short stable string: equal strings mean comparable vectors. `ee1-` and 128 bits in hex.
pub fn space_id(parts: &SpaceParts<'_>) -> String {
    let canonical = json!({
        "version": 1,
        "content": parts.content,
        "adapter": parts.adapter,
        "family": parts.family,
        "prompt": parts.prompt,
        "pooling": parts.pooling,
        "attention": parts.attention,
        "dimensions": parts.dimensions,
        "normalize": parts.normalize,
        "int8_weights": parts.int8_weights,
    });
    format!("ee1-{}", &sha256(&canonical)[..32])
}

/// The order of keys is that of the code above (`preserve_order`), so this text is canonical.
fn sha256(value: &Value) -> String {
    hex(&Sha256::digest(value.to_string()))
}

fn architecture(architecture: &Architecture) -> Value {
    match architecture {
        Architecture::Onnx => json!("onnx"),
        Architecture::Static => json!("static"),
        Architecture::Qwen(QwenConfig {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
            rope_theta,
            rms_norm_eps,
            qkv_bias,
            output_bias,
            qk_norm,
            windows,
        }) => json!({
            "qwen": [vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim],
            "rope_theta": rope_theta,
            "eps": rms_norm_eps,
            "flags": [qkv_bias, output_bias, qk_norm],
            "windows": windows,
        }),
        Architecture::Bert(BertConfig {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            max_positions,
            type_vocab_size,
            position_offset,
            layer_norm_eps,
            activation,
        }) => json!({
            "bert": [vocab_size, hidden_size, intermediate_size, num_layers, num_heads, max_positions, type_vocab_size],
            "position_offset": position_offset,
            "eps": layer_norm_eps,
            "activation": activation_name(*activation),
        }),
    }
}

fn head(module: &HeadModule) -> Value {
    match module {
        HeadModule::Normalize => json!("normalize"),
        // Where its weights lie does not count; their digest is among the files.
        HeadModule::Dense { file: _, in_features, out_features, bias, activation } => {
            json!(["dense", in_features, out_features, bias, activation_name(*activation)])
        }
    }
}

fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Identity => "identity",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        Activation::Tanh => "tanh",
        Activation::Sigmoid => "sigmoid",
    }
}
