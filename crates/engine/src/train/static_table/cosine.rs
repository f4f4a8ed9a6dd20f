//! The loss of distilling: 1 − cosine to the teacher's vector, and its gradient.

use pulp::Arch;
use rayon::prelude::*;

use super::contrast::{denormalise, normalise};
use super::kernels::dot;

/// Mean of 1 − cosine over the texts of a batch; holds the buffers between steps.
#[derive(Default)]
pub(super) struct Cosine {
    cosines: Vec<f32>,
    targets: Vec<f32>,
}

impl Cosine {
    /// The loss of texts whose teacher's vectors are `targets` (unit length); the gradient by `sums` goes to `gradient`.
    pub(super) fn loss<'a>(
        &mut self,
        sums: &[f32],
        width: usize,
        targets: impl Iterator<Item = &'a [f32]>,
        gradient: &mut [f32],
    ) -> f64 {
        self.targets.clear();
        targets.for_each(|target| self.targets.extend_from_slice(target));
        let texts = sums.len() / width;
        self.cosines.resize(texts, 0.0);
        gradient.fill(0.0);
        let share = -1.0 / texts as f32;
        let inputs = sums.par_chunks_exact(width).zip(self.targets.par_chunks_exact(width));
        let outputs = gradient.par_chunks_exact_mut(width).zip(&mut self.cosines);
        outputs.zip(inputs).with_min_len(32).for_each_init(
            || (vec![0f32; width], vec![0f32; width]),
            |(unit, by_unit), ((gradient, cosine), (sum, target))| {
                Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        let norm = normalise(sum, unit);
                        *cosine = dot(unit, target);
                        by_unit.iter_mut().zip(target).for_each(|(by_unit, target)| *by_unit = share * target);
                        denormalise(unit, norm, by_unit, gradient);
                    },
                );
            },
        );
        self.cosines.iter().map(|cosine| 1.0 - f64::from(*cosine)).sum::<f64>() / texts as f64
    }
}
