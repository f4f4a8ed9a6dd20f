//! Vectors as 8-bit codes, and how far the products of codes are from those of the vectors.

/// The largest code; the smallest is its negative. −128 is left out, so that codes are symmetric.
pub const LEVELS: f32 = 127.0;

/// The code of a vector: `vector ≈ scale · codes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// One a component, from −127 to 127.
    pub codes: Vec<i8>,
    /// What a code of 1 stands for.
    pub scale: f32,
    /// At least the length of `vector − scale · codes`.
    pub error: f32,
    /// At least the length of `vector`.
    pub norm: f32,
}

impl Codes {
    /// Of a vector of finite components.
    pub fn of(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / LEVELS;
        let code = |value: f32| {
            // Where the scale underflows there is no code but 0, and the error says so.
            let code = if scale > 0.0 { (value / scale).round() } else { 0.0 };
            code.clamp(-LEVELS, LEVELS) as i8
        };
        let codes: Vec<i8> = vector.iter().map(|value| code(*value)).collect();
        let rest =
            vector.iter().zip(&codes).map(|(value, code)| f64::from(*value) - f64::from(scale) * f64::from(*code));
        let error = length(rest);
        let norm = length(vector.iter().map(|value| f64::from(*value)));
        Codes { codes, scale, error: up(error), norm: up(norm) }
    }
}

/// A query, in codes and in full.
#[derive(Debug, Clone)]
pub struct QueryCode {
    /// As it was given.
    pub vector: Vec<f32>,
    /// Its codes, filled up with zeros to the width of the kernels.
    pub padded: Vec<i8>,
    /// See [`Codes`].
    pub scale: f32,
    error: f32,
    norm: f32,
}

impl QueryCode {
    /// `width` is that of the rows that it will be compared with, at least the vector's own.
    pub fn new(vector: Vec<f32>, width: usize) -> Self {
        let Codes { mut codes, scale, error, norm } = Codes::of(&vector);
        codes.resize(width.max(codes.len()), 0);
        QueryCode { vector, padded: codes, scale, error, norm }
    }

    /// The most by which `scale · scale(v) · (codes · codes(v))`, as f32, is away from the product `q · v`, as
    /// [`exact_dot`] has it; for any v with at most this `error` and `norm`.
    ///
    /// With q = q̂ + f and v = v̂ + e, where hats are what the codes stand for, `q·v − q̂·v̂ = q·e + f·v̂`, which by
    /// Cauchy and Schwarz is at most `|q||e| + |f||v̂|`, and `|v̂| ≤ |v| + |e|`.
    pub fn bound(&self, error: f32, norm: f32) -> f32 {
        self.norm * error + self.error * (norm + error) + self.rounding(error, norm)
    }

    /// The same where the query is taken in full, as [`QueryCode::refined`] does: `q·v − q·v̂ = q·e`.
    pub fn refined_bound(&self, error: f32, norm: f32) -> f32 {
        self.norm * error + self.rounding(error, norm)
    }

    /// What is lost where results are rounded to f32: half a unit in the last place for each of at most six roundings
    /// of something of this size (the product of the scales, the integer, their product, the exact value, the bound
    /// itself, the sum with it). 16 units are more than all of them.
    fn rounding(&self, error: f32, norm: f32) -> f32 {
        16.0 * f32::EPSILON * (self.norm + self.error) * (norm + error) + f32::MIN_POSITIVE
    }

    /// The product of the query in full and what the codes stand for.
    pub fn refined(&self, codes: &[i8], scale: f32) -> f32 {
        let sum: f64 = self.vector.iter().zip(codes).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (sum * f64::from(scale)) as f32
    }
}

/// The product of two vectors, summed as f64: the score of a dense hit.
pub fn exact_dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// As f32, never smaller.
fn up(value: f64) -> f32 {
    (value as f32).next_up()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        let value = prop_oneof![
            -1f32..1.0,
            Just(0.0),
            (-1f32..1.0).prop_map(|value| value * 1e-20),
            (-1f32..1.0).prop_map(|value| value * 1e-42),
            (-1f32..1.0).prop_map(|value| value * 1e6),
        ];
        (1usize..200).prop_flat_map(move |n| {
            (proptest::collection::vec(value.clone(), n), proptest::collection::vec(value.clone(), n))
        })
    }

    proptest! {
        #[test]
        fn no_product_is_further_away_than_the_bound((q, v) in vectors()) {
            let code = Codes::of(&v);
            let query = QueryCode::new(q.clone(), q.len());
            let exact: f64 = q.iter().zip(&v).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let whole: i32 = query.padded.iter().zip(&code.codes).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            let coarse = query.scale * code.scale * whole as f32;
            let refined = query.refined(&code.codes, code.scale);
            prop_assert!((f64::from(coarse) - exact).abs() <= f64::from(query.bound(code.error, code.norm)));
            prop_assert!((f64::from(refined) - exact).abs() <= f64::from(query.refined_bound(code.error, code.norm)));
            prop_assert!(query.refined_bound(code.error, code.norm) <= query.bound(code.error, code.norm));
        }
    }

    #[test]
    fn codes_use_the_whole_range() {
        let codes = Codes::of(&[0.5, -1.0, 0.0]);
        assert_eq!(codes.codes, [64, -127, 0]);
        assert!(codes.error > 0.0 && codes.error < codes.scale);
        // All zero, and too small for a scale: the error is the vector.
        assert_eq!(Codes::of(&[0.0; 3]).codes, [0; 3]);
        let tiny = Codes::of(&[f32::from_bits(1); 4]);
        assert!(tiny.error >= tiny.norm * 0.99);
    }
}
