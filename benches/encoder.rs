//! Tokens per second of the encoders on the CPU, by family, precision, length and batch.
//!
//! `cargo bench --bench encoder` runs on all cores, `RAYON_NUM_THREADS=1 cargo bench --bench encoder`
//! on one. Words after `--` select lines, such as `-- minilm`.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use embedding_engine::backend::Backend;
use embedding_engine::backend::candle::{self, Dtype};
use embedding_engine::cancel::Cancel;
use embedding_engine::model::ModelSpec;
use support::measure::{header, report};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |label: &str| words.is_empty() || words.iter().any(|word| label.contains(word));
    header("Encoders (qwen2: 896 wide, 24 layers, 0.716 GFLOP a token; minilm: 384 wide, 6 layers; random weights)");
    let never = Cancel::never();
    let generic =
        |spec: &ModelSpec| candle::load_generic(spec, candle_core::Device::Cpu, "cpu", Dtype::Float32, &never).unwrap();
    let run = |name: &str, load: &dyn Fn() -> Arc<dyn Backend>, batches: &[&str]| {
        let labels: Vec<String> = batches.iter().map(|batch| format!("{name} {batch}")).collect();
        if !labels.iter().any(|label| chosen(label)) {
            return;
        }
        let backend = load();
        for (label, batch) in labels.iter().zip(batches).filter(|(label, _)| chosen(label)) {
            let batch = support::batch(&lengths(batch));
            report(label, batch.tokens(), "tok", 3.0, || backend.run(&batch, &never).unwrap());
        }
    };
    let cpu = |spec: fn() -> ModelSpec, dtype| move || candle::load(&spec(), "cpu", dtype, &Cancel::never()).unwrap();
    run("minilm f32", &cpu(support::minilm, Dtype::Float32), &["1 x 16", "1 x 128", "8 x 128", "mixed"]);
    run("minilm bf16", &cpu(support::minilm, Dtype::Bfloat16), &["1 x 16", "1 x 128", "8 x 128", "mixed"]);
    run("minilm int8", &cpu(support::minilm, Dtype::Int8), &["1 x 16", "1 x 128", "8 x 128", "mixed"]);
    run("minilm f32, Candle's operations", &|| generic(&support::minilm()), &["8 x 128", "mixed"]);
    let all = ["1 x 16", "1 x 128", "8 x 128", "1 x 512", "mixed", "1 x 2048", "1 x 8192"];
    run("qwen2 f32", &cpu(support::qwen2_half_b, Dtype::Float32), &all);
    run("qwen2 bf16", &cpu(support::qwen2_half_b, Dtype::Bfloat16), &all);
    run("qwen2 int8", &cpu(support::qwen2_half_b, Dtype::Int8), &all);
    run("qwen2 f32, Candle's operations", &|| generic(&support::qwen2_half_b()), &["8 x 128", "mixed"]);
}

/// `sequences x tokens`, or 32 lengths from 20 to 400.
fn lengths(batch: &str) -> Vec<usize> {
    match batch.split_once(" x ") {
        Some((count, tokens)) => vec![tokens.parse().unwrap(); count.parse().unwrap()],
        None => support::mixed(),
    }
}
