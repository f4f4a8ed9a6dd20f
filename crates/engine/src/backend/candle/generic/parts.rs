//! [`Parts`] in Candle's operations.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};

use super::layout::{Bucket, Layout, Rows};
use super::{Tiles, activate, attention, from_candle, load, pooling};
use crate::backend::candle::parts::{AttentionShape, AttentionWeights, Parts, RotaryTable, Run};
use crate::backend::weights::Weight;
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling};
use crate::sync::lock;

/// The parts of a transformer in Candle's operations.
#[derive(Debug)]
pub struct GenericParts {
    device: Device,
    dtype: DType,
    name: String,
    tiles: Tiles,
    bytes: AtomicU64,
    /// Kept between runs: a table for 32,768 positions takes the host some 40 ms.
    rotary: Mutex<Option<(RotaryKey, Rotary)>>,
    /// That of the batch that runs, made by its first layer.
    layout: Mutex<Option<Arc<Layout>>>,
}

/// Width of a head and the bits of theta.
type RotaryKey = (usize, u64);

/// Cosines and sines, `[positions, head_dim / 2]` each, in f32.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

/// A linear layer, its weight as in the file: `[out, in]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// What the layer gates ([`Parts::gated_mlp_add`]): two products give two contiguous results, which
    /// kernels read faster than halves of one.
    gated: Option<Tensor>,
}

/// The product in the precision of the weight.
fn product(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
    x.to_dtype(weight.dtype())?.matmul(&weight.t()?)
}

impl Linear {
    /// f32 out, whatever comes in; the product itself is taken in the precision of the weight.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = product(x, &self.weight)?.to_dtype(DType::F32)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl GenericParts {
    /// Parts on `device`, called `name` in reports, with matrices in `dtype` (f32, bf16 or f16).
    ///
    /// The residual stream, norms, biases and scores are f32: in bf16 the residual stream alone would cost more
    /// of the vector (cosine 0.9993 on small models) than all the weights do. What linear layers read, and the
    /// inner width of a gated MLP, have the type of the matrices.
    pub fn new(device: Device, name: &str, dtype: DType) -> Self {
        GenericParts {
            tiles: Tiles::of(&device),
            device,
            dtype,
            name: name.to_owned(),
            bytes: AtomicU64::new(0),
            rotary: Mutex::new(None),
            layout: Mutex::new(None),
        }
    }

    fn load(&self, weights: &[Weight], dtype: DType) -> Result<Tensor> {
        let tensor = load::stacked(weights, dtype, &self.device)?;
        self.bytes.fetch_add((tensor.elem_count() * dtype.size_in_bytes()) as u64, Ordering::Relaxed);
        Ok(tensor)
    }

    /// The layout of this batch; layers of one model have one number of heads.
    fn layout(&self, shape: &AttentionShape, run: &Run<'_>) -> Result<Arc<Layout>> {
        let mut kept = lock(&self.layout);
        if let Some(layout) = kept.as_ref().filter(|layout| layout.is_of(run.cumulative)) {
            return Ok(Arc::clone(layout));
        }
        let layout = Layout::new(run.cumulative, shape.heads, self.tiles.scores, &self.device).map_err(from_candle)?;
        Ok(Arc::clone(kept.insert(Arc::new(layout))))
    }

    /// Heads `at..at + heads` of `[sequences, len, all heads, dim]` as `[sequences, heads, len, dim]`, normed,
    /// rotated and scaled if the model does so, in the type of the matrices.
    fn heads(&self, x: &Tensor, at: usize, heads: usize, prepare: &Prepare<'_>) -> candle_core::Result<Tensor> {
        let mut x = x.narrow(2, at, heads)?.transpose(1, 2)?.contiguous()?;
        if let Some(weight) = prepare.norm {
            x = candle_nn::ops::rms_norm(&x, weight, prepare.eps as f32)?;
        }
        if let Some(Rotary { cos, sin }) = prepare.rotary {
            x = candle_nn::rotary_emb::rope(&x, cos, sin)?;
        }
        if prepare.scale != 1.0 {
            x = (x * prepare.scale)?;
        }
        x.to_dtype(self.dtype)
    }

