//! What a call can ask for.

use std::ops::Range;

use serde_json::Value;

use super::json;
use super::texts::Texts;
use crate::error::{Code, Error, Result};
use crate::finish::Precision;
use crate::model::{ModelSpec, Task};

/// What is put before each text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The model's own for the task.
    #[default]
    Model,
    /// Nothing.
    None,
    /// The caller's own.
    Own(String),
}

impl Prompt {
    /// The prompt of this model for the task, if there is one.
    pub(super) fn of<'a>(&'a self, task: Task, spec: &'a ModelSpec) -> Option<&'a str> {
        match self {
            Prompt::Model => spec.tasks.get(&task).and_then(|task| task.prompt.as_deref()),
            Prompt::None => None,
            Prompt::Own(prompt) => Some(prompt.as_str()),
        }
        .filter(|prompt| !prompt.is_empty())
    }
}

/// A call to [`Engine::embed`](super::Engine::embed).
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// Alias, hub id or path; default `EMBEDDING_ENGINE_MODEL`, else `bundled`.
    pub model: Option<String>,
    /// What the vectors are for; default `document`.
    pub task: Task,
    /// What is put before each text; default: what the model has for the task.
    pub prompt: Prompt,
    /// Matryoshka cut; default: the model's whole width.
    pub dimensions: Option<usize>,
    /// Unit vectors; default `true`.
    pub normalize: bool,
    /// Of the vectors; default `float32`.
    pub precision: Precision,
    /// Whether a text beyond the model's limit is cut (default) or refused.
    pub truncate: bool,
    /// The space in which the vectors must lie.
    pub space: Option<String>,
    /// Late chunking: byte ranges of the one text, each of which becomes a row.
    pub chunks: Option<Vec<Range<usize>>>,
    /// Whether the call waits while the queue is full, where others fail with `QUEUE_FULL`; default `false`.
    /// Streams set it: they hold back their own source, so that their waiting is bounded.
    pub wait: bool,
}

impl Default for EmbedRequest {
    fn default() -> Self {
        EmbedRequest {
            model: None,
            task: Task::default(),
            prompt: Prompt::default(),
            dimensions: None,
            normalize: true,
            precision: Precision::default(),
            truncate: true,
            space: None,
            chunks: None,
            wait: false,
        }
    }
}

const KNOWN: &[&str] = &[
    "model",
    "task",
    "prompt",
    "dimensions",
    "normalize",
    "precision",
    "truncate",
    "adapter",
    "space",
    "chunks",
    "wait",
];

impl EmbedRequest {
    /// Reads a request from a JSON object with the names of the public API. `chunks` are objects with
    /// `start` and `end`, in bytes.
    ///
    /// # Errors
    /// `INVALID_OPTION` with the option and its value; `INVALID_INPUT` for what is no JSON object.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut request = EmbedRequest::default();
        for (name, value) in &json::object(json, "options of a call")? {
            request.set(name, value)?;
        }
        Ok(request)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        const SWITCH: &str = "true or false";
        match name {
            "model" => self.model = Some(model(value)?),
            "task" => {
                let tasks = "document, query, similarity, classification or clustering";
                self.task = json::option(name, value, tasks)?;
            }
            "prompt" => {
                self.prompt = match value {
                    Value::Bool(false) => Prompt::None,
                    Value::String(prompt) if prompt.is_empty() => Prompt::None,
                    Value::String(prompt) => Prompt::Own(prompt.clone()),
                    _ => return Err(json::refused(name, value, "a string, or false for none")),
                }
            }
            "dimensions" => self.dimensions = Some(json::option(name, value, "a whole number, 1 or more")?),
            "normalize" => self.normalize = json::option(name, value, SWITCH)?,
            "precision" => {
                self.precision = json::option(name, value, "float32, int8, uint8, binary or ubinary")?;
            }
            "truncate" => self.truncate = json::option(name, value, SWITCH)?,
            "adapter" => adapter(value)?,
            "space" => self.space = Some(json::option(name, value, "a space id, as results have it")?),
            "chunks" => self.chunks = Some(json::option(name, value, "a list of { start, end } in bytes")?),
            "wait" => self.wait = json::option(name, value, SWITCH)?,
            _ => return Err(json::unknown(name, KNOWN)),
        }
        Ok(())
    }

    /// Checks what can be checked without the model.
    pub(super) fn validate(&self, texts: &Texts) -> Result<()> {
        if self.dimensions == Some(0) {
            return Err(json::refused("dimensions", &0.into(), "a whole number, 1 or more"));
        }
        match &self.chunks {
            Some(chunks) => check_chunks(chunks, texts),
            None => Ok(()),
        }
    }
}

/// A call to [`Engine::count_tokens`](super::Engine::count_tokens).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CountRequest {
    /// As in [`EmbedRequest`].
    pub model: Option<String>,
    /// As in [`EmbedRequest`].
    pub task: Task,
    /// As in [`EmbedRequest`].
    pub prompt: Prompt,
}

impl CountRequest {
    /// Reads a request from a JSON object: the options of [`EmbedRequest`], so that a call can be counted
    /// before it is made. Those that do not change the number of tokens are checked all the same.
    ///
    /// # Errors
    /// As [`EmbedRequest::from_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        let EmbedRequest { model, task, prompt, .. } = EmbedRequest::from_json(json)?;
        Ok(CountRequest { model, task, prompt })
    }
}

/// A call to [`Engine::preload`](super::Engine::preload).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreloadRequest {
    /// As in [`EmbedRequest`], but not `auto`, which is decided by texts.
    pub model: Option<String>,
}

