//! Linear layers against plain loops in f64, for every kernel that this CPU has.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::convert::Infallible;
use std::sync::OnceLock;

use common::noise;
use embedding_engine_kernels::{Activation, Isa, Linear, Output, Precision};
use half::bf16;

struct Case {
    rows: usize,
    outputs: usize,
    inputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    before: Vec<f32>,
    factors: OnceLock<Vec<f32>>,
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
        factors: OnceLock::new(),
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
        let weights = &self.weights[output * self.inputs..][..self.inputs];
        let x = &self.x[row * self.inputs..][..self.inputs];
        let exact = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let halved = |values: &[f32]| values.iter().map(|value| bf16::from_f32(*value).to_f64()).collect::<Vec<_>>();
        let (x, weights) = match precision {
            Precision::F32 => (exact(x), exact(weights)),
            Precision::Bf16 => (if isa.multiplies_bf16() { halved(x) } else { exact(x) }, halved(weights)),
            Precision::Int8 => {
                let factors = self.factors.get_or_init(|| self.factors());
                let x: Vec<f32> = x.iter().zip(factors).map(|(x, factor)| x * factor).collect();
                let weights: Vec<f32> = weights.iter().zip(factors).map(|(w, factor)| w / factor).collect();
                (x.chunks(256).flat_map(rounded).collect(), rounded(&weights))
            }
        };
        let terms = x.iter().zip(weights).map(|(x, w)| x * w);
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    }

    /// What inputs of an int8 layer are multiplied with.
    fn factors(&self) -> Vec<f32> {
        let most = |input: usize| {
            self.weights.iter().skip(input).step_by(self.inputs).fold(0f32, |most, weight| most.max(weight.abs()))
        };
        let most: Vec<f32> = (0..self.inputs).map(most).collect();
        let mean = most.iter().map(|most| f64::from(*most)).sum::<f64>() / self.inputs as f64;
        most.iter().map(|most| if *most > 0.0 { (f64::from(*most) / mean) as f32 } else { 1.0 }).collect()
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

/// Values as multiples of a 127th of the largest.
fn rounded(values: &[f32]) -> Vec<f64> {
    let most = values.iter().fold(0f32, |most, value| most.max(value.abs()));
    let inverse = 127.0 / most;
    values.iter().map(|value| f64::from((value * inverse).round_ties_even()) * f64::from(most / 127.0)).collect()
}

fn everywhere(mut f: impl FnMut(Isa, Precision)) {
    for isa in Isa::available() {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
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
    for (outputs, inputs) in [(100, 70), (257, 2500), (40, 5000)] {
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
fn functions_of_results_agree_with_f64() {
    fn erf(x: f64) -> f64 {
        // Abramowitz and Stegun 7.1.5.
        let (mut sum, mut term) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let functions: [(Activation, &dyn Fn(f64) -> f64); 7] = [
        (Activation::Identity, &|x| x),
        (Activation::Gelu, &|x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        (Activation::GeluTanh, &|x| {
            0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }),
        (Activation::Relu, &|x| x.max(0.0)),
        (Activation::Silu, &|x| x * sigmoid(x)),
        (Activation::Tanh, &f64::tanh),
        (Activation::Sigmoid, &sigmoid),
    ];
    // The last one's sums come in several parts, which must be whole before they go through a function.
    for (rows, outputs, inputs) in [(1, 1, 1), (14, 33, 40), (27, 70, 130), (5, 40, 2600)] {
        let mut case = case(rows, outputs, inputs);
        // Sums of about 1, where the functions are not linear.
        case.weights.iter_mut().for_each(|weight| *weight *= 3.0 / (inputs as f32).sqrt());
        everywhere(|isa, precision| {
            for (activation, f) in functions {
                let mut out = case.before.clone();
                case.layer(precision, isa, true).forward_activated(&case.x, rows, &mut out, activation);
                for (at, value) in out.iter().enumerate() {
                    let (row, column) = (at / outputs, at % outputs);
                    let sum = case.expected(precision, isa, row, column).0 + f64::from(case.bias[column]);
                    let error = (f64::from(*value) - f(sum)).abs();
                    assert!(
                        error < 1e-5,
                        "{isa} {precision:?} {activation:?} {rows} × {outputs} × {inputs}: {error:e}"
                    );
                }
            }
        });
    }
}

#[test]
fn gates_agree_with_f64() {
    for (rows, outputs, inputs) in [(1, 1, 1), (13, 16, 8), (9, 17, 40), (100, 50, 96), (3, 37, 2600)] {
        let mut case = case(rows, 2 * outputs, inputs);
        case.weights.iter_mut().for_each(|weight| *weight *= 3.0 / (inputs as f32).sqrt());
        everywhere(|isa, precision| {
            let mut layer = Linear::gated(outputs, inputs, precision).unwrap().with_isa(isa);
            let read = |row: usize, weights: &mut [f32]| {
                weights.copy_from_slice(&case.weights[row * inputs..][..inputs]);
                Ok::<(), Infallible>(())
            };
            layer.fill(read).unwrap();
            let layer = layer.with_bias(case.bias.clone());
            assert_eq!((layer.outputs(), layer.inputs()), (outputs, inputs));
            let mut out = vec![f32::NAN; rows * outputs];
            layer.forward(&case.x, rows, &mut out, Output::Replace);
            for (at, value) in out.iter().enumerate() {
                let (row, column) = (at / outputs, at % outputs);
                let sum = |column| case.expected(precision, isa, row, column).0 + f64::from(case.bias[column]);
                let (gate, up) = (sum(column), sum(outputs + column));
                let expected = gate / (1.0 + (-gate).exp()) * up;
                let error = (f64::from(*value) - expected).abs();
                assert!(error < 2e-5, "{isa} {precision:?} {rows} × {outputs} × {inputs}: {value}, not {expected}");
            }
        });
    }
}

#[test]
fn int8_is_the_same_on_all_instructions_and_near_the_truth() {
    let case = case(20, 300, 250);
    let run = |isa| {
        let mut out = vec![0.0; 20 * 300];
        case.layer(Precision::Int8, isa, false).forward(&case.x, 20, &mut out, Output::Replace);
        out
    };
    let best = run(Isa::best());
    for isa in Isa::available() {
        // Up to 256 inputs are summed in integers.
        assert!(run(isa) == best, "{isa}");
    }
    // The share of noise: each factor is off by up to half a 127th of the largest, evenly spread.
    let (mut noise, mut signal) = (0.0, 0.0);
    for (at, value) in best.iter().enumerate() {
        let exact = case.expected(Precision::F32, Isa::best(), at / 300, at % 300).0;
        noise += (f64::from(*value) - exact).powi(2);
        signal += exact.powi(2);
    }
    let share = (noise / signal).sqrt();
    assert!((0.001..0.01).contains(&share), "{share}");
}

#[test]
fn an_outlier_coarsens_its_own_256_inputs_alone() {
    let mut case = case(1, 64, 512);
    case.x[400] = 1000.0;
    // Outputs that do not read the second half.
    case.weights.chunks_exact_mut(512).for_each(|weights| weights[256..].fill(0.0));
    let mut out = vec![0.0; 64];
    case.layer(Precision::Int8, Isa::best(), false).forward(&case.x, 1, &mut out, Output::Replace);
    for (column, value) in out.iter().enumerate() {
        let exact = case.expected(Precision::F32, Isa::best(), 0, column).0;
        assert!((f64::from(*value) - exact).abs() < 0.3, "{value}, not {exact}");
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
