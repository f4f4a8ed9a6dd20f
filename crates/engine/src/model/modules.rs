//! `modules.json`: the modules of a sentence-transformers model, in the order in which they run.
//!
//! Types are Python classes. The last part of the name decides, since the modules moved between
//! packages: `sentence_transformers.models.Pooling` (before 5.4) and
//! `sentence_transformers.sentence_transformer.modules.pooling.Pooling` are the same class.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folder::{Folder, Json, read_value, shorten};
use super::{Activation, HeadModule, Pooling};
use crate::error::{Error, Result};

/// The largest width of a vector or a layer that is believed.
pub(super) const MAX_WIDTH: usize = 1 << 20;

/// What the folder says about the way from tokens to a vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    /// The folder of the transformer.
    pub(super) transformer: PathBuf,
    /// The type of the transformer module where it is Python code of the model's own.
    pub(super) custom: Option<String>,
    /// Pooling; `None` where the folder says nothing about it.
    pub(super) pooling: Option<PoolingModule>,
    /// Modules after pooling.
    pub(super) head: Vec<HeadModule>,
    /// Whether the first module is a table with one row a token (`StaticEmbedding`), not a transformer.
    pub(super) static_table: bool,
    /// Whether there was a modules.json.
    pub(super) written: bool,
}

/// A `Pooling` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolingModule {
    pub(super) mode: Pooling,
    pub(super) include_prompt: bool,
    /// Width of a token's vector, where it is written.
    pub(super) width: Option<usize>,
}

const SUPPORTED: &str = "Supported are Transformer and Pooling, or StaticEmbedding; then Dense, Normalize and Dropout.";

/// Reads `modules.json`; a folder without one is a transformer alone.
pub(super) fn read(folder: Folder<'_>) -> Result<Chain> {
    let file = folder.root().join("modules.json");
    let mut chain = Chain {
        transformer: folder.root().to_owned(),
        custom: None,
        pooling: None,
        head: Vec::new(),
        static_table: false,
        written: false,
    };
    let modules = match read_value(&file)? {
        None => return Ok(chain),
        Some(Value::Array(modules)) if !modules.is_empty() => modules,
        Some(other) => {
            let message = format!("must be a list of modules, but is {}.", shorten(&other));
            return Err(Error::bad_checkpoint(&file, message));
        }
    };
    chain.written = true;
    for (index, module) in modules.into_iter().enumerate() {
        let Value::Object(module) = module else {
            return Err(Error::bad_checkpoint(
                &file,
                format!("module {index} is {}, not an object.", shorten(&module)),
            ));
        };
        let module = Json::of(&file, module);
        let class = module.str("type")?.ok_or_else(|| module.wrong("type", "the name of a class"))?;
        let relative = module.str("path")?.unwrap_or_default();
        let path = folder
            .inside(folder.root(), relative)
            .ok_or_else(|| module.wrong("path", "a path inside the model's folder"))?;
        add(&mut chain, folder, index, class, path, &file)?;
    }
    Ok(chain)
}

fn add(chain: &mut Chain, folder: Folder<'_>, index: usize, class: &str, path: PathBuf, file: &Path) -> Result<()> {
    let unsupported =
        |what: String| Error::unsupported(format!("{}: {what} {SUPPORTED}", file.display())).with("module", class);
    let own = class.starts_with("sentence_transformers.");
    let name = class.rsplit('.').next().unwrap_or(class);
    match name {
        "Transformer" if index == 0 => {
            chain.transformer = path;
            chain.custom = (!own).then(|| class.to_owned());
        }
        "StaticEmbedding" if index == 0 && own => {
            chain.transformer = path;
            chain.static_table = true;
            chain.pooling = Some(PoolingModule { mode: Pooling::Mean, include_prompt: true, width: None });
        }
        _ if !own => {
            return Err(unsupported(format!(
                "module {index} has the type {class}, which is Python code of the model's own."
            )));
        }
        _ if index == 0 => {
            return Err(unsupported(format!("the first module is {class}, not a Transformer or a StaticEmbedding.")));
        }
        "Pooling" if chain.pooling.is_none() && chain.head.is_empty() => {
            chain.pooling = Some(pooling(folder, &path, file)?)
        }
        "Dense" if chain.pooling.is_some() => chain.head.push(dense(folder, &path, file)?),
        "Normalize" if chain.pooling.is_some() => {
            whole_sentence(&Json::read_or_empty(&path.join("config.json"))?)?;
            chain.head.push(HeadModule::Normalize);
        }
        // Drops nothing once training is over.
        "Dropout" => {}
        "Pooling" | "Dense" | "Normalize" | "Transformer" => {
            return Err(unsupported(format!("module {index} ({name}) stands where we do not expect it.")));
        }
        _ => return Err(unsupported(format!("module {index} has the type {class}."))),
    }
    Ok(())
}

