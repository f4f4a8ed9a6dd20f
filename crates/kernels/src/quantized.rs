//! Activations rounded to 8 bits.

use std::ops::Range;

use rayon::prelude::*;

use crate::isa::Isa;
use crate::panels::INT8_BLOCK;
use crate::simd::dispatch;

/// Inputs that share a scale.
const GROUP: usize = 4 * INT8_BLOCK;
/// Values that are worth a task of their own.
const TASK: usize = 1 << 16;

/// Rows of activations as bytes, 128 too large: 1 to 255.
#[derive(Default)]
pub(crate) struct Quantized {
    bytes: Vec<u8>,
    scales: Vec<f32>,
    /// Bytes of a row: whole words.
    width: usize,
    /// Scales of a row.
    groups: usize,
    /// Number of the first row.
    first: usize,
}

impl Quantized {
    /// Rounds `rows` rows of `x`, multiplied with `factors`; each group of a row by its own largest magnitude,
    /// so that a row does not depend on the others.
    pub(crate) fn set(&mut self, isa: Isa, x: &[f32], rows: usize, factors: &[f32]) {
        let inputs = x.len() / rows.max(1);
        self.begin(0..rows, inputs);
        if inputs == 0 {
            return;
        }
        let at_once = (TASK / inputs).max(1);
        let rows = x.par_chunks(inputs * at_once);
        let bytes = self.bytes.par_chunks_mut(self.width * at_once);
        let scales = self.scales.par_chunks_mut(self.groups * at_once);
        rows.zip(bytes).zip(scales).for_each(|((x, bytes), scales)| {
            dispatch(
                isa,
                #[inline(always)]
                || {
                    let rows = x.chunks_exact(inputs).zip(bytes.chunks_exact_mut(self.width));
                    for ((x, bytes), scales) in rows.zip(scales.chunks_exact_mut(self.groups)) {
                        let groups = x.chunks(GROUP).zip(factors.chunks(GROUP)).zip(bytes.chunks_mut(GROUP));
                        for (((x, factors), bytes), scale) in groups.zip(scales) {
                            *scale = round(x, factors, bytes);
                        }
                    }
                },
            );
        });
    }

    /// Makes room for `rows` rows of `inputs` values, of which nothing is known yet.
    pub(crate) fn begin(&mut self, rows: Range<usize>, inputs: usize) {
        self.first = rows.start;
        self.width = inputs.next_multiple_of(4);
        self.groups = inputs.div_ceil(GROUP);
        // What was there before is written over.
        self.bytes.resize(rows.len() * self.width, 0);
        self.scales.resize(rows.len() * self.groups, 0.0);
    }

    /// Rounds one group of every row, as [`Quantized::set`] does; `x` holds the values of this group, and `factors`
    /// those of all inputs.
    pub(crate) fn set_group(&mut self, isa: Isa, x: &[f32], group: usize, factors: &[f32]) {
        let Some(factors) = factors.chunks(GROUP).nth(group) else { return };
        dispatch(
            isa,
            #[inline(always)]
            || {
                let rows = self.bytes.chunks_exact_mut(self.width).zip(self.scales.chunks_exact_mut(self.groups));
                for (x, (bytes, scales)) in x.chunks_exact(factors.len()).zip(rows) {
                    let bytes = bytes[group * GROUP..].chunks_mut(GROUP).next().unwrap_or_default();
                    scales[group] = round(x, factors, bytes);
                }
            },
        );
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity() + self.scales.capacity() * size_of::<f32>()
    }

    /// Bytes of one row; those that fill the last word are zero.
    pub(crate) fn bytes(&self, row: usize) -> &[u8] {
        &self.bytes[(row - self.first) * self.width..][..self.width]
    }

    /// The scales of `rows` from `group` on, and how far those of one row are from those of the next.
    pub(crate) fn scales(&self, rows: Range<usize>, group: usize) -> (&[f32], usize) {
        let (start, end) = (rows.start - self.first, rows.end - self.first);
        (&self.scales[start * self.groups + group..end * self.groups], self.groups)
    }
}

/// Rounds a group, and gives what its integers are to be multiplied with: NaN if any value is not finite.
#[inline(always)]
fn round(x: &[f32], factors: &[f32], bytes: &mut [u8]) -> f32 {
    // Added to a value, its integer stands in the low bits; 128 more make it unsigned.
    const SHIFT: f32 = 12_582_912.0 + 128.0;
    const LANES: usize = 32;
    let mut most = [0f32; LANES];
    let mut nothing = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (factor_chunks, factor_rest) = factors.as_chunks::<LANES>();
    for (chunk, factors) in chunks.iter().zip(factor_chunks) {
        for (((most, nothing), x), factor) in most.iter_mut().zip(&mut nothing).zip(chunk).zip(factors) {
            let size = (x * factor).abs();
            *most = if size > *most { size } else { *most };
            *nothing += x * 0.0;
        }
    }
    for (((most, nothing), x), factor) in most.iter_mut().zip(&mut nothing).zip(rest).zip(factor_rest) {
        *most = most.max((x * factor).abs());
        *nothing += x * 0.0;
    }
    // 0, or NaN where a value is not finite.
    let nothing: f32 = nothing.iter().sum();
    let most = most.iter().fold(0f32, |a, b| a.max(*b));
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    let (bytes, beyond) = bytes.split_at_mut(x.len());
    for ((byte, x), factor) in bytes.iter_mut().zip(x).zip(factors) {
        *byte = (x * factor * inverse + SHIFT).to_bits() as u8;
    }
    beyond.fill(0);
    most / 127.0 + nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_within_half_a_step() {
        for inputs in [1, 3, 4, 5, 100, 256, 257, 1500] {
            let x: Vec<f32> = (0..3 * inputs).map(|at| ((at * 7919 % 1013) as f32 - 500.0) * 0.01).collect();
            for isa in Isa::available() {
                let mut quantized = Quantized::default();
                quantized.set(isa, &x, 3, &vec![1.0; inputs]);
                for row in 0..3 {
                    let bytes = quantized.bytes(row);
                    for (at, value) in x[row * inputs..][..inputs].iter().enumerate() {
                        let scale = quantized.scales(row..row + 1, at / GROUP).0[0];
                        let back = (f32::from(bytes[at]) - 128.0) * scale;
                        assert!((back - value).abs() <= 0.5001 * scale, "{isa} {inputs} {at}: {back}, not {value}");
                    }
                    assert!(bytes[inputs..].iter().all(|byte| *byte == 0));
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_told_by_the_scale() {
        let mut quantized = Quantized::default();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 3 * 40];
            x[40 + 39] = bad;
            quantized.set(Isa::best(), &x, 3, &[1.0; 40]);
            assert_eq!([0, 1, 2].map(|row| quantized.scales(row..row + 1, 0).0[0].is_nan()), [false, true, false]);
        }
        quantized.set(Isa::best(), &[0.0; 8], 1, &[1.0; 8]);
        assert_eq!(quantized.scales(0..1, 0).0[0], 0.0);
    }
}
