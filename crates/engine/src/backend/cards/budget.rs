//! How many tokens a device can take at once.

use candle_core::DType;

use crate::backend::candle::generic::Tiles;
use crate::model::Architecture;

/// Tokens of a batch on a GPU however much memory there is: past it nothing gets faster, and others wait longer.
pub const GPU_BATCH_TOKENS: usize = 16_384;

/// Of the free memory, what a batch may take: the rest is for what the allocator loses, and for libraries that
/// take theirs with the first product.
const SHARE: f64 = 0.9;

/// Batches that went well, and were not small, after which a learnt limit is raised by a quarter.
const PATIENCE: u32 = 32;

/// A device's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What no process uses.
    pub free: u64,
    /// All.
    pub total: u64,
}

/// What bounds the batches of a model on a card, as the options say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the model may take of a card, weights included (`memoryLimit`).
    pub memory: Option<u64>,
    /// Tokens of a batch (`maxTokensPerBatch`): in place of what the memory suggests.
    pub tokens: Option<usize>,
}

/// What a batch takes of a device's memory, in bytes.
///
/// `bytes(tokens) = min(fixed, per_pair · tokens²) + per_token · tokens`, at the widest point of a layer, with `b` bytes a value of the
/// matrices' type:
///
/// - residual stream, its norm and what is added to it, f32: `3 · 4 · hidden`, and the norm once more in the
///   matrices' type: `b · hidden`;
/// - then either the MLP, `gate`, `up`, their product and the sum of two as a kernel needs them: `4 · b · inner`
///   (f32 where there is an activation with bias: `3 · 4 · inner`), for at most [`Tiles::rows`] tokens, or
///   attention: q, k and v as they come (`b + 4 + 4` a value, and once more gathered and turned by heads,
///   `4 + b`), and its result twice: `2 · b · q_width`;
/// - `fixed`: a tile of attention, [`Tiles::scores`] scores in f32 three times (with mask, softmax) and twice in
///   the matrices' type, and positions. Few tokens have fewer scores than that: `per_pair` is those of all heads for
///   one query and one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Of the weights, on the device already.
    pub weights: u64,
    /// However many tokens there are.
    pub fixed: u64,
    /// For each pair of tokens, up to `fixed`.
    pub per_pair: u64,
    /// For each token.
    pub per_token: u64,
}

impl Footprint {
    /// That of an encoder whose matrices are held as `dtype`.
    pub(super) fn of(architecture: &Architecture, dtype: DType, weights: u64, tiles: Tiles) -> Self {
        let b = dtype.size_in_bytes();
        let (heads, hidden, q, kv, mlp) = match architecture {
            Architecture::Qwen(config) => {
                let kv = config.num_kv_heads * config.head_dim;
                let q = config.num_heads * config.head_dim;
                (config.num_heads, config.hidden_size, q, kv, 4 * b * config.intermediate_size)
            }
            Architecture::Bert(config) => {
                let hidden = config.hidden_size;
                (config.num_heads, hidden, hidden, hidden, 3 * 4 * config.intermediate_size)
            }
            Architecture::Onnx | Architecture::Static => (0, 0, 0, 0, 0),
        };
        let attention = (q + 2 * kv) * (2 * b + 12) + 2 * b * q;
        let score = 3 * 4 + 2 * b;
        Footprint {
            weights,
            fixed: (tiles.scores * score) as u64,
            per_pair: (heads * score) as u64,
            per_token: (hidden * (12 + b) + mlp.max(attention)) as u64,
        }
    }

    /// Bytes for a batch, weights not counted.
    pub fn bytes(&self, tokens: usize) -> u64 {
        let tokens = tokens as u64;
        let scores = self.per_pair.saturating_mul(tokens.saturating_mul(tokens)).min(self.fixed);
        scores.saturating_add(self.per_token.saturating_mul(tokens))
    }

    /// Tokens that fit into the free memory and the limits, at least 1 and at most [`GPU_BATCH_TOKENS`].
    ///
    /// The most whose [`Footprint::bytes`] are within `min(0.9 · free, memoryLimit − weights)`, where other processes'
    /// use of the card is not free; what is free is read before each batch.
    pub fn tokens(&self, memory: Option<Memory>, limits: Limits) -> usize {
        if let Some(tokens) = limits.tokens {
            return tokens.max(1);
        }
        let free = memory.map_or(u64::MAX, |memory| (memory.free as f64 * SHARE) as u64);
        let allowed = limits.memory.map_or(u64::MAX, |limit| limit.saturating_sub(self.weights));
        let room = free.min(allowed);
        // By halves: `low` fits, or is 1.
        let (mut low, mut high) = (1, GPU_BATCH_TOKENS);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.bytes(middle) <= room { low = middle } else { high = middle - 1 }
        }
        low
    }
}

/// What was learnt from batches that did not fit; slowly forgotten, because the memory may have been another
/// process's.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    limit: Option<usize>,
    went_well: u32,
}

