//! Which files hold the weights: safetensors for our own encoders, or an ONNX graph.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folder::{Folder, Json, refuse_pointer, shorten};
use super::onnx_files;
use crate::error::{Error, Result};

/// No checkpoint has more shards.
const MAX_SHARDS: usize = 10_000;

/// `model.safetensors`, else the shards that `model.safetensors.index.json` names, sorted; `None` if the
/// folder has neither.
///
/// # Errors
/// `BAD_CHECKPOINT` for an index that names files outside the folder or files that are missing.
pub(super) fn safetensors(folder: Folder<'_>, transformer: &Path) -> Result<Option<Vec<PathBuf>>> {
    let single = transformer.join("model.safetensors");
    if folder.has(&single) {
        return Ok(Some(vec![single]));
    }
    let index_file = transformer.join("model.safetensors.index.json");
    let Some(index) = Json::read(&index_file)? else { return Ok(None) };
    let map = index.object("weight_map")?.ok_or_else(|| index.wrong("weight_map", "an object"))?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map.entries() {
        let path = shard.as_str().filter(|name| !name.is_empty()).and_then(|name| folder.inside(transformer, name));
        let Some(path) = path else {
            let message = format!(
                "the tensor {} lies in {}, which is no file name inside the model's folder.",
                shorten(&Value::from(tensor.as_str())),
                shorten(shard)
            );
            return Err(Error::bad_checkpoint(&index_file, message).with("key", "weight_map"));
        };
        shards.insert(path);
    }
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        let message = format!("names {} shards.", shards.len());
        return Err(Error::bad_checkpoint(&index_file, message).with("key", "weight_map"));
    }
    if let Some(missing) = shards.iter().find(|shard| !folder.has(shard)) {
        return Err(folder.dangling(missing, &index_file));
    }
    Ok(Some(shards.into_iter().collect()))
}

/// `onnx/model.onnx` or `model.onnx`, in the transformer's folder or the model's; where there is none of
/// this name, the only graph in those folders. Files with the graph's weights must be there as well.
///
/// # Errors
/// `MODEL_UNSUPPORTED` for several graphs of which none is `model.onnx`, `BAD_CHECKPOINT` for a broken
/// graph, or one whose weights lie elsewhere.
pub(super) fn onnx(folder: Folder<'_>, transformer: &Path) -> Result<Option<PathBuf>> {
    let mut places = Vec::new();
    for base in [transformer, folder.root()] {
        for place in [base.join("onnx"), base.to_owned()] {
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    let named = places.iter().map(|place| place.join("model.onnx")).find(|graph| folder.has(graph));
    let graph = match named {
        Some(graph) => graph,
        None => {
            let graphs: Vec<PathBuf> = places.iter().flat_map(|place| graphs(folder, place)).collect();
            match &graphs[..] {
                [] => return Ok(None),
                [graph] => graph.clone(),
                several => {
                    let names: Vec<_> = several.iter().filter_map(|path| path.file_name()?.to_str()).collect();
                    return Err(Error::unsupported(format!(
                        "{}: found the ONNX graphs {}. Supported is one named model.onnx, or a single graph: \
                         leave the one to use.",
                        folder.root().display(),
                        names.join(", ")
                    )));
                }
            }
        }
    };
    // What lies beside it is known once the graph itself is there.
    if folder.is_to_come(&graph) {
        return Ok(Some(graph));
    }
    refuse_pointer(&graph)?;
    for data in onnx_files::external_data(&graph)? {
        if !folder.has(&data) {
            return Err(folder.dangling(&data, &graph));
        }
        if !folder.is_to_come(&data) {
            refuse_pointer(&data)?;
        }
    }
    Ok(Some(graph))
}

fn graphs(folder: Folder<'_>, place: &Path) -> Vec<PathBuf> {
    let mut graphs = folder.files_in(place);
    graphs.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    graphs
}

/// What to say of a folder whose weights are of another kind, or that has none.
pub(super) fn none(folder: Folder<'_>, transformer: &Path) -> Error {
    let found = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"]
        .into_iter()
        .find(|name| folder.has(&transformer.join(name)));
    match found {
        Some(name) => Error::unsupported(format!(
            "{}: the only weights are {name}. Supported are safetensors and ONNX (a pickle can run code). Load the model \
             in sentence-transformers or transformers and save it again with save_pretrained: it writes safetensors.",
            transformer.display()
        ))
        .with("found", name),
        None => folder.missing(&transformer.join("model.safetensors"), ", no model.safetensors.index.json and no ONNX graph"),
    }
}
