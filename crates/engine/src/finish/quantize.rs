//! Smaller precisions of finished rows.

use super::{Precision, Vectors};

/// Turns finished `rows` of `dimensions` components into `precision`.
pub(super) fn quantize(rows: Vec<f32>, dimensions: usize, precision: Precision) -> Vectors {
    match precision {
        Precision::Float32 => Vectors::F32(rows),
        Precision::Int8 => Vectors::I8(rows.iter().map(|&x| int8(x)).collect()),
        Precision::Uint8 => Vectors::U8(rows.iter().map(|&x| (i16::from(int8(x)) + 128) as u8).collect()),
        Precision::Ubinary => Vectors::U8(pack(&rows, dimensions).collect()),
        // packbits minus 128, as an int8: the same bits with the highest one turned over.
        Precision::Binary => Vectors::I8(pack(&rows, dimensions).map(|byte| (byte ^ 0x80) as i8).collect()),
    }
}

/// ±1 becomes ±127; what lies outside (only without normalising) is clamped.
fn int8(x: f32) -> i8 {
    (x * 127.0).round().clamp(-127.0, 127.0) as i8
}

/// One bit a component, the first one highest, each row filled up to whole bytes (`numpy.packbits`).
fn pack(rows: &[f32], dimensions: usize) -> impl Iterator<Item = u8> {
    rows.chunks_exact(dimensions).flat_map(|row| row.chunks(8)).map(|eight| {
        eight.iter().enumerate().fold(0, |byte, (bit, &x)| if x > 0.0 { byte | 0x80 >> bit } else { byte })
    })
}
