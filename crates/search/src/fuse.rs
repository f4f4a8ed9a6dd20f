//! One ranking out of two: the model's cosines and the scores of full text search.
//!
//! Both are put on one scale by their mean and standard deviation over *all* documents (z-scores; a document without
//! any word of the query has the full text score 0), and added, full text with a weight: measured on the bundled
//! model, equal weights lower the ranking (see models/bundled/README.md).

/// Weight of the full text score, chosen on development packages.
pub const FULL_TEXT_WEIGHT: f32 = 0.3;

/// Mean and standard deviation of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    mean: f64,
    deviation: f64,
}

impl Scale {
    /// Of the given scores and `zeros` further ones that are 0.
    pub fn of(scores: impl Iterator<Item = f32>, zeros: usize) -> Self {
        let (mut count, mut sum, mut squares) = (zeros as f64, 0f64, 0f64);
        for score in scores {
            let score = f64::from(score);
            count += 1.0;
            sum += score;
            squares += score * score;
        }
        let mean = sum / count.max(1.0);
        Scale { mean, deviation: (squares / count.max(1.0) - mean * mean).max(0.0).sqrt() }
    }

    /// How many standard deviations above the mean; 0 where all scores are equal.
    pub fn z(&self, score: f32) -> f32 {
        if self.deviation < 1e-12 { 0.0 } else { ((f64::from(score) - self.mean) / self.deviation) as f32 }
    }
}

/// The fused score of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fusion {
    /// Of the model's cosines.
    pub dense: Scale,
    /// Of the full text scores.
    pub full_text: Scale,
    /// Of full text beside the model.
    pub weight: f32,
}

impl Fusion {
    /// `z(cosine) + weight · z(full text)`
    pub fn score(&self, cosine: f32, full_text: f32) -> f32 {
        self.dense.z(cosine) + self.lift(full_text)
    }

    /// What full text adds: `weight · z(full text)`.
    pub fn lift(&self, full_text: f32) -> f32 {
        self.weight * self.full_text.z(full_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_put_on_one_scale() {
        let scale = Scale::of([1.0, 3.0].into_iter(), 2);
        assert!((scale.z(1.0)).abs() < 1e-6);
        // Mean 1, variance (0 + 4 + 1 + 1) / 4.
        assert!((scale.z(3.0) - 2.0 / 1.5f32.sqrt()).abs() < 1e-6);
        assert_eq!(Scale::of([2.0, 2.0].into_iter(), 0).z(5.0), 0.0);
        assert_eq!(Scale::of(std::iter::empty(), 0).z(5.0), 0.0);
    }
}
