//! Attention over a bucket of sequences in tiles of queries, in plain operations: batched products over
//! sequences and heads, mask, softmax.

use candle_core::{DType, Tensor};

use super::layout::{Bucket, Layout};
use crate::backend::candle::parts::AttentionShape;

/// What is added to the score of a key that is not seen, times its distance: e to that power is 0 in f32.
/// Not infinity, or a row with nothing but hidden keys (past the end of a sequence) would be NaN.
pub(super) const PENALTY: f32 = -1e9;

/// Attention of a bucket: `q` is `[sequences, heads, len, head_dim]`, `k` and `v`
/// `[sequences, kv_heads, len, head_dim]`, all contiguous; gives `[sequences * len, heads * head_dim]` in the
/// type of `v`. At most `scores` scores are held at once; `between` is called before each tile.
///
/// The heads that share keys and values are stacked as rows, so k and v are not copied per head.
pub(super) fn attention<E: From<candle_core::Error>>(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    shape: &AttentionShape,
    (layout, bucket): (&Layout, &Bucket),
    scores: usize,
    mut between: impl FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<Tensor, E> {
    let (sequences, len, dim) = (bucket.sequences, bucket.len, shape.head_dim);
    let (batches, group) = (sequences * shape.kv_heads, shape.heads / shape.kv_heads);
    let queries = (scores / (sequences * shape.heads * len)).max(16).min(len);
    let (k, v) = (k.reshape((batches, len, dim))?, v.reshape((batches, len, dim))?);
    let mut tiles = Vec::with_capacity(len.div_ceil(queries));
    for from in (0..len).step_by(queries) {
        between()?;
        let to = (from + queries).min(len);
        let visible = shape.visible(from, to, len);
        let count = to - from;
        let q = q.narrow(2, from, count)?.contiguous()?.reshape((batches, group * count, dim))?;
        let k = k.narrow(1, visible.start, visible.len())?;
        let v = v.narrow(1, visible.start, visible.len())?;
        // Softmax in f32 whatever the precision of the model, as transformers does.
        let scores = q.matmul(&k.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let mut scores = scores.reshape((sequences, shape.heads, count, visible.len()))?;
        if let Some(mask) = layout.mask(shape, from, to, len)? {
            scores = scores.broadcast_add(&mask)?;
        }
        // No token of a causal sequence sees what comes after it: padding needs no mask there.
        if let Some(padding) = bucket.padding.as_ref().filter(|_| !shape.causal) {
            scores = scores.broadcast_add(&padding.narrow(3, visible.start, visible.len())?)?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        let tile = weights.reshape((batches, group * count, visible.len()))?.matmul(&v)?;
        // [sequences, heads, count, dim] -> [sequences, count, heads * dim]
        let tile = tile.reshape((sequences, shape.heads, count, dim))?.transpose(1, 2)?.contiguous()?;
        tiles.push(tile.reshape((sequences, count, shape.q_width()))?);
    }
    Ok(Tensor::cat(&tiles, 1)?.reshape((sequences * len, shape.q_width()))?)
}
