//! BERT, RoBERTa and XLM-R, as [`crate::backend::candle`] computes them.

use super::attention::Attention;
use super::graph::{Attribute, Element, Value};
use super::parts::Encoder;
use crate::backend::weights::{Checkpoint, Weight};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::BertConfig;

/// Writes the layers; gives the rows after the last one.
///
/// # Errors
/// `BAD_CHECKPOINT` for missing tensors, other shapes or values that are not finite; `ABORTED`.
pub(super) fn write(
    encoder: &mut Encoder<'_>,
    checkpoint: Checkpoint,
    config: &BertConfig,
    cancel: &Cancel,
) -> Result<Value> {
    let checkpoint = checkpoint.with_prefix_of("embeddings.word_embeddings.weight")?;
    let (hidden, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
    let table = |name: &str, rows: usize| checkpoint.get(&format!("embeddings.{name}.weight"), &[rows, hidden]);
    let norm = |place: &str| -> Result<[Weight; 2]> {
        // Checkpoints converted from TensorFlow call the norm's tensors gamma and beta.
        let tensor = |name: &str, old: &str| {
            let [name, old] = [name, old].map(|name| format!("{place}.{name}"));
            let name = if !checkpoint.has(&name) && checkpoint.has(&old) { old } else { name };
            checkpoint.get(&name, &[hidden])
        };
        Ok([tensor("weight", "gamma")?, tensor("bias", "beta")?])
    };
    let linear = |encoder: &mut Encoder<'_>, x: &str, name: &str, out: usize, width: usize| {
        let weight = checkpoint.get(&format!("{name}.weight"), &[out, width])?;
        let bias = checkpoint.get(&format!("{name}.bias"), &[out])?;
        encoder.linear(x, &weight, Some(&bias))
    };

    let words = encoder.gather(&table("word_embeddings", config.vocab_size)?, super::IDS)?;
    let positions = positions(encoder, config.position_offset);
    let positions = encoder.gather(&table("position_embeddings", config.max_positions)?, &positions)?;
    let kind = encoder.graph.first_row(&table("token_type_embeddings", config.type_vocab_size)?)?;
    let h = encoder.add(&words, &kind);
    let h = encoder.add(&h, &positions);
    let h = encoder.flat(&h, hidden);
    let mut h = encoder.layer_norm(&h, &norm("embeddings.LayerNorm")?, eps)?;
    let shape = Attention {
        heads: config.num_heads,
        kv_heads: config.num_heads,
        head_dim: hidden / config.num_heads,
        causal: false,
        window: None,
        norms: None,
        rotary: None,
    };
    for index in 0..config.num_layers {
        cancel.check()?;
        let layer = format!("encoder.layer.{index}");
        let q = linear(encoder, &h, &format!("{layer}.attention.self.query"), hidden, hidden)?;
        let k = linear(encoder, &h, &format!("{layer}.attention.self.key"), hidden, hidden)?;
        let v = linear(encoder, &h, &format!("{layer}.attention.self.value"), hidden, hidden)?;
        let x = encoder.attention([&q, &k, &v], &shape)?;
        let x = linear(encoder, &x, &format!("{layer}.attention.output.dense"), hidden, hidden)?;
        let sum = encoder.add(&h, &x);
        h = encoder.layer_norm(&sum, &norm(&format!("{layer}.attention.output.LayerNorm"))?, eps)?;
        let x = linear(encoder, &h, &format!("{layer}.intermediate.dense"), inner, hidden)?;
        let x = encoder.activate(&x, config.activation);
        let x = linear(encoder, &x, &format!("{layer}.output.dense"), hidden, inner)?;
        let sum = encoder.add(&h, &x);
        h = encoder.layer_norm(&sum, &norm(&format!("{layer}.output.LayerNorm"))?, eps)?;
    }
    Ok(h)
}

/// BERT counts from 0. RoBERTa and XLM-R count the tokens that are not their padding token, from its id
/// plus one; a padding token that is written inside a text stands at its own id
/// (transformers' `create_position_ids_from_input_ids`).
fn positions(encoder: &mut Encoder<'_>, offset: usize) -> Value {
    let Some(padding) = offset.checked_sub(1) else { return encoder.range() };
    let graph = &mut encoder.graph;
    let (padding, axis) = (graph.integer(padding as i64), graph.integer(1));
    let is_padding = graph.node("Equal", &[super::IDS, &padding], &[]);
    let counts = graph.node("Not", &[&is_padding], &[]);
    let counts = graph.cast(&counts, Element::I64);
    let counted = graph.node("CumSum", &[&counts, &axis], &[Attribute::Int("exclusive", 0)]);
    let counted = graph.node("Mul", &[&counted, &counts], &[]);
    graph.node("Add", &[&counted, &padding], &[])
}
