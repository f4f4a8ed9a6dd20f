//! What one core can multiply at most: chains of products in registers, with no memory in the way.
//! A product and its sum are two operations, as they are counted everywhere.

/// f32, in billions of operations a second.
pub fn f32() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the instructions are there.
        return Some(best(16 * 2, || unsafe { x86::f32_512(ROUNDS) }));
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return Some(best(8 * 2, || unsafe { x86::f32_256(ROUNDS) }));
    }
    None
}

/// bf16 with sums in f32.
pub fn bf16() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the instructions are there.
        return Some(best(32 * 2, || unsafe { x86::bf16(ROUNDS) }));
    }
    None
}

/// 8-bit integers with sums in 32 bits.
pub fn int8() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512vnni") {
        // SAFETY: the instructions are there.
        return Some(best(64 * 2, || unsafe { x86::int8(ROUNDS) }));
    }
    None
}

/// What one core can read from memory, in billions of bytes a second: the best of a few passes over more than any
/// cache holds.
pub fn memory() -> f64 {
    const WORDS: usize = 1 << 25; // 256 MiB
    let words: Vec<u64> = (0..WORDS as u64).collect();
    let seconds = (0..4)
        .map(|_| {
            let start = std::time::Instant::now();
            let mut lanes = [0u64; 32];
            for chunk in words.as_chunks::<32>().0 {
                lanes.iter_mut().zip(chunk).for_each(|(lane, word)| *lane ^= word);
            }
            std::hint::black_box(lanes);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (WORDS * size_of::<u64>()) as f64 / seconds / 1e9
}

#[cfg(target_arch = "x86_64")]
const ROUNDS: usize = 200_000;
/// Chains that do not wait for each other: latency × instructions a cycle is 10 at most. With more than 16, LLVM
/// sometimes keeps some in memory, and what is measured is that.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 12;

/// The best of many short runs: the peak is what is possible when nothing disturbs.
#[cfg(target_arch = "x86_64")]
fn best(operations: usize, f: impl Fn() -> f32) -> f64 {
    let seconds = (0..60)
        .map(|_| {
            let start = std::time::Instant::now();
            std::hint::black_box(f());
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (operations * ROUNDS * CHAINS) as f64 / seconds / 1e9
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::CHAINS;

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_512(rounds: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, a, b));
        }
        sums.iter().map(|sum| _mm512_reduce_add_ps(*sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn f32_256(rounds: usize) -> f32 {
        // 16 registers: 10 chains and the operands; counted as if they were CHAINS.
        const FIT: usize = 10;
        let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(0.25)));
        let mut sums = [_mm256_setzero_ps(); FIT];
        for _ in 0..rounds * CHAINS / FIT {
            sums.iter_mut().for_each(|sum| *sum = _mm256_fmadd_ps(*sum, a, b));
        }
        sums.iter().map(|sum| _mm256_cvtss_f32(*sum)).sum()
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16(rounds: usize) -> f32 {
        // SAFETY: registers of the same bits.
        let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(black_box(0x3c00_3c00))) };
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_dpbf16_ps(*sum, a, a));
        }
        sums.iter().map(|sum| _mm512_reduce_add_ps(*sum)).sum()
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int8(rounds: usize) -> f32 {
        let a = _mm512_set1_epi32(black_box(0x0101_0101));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_dpbusd_epi32(*sum, a, a));
        }
        sums.iter().map(|sum| _mm512_reduce_add_epi32(*sum) as f32).sum()
    }
}
