//! Attention: billions of operations a second, and the share of this core's peak, from 32 to 32,768 tokens.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p embedding-engine-kernels --bench attention` measures one core. Only what
//! a causal mask lets through is counted: 2 · 2 · heads · head width operations for each pair of query and key.
//! Peaks are those of products; the exponentials of the softmax come on top. Words after `--` select shapes.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/measure.rs"]
#[expect(dead_code)]
mod measure;
#[path = "support/peak.rs"]
#[expect(dead_code)]
mod peak;

use std::time::Instant;

use embedding_engine_kernels::{Attention, Isa, Precision, Workspace};

/// Name, heads, heads of keys and values, width of a head, whether causal.
const SHAPES: [(&str, usize, usize, usize, bool); 3] =
    [("qwen2-0.5b", 14, 2, 64, true), ("qwen2-1.5b", 12, 2, 128, true), ("minilm", 12, 12, 32, false)];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let threads = rayon::current_num_threads();
    measure::header("Attention");
    let peaks = [peak::f32(), peak::bf16().or(peak::f32())].map(|peak| peak.unwrap_or(f64::NAN) * threads as f64);
    println!("peak of {threads} cores: {:.0} GOP/s in f32, {:.0} in bf16\n", peaks[0], peaks[1]);
    println!(
        "{:<12} {:>6}  {:>9} {:>6} {:>5}  {:>9} {:>6}",
        "shape", "tokens", "f32 ms", "GOP/s", "", "bf16 v ms", "GOP/s"
    );
    for (name, heads, kv_heads, head_dim, causal) in SHAPES {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
            continue;
        }
        for tokens in [32, 128, 512, 2048, 8192, 32768] {
            let shape = Attention { heads, kv_heads, head_dim, causal, window: None, values: Precision::F32 };
            let width = (heads + 2 * kv_heads) * head_dim;
            let qkv: Vec<f32> = (0..tokens * width).map(|at| (at * 7919 % 1013) as f32 / 1013.0 - 0.5).collect();
            let mut out = vec![0f32; tokens * heads * head_dim];
            let mut workspace = Workspace::default();
            let mut time = [const { Vec::new() }; 2];
            let begin = Instant::now();
            while time[0].len() < 3 || (begin.elapsed().as_secs_f64() < 0.5 && time[0].len() < 1000) {
                for (values, time) in [Precision::F32, Precision::Bf16].into_iter().zip(&mut time) {
                    let shape = Attention { values, ..shape };
                    let start = Instant::now();
                    shape.forward(&qkv, &[0, tokens as u32], &mut out, Isa::best(), &mut workspace, &|| false).unwrap();
                    time.push(start.elapsed().as_secs_f64());
                    std::hint::black_box(&mut out);
                }
                // Long ones take long enough to be measured once.
                if begin.elapsed().as_secs_f64() > 8.0 {
                    break;
                }
            }
            let pairs = if causal { tokens * (tokens + 1) / 2 } else { tokens * tokens };
            let [f32, bf16] = time.map(|mut time| {
                time.sort_by(f64::total_cmp);
                time[time.len() / 2]
            });
            let speed = |seconds: f64| (4 * heads * head_dim * pairs) as f64 / seconds / 1e9;
            println!(
                "{name:<12} {tokens:>6}  {:>9.3} {:>6.0} {:>4.0}%  {:>9.3} {:>6.0}",
                f32 * 1e3,
                speed(f32),
                100.0 * speed(f32) / peaks[0],
                bf16 * 1e3,
                speed(bf16),
            );
        }
    }
}
