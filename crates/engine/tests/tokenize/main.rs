//! Tokenizing of the test models: expected ids, settings, truncation, chunks, and what holds of any text.

#![allow(clippy::unwrap_used, clippy::reversed_empty_ranges)]

#[path = "../common/mod.rs"]
mod common;
mod references;

use std::path::Path;

use embedding_engine::hub::{HubConfig, locate};
use embedding_engine::model::{EndToken, ModelOverrides, ModelSpec, describe};
use embedding_engine::tokenize::Tokenizer;
use embedding_engine::{Code, Error};
use proptest::prelude::*;
use serde_json::Value;

fn spec_of(folder: &Path, overrides: &ModelOverrides) -> ModelSpec {
    let located = locate(&folder.display().to_string(), &HubConfig::default()).unwrap();
    describe(&located, overrides).unwrap()
}

fn load(name: &str, overrides: &ModelOverrides) -> (ModelSpec, Tokenizer) {
    let spec = spec_of(&common::model_dir(name), overrides);
    let tokenizer = Tokenizer::load(&spec).unwrap();
    (spec, tokenizer)
}

fn limited(max_tokens: usize) -> ModelOverrides {
    ModelOverrides { max_tokens: Some(max_tokens), ..ModelOverrides::default() }
}

/// Two models have the real XLM-R tokenizer, which lies in ../shared and not in the repository.
fn available(name: &str) -> bool {
    let fixture = common::fixtures().join("models").join(name).join("fixture.json");
    // Other references are of no model, or being made.
    let Ok(fixture) = std::fs::read_to_string(fixture) else { return false };
    let fixture: Value = serde_json::from_str(&fixture).unwrap();
    let shared = common::fixtures().join("../../../shared/data/xlmr-tokenizer.json.gz").exists();
    fixture["group"] != "bench" && (fixture["tokenizer"] != "xlmr" || shared)
}

#[test]
fn real_qwen_ids() {
    let (spec, tokenizer) = load("qodo-tiny", &ModelOverrides::default());
    assert_eq!(spec.end_token, EndToken::Append(151_643));
    let cases: [(&str, &[u32]); 3] = [
        ("Hello, world!", &[9707, 11, 1879, 0]),
        ("def add(a, b):\n    return a + b", &[750, 912, 2877, 11, 293, 982, 262, 470, 264, 488, 293]),
        ("How to define a function in Java", &[4340, 311, 6979, 264, 729, 304, 7943]),
    ];
    for (text, content) in cases {
        let encoded = tokenizer.encode(text, None).unwrap();
        assert_eq!(encoded.ids, [content, &[151_643]].concat(), "{text}");
        assert_eq!(encoded.untruncated, content.len() + 1);
        assert_eq!(encoded.pooled, 0..content.len() as u32 + 1);
    }
    // The end token is not put twice.
    assert_eq!(tokenizer.encode("Hello, world!<|endoftext|>", None).unwrap().ids, [9707, 11, 1879, 0, 151_643]);
    assert_eq!(tokenizer.encode("<|endoftext|>!", None).unwrap().ids, [151_643, 0, 151_643]);
}

/// Ids of the published XLM-R tokenizer; the file lies in ../shared and not in the repository.
#[test]
fn real_xlmr_ids() {
    let name = "onnx-jina-real-tokenizer";
    if !available(name) {
        eprintln!("skipped: ../shared/data/xlmr-tokenizer.json.gz is missing");
        return;
    }
    let (_, tokenizer) = load(name, &ModelOverrides::default());
    assert_eq!(tokenizer.encode("Hello world", None).unwrap().ids, [0, 35378, 8999, 2]);
    let ids = [0, 77168, 70, 35011, 152131, 18, 5, 2];
    assert_eq!(tokenizer.encode("Follow the white rabbit.", None).unwrap().ids, ids);
}

