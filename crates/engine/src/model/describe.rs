//! From a folder to a [`ModelSpec`]: what sentence-transformers would do with it, then the catalogue,
//! then the caller.

use std::path::{Path, PathBuf};

use super::config::{self, architecture};
use super::folder::{Folder, Json, refuse_pointer};
use super::limits::{Lengths, matryoshka};
use super::modules::{self, Chain, PoolingModule};
use super::tokenizer_files::{Parts, Tokenizer};
use super::{
    Architecture, Attention, BackendKind, EndToken, HeadModule, ModelFiles, ModelOverrides, ModelSpec, Pooling, card,
    catalogue, sbert, static_table, tasks, weights,
};
use crate::error::{Code, Error, Result};
use crate::hub::Located;

/// Reads everything in a model's folder but its weights.
///
/// A folder without `modules.json` is read as sentence-transformers reads it: mean pooling, or the last
/// token if `architectures` names a causal language model (and `is_causal` is not false), and no
/// normalising. Where sentence-transformers would put each text through a chat template (no
/// `modules.json`, and the tokenizer has a template), the folder is refused unless the caller (or the
/// catalogue) says how to pool: texts are then embedded as they stand.
///
/// If the folder has both safetensors and an ONNX export, our own encoders run it where they can. An
/// architecture that they do not know, or whose code is the model's own, runs from its export.
///
/// [`ModelSpec::content`] is left empty, since it takes reading the weights: see
/// [`super::content_digest`].
///
/// # Errors
/// `MODEL_UNSUPPORTED` (what was found, what is supported), `BAD_CHECKPOINT` (which file and key),
/// `MODEL_NOT_FOUND` (the folder, or the snapshot, lacks a file), `INVALID_OPTION` for overrides that
/// this model cannot have.
pub fn describe(located: &Located, overrides: &ModelOverrides) -> Result<ModelSpec> {
    let folder = Folder::new(located);
    let known = catalogue::find(&located.id).filter(|_| located.revision.is_some());
    let Outline { chain, transformer, settings, config, sentence_transformers, tokenizer_file } = outline(folder)?;

    if chain.static_table {
        let outline = Outline { chain, transformer, settings, config, sentence_transformers, tokenizer_file };
        return describe_static(located, outline, overrides);
    }
    let tokenizer = Tokenizer::read(&transformer, &config, &settings.tokenizer)?;
    tokenizer.settings()?;
    refuse_pointer(&tokenizer_file)?;
    let parts = Parts::read(&tokenizer_file)?;

    let (backend, architecture, weights) = choose_backend(folder, &chain, &config, overrides)?;
    weights.iter().try_for_each(|file| refuse_pointer(file))?;
    let folder_pooling = match known.and_then(|known| known.pooling) {
        Some(mode) => {
            let found = chain.pooling;
            PoolingModule {
                mode,
                include_prompt: found.is_none_or(|found| found.include_prompt),
                width: found.and_then(|found| found.width),
            }
        }
        None => pooling_without_modules(&chain, &config, backend, overrides.pooling, || {
            tokenizer.has_chat_template(&transformer)
        })?,
    };
    let qwen = matches!(architecture, Architecture::Qwen(_)) || is_qwen(&config)?;
    let end_token = if qwen && folder_pooling.mode == Pooling::LastToken && !parts.appends() {
        tokenizer.qwen_end_token(&tokenizer_file, &parts, known.and_then(|known| known.end_token))?
    } else {
        EndToken::Tokenizer
    };

    let width = head_width(&chain.head, token_width(&architecture, &config, folder_pooling)?, folder)?;
    let truncate_dim = truncate_dim(&sentence_transformers)?.filter(|&cut| cut < width);
    let lengths = Lengths {
        config: &config,
        architecture: &architecture,
        max_seq_length: settings.max_seq_length,
        model_max_length: tokenizer.max_length()?,
        known,
    };
    Ok(ModelSpec {
        id: located.id.clone(),
        revision: located.revision.clone(),
        backend,
        attention: attention(&config, &architecture, known, overrides)?,
        pooling: pooling(folder_pooling.mode, backend, overrides)?,
        include_prompt: folder_pooling.include_prompt,
        tasks: tasks::read(&sentence_transformers, &config, known, overrides)?,
        end_token,
        lower_case: settings.lower_case,
        max_tokens: lengths.max_tokens(overrides)?,
        dimensions: truncate_dim.unwrap_or(width),
        matryoshka: matryoshka(&config, truncate_dim, width, known, overrides)?,
        license: known.map(catalogue::Known::license).or_else(|| card::license(folder.root())),
        content: String::new(),
        head: chain.head,
        architecture,
        files: ModelFiles { root: folder.root().to_owned(), transformer, tokenizer: tokenizer_file, weights },
    })
}

