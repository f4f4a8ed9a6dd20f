//! Elementary functions that the compiler can vectorise: no branches, no calls, no tables.

/// e^x for f32, error below 2 units in the last place; 0 below −87.3, clamped above 88.3.
///
/// Range reduction by ln 2 in two parts and a polynomial of degree 5 (Cephes, `expf`, S. Moshier).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding this rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const ROUND_BITS: u32 = ROUND.to_bits();

    let clamped = x.clamp(-87.336_54, 88.3);
    let rounded = clamped * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let scale = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND_BITS).wrapping_add(127) << 23);
    if x < -87.336_54 { 0.0 } else { p * scale }
}

/// x · σ(x)
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// tanh by exp: exact enough away from 0, and near 0 by its own polynomial (Cephes, `tanhf`).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3f32;
    p = p * square + 2.063_909e-2;
    p = p * square - 5.373_971_5e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let small = p * square * x + x;
    let e = exp(2.0 * x.abs());
    let large = (1.0 - 2.0 / (e + 1.0)).copysign(x);
    if x.abs() < 0.625 { small } else { large }
}

/// The error function, absolute error below 5e-7.
///
/// Rational approximation on [−4, 4] as in Eigen (`generic_fast_erf_float`).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut p = -2.726_142_3e-10f32;
    p = p * square + 2.770_681_4e-8;
    p = p * square - 2.101_024e-6;
    p = p * square - 5.692_506_4e-5;
    p = p * square - 7.349_906e-4;
    p = p * square - 2.954_6e-3;
    p = p * square - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5f32;
    q = q * square - 2.133_740_6e-4;
    q = q * square - 1.682_827e-3;
    q = q * square - 7.373_329e-3;
    q = q * square - 1.426_473_9e-2;
    x * p / q
}

/// x · Φ(x)
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The tanh approximation of GELU (Hendrycks and Gimpel, 2016).
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// σ(x)
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abramowitz and Stegun 7.1.5, summed in f64 until nothing changes.
    fn erf_f64(x: f64) -> f64 {
        let (mut sum, mut term) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn sweep(from: f64, to: f64) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| (from + (to - from) * f64::from(i) / 200_000.0) as f32)
    }

    fn worst(values: impl Iterator<Item = f32>, ours: fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        values
            .map(|x| (f64::from(ours(x)) - exact(f64::from(x))).abs() / exact(f64::from(x)).abs().max(1.0))
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_exact_to_a_few_units_in_the_last_place() {
        let relative =
            sweep(-87.0, 88.0).map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs()).fold(0.0, f64::max);
        assert!(relative < 2.5e-7, "{relative:e}");
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn activations_agree_with_f64() {
        let error = worst(sweep(-4.5, 4.5), erf, erf_f64);
        assert!(error < 5e-7, "erf {error:e}");
        let error = worst(sweep(-20.0, 20.0), tanh, f64::tanh);
        assert!(error < 3e-7, "tanh {error:e}");
        let error = worst(sweep(-20.0, 20.0), silu, |x| x / (1.0 + (-x).exp()));
        assert!(error < 5e-7, "silu {error:e}");
        let error = worst(sweep(-20.0, 20.0), sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        assert!(error < 3e-7, "sigmoid {error:e}");
        let error = worst(sweep(-4.5, 4.5), gelu, |x| 0.5 * x * (1.0 + erf_f64(x * std::f64::consts::FRAC_1_SQRT_2)));
        assert!(error < 1e-6, "gelu {error:e}");
        let gelu_tanh_f64 =
            |x: f64| 0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x)).tanh());
        let error = worst(sweep(-6.0, 6.0), gelu_tanh, gelu_tanh_f64);
        assert!(error < 1e-6, "gelu_tanh {error:e}");
    }

    #[test]
    fn large_arguments_stay_finite() {
        for x in [-1e30f32, -1e4, 1e4, 1e30] {
            for f in [silu, tanh, erf, gelu, gelu_tanh, sigmoid] {
                assert!(f(x).is_finite(), "{x}");
            }
        }
    }
}
