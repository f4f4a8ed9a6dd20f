//! `tokenizer_config.json`, and what must be known of `tokenizer.json` before it is loaded.
//!
//! tokenizer.json is taken as it stands. Only for BERT and RoBERTa tokenizers does
//! tokenizer_config.json change it, because transformers (4 and 5) rebuilds theirs from those settings.
//! What it says of an end token (`add_eos_token`) is dropped by transformers 5 where there is a
//! tokenizer.json, and read here: see [`EndToken`].

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::EndToken;
use super::folder::{Json, shorten};
use crate::error::{Error, Result};

/// Settings that change what tokenizer.json does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The tokenizer class without `Fast`, where it is known.
    pub(crate) class: Option<String>,
    /// `do_lower_case` (BERT only).
    pub(crate) lower_case: Option<bool>,
    /// `strip_accents` (BERT only).
    pub(crate) strip_accents: Option<bool>,
    /// `tokenize_chinese_chars` (BERT only).
    pub(crate) chinese_chars: Option<bool>,
    /// `add_prefix_space` (RoBERTa only).
    pub(crate) prefix_space: Option<bool>,
    /// `split_special_tokens`: special tokens written in a text are plain text.
    pub(crate) split_special: bool,
    /// `truncation_side`: true for left; `None` where tokenizer.json decides.
    pub(crate) truncate_left: Option<bool>,
}

/// What describing a model needs of its tokenizer.
pub(super) struct Tokenizer {
    config: Json,
    class: Option<String>,
}

impl Tokenizer {
    /// Reads `tokenizer_config.json`, with `over` on top of it.
    pub(super) fn read(transformer: &Path, config: &Json, over: &Map<String, Value>) -> Result<Self> {
        let mut tokenizer = Json::read_or_empty(&transformer.join("tokenizer_config.json"))?;
        tokenizer.overlay(over);
        let class = class(&tokenizer, config)?;
        Ok(Tokenizer { config: tokenizer, class })
    }

    pub(super) fn settings(&self) -> Result<Settings> {
        settings(&self.config, self.class.clone())
    }

    /// `model_max_length`; `None` for none, or for the 10³⁰ that stands for none.
    pub(super) fn max_length(&self) -> Result<Option<usize>> {
        let length = self.config.number("model_max_length")?;
        match length {
            None => Ok(None),
            Some(length) if length >= 1e12 => Ok(None),
            Some(length) if length >= 1.0 => Ok(Some(length as usize)),
            Some(_) => Err(self.config.wrong("model_max_length", "at least 1")),
        }
    }

    pub(super) fn has_chat_template(&self, transformer: &Path) -> bool {
        self.config.get("chat_template").is_some() || transformer.join("chat_template.jinja").exists()
    }

    /// The end token of a Qwen embedder whose tokenizer.json does not append one: the `eos_token`, if
    /// `add_eos_token` is true, or is not said while the tokenizer is the family's own code
    /// (`tokenization_qwen`), which appends it; or the one that the catalogue names.
    pub(super) fn qwen_end_token(
        &self,
        tokenizer_json: &Path,
        parts: &Parts,
        catalogue: Option<&str>,
    ) -> Result<EndToken> {
        let own_code = match self.config.get("auto_map") {
            Some(map) => map.to_string().contains("tokenization_qwen"),
            None => false,
        };
        let told = self.config.bool("add_eos_token")?.unwrap_or(own_code);
        let name = match (catalogue, told) {
            (Some(name), _) => name.to_owned(),
            (None, true) => match self.config.get("eos_token") {
                Some(Value::String(name)) => name.clone(),
                Some(Value::Object(token)) if token.get("content").is_some_and(Value::is_string) => {
                    token["content"].as_str().unwrap_or_default().to_owned()
                }
                _ => return Err(self.config.wrong("eos_token", "a token, since `add_eos_token` is true")),
            },
            (None, false) => return Ok(EndToken::Tokenizer),
        };
        let listed = parts.added_tokens.iter().find(|token| token.content == name).map(|token| token.id);
        let id = match listed {
            Some(id) => Some(id),
            None => vocabulary_id(tokenizer_json, &name)?,
        };
        id.map(EndToken::Append).ok_or_else(|| {
            let name = shorten(&Value::from(name));
            Error::bad_checkpoint(tokenizer_json, format!("has no token {name}, which ends each text of this model."))
        })
    }
}