/// A table with one row a token has no configuration but its own size.
fn describe_static(located: &Located, outline: Outline, overrides: &ModelOverrides) -> Result<ModelSpec> {
    let folder = Folder::new(located);
    let Outline { chain, transformer, settings, config, sentence_transformers, tokenizer_file } = outline;
    refuse_pointer(&tokenizer_file)?;
    let (backend, architecture, weights) = choose_backend(folder, &chain, &config, overrides)?;
    weights.iter().try_for_each(|file| refuse_pointer(file))?;
    let refused = |option: &str, what: &str| {
        Error::invalid_option(
            option,
            format!("{option} is {what}, but a static model is the mean of its tokens' rows."),
        )
    };
    if overrides.pooling.is_some_and(|pooling| pooling != Pooling::Mean) {
        return Err(refused("pooling", "another than 'mean'"));
    }
    if overrides.causal == Some(true) {
        return Err(refused("causal", "true"));
    }
    if overrides.max_tokens == Some(0) {
        return Err(Error::invalid_option("maxTokens", "maxTokens is 0, but must be at least 1."));
    }
    let known = catalogue::find(&located.id).filter(|_| located.revision.is_some());
    let width = head_width(&chain.head, static_table::table_shape(&weights)?.1, folder)?;
    let truncate_dim = truncate_dim(&sentence_transformers)?.filter(|&cut| cut < width);
    Ok(ModelSpec {
        id: located.id.clone(),
        revision: located.revision.clone(),
        backend,
        architecture,
        attention: Attention::Bidirectional,
        pooling: Pooling::Mean,
        include_prompt: true,
        tasks: tasks::read(&sentence_transformers, &config, known, overrides)?,
        end_token: EndToken::Tokenizer,
        lower_case: settings.lower_case,
        max_tokens: overrides.max_tokens.or(settings.max_seq_length).unwrap_or(STATIC_MAX_TOKENS),
        dimensions: truncate_dim.unwrap_or(width),
        matryoshka: matryoshka(&config, truncate_dim, width, known, overrides)?,
        license: known.map(catalogue::Known::license).or_else(|| card::license(folder.root())),
        content: String::new(),
        head: chain.head,
        files: ModelFiles { root: folder.root().to_owned(), transformer, tokenizer: tokenizer_file, weights },
    })
}

/// What the small files of a folder say.
pub(super) struct Outline {
    pub(super) chain: Chain,
    pub(super) transformer: PathBuf,
    pub(super) settings: sbert::Settings,
    pub(super) config: Json,
    pub(super) sentence_transformers: Json,
    pub(super) tokenizer_file: PathBuf,
}

/// Reads the small files of a folder, and refuses what is no embedder that we run.
pub(super) fn outline(folder: Folder<'_>) -> Result<Outline> {
    let chain = modules::read(folder)?;
    let transformer = chain.transformer.clone();
    let settings = sbert::read(&transformer)?;
    let config_file = transformer.join("config.json");
    let mut config = match chain.static_table {
        true => Json::read_or_empty(&config_file)?,
        false => Json::read(&config_file)?.ok_or_else(|| folder.missing(&config_file, ""))?,
    };
    config.overlay(&settings.config);
    let sentence_transformers = Json::read_or_empty(&folder.root().join("config_sentence_transformers.json"))?;
    refuse_other_models(folder, &sentence_transformers, &chain, &config, &transformer)?;
    let tokenizer_file = tokenizer_json(folder, &transformer)?;
    Ok(Outline { chain, transformer, settings, config, sentence_transformers, tokenizer_file })
}

