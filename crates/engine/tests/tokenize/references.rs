//! Against the reference results: ids, flags, token starts and chunks of sentence-transformers.

use embedding_engine::Code;
use embedding_engine::hub::{HubConfig, locate};
use embedding_engine::model::{ModelOverrides, describe};
use embedding_engine::tokenize::Tokenizer;

use super::{available, common, load};

/// Every case of every reference that has ids: number of tokens, flag, and the ids at both ends.
#[test]
fn ids_of_the_references() {
    let texts = common::texts();
    let mut models = 0;
    for entry in std::fs::read_dir(common::fixtures().join("references")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "json") || !available(name) {
            continue;
        }
        let reference = common::references(name);
        let located = locate(&common::model_dir(name).display().to_string(), &HubConfig::default()).unwrap();
        let spec = match describe(&located, &ModelOverrides::default()) {
            Ok(spec) => spec,
            Err(error) if error.code == Code::ModelUnsupported && name.starts_with("pool-") => continue,
            Err(error) => panic!("{name}: {error}"),
        };
        models += 1;
        assert_eq!(Some(spec.max_tokens as u64), reference["max_tokens"].as_u64(), "{name}");
        assert_eq!(Some(spec.dimensions as u64), reference["dims"].as_u64(), "{name}");
        let tokenizer = Tokenizer::load(&spec).unwrap();
        for case in reference["cases"].as_array().unwrap() {
            let Some(text) = texts.get(case["text"].as_str().unwrap()) else { continue };
            let Some(tokens) = case["tokens"].as_u64() else { continue };
            let what = format!("{name} {} {}", case["text"], case["call"]);
            let encoded =
                tokenizer.encode(text, case["prompt"].as_str()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let ids = |key: &str| -> Vec<u32> {
                case[key].as_array().into_iter().flatten().map(|id| id.as_u64().unwrap() as u32).collect()
            };
            let (head, tail) = (ids("ids_head"), ids("ids_tail"));
            assert_eq!(encoded.ids[..head.len().min(encoded.ids.len())], head[..], "{what}");
            assert!(encoded.ids.ends_with(&tail), "{what}: {tail:?}");
            assert_eq!(encoded.ids.len() as u64, tokens, "{what}");
            if let Some(truncated) = case["truncated"].as_bool() {
                assert_eq!(encoded.truncated(), truncated, "{what}");
            }
        }
    }
    assert!(models > 0);
}

/// Byte offset of a position counted in UTF-16 units.
fn byte_of(text: &str, utf16: usize) -> usize {
    let mut units = 0;
    let found = text.char_indices().find(|(_, c)| {
        let here = units >= utf16;
        units += c.len_utf16();
        here
    });
    found.map_or(text.len(), |(byte, _)| byte)
}

/// Late chunking: as many tokens in each chunk as the references have.
#[test]
fn chunks_of_the_references() {
    let mut chunks = 0;
    for name in ["bert-mean", "qwen2-bidirectional", "xlmr-e5", "onnx-jina"] {
        let (_, tokenizer) = load(name, &ModelOverrides::default());
        for late in common::references(name)["late"].as_array().unwrap() {
            let document = late["document"].as_str().unwrap();
            for chunk in late["chunks"].as_array().unwrap() {
                let at = |key: &str| byte_of(document, chunk[key].as_u64().unwrap() as usize);
                let range = at("start")..at("end");
                let (_, ranges) =
                    tokenizer.encode_chunks(document, late["prompt"].as_str(), std::slice::from_ref(&range)).unwrap();
                assert_eq!(ranges[0].len() as u64, chunk["tokens"].as_u64().unwrap(), "{name} {:?}", &document[range]);
                chunks += 1;
            }
        }
    }
    assert!(chunks > 0);
}

/// Where each token starts, as Python's `offset_mapping` has it: seen through one chunk for each character.
#[test]
fn offsets_of_the_references() {
    let texts = common::texts();
    let all = common::references("tokenizers");
    let mut seen = 0;
    for reference in all.as_array().unwrap() {
        let name = reference["model"].as_str().unwrap();
        if !available(name) {
            continue;
        }
        let (_, tokenizer) = load(name, &ModelOverrides::default());
        for string in reference["strings"].as_array().unwrap() {
            let Some(text) =
                string["literal"].as_str().or_else(|| texts.get(string["text"].as_str()?).map(String::as_str))
            else {
                continue;
            };
            let encoded = tokenizer.encode(text, None).unwrap();
            if let Some(ids) = string["ids"].as_array() {
                let ids: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
                assert_eq!(encoded.ids, ids, "{name} {text:?}");
            }
            let Some(offsets) = string["offsets_utf16"].as_array() else { continue };
            let starts = offsets.iter().map(|pair| byte_of(text, pair[0].as_u64().unwrap() as usize));
            let mut counts = vec![0; text.len()];
            starts.for_each(|start| counts[start] += 1);
            let chunks: Vec<_> = (0..text.len()).map(|byte| byte..byte + 1).collect();
            let (_, ranges) = tokenizer.encode_chunks(text, None, &chunks).unwrap();
            assert_eq!(ranges.iter().map(|range| range.len()).collect::<Vec<_>>(), counts, "{name} {text:?}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
