//! BERT, RoBERTa and XLM-R encoders (MiniLM, BGE, E5, GTE).
//!
//! `h = norm(h + attention(h)); h = norm(h + mlp(h))` for each layer, after word, position and type
//! embeddings. RoBERTa and XLM-R differ in where positions begin to count.

use super::encoder::Encoder;
use super::parts::{AttentionShape, AttentionWeights, Parts, Run};
use crate::backend::weights::{Checkpoint, Weight};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::BertConfig;

struct Norm<P: Parts> {
    weight: P::Vector,
    bias: P::Vector,
}

struct Layer<P: Parts> {
    attention: AttentionWeights<P>,
    output: P::Linear,
    attention_norm: Norm<P>,
    up: P::Linear,
    down: P::Linear,
    mlp_norm: Norm<P>,
}

/// A loaded BERT, RoBERTa or XLM-R encoder.
pub struct Bert<P: Parts> {
    config: BertConfig,
    shape: AttentionShape,
    words: P::Table,
    positions: P::Table,
    types: P::Table,
    norm: Norm<P>,
    layers: Vec<Layer<P>>,
}

impl<P: Parts> Bert<P> {
    /// Loads the weights.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for missing tensors, other shapes or values that are not finite; `OUT_OF_MEMORY`;
    /// `ABORTED`.
    pub fn load(parts: &P, checkpoint: Checkpoint, config: &BertConfig, cancel: &Cancel) -> Result<Self> {
        let checkpoint = checkpoint.with_prefix_of("embeddings.word_embeddings.weight")?;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let table = |name: &str, rows: usize| {
            parts.load_table(&checkpoint.get(&format!("embeddings.{name}.weight"), &[rows, hidden])?)
        };
        let norm = |place: &str| -> Result<Norm<P>> {
            Ok(Norm {
                weight: parts.load_vector(&norm_tensor(&checkpoint, place, ["weight", "gamma"], hidden)?)?,
                bias: parts.load_vector(&norm_tensor(&checkpoint, place, ["bias", "beta"], hidden)?)?,
            })
        };
        let linear = |names: &[String], out: usize, width: usize| {
            let weights: Vec<Weight> = names
                .iter()
                .map(|name| checkpoint.get(&format!("{name}.weight"), &[out, width]))
                .collect::<Result<_>>()?;
            let biases: Vec<Weight> =
                names.iter().map(|name| checkpoint.get(&format!("{name}.bias"), &[out])).collect::<Result<_>>()?;
            parts.load_linear(&weights, &biases)
        };
        let mut layers = Vec::with_capacity(config.num_layers);
        for index in 0..config.num_layers {
            cancel.check()?;
            let layer = format!("encoder.layer.{index}");
            let qkv = ["query", "key", "value"].map(|name| format!("{layer}.attention.self.{name}"));
            layers.push(Layer {
                attention: AttentionWeights { qkv: linear(&qkv, hidden, hidden)?, q_norm: None, k_norm: None },
                output: linear(&[format!("{layer}.attention.output.dense")], hidden, hidden)?,
                attention_norm: norm(&format!("{layer}.attention.output.LayerNorm"))?,
                up: linear(&[format!("{layer}.intermediate.dense")], inner, hidden)?,
                down: linear(&[format!("{layer}.output.dense")], hidden, inner)?,
                mlp_norm: norm(&format!("{layer}.output.LayerNorm"))?,
            });
        }
        Ok(Bert {
            shape: AttentionShape {
                heads: config.num_heads,
                kv_heads: config.num_heads,
                head_dim: hidden / config.num_heads,
                causal: false,
                window: None,
                norm_eps: 0.0,
            },
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_positions)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: norm("embeddings.LayerNorm")?,
            layers,
            config: config.clone(),
        })
    }
}

/// Checkpoints converted from TensorFlow call the norm's tensors gamma and beta.
fn norm_tensor(checkpoint: &Checkpoint, place: &str, names: [&str; 2], len: usize) -> Result<Weight> {
    let [name, old] = names.map(|name| format!("{place}.{name}"));
    let name = if !checkpoint.has(&name) && checkpoint.has(&old) { old } else { name };
    checkpoint.get(&name, &[len])
}

/// BERT counts from 0. RoBERTa and XLM-R count from the id of their padding token plus one, and a padding
/// token that is written inside a text stands at its own id and is not counted
/// (transformers' `create_position_ids_from_input_ids`).
fn positions(ids: &[u32], offset: usize) -> impl Iterator<Item = u32> {
    let mut next = offset as u32;
    let padding = next.checked_sub(1);
    ids.iter().map(move |id| match padding {
        Some(padding) if padding == *id => padding,
        _ => {
            next += 1;
            next - 1
        }
    })
}

impl<P: Parts> Encoder<P> for Bert<P> {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn run(&self, parts: &P, batch: &PackedBatch, run: &Run<'_>) -> Result<P::Rows> {
        let eps = self.config.layer_norm_eps;
        let normalise = |h: &mut P::Rows, norm: &Norm<P>| parts.layer_norm(h, &norm.weight, &norm.bias, eps);
        let positions: Vec<u32> =
            run.sequences().flat_map(|rows| positions(&batch.ids[rows], self.config.position_offset)).collect();
        let mut h = parts.gather(&self.words, &batch.ids)?;
        parts.add(&mut h, &parts.gather(&self.types, &vec![0; batch.tokens()])?)?;
        parts.add(&mut h, &parts.gather(&self.positions, &positions)?)?;
        normalise(&mut h, &self.norm)?;
        for (index, layer) in self.layers.iter().enumerate() {
            run.cancel.check()?;
            let mut x = parts.attention(&h, &layer.attention, &self.shape, None, run)?;
            run.keep_wanted(parts, index, self.layers.len(), &mut h, &mut x)?;
            parts.linear_add(&mut h, &layer.output, &x, run)?;
            normalise(&mut h, &layer.attention_norm)?;
            parts.mlp_add(&mut h, &layer.up, &layer.down, self.config.activation, run)?;
            normalise(&mut h, &layer.mlp_norm)?;
        }
        Ok(h)
    }
}