/// Folders that are something else than a dense embedder of texts.
fn refuse_other_models(
    folder: Folder<'_>,
    sentence_transformers: &Json,
    chain: &Chain,
    config: &Json,
    transformer: &Path,
) -> Result<()> {
    if let Some(kind) = sentence_transformers.str("model_type")?
        && kind != "SentenceTransformer"
    {
        return Err(Error::unsupported(format!(
            "{}: the model is a {kind}. Supported is SentenceTransformer, one vector for each text.",
            sentence_transformers.file().display()
        )));
    }
    if folder.has(&transformer.join("adapter_config.json")) {
        return Err(Error::unsupported(format!(
            "{}: found a PEFT adapter (adapter_config.json). Supported are whole models: merge it \
             (`merge_and_unload()`) and save the result.",
            transformer.display()
        )));
    }
    // Code of the model's own is only known for Jina v3 and its like: adapters chosen by task.
    match &chain.custom {
        Some(class) if config.get("lora_adaptations").is_none() => Err(Error::unsupported(format!(
            "{}: the transformer has the type {class}, which is Python code of the model's own. Supported are the \
             modules of sentence-transformers.",
            chain.transformer.join("modules.json").display()
        ))),
        _ => Ok(()),
    }
}

fn tokenizer_json(folder: Folder<'_>, transformer: &Path) -> Result<PathBuf> {
    let file = transformer.join("tokenizer.json");
    if folder.has(&file) {
        return Ok(file);
    }
    let others = ["vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model", "spiece.model"];
    match others.into_iter().find(|name| folder.has(&transformer.join(name))) {
        Some(name) => Err(Error::unsupported(format!(
            "{}: found a tokenizer in {name} only. Supported is tokenizer.json, which transformers writes: \
             `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`.",
            transformer.display()
        ))),
        None => Err(folder.missing(&file, "")),
    }
}

/// Which of our backends runs the folder, and the weights that it reads.
pub(super) fn choose_backend(
    folder: Folder<'_>,
    chain: &Chain,
    config: &Json,
    overrides: &ModelOverrides,
) -> Result<(BackendKind, Architecture, Vec<PathBuf>)> {
    let transformer = &chain.transformer;
    let candle = || -> Result<Option<(BackendKind, Architecture, Vec<PathBuf>)>> {
        if let Some(class) = &chain.custom {
            return Err(Error::unsupported(format!(
                "{}: the transformer is Python code of the model's own ({class}), and there is no ONNX export of it \
                 (onnx/model.onnx).",
                folder.root().display()
            )));
        }
        let architecture = architecture(config)?;
        let weights = weights::safetensors(folder, transformer)?;
        Ok(weights.map(|weights| (BackendKind::Candle, architecture, weights)))
    };
    let onnx = || -> Result<Option<(BackendKind, Architecture, Vec<PathBuf>)>> {
        let graph = weights::onnx(folder, transformer)?;
        Ok(graph.map(|graph| (BackendKind::Onnx, Architecture::Onnx, vec![graph])))
    };
    let lacks = |backend: &str, files: &str| {
        let message = format!("backend is {backend}, but {} has no {files}.", folder.root().display());
        Error::invalid_option("backend", message)
    };
    if chain.static_table {
        return match overrides.backend {
            None | Some(BackendKind::Static) => {
                let weights = weights::safetensors(folder, transformer)?;
                let weights = weights.ok_or_else(|| weights::none(folder, transformer))?;
                Ok((BackendKind::Static, Architecture::Static, weights))
            }
            Some(_) => Err(Error::invalid_option("backend", "backend must be static: the model is a table.")),
        };
    }
    match overrides.backend {
        Some(BackendKind::Static) => {
            let message = format!("backend is static, but {} is no static model.", folder.root().display());
            Err(Error::invalid_option("backend", message))
        }
        Some(BackendKind::Candle) => candle()?.ok_or_else(|| lacks("candle", "safetensors")),
        // Without an export the graph is written over the safetensors.
        Some(BackendKind::Onnx) => match onnx()? {
            Some(exported) => Ok(exported),
            None => {
                let found =
                    candle()?.ok_or_else(|| lacks("onnx", "ONNX graph (onnx/model.onnx) and no safetensors"))?;
                Ok((BackendKind::Onnx, found.1, found.2))
            }
        },
        None => match candle() {
            Ok(Some(found)) => Ok(found),
            Ok(None) => onnx()?.ok_or_else(|| weights::none(folder, transformer)),
            Err(error) if error.code == Code::ModelUnsupported => onnx()?.ok_or(error),
            Err(error) => Err(error),
        },
    }
}

