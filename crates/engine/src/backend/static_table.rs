//! Static models: a table with one row a token. A text is the mean of its tokens' rows; what a token weighs is in its
//! row. No token sees another, so this costs one row a token and nothing else.
//!
//! Tables are those of sentence-transformers' `StaticEmbedding` (`embedding.weight`, or `embeddings` as model2vec
//! writes it), in F32, F16 or BF16; or in I8, where each row has a scale of its own in `embedding.scale`.

use std::sync::Arc;

use rayon::prelude::*;

use super::weights::Checkpoint;
use super::{Backend, BackendInfo};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::model::static_table::{SCALE, TABLES, table_shape};
use crate::model::{ModelSpec, Pooling};

/// Tokens of a batch: about a millisecond on one core.
const TOKENS_PER_BATCH: usize = 32 << 10;
/// Rows that one thread takes at once: less is not worth handing over.
const ROWS_PER_JOB: usize = 8;

/// Loads a static model. It runs on the CPU: there is nothing to compute that a GPU would be quicker at.
///
/// # Errors
/// `BAD_CHECKPOINT`, `MODEL_UNSUPPORTED`, `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY`.
pub fn load(spec: &ModelSpec, device: &str) -> Result<Arc<dyn Backend>> {
    if device != "cpu" {
        let message = format!(
            "Device '{device}' cannot run {}: a static model only looks rows up, which is done on the CPU.",
            spec.id
        );
        return Err(Error::new(Code::DeviceUnavailable, message).with("device", device));
    }
    if spec.pooling != Pooling::Mean {
        return Err(Error::internal(format!("{} came to the static backend with another pooling", spec.id)));
    }
    let files = &spec.files.weights;
    let checkpoint = Checkpoint::open(files)?;
    let (rows, width) = table_shape(files)?;
    let name = TABLES.into_iter().find(|name| checkpoint.has(name)).unwrap_or(TABLES[0]);
    let table = checkpoint.get(name, &[rows, width])?;
    let values = if table.is_int8() {
        let mut scales = Vec::new();
        checkpoint.get(SCALE, &[rows])?.append_f32(&mut scales)?;
        Values::Int8 { codes: table.to_i8()?, scales }
    } else {
        let mut values = Vec::new();
        table.append_f32(&mut values)?;
        Values::Float(values)
    };
    let (dtype, weight_bytes) = match &values {
        Values::Int8 { codes, scales } => ("int8", codes.len() + 4 * scales.len()),
        Values::Float(values) => ("float32", 4 * values.len()),
    };
    let info =
        BackendInfo { device: "cpu".to_owned(), dtype: dtype.to_owned(), width, weight_bytes: weight_bytes as u64 };
    Ok(Arc::new(StaticTable { values, rows, info }))
}

enum Values {
    /// Row `i` is `scales[i] · codes[i]`.
    Int8 {
        codes: Vec<i8>,
        scales: Vec<f32>,
    },
    Float(Vec<f32>),
}

struct StaticTable {
    values: Values,
    rows: usize,
    info: BackendInfo,
}

impl Backend for StaticTable {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn tokens_per_batch(&self) -> Option<usize> {
        Some(TOKENS_PER_BATCH)
    }

    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        cancel.check()?;
        if let Some(id) = batch.ids.iter().find(|id| **id as usize >= self.rows) {
            return Err(Error::internal(format!("Token {id} lies beyond the table of {} rows.", self.rows)));
        }
        let width = self.info.width;
        let mut out = Vec::new();
        let size = batch.spans.len() * width;
        out.try_reserve_exact(size)
            .map_err(|_| Error::new(Code::OutOfMemory, format!("No memory for {} vectors.", batch.spans.len())))?;
        out.resize(size, 0f32);
        let arch = pulp::Arch::new();
        out.par_chunks_mut(width).zip(&batch.spans).with_min_len(ROWS_PER_JOB).for_each(|(out, span)| {
            let start = batch.range(span.sequence as usize).start;
            let ids = &batch.ids[start + span.start as usize..start + span.end as usize];
            match &self.values {
                Values::Int8 { codes, scales } => arch.dispatch(|| mean_of_codes(ids, codes, scales, out)),
                Values::Float(values) => arch.dispatch(|| mean_of_rows(ids, values, out)),
            }
        });
        Ok(out)
    }
}

/// The product is rounded before it is added, so that every CPU gives the same bits.
#[inline(always)]
fn mean_of_codes(ids: &[u32], codes: &[i8], scales: &[f32], out: &mut [f32]) {
    let width = out.len();
    for &id in ids {
        let (id, scale) = (id as usize, scales[id as usize]);
        let row = &codes[id * width..(id + 1) * width];
        for (out, code) in out.iter_mut().zip(row) {
            *out += scale * f32::from(*code);
        }
    }
    divide(out, ids.len());
}

#[inline(always)]
fn mean_of_rows(ids: &[u32], values: &[f32], out: &mut [f32]) {
    let width = out.len();
    for &id in ids {
        let row = &values[id as usize * width..(id as usize + 1) * width];
        for (out, value) in out.iter_mut().zip(row) {
            *out += value;
        }
    }
    divide(out, ids.len());
}

#[inline(always)]
fn divide(out: &mut [f32], count: usize) {
    let count = count.max(1) as f32;
    for out in out {
        *out /= count;
    }
}
