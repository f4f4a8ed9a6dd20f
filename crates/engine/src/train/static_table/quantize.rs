//! The table as it ships: int8.

use super::table::Table;

/// A table with weights folded into the rows: a row's values are its codes times its scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Dimensions of a row.
    pub width: usize,
    /// Codes from −127 to 127, row after row.
    pub codes: Vec<i8>,
    /// One scale for each row; 0 for a row of zeros.
    pub scales: Vec<f32>,
}

impl Table {
    /// Folds each weight into its row and rounds the values to 8 bits: scale = largest magnitude / 127,
    /// codes rounded half to even.
    pub fn quantize(&self) -> Quantized {
        let mut codes = Vec::with_capacity(self.rows.len());
        let mut scales = Vec::with_capacity(self.weights.len());
        for (row, weight) in self.rows.chunks_exact(self.width.max(1)).zip(&self.weights) {
            let scale = row.iter().fold(0f32, |high, value| high.max((value * weight).abs())) / 127.0;
            scales.push(scale);
            codes.extend(row.iter().map(|value| match scale {
                0.0 => 0,
                scale => (value * weight / scale).round_ties_even().clamp(-127.0, 127.0) as i8,
            }));
        }
        Quantized { width: self.width, codes, scales }
    }
}
