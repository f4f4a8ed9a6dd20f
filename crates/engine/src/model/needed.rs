//! Which files of a repository a model needs.
//!
//! Repositories hold the same weights in several formats and sizes. What is needed follows from the small
//! files: they are named first, and once they are there they tell the weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::describe::{Outline, choose_backend, outline};
use super::folder::{Folder, read_value};
use super::onnx_files::external_data;
use super::{Architecture, HeadModule, License, ModelOverrides, card, catalogue};
use crate::error::Result;
use crate::hub::{Located, Selection};

/// The small files that say what a model is, in the repository and in the folder of each module.
const DESCRIPTIONS: [&str; 11] = [
    "README.md",
    "adapter_config.json",
    "chat_template.jinja",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors.index.json",
    "modules.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// Which files to have next, of those of the repository (path and size): first all that describe the
/// model, then, once these are in `located.root`, the weights. Complete when all that it names are there.
///
/// # Errors
/// As [`super::describe()`]: a model that we cannot run is refused before its weights are fetched.
pub fn needed(located: &Located, files: &BTreeMap<&str, Option<u64>>, overrides: &ModelOverrides) -> Result<Selection> {
    let listing: BTreeSet<String> = files.keys().map(|name| (*name).to_owned()).collect();
    let folder = Folder::planned(located, &listing);
    let mut chosen = descriptions(folder, folder.root());
    if is_to_come(folder, &chosen) {
        return Ok(Selection { files: names(folder, &chosen), later: likely_weights(files) });
    }
    for module in module_folders(folder)? {
        chosen.extend(descriptions(folder, &module));
    }
    if is_to_come(folder, &chosen) {
        return Ok(Selection { files: names(folder, &chosen), later: likely_weights(files) });
    }
    let Outline { chain, config, .. } = outline(folder)?;
    let (_, architecture, weights) = choose_backend(folder, &chain, &config, overrides)?;
    if architecture == Architecture::Onnx {
        for graph in weights.iter().filter(|graph| !folder.is_to_come(graph)) {
            chosen.extend(external_data(graph)?);
        }
    }
    chosen.extend(weights);
    chosen.extend(chain.head.iter().filter_map(|module| match module {
        HeadModule::Dense { file, .. } => Some(file.clone()),
        _ => None,
    }));
    Ok(Selection { files: names(folder, &chosen), later: 0 })
}

/// Whether all files that the model needs are on disk, as far as they tell by themselves.
pub fn is_complete(located: &Located, overrides: &ModelOverrides) -> bool {
    let folder = Folder::new(located);
    // Without its modules a folder means something else: one that another tool left half-fetched.
    let root = folder.root();
    if !root.join("modules.json").exists()
        && (root.join("1_Pooling").exists() || root.join("config_sentence_transformers.json").exists())
    {
        return false;
    }
    outline(folder)
        .and_then(|outline| {
            let (_, _, weights) = choose_backend(folder, &outline.chain, &outline.config, overrides)?;
            Ok(weights.iter().chain([&outline.tokenizer_file]).all(|file| file.exists()))
        })
        .unwrap_or(false)
}

/// The licence of a model whose small files are on disk: as the catalogue has it, else as its README states it.
pub fn license(located: &Located) -> Option<License> {
    let known = catalogue::find(&located.id).filter(|_| located.revision.is_some());
    known.map(catalogue::Known::license).or_else(|| card::license(&located.root))
}

fn descriptions(folder: Folder<'_>, place: &Path) -> BTreeSet<PathBuf> {
    let is_description =
        |name: &str| DESCRIPTIONS.contains(&name) || name.starts_with("sentence_") && name.ends_with("_config.json");
    let mut files: BTreeSet<PathBuf> = folder.files_in(place).into_iter().collect();
    files.retain(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_description));
    files
}

/// The folders of the modules, as far as modules.json names any. What is wrong with it is told later.
fn module_folders(folder: Folder<'_>) -> Result<Vec<PathBuf>> {
    let modules = read_value(&folder.root().join("modules.json"))?.unwrap_or_default();
    let paths = modules.as_array().into_iter().flatten().filter_map(|module| module.get("path")?.as_str());
    Ok(paths.filter(|path| !path.is_empty()).filter_map(|path| folder.inside(folder.root(), path)).collect())
}

fn is_to_come(folder: Folder<'_>, files: &BTreeSet<PathBuf>) -> bool {
    files.iter().any(|file| folder.is_to_come(file))
}

fn names(folder: Folder<'_>, files: &BTreeSet<PathBuf>) -> Vec<String> {
    files.iter().filter_map(|file| folder.name(file)).collect()
}

