//! Products of 8-bit codes: one query with many rows, by the best instructions that the processor has.

/// Rows are filled up with zeros to a multiple of this: what the widest kernel takes at once.
pub const ALIGN: usize = 64;

/// A way to compute products. All give the same integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// AVX-512 VNNI: 64 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// AVX2: 16 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain loops, which the compiler vectorises for what every processor of the platform has.
    Portable,
}

impl Kernel {
    /// Those that this processor can run, the fastest first.
    pub fn available() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                kernels.push(Kernel::Vnni);
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Kernel::Avx2);
            }
        }
        kernels.push(Kernel::Portable);
        kernels
    }

    /// The fastest that this processor can run.
    pub fn best() -> Kernel {
        Kernel::available().first().copied().unwrap_or(Kernel::Portable)
    }

    /// `out[i] = query · row i` for each row of `rows`, which lie one after another, each as wide as the query.
    /// What is left of `out` or of `rows` stays as it is.
    ///
    /// # Panics
    /// Where the query's width is no multiple of 64: a bug of the caller.
    pub fn dots(self, query: &[i8], rows: &[i8], out: &mut [i32]) {
        assert!(query.len().is_multiple_of(ALIGN), "a query of {} codes was not filled up", query.len());
        if query.is_empty() {
            out.fill(0);
            return;
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Vnni if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") => {
                // SAFETY: the processor has the features (each of these two comes with avx512f), and the width is a
                // multiple of 64.
                unsafe { vnni(query, rows, out) }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 if is_x86_feature_detected!("avx2") => {
                // SAFETY: the processor has AVX2, and the width is a multiple of 64.
                unsafe { avx2(query, rows, out) }
            }
            _ => portable(query, rows, out),
        }
    }
}

fn portable(query: &[i8], rows: &[i8], out: &mut [i32]) {
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(query.len())) {
        *out = row.iter().zip(query).map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b))).sum();
    }
}

/// `vpdpbusd` multiplies unsigned by signed bytes: the row's codes are raised by 128 (which flips their highest bit),
/// and 128 times the sum of the query's codes is taken off again. Nothing saturates in it.
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI; the query's width is a multiple of 64, and not 0.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(query: &[i8], rows: &[i8], out: &mut [i32]) {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
        _mm512_xor_si512,
    };
    let raised = 128 * query.iter().map(|code| i32::from(*code)).sum::<i32>();
    let flip = _mm512_set1_epi8(i8::MIN);
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(query.len())) {
        let mut sums = _mm512_setzero_si512();
        for (row, query) in row.chunks_exact(64).zip(query.chunks_exact(64)) {
            // SAFETY: both have 64 bytes, and the loads need no alignment.
            let (row, query) =
                unsafe { (_mm512_loadu_si512(row.as_ptr().cast()), _mm512_loadu_si512(query.as_ptr().cast())) };
            sums = _mm512_dpbusd_epi32(sums, _mm512_xor_si512(row, flip), query);
        }
        *out = _mm512_reduce_add_epi32(sums) - raised;
    }
}

/// Widens to 16 bits, because the products of bytes saturate there.
///
/// # Safety
/// The processor has AVX2; the query's width is a multiple of 32, and not 0.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(query: &[i8], rows: &[i8], out: &mut [i32]) {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_madd_epi16,
        _mm256_setzero_si256,
    };
    // SAFETY: only called with places that have 16 more bytes; the load needs no alignment.
    let wide = |codes: &[i8]| -> __m256i { unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.as_ptr().cast())) } };
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(query.len())) {
        let mut sums = [_mm256_setzero_si256(); 2];
        for (row, query) in row.chunks_exact(32).zip(query.chunks_exact(32)) {
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(wide(row), wide(query)));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(wide(&row[16..]), wide(&query[16..])));
        }
        let sum = _mm256_add_epi32(sums[0], sums[1]);
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
        *out = _mm_cvtsi128_si32(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of every value, the extremes often.
    fn codes(seed: u64, n: usize) -> Vec<i8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match (state >> 33) % 5 {
                    0 => 127,
                    1 => -127,
                    _ => ((state >> 40) % 255) as i8,
                }
            })
            .map(|code| code.max(-127))
            .collect()
    }

    #[test]
    fn every_kernel_gives_the_naive_sum_for_every_length() {
        for kernel in Kernel::available() {
            for length in 1..=400usize {
                let width = length.next_multiple_of(ALIGN);
                let padded = |seed| {
                    let mut row = codes(seed, length);
                    row.resize(width, 0);
                    row
                };
                let query = padded(length as u64);
                let rows: Vec<Vec<i8>> = (0..3).map(|row| padded(1000 + row * 1000 + length as u64)).collect();
                let mut out = [i32::MIN; 4];
                kernel.dots(&query, &rows.concat(), &mut out);
                for (row, out) in rows.iter().zip(out) {
                    let naive: i64 = row.iter().zip(&query).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                    assert_eq!(i64::from(out), naive, "{kernel:?} at {length}");
                }
                assert_eq!(out[3], i32::MIN, "{kernel:?} wrote past the rows");
            }
        }
    }

    #[test]
    fn nothing_saturates() {
        for kernel in Kernel::available() {
            for (a, b) in [(127i8, 127i8), (-127, -127), (127, -127), (-127, 127)] {
                let mut out = [0];
                kernel.dots(&[a; 4096], &[b; 4096], &mut out);
                assert_eq!(out[0], 4096 * i32::from(a) * i32::from(b), "{kernel:?}");
            }
        }
    }
}
