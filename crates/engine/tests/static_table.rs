//! Static models through the engine, against the mean computed in f64.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use embedding_engine::engine::{EmbedRequest, Engine, EngineOptions};
use embedding_engine::finish::Vectors;
use embedding_engine::model::{BackendKind, Pooling};
use embedding_engine::tokenize::words::WordTokenizer;
use embedding_engine::train::vocabulary;
use embedding_engine::{Cancel, Code};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;

const WIDTH: usize = 12;
const TEXTS: [&str; 4] = ["parseHTTPResponse(text)", "let retry_count = 3;", "größe 日本語 🦀", "a"];

/// Numbers that look like weights.
fn values(count: usize) -> Vec<f32> {
    let mut state = 7u64;
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next(&mut state)).collect()
}

fn write(folder: &Path, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        ((*name).to_owned(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(folder.join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
    let modules = json!([
        { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding" },
    ]);
    fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A folder with our own tokenizer and an int8 table; the table as f64.
fn int8_model(folder: &Path) -> (WordTokenizer, Vec<f64>) {
    let file = folder.join("tokenizer.json");
    fs::write(&file, vocabulary::learn(TEXTS.into_iter(), 300).unwrap()).unwrap();
    let tokenizer = WordTokenizer::load(&file, 300, 1000).unwrap().unwrap();
    let rows = tokenizer.size();
    let codes: Vec<i8> = values(rows * WIDTH).iter().map(|value| (value * 254.0) as i8).collect();
    let scales: Vec<f32> = values(rows).iter().map(|value| value.abs() + 0.01).collect();
    let table = codes.iter().enumerate().map(|(at, code)| f64::from(*code) * f64::from(scales[at / WIDTH])).collect();
    let bytes = codes.iter().map(|code| code.cast_unsigned()).collect();
    write(
        folder,
        &[
            ("embedding.weight", Dtype::I8, vec![rows, WIDTH], bytes),
            ("embedding.scale", Dtype::F32, vec![rows], floats(&scales)),
        ],
    );
    fs::write(folder.join("config.json"), json!({ "matryoshka_dimensions": [4, 12] }).to_string()).unwrap();
    (tokenizer, table)
}

fn naive(table: &[f64], ids: &[u32], width: usize) -> Vec<f64> {
    let mut sum = vec![0f64; WIDTH];
    for &id in ids {
        for (sum, value) in sum.iter_mut().zip(&table[id as usize * WIDTH..]) {
            *sum += value / ids.len() as f64;
        }
    }
    sum.truncate(width);
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    sum.iter().map(|x| x / norm).collect()
}

fn request(folder: &Path) -> EmbedRequest {
    EmbedRequest { model: Some(folder.display().to_string()), ..EmbedRequest::default() }
}

fn embed(engine: &Engine, request: EmbedRequest, texts: &[&str]) -> Vec<f32> {
    match engine
        .embed_blocking(request, texts.iter().copied().collect::<embedding_engine::engine::Texts>(), &Cancel::never())
        .unwrap()
        .vectors
    {
        Vectors::F32(vectors) => vectors,
        other => panic!("{other:?}"),
    }
}

fn check(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn an_int8_table_with_our_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let (tokenizer, table) = int8_model(folder.path());
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let ids = |text: &str| tokenizer.encode(text, None).unwrap().ids;
    let together = embed(&engine, request(folder.path()), &TEXTS);
    for (text, row) in TEXTS.iter().zip(together.chunks(WIDTH)) {
        check(row, &naive(&table, &ids(text), WIDTH));
        assert_eq!(embed(&engine, request(folder.path()), &[text]), row, "alone and in a batch, bit for bit");
        let cut = EmbedRequest { dimensions: Some(4), ..request(folder.path()) };
        check(&embed(&engine, cut, &[text]), &naive(&table, &ids(text), 4));
    }
    let output = engine.embed_blocking(request(folder.path()), ["a b"], &Cancel::never()).unwrap();
    assert_eq!((output.model.backend, output.model.dtype.as_str()), (BackendKind::Static, "int8"));
    assert_eq!((output.model.pooling, output.tokens_per_text[0]), (Pooling::Mean, 2));
}

#[test]
fn parts_of_a_document_are_pooled_from_their_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let (tokenizer, table) = int8_model(folder.path());
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let text = "let retry = parseText;";
    let chunks = vec![0..9, 9..text.len()];
    let rows = embed(&engine, EmbedRequest { chunks: Some(chunks.clone()), ..request(folder.path()) }, &[text]);
    for (chunk, row) in chunks.into_iter().zip(rows.chunks(WIDTH)) {
        check(row, &naive(&table, &tokenizer.encode(&text[chunk], None).unwrap().ids, WIDTH));
    }
}

/// Words as they stand, and `[CLS]` around them, which StaticEmbedding leaves out.
const WORDS: &str = r#"{"version":"1.0","added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Whitespace"},"decoder":null,"truncation":null,"padding":null,
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"c","type_id":0}},
    {"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
    "special_tokens":{"c":{"id":"c","ids":[2],"tokens":["c"]}}},
    "model":{"type":"WordLevel","vocab":{"a":0,"b":1,"c":2,"u":3},"unk_token":"u"}}"#;

#[test]
fn a_table_of_sentence_transformers() {
    for name in ["embedding.weight", "embeddings"] {
        let folder = tempfile::tempdir().unwrap();
        let values = values(4 * WIDTH);
        write(folder.path(), &[(name, Dtype::F32, vec![4, WIDTH], floats(&values))]);
        fs::write(folder.path().join("tokenizer.json"), WORDS).unwrap();
        let table: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        let engine = Engine::new(EngineOptions::default()).unwrap();
        check(&embed(&engine, request(folder.path()), &["b a b other"]), &naive(&table, &[1, 0, 1, 3], WIDTH));
    }
}

#[test]
fn what_a_static_model_cannot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    int8_model(folder.path());
    let model = folder.path().display().to_string();
    let code = |options: &str| {
        let engine = Engine::new(EngineOptions::from_json(options).unwrap()).unwrap();
        engine.embed_blocking(request(folder.path()), ["a"], &Cancel::never()).unwrap_err().code
    };
    let own = |overrides: serde_json::Value| json!({ "modelDefaults": { &model: overrides } }).to_string();
    assert_eq!(code(&own(json!({ "causal": true }))), Code::InvalidOption);
    assert_eq!(code(&own(json!({ "pooling": "cls" }))), Code::InvalidOption);
    assert_eq!(code(&own(json!({ "backend": "onnx" }))), Code::InvalidOption);
    assert_eq!(code(r#"{"dtype":"float32"}"#), Code::InvalidOption);
    assert_eq!(code(r#"{"device":"cuda"}"#), Code::DeviceUnavailable);

    let shared = tempfile::tempdir().unwrap();
    let rows = || floats(&values(4 * WIDTH));
    fs::write(shared.path().join("tokenizer.json"), WORDS).unwrap();
    let refused = |tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]| {
        write(shared.path(), tensors);
        let engine = Engine::new(EngineOptions::default()).unwrap();
        engine.embed_blocking(request(shared.path()), ["a"], &Cancel::never()).unwrap_err().code
    };
    let table = || ("embeddings", Dtype::F32, vec![4, WIDTH], rows());
    assert_eq!(refused(&[table(), ("mapping", Dtype::I64, vec![1], vec![0; 8])]), Code::ModelUnsupported);
    assert_eq!(refused(&[("other", Dtype::F32, vec![4, WIDTH], rows())]), Code::BadCheckpoint);
    assert_eq!(refused(&[("embeddings", Dtype::F32, vec![4 * WIDTH], rows())]), Code::BadCheckpoint);
    // Fewer rows than the tokenizer has tokens.
    assert_eq!(refused(&[("embeddings", Dtype::F32, vec![2, 2 * WIDTH], rows())]), Code::BadCheckpoint);
    let bytes = rows()[..4 * WIDTH].to_vec();
    assert_eq!(refused(&[("embedding.weight", Dtype::I8, vec![4, WIDTH], bytes)]), Code::BadCheckpoint);
}

/// The model of the package: tokens by the `tokenizers` library, means in f64. The tests of the public API compute the
/// same from the same files in JavaScript, so that vectors are equal wherever they are computed.
#[test]
fn the_bundled_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/bundled").canonicalize().unwrap();
    let library = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let codes = tensors.tensor("embedding.weight").unwrap();
    let scales = tensors.tensor("embedding.scale").unwrap();
    let width = codes.shape()[1];
    let scale = |id: usize| f64::from(f32::from_le_bytes(*scales.data()[4 * id..].first_chunk().unwrap()));
    let naive = |text: &str| {
        let mut sum = vec![0f64; width];
        for &id in library.encode(text, false).unwrap().get_ids() {
            let row = &codes.data()[id as usize * width..][..width];
            for (sum, code) in sum.iter_mut().zip(row) {
                *sum += scale(id as usize) * f64::from(code.cast_signed());
            }
        }
        let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        sum.iter().map(|x| x / norm).collect::<Vec<f64>>()
    };
    let engine = Engine::new(EngineOptions { bundled_model: Some(folder), ..EngineOptions::default() }).unwrap();
    let source = include_str!("static_table.rs");
    let texts: Vec<&str> = TEXTS.into_iter().chain(source.split("\n\n")).chain([source]).collect();
    let found = embed(&engine, EmbedRequest { model: Some("bundled".to_owned()), ..EmbedRequest::default() }, &texts);
    for (text, row) in texts.iter().zip(found.chunks(width)) {
        check(row, &naive(text));
    }
}
