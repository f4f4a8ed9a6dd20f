//! Memory in whole cache lines.

/// A cache line of words: f32, or pairs of bf16. Aligned, so that no load crosses two lines.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; 16]);

/// The words of `lines`.
pub(crate) fn words(lines: &[Line]) -> &[u32] {
    // SAFETY: a line is 16 words without padding (64 bytes, aligned to 64), as `repr(C)` lays it out.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 16) }
}

/// The words of `lines`, to be written.
pub(crate) fn words_mut(lines: &mut [Line]) -> &mut [u32] {
    // SAFETY: as in `words`; the lines are borrowed mutably for as long.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
}

/// The words of `lines`, as f32.
pub(crate) fn floats(lines: &[Line]) -> &[f32] {
    // SAFETY: as in `words`; every 32 bits are an f32.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 16) }
}

/// The words of `lines`, to be written as f32.
pub(crate) fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `floats`; the lines are borrowed mutably for as long.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
}
