//! [`Parts`] on the CPU.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use embedding_engine_kernels::{Attention, Isa, Precision, Workspace};
use rayon::prelude::*;

use super::Rows;
use super::buffers::Buffers;
use super::buffers::no_memory;
use super::elementwise::{self, HeadPrepare};
use super::linear::{Linear, Storage};
use super::mlp::{Between, MlpAdd};
use crate::backend::candle::parts::{AttentionShape, AttentionWeights, Parts, RotaryTable, Run};
use crate::backend::pool::pool_rows;
use crate::backend::weights::Weight;
use crate::error::{Error, Result};
use crate::model::{Activation, Pooling};

/// Rows that pass through wide layers together: enough to keep the matrix kernel near its best, few
/// enough that cancelling is quick and the inner width of an MLP stays small in memory.
const TILE_ROWS: usize = 192;

/// The parts of a transformer, written for CPUs.
#[derive(Debug)]
pub struct CpuParts {
    storage: Storage,
    bytes: AtomicU64,
    buffers: Buffers,
    /// What attention packs keys and values into: one of each run that is on now.
    workspaces: Mutex<Vec<Workspace>>,
}

impl CpuParts {
    /// Parts whose linear weights are held as `storage`.
    pub fn new(storage: Storage) -> Self {
        CpuParts { storage, bytes: AtomicU64::new(0), buffers: Buffers::default(), workspaces: Mutex::default() }
    }

