//! Attention against plain loops in f64, for every kernel that this CPU has.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::noise;
use embedding_engine_kernels::{Attention, Isa, Precision, Workspace};

const BASE: Attention =
    Attention { heads: 4, kv_heads: 2, head_dim: 16, causal: true, window: None, values: Precision::F32 };

fn cumulative(lengths: &[usize]) -> Vec<u32> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|len| {
            sum += *len as u32;
            sum
        }))
        .collect()
}

fn width(shape: &Attention) -> usize {
    (shape.heads + 2 * shape.kv_heads) * shape.head_dim
}

fn input(shape: &Attention, tokens: usize) -> Vec<f32> {
    noise(tokens as u64 * 31 + shape.head_dim as u64, tokens * width(shape)).iter().map(|value| value * 3.0).collect()
}

fn run(shape: &Attention, qkv: &[f32], lengths: &[usize], isa: Isa) -> Vec<f32> {
    let cumulative = cumulative(lengths);
    let mut out = vec![f32::NAN; lengths.iter().sum::<usize>() * shape.heads * shape.head_dim];
    let mut workspace = Workspace::default();
    assert!(shape.forward(qkv, &cumulative, &mut out, isa, &mut workspace, &|| false).unwrap());
    out
}

/// One sequence, by the book, in f64.
fn expected(shape: &Attention, qkv: &[f32], len: usize) -> Vec<f64> {
    let (dim, width) = (shape.head_dim, width(shape));
    let group = shape.heads / shape.kv_heads;
    let mut out = vec![0.0; len * shape.heads * dim];
    for query in 0..len {
        for head in 0..shape.heads {
            let kv = head / group;
            let q = &qkv[query * width + head * dim..][..dim];
            let sees = |key: usize| {
                let near = |distance: usize, window: usize| distance < window;
                match (shape.causal, shape.window) {
                    (true, None) => key <= query,
                    (true, Some(window)) => key <= query && near(query - key, window),
                    (false, None) => true,
                    (false, Some(window)) => near(query.abs_diff(key), window + 1),
                }
            };
            let score = |key: usize| {
                let k = &qkv[key * width + (shape.heads + kv) * dim..][..dim];
                let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                dot / (dim as f64).sqrt()
            };
            let scores: Vec<(usize, f64)> = (0..len).filter(|key| sees(*key)).map(|key| (key, score(key))).collect();
            let most = scores.iter().map(|(_, score)| *score).fold(f64::MIN, f64::max);
            let total: f64 = scores.iter().map(|(_, score)| (score - most).exp()).sum();
            for (key, score) in scores {
                let v = &qkv[key * width + (shape.heads + shape.kv_heads + kv) * dim..][..dim];
                for (out, v) in out[(query * shape.heads + head) * dim..].iter_mut().zip(v) {
                    *out += (score - most).exp() / total * f64::from(*v);
                }
            }
        }
    }
    out
}

/// The largest difference; values are in −3..3.
fn difference(shape: &Attention, lengths: &[usize], isa: Isa) -> f64 {
    let tokens: usize = lengths.iter().sum();
    let qkv = input(shape, tokens);
    let out = run(shape, &qkv, lengths, isa);
    let mut worst = 0.0;
    let mut at = 0;
    for len in lengths {
        let q_width = shape.heads * shape.head_dim;
        let expected = expected(shape, &qkv[at * width(shape)..], *len);
        for (out, expected) in out[at * q_width..].iter().zip(&expected) {
            let difference = (f64::from(*out) - expected).abs();
            assert!(difference.is_finite(), "{shape:?} {lengths:?}");
            worst = f64::max(worst, difference);
        }
        at += len;
    }
    worst
}

/// Every kind of mask; windows shorter than a panel, about one, and longer than the text.
fn masks(shape: Attention) -> impl Iterator<Item = Attention> {
    [None, Some(1), Some(5), Some(33), Some(1000)]
        .into_iter()
        .flat_map(move |window| [true, false].map(|causal| Attention { causal, window, ..shape }))
}

