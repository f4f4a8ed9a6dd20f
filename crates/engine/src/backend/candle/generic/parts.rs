//! [`Parts`] in Candle's operations.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{D, DType, Device, Tensor};

use super::{activate, attention, from_candle};
use crate::backend::candle::parts::{AttentionShape, AttentionWeights, Parts, RotaryTable, Run};
use crate::backend::pool::pool_rows;
use crate::backend::weights::Weight;
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling};

/// Rows that pass through an MLP together, so that its inner width is not held for a whole long text.
const TILE_ROWS: usize = 2048;

/// The parts of a transformer in Candle's operations.
#[derive(Debug)]
pub struct GenericParts {
    device: Device,
    dtype: DType,
    name: String,
    bytes: AtomicU64,
}

/// A linear layer: the weight transposed and contiguous, `[in, out]`.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// f32 in, f32 out; the product itself is taken in the precision of the weight.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.to_dtype(self.weight.dtype())?.matmul(&self.weight)?.to_dtype(DType::F32)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl GenericParts {
    /// Parts on `device`, called `name` in reports, with matrices in `dtype` (f32, bf16 or f16).
    ///
    /// Activations, norms and biases are f32: in bf16 the residual stream alone would cost more of the
    /// vector (cosine 0.9993 on small models) than all the weights do.
    pub fn new(device: Device, name: &str, dtype: DType) -> Self {
        GenericParts { device, dtype, name: name.to_owned(), bytes: AtomicU64::new(0) }
    }

    fn load(&self, weights: &[Weight], shape: &[usize], dtype: DType) -> Result<Tensor> {
        let mut values = Vec::new();
        for weight in weights {
            weight.append_f32(&mut values)?;
        }
        let count: usize = shape.iter().product();
        if values.len() != count {
            return Err(Error::internal(format!("{} values for shape {shape:?}", values.len())));
        }
        self.bytes.fetch_add((count * dtype.size_in_bytes()) as u64, Ordering::Relaxed);
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).and_then(|tensor| tensor.to_dtype(dtype));
        tensor.and_then(|tensor| tensor.to_device(&self.device)).map_err(from_candle)
    }

    /// RMS norm over the last dimension.
    fn normalise(x: &Tensor, weight: &Tensor, eps: f64) -> candle_core::Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(weight)
    }

    /// `[tokens, heads * dim]` to `[heads, tokens, dim]`, normed and rotated if the model does so.
    fn heads(
        &self,
        x: &Tensor,
        heads: usize,
        norm: Option<&Tensor>,
        eps: f64,
        rotary: Option<&(Tensor, Tensor)>,
    ) -> candle_core::Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let mut x = x.reshape((tokens, heads, width / heads))?;
        if let Some(weight) = norm {
            x = Self::normalise(&x, weight, eps)?;
        }
        let x = x.transpose(0, 1)?.contiguous()?;
        let Some((cos, sin)) = rotary else { return x.to_dtype(self.dtype) };
        let half = width / heads / 2;
        let (cos, sin) = (cos.narrow(0, 0, tokens)?.unsqueeze(0)?, sin.narrow(0, 0, tokens)?.unsqueeze(0)?);
        let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 2)?.to_dtype(self.dtype)
    }

    /// Applies `f` to tiles of rows.
    fn tiled(x: &Tensor, run: &Run<'_>, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor> {
        let rows = x.dim(0).map_err(from_candle)?;
        let mut tiles = Vec::with_capacity(rows.div_ceil(TILE_ROWS));
        for from in (0..rows).step_by(TILE_ROWS) {
            run.cancel.check()?;
            let tile = x.narrow(0, from, TILE_ROWS.min(rows - from));
            tiles.push(tile.and_then(|tile| f(&tile)).map_err(from_candle)?);
        }
        Tensor::cat(&tiles, 0).map_err(from_candle)
    }
}