    /// Rows whose values are whatever was there before.
    fn rows(&self, rows: usize, width: usize) -> Result<Rows> {
        Ok(Rows { data: self.buffers.take(rows * width)?, width })
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn lock_workspaces(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Row ranges of a tile each.
pub(super) fn tiles(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(TILE_ROWS).map(move |from| from..(from + TILE_ROWS).min(rows))
}

fn same_width(x: usize, y: usize) -> Result<()> {
    if x == y { Ok(()) } else { Err(Error::internal(format!("rows of width {x} met rows of width {y}"))) }
}

impl Parts for CpuParts {
    type Rows = Rows;
    type Linear = Linear;
    type Vector = Vec<f32>;
    /// Rows are read out of the mapped file: a table of 0.9 GB is not copied for a few rows a batch.
    type Table = Weight;
    type Rotary = RotaryTable;

    fn device(&self) -> String {
        "cpu".to_owned()
    }

    fn dtype(&self) -> &'static str {
        match self.storage {
            Storage::F32 => "float32",
            Storage::Bf16 => "bfloat16",
            Storage::F16 => "float16",
            Storage::Int8 => "int8",
        }
    }

    fn weight_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn load_linear(&self, weights: &[Weight], biases: &[Weight]) -> Result<Linear> {
        let linear = Linear::load(weights, biases, self.storage)?;
        self.count(linear.bytes());
        Ok(linear)
    }

    fn load_gated(&self, gate: &Weight, up: &Weight) -> Result<Linear> {
        let linear = Linear::load_gated(gate, up, self.storage)?;
        self.count(linear.bytes());
        Ok(linear)
    }

    fn load_vector(&self, weight: &Weight) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        weight.append_f32(&mut values)?;
        self.count(values.len() * 4);
        Ok(values)
    }

    fn load_table(&self, weight: &Weight) -> Result<Weight> {
        weight.check_finite()?;
        Ok(weight.clone())
    }

    fn rotary(&self, positions: usize, head_dim: usize, theta: f64) -> Result<RotaryTable> {
        Ok(RotaryTable::new(positions, head_dim, theta))
    }

    fn gather(&self, table: &Weight, ids: &[u32]) -> Result<Rows> {
        let (count, width) = match table.shape() {
            [count, width] => (*count, *width),
            shape => return Err(Error::internal(format!("table of shape {shape:?}"))),
        };
        if let Some(id) = ids.iter().find(|id| **id as usize >= count) {
            return Err(Error::internal(format!("id {id} lies outside {}, which has {count} rows", table.name())));
        }
        let mut rows = self.rows(ids.len(), width)?;
        rows.data
            .par_chunks_mut(width)
            .with_min_len(16)
            .zip(ids)
            .try_for_each(|(row, id)| table.read(*id as usize * width, row))?;
        Ok(rows)
    }

    fn select(&self, x: &Rows, rows: &[u32]) -> Result<Rows> {
        if let Some(row) = rows.iter().find(|row| **row as usize >= x.count()) {
            return Err(Error::internal(format!("row {row} lies outside {} rows", x.count())));
        }
        let mut out = self.rows(rows.len(), x.width)?;
        for (out, row) in out.data.chunks_exact_mut(x.width).zip(rows) {
            out.copy_from_slice(&x.data[*row as usize * x.width..][..x.width]);
        }
        Ok(out)
    }

    fn add(&self, x: &mut Rows, y: &Rows) -> Result<()> {
        same_width(x.data.len(), y.data.len())?;
        elementwise::add(&mut x.data, &y.data, x.width);
        Ok(())
    }

    fn rms_norm(&self, x: &Rows, weight: &Vec<f32>, eps: f64) -> Result<Rows> {
        same_width(x.width, weight.len())?;
        let mut out = self.rows(x.count(), x.width)?;
        elementwise::rms_norm(&x.data, &mut out.data, weight, eps);
        Ok(out)
    }

    fn layer_norm(&self, x: &mut Rows, weight: &Vec<f32>, bias: &Vec<f32>, eps: f64) -> Result<()> {
        same_width(x.width, weight.len())?;
        elementwise::layer_norm(&mut x.data, weight, bias, eps);
        Ok(())
    }

    fn attention(
        &self,
        x: &Rows,
        weights: &AttentionWeights<Self>,
        shape: &AttentionShape,
        rotary: Option<&RotaryTable>,
        run: &Run<'_>,
    ) -> Result<Rows> {
        same_width(x.width, weights.qkv.inputs())?;
        let width = weights.qkv.outputs();
        let mut qkv = self.rows(x.count(), width)?;
        for tile in tiles(x.count()) {
            run.cancel.check()?;
            let out = &mut qkv.data[tile.start * width..tile.end * width];
            weights.qkv.forward(&x.data[tile.start * x.width..tile.end * x.width], out, false)?;
        }
        let positions: Vec<u32> = run.positions().map(|position| position as u32).collect();
        let how = HeadPrepare {
            head_dim: shape.head_dim,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            norms: [weights.q_norm.as_deref(), weights.k_norm.as_deref()],
            eps: shape.norm_eps,
            rotary,
        };
        elementwise::prepare_heads(&mut qkv.data, width, &positions, &how);
        let mut out = self.rows(x.count(), shape.q_width())?;
        let attention = Attention {
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            causal: shape.causal,
            window: shape.window,
            values: match self.storage {
                Storage::Bf16 | Storage::Int8 => Precision::Bf16,
                Storage::F32 | Storage::F16 => Precision::F32,
            },
        };
        let mut workspace = self.lock_workspaces().pop().unwrap_or_default();
        let stop = || run.cancel.is_cancelled();
        let done = attention.forward(&qkv.data, run.cumulative, &mut out.data, Isa::best(), &mut workspace, &stop);
        self.lock_workspaces().push(workspace);
        match done {
            Ok(true) => Ok(out),
            Ok(false) => run.cancel.check().and(Err(Error::internal("attention stopped by itself"))),
            Err(_) => Err(no_memory(2 * x.count() * shape.kv_width() * size_of::<f32>())),
        }
    }

    fn linear_add(&self, into: &mut Rows, linear: &Linear, x: &Rows, run: &Run<'_>) -> Result<()> {
        same_width(x.width, linear.inputs())?;
        same_width(into.width, linear.outputs())?;
        let width = into.width;
        for tile in tiles(x.count()) {
            run.cancel.check()?;
            let out = &mut into.data[tile.start * width..tile.end * width];
            linear.forward(&x.data[tile.start * x.width..tile.end * x.width], out, true)?;
        }
        Ok(())
    }

    fn gated_mlp_add(&self, into: &mut Rows, gate_up: &Linear, down: &Linear, x: &Rows, run: &Run<'_>) -> Result<()> {
        same_width(x.width, gate_up.inputs())?;
        same_width(gate_up.gated_outputs(), down.inputs())?;
        same_width(into.width, down.outputs())?;
        let (buffers, cancel) = (&self.buffers, run.cancel);
        let mlp = MlpAdd { first: gate_up, between: Between::Gate, second: down, buffers, cancel };
        mlp.run(Some(&x.data), &mut into.data)
    }

    fn mlp_add(
        &self,
        into: &mut Rows,
        up: &Linear,
        down: &Linear,
        activation: Activation,
        run: &Run<'_>,
    ) -> Result<()> {
        same_width(into.width, up.inputs())?;
        same_width(into.width, down.outputs())?;
        same_width(up.outputs(), down.inputs())?;
        let (buffers, cancel) = (&self.buffers, run.cancel);
        let mlp = MlpAdd { first: up, between: Between::Of(activation), second: down, buffers, cancel };
        mlp.run(None, &mut into.data)
    }

    fn pool(&self, x: &Rows, spans: &[Range<usize>], pooling: Pooling) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(spans.len() * x.width);
        pool_rows(&x.data, x.width, spans.iter().cloned(), pooling, &mut out);
        Ok(out)
    }

    fn end_run(&self) {
        self.buffers.clear();
        self.lock_workspaces().clear();
    }
}
