//! The few functions of the CUDA driver's interface that tell of cards. Opened at run time, and by every build:
//! finding a card needs no CUDA at build time.
//!
//! Signatures and numbers are those of `cuda.h` (CUDA Driver API, stable since CUDA 4, `cuDeviceGetUuid` since 9.2).

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;
use serde::{Deserialize, Serialize};

/// `CUDA_ERROR_NO_DEVICE`
const NO_DEVICE: c_int = 100;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`, `_MINOR`
const CAPABILITY: [c_int; 2] = [75, 76];
/// No machine has more; a driver that says so is broken.
const MAX_CARDS: c_int = 1024;

type Context = *mut c_void;

/// A card, as the driver tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// Such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// `GPU-…`, as nvidia-smi writes it; empty where the driver does not tell.
    pub uuid: String,
    /// Bytes.
    pub memory_total: u64,
    /// Major and minor, such as 9 and 0.
    pub compute_capability: (u32, u32),
}

/// Why the driver cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It works, and there is no card (or `CUDA_VISIBLE_DEVICES` hides all).
    NoCard,
    /// It is no working driver; in words.
    Broken(String),
}

/// The driver, opened.
pub struct Driver {
    library: Library,
}

/// Opens a library by its full path, so that a later search by name finds it loaded.
///
/// # Errors
/// What the system says.
pub fn open(path: &Path) -> Result<Library, String> {
    #[cfg(windows)]
    let opened = {
        use libloading::os::windows::{LOAD_WITH_ALTERED_SEARCH_PATH, Library as Dll};
        // SAFETY: the library's start code is run: the risk is what the child process is for. With the flag it finds
        // the libraries in its own folder.
        unsafe { Dll::load_with_flags(path, LOAD_WITH_ALTERED_SEARCH_PATH) }.map(Library::from)
    };
    #[cfg(not(windows))]
    // SAFETY: the library's start code is run: the risk is what the child process is for.
    let opened = unsafe { Library::new(path) };
    opened.map_err(|error| error.to_string())
}

macro_rules! call {
    ($driver:expr, $name:literal, fn($($type:ty),*), $($argument:expr),*) => {{
        // SAFETY: the type is that of `cuda.h` for this name.
        let function = unsafe { $driver.library.get::<unsafe extern "system" fn($($type),*) -> c_int>($name.as_bytes()) }
            .map_err(|_| Refusal::Broken(format!("it has no function {}: too old, or no NVIDIA driver", $name)))?;
        // SAFETY: each pointer leads to a place of the type that the function writes, which outlives the call.
        match unsafe { function($($argument),*) } {
            0 => Ok(()),
            NO_DEVICE => Err(Refusal::NoCard),
            code => Err(Refusal::Broken(format!("{} gives error {code} ({})", $name, $driver.error_name(code)))),
        }
    }};
}

impl Driver {
    /// Opens the driver and starts it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn start(path: &Path) -> Result<Self, Refusal> {
        let library = open(path).map_err(Refusal::Broken)?;
        let driver = Driver { library };
        driver.check_symbols()?;
        call!(driver, "cuInit", fn(c_uint), 0)?;
        Ok(driver)
    }

    /// All functions are there, before any is called.
    fn check_symbols(&self) -> Result<(), Refusal> {
        const NEEDED: [&str; 11] = [
            "cuInit",
            "cuDriverGetVersion",
            "cuDeviceGetCount",
            "cuDeviceGet",
            "cuDeviceGetName",
            "cuDeviceTotalMem_v2",
            "cuDeviceGetAttribute",
            "cuDevicePrimaryCtxRetain",
            "cuCtxPushCurrent_v2",
            "cuCtxPopCurrent_v2",
            "cuMemGetInfo_v2",
        ];
        let has = |name: &&str| {
            // SAFETY: the symbol is only looked up.
            unsafe { self.library.get::<*const c_void>(name.as_bytes()) }.is_ok()
        };
        match NEEDED.iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(missing) => {
                Err(Refusal::Broken(format!("it has no function {missing}: too old, or no NVIDIA driver")))
            }
        }
    }

    fn error_name(&self, code: c_int) -> String {
        let unknown = || "unknown".to_owned();
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the type is that of `cuda.h`.
        let function = unsafe {
            self.library.get::<unsafe extern "system" fn(c_int, *mut *const c_char) -> c_int>(b"cuGetErrorName")
        };
        let Ok(function) = function else { return unknown() };
        // SAFETY: `text` is a place for the pointer.
        if unsafe { function(code, &mut text) } != 0 || text.is_null() {
            return unknown();
        }
        // SAFETY: on success it is a constant of the library, ended by NUL.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// The newest CUDA that the driver knows: 12040 is 12.4.
    ///
    /// # Errors
    /// The driver's.
    pub fn version(&self) -> Result<u32, Refusal> {
        let mut version: c_int = 0;
        call!(self, "cuDriverGetVersion", fn(*mut c_int), &mut version)?;
        u32::try_from(version).map_err(|_| Refusal::Broken(format!("it says that it is version {version}")))
    }

    fn handles(&self) -> Result<Vec<c_int>, Refusal> {
        let mut count: c_int = 0;
        call!(self, "cuDeviceGetCount", fn(*mut c_int), &mut count)?;
        match count {
            0 => Err(Refusal::NoCard),
            1..=MAX_CARDS => (0..count)
                .map(|index| {
                    let mut device: c_int = 0;
                    call!(self, "cuDeviceGet", fn(*mut c_int, c_int), &mut device, index)?;
                    Ok(device)
                })
                .collect(),
            _ => Err(Refusal::Broken(format!("it says that there are {count} cards"))),
        }
    }

    /// All cards that this process may see. At least one.
    ///
    /// # Errors
    /// The driver's; that there is none.
    pub fn cards(&self) -> Result<Vec<Card>, Refusal> {
        self.handles()?.into_iter().map(|device| self.card(device)).collect()
    }

    fn card(&self, device: c_int) -> Result<Card, Refusal> {
        let mut name = [0u8; 256];
        let length = name.len() as c_int - 1;
        call!(self, "cuDeviceGetName", fn(*mut c_char, c_int, c_int), name.as_mut_ptr().cast(), length, device)?;
        let mut total: usize = 0;
        call!(self, "cuDeviceTotalMem_v2", fn(*mut usize, c_int), &mut total, device)?;
        let mut capability = [0 as c_int; 2];
        for (value, attribute) in capability.iter_mut().zip(CAPABILITY) {
            call!(self, "cuDeviceGetAttribute", fn(*mut c_int, c_int, c_int), value, attribute, device)?;
        }
        let name = CStr::from_bytes_until_nul(&name).map(CStr::to_string_lossy).unwrap_or_default();
        Ok(Card {
            name: name.trim().to_owned(),
            uuid: self.uuid(device).unwrap_or_default(),
            memory_total: total as u64,
            compute_capability: (capability[0].unsigned_abs(), capability[1].unsigned_abs()),
        })
    }

    /// Older drivers do not have the function: nothing hangs on it.
    fn uuid(&self, device: c_int) -> Result<String, Refusal> {
        let mut uuid = [0u8; 16];
        call!(self, "cuDeviceGetUuid", fn(*mut [u8; 16], c_int), &mut uuid, device)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].map(hex);
        Ok(format!("GPU-{}", parts.join("-")))
    }

    /// Bytes that are free on each card, `None` where a context cannot be made on it (it is full, or another process
    /// has it alone). Takes a context on each card for a moment, which is shared with whoever else uses it here.
    ///
    /// # Errors
    /// The driver's.
    pub fn memory_free(&self) -> Result<Vec<Option<u64>>, Refusal> {
        Ok(self.handles()?.into_iter().map(|device| self.memory_free_of(device).ok()).collect())
    }

    fn memory_free_of(&self, device: c_int) -> Result<u64, Refusal> {
        let mut context: Context = std::ptr::null_mut();
        call!(self, "cuDevicePrimaryCtxRetain", fn(*mut Context, c_int), &mut context, device)?;
        let (mut free, mut total): (usize, usize) = (0, 0);
        let measured = call!(self, "cuCtxPushCurrent_v2", fn(Context), context).and_then(|()| {
            let measured = call!(self, "cuMemGetInfo_v2", fn(*mut usize, *mut usize), &mut free, &mut total);
            let mut popped: Context = std::ptr::null_mut();
            call!(self, "cuCtxPopCurrent_v2", fn(*mut Context), &mut popped)?;
            measured
        });
        // Given back in any case. Drivers before 11.0 have the old name.
        let released = call!(self, "cuDevicePrimaryCtxRelease_v2", fn(c_int), device)
            .or_else(|_| call!(self, "cuDevicePrimaryCtxRelease", fn(c_int), device));
        measured.and(released).map(|()| free as u64)
    }

    /// Leaves the driver in the process: it does not bear being unloaded.
    pub fn keep(self) {
        std::mem::forget(self.library);
    }
}
