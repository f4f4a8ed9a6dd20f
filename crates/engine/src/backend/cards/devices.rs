//! Cards that run our encoders in Candle's operations: a GPU, or in tests the CPU.

use std::sync::Arc;

use candle_core::{DType, Device};

use super::budget::{Footprint, Limits, Memory};
use super::{Card, Cards, MakeCard};
use crate::backend::candle::generic::{Tiles, from_candle};
use crate::backend::candle::{self, Dtype};
use crate::backend::{Backend, BackendInfo};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::model::ModelSpec;
use crate::sync::catch;

/// Loads a model on GPUs: `cuda:0`, a replica on each of `cuda:0,1`, or `metal`.
///
/// # Errors
/// `DEVICE_UNAVAILABLE`, `OUT_OF_MEMORY` and those of [`candle::load_generic`]; `INVALID_OPTION` for a device
/// that is not named so.
pub fn load(spec: &ModelSpec, device: &str, dtype: Dtype, limits: Limits, cancel: &Cancel) -> Result<Arc<dyn Backend>> {
    if device == "metal" {
        let open: Open = Box::new(|| Device::new_metal(0).map_err(from_candle));
        return load_on(spec, vec![(device.to_owned(), open)], dtype, limits, cancel);
    }
    let devices = indices(device)?.into_iter().map(|index| {
        let name = format!("cuda:{index}");
        let called = name.clone();
        let open: Open = Box::new(move || open(&called, index));
        (name, open)
    });
    load_on(spec, devices.collect(), dtype, limits, cancel)
}

/// Opens a device, on the thread that will use it.
pub type Open = Box<dyn FnOnce() -> Result<Device> + Send>;

/// Loads a replica on each device, under its name.
///
/// # Errors
/// As [`load`].
pub fn load_on(
    spec: &ModelSpec,
    devices: Vec<(String, Open)>,
    dtype: Dtype,
    limits: Limits,
    cancel: &Cancel,
) -> Result<Arc<dyn Backend>> {
    let cards = devices.into_iter().map(|(name, open)| {
        let (spec, cancel, called) = (spec.clone(), cancel.clone(), name.clone());
        let make: MakeCard = Box::new(move || {
            let device = Opened(open()?);
            Ok(Box::new(CandleCard::load(&spec, device, &called, dtype, &cancel)?))
        });
        (name, make)
    });
    Ok(Arc::new(Cards::start(cards.collect(), limits)?))
}

/// `cuda`, `cuda:1` or `cuda:0,2` as indices; each once.
fn indices(device: &str) -> Result<Vec<usize>> {
    let list = match device.split_once(':') {
        Some(("cuda", list)) => list,
        None if device == "cuda" => "0",
        _ => return Err(not_a_card(device)),
    };
    let mut indices = Vec::new();
    for index in list.split(',') {
        let index = index.parse().map_err(|_| not_a_card(device))?;
        if indices.contains(&index) {
            return Err(Error::invalid_option("device", format!("device is {device:?}, which names {index} twice."))
                .with("value", device));
        }
        indices.push(index);
    }
    Ok(indices)
}

fn not_a_card(device: &str) -> Error {
    let message = format!("device is {device:?}, but our own encoders run on 'cpu' and on cards such as 'cuda:0,1'.");
    Error::invalid_option("device", message).with("value", device)
}

/// A device with a stream of its own, on which everything of one model happens.
#[cfg(feature = "cuda")]
fn open(name: &str, index: usize) -> Result<Device> {
    let unusable = |reason: String| {
        let message = format!("The device {name} cannot be used: {}", super::sentence(&reason));
        Error::new(Code::DeviceUnavailable, message).with("device", name)
    };
    // Where a library of CUDA cannot be loaded, cudarc panics.
    let opened = catch("opening a device", || Device::new_cuda_with_stream(index).map_err(from_candle));
    let device = opened.map_err(|error| match error.code {
        Code::OutOfMemory => no_room("CUDA itself", name, None, &error),
        _ => unusable(error.message),
    })?;
    let cuda = device.as_cuda_device().map_err(from_candle)?;
    // SAFETY: events order the streams of a device. All tensors of this one are made, used and freed on its only
    // stream, by one thread, and nothing has been allocated yet.
    unsafe { cuda.disable_event_tracking() };
    cuda::keep_freed_memory(cuda);
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn open(name: &str, _index: usize) -> Result<Device> {
    let message = format!("The device {name} cannot be used: this build of embedding-engine has no CUDA in it.");
    Err(Error::new(Code::DeviceUnavailable, message).with("device", name))
}

/// A device that is in use. One that has failed for good is left as it is: cudarc gives back the handles of cuBLAS and
/// of cuRAND and panics where that fails, and of two panics at once the process dies.
struct Opened(Device);

impl Opened {
    /// Waits for all that the device was told to do.
    fn check(&self) -> Result<()> {
        self.0.synchronize().map_err(|error| {
            let error = from_candle(error);
            Error { code: Code::DeviceUnavailable, ..error }
        })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if catch("asking a device", || self.check()).is_err() {
            // The handles live as long as one of the device's copies.
            let _kept = std::mem::ManuallyDrop::new(self.0.clone());
        }
    }
}

/// A model on a device of Candle's.
pub(super) struct CandleCard {
    device: Opened,
    backend: Arc<dyn Backend>,
    footprint: Footprint,
}

impl CandleCard {
    /// Loads the model. To be called on the thread that keeps it.
    fn load(spec: &ModelSpec, device: Opened, name: &str, dtype: Dtype, cancel: &Cancel) -> Result<Self> {
        let backend = candle::load_generic(spec, device.0.clone(), name, dtype, cancel);
        let backend = backend.map_err(|error| match error.code {
            Code::OutOfMemory => no_room(&spec.id, name, memory(&device.0), &error),
            _ => error,
        })?;
        let info = backend.info();
        let dtype = match info.dtype.as_str() {
            "bfloat16" => DType::BF16,
            "float16" => DType::F16,
            _ => DType::F32,
        };
        let footprint = Footprint::of(&spec.architecture, dtype, info.weight_bytes, Tiles::of(&device.0));
        Ok(CandleCard { device, backend, footprint })
    }
}

/// The device's memory, where it tells.
fn memory(device: &Device) -> Option<Memory> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::memory(device),
        _ => None,
    }
}