/// Bytes of the weights that will be wanted, at least, before the small files tell which: so that a disk
/// that is too small is noticed at once.
fn likely_weights(files: &BTreeMap<&str, Option<u64>>) -> u64 {
    let size = |name: &str| files.get(name).copied().flatten();
    let shards: u64 = files
        .iter()
        .filter(|(name, _)| name.starts_with("model-") && name.ends_with(".safetensors"))
        .filter_map(|(_, size)| *size)
        .fold(0, u64::saturating_add);
    let safetensors = size("model.safetensors").or((shards > 0).then_some(shards));
    let graph = size("onnx/model.onnx").map(|graph| graph.saturating_add(size("onnx/model.onnx_data").unwrap_or(0)));
    safetensors.into_iter().chain(graph).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    const QODO: &[(&str, u64)] = &[
        (".gitattributes", 1),
        ("1_Pooling/config.json", 1),
        ("README.md", 1),
        ("config.json", 1),
        ("merges.txt", 1),
        ("model-00001-of-00002.safetensors", 4_990_000_000),
        ("model-00002-of-00002.safetensors", 1_180_000_000),
        ("model.safetensors.index.json", 1),
        ("modules.json", 1),
        ("pytorch_model.bin", 9),
        ("tokenizer.json", 1),
        ("vocab.json", 1),
    ];

    /// Rounds until nothing is missing, with the contents that a hub would have.
    fn rounds(repository: &[(&str, u64)], contents: &[(&str, &str)]) -> Vec<(Vec<String>, u64)> {
        let folder = tempfile::tempdir().unwrap();
        let revision = Some("0".repeat(40));
        let located = Located { id: "o/n".into(), revision, root: folder.path().to_owned() };
        let files: BTreeMap<&str, Option<u64>> = repository.iter().map(|&(name, size)| (name, Some(size))).collect();
        let mut rounds = Vec::new();
        loop {
            let Selection { files, later } = needed(&located, &files, &ModelOverrides::default()).unwrap();
            let missing: Vec<String> = files.into_iter().filter(|file| !folder.path().join(file).exists()).collect();
            if missing.is_empty() {
                return rounds;
            }
            for file in &missing {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let content = contents.iter().find(|(name, _)| name == file).map_or("", |(_, content)| content);
                fs::write(path, content).unwrap();
            }
            rounds.push((missing, later));
        }
    }

    #[test]
    fn shards_follow_their_index() {
        let contents = [
            (
                "config.json",
                r#"{"model_type":"qwen2","architectures":["Qwen2Model"],"hidden_size":8,"num_hidden_layers":1,
                "num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":16,"vocab_size":10,
                "rms_norm_eps":1e-6,"rope_theta":1e6,"max_position_embeddings":64}"#,
            ),
            (
                "modules.json",
                r#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
                {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}]"#,
            ),
            ("1_Pooling/config.json", r#"{"pooling_mode_lasttoken":true}"#),
            (
                "model.safetensors.index.json",
                r#"{"weight_map":{"a":"model-00001-of-00002.safetensors",
                "b":"model-00002-of-00002.safetensors"}}"#,
            ),
            ("tokenizer.json", "{}"),
        ];
        let rounds = rounds(QODO, &contents);
        let small = ["README.md", "config.json", "model.safetensors.index.json", "modules.json", "tokenizer.json"];
        assert_eq!(rounds[0], (small.map(String::from).to_vec(), 6_170_000_000));
        assert_eq!(rounds[1].0, ["1_Pooling/config.json"]);
        assert_eq!(
            rounds[2],
            (vec!["model-00001-of-00002.safetensors".into(), "model-00002-of-00002.safetensors".into()], 0)
        );
        assert_eq!(rounds.len(), 3);
    }

    #[test]
    fn a_model_that_we_cannot_run_is_refused_before_its_weights_come() {
        let folder = tempfile::tempdir().unwrap();
        let located = Located { id: "o/n".into(), revision: Some("0".repeat(40)), root: folder.path().to_owned() };
        fs::write(folder.path().join("config.json"), r#"{"model_type":"mamba"}"#).unwrap();
        fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        let files =
            BTreeMap::from([("config.json", Some(1)), ("tokenizer.json", Some(1)), ("model.safetensors", Some(9))]);
        let error = needed(&located, &files, &ModelOverrides::default()).unwrap_err();
        assert_eq!(error.code, crate::error::Code::ModelUnsupported, "{error}");
        assert!(!is_complete(&located, &ModelOverrides::default()));
    }
}
