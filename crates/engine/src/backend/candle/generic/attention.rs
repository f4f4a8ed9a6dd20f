//! Attention in tiles of queries, in plain operations: batched products over the heads, mask, softmax.

use candle_core::{D, DType, Tensor};

use crate::backend::candle::parts::AttentionShape;

/// Scores that a tile may hold at once, over all heads.
const TILE_SCORES: usize = 1 << 22;

/// Attention of one sequence: `q` is `[heads, len, head_dim]`, `k` and `v` `[kv_heads, len, head_dim]`;
/// gives `[len, heads * head_dim]` in f32. `between` is called before each tile.
///
/// The heads that share keys and values are stacked as rows, so k and v are not copied per head.
pub(super) fn attention<E: From<candle_core::Error>>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    mut between: impl FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<Tensor, E> {
    let len = q.dim(1)?;
    let group = shape.heads / shape.kv_heads;
    let queries = (TILE_SCORES / (shape.heads * len)).clamp(16, 1024).min(len);
    let q = (q * (1.0 / (shape.head_dim as f64).sqrt()))?;
    let mut tiles = Vec::with_capacity(len.div_ceil(queries));
    for from in (0..len).step_by(queries) {
        between()?;
        let to = (from + queries).min(len);
        let visible = shape.visible(from, to, len);
        let count = to - from;
        let q = q.narrow(1, from, count)?.contiguous()?.reshape((shape.kv_heads, group * count, shape.head_dim))?;
        let k = k.narrow(1, visible.start, visible.len())?.contiguous()?;
        let v = v.narrow(1, visible.start, visible.len())?.contiguous()?;
        // Softmax in f32 whatever the precision of the model, as transformers does.
        let scores = q.matmul(&k.transpose(1, 2)?.contiguous()?)?.to_dtype(DType::F32)?;
        let scores = match mask(shape, from, to, len) {
            Some(mask) => {
                let mask = Tensor::from_vec(mask, (1, 1, count, visible.len()), q.device())?;
                let scores = scores.reshape((shape.kv_heads, group, count, visible.len()))?;
                scores.broadcast_add(&mask)?.reshape((shape.kv_heads, group * count, visible.len()))?
            }
            None => scores,
        };
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(v.dtype())?;
        // [kv_heads, group * count, dim] -> [count, heads * dim]
        let tile = weights.matmul(&v)?.to_dtype(DType::F32)?.reshape((shape.heads, count, shape.head_dim))?;
        tiles.push(tile.transpose(0, 1)?.contiguous()?.reshape((count, shape.q_width()))?);
    }
    Ok(Tensor::cat(&tiles, 0)?)
}

/// What to add to the scores of queries `from..to`; `None` if every query sees every key.
fn mask(shape: &AttentionShape, from: usize, to: usize, len: usize) -> Option<Vec<f32>> {
    let visible = shape.visible(from, to, len);
    if (from..to).all(|query| shape.visible(query, query + 1, len) == visible) {
        return None;
    }
    let mut mask = Vec::with_capacity((to - from) * visible.len());
    for query in from..to {
        let seen = shape.visible(query, query + 1, len);
        mask.extend(visible.clone().map(|key| if seen.contains(&key) { 0.0 } else { f32::NEG_INFINITY }));
    }
    Some(mask)
}
