//! The running softmax of a row whose scores come in blocks.

use crate::math;

/// The maximum and the sum so far (the online softmax of Milakov and Gimelshein, 2018, as FlashAttention
/// uses it).
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    maximum: f32,
    total: f32,
}

/// Lanes of the sums: two registers of AVX-512. The order of the additions is the same on every machine.
const LANES: usize = 32;

impl Softmax {
    /// Of a row that has no scores yet.
    pub(super) const EMPTY: Softmax = Softmax { maximum: f32::NEG_INFINITY, total: 0.0 };

    /// Sum of exp(score − maximum) over all scores so far.
    pub(super) fn total(&self) -> f32 {
        self.total
    }

    /// Takes a block of scores, which become exp(score − maximum). Gives the factor by which what was
    /// summed with the weights of earlier blocks must shrink.
    #[inline(always)]
    pub(super) fn take(&mut self, scores: &mut [f32]) -> f32 {
        let mut lanes = [self.maximum; LANES];
        let (chunks, rest) = scores.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, score) in lanes.iter_mut().zip(chunk) {
                *lane = if *score > *lane { *score } else { *lane };
            }
        }
        let new = lanes.iter().chain(rest).fold(self.maximum, |a, b| if *b > a { *b } else { a });
        let shrink = math::exp(self.maximum - new);
        let mut lanes = [0f32; LANES];
        let (chunks, rest) = scores.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (lane, score) in lanes.iter_mut().zip(chunk) {
                *score = math::exp(*score - new);
                *lane += *score;
            }
        }
        for (lane, score) in lanes.iter_mut().zip(rest) {
            *score = math::exp(*score - new);
            *lane += *score;
        }
        for half in [16, 8, 4, 2, 1] {
            for at in 0..half {
                lanes[at] += lanes[at + half];
            }
        }
        self.total = self.total * shrink + lanes[0];
        self.maximum = new;
        shrink
    }
}