/// The settings beside a `tokenizer.json`.
pub(crate) fn settings_beside(tokenizer_json: &Path) -> Result<Settings> {
    let folder = tokenizer_json.parent().unwrap_or(Path::new(""));
    let config = Json::read_or_empty(&folder.join("config.json"))?;
    let over = super::sbert::read(folder)?.tokenizer;
    Tokenizer::read(folder, &config, &over)?.settings()
}

fn settings(config: &Json, class: Option<String>) -> Result<Settings> {
    Ok(Settings {
        lower_case: config.bool("do_lower_case")?,
        strip_accents: config.bool("strip_accents")?,
        chinese_chars: config.bool("tokenize_chinese_chars")?,
        prefix_space: config.bool("add_prefix_space")?,
        split_special: config.bool("split_special_tokens")?.unwrap_or(false),
        truncate_left: match config.str("truncation_side")? {
            None => None,
            Some("left") => Some(true),
            Some("right") => Some(false),
            Some(_) => return Err(config.wrong("truncation_side", "left or right")),
        },
        class,
    })
}

/// The class that `AutoTokenizer` picks: of tokenizer_config.json, else of config.json, else that of the
/// model type.
fn class(tokenizer: &Json, config: &Json) -> Result<Option<String>> {
    let named = match tokenizer.str("tokenizer_class")? {
        Some(name) => Some(name),
        None => config.str("tokenizer_class")?,
    };
    let class = match named {
        Some(name) => Some(name.strip_suffix("Fast").unwrap_or(name)),
        None => match config.str("model_type")? {
            Some("bert" | "distilbert" | "electra" | "convbert" | "nomic_bert" | "squeezebert") => {
                Some("BertTokenizer")
            }
            Some("roberta") => Some("RobertaTokenizer"),
            Some("mpnet") => Some("MPNetTokenizer"),
            _ => None,
        },
    };
    Ok(class.map(str::to_owned))
}

/// The parts of tokenizer.json that are read without its vocabulary.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parts {
    post_processor: Option<PostProcessor>,
    added_tokens: Vec<AddedToken>,
}

#[derive(Debug, Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

/// Any post-processor: each kind leaves the fields of the others empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PostProcessor {
    #[serde(rename = "type")]
    kind: String,
    single: Option<Vec<Map<String, Value>>>,
    processors: Vec<PostProcessor>,
}

impl Parts {
    /// Reads them.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for what is no tokenizer.
    pub(super) fn read(tokenizer_json: &Path) -> Result<Self> {
        let bytes = read(tokenizer_json)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::bad_checkpoint(tokenizer_json, format!("not a tokenizer: {error}.")))
    }

    /// Whether the post-processor puts a token after each text.
    pub(super) fn appends(&self) -> bool {
        self.post_processor.as_ref().is_some_and(PostProcessor::appends)
    }
}

impl PostProcessor {
    fn appends(&self) -> bool {
        match self.kind.as_str() {
            "BertProcessing" | "RobertaProcessing" => true,
            "TemplateProcessing" => {
                let last = self.single.as_ref().and_then(|single| single.last());
                last.is_some_and(|piece| piece.contains_key("SpecialToken"))
            }
            "Sequence" => self.processors.iter().any(PostProcessor::appends),
            _ => false,
        }
    }
}

fn read(tokenizer_json: &Path) -> Result<Vec<u8>> {
    std::fs::read(tokenizer_json)
        .map_err(|error| Error::bad_checkpoint(tokenizer_json, format!("cannot be read: {error}.")))
}

/// The id of a token in the vocabulary proper: a map, or for Unigram a list of pairs.
fn vocabulary_id(tokenizer_json: &Path, token: &str) -> Result<Option<u32>> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        vocab: Vocabulary,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Vocabulary {
        Map(std::collections::HashMap<String, u32>),
        List(Vec<(String, f64)>),
    }
    let file: File = serde_json::from_slice(&read(tokenizer_json)?)
        .map_err(|error| Error::bad_checkpoint(tokenizer_json, format!("not a tokenizer: {error}.")))?;
    Ok(match file.model.vocab {
        Vocabulary::Map(map) => map.get(token).copied(),
        Vocabulary::List(list) => {
            list.iter().position(|(piece, _)| piece == token).and_then(|index| u32::try_from(index).ok())
        }
    })
}
