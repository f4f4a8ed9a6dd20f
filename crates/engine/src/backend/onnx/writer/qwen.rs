//! Qwen2 and Qwen3, as [`crate::backend::candle`] computes them.

use super::attention::{Attention, Rotary};
use super::graph::{Element, Graph, Value};
use super::parts::Encoder;
use crate::backend::candle::RotaryTable;
use crate::backend::weights::{Checkpoint, Weight};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::{self, Activation, QwenConfig};

/// Writes the layers; gives the rows after the last norm.
///
/// # Errors
/// `BAD_CHECKPOINT` for missing tensors, other shapes or values that are not finite; `ABORTED`.
pub(super) fn write(
    encoder: &mut Encoder<'_>,
    checkpoint: Checkpoint,
    config: &QwenConfig,
    attention: model::Attention,
    positions: usize,
    cancel: &Cancel,
) -> Result<Value> {
    let checkpoint = checkpoint.with_prefix_of("embed_tokens.weight")?;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (q_width, kv_width) = (config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim);
    let rotary = rotary(&mut encoder.graph, config, positions);
    let embeddings = checkpoint.get("embed_tokens.weight", &[config.vocab_size, hidden])?;
    let rows = encoder.gather(&embeddings, super::IDS)?;
    let mut h = encoder.flat(&rows, hidden);
    for index in 0..config.num_layers {
        cancel.check()?;
        let vector = |name: &str, len: usize| checkpoint.get(&format!("layers.{index}.{name}.weight"), &[len]);
        let matrix = |name: &str, out: usize, width: usize, bias: bool| -> Result<(Weight, Option<Weight>)> {
            let name = format!("layers.{index}.{name}");
            let bias = bias.then(|| checkpoint.get(&format!("{name}.bias"), &[out])).transpose()?;
            Ok((checkpoint.get(&format!("{name}.weight"), &[out, width])?, bias))
        };
        let linear = |encoder: &mut Encoder<'_>, x: &str, name: &str, [out, width]: [usize; 2], bias: bool| {
            let (weight, bias) = matrix(name, out, width, bias)?;
            encoder.linear(x, &weight, bias.as_ref())
        };
        let norms = match config.qk_norm {
            true => {
                let norm = |name: &str| vector(&format!("self_attn.{name}_norm"), config.head_dim);
                Some(([norm("q")?, norm("k")?], config.rms_norm_eps))
            }
            false => None,
        };
        let shape = Attention {
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            causal: attention == model::Attention::Causal,
            window: config.windows.get(index).copied().flatten(),
            norms,
            rotary: Some(rotary.clone()),
        };
        let x = encoder.rms_norm(&h, &vector("input_layernorm", hidden)?, config.rms_norm_eps)?;
        let q = linear(encoder, &x, "self_attn.q_proj", [q_width, hidden], config.qkv_bias)?;
        let k = linear(encoder, &x, "self_attn.k_proj", [kv_width, hidden], config.qkv_bias)?;
        let v = linear(encoder, &x, "self_attn.v_proj", [kv_width, hidden], config.qkv_bias)?;
        let x = encoder.attention([&q, &k, &v], &shape)?;
        let x = linear(encoder, &x, "self_attn.o_proj", [hidden, q_width], config.output_bias)?;
        h = encoder.add(&h, &x);
        let x = encoder.rms_norm(&h, &vector("post_attention_layernorm", hidden)?, config.rms_norm_eps)?;
        let gate = linear(encoder, &x, "mlp.gate_proj", [inner, hidden], false)?;
        let up = linear(encoder, &x, "mlp.up_proj", [inner, hidden], false)?;
        let gate = encoder.activate(&gate, Activation::Silu);
        let x = encoder.graph.node("Mul", &[&gate, &up], &[]);
        let x = linear(encoder, &x, "mlp.down_proj", [hidden, inner], false)?;
        h = encoder.add(&h, &x);
    }
    encoder.rms_norm(&h, &checkpoint.get("norm.weight", &[hidden])?, config.rms_norm_eps)
}

/// The table of our own encoders, so that the angles are the same on every device.
fn rotary(graph: &mut Graph<'_>, config: &QwenConfig, positions: usize) -> Rotary {
    let table = RotaryTable::new(positions, config.head_dim, config.rope_theta);
    let mut tensor = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        graph.constant(Element::F32, &[positions, config.head_dim / 2], &bytes)
    };
    Rotary { cos: tensor(&table.cos), sin: tensor(&table.sin) }
}