#[test]
fn truncation_keeps_the_end() {
    let (_, whole) = load("qodo-tiny", &ModelOverrides::default());
    let (_, cut) = load("qodo-tiny", &limited(4));
    let text = "Hello, world!";
    for (text, ids, untruncated) in [
        (text, vec![9707, 11, 1879, 151_643], 5),
        ("Hello, world", vec![9707, 11, 1879, 151_643], 4),
        ("Hello,<|endoftext|>", vec![9707, 11, 151_643], 3),
        ("Hello, world<|endoftext|>", vec![9707, 11, 1879, 151_643], 4),
        ("Hello,<|endoftext|> world", vec![9707, 11, 151_643], 5),
    ] {
        let encoded = cut.encode(text, None).unwrap();
        assert_eq!(encoded.ids, ids, "{text}");
        assert_eq!(encoded.untruncated, untruncated, "{text}");
        assert_eq!(encoded.untruncated, whole.encode(text, None).unwrap().ids.len(), "{text}");
    }
    let (_, bert) = load("bert-mean", &limited(4));
    let encoded = bert.encode("one two three four five six seven", None).unwrap();
    assert_eq!((encoded.ids.len(), encoded.ids[0], encoded.ids[3]), (4, 2, 3));
    assert!(encoded.truncated());

    let spec = spec_of(&common::model_dir("bert-mean"), &limited(2));
    assert_eq!(Tokenizer::load(&spec).unwrap_err().code, Code::InvalidOption);
}

/// A JSON file of a folder, and what to change in it.
type Patch<'a> = (&'a str, &'a dyn Fn(&mut Value));

/// A copy of a made model with some of its files replaced.
fn patched(name: &str, files: &[Patch<'_>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&common::model_dir(name), folder.path());
    for (file, change) in files {
        let path = folder.path().join(file);
        let mut value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, value.to_string()).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::hard_link(&path, &target).unwrap() }
    }
}

