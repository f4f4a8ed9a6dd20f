//! How sure a mean over queries is: the percentile bootstrap. The queries are drawn again, with replacement, and the
//! same draws serve all systems, so that the interval of a difference is that of pairs.

use rayon::prelude::*;
use serde::Serialize;

/// How often the queries are drawn again.
const RESAMPLES: usize = 1000;

/// Any number; fixed, so that the same figures have the same interval.
const SEED: u64 = 0x5EED;

/// A mean over queries, with the interval that holds it in 95 of 100 draws of as many queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The lower end of the 95 % interval.
    pub low: f64,
    /// The upper end of the 95 % interval.
    pub high: f64,
}

/// Means over queries of several columns, in all draws.
pub struct Bootstrap {
    means: Vec<f64>,
    resampled: Vec<Vec<f64>>,
}

impl Bootstrap {
    /// `rows` has one row a query, with as many columns each.
    pub fn new(rows: &[Vec<f64>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let means = mean_of(rows.iter(), rows.len(), columns);
        let resampled = (0..RESAMPLES as u64)
            .into_par_iter()
            .map(|draw| {
                let mut random = SplitMix(SEED ^ draw.wrapping_mul(0xA076_1D64_78BD_642F));
                let drawn = (0..rows.len()).map(|_| &rows[random.below(rows.len())]);
                mean_of(drawn, rows.len(), columns)
            })
            .collect();
        Bootstrap { means, resampled }
    }

    /// The mean of a column.
    pub fn mean(&self, column: usize) -> Estimate {
        self.estimate(|means| means[column])
    }

    /// The mean of the difference of two columns.
    pub fn difference(&self, column: usize, base: usize) -> Estimate {
        self.estimate(|means| means[column] - means[base])
    }

    fn estimate(&self, of: impl Fn(&[f64]) -> f64) -> Estimate {
        let mut values: Vec<f64> = self.resampled.iter().map(|means| of(means)).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Estimate { value: of(&self.means), low: at(0.025), high: at(0.975) }
    }
}

fn mean_of<'r>(rows: impl Iterator<Item = &'r Vec<f64>>, count: usize, columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    rows.for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
    sums.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
    sums
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; the bias of the multiplication is below 2⁻⁴⁰ for any number of queries.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_normal_approximation() {
        // 400 queries, a third of them found: standard error sqrt(p (1 - p) / n).
        let rows: Vec<Vec<f64>> = (0..400).map(|at| vec![f64::from(u8::from(at % 3 == 0)), 0.5]).collect();
        let bootstrap = Bootstrap::new(&rows);
        let mean = bootstrap.mean(0);
        let p: f64 = 134.0 / 400.0;
        let half = 1.96 * (p * (1.0 - p) / 400.0).sqrt();
        assert!((mean.value - p).abs() < 1e-12);
        assert!(
            (mean.low - (p - half)).abs() < 0.15 * half && (mean.high - (p + half)).abs() < 0.15 * half,
            "{mean:?}"
        );
        assert_eq!(bootstrap.mean(1), Estimate { value: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(Bootstrap::new(&rows).mean(0), mean, "the same figures have the same interval");
    }

    #[test]
    fn differences_are_of_pairs() {
        // Both swing widely, their difference does not.
        let rows: Vec<Vec<f64>> =
            (0..200).map(|at| vec![f64::from(at % 2) * 0.9 + 0.1, f64::from(at % 2) * 0.9]).collect();
        let bootstrap = Bootstrap::new(&rows);
        let difference = bootstrap.difference(0, 1);
        assert!((difference.value - 0.1).abs() < 1e-12);
        assert!(difference.high - difference.low < 1e-12, "{difference:?}");
        assert!(bootstrap.mean(0).high - bootstrap.mean(0).low > 0.1);
    }

    #[test]
    fn no_queries_are_no_panic() {
        assert_eq!(Bootstrap::new(&[]).resampled.len(), RESAMPLES);
    }
}
