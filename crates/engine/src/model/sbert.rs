//! `sentence_bert_config.json`: the settings of the Transformer module.

use serde_json::{Map, Value};
use std::path::Path;

use super::folder::{Json, shorten};
use crate::error::{Error, Result};

/// What is read of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    /// `max_seq_length`, taken as it is by sentence-transformers: no other limit counts then.
    pub(super) max_seq_length: Option<usize>,
    /// `do_lower_case`.
    pub(super) lower_case: bool,
    /// `config_kwargs`, which lie over config.json.
    pub(super) config: Map<String, Value>,
    /// `processor_kwargs`, which lie over tokenizer_config.json.
    pub(super) tokenizer: Map<String, Value>,
}

/// The names of the file, in the order in which sentence-transformers tries them.
const NAMES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// No text is longer, and no product of two sizes overflows.
pub(super) const MAX_TOKENS: usize = 1 << 30;

/// Reads the settings out of the transformer's folder.
pub(super) fn read(transformer: &Path) -> Result<Settings> {
    let mut found = Json::default();
    for name in NAMES {
        found = Json::read_or_empty(&transformer.join(name))?;
        if !found.is_empty() {
            break;
        }
    }
    refuse_other_uses(&found)?;
    let arguments = |new: &str, old: &str| -> Result<Map<String, Value>> {
        let object = match found.object(old)? {
            Some(object) => Some(object),
            None => found.object(new)?,
        };
        Ok(object.map(|object| object.entries().clone()).unwrap_or_default())
    };
    let tokenizer = arguments("processor_kwargs", "tokenizer_args")?;
    let mut max_seq_length = found.size("max_seq_length", 1..=MAX_TOKENS)?;
    if let Some(length) = Json::of(found.file(), tokenizer.clone()).size("model_max_length", 1..=MAX_TOKENS)? {
        max_seq_length = Some(length);
    }
    Ok(Settings {
        max_seq_length,
        lower_case: found.bool("do_lower_case")?.unwrap_or(false),
        config: arguments("config_kwargs", "config_args")?,
        tokenizer,
    })
}

/// Settings that make the module something else than text in, token vectors out.
fn refuse_other_uses(found: &Json) -> Result<()> {
    let refuse = |key: &str, why: &str| {
        let value = found.get(key).map(shorten).unwrap_or_default();
        Err(Error::unsupported(format!("{}: `{key}` is {value}: {why}", found.file().display())))
    };
    if let Some(task) = found.str("transformer_task")?
        && task != "feature-extraction"
    {
        return refuse("transformer_task", "only feature-extraction gives embeddings.");
    }
    if let Some(modalities) = found.object("modality_config")? {
        if modalities.has("message") {
            return refuse("modality_config", "texts would go through a chat template, which is not supported.");
        }
        let text = modalities.object("text")?;
        let plain = match &text {
            Some(text) => {
                matches!(text.str("method")?, None | Some("forward"))
                    && matches!(text.get("method_output_name"), None | Some(Value::String(_)))
                    && matches!(text.str("method_output_name")?, None | Some("last_hidden_state"))
            }
            None => false,
        };
        if !plain {
            return refuse("modality_config", "supported is text, with forward and last_hidden_state.");
        }
    }
    if let Some(name) = found.str("module_output_name")?
        && name != "token_embeddings"
    {
        return refuse("module_output_name", "supported is token_embeddings.");
    }
    for key in ["query_length", "document_length", "query_expansion", "tokenizer_name_or_path"] {
        if found.get(key).is_some() {
            return refuse(key, "it is not supported.");
        }
    }
    if let Some(processing) = found.object("processing_kwargs")? {
        let touched = |part: &str| matches!(processing.get(part), Some(Value::Object(map)) if !map.is_empty());
        if touched("text") || touched("common") {
            return refuse("processing_kwargs", "settings of the tokenizer's call are not supported.");
        }
    }
    Ok(())
}