fn load_patched(name: &str, files: &[Patch<'_>]) -> Result<Tokenizer, Error> {
    let folder = patched(name, files);
    Tokenizer::load(&spec_of(folder.path(), &ModelOverrides::default()))
}

#[test]
fn settings_beside_the_tokenizer() {
    let ids = |tokenizer: &Tokenizer, text: &str| tokenizer.encode(text, None).unwrap().ids;
    let (_, plain) = load("bert-mean", &ModelOverrides::default());
    let lower = ids(&plain, "the bridge");
    assert_eq!(ids(&plain, "The BRIDGE"), lower);

    // BERT: tokenizer_config.json decides on lower case, and its default is true.
    let cased =
        load_patched("bert-mean", &[("tokenizer_config.json", &|c| c["do_lower_case"] = false.into())]).unwrap();
    assert_ne!(ids(&cased, "The BRIDGE"), lower);
    let default = load_patched(
        "bert-mean",
        &[
            ("tokenizer_config.json", &|c| drop(c.as_object_mut().unwrap().remove("do_lower_case"))),
            ("tokenizer.json", &|t| t["normalizer"]["lowercase"] = false.into()),
        ],
    )
    .unwrap();
    assert_eq!(ids(&default, "The BRIDGE"), lower);

    // do_lower_case of sentence_bert_config.json, for any tokenizer; added tokens are matched before.
    let st_lower =
        load_patched("qodo-tiny", &[("sentence_bert_config.json", &|c| c["do_lower_case"] = true.into())]).unwrap();
    assert_eq!(ids(&st_lower, "HELLO, World!<|im_end|>x"), ids(&st_lower, "hello, world!<|im_end|>x"));
    assert!(ids(&st_lower, "HELLO<|im_end|>x").contains(&151_645));

    // Settings of truncation and padding inside tokenizer.json do not count, but its side does.
    let settings: &dyn Fn(&mut Value) = &|t| {
        t["truncation"] =
            serde_json::json!({"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
        t["padding"] = serde_json::json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
                                          "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    };
    let text = "one two three four five six seven eight";
    let folder = patched("bert-mean", &[("tokenizer.json", settings)]);
    let whole = Tokenizer::load(&spec_of(folder.path(), &ModelOverrides::default())).unwrap();
    assert_eq!(ids(&whole, text), ids(&plain, text));
    let left = Tokenizer::load(&spec_of(folder.path(), &limited(5))).unwrap();
    let all = ids(&plain, text);
    assert_eq!(ids(&left, text), [&all[..1], &all[all.len() - 4..]].concat());
    let folder = patched(
        "bert-mean",
        &[("tokenizer.json", settings), ("tokenizer_config.json", &|c| c["truncation_side"] = "right".into())],
    );
    let right = Tokenizer::load(&spec_of(folder.path(), &limited(5))).unwrap();
    assert_eq!(ids(&right, text), [&all[..4], &all[all.len() - 1..]].concat());

    // split_special_tokens: what looks like a special token is text.
    let split =
        load_patched("qodo-tiny", &[("tokenizer_config.json", &|c| c["split_special_tokens"] = true.into())]).unwrap();
    assert!(!ids(&split, "a<|im_end|>b").contains(&151_645));
}

#[test]
fn ids_beyond_the_table() {
    // An added token beyond the table is refused in the text that has it, and only there.
    let more: &dyn Fn(&mut Value) = &|t| {
        let token = serde_json::json!({"id": 151_646, "content": "<tool>", "single_word": false, "lstrip": false,
                                       "rstrip": false, "normalized": false, "special": false});
        t["added_tokens"].as_array_mut().unwrap().push(token);
    };
    let tokenizer = load_patched("qodo-tiny", &[("tokenizer.json", more)]).unwrap();
    assert!(tokenizer.encode("fine", None).is_ok());
    let error = tokenizer.encode("not <tool> fine", None).unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
    assert!(error.message.contains("<tool>") && error.message.contains("151646"), "{error}");

    // One of the vocabulary proper, or around each text, is not the tokenizer of this model.
    for rows in [1000, 151_643] {
        let error = load_patched("qodo-tiny", &[("config.json", &|c| c["vocab_size"] = rows.into())]).unwrap_err();
        assert_eq!(error.code, Code::BadCheckpoint, "{rows}");
        assert!(error.message.contains("tokenizer.json"), "{error}");
    }
}

#[test]
fn prompts_and_what_is_pooled() {
    let (spec, tokenizer) = load("pool-without-prompt", &ModelOverrides::default());
    assert!(!spec.include_prompt);
    let prompt = "Represent the sentence: ";
    let encoded = tokenizer.encode("the bridge", Some(prompt)).unwrap();
    let alone = tokenizer.encode(prompt.trim_end(), None).unwrap();
    // [CLS] goes with the prompt, [SEP] stays.
    assert_eq!(encoded.pooled, alone.ids.len() as u32 - 1..encoded.ids.len() as u32);
    assert_eq!(tokenizer.encode("the bridge", Some("")).unwrap().pooled.start, 0);
    assert_eq!(tokenizer.encode("the bridge", None).unwrap().pooled.start, 0);

    let (_, short) = load("pool-without-prompt", &limited(5));
    let error = short.encode("bridge", Some("one two three four five six")).map(|encoded| encoded.pooled);
    // The last place is [SEP], which pooling may use.
    assert_eq!(error.unwrap(), 4..5);

    let (spec, tokenizer) = load("bert-mean", &ModelOverrides::default());
    assert!(spec.include_prompt);
    assert_eq!(tokenizer.encode("the bridge", Some(prompt)).unwrap().pooled.start, 0);
}

#[test]
fn chunks_by_bytes() {
    for name in ["bert-mean", "qodo-tiny", "qwen3-tiny", "roberta-mean", "xlmr-e5", "onnx-jina"] {
        let (_, tokenizer) = load(name, &ModelOverrides::default());
        let text = "The silver bridge. ＡＢＣ ﬁne Ünïcode\u{301} 中文 😀 End of it";
        let middle = text.find(" ＡＢＣ").unwrap();
        let last = text.find(" End").unwrap();
        let chunks = [0..middle, middle..last, last..text.len()];
        for prompt in [None, Some("Ein Präfix: ")] {
            let (encoded, ranges) = tokenizer.encode_chunks(text, prompt, &chunks).unwrap();
            assert_eq!(encoded, tokenizer.encode(text, prompt).unwrap(), "{name}");
            // One after the other without a gap, and nothing but special tokens, prompt and end outside.
            assert_eq!(ranges[0].end, ranges[1].start, "{name}");
            assert_eq!(ranges[1].end, ranges[2].start, "{name}");
            let plain = tokenizer.encode(&text[last..], None).unwrap();
            let content = ranges[2].len();
            assert!(content >= 3 && content <= plain.ids.len(), "{name}");
            assert!(encoded.ids.len() as u32 - ranges[2].end <= 1, "{name}");
            if prompt.is_some() {
                let (alone, _) = tokenizer.encode_chunks(text, None, &chunks).unwrap();
                let shift = encoded.ids.len() - alone.ids.len();
                assert!(shift > 0, "{name}");
                assert_eq!(
                    encoded.ids[ranges[1].start as usize..],
                    alone.ids[ranges[1].start as usize - shift..],
                    "{name}"
                );
            }
        }
        // Odd ranges are no error.
        let odd = [5..5, 7..3, 10_000..20_000, usize::MAX..usize::MAX, 0..usize::MAX, 1..2];
        let (encoded, ranges) = tokenizer.encode_chunks(text, None, &odd).unwrap();
        assert!(ranges[..4].iter().all(|range| range.is_empty()), "{name}: {ranges:?}");
        assert!(ranges[4].len() >= encoded.ids.len() - 2, "{name}");
    }
    // Chunks past the limit are empty; the one that is cut has what is left of it.
    let (_, short) = load("bert-mean", &limited(6));
    let text = "one two three four five six seven eight";
    let (encoded, ranges) = short.encode_chunks(text, None, &[0..7, 8..18, 19..text.len()]).unwrap();
    assert!(encoded.truncated());
    assert_eq!(ranges[0].start, 1);
    assert!(ranges[1].end <= 5 && ranges[2].is_empty(), "{ranges:?}");
}

/// Texts of more than 64 kB are encoded in windows: the ids are those of the whole.
#[test]
fn long_texts() {
    let short: String = common::texts().into_values().filter(|text| text.len() < 10_000).collect();
    let text = short.repeat(200_000 / short.len() + 1);
    for name in ["qodo-tiny", "onnx-jina-real-tokenizer", "bert-mean", "roberta-mean", "xlmr-e5"] {
        if !available(name) {
            continue;
        }
        let spec = spec_of(&common::model_dir(name), &ModelOverrides::default());
        let spec = ModelSpec { max_tokens: 1 << 20, end_token: EndToken::Tokenizer, ..spec };
        let found = Tokenizer::load(&spec).unwrap().encode(&text, None).unwrap();
        let whole =
            tokenizers::Tokenizer::from_file(&spec.files.tokenizer).unwrap().encode(text.as_str(), true).unwrap();
        assert!(found.ids == whole.get_ids(), "{name}");
    }
}

#[test]
fn odd_texts() {
    for name in ["bert-mean", "qodo-tiny", "roberta-mean", "xlmr-e5"] {
        let (_, tokenizer) = load(name, &ModelOverrides::default());
        for text in ["", " ", "\0", "\u{feff}", "\u{202e}\u{200b}", "\u{fffd}", "a\r\nb", "[PAD]", "<pad>", "</s>"] {
            let encoded = tokenizer.encode(text, None).unwrap_or_else(|error| panic!("{name} {text:?}: {error}"));
            assert!(!encoded.ids.is_empty());
        }
    }
    let (_, tokenizer) = load("qwen2-window", &ModelOverrides::default());
    assert_eq!(tokenizer.encode("", None).unwrap().ids.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_encodes(text in any::<String>(), prompt in prop::option::of("[a-zA-Z: ]{0,12}"), limit in 3usize..40) {
        thread_local! {
            static SPECS: Vec<ModelSpec> = ["bert-mean", "qwen3-tiny", "roberta-mean", "xlmr-e5", "pool-without-prompt"]
                .map(|name| spec_of(&common::model_dir(name), &ModelOverrides::default())).into();
        }
        SPECS.with(|specs| -> Result<(), TestCaseError> {
            for spec in specs {
                let spec = ModelSpec { max_tokens: limit, ..spec.clone() };
                let tokenizer = Tokenizer::load(&spec).unwrap();
                let whole = Tokenizer::load(&ModelSpec { max_tokens: 1 << 20, ..spec.clone() }).unwrap();
                let cut = match tokenizer.encode(&text, prompt.as_deref()) {
                    Ok(cut) => cut,
                    Err(error) => {
                        prop_assert_eq!(error.code, Code::InvalidOption);
                        continue;
                    }
                };
                // A prompt may melt into the first word and leave nothing to pool.
                let Ok(full) = whole.encode(&text, prompt.as_deref()) else { continue };
                prop_assert!(cut.ids.len() <= limit);
                prop_assert_eq!(cut.untruncated, full.ids.len());
                prop_assert_eq!(cut.truncated(), full.ids.len() > limit);
                prop_assert_eq!(cut.ids.last(), full.ids.last());
                prop_assert_eq!(&cut.ids[..cut.ids.len() - 1], &full.ids[..cut.ids.len() - 1]);
                prop_assert!(cut.pooled.end as usize == cut.ids.len() && !cut.pooled.is_empty());
                let all: Vec<_> = (0..text.len()).map(|byte| byte..byte + 1).collect();
                let (same, ranges) = tokenizer.encode_chunks(&text, prompt.as_deref(), &all).unwrap();
                prop_assert_eq!(&same, &cut);
                let mut end = 0;
                for range in ranges.iter().filter(|range| !range.is_empty()) {
                    prop_assert!(range.start >= end && range.end as usize <= cut.ids.len());
                    end = range.end;
                }
            }
            Ok(())
        })?;
    }
}
