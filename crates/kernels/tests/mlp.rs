//! Both layers of an MLP at once against one after the other, to the bit: the layers themselves are checked elsewhere.

#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use embedding_engine_kernels::{Activation, Isa, Linear, Mlp, Output, Precision};

/// Numbers in −1..1 that look random and are the same each time.
fn noise(seed: u32, len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|at| {
            let mixed = (at ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
            let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
            (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn filled(mut layer: Linear, rows: usize, seed: u32) -> Linear {
    let inputs = layer.inputs();
    let weights = noise(seed, rows * inputs);
    layer
        .fill(|row, to| {
            to.copy_from_slice(&weights[row * inputs..][..inputs]);
            Ok::<(), Infallible>(())
        })
        .unwrap();
    layer
}

struct Case {
    first: Linear,
    activation: Activation,
    second: Linear,
}

impl Case {
    fn new(width: usize, inner: usize, gated: bool, precision: Precision, isa: Isa) -> Self {
        let first = match gated {
            true => filled(Linear::gated(inner, width, precision).unwrap(), 2 * inner, 1),
            false => filled(Linear::zeros(inner, width, precision).unwrap(), inner, 1).with_bias(noise(2, inner)),
        };
        let second = filled(Linear::zeros(width, inner, precision).unwrap(), width, 3).with_bias(noise(4, width));
        let activation = if gated { Activation::Identity } else { Activation::Gelu };
        Case { first: first.with_isa(isa), activation, second: second.with_isa(isa) }
    }

    fn mlp(&self) -> Mlp<'_> {
        Mlp { first: &self.first, activation: self.activation, second: &self.second }
    }

    fn run(&self, x: Option<&[f32]>, rows: usize, out: &mut [f32]) {
        let mut inner = vec![f32::NAN; self.mlp().inner(rows)];
        assert!(self.mlp().forward(x, rows, out, &mut inner, &|| false));
    }

    /// Layer by layer.
    fn apart(&self, x: &[f32], rows: usize, out: &mut [f32]) {
        let mut inner = vec![0.0; rows * self.first.outputs()];
        match self.activation {
            Activation::Identity => self.first.forward(x, rows, &mut inner, Output::Replace),
            activation => self.first.forward_activated(x, rows, &mut inner, activation),
        }
        self.second.forward(&inner, rows, out, Output::Add);
    }
}

fn on<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

/// Widths and inner widths: small ones, of no whole panels and groups, several chunks on both sides.
const SHAPES: [(usize, usize); 5] = [(24, 40), (100, 530), (64, 256), (384, 1536), (1300, 2500)];

#[test]
fn both_layers_at_once_give_the_same_bits() {
    let mut at_once = 0;
    for (width, inner) in SHAPES {
        for isa in Isa::available() {
            for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
                for gated in [true, false] {
                    let large = width * inner > 100_000;
                    // Plain loops are slow.
                    if large && isa.to_string() == "portable" {
                        continue;
                    }
                    let all: &[usize] = if large { &[61, 150] } else { &[1, 47, 48, 49, 100, 193, 400] };
                    let case = Case::new(width, inner, gated, precision, isa);
                    for &rows in all {
                        let (x, before) = (noise(5, rows * width), noise(6, rows * width));
                        let mut expected = before.clone();
                        case.apart(&x, rows, &mut expected);
                        for threads in [1, 3] {
                            let mut found = before.clone();
                            on(threads, || case.run(Some(&x), rows, &mut found));
                            at_once += usize::from(on(threads, || case.mlp().inner(rows)) == 0);
                            let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                            assert!(
                                same,
                                "{isa} {precision:?} {width} {inner} {gated}: {rows} rows, {threads} threads"
                            );
                        }
                        let mut expected = x.clone();
                        case.apart(&x, rows, &mut expected);
                        let mut found = x;
                        on(2, || case.run(None, rows, &mut found));
                        let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(same, "in place: {isa} {precision:?} {width} {inner} {gated}: {rows} rows");
                    }
                }
            }
        }
    }
    assert!(at_once > 50, "{at_once} cases went through both layers at once");
}

#[test]
fn not_a_number_stays_in_its_row() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let case = Case::new(64, 256, true, precision, Isa::best());
        let mut x = noise(7, 96 * 64);
        x[50 * 64 + 3] = f32::NAN;
        let mut out = vec![0.0; 96 * 64];
        on(1, || case.run(Some(&x), 96, &mut out));
        for (row, out) in out.chunks(64).enumerate() {
            assert_eq!(out.iter().any(|value| value.is_nan()), row == 50, "{precision:?}, row {row}");
        }
    }
}

#[test]
fn it_stops_when_told() {
    let case = Case::new(64, 4096, true, Precision::F32, Isa::best());
    for rows in [8, 96, 500] {
        let x = noise(8, rows * 64);
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 1;
        let mut inner = vec![0.0; case.mlp().inner(rows)];
        let done = on(1, || case.mlp().forward(Some(&x), rows, &mut vec![0.0; rows * 64], &mut inner, &stop));
        assert!(!done && asked.into_inner() == 2, "{rows} rows");
    }
}

#[test]
fn nothing_in_and_nothing_out() {
    let case = Case::new(8, 16, true, Precision::Int8, Isa::best());
    case.run(Some(&[]), 0, &mut []);
    let empty = Case::new(8, 0, false, Precision::Int8, Isa::best());
    let mut out = vec![0.0; 64 * 8];
    empty.run(Some(&noise(9, 64 * 8)), 64, &mut out);
    assert_eq!(out, noise(4, 8).repeat(64));
}

#[test]
#[should_panic(expected = "the layers have")]
fn layers_that_do_not_fit_are_refused() {
    let (a, b) =
        (Case::new(8, 16, true, Precision::F32, Isa::best()), Case::new(8, 24, true, Precision::F32, Isa::best()));
    let mlp = Mlp { first: &a.first, activation: Activation::Identity, second: &b.second };
    mlp.forward(Some(&[0.0; 8]), 1, &mut [0.0; 8], &mut [0.0; 16], &|| false);
}
