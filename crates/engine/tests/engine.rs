//! The engine over real model folders: what its own tests do over a dummy, where the model matters.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use embedding_engine::backend::candle::Dtype;
use embedding_engine::engine::{CountRequest, EmbedOutput, EmbedRequest, Engine, EngineOptions, PreloadRequest};
use embedding_engine::finish::Vectors;
use embedding_engine::model::{BackendKind, ModelOverrides};
use embedding_engine::{Cancel, Code, Error};

const TOLERANCE: f32 = 1e-5;

fn options() -> EngineOptions {
    EngineOptions {
        onnx_runtime: Some(common::onnxruntime()),
        threads: Some(2),
        dtype: Dtype::Float32,
        ..EngineOptions::default()
    }
}

fn engine(options: EngineOptions) -> Engine {
    Engine::new(options).unwrap()
}

fn request(model: &str) -> EmbedRequest {
    EmbedRequest { model: Some(common::model_dir(model).display().to_string()), ..EmbedRequest::default() }
}

fn embed(engine: &Engine, request: EmbedRequest, texts: &[String]) -> Result<EmbedOutput, Error> {
    engine.embed_blocking(request, texts.to_vec(), &Cancel::never())
}

fn rows(output: &EmbedOutput) -> Vec<Vec<f32>> {
    let Vectors::F32(values) = &output.vectors else { panic!("{:?}", output.vectors) };
    values.chunks(output.dimensions).map(<[f32]>::to_vec).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The cases of a model without options and of moderate length: text, vector, tokens.
fn cases(model: &str) -> Vec<(String, Vec<f32>, u32)> {
    let texts = common::texts();
    let references = common::references(model);
    let plain = references["cases"].as_array().unwrap().iter().filter(|case| {
        case["call"].as_object().is_none_or(serde_json::Map::is_empty) && case["tokens"].as_u64().unwrap() <= 700
    });
    plain
        .map(|case| {
            let text = texts[case["text"].as_str().unwrap()].clone();
            let vector = common::decode_f32(case["vector"].as_str().unwrap());
            (text, vector, case["tokens"].as_u64().unwrap() as u32)
        })
        .collect()
}

#[test]
fn vectors_of_a_whole_call_are_those_of_the_reference() {
    let engine = engine(options());
    for model in ["qodo-tiny", "qwen3-tiny", "bert-mean", "xlmr-e5", "onnx-bert", "onnx-jina"] {
        let cases = cases(model);
        assert!(cases.len() > 5, "{model} has {} cases", cases.len());
        let texts: Vec<String> = cases.iter().map(|(text, ..)| text.clone()).collect();
        let output = embed(&engine, request(model), &texts).unwrap();
        for ((row, (text, vector, tokens)), counted) in rows(&output).iter().zip(&cases).zip(&output.tokens_per_text) {
            let found = distance(row, vector);
            assert!(found <= TOLERANCE, "{model}: {found} for {:?}", text.chars().take(40).collect::<String>());
            assert_eq!(counted, tokens, "{model}");
        }
    }
    assert_eq!(engine.loaded_models().len(), 6);
}

#[test]
fn calls_at_the_same_time_do_not_change_each_other() {
    let engine = engine(EngineOptions { max_tokens_per_batch: Some(256), ..options() });
    let cases = cases("bert-mean");
    let (sender, results) = channel();
    for call in 0..24 {
        let texts: Vec<String> =
            cases.iter().cycle().skip(call).take(1 + call % 9).map(|(text, ..)| text.clone()).collect();
        let sender = sender.clone();
        engine.embed(request("bert-mean"), texts, &Cancel::new(), None, move |result| {
            sender.send((call, result)).unwrap();
        });
    }
    drop(sender);
    for (call, result) in results {
        for (row, (_, vector, _)) in rows(&result.unwrap()).iter().zip(cases.iter().cycle().skip(call)) {
            assert!(distance(row, vector) <= TOLERANCE, "call {call}");
        }
    }
}

#[test]
fn a_space_is_that_of_the_content() {
    let engine = engine(options());
    let space = |request: EmbedRequest| embed(&engine, request, &["text".to_owned()]).unwrap().space;
    let plain = space(request("bert-mean"));
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&common::model_dir("bert-mean"), copy.path());
    let elsewhere = EmbedRequest { model: Some(copy.path().display().to_string()), ..EmbedRequest::default() };
    assert_eq!(space(elsewhere), plain);
    assert_ne!(space(EmbedRequest { normalize: false, ..request("bert-mean") }), plain);
    assert_ne!(space(request("bert-cls")), plain);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn what_weights_take_is_known_before_they_are_loaded() {
    // bf16 on disk and f32 in memory; f32; a graph.
    for model in ["qwen3-tiny", "bert-mean", "onnx-bert"] {
        let preload = |memory_limit: Option<u64>| {
            let engine = engine(EngineOptions { memory_limit, ..options() });
            engine.preload_blocking(PreloadRequest { model: request(model).model }, &Cancel::never())
        };
        let error = preload(Some(1)).unwrap_err();
        assert_eq!(error.code, Code::OutOfMemory);
        let needed = error.details["needed"].as_u64().unwrap();
        assert!(preload(Some(needed)).is_ok(), "{model}: {needed}");
        assert_eq!(preload(Some(needed - 1)).unwrap_err().code, Code::OutOfMemory);
        let weights: u64 = std::fs::read_dir(common::model_dir(model))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
            .map(|path| path.metadata().unwrap().len())
            .sum();
        // The files have headers as well.
        assert!(needed + needed / 50 >= weights, "{model}: {needed} of {weights}");
    }
}

#[test]
fn what_is_known_before_is_by_the_number_format_that_will_be_used() {
    let preload = |model: &str, dtype, memory_limit| {
        let engine = engine(EngineOptions { dtype, memory_limit, ..options() });
        engine.preload_blocking(PreloadRequest { model: request(model).model }, &Cancel::never())
    };
    let needed = |dtype| preload("qwen3-tiny", dtype, Some(1)).unwrap_err().details["needed"].as_u64().unwrap();
    let used = match preload("qwen3-tiny", Dtype::Auto, None).unwrap().dtype.as_str() {
        "bfloat16" => Dtype::Bfloat16,
        "float32" => Dtype::Float32,
        other => panic!("auto is {other}"),
    };
    assert_eq!(needed(Dtype::Auto), needed(used));
    assert_eq!([needed(Dtype::Bfloat16), needed(Dtype::Int8)].map(|bytes| needed(Dtype::Float32) / bytes), [2, 4]);
    assert!(preload("qwen3-tiny", Dtype::Auto, Some(needed(used))).is_ok());
}

#[test]
fn a_device_that_cannot_be_used_is_told_with_every_attempt() {
    for model in ["bert-mean", "onnx-bert"] {
        let engine = engine(EngineOptions { device: Some("migraphx".to_owned()), ..options() });
        let error = embed(&engine, request(model), &["text".to_owned()]).unwrap_err();
        assert_eq!(error.code, Code::DeviceUnavailable, "{model}: {error}");
        assert_eq!(error.details["attempts"][0]["device"], "migraphx");
        assert!(error.details["attempts"][0]["reason"].as_str().unwrap().len() > 20);
    }
    let wrong = EngineOptions { device: Some("gpu".to_owned()), ..options() };
    assert_eq!(Engine::new(wrong).err().unwrap().code, Code::InvalidOption);
}

#[test]
fn cancelling_and_disposing_stop_a_real_model_soon() {
    let engine = engine(options());
    let texts: Vec<String> = (0..4000).map(|number| format!("{number} {}", "word ".repeat(200))).collect();
    for model in ["qwen3-tiny", "onnx-bert"] {
        engine.preload_blocking(PreloadRequest { model: request(model).model }, &Cancel::never()).unwrap();
        let (sender, results) = channel();
        let cancel = Cancel::new();
        engine.embed(request(model), texts.clone(), &cancel, None, move |result| sender.send(result).unwrap());
        std::thread::sleep(Duration::from_millis(700));
        let begun = Instant::now();
        cancel.cancel();
        assert_eq!(results.recv().unwrap().unwrap_err().code, Code::Aborted, "{model}");
        assert!(begun.elapsed() < Duration::from_millis(100), "{model}: {:?}", begun.elapsed());
    }
    let (sender, results) = channel();
    engine.embed(request("qwen3-tiny"), texts, &Cancel::new(), None, move |result| sender.send(result).unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    assert!(engine.dispose_blocking(Some(Duration::from_secs(20))));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(results.recv().unwrap().unwrap_err().code, Code::Disposed);
}

#[test]
fn counting_tells_of_a_text_what_embedding_reads() {
    let engine = engine(options());
    let cases = cases("qodo-tiny");
    let texts: Vec<String> = cases.iter().map(|(text, ..)| text.clone()).collect();
    let request = CountRequest { model: request("qodo-tiny").model, ..CountRequest::default() };
    let counts = engine.count_tokens_blocking(request, texts, &Cancel::never()).unwrap();
    assert_eq!(counts, cases.iter().map(|&(.., tokens)| tokens).collect::<Vec<_>>());
    assert!(engine.loaded_models().is_empty());
}

#[test]
fn a_folder_of_safetensors_runs_in_onnx_runtime_on_request() {
    for model in ["qwen3-tiny", "xlmr-e5"] {
        let name = common::model_dir(model).display().to_string();
        let overrides = ModelOverrides { backend: Some(BackendKind::Onnx), ..ModelOverrides::default() };
        let asked = engine(EngineOptions { model_defaults: [(name, overrides)].into(), ..options() });
        let own = engine(options());
        let texts: Vec<String> = cases(model).into_iter().map(|(text, ..)| text).collect();
        let graph = embed(&asked, request(model), &texts).unwrap();
        let candle = embed(&own, request(model), &texts).unwrap();
        assert_eq!((graph.model.backend, candle.model.backend), (BackendKind::Onnx, BackendKind::Candle));
        assert_eq!((graph.model.device.as_str(), graph.model.dtype.as_str()), ("cpu", "float32"));
        // The same weights: what one indexed the other may search.
        assert_eq!(graph.space, candle.space);
        for (a, b) in rows(&graph).iter().zip(rows(&candle)) {
            assert!(distance(a, &b) < TOLERANCE);
        }
    }
}

#[test]
fn devices_of_onnx_runtime_are_tried_for_every_model() {
    for device in ["tensorrt", "migraphx", "directml", "coreml"] {
        let there = engine(EngineOptions { device: Some(device.to_owned()), ..options() });
        match embed(&there, request("qwen3-tiny"), &["a text".to_owned()]) {
            Ok(output) => {
                assert_eq!(output.model.backend, BackendKind::Onnx);
                assert!(output.model.device.starts_with(device));
            }
            Err(error) => {
                assert_eq!(error.code, Code::DeviceUnavailable, "{error}");
                // ONNX Runtime's reason, not that our own encoders lack the device.
                let reason = error.details["attempts"][0]["reason"].as_str().unwrap();
                assert!(reason.contains("ExecutionProvider") || reason.contains("load library"), "{reason}");
            }
        }
    }
    let name = common::model_dir("qwen3-tiny").display().to_string();
    let overrides = ModelOverrides { backend: Some(BackendKind::Candle), ..ModelOverrides::default() };
    let own =
        EngineOptions { device: Some("tensorrt".to_owned()), model_defaults: [(name, overrides)].into(), ..options() };
    let error = embed(&engine(own), request("qwen3-tiny"), &["a text".to_owned()]).map(|_| ()).unwrap_err();
    assert!(error.code == Code::DeviceUnavailable && error.message.contains("no encoders"), "{error}");
}
