//! Our own encoders over safetensors: Qwen2, Qwen3, BERT, RoBERTa, XLM-R.
//!
//! An encoder ([`qwen`], [`bert`]) is written once in the vocabulary of [`parts`], which has two
//! implementations: [`cpu`], written for CPUs, and [`generic`] in Candle's operations for the rest.

mod bert;
pub mod cpu;
mod encoder;
pub mod generic;
mod parts;
mod qwen;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device};
use embedding_engine_kernels::Isa;

use self::cpu::{CpuParts, Storage};
use self::encoder::Encoder;
use self::generic::GenericParts;
pub(in crate::backend) use self::parts::RotaryTable;
use self::parts::{Parts, Run};
use crate::backend::weights::Checkpoint;
use crate::backend::{Backend, BackendInfo};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::model::{Architecture, ModelSpec, Pooling};

/// Precision in which the weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// What suits the device: on a CPU bf16 where it multiplies that (AVX-512 BF16), which is up to twice as
    /// fast, and f32 elsewhere; on a GPU bf16.
    #[default]
    Auto,
    /// f32
    Float32,
    /// bf16
    Bfloat16,
    /// f16 (refused for Qwen models, which give NaN in it)
    Float16,
    /// int8: weights and what linear layers read, on the CPU alone.
    Int8,
}

impl Dtype {
    /// What `auto` is in our own encoders on a device such as `cpu` or `cuda:0`; every other one is itself.
    pub fn on(self, device: &str) -> Dtype {
        match self {
            Dtype::Auto if device == "cpu" && !Isa::best().multiplies_bf16() => Dtype::Float32,
            Dtype::Auto => Dtype::Bfloat16,
            dtype => dtype,
        }
    }
}

/// Loads a model that runs in our own encoders, on the CPU.
///
/// # Errors
/// `BAD_CHECKPOINT`, `MODEL_UNSUPPORTED`, `INVALID_OPTION` (dtype), `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY`,
/// `ABORTED`.
pub fn load(spec: &ModelSpec, device: &str, dtype: Dtype, cancel: &Cancel) -> Result<Arc<dyn Backend>> {
    if device != "cpu" {
        return Err(Error::new(
            Code::DeviceUnavailable,
            format!("Device '{device}' cannot run {}: this build runs Qwen and BERT models on the CPU.", spec.id),
        )
        .with("device", device));
    }
    let storage = match dtype.on(device) {
        Dtype::Int8 => Storage::Int8,
        dtype => match checked(spec, dtype)? {
            DType::BF16 => Storage::Bf16,
            DType::F16 => Storage::F16,
            _ => Storage::F32,
        },
    };
    load_with(spec, CpuParts::new(storage), cancel)
}

/// Loads a model in Candle's operations on a device of Candle's.
///
/// # Errors
/// As [`load`].
pub fn load_generic(
    spec: &ModelSpec,
    device: Device,
    name: &str,
    dtype: Dtype,
    cancel: &Cancel,
) -> Result<Arc<dyn Backend>> {
    let dtype = match dtype {
        Dtype::Auto if !device.is_cpu() => Dtype::Bfloat16,
        dtype => dtype,
    };
    let dtype = checked(spec, dtype)?;
    load_with(spec, GenericParts::new(device, name, dtype), cancel)
}

/// The precision to use, refusing what this model cannot have.
fn checked(spec: &ModelSpec, dtype: Dtype) -> Result<DType> {
    match dtype {
        Dtype::Auto | Dtype::Float32 => Ok(DType::F32),
        Dtype::Bfloat16 => Ok(DType::BF16),
        Dtype::Float16 if matches!(spec.architecture, Architecture::Qwen(_)) => Err(Error::invalid_option(
            "dtype",
            format!(
                "dtype 'float16' is not offered for {}: Qwen embedders give NaN in f16. Use 'bfloat16' or 'float32'.",
                spec.id
            ),
        )),
        Dtype::Float16 => Ok(DType::F16),
        Dtype::Int8 => Err(Error::invalid_option(
            "dtype",
            format!("dtype 'int8' is for the CPU, and {} was to run elsewhere. Use 'float32' or 'bfloat16'.", spec.id),
        )),
    }
}

fn load_with<P: Parts>(spec: &ModelSpec, parts: P, cancel: &Cancel) -> Result<Arc<dyn Backend>> {
    let checkpoint = Checkpoint::open(&spec.files.weights)?;
    let encoder: Box<dyn Encoder<P>> = match &spec.architecture {
        Architecture::Qwen(config) => Box::new(qwen::Qwen::load(&parts, checkpoint, config, spec.attention, cancel)?),
        Architecture::Bert(config) => Box::new(bert::Bert::load(&parts, checkpoint, config, cancel)?),
        Architecture::Onnx | Architecture::Static => {
            return Err(Error::internal(format!("{} is no encoder and came to the Candle backend", spec.id)));
        }
    };
    let info = BackendInfo {
        device: parts.device(),
        dtype: parts.dtype().to_owned(),
        width: encoder.width(),
        weight_bytes: parts.weight_bytes(),
    };
    Ok(Arc::new(CandleBackend { parts, encoder, pooling: spec.pooling, info }))
}

struct CandleBackend<P: Parts> {
    parts: P,
    encoder: Box<dyn Encoder<P>>,
    pooling: Pooling,
    info: BackendInfo,
}

impl<P: Parts> Backend for CandleBackend<P> {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        if batch.tokens() == 0 {
            return Ok(Vec::new());
        }
        let result = self.rows(batch, cancel);
        self.parts.end_run();
        result
    }
}

impl<P: Parts> CandleBackend<P> {
    fn rows(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        let mut spans: Vec<Range<usize>> = batch
            .spans
            .iter()
            .map(|span| {
                let start = batch.range(span.sequence as usize).start;
                start + span.start as usize..start + span.end as usize
            })
            .collect();
        let wanted = single_rows(&spans, self.pooling);
        let run = Run { cumulative: &batch.cumulative, wanted: wanted.as_deref(), cancel };
        let hidden = self.encoder.run(&self.parts, batch, &run)?;
        if wanted.is_some() {
            let mut rows = 0;
            for span in &mut spans {
                let from = rows;
                rows += span.len().min(1);
                *span = from..rows;
            }
        }
        self.parts.pool(&hidden, &spans, self.pooling)
    }
}

/// The row that the pooling reads of each span that is not empty, where it reads one: of all others, only keys
/// and values are needed of the last layer. `None` where it reads all rows, or there is nothing to read.
fn single_rows(spans: &[Range<usize>], pooling: Pooling) -> Option<Vec<u32>> {
    let row: fn(&Range<usize>) -> usize = match pooling {
        Pooling::Cls | Pooling::None => |span| span.start,
        Pooling::LastToken => |span| span.end - 1,
        Pooling::Mean | Pooling::Max | Pooling::MeanSqrtLen | Pooling::WeightedMean => return None,
    };
    let rows: Vec<u32> = spans.iter().filter(|span| !span.is_empty()).map(|span| row(span) as u32).collect();
    (!rows.is_empty()).then_some(rows)
}
