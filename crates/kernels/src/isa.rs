//! What the CPU at hand can do.

use std::fmt;

/// Instructions that kernels are written for, from the least to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every CPU of the target has, as the compiler vectorises it (SSE2, NEON).
    Portable,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same, and products of 8-bit integers.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// The same, and products of bf16.
    #[cfg(target_arch = "aarch64")]
    NeonBf16,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same, and products of 8-bit integers in registers of 256 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same, and products of 8-bit integers.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// The same, and products of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

/// An instruction set that this CPU has. There is no other way to get one than to ask which are
/// available, so that code which takes an `Isa` may use its instructions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(Level);

impl Isa {
    /// All that this CPU has, from the least to the best.
    pub fn available() -> Vec<Isa> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            levels.push(Level::Neon);
            if has!("dotprod") {
                levels.push(Level::NeonDot);
                if has!("bf16") {
                    levels.push(Level::NeonBf16);
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl");
            let vnni = avx512 && has!("avx512vnni");
            levels.extend(
                [
                    (Level::Avx2, avx2),
                    (Level::AvxVnni, avx2 && has!("avxvnni")),
                    (Level::Avx512, avx512),
                    (Level::Avx512Vnni, vnni),
                    (Level::Avx512Bf16, vnni && has!("avx512bf16")),
                ]
                .into_iter()
                .filter_map(|(level, present)| present.then_some(level)),
            );
        }
        levels.into_iter().map(Isa).collect()
    }

    /// The best that this CPU has.
    pub fn best() -> Isa {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available().into_iter().next_back().unwrap_or(Isa(Level::Portable)))
    }

    /// Whether bf16 is multiplied by instructions of its own: then bf16 weights are faster than f32 ones
    /// for any number of rows. Without them they are widened to f32.
    pub fn multiplies_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => true,
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => true,
            _ => false,
        }
    }

    /// Whether 8-bit integers are multiplied by instructions of their own, four at a time: then int8 weights
    /// are the fastest. Without them they are widened to 16 bits, and only save memory.
    pub fn multiplies_int8(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni | Level::Avx512Vnni | Level::Avx512Bf16 => true,
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot | Level::NeonBf16 => true,
            _ => false,
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => "neon-dotprod",
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => "neon-bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512-bf16",
        })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({self})")
    }
}