#[test]
fn f32_agrees_with_f64_for_every_length_and_mask() {
    for isa in Isa::available() {
        for shape in masks(BASE) {
            for len in (1..=70).chain([255, 256, 257, 300]) {
                let difference = difference(&shape, &[len], isa);
                assert!(difference < 5e-6, "{shape:?} {len} {isa}: {difference:e}");
            }
        }
    }
}

#[test]
fn f32_agrees_with_f64_for_the_shapes_of_models() {
    // Qwen2 0.5B and 1.5B, MiniLM, and widths that fill no panel.
    for (heads, kv_heads, head_dim) in [(14, 2, 64), (12, 2, 128), (12, 12, 32), (3, 1, 80), (2, 2, 7), (1, 1, 1)] {
        for isa in Isa::available() {
            for shape in masks(Attention { heads, kv_heads, head_dim, ..BASE }) {
                let difference = difference(&shape, &[17, 1, 90, 128], isa);
                assert!(difference < 1e-5, "{shape:?} {isa}: {difference:e}");
            }
        }
    }
}

#[test]
fn bf16_values_cost_their_rounding_and_no_more() {
    for isa in Isa::available() {
        for shape in masks(Attention { head_dim: 64, values: Precision::Bf16, ..BASE }) {
            let difference = difference(&shape, &[1, 2, 31, 97, 290], isa);
            // Half a unit in the last of 8 bits of a weight and of a value, values up to 3.
            assert!(difference < 3.0 * 2.0 / 256.0, "{shape:?} {isa}: {difference:e}");
            if isa.multiplies_bf16() {
                assert!(difference > 1e-5, "bf16 was asked for, and is not what came: {difference:e}");
            }
        }
    }
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_among_others_on_any_number_of_threads() {
    let lengths = [40, 1, 300, 128, 7];
    for values in [Precision::F32, Precision::Bf16] {
        for shape in masks(Attention { heads: 6, head_dim: 32, values, ..BASE }) {
            let qkv = input(&shape, lengths.iter().sum());
            let isa = Isa::best();
            let together = run(&shape, &qkv, &lengths, isa);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            assert_eq!(pool.install(|| run(&shape, &qkv, &lengths, isa)), together);
            let mut at = 0;
            for len in lengths {
                let alone = run(&shape, &qkv[at * width(&shape)..][..len * width(&shape)], &[len], isa);
                assert_eq!(alone, together[at * 6 * 32..][..len * 6 * 32], "{shape:?} {len}");
                at += len;
            }
        }
    }
}

#[test]
fn what_a_workspace_held_before_does_not_matter() {
    let shape = Attention { values: Precision::Bf16, ..BASE };
    let mut workspace = Workspace::default();
    let poison = vec![f32::NAN; 300 * width(&shape)];
    let mut out = vec![0.0; 300 * 64];
    shape.forward(&poison, &[0, 300], &mut out, Isa::best(), &mut workspace, &|| false).unwrap();
    assert!(out.iter().all(|value| value.is_nan()));
    let qkv = input(&shape, 77);
    let mut out = vec![0.0; 77 * 64];
    shape.forward(&qkv, &[0, 44, 77], &mut out, Isa::best(), &mut workspace, &|| false).unwrap();
    assert_eq!(out, run(&shape, &qkv, &[44, 33], Isa::best()));
}

#[test]
fn large_scores_stay_finite() {
    let shape = Attention { head_dim: 64, ..BASE };
    let qkv: Vec<f32> = input(&shape, 50).iter().map(|value| value * 1e4).collect();
    assert!(run(&shape, &qkv, &[50], Isa::best()).iter().all(|value| value.is_finite()));
}

#[test]
fn it_stops_when_told() {
    let qkv = input(&BASE, 600);
    let mut out = vec![0.0; 600 * 64];
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 2;
    let done = BASE.forward(&qkv, &[0, 600], &mut out, Isa::best(), &mut Workspace::default(), &stop).unwrap();
    assert!(!done);
    assert!(asked.into_inner() < 10, "it went on after it was told to stop");
}

#[test]
fn nothing_is_no_error() {
    for lengths in [&[][..], &[0], &[0, 3, 0]] {
        let qkv = input(&BASE, lengths.iter().sum());
        assert!(run(&BASE, &qkv, lengths, Isa::best()).iter().all(|value| value.is_finite()));
    }
}
