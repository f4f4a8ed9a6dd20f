//! What a model *is*, once its folder and the catalogue were read: all that the rooms after this
//! one need to know, with no file left to open but weights and tokenizer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which backend runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Our own encoders over safetensors.
    Candle,
    /// An exported graph in ONNX Runtime.
    Onnx,
    /// A table with one row a token.
    Static,
}

/// Whether a token sees the tokens after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Each token sees itself and the tokens before it.
    Causal,
    /// Each token sees all tokens of its sequence.
    Bidirectional,
}

/// How the token vectors of a span become one row (names as sentence-transformers has them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last token of the span.
    #[serde(rename = "lasttoken")]
    LastToken,
    /// The first token of the span.
    Cls,
    /// The mean of the span's tokens.
    Mean,
    /// The maximum of each component.
    Max,
    /// The sum divided by the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean weighted by position: token `i` of the sequence weighs `i + 1`, also where the span begins
    /// after a prompt.
    WeightedMean,
    /// The graph pools by itself (ONNX only).
    None,
}

/// The five tasks of the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A text that is to be found (the default).
    #[default]
    Document,
    /// A text to find documents with.
    Query,
    /// Comparing like with like.
    Similarity,
    /// Features for a classifier.
    Classification,
    /// Grouping.
    Clustering,
}

impl Task {
    /// The family of comparable vectors: documents and queries are made to be compared.
    pub fn family(self) -> &'static str {
        match self {
            Task::Document | Task::Query => "retrieval",
            Task::Similarity => "similarity",
            Task::Classification => "classification",
            Task::Clustering => "clustering",
        }
    }
}

/// What a task means for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSpec {
    /// Put before each text.
    pub prompt: Option<String>,
    /// The model's own number for the task (Jina v3).
    pub task_id: Option<i64>,
}

/// What is put at the end of each text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndToken {
    /// What the tokenizer's own post-processor puts there, if anything.
    Tokenizer,
    /// Encode without special tokens, cut to the limit less one, append this id unless it is
    /// already last: what the custom tokenizer code of gte-Qwen2 and Qodo-Embed does.
    Append(u32),
}

/// How RoPE and attention of a Qwen2 or Qwen3 model are shaped.
#[derive(Debug, Clone, PartialEq)]
pub struct QwenConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads (grouped-query attention).
    pub num_kv_heads: usize,
    /// Width of a head; explicit in Qwen3, `hidden_size / num_heads` in Qwen2.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// Bias on q, k and v (Qwen2: yes, Qwen3: `attention_bias`).
    pub qkv_bias: bool,
    /// Bias on the output projection of attention.
    pub output_bias: bool,
    /// RMS norm on each head of q and k (Qwen3).
    pub qk_norm: bool,
    /// Per layer: the sliding window `w` of the configuration; `None` is none. As transformers 5 has it, a
    /// token sees `w` tokens back, itself included (`i - w < j <= i`); with bidirectional attention it sees
    /// `w` tokens to each side (`|i - j| <= w`).
    pub windows: Vec<Option<usize>>,
}

/// The activation of an MLP or of a Dense module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// x · Φ(x), by erf
    Gelu,
    /// The tanh approximation of GELU
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// x · σ(x)
    Silu,
    /// tanh(x)
    Tanh,
    /// σ(x)
    Sigmoid,
}

/// A BERT, RoBERTa or XLM-R encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Rows of the position table.
    pub max_positions: usize,
    /// Rows of the token type table (row 0 is added to every token).
    pub type_vocab_size: usize,
    /// Position of the first token: 0 for BERT, `pad_token_id + 1` for RoBERTa and XLM-R. There, a padding
    /// token that stands in a text (`<pad>`) has the position `pad_token_id` and is not counted.
    pub position_offset: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Activation of the MLP.
    pub activation: Activation,
}