/// `what` does not fit, before any batch.
fn no_room(what: &str, device: &str, memory: Option<Memory>, cause: &Error) -> Error {
    let free = memory.map_or_else(String::new, |memory| {
        format!(", of which {} MiB of {} MiB are left", memory.free >> 20, memory.total >> 20)
    });
    let message = format!(
        "{what} does not fit into the memory of {device}{free}. Free memory on the card (nvidia-smi shows who uses it), \
         or use a smaller model, or device 'cpu'. ({})",
        cause.message
    );
    let error = Error::new(Code::OutOfMemory, message).with("device", device);
    match memory {
        Some(memory) => error.with("bytesFree", memory.free).with("bytesTotal", memory.total),
        None => error,
    }
}

impl Card for CandleCard {
    fn info(&self) -> &BackendInfo {
        self.backend.info()
    }

    fn footprint(&self) -> Footprint {
        self.footprint
    }

    fn memory(&self) -> Option<Memory> {
        memory(&self.device.0)
    }

    fn run(&mut self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        self.backend.run(batch, cancel)
    }

    fn check(&mut self) -> Result<()> {
        self.device.check()
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda_backend::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    use super::Memory;

    /// Freed memory that the driver keeps for the next batch, at most: without it, the end of each batch gives
    /// all back to the system, and the next one maps it again.
    const KEPT: u64 = 2 << 30;
    /// No more than this part of the card, which is other programs' too.
    const KEPT_SHARE: u64 = 8;

    /// Lets the driver keep freed memory. Best effort: drivers without pools go without.
    pub(super) fn keep_freed_memory(device: &CudaDevice) {
        let Some(pool) = pool(device) else { return };
        let total = device.cuda_stream().context().mem_get_info().map_or(0, |(_, total)| total as u64);
        let mut kept = KEPT.min(total / KEPT_SHARE);
        // SAFETY: the attribute is a `cuuint64_t`, which `kept` is; the pool is the device's own.
        let _ = unsafe {
            sys::cuMemPoolSetAttribute(
                pool,
                sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                (&raw mut kept).cast(),
            )
        };
    }

    /// What the driver tells, and what it keeps for us.
    pub(super) fn memory(device: &CudaDevice) -> Option<Memory> {
        let stream = device.cuda_stream();
        let (free, total) = stream.context().mem_get_info().ok()?;
        let kept = pool(device).map_or(0, |pool| {
            let read = |attribute| {
                let mut value = 0_u64;
                // SAFETY: these attributes are `cuuint64_t`, which `value` is; the pool is the device's own.
                let status = unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast()) };
                if status == sys::CUresult::CUDA_SUCCESS { value } else { 0 }
            };
            let reserved = read(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
            reserved.saturating_sub(read(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT))
        });
        Some(Memory { free: free as u64 + kept, total: total as u64 })
    }

    fn pool(device: &CudaDevice) -> Option<sys::CUmemoryPool> {
        let stream = device.cuda_stream();
        let context = stream.context();
        if !context.has_async_alloc() {
            return None;
        }
        let own = i32::try_from(context.ordinal()).ok().and_then(|ordinal| result::device::get(ordinal).ok())?;
        let mut pool = std::ptr::null_mut();
        // SAFETY: `pool` is written by the driver, for a device that it named itself.
        let status = unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, own) };
        (status == sys::CUresult::CUDA_SUCCESS && !pool.is_null()).then_some(pool)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn cards_are_named_by_their_indices() {
        assert_eq!(indices("cuda").unwrap(), [0]);
        assert_eq!(indices("cuda:3").unwrap(), [3]);
        assert_eq!(indices("cuda:2,0").unwrap(), [2, 0]);
        for wrong in ["cpu", "cuda:", "cuda:x", "cuda:0,", "cuda:0,0", "cuda:*", "tensorrt:0"] {
            let error = indices(wrong).unwrap_err();
            assert_eq!(error.code, Code::InvalidOption, "{wrong}");
            assert!(error.message.contains(wrong), "{}", error.message);
        }
    }

    #[test]
    fn a_card_without_room_is_named_with_the_figures() {
        let cause = Error::new(Code::OutOfMemory, "No memory");
        let memory = Some(Memory { free: 3 << 20, total: 9 << 20 });
        let error = no_room("a/model", "cuda:1", memory, &cause);
        assert_eq!((error.code, &error.details["device"]), (Code::OutOfMemory, &"cuda:1".into()));
        assert!(error.message.starts_with("a/model does not fit into the memory of cuda:1, of which 3 MiB of 9 MiB"));
        assert!(error.message.ends_with("(No memory)"), "{}", error.message);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so() {
        assert_eq!(open("cuda:0", 0).unwrap_err().code, Code::DeviceUnavailable);
    }
}
