//! Linear layers against plain loops in f64, for every kernel that this CPU has.

#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;

use embedding_engine_kernels::{Isa, Linear, Output, Precision};
use half::bf16;

/// Numbers in −1..1 that look random and are the same each time (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..len).map(|_| (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

struct Case {
    rows: usize,
    outputs: usize,
    inputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    before: Vec<f32>,
}

fn case(rows: usize, outputs: usize, inputs: usize) -> Case {
    let seed = (rows * 1_000_003 + outputs * 1009 + inputs) as u64;
    Case {
        rows,
        outputs,
        inputs,
        weights: noise(seed, outputs * inputs),
        bias: noise(seed + 1, outputs),
        x: noise(seed + 2, rows * inputs),
        before: noise(seed + 3, rows * outputs),
    }
}

impl Case {
    fn layer(&self, precision: Precision, isa: Isa, bias: bool) -> Linear {
        let mut layer = Linear::zeros(self.outputs, self.inputs, precision).unwrap().with_isa(isa);
        layer
            .fill(|output, row| {
                row.copy_from_slice(&self.weights[output * self.inputs..][..self.inputs]);
                Ok::<(), Infallible>(())
            })
            .unwrap();
        if bias { layer.with_bias(self.bias.clone()) } else { layer }
    }

    /// As the layer is meant to compute it, in f64, and the sum of all magnitudes: what an error of
    /// rounding is measured by.
    fn expected(&self, precision: Precision, isa: Isa, row: usize, output: usize) -> (f64, f64) {
        let round = |value: f32| f64::from(bf16::from_f32(value).to_f32());
        let weight = |value: f32| if precision == Precision::Bf16 { round(value) } else { f64::from(value) };
        let activation = |value: f32| {
            if precision == Precision::Bf16 && isa.multiplies_bf16() { round(value) } else { value.into() }
        };
        let weights = &self.weights[output * self.inputs..][..self.inputs];
        let x = &self.x[row * self.inputs..][..self.inputs];
        let terms = x.iter().zip(weights).map(|(x, w)| activation(*x) * weight(*w));
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    }

    fn check(&self, precision: Precision, isa: Isa, bias: bool, output: Output, every: usize) {
        let layer = self.layer(precision, isa, bias);
        let mut out = self.before.clone();
        layer.forward(&self.x, self.rows, &mut out, output);
        for at in (0..out.len()).step_by(every) {
            let (row, column) = (at / self.outputs, at % self.outputs);
            let (mut sum, mut size) = self.expected(precision, isa, row, column);
            for extra in [bias.then(|| self.bias[column]), (output == Output::Add).then(|| self.before[at])] {
                sum += f64::from(extra.unwrap_or(0.0));
                size += f64::from(extra.unwrap_or(0.0).abs());
            }
            let error = (f64::from(out[at]) - sum).abs();
            // Rounding errors of a sum grow with its length, mostly as the square root.
            let bound = size * f64::from(f32::EPSILON) * (4.0 + (self.inputs as f64).sqrt() / 4.0);
            assert!(
                error <= bound,
                "{isa} {precision:?} {} × {} × {}, bias {bias}, {output:?}: [{row}, {column}] is {}, not {sum} \
                 (error {error:e}, allowed {bound:e})",
                self.rows,
                self.outputs,
                self.inputs,
                out[at],
            );
        }
    }
}

fn everywhere(mut f: impl FnMut(Isa, Precision)) {
    for isa in Isa::available() {
        for precision in [Precision::F32, Precision::Bf16] {
            f(isa, precision);
        }
    }
}

#[test]
fn every_small_shape_agrees_with_f64() {
    const FEW: [usize; 5] = [1, 7, 16, 33, 70];
    let mut shapes = Vec::new();
    for all in 1..=70 {
        for a in FEW {
            for b in FEW {
                shapes.extend([(all, a, b), (a, all, b), (a, b, all)]);
            }
        }
    }
    for (at, (rows, outputs, inputs)) in shapes.into_iter().enumerate() {
        let case = case(rows, outputs, inputs);
        let output = if at % 3 == 0 { Output::Add } else { Output::Replace };
        everywhere(|isa, precision| case.check(precision, isa, at % 2 == 0, output, 3));
    }
}

#[test]
fn real_shapes_agree_with_f64() {
    for (outputs, inputs) in [(4864, 896), (896, 4864), (1536, 8960), (384, 1536)] {
        for rows in [1, 5, 37, 200] {
            let case = case(rows, outputs, inputs);
            everywhere(|isa, precision| case.check(precision, isa, true, Output::Add, 1999));
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_alone_and_in_any_batch() {
    for (outputs, inputs) in [(100, 70), (257, 2500)] {
        let case = case(130, outputs, inputs);
        everywhere(|isa, precision| {
            let layer = case.layer(precision, isa, true);
            let mut all = vec![0.0; case.rows * outputs];
            layer.forward(&case.x, case.rows, &mut all, Output::Replace);
            for (from, count) in [(0, 1), (17, 1), (129, 1), (3, 2), (40, 13), (60, 70)] {
                let mut some = vec![0.0; count * outputs];
                layer.forward(&case.x[from * inputs..][..count * inputs], count, &mut some, Output::Replace);
                assert!(some == all[from * outputs..][..count * outputs], "{isa} {precision:?} {from}+{count}");
            }
        });
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let case = case(150, 513, 1100);
    everywhere(|isa, precision| {
        let layer = case.layer(precision, isa, true);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = case.before.clone();
            pool.install(|| layer.forward(&case.x, case.rows, &mut out, Output::Add));
            out
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == one, "{isa} {precision:?} on {threads} threads");
        }
    });
}

#[test]
fn not_a_number_stays_in_its_row() {
    let mut case = case(14, 40, 35);
    case.x[3 * 35 + 34] = f32::NAN;
    everywhere(|isa, precision| {
        let mut out = vec![0.0; 14 * 40];
        case.layer(precision, isa, false).forward(&case.x, 14, &mut out, Output::Replace);
        for (row, out) in out.chunks(40).enumerate() {
            assert!(out.iter().all(|value| value.is_nan() == (row == 3)), "{isa} {precision:?} row {row}: {out:?}");
        }
    });
}

#[test]
fn layers_without_rows_or_inputs_or_outputs() {
    everywhere(|isa, precision| {
        let layer = |outputs, inputs| Linear::zeros(outputs, inputs, precision).unwrap().with_isa(isa);
        layer(3, 5).forward(&[], 0, &mut [], Output::Replace);
        layer(0, 5).forward(&[1.0; 10], 2, &mut [], Output::Replace);
        let mut out = [7.0; 6];
        layer(3, 0).with_bias(vec![1.0, 2.0, 3.0]).forward(&[], 2, &mut out, Output::Replace);
        assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    });
}

#[test]
fn an_error_of_reading_ends_the_filling() {
    let mut layer = Linear::zeros(70, 3, Precision::F32).unwrap();
    assert_eq!(layer.fill(|output, _| if output == 40 { Err(output) } else { Ok(()) }), Err(40));
}

#[test]
fn a_matrix_that_no_memory_can_hold_is_an_error() {
    assert!(Linear::zeros(1 << 31, 1 << 28, Precision::F32).is_err());
}

#[test]
#[should_panic(expected = "x has 9 values, not 2 × 5")]
fn a_wrong_size_is_refused() {
    Linear::zeros(3, 5, Precision::F32).unwrap().forward(&[0.0; 9], 2, &mut [0.0; 6], Output::Replace);
}
