//! What stands around the encoders: tokenizing, planning batches, loading; and the bundled model, which has none.
//!
//! `cargo bench --bench pipeline`. Tokenizing uses the real Qwen2.5 tokenizer of the test models.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use embedding_engine::backend::candle::{self, Dtype};
use embedding_engine::backend::static_table;
use embedding_engine::batch::{PackedBatch, plan_shares};
use embedding_engine::cancel::Cancel;
use embedding_engine::hub::Located;
use embedding_engine::model::{ModelOverrides, content_digest, describe};
use embedding_engine::tokenize::Tokenizer;
use embedding_engine::tokenize::words::WordTokenizer;
use support::measure::{header, report};

fn main() {
    tokenizing();
    planning();
    loading();
    bundled();
}

fn tokenizing() {
    header("Tokenizing on one thread (Qwen2.5's tokenizer)");
    let folder = support::test_model("qodo-tiny");
    let located = Located { id: "qodo-tiny".to_owned(), revision: None, root: folder };
    let tokenizer = Tokenizer::load(&describe(&located, &ModelOverrides::default()).unwrap()).unwrap();
    let source = include_str!("../crates/engine/src/backend/candle/cpu/parts.rs");
    let functions: Vec<&str> = source.split("\n    fn ").collect();
    let count = |text: &str| tokenizer.encode(text, None).unwrap().ids.len();
    let tokens = functions.iter().map(|text| count(text)).sum();
    report(&format!("{} functions of Rust", functions.len()), tokens, "tok", 2.0, || {
        functions.iter().map(|text| count(text)).sum::<usize>()
    });
    let line: String = source.split_whitespace().collect::<Vec<_>>().concat().chars().cycle().take(200_000).collect();
    report("one minified line of 200 kB", tokenizer.encode(&line, None).unwrap().untruncated, "tok", 2.0, || {
        count(&line)
    });
}

fn planning() {
    header("Planning batches of 2,048 tokens");
    let calls: Vec<Vec<u32>> = (0..8).map(|call| (0..2_000).map(|i| 20 + (i * 7919 + call) % 381).collect()).collect();
    report("8 calls of 2,000 texts, until all are run", 16_000, "texts", 2.0, || {
        let mut next = vec![0; calls.len()];
        loop {
            let waiting: Vec<&[u32]> = calls.iter().zip(&next).map(|(call, next)| &call[*next..]).collect();
            let shares = plan_shares(2_048, &waiting);
            if shares.is_empty() {
                return next;
            }
            for share in shares {
                next[share.call] += share.sequences;
            }
        }
    });
}

fn loading() {
    header("Loading (weights in the page cache)");
    let spec = support::qwen2_half_b();
    let bytes = std::fs::metadata(&spec.files.weights[0]).unwrap().len() as usize / 1_000_000;
    let never = Cancel::never();
    let load = |dtype| candle::load(&spec, "cpu", dtype, &never).unwrap();
    report("qwen2 as f32", bytes, "MB", 2.0, || load(Dtype::Float32));
    report("qwen2 as bf16", bytes, "MB", 2.0, || load(Dtype::Bfloat16));
    let mut named = spec.clone();
    // The digest covers the tokenizer too, which this model has not.
    named.files.tokenizer = support::test_model("qodo-tiny").join("tokenizer.json");
    report("digest of its content", bytes, "MB", 2.0, || content_digest(&named, None, &never).unwrap());
}

fn bundled() {
    header("The bundled model, on one thread");
    let folder = support::bundled_model();
    let located = Located { id: "bundled".to_owned(), revision: None, root: folder };
    let describe = || describe(&located, &ModelOverrides::default()).unwrap();
    let spec = describe();
    let tokenizer = || WordTokenizer::load(&spec.files.tokenizer, 1 << 20, spec.max_tokens).unwrap().unwrap();
    let load = || static_table::load(&spec, "cpu").unwrap();
    report("description, tokenizer and table, loaded", 1, "loads", 2.0, || (describe(), tokenizer(), load()));

    let (words, backend) = (tokenizer(), load());
    let source = include_str!("../crates/engine/src/backend/candle/cpu/parts.rs");
    let functions: Vec<&str> = source.split("\n    fn ").collect();
    let ids = |text: &str| words.encode(text, None).unwrap().ids;
    let texts: Vec<Vec<u32>> = functions.iter().map(|text| ids(text)).collect();
    let tokens: usize = texts.iter().map(Vec::len).sum();
    report(&format!("tokenizing {} functions of Rust", functions.len()), tokens, "tok", 2.0, || {
        functions.iter().map(|text| ids(text).len()).sum::<usize>()
    });
    let mut batch = PackedBatch::new();
    for ids in &texts {
        batch.push(ids, std::slice::from_ref(&(0..ids.len() as u32)), None);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let never = Cancel::never();
    report("means of their rows", tokens, "tok", 2.0, || pool.install(|| backend.run(&batch, &never).unwrap()));
    report("both", tokens, "tok", 2.0, || {
        let mut batch = PackedBatch::new();
        for text in &functions {
            let ids = ids(text);
            batch.push(&ids, std::slice::from_ref(&(0..ids.len() as u32)), None);
        }
        pool.install(|| backend.run(&batch, &never).unwrap())
    });
}
