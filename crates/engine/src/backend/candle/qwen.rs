//! Qwen2 and Qwen3 encoders (Qodo-Embed, gte-Qwen2, jina-code-embeddings, Qwen3-Embedding, F2LLM).
//!
//! `h += attention(rms_norm(h)); h += mlp(rms_norm(h))` for each layer, then a last RMS norm. Qwen3
//! adds an RMS norm on each head of q and k and has a head width of its own.

use super::encoder::Encoder;
use super::parts::{AttentionShape, AttentionWeights, Parts, Run};
use crate::backend::weights::Checkpoint;
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::{Attention, QwenConfig};

struct Layer<P: Parts> {
    input_norm: P::Vector,
    attention: AttentionWeights<P>,
    shape: AttentionShape,
    output: P::Linear,
    mlp_norm: P::Vector,
    gate_up: P::Linear,
    down: P::Linear,
}

/// A loaded Qwen2 or Qwen3 encoder.
pub struct Qwen<P: Parts> {
    config: QwenConfig,
    embeddings: P::Table,
    layers: Vec<Layer<P>>,
    norm: P::Vector,
}

impl<P: Parts> Qwen<P> {
    /// Loads the weights.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for missing tensors, other shapes or values that are not finite; `OUT_OF_MEMORY`;
    /// `ABORTED`.
    pub fn load(
        parts: &P,
        checkpoint: Checkpoint,
        config: &QwenConfig,
        attention: Attention,
        cancel: &Cancel,
    ) -> Result<Self> {
        let checkpoint = checkpoint.with_prefix_of("embed_tokens.weight")?;
        let hidden = config.hidden_size;
        let vector = |name: &str, len: usize| parts.load_vector(&checkpoint.get(name, &[len])?);
        let mut layers = Vec::with_capacity(config.num_layers);
        for index in 0..config.num_layers {
            cancel.check()?;
            let shape = AttentionShape {
                heads: config.num_heads,
                kv_heads: config.num_kv_heads,
                head_dim: config.head_dim,
                causal: attention == Attention::Causal,
                window: config.windows.get(index).copied().flatten(),
                norm_eps: config.rms_norm_eps,
            };
            let linear = |names: &[(&str, usize)], width: usize, bias: bool| {
                let mut weights = Vec::new();
                let mut biases = Vec::new();
                for (name, out) in names {
                    weights.push(checkpoint.get(&format!("layers.{index}.{name}.weight"), &[*out, width])?);
                    if bias {
                        biases.push(checkpoint.get(&format!("layers.{index}.{name}.bias"), &[*out])?);
                    }
                }
                parts.load_linear(&weights, &biases)
            };
            let (q_width, kv_width) = (shape.q_width(), shape.kv_width());
            let qkv = [("self_attn.q_proj", q_width), ("self_attn.k_proj", kv_width), ("self_attn.v_proj", kv_width)];
            let gate = |name: &str| {
                checkpoint.get(&format!("layers.{index}.mlp.{name}.weight"), &[config.intermediate_size, hidden])
            };
            let head_norm = |name: &str| match config.qk_norm {
                true => vector(&format!("layers.{index}.self_attn.{name}.weight"), config.head_dim).map(Some),
                false => Ok(None),
            };
            layers.push(Layer {
                input_norm: vector(&format!("layers.{index}.input_layernorm.weight"), hidden)?,
                attention: AttentionWeights {
                    qkv: linear(&qkv, hidden, config.qkv_bias)?,
                    q_norm: head_norm("q_norm")?,
                    k_norm: head_norm("k_norm")?,
                },
                shape,
                output: linear(&[("self_attn.o_proj", hidden)], q_width, config.output_bias)?,
                mlp_norm: vector(&format!("layers.{index}.post_attention_layernorm.weight"), hidden)?,
                gate_up: parts.load_gated(&gate("gate_proj")?, &gate("up_proj")?)?,
                down: linear(&[("mlp.down_proj", hidden)], config.intermediate_size, false)?,
            });
        }
        Ok(Qwen {
            config: config.clone(),
            embeddings: parts.load_table(&checkpoint.get("embed_tokens.weight", &[config.vocab_size, hidden])?)?,
            layers,
            norm: vector("norm.weight", hidden)?,
        })
    }
}

impl<P: Parts> Encoder<P> for Qwen<P> {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn run(&self, parts: &P, batch: &PackedBatch, run: &Run<'_>) -> Result<P::Rows> {
        let rotary = parts.rotary(run.longest(), self.config.head_dim, self.config.rope_theta)?;
        let eps = self.config.rms_norm_eps;
        let mut h = parts.gather(&self.embeddings, &batch.ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            run.cancel.check()?;
            let x = parts.rms_norm(&h, &layer.input_norm, eps)?;
            let mut x = parts.attention(&x, &layer.attention, &layer.shape, Some(&rotary), run)?;
            run.keep_wanted(parts, index, self.layers.len(), &mut h, &mut x)?;
            parts.linear_add(&mut h, &layer.output, &x, run)?;
            let x = parts.rms_norm(&h, &layer.mlp_norm, eps)?;
            parts.gated_mlp_add(&mut h, &layer.gate_up, &layer.down, &x, run)?;
        }
        parts.rms_norm(&h, &self.norm, eps)
    }
}
