//! The vocabulary in which encoders are written: the parts of a transformer over packed rows.
//!
//! A `Rows` value holds one row per token of the whole batch, all sequences one after another; a part
//! that mixes tokens (attention) gets the cumulative lengths. Two implementations: [`super::generic`]
//! in Candle's operations, for every device that Candle has, and [`super::cpu`], written for CPUs.

use crate::backend::weights::Weight;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::model::{Activation, Pooling};

/// How attention is shaped in one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether a token sees only itself and the tokens before it.
    pub causal: bool,
    /// Sliding window `w`, counted as transformers does: a causal token sees `w` tokens, itself included; one
    /// that is not causal sees itself and `w` to each side.
    pub window: Option<usize>,
    /// Epsilon of the norms of q and k, where there are any.
    pub norm_eps: f64,
}

impl AttentionShape {
    /// Width of all query heads.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads, and of all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The keys that queries `from..to` of a sequence of `len` tokens can see, as a range.
    pub fn visible(&self, from: usize, to: usize, len: usize) -> std::ops::Range<usize> {
        match (self.causal, self.window) {
            (true, None) => 0..to,
            (true, Some(window)) => (from + 1).saturating_sub(window)..to,
            (false, None) => 0..len,
            (false, Some(window)) => from.saturating_sub(window)..len.min(to.saturating_add(window)),
        }
    }
}

/// The weights of an attention block up to, not including, its output projection.
pub struct AttentionWeights<P: Parts + ?Sized> {
    /// q, k and v stacked: `[q_width + 2 * kv_width, hidden]`.
    pub qkv: P::Linear,
    /// RMS norm of each query head (Qwen3).
    pub q_norm: Option<P::Vector>,
    /// RMS norm of each key head (Qwen3).
    pub k_norm: Option<P::Vector>,
}

/// Cosines and sines of the rotary embedding, `[positions, head_dim / 2]` each, in f32 whatever the
/// precision of the model: positions above 256 are not exact in bf16.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RotaryTable {
    /// cos(position · frequency)
    pub cos: Vec<f32>,
    /// sin(position · frequency)
    pub sin: Vec<f32>,
    /// Width of a head.
    pub head_dim: usize,
}

impl RotaryTable {
    /// The table for `positions` positions.
    ///
    /// Frequencies are `theta^(-2i / head_dim)` (Su et al., RoFormer, 2021), rounded to f32 at the same
    /// places as transformers' `Qwen2RotaryEmbedding`, so that long texts agree as well.
    pub fn new(positions: usize, head_dim: usize, theta: f64) -> Self {
        let half = head_dim / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect();
        let mut table = RotaryTable {
            cos: Vec::with_capacity(positions * half),
            sin: Vec::with_capacity(positions * half),
            head_dim,
        };
        for position in 0..positions {
            for frequency in &frequencies {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                table.cos.push(cos as f32);
                table.sin.push(sin as f32);
            }
        }
        table
    }
}

/// What all parts of one run share.
pub struct Run<'a> {
    /// `cumulative[i]..cumulative[i + 1]` are the rows of sequence `i`.
    pub cumulative: &'a [u32],
    /// The rows that are needed of the last layer, in the order in which they are; `None` for all in their own.
    pub wanted: Option<&'a [u32]>,
    /// Looked at between tiles.
    pub cancel: &'a Cancel,
}

impl Run<'_> {
    /// The rows of each sequence.
    pub fn sequences(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.cumulative.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// Reduces the residual `h` and what attention gave to the rows that are wanted, if `layer` is the last of
    /// `layers`: what comes after its attention looks at each row by itself.
    ///
    /// # Errors
    /// As [`Parts::select`].
    pub fn keep_wanted<P: Parts>(
        &self,
        parts: &P,
        layer: usize,
        layers: usize,
        h: &mut P::Rows,
        x: &mut P::Rows,
    ) -> Result<()> {
        if let Some(rows) = self.wanted.filter(|_| layer + 1 == layers) {
            *h = parts.select(h, rows)?;
            *x = parts.select(x, rows)?;
        }
        Ok(())
    }

    /// The longest sequence.
    pub fn longest(&self) -> usize {
        self.sequences().map(|rows| rows.len()).max().unwrap_or(0)
    }

    /// Position of each row within its sequence.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.sequences().flat_map(|rows| 0..rows.len())
    }
}