    fn attention_of(
        &self,
        qkv: &Tensor,
        weights: &AttentionWeights<Self>,
        shape: &AttentionShape,
        rotary: Option<&Rotary>,
        (layout, bucket): (&Layout, &Bucket),
        run: &Run<'_>,
    ) -> std::result::Result<Tensor, Stop> {
        let width = shape.heads + 2 * shape.kv_heads;
        let rows = match &bucket.rows {
            Rows::From(start) => qkv.narrow(0, *start, bucket.sequences * bucket.len)?,
            Rows::At(rows) => qkv.index_select(rows, 0)?,
        };
        let rows = rows.reshape((bucket.sequences, bucket.len, width, shape.head_dim))?;
        let key = Prepare { norm: weights.k_norm.as_ref(), eps: shape.norm_eps, rotary, scale: 1.0 };
        let scale = 1.0 / (shape.head_dim as f64).sqrt();
        let query = Prepare { norm: weights.q_norm.as_ref(), scale, ..key };
        let value = Prepare { norm: None, rotary: None, ..key };
        let q = self.heads(&rows, 0, shape.heads, &query)?;
        let k = self.heads(&rows, shape.heads, shape.kv_heads, &key)?;
        let v = self.heads(&rows, shape.heads + shape.kv_heads, shape.kv_heads, &value)?;
        drop(rows);
        let between = || run.cancel.check().map_err(Stop::Ours);
        attention::attention((&q, &k, &v), shape, (layout, bucket), self.tiles.scores, between)
    }

    /// Applies `f` to tiles of rows.
    fn tiled(&self, x: &Tensor, run: &Run<'_>, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor> {
        let rows = x.dim(0).map_err(from_candle)?;
        let mut tiles = Vec::with_capacity(rows.div_ceil(self.tiles.rows));
        for from in (0..rows).step_by(self.tiles.rows) {
            run.cancel.check()?;
            let tile = x.narrow(0, from, self.tiles.rows.min(rows - from));
            tiles.push(tile.and_then(|tile| f(&tile)).map_err(from_candle)?);
        }
        Tensor::cat(&tiles, 0).map_err(from_candle)
    }
}

/// What is done to heads before attention.
#[derive(Clone, Copy)]
struct Prepare<'a> {
    norm: Option<&'a Tensor>,
    eps: f64,
    rotary: Option<&'a Rotary>,
    scale: f64,
}

impl Parts for GenericParts {
    type Rows = Tensor;
    type Linear = Linear;
    type Vector = Tensor;
    type Table = Tensor;
    type Rotary = Rotary;

    fn device(&self) -> String {
        self.name.clone()
    }

    fn dtype(&self) -> &'static str {
        match self.dtype {
            DType::BF16 => "bfloat16",
            DType::F16 => "float16",
            _ => "float32",
        }
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn load_linear(&self, weights: &[Weight], biases: &[Weight]) -> Result<Linear> {
        let bias = if biases.is_empty() { None } else { Some(self.load(biases, DType::F32)?) };
        Ok(Linear { weight: self.load(weights, self.dtype)?, bias, gated: None })
    }

    fn load_gated(&self, gate: &Weight, up: &Weight) -> Result<Linear> {
        let [weight, gated] = [gate, up].map(|weight| self.load(std::slice::from_ref(weight), self.dtype));
        Ok(Linear { weight: weight?, bias: None, gated: Some(gated?) })
    }

    fn load_vector(&self, weight: &Weight) -> Result<Tensor> {
        self.load(std::slice::from_ref(weight), DType::F32)
    }

    fn load_table(&self, weight: &Weight) -> Result<Tensor> {
        self.load(std::slice::from_ref(weight), self.dtype)
    }

    fn rotary(&self, positions: usize, head_dim: usize, theta: f64) -> Result<Rotary> {
        let key = (head_dim, theta.to_bits());
        let mut kept = lock(&self.rotary);
        if let Some((_, rotary)) = kept.as_ref().filter(|(other, rotary)| *other == key && rotary.reaches(positions)) {
            return Ok(rotary.clone());
        }
        let table = RotaryTable::new(positions.next_power_of_two(), head_dim, theta);
        let tensor = |values: Vec<f32>| {
            let half = head_dim / 2;
            let rows = values.len() / half.max(1);
            Tensor::from_vec(values, (rows, half), &self.device).map_err(from_candle)
        };
        let rotary = Rotary { cos: tensor(table.cos)?, sin: tensor(table.sin)? };
        Ok(kept.insert((key, rotary)).1.clone())
    }