impl PreloadRequest {
    /// Reads a request from a JSON object: `model`, `adapter`.
    ///
    /// # Errors
    /// As [`EmbedRequest::from_json`].
    pub fn from_json(json: &str) -> Result<Self> {
        let mut request = EmbedRequest::default();
        for (name, value) in &json::object(json, "options of preloading")? {
            if !matches!(name.as_str(), "model" | "adapter") {
                return Err(json::unknown(name, &["model", "adapter"]));
            }
            request.set(name, value)?;
        }
        Ok(PreloadRequest { model: request.model })
    }
}

fn model(value: &Value) -> Result<String> {
    match value.as_str() {
        Some(model) if !model.trim().is_empty() => Ok(model.to_owned()),
        _ => Err(json::refused("model", value, "an alias such as 'code', a hub id, or the path of a folder")),
    }
}

/// `auto` is the fine-tune that is active for the model; fine-tunes are not made yet, so that none is.
fn adapter(value: &Value) -> Result<()> {
    match value {
        Value::Bool(false) => Ok(()),
        Value::String(name) if name == "auto" => Ok(()),
        Value::String(name) => Err(Error::invalid_option(
            "adapter",
            format!("There is no adapter named {name:?}. Leave the option out, or pass 'auto' or false."),
        )
        .with("value", name.as_str())),
        _ => Err(json::refused("adapter", value, "'auto', false, or the name of an adapter")),
    }
}

fn check_chunks(chunks: &[Range<usize>], texts: &Texts) -> Result<()> {
    if texts.len() != 1 {
        return Err(Error::new(
            Code::InvalidInput,
            format!("chunks are ranges of exactly one text, but there are {} texts.", texts.len()),
        ));
    }
    let text = texts.get(0);
    for (index, chunk) in chunks.iter().enumerate() {
        let Range { start, end } = *chunk;
        let problem = if end > text.len() {
            format!("ends outside of the text, which has {} bytes", text.len())
        } else if start >= end {
            "is empty".to_owned()
        } else if !text.is_char_boundary(start) || !text.is_char_boundary(end) {
            "cuts a character in two".to_owned()
        } else {
            continue;
        };
        return Err(Error::new(Code::InvalidInput, format!("Chunk {index} (bytes {start} to {end}) {problem}."))
            .with("index", index));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

    use super::*;

    #[test]
    fn reads_every_option() {
        let request = EmbedRequest::from_json(
            r#"{"model":"./m","task":"query","prompt":"p: ","dimensions":64,"normalize":false,"precision":"ubinary",
                "truncate":false,"adapter":"auto","space":"s","chunks":[{"start":0,"end":4}],"wait":true}"#,
        )
        .unwrap();
        let expected = EmbedRequest {
            model: Some("./m".to_owned()),
            task: Task::Query,
            prompt: Prompt::Own("p: ".to_owned()),
            dimensions: Some(64),
            normalize: false,
            precision: Precision::Ubinary,
            truncate: false,
            space: Some("s".to_owned()),
            chunks: Some(vec![0..4]),
            wait: true,
        };
        assert_eq!(request, expected);
        assert_eq!(EmbedRequest::from_json(r#"{"model":null}"#).unwrap(), EmbedRequest::default());
        assert_eq!(EmbedRequest::from_json(r#"{"prompt":false}"#).unwrap().prompt, Prompt::None);
        assert_eq!(EmbedRequest::from_json(r#"{"prompt":""}"#).unwrap().prompt, Prompt::None);
    }

    #[test]
    fn a_wrong_option_is_named_with_its_value() {
        let cases = [
            (r#"{"model":""}"#, "model", "\"\""),
            (r#"{"model":7}"#, "model", "7"),
            (r#"{"task":"search"}"#, "task", "search"),
            (r#"{"prompt":true}"#, "prompt", "true"),
            (r#"{"dimensions":-5}"#, "dimensions", "-5"),
            (r#"{"precision":"int4"}"#, "precision", "int4"),
            (r#"{"adapter":"mine"}"#, "adapter", "mine"),
            (r#"{"adapter":true}"#, "adapter", "true"),
            (r#"{"chunks":[{"start":0}]}"#, "chunks", "start"),
            (r#"{"dimension":5}"#, "dimension", "dimensions"),
        ];
        for (json, option, shown) in cases {
            let error = EmbedRequest::from_json(json).unwrap_err();
            assert_eq!(error.code, Code::InvalidOption, "{json}");
            assert_eq!(error.details["option"], option, "{json}");
            assert!(error.message.contains(shown), "{}", error.message);
        }
        assert_eq!(CountRequest::from_json(r#"{"dimension":5}"#).unwrap_err().code, Code::InvalidOption);
        assert_eq!(PreloadRequest::from_json(r#"{"task":"query"}"#).unwrap_err().code, Code::InvalidOption);
    }

    #[test]
    fn chunks_lie_in_the_text() {
        let check = |text: &str, chunk: Range<usize>| {
            let request = EmbedRequest { chunks: Some(vec![0..1, chunk]), ..EmbedRequest::default() };
            request.validate(&Texts::from([text])).map_err(|error| (error.code, error.details["index"].clone()))
        };
        assert_eq!(check("aäb", 1..3), Ok(()));
        for (start, end) in [(3, 5), (2, 2), (3, 1), (1, 2), (2, 4)] {
            assert_eq!(check("aäb", start..end), Err((Code::InvalidInput, 1.into())), "{start}..{end}");
        }
        let request = EmbedRequest { chunks: Some(Vec::new()), ..EmbedRequest::default() };
        assert_eq!(request.validate(&Texts::from(["a", "b"])).unwrap_err().code, Code::InvalidInput);
    }
}