impl Learnt {
    /// The smaller of what the memory suggests and what was learnt.
    pub(super) fn apply(&self, suggested: usize) -> usize {
        self.limit.map_or(suggested, |limit| limit.min(suggested))
    }

    /// A batch of so many tokens did not fit.
    pub(super) fn too_large(&mut self, tokens: usize) {
        let half = (tokens / 2).max(1);
        self.limit = Some(self.limit.map_or(half, |limit| limit.min(half)));
        self.went_well = 0;
    }

    /// A batch of so many tokens fitted, where `suggested` is what the memory suggests.
    pub(super) fn fitted(&mut self, tokens: usize, suggested: usize) {
        let Some(limit) = self.limit.filter(|limit| tokens * 2 >= *limit) else { return };
        self.went_well += 1;
        if self.went_well >= PATIENCE {
            self.went_well = 0;
            let raised = limit + (limit / 4).max(1);
            self.limit = (raised < suggested).then_some(raised);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QwenConfig;

    fn qodo() -> Architecture {
        Architecture::Qwen(QwenConfig {
            vocab_size: 151_646,
            hidden_size: 1536,
            intermediate_size: 8960,
            num_layers: 28,
            num_heads: 12,
            num_kv_heads: 2,
            head_dim: 128,
            rope_theta: 1e6,
            rms_norm_eps: 1e-6,
            qkv_bias: true,
            output_bias: false,
            qk_norm: false,
            windows: vec![None; 28],
        })
    }

    #[test]
    fn the_formula_by_hand() {
        let footprint = Footprint::of(&qodo(), DType::BF16, 3_086_000_000, Tiles::GPU);
        // 1536 · 14 + 4 · 2 · 8960, and 2^26 · 16.
        assert_eq!(footprint.per_token, 21_504 + 71_680);
        assert_eq!(footprint.fixed, 1 << 30);
        let free = |gib: u64| Some(Memory { free: gib << 30, total: 80 << 30 });
        assert_eq!(footprint.tokens(free(75), Limits::default()), GPU_BATCH_TOKENS);
        let expected = ((2_f64 * 0.9 * f64::from(1 << 30)) as u64 - (1 << 30)) / 93_184;
        assert_eq!(footprint.tokens(free(2), Limits::default()) as u64, expected);
        assert_eq!(footprint.tokens(free(0), Limits::default()), 1);
        // memoryLimit counts the weights; maxTokensPerBatch wins.
        let memory = Some(3_086_000_000 + (1 << 30) + 93_184 * 5000);
        assert_eq!(footprint.tokens(free(75), Limits { memory, tokens: None }), 5000);
        assert_eq!(footprint.tokens(free(0), Limits { memory, tokens: Some(7000) }), 7000);
        assert_eq!(footprint.tokens(None, Limits::default()), GPU_BATCH_TOKENS);
    }

    #[test]
    fn a_card_with_little_room_takes_small_batches_not_single_texts() {
        let footprint = Footprint::of(&qodo(), DType::BF16, 0, Tiles::GPU);
        // 12 heads · 16 bytes a score, 93,184 a token: 192 · 1000² + 93,184 · 1000.
        assert_eq!(footprint.bytes(1000), 285_184_000);
        let memory = |free: u64| Some(Memory { free, total: 8 << 30 });
        let tokens = footprint.tokens(memory(285_184_000 * 10 / 9 + 10), Limits::default());
        assert_eq!(tokens, 1000);
        // The most that fits, whatever there is.
        for free in [0, 1 << 20, 100 << 20, 900 << 20, 1 << 30, 3 << 30] {
            let (tokens, room) = (footprint.tokens(memory(free), Limits::default()), (free as f64 * SHARE) as u64);
            assert!(tokens == 1 || footprint.bytes(tokens) <= room, "{free}: {tokens}");
            assert!(tokens == GPU_BATCH_TOKENS || footprint.bytes(tokens + 1) > room, "{free}: {tokens}");
        }
    }

    #[test]
    fn what_was_learnt_is_slowly_forgotten() {
        let mut learnt = Learnt::default();
        assert_eq!(learnt.apply(1000), 1000);
        learnt.too_large(900);
        assert_eq!(learnt.apply(1000), 450);
        learnt.too_large(2000);
        assert_eq!(learnt.apply(1000), 450);
        // Small batches prove nothing.
        (0..1000).for_each(|_| learnt.fitted(10, 1000));
        assert_eq!(learnt.apply(1000), 450);
        (0..PATIENCE).for_each(|_| learnt.fitted(450, 1000));
        assert_eq!(learnt.apply(1000), 562);
        (0..10 * PATIENCE).for_each(|_| learnt.fitted(900, 1000));
        assert_eq!(learnt.apply(1000), 1000);
        learnt.too_large(1);
        assert_eq!(learnt.apply(1000), 1);
    }
}
