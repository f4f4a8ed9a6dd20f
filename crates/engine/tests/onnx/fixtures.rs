//! Folders with ONNX graphs give the vectors of onnxruntime in Python: describe, tokenize, run, compare.

use std::ops::Range;

use embedding_engine::Cancel;
use embedding_engine::backend::onnx::load;
use embedding_engine::batch::PackedBatch;
use embedding_engine::hub::Located;
use embedding_engine::model::{ModelOverrides, ModelSpec, Task, describe};
use embedding_engine::tokenize::Tokenizer;
use serde_json::Value;

use crate::common;
use crate::support::options;

fn described(name: &str) -> ModelSpec {
    let root = common::model_dir(name).canonicalize().expect("made");
    let located = Located { id: root.display().to_string(), revision: None, root };
    describe(&located, &ModelOverrides::default()).expect("described")
}

/// What a case of the references asks for: the task, and the prompt in front of the text.
fn call<'a>(spec: &'a ModelSpec, case: &'a Value) -> (Option<i64>, Option<&'a str>) {
    let task = case["call"]["task"]
        .as_str()
        .map_or(Task::Document, |task| serde_json::from_value(Value::from(task)).expect("a task of the public API"));
    (spec.tasks[&task].task_id, case["prompt"].as_str().filter(|prompt| !prompt.is_empty()))
}

/// The largest difference of a row, cut to the dimensions of the reference (Matryoshka) and
/// normalised, from the reference.
fn difference(row: &[f32], expected: &Value) -> f64 {
    let expected = common::decode_f32(expected.as_str().expect("a vector"));
    assert!(expected.len() <= row.len());
    let row = &row[..expected.len()];
    let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let differences =
        row.iter().zip(expected).map(|(&ours, expected)| (f64::from(ours) / norm - f64::from(expected)).abs());
    differences.fold(0.0, |worst, x| if x.is_nan() { f64::INFINITY } else { worst.max(x) })
}

/// Runs the cases of a model, all in one batch and in batches of one, and gives the largest difference.
fn compare(name: &str, tolerance: f64) {
    let spec = described(name);
    let (references, texts) = (common::references(name), common::texts());
    let tokenizer = Tokenizer::load(&spec).expect("a tokenizer");
    let backend = load(&spec, "cpu", &options()).expect("loaded");
    let width = backend.info().width;
    let cases = references["cases"].as_array().expect("cases");

    let mut together = PackedBatch::new();
    let mut alone = Vec::new();
    for case in cases {
        let text = &texts[case["text"].as_str().expect("a name")];
        let (task_id, prompt) = call(&spec, case);
        let encoded = tokenizer.encode(text, prompt).expect("encoded");
        assert_eq!(encoded.ids.len() as u64, case["tokens"].as_u64().expect("a count"), "{name} {}", case["text"]);
        assert_eq!(task_id, case["task_id"].as_i64(), "{name} {}", case["text"]);
        together.push(&encoded.ids, std::slice::from_ref(&encoded.pooled), task_id);
        let mut batch = PackedBatch::new();
        batch.push(&encoded.ids, std::slice::from_ref(&encoded.pooled), task_id);
        alone.extend(backend.run(&batch, &Cancel::never()).expect("ran"));
    }
    let together = backend.run(&together, &Cancel::never()).expect("ran");
    let mut worst: f64 = 0.0;
    for (at, case) in cases.iter().enumerate() {
        for rows in [&together, &alone] {
            let difference = difference(&rows[at * width..(at + 1) * width], &case["vector"]);
            assert!(difference < tolerance, "{name} {} {}: {difference}", case["text"], case["call"]);
            worst = worst.max(difference);
        }
    }
    println!("{name}: {} cases, largest difference {worst:.1e}", cases.len());
}

#[test]
fn bert() {
    compare("onnx-bert", 1e-5);
}

#[test]
fn pooled_by_the_graph() {
    compare("onnx-pooled", 1e-5);
}

#[test]
fn positions_as_int32() {
    compare("onnx-positions", 1e-5);
}

#[test]
fn output_in_half_precision() {
    // Half precision has 11 bits: rounding the token rows moves a unit vector by about 1e-4.
    compare("onnx-f16-output", 2e-4);
}

#[test]
fn jina_with_its_tasks() {
    compare("onnx-jina", 1e-5);
}

#[test]
fn jina_late_chunking() {
    let spec = described("onnx-jina");
    let references = common::references("onnx-jina");
    let tokenizer = Tokenizer::load(&spec).expect("a tokenizer");
    let backend = load(&spec, "cpu", &options()).expect("loaded");
    let width = backend.info().width;
    for document in references["late"].as_array().expect("documents") {
        let text = document["document"].as_str().expect("a text");
        let (task_id, prompt) = call(&spec, document);
        let chunks = document["chunks"].as_array().expect("chunks");
        let ranges: Vec<Range<usize>> =
            chunks.iter().map(|chunk| byte(text, &chunk["start"])..byte(text, &chunk["end"])).collect();
        let (encoded, spans) = tokenizer.encode_chunks(text, prompt, &ranges).expect("encoded");
        for (span, chunk) in spans.iter().zip(chunks) {
            assert_eq!(span.len() as u64, chunk["tokens"].as_u64().expect("a count"));
        }
        let mut batch = PackedBatch::new();
        batch.push(&encoded.ids, &spans, task_id);
        let rows = backend.run(&batch, &Cancel::never()).expect("ran");
        for (row, chunk) in rows.chunks_exact(width).zip(chunks) {
            assert!(difference(row, &chunk["vector"]) < 1e-5);
        }
    }
}

/// The byte at an offset that counts as JavaScript does, in UTF-16 units.
fn byte(text: &str, offset: &Value) -> usize {
    let offset = offset.as_u64().expect("an offset") as usize;
    let mut units = 0;
    text.char_indices()
        .find(|(_, c)| {
            let here = units;
            units += c.len_utf16();
            here >= offset
        })
        .map_or(text.len(), |(byte, _)| byte)
}
