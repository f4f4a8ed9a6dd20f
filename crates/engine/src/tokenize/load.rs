//! From `tokenizer.json` to a [`Tokenizer`] that gives what transformers would.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{PostProcessorWrapper, TruncationDirection};

use super::Tokenizer;
use super::template::Template;
use super::windows::is_local;
use crate::error::{Error, Result};
use crate::model::static_table::table_shape;
use crate::model::tokenizer_files::{Settings, settings_beside};
use crate::model::{Architecture, EndToken, ModelSpec};

pub(super) fn load(spec: &ModelSpec) -> Result<Tokenizer> {
    let file = &spec.files.tokenizer;
    let settings = settings_beside(file)?;
    let mut inner = parse(file)?;
    let truncate_left = settings
        .truncate_left
        .unwrap_or_else(|| inner.get_truncation().is_some_and(|cut| cut.direction == TruncationDirection::Left));
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| broken(file, error))?;
    inner.set_encode_special_tokens(settings.split_special);
    apply_settings(&mut inner, &settings);
    if spec.lower_case {
        lower_case(&mut inner).map_err(|error| broken(file, error))?;
    }

    let trim_offsets = inner.get_post_processor().is_some_and(trims_offsets);
    if spec.architecture == Architecture::Static {
        // sentence-transformers' StaticEmbedding puts nothing around a text.
        inner.with_post_processor(None::<PostProcessorWrapper>);
    }
    let template = match spec.end_token {
        EndToken::Tokenizer => Template::of(inner.get_post_processor(), file)?,
        EndToken::Append(id) => Template::End(id),
    };
    inner.with_post_processor(None::<PostProcessorWrapper>);
    if template.added() >= spec.max_tokens {
        let needed = template.added() + 1;
        let message = format!(
            "The limit of {} tokens leaves no room for text beside the model's special tokens: give at least {needed}.",
            spec.max_tokens
        );
        return Err(Error::invalid_option("maxTokens", message).with("value", spec.max_tokens));
    }
    let table = match &spec.architecture {
        Architecture::Qwen(qwen) => Some(qwen.vocab_size),
        Architecture::Bert(bert) => Some(bert.vocab_size),
        // The graph checks its own bounds.
        Architecture::Onnx => None,
        Architecture::Static => Some(table_shape(&spec.files.weights)?.0),
    };
    let table = match table {
        Some(rows) => beyond(&inner, &template, rows, file)?,
        None => None,
    };
    let mut special: Vec<u32> =
        inner.get_added_tokens_decoder().iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
    special.extend(template.tokens());
    special.sort_unstable();
    Ok(Tokenizer {
        file: spec.files.tokenizer.clone(),
        local: is_local(&inner),
        inner,
        template,
        max_tokens: spec.max_tokens,
        truncate_left,
        include_prompt: spec.include_prompt,
        trim_offsets,
        table,
        special,
    })
}

fn broken(file: &Path, error: impl std::fmt::Display) -> Error {
    Error::bad_checkpoint(file, format!("not a tokenizer: {error}."))
}

fn parse(file: &Path) -> Result<tokenizers::Tokenizer> {
    let bytes =
        std::fs::read(file).map_err(|error| Error::bad_checkpoint(file, format!("cannot be read: {error}.")))?;
    // The library asserts some things that a broken file does not keep.
    match catch_unwind(AssertUnwindSafe(|| tokenizers::Tokenizer::from_bytes(bytes))) {
        Ok(Ok(tokenizer)) => Ok(tokenizer),
        Ok(Err(error)) => Err(broken(file, error)),
        Err(_) => Err(broken(file, "the tokenizer library panicked on it")),
    }
}

/// transformers (4 and 5) takes these from tokenizer_config.json whatever tokenizer.json says, each with
/// the default of its class.
fn apply_settings(inner: &mut tokenizers::Tokenizer, settings: &Settings) {
    match settings.class.as_deref() {
        Some("BertTokenizer" | "DistilBertTokenizer" | "ElectraTokenizer" | "MPNetTokenizer") => {
            if let Some(NormalizerWrapper::BertNormalizer(found)) = inner.get_normalizer() {
                let normalizer = BertNormalizer::new(
                    found.clean_text,
                    settings.chinese_chars.unwrap_or(true),
                    settings.strip_accents,
                    settings.lower_case.unwrap_or(true),
                );
                // Only fails for a normaliser that breaks added tokens; this one was there before.
                let _ = inner.with_normalizer(Some(NormalizerWrapper::BertNormalizer(normalizer)));
            }
        }
        Some("RobertaTokenizer") => {
            if let Some(PreTokenizerWrapper::ByteLevel(found)) = inner.get_pre_tokenizer() {
                let mut byte_level = *found;
                byte_level.add_prefix_space = settings.prefix_space.unwrap_or(false);
                inner.with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(byte_level)));
            }
        }
        _ => {}
    }
}

fn trims_offsets(processor: &PostProcessorWrapper) -> bool {
    match processor {
        PostProcessorWrapper::ByteLevel(byte_level) => byte_level.trim_offsets,
        PostProcessorWrapper::Roberta(roberta) => roberta.trim_offsets,
        PostProcessorWrapper::Sequence(all) => all.as_ref().iter().any(trims_offsets),
        PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_) => false,
    }
}

/// `do_lower_case` of sentence-transformers: a Lowercase before all other normalisers, unless one is
/// among them. Added tokens are matched before it, so `[MASK]` stays `[MASK]`.
fn lower_case(inner: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
    let all = match inner.get_normalizer() {
        None => vec![],
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(one) => vec![one.clone()],
    };
    if all.iter().any(|normalizer| matches!(normalizer, NormalizerWrapper::Lowercase(_))) {
        return Ok(());
    }
    let mut normalizers = vec![NormalizerWrapper::Lowercase(Lowercase)];
    normalizers.extend(all);
    inner.with_normalizer(Some(NormalizerWrapper::Sequence(Sequence::new(normalizers))))?;
    Ok(())
}

/// The rows of the table, if the tokenizer has added tokens beyond them.
///
/// # Errors
/// `BAD_CHECKPOINT` if a token that any text may give lies beyond.
fn beyond(inner: &tokenizers::Tokenizer, template: &Template, rows: usize, file: &Path) -> Result<Option<u32>> {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let vocabulary = inner.get_vocab(false);
    let highest = vocabulary.iter().max_by_key(|(_, id)| **id).map(|(token, id)| (token.clone(), *id));
    let around = template.tokens().into_iter().max().map(|id| (inner.id_to_token(id).unwrap_or_default(), id));
    for (token, id) in highest.into_iter().chain(around) {
        if id >= rows {
            let message = format!(
                "the token {token:?} has the id {id}, but the model's embedding table has {rows} rows. The tokenizer \
                 belongs to another model."
            );
            return Err(Error::bad_checkpoint(file, message).with("id", id).with("rows", rows));
        }
    }
    let added_beyond = inner.get_added_tokens_decoder().keys().any(|&id| id >= rows);
    Ok(added_beyond.then_some(rows))
}
