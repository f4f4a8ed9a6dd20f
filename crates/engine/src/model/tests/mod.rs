#![allow(clippy::unwrap_used)]

//! Folders of a few small files, changed one setting at a time.

mod any_json;
mod architectures;
mod chains;
mod contents;
mod settings;
mod weights;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::error::{Code, Error, Result};
use crate::hub::Located;

/// The folder of a model in the making; gone with the value.
struct Model {
    folder: tempfile::TempDir,
}

impl Model {
    fn empty() -> Self {
        Model { folder: tempfile::tempdir().unwrap() }
    }

    /// A BERT as sentence-transformers writes it: 32 wide, mean, normalised, 512 positions.
    fn bert() -> Self {
        Model::empty()
            .json("config.json", bert_config())
            .json("modules.json", modules(&["Transformer", "Pooling", "Normalize"]))
            .json("1_Pooling/config.json", json!({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}))
            .json("sentence_bert_config.json", json!({"max_seq_length": 256, "do_lower_case": false}))
            .json("tokenizer.json", tokenizer(&["[PAD]", "[CLS]", "[SEP]"], Some("[SEP]")))
            .json("tokenizer_config.json", json!({"tokenizer_class": "BertTokenizer", "model_max_length": 512}))
            .file("model.safetensors", "weights")
    }

    /// A Qwen2 of the Qodo kind: 16 wide, last token, end token by `add_eos_token`.
    fn qwen2() -> Self {
        Model::empty()
            .json("config.json", qwen_config("qwen2"))
            .json("modules.json", modules(&["Transformer", "Pooling"]))
            .json("1_Pooling/config.json", json!({"word_embedding_dimension": 16, "pooling_mode_lasttoken": true}))
            .json("tokenizer.json", tokenizer(&["<|endoftext|>", "<|im_end|>"], None))
            .json(
                "tokenizer_config.json",
                json!({"tokenizer_class": "Qwen2Tokenizer", "add_eos_token": true, "eos_token": "<|endoftext|>",
                       "model_max_length": 1024}),
            )
            .file("model.safetensors", "weights")
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn json(self, name: &str, content: Value) -> Self {
        self.file(name, content.to_string())
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.root().join(name)).unwrap();
        self
    }

    /// Sets one key of a file; `Value::Null` stays null, [`DROP`] takes it out.
    fn set(self, name: &str, key: &str, value: impl Into<Value>) -> Self {
        let text = fs::read_to_string(self.root().join(name)).unwrap_or_else(|_| "{}".to_owned());
        let mut content: Value = serde_json::from_str(&text).unwrap();
        let value = value.into();
        let map = content.as_object_mut().unwrap();
        if value == DROP {
            drop(map.remove(key))
        } else {
            drop(map.insert(key.to_owned(), value))
        }
        self.json(name, content)
    }

    fn config(self, key: &str, value: impl Into<Value>) -> Self {
        self.set("config.json", key, value)
    }

    fn located(&self) -> Located {
        Located { id: self.root().display().to_string(), revision: None, root: self.root().to_owned() }
    }

    fn describe(&self) -> Result<ModelSpec> {
        self.describe_with(&ModelOverrides::default())
    }

    fn describe_with(&self, overrides: &ModelOverrides) -> Result<ModelSpec> {
        describe(&self.located(), overrides)
    }

    fn spec(&self) -> ModelSpec {
        self.describe().unwrap()
    }

    /// The error's code must be this one, and its message name all of `parts`.
    #[track_caller]
    fn fails(&self, code: Code, parts: &[&str]) -> Error {
        let error = self.describe().expect_err("this folder is not all right");
        assert_error(&error, code, parts);
        error
    }

    fn unsupported(&self, parts: &[&str]) {
        self.fails(Code::ModelUnsupported, parts);
    }

    fn bad(&self, parts: &[&str]) {
        self.fails(Code::BadCheckpoint, parts);
    }
}

#[track_caller]
fn assert_error(error: &Error, code: Code, parts: &[&str]) {
    assert_eq!(error.code, code, "{error}");
    for part in parts {
        assert!(error.message.contains(part), "{part:?} is not in: {error}");
    }
}

/// Takes a key out: a value that no file holds.
const DROP: &str = "\u{0}drop";

fn modules(classes: &[&str]) -> Value {
    let module = |(index, class): (usize, &&str)| {
        let path = if index == 0 { String::new() } else { format!("{index}_{class}") };
        let class = match class.contains('.') {
            true => (*class).to_owned(),
            false => format!("sentence_transformers.models.{class}"),
        };
        json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
    };
    classes.iter().enumerate().map(module).collect()
}

fn bert_config() -> Value {
    json!({"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2,
           "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 512,
           "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0})
}

fn qwen_config(kind: &str) -> Value {
    json!({"architectures": ["Qwen2ForCausalLM"], "model_type": kind, "hidden_size": 16, "num_hidden_layers": 3,
           "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32, "vocab_size": 100,
           "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "hidden_act": "silu"})
}

/// A tokenizer of some words, with special tokens from id 0 on.
fn tokenizer(special: &[&str], end: Option<&str>) -> Value {
    let mut vocab: serde_json::Map<String, Value> =
        special.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    for word in ["unk", "hello", "world"] {
        vocab.insert(word.to_owned(), vocab.len().into());
    }
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let processor = end.map(|end| {
        let id = special.iter().position(|token| token == &end).unwrap();
        json!({"type": "TemplateProcessing",
               "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}],
               "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
               "special_tokens": {end: {"id": end, "ids": [id], "tokens": [end]}}})
    });
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
           "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": processor, "decoder": null,
           "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "unk"}})
}
