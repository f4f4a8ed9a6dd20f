//! Memory does not grow with the number of runs, nor stay after a long text.

#![cfg(target_os = "linux")]

use embedding_engine::model::Pooling;

use crate::encoder::Encoder;
use crate::support::{Loaded, text, texts};

/// Resident memory of this process in MB.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages: f64 = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096.0 / 1e6
}

/// Other tests run in this process at the same time; so this is run alone to get figures (see the
/// `ignore` note), and the bound here is loose.
#[test]
#[ignore = "measures the process: run alone with `cargo test --test onnx memory -- --ignored --nocapture`"]
fn runs_of_varying_lengths() {
    let loaded = Loaded::new(Encoder { width: 256, layers: 12, ..Encoder::default() }, Pooling::Mean);
    let start = resident();
    let lengths = |round: usize| (0..8).map(|at| 1 + (round * 37 + at * 101) % 500).collect::<Vec<_>>();
    for round in 0..20 {
        loaded.run(&texts(&lengths(round)));
    }
    let warm = resident();
    for round in 20..220 {
        loaded.run(&texts(&lengths(round)));
    }
    let after = resident();
    loaded.run(&[text(60_000, 1)]);
    let long = resident();
    loaded.run(&texts(&lengths(3)));
    let end = resident();
    println!(
        "MB: loaded {start:.1}, after 20 runs {warm:.1}, after 220 {after:.1}, after 60,000 tokens {long:.1}, then {end:.1}"
    );
    assert!(after - warm < 8.0, "grew from {warm} to {after} MB");
    assert!(end - after < 8.0, "kept {} MB of a long text", end - after);
}
