//! Vectors of sentence-transformers, transformers and onnxruntime, text by text, for every test model
//! and for both implementations of the parts. Where the figures come from: `__test__/fixtures/README.md`.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use embedding_engine::backend::candle::{self, Dtype};
use embedding_engine::backend::head::Head;
use embedding_engine::backend::onnx::{self, OnnxOptions};
use embedding_engine::backend::{Backend, BackendInfo};
use embedding_engine::batch::PackedBatch;
use embedding_engine::cancel::Cancel;
use embedding_engine::hub::Located;
use embedding_engine::model::{BackendKind, ModelOverrides, ModelSpec, Task, describe};
use embedding_engine::tokenize::Tokenizer;
use serde_json::Value;

/// Largest difference of a component of two unit vectors, f32 against f32.
const TOLERANCE: f32 = 1e-5;
/// The same past 3,000 tokens.
const LONG_TOLERANCE: f32 = 2e-5;
/// Smallest cosine with bf16 weights.
const BF16_COSINE: f64 = 0.9995;
/// Smallest cosine with int8 weights.
const INT8_COSINE: f64 = 0.995;
/// The same where the other operand of each product is rounded to bf16 as well, as devices do it.
const BF16_PRODUCT_COSINE: f64 = 0.999;

fn spec_of(name: &str) -> ModelSpec {
    let root = common::model_dir(name);
    let located = Located { id: root.display().to_string(), revision: None, root };
    describe(&located, &ModelOverrides::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn models() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(common::fixtures().join("references"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|name| name != "tokenizers" && common::references(name)["cases"].is_array())
        .filter(|name| {
            let there = !name.contains("real-tokenizer") || common::fixtures().join("../../../shared/data").exists();
            if !there {
                println!("skipped: {name} needs ../shared/data");
            }
            there
        })
        .collect();
    names.sort();
    names
}

fn task_of(call: &Value) -> Task {
    call.get("task").map_or(Task::Document, |task| serde_json::from_value(task.clone()).unwrap())
}

struct Model {
    spec: ModelSpec,
    tokenizer: Tokenizer,
    head: Head,
}

impl Model {
    fn load(name: &str) -> Self {
        let spec = spec_of(name);
        Model { tokenizer: Tokenizer::load(&spec).unwrap(), head: Head::load(&spec.head).unwrap(), spec }
    }

    /// The unit vector of a case.
    fn vector(&self, backend: &dyn Backend, text: &str, call: &Value) -> (Vec<f32>, usize, bool) {
        let task = &self.spec.tasks[&task_of(call)];
        let prompt = match call.get("prompt") {
            None => task.prompt.as_deref(),
            Some(own) => own.as_str(),
        };
        let encoded = self.tokenizer.encode(text, prompt).unwrap();
        let mut batch = PackedBatch::new();
        batch.push(&encoded.ids, std::slice::from_ref(&encoded.pooled), task.task_id);
        let rows = backend.run(&batch, &Cancel::never()).unwrap();
        let (mut row, _) = self.head.apply(rows, backend.info().width).unwrap();
        if let Some(dimensions) = call.get("dimensions").and_then(Value::as_u64) {
            row.truncate(dimensions as usize);
        }
        row.truncate(self.spec.dimensions);
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        (row.iter().map(|x| (f64::from(*x) / norm) as f32).collect(), encoded.ids.len(), encoded.truncated())
    }
}

fn backends(spec: &ModelSpec, dtype: Dtype) -> Vec<(&'static str, Arc<dyn Backend>)> {
    let never = Cancel::never();
    match spec.backend {
        BackendKind::Candle => {
            let mut backends = vec![
                ("cpu", candle::load(spec, "cpu", dtype, &never).unwrap()),
                ("generic", candle::load_generic(spec, candle_core::Device::Cpu, "cpu", dtype, &never).unwrap()),
            ];
            if dtype == Dtype::Float32 {
                let library = Some(common::onnxruntime());
                let options = OnnxOptions { library, threads: 1, ..OnnxOptions::default() };
                backends.push(("written graph", onnx::load(spec, "cpu", &options).unwrap()));
                let options = OnnxOptions { plain_operators: true, ..options };
                backends.push(("written graph of plain operators", onnx::load(spec, "cpu", &options).unwrap()));
            }
            backends
        }
        BackendKind::Static => panic!("no static model is among the references"),
        BackendKind::Onnx => {
            let options = OnnxOptions { library: Some(common::onnxruntime()), threads: 1, ..OnnxOptions::default() };
            vec![("onnx", onnx::load(spec, "cpu", &options).unwrap())]
        }
    }
}

/// The length of a vector that the folder does not normalise is no part of its space; all are compared
/// as unit vectors.
fn expected(case: &Value) -> Vec<f32> {
    let vector = common::decode_f32(case["vector"].as_str().unwrap());
    let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect()
}

#[test]
fn vectors_of_the_references() {
    let texts = common::texts();
    let (mut compared, mut worst) = (0, 0f32);
    let mut by_implementation = BTreeMap::new();
    for name in models() {
        if name == "pool-concat" || name == "pool-list" {
            let root = common::model_dir(&name);
            let located = Located { id: name.clone(), revision: None, root };
            let error = describe(&located, &ModelOverrides::default()).unwrap_err();
            assert_eq!(error.code, embedding_engine::Code::ModelUnsupported, "{name}: {error}");
            continue;
        }
        let model = Model::load(&name);
        for (implementation, backend) in backends(&model.spec, Dtype::Float32) {
            for case in common::references(&name)["cases"].as_array().unwrap() {
                let what = format!("{name} on {implementation}: {} {}", case["text"], case["call"]);
                let tokens = case["tokens"].as_u64().unwrap() as usize;
                // What is there for devices is slow here: its long texts are compared up to here.
                let longest = match implementation {
                    "generic" => 4000,
                    "written graph of plain operators" => 1500,
                    // One model shows that its tables hold for long texts.
                    "written graph" if name != "qodo-tiny" => 4000,
                    _ => usize::MAX,
                };
                if tokens > longest {
                    continue;
                }
                let text = &texts[case["text"].as_str().unwrap()];
                let (found, count, truncated) = model.vector(backend.as_ref(), text, &case["call"]);
                assert_eq!((count, Some(truncated)), (tokens, case["truncated"].as_bool()), "{what}");
                let expected = expected(case);
                assert_eq!(found.len(), expected.len(), "{what}");
                let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let tolerance = if tokens > 3000 { LONG_TOLERANCE } else { TOLERANCE };
                assert!(error < tolerance, "{what}, {tokens} tokens: differs by {error:e}");
                worst = worst.max(error);
                let own = by_implementation.entry(implementation).or_insert(0f32);
                *own = own.max(error);
                compared += 1;
            }
        }
    }
    println!("{compared} vectors compared, largest difference {worst:e}; {by_implementation:?}");
    assert!(compared > 500);
}

#[test]
fn bf16_weights_point_the_same_way() {
    let texts = common::texts();
    for name in ["qodo-tiny", "qwen3-tiny", "qwen2-window", "bert-mean", "roberta-mean", "xlmr-e5"] {
        let model = Model::load(name);
        for (implementation, backend) in backends(&model.spec, Dtype::Bfloat16) {
            let BackendInfo { dtype, .. } = backend.info();
            assert_eq!(dtype, "bfloat16");
            for case in common::references(name)["cases"].as_array().unwrap() {
                if case["tokens"].as_u64().unwrap() > 1000 {
                    continue;
                }
                let text = &texts[case["text"].as_str().unwrap()];
                let (found, ..) = model.vector(backend.as_ref(), text, &case["call"]);
                let cosine: f64 = found.iter().zip(expected(case)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
                let least = if implementation == "generic" { BF16_PRODUCT_COSINE } else { BF16_COSINE };
                assert!(cosine > least, "{name} on {implementation}, {}: {cosine}", case["text"]);
            }
        }
    }
}

#[test]
fn int8_weights_point_nearly_the_same_way() {
    let texts = common::texts();
    for name in ["qodo-tiny", "qwen3-tiny", "qwen2-window", "bert-mean", "roberta-mean", "xlmr-e5"] {
        let model = Model::load(name);
        let backend = candle::load(&model.spec, "cpu", Dtype::Int8, &Cancel::never()).unwrap();
        let mut least: f64 = 1.0;
        for case in common::references(name)["cases"].as_array().unwrap() {
            if case["tokens"].as_u64().unwrap() > 1000 {
                continue;
            }
            let text = &texts[case["text"].as_str().unwrap()];
            let (found, ..) = model.vector(backend.as_ref(), text, &case["call"]);
            least = least.min(found.iter().zip(expected(case)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum());
        }
        println!("{name}: {least:.5}");
        assert!(least > INT8_COSINE, "{name}: {least}");
    }
}