/// What runs the tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum Architecture {
    /// Qwen2 or Qwen3.
    Qwen(QwenConfig),
    /// BERT, RoBERTa or XLM-R.
    Bert(BertConfig),
    /// An ONNX graph; its inputs and outputs are read from the session.
    Onnx,
    /// A table with one row a token; its size is that of its tensor.
    Static,
}

/// A module after pooling, as sentence-transformers chains them.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadModule {
    /// A linear layer with an activation; weights `linear.weight` and, if `bias`, `linear.bias`.
    Dense {
        /// The safetensors file that holds its weights.
        file: PathBuf,
        /// Input width.
        in_features: usize,
        /// Output width.
        out_features: usize,
        /// Whether there is a bias.
        bias: bool,
        /// Applied to the output.
        activation: Activation,
    },
    /// L2 normalisation.
    Normalize,
}

/// A licence, as it is shown to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct License {
    /// SPDX id where there is one.
    pub name: String,
    /// Where its text stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What a user must know, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The files of a model that are read after its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The folder.
    pub root: PathBuf,
    /// The folder of the transformer (root itself, or `0_Transformer`).
    pub transformer: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Safetensors files (one, or the shards of the index), or the ONNX graph alone.
    pub weights: Vec<PathBuf>,
}

/// A model, fully described.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Hub id, or the path as it was given.
    pub id: String,
    /// Commit of the hub repository; `None` for a plain folder.
    pub revision: Option<String>,
    /// Its files.
    pub files: ModelFiles,
    /// Which backend runs it.
    pub backend: BackendKind,
    /// What runs the tokens.
    pub architecture: Architecture,
    /// Whether tokens see the ones after them.
    pub attention: Attention,
    /// How rows are pooled.
    pub pooling: Pooling,
    /// Whether the prompt's tokens take part in pooling (sentence-transformers' `include_prompt`).
    pub include_prompt: bool,
    /// Modules after pooling, in order.
    pub head: Vec<HeadModule>,
    /// What each task means; every task is present.
    pub tasks: BTreeMap<Task, TaskSpec>,
    /// What is put at the end of each text.
    pub end_token: EndToken,
    /// Whether texts are lower-cased before tokenizing (`do_lower_case` of sentence_bert_config).
    pub lower_case: bool,
    /// The longest sequence, special tokens and prompt included.
    pub max_tokens: usize,
    /// Width of the vectors by default: that after the head, or `truncate_dim` of
    /// config_sentence_transformers.json, to which the head's rows are then cut. The full width is among
    /// [`ModelSpec::matryoshka`] in that case.
    pub dimensions: usize,
    /// Widths that the model was trained to be cut to (Matryoshka), ascending; empty if none.
    pub matryoshka: Vec<usize>,
    /// Licence, where it is known.
    pub license: Option<License>,
    /// Digest of everything that makes vectors what they are: see [`super::content_digest`]. Left empty by
    /// [`super::describe`], because it takes reading the weights.
    pub content: String,
}

impl ModelSpec {
    /// Width of the vectors that the head gives. [`ModelSpec::dimensions`] is less where the folder has a
    /// `truncate_dim`; the full width then stands among the Matryoshka dimensions.
    pub fn full_width(&self) -> usize {
        self.matryoshka.iter().copied().fold(self.dimensions, usize::max)
    }
}

/// A caller's own words about a model (`modelDefaults`), stronger than folder and catalogue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelOverrides {
    /// Forces causal or bidirectional attention.
    pub causal: Option<bool>,
    /// Forces the pooling.
    pub pooling: Option<Pooling>,
    /// The limit of a text in tokens (never above what the positions allow).
    pub max_tokens: Option<usize>,
    /// Matryoshka dimensions.
    pub dimensions: Option<Vec<usize>>,
    /// Prompt of each task; an empty string for none.
    pub prompts: Option<BTreeMap<Task, String>>,
    /// Which backend, where the folder has files for both.
    pub backend: Option<BackendKind>,
}
