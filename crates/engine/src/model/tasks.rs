//! From the names that models give their prompts and adapters to the five tasks of the public API.
//!
//! | task | names, in order of preference |
//! |---|---|
//! | query | `query`, `search_query`, `retrieval.query`, `retrieval_query`, `nl2code_query`, `code_query`, `web_search_query`, `s2p_query`, `retrieval` |
//! | document | `document`, `passage`, `corpus`, `search_document`, `retrieval.passage`, `retrieval.document`, `retrieval_document`, `nl2code_document`, `code_document`, `retrieval` |
//! | similarity | `similarity`, `text-matching`, `STS`, `semantic_similarity`, `sentence_similarity`, `s2s_query` |
//! | classification | `classification` |
//! | clustering | `clustering`, `separation` |
//!
//! Case and the signs between words do not count. A task with no prompt of its own gets that of
//! `default_prompt_name`, as `SentenceTransformer.encode` does. (Unlike its `encode_document`, a
//! `passage` prompt is found: there it is hidden behind an empty default.)

use std::collections::BTreeMap;

use serde_json::Value;

use super::folder::{Json, shorten};
use super::{ModelOverrides, Task, TaskSpec, catalogue};
use crate::error::{Error, Result};

const TASKS: [Task; 5] = [Task::Document, Task::Query, Task::Similarity, Task::Classification, Task::Clustering];

fn names(task: Task) -> &'static [&'static str] {
    match task {
        Task::Query => &[
            "query",
            "searchquery",
            "retrievalquery",
            "nl2codequery",
            "codequery",
            "websearchquery",
            "s2pquery",
            "retrieval",
        ],
        Task::Document => &[
            "document",
            "passage",
            "corpus",
            "searchdocument",
            "retrievalpassage",
            "retrievaldocument",
            "nl2codedocument",
            "codedocument",
            "retrieval",
        ],
        Task::Similarity => {
            &["similarity", "textmatching", "sts", "semanticsimilarity", "sentencesimilarity", "s2squery"]
        }
        Task::Classification => &["classification"],
        Task::Clustering => &["clustering", "separation"],
    }
}

/// `retrieval.query`, `Retrieval-query` and `retrieval_query` are one name.
fn simplify(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Looks a task up among a model's own names.
fn find<T>(task: Task, entries: &[(String, T)]) -> Option<&T> {
    names(task).iter().find_map(|name| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value))
}

/// The tasks of a model: prompts from config_sentence_transformers.json and `task_instructions` of
/// config.json, ids from `lora_adaptations` (a task that the model has no adapter for runs as a
/// document), then the catalogue, then the caller.
///
/// # Errors
/// `BAD_CHECKPOINT` for a default prompt that does not exist.
pub(super) fn read(
    sentence_transformers: &Json,
    config: &Json,
    known: Option<&catalogue::Known>,
    overrides: &ModelOverrides,
) -> Result<BTreeMap<Task, TaskSpec>> {
    let mut prompts = Vec::new();
    for (json, key) in [(sentence_transformers, "prompts"), (config, "task_instructions")] {
        prompts.extend(prompts_of(json, key)?);
    }
    let default = match sentence_transformers.str("default_prompt_name")? {
        None | Some("") => None,
        Some(name) => {
            let prompts = sentence_transformers.object("prompts")?.unwrap_or_default();
            // These two exist in sentence-transformers even where the file does not have them.
            if !prompts.has(name) && !matches!(name, "query" | "document") {
                return Err(sentence_transformers.wrong("default_prompt_name", "one of the names in `prompts`"));
            }
            prompts.str(name)?.map(str::to_owned)
        }
    };
    let adapters: Vec<(String, i64)> = config
        .strings("lora_adaptations")?
        .unwrap_or_default()
        .into_iter()
        .zip(0..)
        .map(|(name, id)| (simplify(name), id))
        .collect();
    let document_id = find(Task::Document, &adapters).copied().or(adapters.first().map(|(_, id)| *id));

    let mut tasks = BTreeMap::new();
    for task in TASKS {
        let mut spec = TaskSpec {
            prompt: find(task, &prompts).cloned().or_else(|| default.clone()),
            task_id: find(task, &adapters).copied().or(document_id),
        };
        if let Some((_, prompt, id)) = known.and_then(|known| known.tasks.iter().find(|entry| entry.0 == task)) {
            spec = TaskSpec { prompt: Some((*prompt).to_owned()), task_id: *id };
        }
        if let Some(prompt) = overrides.prompts.as_ref().and_then(|prompts| prompts.get(&task)) {
            spec.prompt = Some(prompt.clone());
        }
        spec.prompt = spec.prompt.filter(|prompt| !prompt.is_empty());
        tasks.insert(task, spec);
    }
    Ok(tasks)
}

fn prompts_of(json: &Json, key: &str) -> Result<Vec<(String, String)>> {
    let Some(prompts) = json.object(key)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (name, prompt) in prompts.entries() {
        match prompt {
            Value::String(prompt) => found.push((simplify(name), prompt.clone())),
            Value::Null => {}
            other => {
                let message = format!("the prompt {name:?} in `{key}` is {}, not a string.", shorten(other));
                return Err(Error::bad_checkpoint(json.file(), message).with("key", key));
            }
        }
    }
    Ok(found)
}
