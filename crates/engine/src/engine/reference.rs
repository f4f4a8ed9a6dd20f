//! From what a caller calls a model to what can be looked for.

use super::options::EngineOptions;
use super::texts::Texts;
use crate::error::{Code, Error, Result};
use crate::model::{self, ModelOverrides, catalogue};

/// A model reference with the names that stood for it on the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    /// A hub id or a path.
    pub(super) model: String,
    /// What the engine was told about the model, by any of its names; the caller's own first.
    pub(super) overrides: ModelOverrides,
}

/// Resolves what a call says: nothing (the environment decides), `auto` (the texts decide), an alias,
/// a hub id or a path.
///
/// # Errors
/// `MODEL_NOT_FOUND` for the bundled model where its folder is not known; `INVALID_OPTION` for `auto` without texts.
pub(super) fn resolve(model: Option<&str>, texts: Option<&Texts>, options: &EngineOptions) -> Result<Reference> {
    let given = match model {
        Some(model) => model.to_owned(),
        None => from_environment(std::env::var("EMBEDDING_ENGINE_MODEL").ok()),
    };
    let mut names = vec![given];
    if names[0] == "auto" {
        let texts = texts.ok_or_else(|| {
            Error::invalid_option(
                "model",
                "model: 'auto' is decided by texts, and there are none. Pass 'code' or 'text'.",
            )
        })?;
        // The borrowed texts live as long as the iterator that hands them out.
        let texts: Vec<_> = texts.iter().take(SAMPLE).collect();
        names.push(model::choose_auto(texts.iter().map(AsRef::as_ref)).to_owned());
    }
    let alias = names[names.len() - 1].clone();
    let mut model = alias.clone();
    if alias == "bundled" {
        let folder = options.bundled_model.as_ref().and_then(|folder| folder.to_str()).ok_or_else(|| {
            Error::new(
                Code::ModelNotFound,
                "The bundled model is a part of the npm package, and its folder was not given (bundledModel). Pass \
                 model: the path of a model folder ('./my-model'), a hub id ('Qwen/Qwen3-Embedding-0.6B'), 'code' or \
                 'text'; or set EMBEDDING_ENGINE_MODEL.",
            )
            .with("model", "bundled")
        })?;
        model = folder.to_owned();
    }
    if let Some(resolved) = catalogue::resolve_alias(&alias) {
        // Overrides are written under the id, whatever revision the alias is pinned to.
        names.push(resolved.split('@').next().unwrap_or_default().to_owned());
        model = resolved;
    }
    let overrides = names.iter().find_map(|name| options.model_defaults.get(name)).cloned().unwrap_or_default();
    Ok(Reference { model, overrides })
}

/// Resolves what is said of files in the hub cache: an alias, though it is pinned, means every revision.
///
/// # Errors
/// As [`resolve`]; `INVALID_INPUT` for the bundled model.
pub(super) fn with_all_revisions(model: &str, options: &EngineOptions) -> Result<String> {
    if model == "bundled" {
        let message = "The bundled model is a part of the npm package, not of the hub cache: npm verifies it, and it \
                       goes with the package.";
        return Err(Error::new(Code::InvalidInput, message).with("model", "bundled"));
    }
    let found = resolve(Some(model), None, options)?.model;
    let whole = found.split('@').next().filter(|_| catalogue::resolve_alias(model).is_some());
    Ok(whole.map_or_else(|| found.clone(), str::to_owned))
}

/// As many texts as `auto` looks at: an index job is not read twice for one decision.
const SAMPLE: usize = 1000;

fn from_environment(model: Option<String>) -> String {
    model.filter(|model| !model.trim().is_empty()).unwrap_or_else(|| "bundled".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_followed_and_each_may_carry_overrides() {
        let options = EngineOptions::from_json(
            r#"{"modelDefaults":{"code":{"maxTokens":1},"jinaai/jina-embeddings-v3":{"maxTokens":2},"./m":{"maxTokens":3}}}"#,
        )
        .unwrap();
        let resolve = |model: &str| {
            let reference = resolve(Some(model), None, &options).unwrap();
            (reference.model, reference.overrides.max_tokens)
        };
        let pinned = |name: &str| catalogue::resolve_alias(name).unwrap();
        assert_eq!(resolve("code"), (pinned("code"), Some(1)));
        assert_eq!(resolve("qodo_embed"), (pinned("code"), None));
        assert_eq!(resolve("text"), (pinned("text"), Some(2)));
        assert_eq!(resolve("./m"), ("./m".to_owned(), Some(3)));
        assert_eq!(resolve("owner/name@main"), ("owner/name@main".to_owned(), None));
    }

    #[test]
    fn without_a_name_the_environment_decides() {
        assert_eq!(from_environment(None), "bundled");
        assert_eq!(from_environment(Some(String::new())), "bundled");
        assert_eq!(from_environment(Some("./m".to_owned())), "./m");
        let error = resolve(Some("bundled"), None, &EngineOptions::default()).unwrap_err();
        assert_eq!(error.code, Code::ModelNotFound);
    }

    #[test]
    fn the_bundled_model_is_a_folder_of_the_package() {
        let options =
            EngineOptions { bundled_model: Some("/package/models/bundled".into()), ..EngineOptions::default() };
        assert_eq!(resolve(Some("bundled"), None, &options).unwrap().model, "/package/models/bundled");
        assert_eq!(with_all_revisions("bundled", &options).unwrap_err().code, Code::InvalidInput);
    }

    #[test]
    fn auto_needs_texts() {
        let options = EngineOptions::default();
        assert_eq!(resolve(Some("auto"), None, &options).unwrap_err().code, Code::InvalidOption);
        let reference = resolve(Some("auto"), Some(&Texts::from(["def f(): pass"])), &options).unwrap();
        assert!(reference.model.contains('/'), "{}", reference.model);
    }
}