    fn gather(&self, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
        // A wrong id would end all that the device does.
        let rows = table.dim(0).map_err(from_candle)?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            return Err(Error::internal(format!("id {id} lies outside of a table of {rows} rows")));
        }
        let ids = Tensor::new(ids, &self.device).map_err(from_candle)?;
        table.embedding(&ids).and_then(|rows| rows.to_dtype(DType::F32)).map_err(from_candle)
    }

    fn select(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        // A wrong row would end all that the device does.
        let count = x.dim(0).map_err(from_candle)?;
        if let Some(row) = rows.iter().find(|row| **row as usize >= count) {
            return Err(Error::internal(format!("row {row} lies outside {count} rows")));
        }
        Tensor::new(rows, &self.device).and_then(|rows| x.index_select(&rows, 0)).map_err(from_candle)
    }

    fn add(&self, x: &mut Tensor, y: &Tensor) -> Result<()> {
        *x = (&*x + y).map_err(from_candle)?;
        Ok(())
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        candle_nn::ops::rms_norm(x, weight, eps as f32).map_err(from_candle)
    }

    fn layer_norm(&self, x: &mut Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<()> {
        *x = candle_nn::ops::layer_norm(x, weight, bias, eps as f32).map_err(from_candle)?;
        Ok(())
    }

    fn attention(
        &self,
        x: &Tensor,
        weights: &AttentionWeights<Self>,
        shape: &AttentionShape,
        rotary: Option<&Rotary>,
        run: &Run<'_>,
    ) -> Result<Tensor> {
        let qkv = self.tiled(x, run, |x| weights.qkv.forward(x))?;
        let layout = self.layout(shape, run)?;
        let mut rows = Vec::with_capacity(layout.buckets.len());
        for bucket in &layout.buckets {
            rows.push(self.attention_of(&qkv, weights, shape, rotary, (&layout, bucket), run)?);
        }
        let rows = Tensor::cat(&rows, 0).map_err(from_candle)?;
        match &layout.back {
            Some(back) => rows.index_select(back, 0).map_err(from_candle),
            None => Ok(rows),
        }
    }

    fn linear_add(&self, into: &mut Tensor, linear: &Linear, x: &Tensor, run: &Run<'_>) -> Result<()> {
        let y = self.tiled(x, run, |x| linear.forward(x))?;
        self.add(into, &y)
    }

    fn gated_mlp_add(
        &self,
        into: &mut Tensor,
        gate_up: &Linear,
        down: &Linear,
        x: &Tensor,
        run: &Run<'_>,
    ) -> Result<()> {
        let Some(up) = &gate_up.gated else { return Err(Error::internal("a gated layer was loaded as a plain one")) };
        let y = self.tiled(x, run, |x| {
            let x = x.to_dtype(self.dtype)?;
            let gate = product(&x, &gate_up.weight)?.silu()?;
            down.forward(&(gate * product(&x, up)?)?)
        })?;
        self.add(into, &y)
    }

    fn mlp_add(
        &self,
        into: &mut Tensor,
        up: &Linear,
        down: &Linear,
        activation: Activation,
        run: &Run<'_>,
    ) -> Result<()> {
        let y = self.tiled(into, run, |x| down.forward(&activate(&up.forward(x)?, activation)?))?;
        self.add(into, &y)
    }

    fn pool(&self, x: &Tensor, spans: &[Range<usize>], pooling: Pooling) -> Result<Vec<f32>> {
        pooling::pool(x, spans, pooling).map_err(from_candle)
    }

    fn end_run(&self) {
        lock(&self.layout).take();
    }
}

impl Rotary {
    /// Whether it holds so many positions.
    fn reaches(&self, positions: usize) -> bool {
        self.cos.dim(0).is_ok_and(|rows| rows >= positions)
    }
}

/// Why a tile stopped: Candle failed, or we were cancelled.
enum Stop {
    Candle(candle_core::Error),
    Ours(Error),
}

impl From<candle_core::Error> for Stop {
    fn from(error: candle_core::Error) -> Self {
        Stop::Candle(error)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Candle(error) => from_candle(error),
            Stop::Ours(error) => error,
        }
    }
}