/// `1_Pooling/config.json`, in both spellings: `pooling_mode` (a name or a list) and the booleans
/// `pooling_mode_*`, of which none means mean. If both are there the first one counts.
fn pooling(folder: Folder<'_>, path: &Path, modules: &Path) -> Result<PoolingModule> {
    const BOOLEANS: [(&str, &str); 6] = [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_max_tokens", "max"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
        ("pooling_mode_weightedmean_tokens", "weightedmean"),
        ("pooling_mode_lasttoken", "lasttoken"),
    ];
    let file = path.join("config.json");
    let config = Json::read(&file)?.ok_or_else(|| folder.dangling(&file, modules))?;
    let modes: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(_)) => config.strings("pooling_mode")?.unwrap_or_default(),
        Some(_) => return Err(config.wrong("pooling_mode", "a name or a list of names")),
        None => {
            let mut modes = Vec::new();
            for (key, mode) in BOOLEANS {
                if config.bool(key)? == Some(true) {
                    modes.push(mode);
                }
            }
            if modes.is_empty() { vec!["mean"] } else { modes }
        }
    };
    let mode = match modes[..] {
        [mode] => parse_pooling(mode).ok_or_else(|| {
            Error::unsupported(format!(
                "{}: the pooling mode {mode:?} is unknown. Supported are cls, max, mean, mean_sqrt_len_tokens, \
                 weightedmean and lasttoken.",
                file.display()
            ))
        })?,
        _ => {
            return Err(Error::unsupported(format!(
                "{}: the model joins {} pooling modes ({}). Supported is one.",
                file.display(),
                modes.len(),
                modes.join(", ")
            )));
        }
    };
    let width = match config.size("embedding_dimension", 1..=MAX_WIDTH)? {
        Some(width) => Some(width),
        None => config.size("word_embedding_dimension", 1..=MAX_WIDTH)?,
    };
    Ok(PoolingModule { mode, include_prompt: config.bool("include_prompt")?.unwrap_or(true), width })
}

fn parse_pooling(mode: &str) -> Option<Pooling> {
    Some(match mode {
        "cls" => Pooling::Cls,
        "max" => Pooling::Max,
        "mean" => Pooling::Mean,
        "mean_sqrt_len_tokens" => Pooling::MeanSqrtLen,
        "weightedmean" => Pooling::WeightedMean,
        "lasttoken" => Pooling::LastToken,
        _ => return None,
    })
}

/// `2_Dense/config.json`. A missing activation is Tanh, as in sentence-transformers; one that it would
/// quietly replace by Tanh is refused here.
fn dense(folder: Folder<'_>, path: &Path, modules: &Path) -> Result<HeadModule> {
    let config_file = path.join("config.json");
    let config = Json::read(&config_file)?.ok_or_else(|| folder.dangling(&config_file, modules))?;
    whole_sentence(&config)?;
    let in_features = config.required_size("in_features", 1..=MAX_WIDTH)?;
    let out_features = config.required_size("out_features", 1..=MAX_WIDTH)?;
    let bias = config.bool("bias")?.unwrap_or(true);
    if config.bool("use_residual")?.unwrap_or(false) {
        return Err(Error::unsupported(format!(
            "{}: a Dense module with use_residual is not supported.",
            config_file.display()
        )));
    }
    let activation = match config.str("activation_function")? {
        None => Activation::Tanh,
        Some(name) => name
            .strip_prefix("torch.nn.modules.")
            .or_else(|| name.strip_prefix("torch.nn."))
            .and_then(|rest| rest.rsplit('.').next())
            .and_then(|class| match class {
                "Identity" => Some(Activation::Identity),
                "Tanh" => Some(Activation::Tanh),
                "GELU" => Some(Activation::Gelu),
                "ReLU" => Some(Activation::Relu),
                "SiLU" => Some(Activation::Silu),
                "Sigmoid" => Some(Activation::Sigmoid),
                _ => None,
            })
            .ok_or_else(|| {
                Error::unsupported(format!(
                    "{}: the activation {name} is not supported. Supported are Identity, Tanh, GELU, ReLU, SiLU and \
                     Sigmoid of torch.nn.",
                    config_file.display()
                ))
            })?,
    };
    let file = path.join("model.safetensors");
    if !folder.has(&file) {
        return Err(if folder.has(&path.join("pytorch_model.bin")) {
            Error::unsupported(format!(
                "{}: the weights of this Dense module are a pickle (pytorch_model.bin), which is not read because it \
                 can run code. Load the model in sentence-transformers and save it again: it writes safetensors.",
                path.display()
            ))
        } else {
            folder.dangling(&file, modules)
        });
    }
    Ok(HeadModule::Dense { file, in_features, out_features, bias, activation })
}

/// Dense and Normalize can be told to work on token vectors; then they stand for something else.
fn whole_sentence(config: &Json) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        if let Some(name) = config.str(key)?
            && name != "sentence_embedding"
        {
            return Err(Error::unsupported(format!(
                "{}: `{key}` is {name:?}. Supported is sentence_embedding.",
                config.file().display()
            )));
        }
    }
    Ok(())
}