/// The parts. All of them take `&self` and hold no state between runs.
pub trait Parts: Send + Sync + 'static {
    /// One row of activations per token.
    type Rows: Send;
    /// A linear layer: weight `[out, in]` and perhaps a bias.
    type Linear: Send + Sync;
    /// A vector of weights, such as a norm's.
    type Vector: Send + Sync;
    /// A table of rows that are looked up by id.
    type Table: Send + Sync;
    /// A rotary table where the device can read it.
    type Rotary: Send + Sync;

    /// Name of the device, such as `cpu` or `cuda:0`.
    fn device(&self) -> String;

    /// Precision of the weights, such as `float32`.
    fn dtype(&self) -> &'static str;

    /// Bytes of the weights that were loaded through these parts.
    fn weight_bytes(&self) -> u64;

    /// Loads a linear layer; several weights (with their biases) are stacked along the output.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for values that are not finite, `OUT_OF_MEMORY`.
    fn load_linear(&self, weights: &[Weight], biases: &[Weight]) -> Result<Self::Linear>;

    /// Loads the gate of an MLP and what it gates, stacked, for [`Parts::gated_mlp_add`].
    ///
    /// # Errors
    /// As [`Parts::load_linear`].
    fn load_gated(&self, gate: &Weight, up: &Weight) -> Result<Self::Linear> {
        self.load_linear(&[gate.clone(), up.clone()], &[])
    }

    /// Loads a vector.
    ///
    /// # Errors
    /// As [`Parts::load_linear`].
    fn load_vector(&self, weight: &Weight) -> Result<Self::Vector>;

    /// Loads a table.
    ///
    /// # Errors
    /// As [`Parts::load_linear`].
    fn load_table(&self, weight: &Weight) -> Result<Self::Table>;

    /// A [`RotaryTable`] for at least so many positions, where the device can read it.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY`.
    fn rotary(&self, positions: usize, head_dim: usize, theta: f64) -> Result<Self::Rotary>;

    /// The rows `ids` of the table.
    ///
    /// # Errors
    /// `INTERNAL` for an id outside the table.
    fn gather(&self, table: &Self::Table, ids: &[u32]) -> Result<Self::Rows>;

    /// These rows of `x`, in this order.
    ///
    /// # Errors
    /// `INTERNAL` for a row that `x` does not have.
    fn select(&self, x: &Self::Rows, rows: &[u32]) -> Result<Self::Rows>;

    /// `x += y`
    ///
    /// # Errors
    /// `INTERNAL` where the shapes differ; so for all parts below.
    fn add(&self, x: &mut Self::Rows, y: &Self::Rows) -> Result<()>;

    /// `x / sqrt(mean(x²) + eps) · weight` for each row.
    ///
    /// # Errors
    /// As [`Parts::add`].
    fn rms_norm(&self, x: &Self::Rows, weight: &Self::Vector, eps: f64) -> Result<Self::Rows>;

    /// `(x − mean) / sqrt(variance + eps) · weight + bias` for each row, in place.
    ///
    /// # Errors
    /// As [`Parts::add`].
    fn layer_norm(&self, x: &mut Self::Rows, weight: &Self::Vector, bias: &Self::Vector, eps: f64) -> Result<()>;

    /// q, k, v, their norms and rotary positions, and softmax(q·kᵀ/√d)·v, each sequence by itself:
    /// `[tokens, q_width]`. Memory is linear in the length of a sequence.
    ///
    /// # Errors
    /// `ABORTED` once cancelled; `OUT_OF_MEMORY`.
    fn attention(
        &self,
        x: &Self::Rows,
        weights: &AttentionWeights<Self>,
        shape: &AttentionShape,
        rotary: Option<&Self::Rotary>,
        run: &Run<'_>,
    ) -> Result<Self::Rows>;

    /// `into += linear(x)`
    ///
    /// # Errors
    /// `ABORTED` once cancelled; `OUT_OF_MEMORY`.
    fn linear_add(&self, into: &mut Self::Rows, linear: &Self::Linear, x: &Self::Rows, run: &Run<'_>) -> Result<()>;

    /// `into += down(silu(gate(x)) · up(x))`, where `gate_up` stacks gate and up. The inner width is
    /// never held for all rows at once.
    ///
    /// # Errors
    /// As [`Parts::linear_add`].
    fn gated_mlp_add(
        &self,
        into: &mut Self::Rows,
        gate_up: &Self::Linear,
        down: &Self::Linear,
        x: &Self::Rows,
        run: &Run<'_>,
    ) -> Result<()>;

    /// `into += down(activation(up(into)))`: the MLP of BERT, whose input is its own residual.
    ///
    /// # Errors
    /// As [`Parts::linear_add`].
    fn mlp_add(
        &self,
        into: &mut Self::Rows,
        up: &Self::Linear,
        down: &Self::Linear,
        activation: Activation,
        run: &Run<'_>,
    ) -> Result<()>;

    /// Pools each span (rows of the batch) into one row of f32 on the host, rows one after another.
    ///
    /// # Errors
    /// As [`Parts::add`].
    fn pool(&self, x: &Self::Rows, spans: &[std::ops::Range<usize>], pooling: Pooling) -> Result<Vec<f32>>;

    /// Gives back what the parts of a run left for each other, such as buffers. Called after each run,
    /// however it ended.
    fn end_run(&self) {}
}
