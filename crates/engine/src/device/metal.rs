//! Apple's GPU: part of the system, so that a build has it or has it not.

use std::panic::catch_unwind;

use candle_core::Device;

/// Whether this build has encoders for Metal.
pub const fn compiled_in() -> bool {
    cfg!(all(target_os = "macos", feature = "metal"))
}

/// Opens the GPU for a moment: a virtual machine may have none.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn try_device() -> Result<(), String> {
    let opened = catch_unwind(|| Device::new_metal(0).map(drop).map_err(|error| error.to_string()));
    opened.unwrap_or_else(|_| Err("Metal found no GPU".to_owned()))
}