/// Pooling of a folder whose modules do not tell.
fn pooling_without_modules(
    chain: &Chain,
    config: &Json,
    backend: BackendKind,
    wanted: Option<Pooling>,
    has_chat_template: impl Fn() -> bool,
) -> Result<PoolingModule> {
    if let Some(pooling) = chain.pooling {
        return Ok(pooling);
    }
    let module = |mode| PoolingModule { mode, include_prompt: true, width: None };
    if chain.written {
        return match backend {
            BackendKind::Onnx => Ok(module(Pooling::None)),
            BackendKind::Candle | BackendKind::Static => Err(Error::unsupported(format!(
                "{}: modules.json has no Pooling module, so the model gives no vector for a text. Supported is \
                 Transformer, Pooling, and modules after it.",
                chain.transformer.display()
            ))),
        };
    }
    if wanted.is_none() && has_chat_template() {
        return Err(Error::unsupported(format!(
            "{}: there is no modules.json, and the tokenizer has a chat template: sentence-transformers would put each \
             text through it, which is not supported. To embed texts as they stand, say how to pool them, such as \
             modelDefaults: {{ <model>: {{ pooling: 'lasttoken' }} }}.",
            chain.transformer.display()
        )));
    }
    let told = config.bool("is_causal")?.unwrap_or(!config.has("is_causal"));
    Ok(module(if config::is_causal_lm(config)? && told { Pooling::LastToken } else { Pooling::Mean }))
}

/// A static model reads texts of any length in the same way. This bounds the memory of one.
const STATIC_MAX_TOKENS: usize = 1 << 20;

fn is_qwen(config: &Json) -> Result<bool> {
    Ok(matches!(config::family(config)?, Some(config::Family::Qwen2 | config::Family::Qwen3)))
}

/// config.json, then the catalogue, then the caller.
fn attention(
    config: &Json,
    architecture: &Architecture,
    known: Option<&catalogue::Known>,
    overrides: &ModelOverrides,
) -> Result<Attention> {
    let found = known.and_then(|known| known.attention).map_or_else(|| config::attention(config), Ok)?;
    let Some(causal) = overrides.causal else { return Ok(found) };
    let wanted = if causal { Attention::Causal } else { Attention::Bidirectional };
    let fixed = match architecture {
        Architecture::Qwen(_) => false,
        Architecture::Bert(_) | Architecture::Static => causal,
        Architecture::Onnx => wanted != found,
    };
    if fixed {
        let what = if *architecture == Architecture::Onnx { "an ONNX graph" } else { "an encoder such as BERT" };
        let message = format!("causal is {causal}, but the attention of {what} is what it was trained with.");
        return Err(Error::invalid_option("causal", message));
    }
    Ok(wanted)
}

fn pooling(found: Pooling, backend: BackendKind, overrides: &ModelOverrides) -> Result<Pooling> {
    match overrides.pooling {
        Some(Pooling::None) if backend != BackendKind::Onnx => {
            Err(Error::invalid_option("pooling", "pooling is 'none', but only an ONNX graph can pool by itself."))
        }
        Some(wanted) => Ok(wanted),
        None => Ok(found),
    }
}

/// Width of a token's vector.
fn token_width(architecture: &Architecture, config: &Json, pooling: PoolingModule) -> Result<usize> {
    match architecture {
        Architecture::Qwen(qwen) => Ok(qwen.hidden_size),
        Architecture::Bert(bert) => Ok(bert.hidden_size),
        Architecture::Onnx | Architecture::Static => match config::hidden_size(config)? {
            Some(width) => Ok(width),
            None => pooling.width.ok_or_else(|| config.wrong("hidden_size", "the width of the model's vectors")),
        },
    }
}

/// Width after the head; each Dense must take what comes before it.
fn head_width(head: &[HeadModule], tokens: usize, folder: Folder<'_>) -> Result<usize> {
    let mut width = tokens;
    for module in head {
        if let HeadModule::Dense { file, in_features, out_features, .. } = module {
            if *in_features != width {
                let config = file.parent().unwrap_or(folder.root()).join("config.json");
                let message = format!("`in_features` is {in_features}, but what comes before it is {width} wide.");
                return Err(Error::bad_checkpoint(config, message).with("key", "in_features"));
            }
            width = *out_features;
        }
    }
    Ok(width)
}

/// sentence-transformers cuts every vector to `truncate_dim` by default, after all modules.
fn truncate_dim(sentence_transformers: &Json) -> Result<Option<usize>> {
    sentence_transformers.size("truncate_dim", 1..=modules::MAX_WIDTH)
}
