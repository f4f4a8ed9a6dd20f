//! The loops over values, written so that the compiler vectorises them inside `pulp`'s dispatch.

/// `sum += scale · row`
#[inline(always)]
pub(super) fn add_scaled(sum: &mut [f32], row: &[f32], scale: f32) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += scale * value;
    }
}

/// Values that are summed side by side, in an order that does not depend on the machine.
const LANES: usize = 32;

/// The reduction of `f` over pairs of values by `join`, from `start`.
#[inline(always)]
fn reduce(a: &[f32], b: &[f32], start: f32, join: impl Fn(f32, f32) -> f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = join(*lane, f(*a, *b));
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = join(*lane, f(*a, *b));
    }
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// The scalar product.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    reduce(a, b, 0.0, |x, y| x + y, |a, b| a * b)
}

/// ln Σ e^x
#[inline(always)]
pub(super) fn log_sum_exp(values: &[f32]) -> f32 {
    let highest = reduce(values, values, f32::NEG_INFINITY, max, |x, _| x);
    highest + reduce(values, values, 0.0, |x, y| x + y, |x, _| exp(x - highest)).ln()
}

/// The larger value; one instruction, as no value here is NaN unless all is lost anyway.
#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// e^x for x ≤ 0 (and a little above), error below 2 units in the last place; 0 below −87.3.
///
/// Cephes' `expf` (S. Moshier), as in the CPU encoders' parts.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding this rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = max(x, -87.336_54);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let p = p * r * r + r + 1.0;
    let scale = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.336_54 { 0.0 } else { p * scale }
}
