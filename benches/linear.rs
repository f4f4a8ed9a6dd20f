//! Linear layers: billions of operations a second, and the share of this core's peak.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p embedding-engine-kernels` measures one core: first what it can
//! multiply at most from registers, by type, then layers at the shapes of real models, with `gemm` (f32) beside.
//! All that is compared runs in turns, and medians are shown, so that other jobs on the machine disturb
//! all alike. For one row, where memory and not the core is the limit, it is shown how fast the weights are read,
//! and their share of what one core can read: more than all of it where they stay in a cache. Words after `--` select shapes, such as `-- minilm`.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/measure.rs"]
#[expect(dead_code)]
mod measure;
#[path = "support/peak.rs"]
mod peak;

use std::convert::Infallible;
use std::time::Instant;

use embedding_engine_kernels::{Isa, Linear, Output, Precision};

/// Name, outputs, inputs.
const SHAPES: [(&str, usize, usize); 8] = [
    ("minilm qkv", 1152, 384),
    ("minilm up", 1536, 384),
    ("minilm down", 384, 1536),
    ("qwen2-0.5b qkv", 1152, 896),
    ("qwen2-0.5b gate+up", 9728, 896),
    ("qwen2-0.5b down", 896, 4864),
    ("qwen2-1.5b gate+up", 17920, 1536),
    ("qwen2-1.5b down", 1536, 8960),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let threads = rayon::current_num_threads();
    measure::header("Linear layers");
    let peaks = [peak::f32(), peak::bf16(), peak::int8()];
    for (name, peak) in ["f32", "bf16", "int8"].iter().zip(&peaks) {
        match peak {
            Some(peak) => println!("peak of one core, {name}: {peak:.0} GOP/s"),
            None => println!("peak of one core, {name}: no instructions for it"),
        }
    }
    let memory = peak::memory();
    println!("memory read by one core: {memory:.0} GB/s");
    // Without products of its own a type is widened, and its peak is that of f32.
    let peaks = [peaks[0], peaks[1].or(peaks[0]), peaks[2].or(peaks[0])];
    let peaks = peaks.map(|peak| peak.unwrap_or(f64::NAN) * threads as f64);
    println!("kernels: {}; GOP/s, share of the peak of {threads} cores, f32 as times gemm's speed\n", Isa::best());
    println!(
        "{:<20} {:>5}  {:>5} {:>5}  {:>5} {:>5}  {:>5} {:>5}  {:>5} {:>6}",
        "layer", "rows", "f32", "", "bf16", "", "int8", "", "gemm", "f32/"
    );
    for (name, outputs, inputs) in SHAPES {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
            continue;
        }
        let weights: Vec<f32> = (0..outputs * inputs).map(|at| (at * 7919 % 1013) as f32 / 1013.0 - 0.5).collect();
        let layers = [Precision::F32, Precision::Bf16, Precision::Int8]
            .map(|precision| layer(&weights, outputs, inputs, precision, name.contains("gate")));
        for rows in [1, 4, 16, 64, 256, 1024] {
            let x: Vec<f32> = (0..rows * inputs).map(|at| (at * 104_729 % 997) as f32 / 997.0 - 0.5).collect();
            let mut out = vec![0f32; rows * outputs];
            let mut time = [const { Vec::new() }; 4];
            let begin = Instant::now();
            while time[0].len() < 5 || begin.elapsed().as_secs_f64() < 0.6 {
                for (which, time) in time.iter_mut().enumerate() {
                    let start = Instant::now();
                    match layers.get(which) {
                        Some(layer) => layer.forward(&x, rows, &mut out[..rows * layer.outputs()], Output::Replace),
                        None => gemm(&x, &weights, rows, outputs, inputs, &mut out),
                    }
                    time.push(start.elapsed().as_secs_f64());
                    std::hint::black_box(&mut out);
                }
            }
            let [f32, bf16, int8, gemm] = time.map(|mut time| {
                time.sort_by(f64::total_cmp);
                (2 * rows * outputs * inputs) as f64 / time[time.len() / 2] / 1e9
            });
            let share = |speed: f64, which: usize| format!("{speed:>5.0} {:>4.0}%", 100.0 * speed / peaks[which]);
            println!(
                "{name:<20} {rows:>5}  {}  {}  {}  {gemm:>5.0} {:>5.2}x",
                share(f32, 0),
                share(bf16, 1),
                share(int8, 2),
                f32 / gemm
            );
            if rows == 1 {
                let read = |which: usize, speed: f64| {
                    let seconds = (2 * outputs * inputs) as f64 / speed / 1e9;
                    let speed = layers[which].bytes() as f64 / seconds / 1e9;
                    format!("{speed:>5.0} {:>4.0}%", 100.0 * speed / memory)
                };
                println!("{:>26}  {}  {}  {}", "weights, GB/s", read(0, f32), read(1, bf16), read(2, int8));
            }
        }
    }
}

/// A gated one gives half as many results, and computes SiLU and the product as well.
fn layer(weights: &[f32], outputs: usize, inputs: usize, precision: Precision, gated: bool) -> Linear {
    let mut layer = match gated {
        true => Linear::gated(outputs / 2, inputs, precision).unwrap(),
        false => Linear::zeros(outputs, inputs, precision).unwrap(),
    };
    let read = |output: usize, row: &mut [f32]| {
        row.copy_from_slice(&weights[output * inputs..][..inputs]);
        Ok::<(), Infallible>(())
    };
    layer.fill(read).unwrap();
    layer
}

/// The same product by the crate `gemm`, as the engine called it before it had kernels of its own.
fn gemm(x: &[f32], weights: &[f32], rows: usize, outputs: usize, inputs: usize, out: &mut [f32]) {
    assert!(x.len() == rows * inputs && weights.len() == outputs * inputs && out.len() == rows * outputs);
    let parallelism = match rayon::current_num_threads() {
        1 => gemm::Parallelism::None,
        threads => gemm::Parallelism::Rayon(threads),
    };
    // SAFETY: the sizes of the three matrices were checked, and `out` is borrowed mutably.
    unsafe {
        gemm::gemm(
            rows,
            outputs,
            inputs,
            out.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            x.as_ptr(),
            1,
            inputs as isize,
            weights.as_ptr(),
            inputs as isize,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