impl Parts for GenericParts {
    type Rows = Tensor;
    type Linear = Linear;
    type Vector = Tensor;
    type Table = Tensor;
    type Rotary = (Tensor, Tensor);

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
        let inputs = weights.first().and_then(|weight| weight.shape().get(1)).copied().unwrap_or(0);
        let outputs = weights.iter().filter_map(|weight| weight.shape().first()).sum();
        let weight = self.load(weights, &[outputs, inputs], self.dtype)?;
        let weight = weight.t().and_then(|weight| weight.contiguous()).map_err(from_candle)?;
        let bias = if biases.is_empty() { None } else { Some(self.load(biases, &[outputs], DType::F32)?) };
        Ok(Linear { weight, bias })
    }

    fn load_vector(&self, weight: &Weight) -> Result<Tensor> {
        self.load(std::slice::from_ref(weight), weight.shape(), DType::F32)
    }

    fn load_table(&self, weight: &Weight) -> Result<Tensor> {
        self.load(std::slice::from_ref(weight), weight.shape(), self.dtype)
    }

    fn rotary(&self, table: RotaryTable) -> Result<(Tensor, Tensor)> {
        let half = table.head_dim / 2;
        let tensor = |values: Vec<f32>| {
            let rows = values.len() / half.max(1);
            Tensor::from_vec(values, (rows, half), &self.device).map_err(from_candle)
        };
        Ok((tensor(table.cos)?, tensor(table.sin)?))
    }

    fn gather(&self, table: &Tensor, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, &self.device).map_err(from_candle)?;
        table.embedding(&ids).and_then(|rows| rows.to_dtype(DType::F32)).map_err(from_candle)
    }

    fn add(&self, x: &mut Tensor, y: &Tensor) -> Result<()> {
        *x = (&*x + y).map_err(from_candle)?;
        Ok(())
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        Self::normalise(x, weight, eps).map_err(from_candle)
    }

    fn layer_norm(&self, x: &mut Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<()> {
        let normed = || {
            let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
            let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
            normed.broadcast_mul(weight)?.broadcast_add(bias)
        };
        *x = normed().map_err(from_candle)?;
        Ok(())
    }

    fn attention(
        &self,
        x: &Tensor,
        weights: &AttentionWeights<Self>,
        shape: &AttentionShape,
        rotary: Option<&(Tensor, Tensor)>,
        run: &Run<'_>,
    ) -> Result<Tensor> {
        let qkv = Self::tiled(x, run, |x| weights.qkv.forward(x))?;
        let mut rows = Vec::new();
        for sequence in run.sequences() {
            let heads = |at: usize, heads: usize, norm: Option<&Tensor>, rotary: Option<&(Tensor, Tensor)>| {
                let width = heads * shape.head_dim;
                let part = qkv.narrow(0, sequence.start, sequence.len()).and_then(|qkv| qkv.narrow(1, at, width));
                part.and_then(|x| self.heads(&x.contiguous()?, heads, norm, shape.norm_eps, rotary))
                    .map_err(from_candle)
            };
            let q = heads(0, shape.heads, weights.q_norm.as_ref(), rotary)?;
            let k = heads(shape.q_width(), shape.kv_heads, weights.k_norm.as_ref(), rotary)?;
            let v = heads(shape.q_width() + shape.kv_width(), shape.kv_heads, None, None)?;
            rows.push(attention::attention(&q, &k, &v, shape, || run.cancel.check().map_err(Stop::Ours))?);
        }
        Tensor::cat(&rows, 0).map_err(from_candle)
    }

    fn linear_add(&self, into: &mut Tensor, linear: &Linear, x: &Tensor, run: &Run<'_>) -> Result<()> {
        let y = Self::tiled(x, run, |x| linear.forward(x))?;
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
        let y = Self::tiled(x, run, |x| {
            let wide = gate_up.forward(x)?;
            let inner = wide.dim(1)? / 2;
            let act = (wide.narrow(1, 0, inner)?.contiguous()?.silu()? * wide.narrow(1, inner, inner)?)?;
            down.forward(&act)
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
        let y = Self::tiled(into, run, |x| down.forward(&activate(&up.forward(x)?, activation)?))?;
        self.add(into, &y)
    }

    fn pool(&self, x: &Tensor, spans: &[Range<usize>], pooling: Pooling) -> Result<Vec<f32>> {
        let width = x.dim(1).map_err(from_candle)?;
        let rows = x.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(from_candle)?;
        let mut out = Vec::with_capacity(spans.len() * width);
        pool_rows(&rows, width, spans.iter().cloned(), pooling, &mut out);
        Ok(out)
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
