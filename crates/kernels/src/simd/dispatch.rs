//! Plain loops, compiled for the instructions at hand.

use crate::isa::{Isa, Level};

/// Runs `f` compiled for the instructions of `isa`: as far as it is inlined, so closures and what they call
/// need `#[inline(always)]`.
#[inline]
pub(crate) fn dispatch<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    match isa.level() {
        Level::Portable => f(),
        // Every CPU of the target has NEON.
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::NeonDot | Level::NeonBf16 => f(),
        // SAFETY: an `Isa` exists only if the CPU has its instructions; so for those below.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni => unsafe { avx2(f) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => unsafe { avx512(f) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}
