//! The size of a static model: it has no configuration but the header of its safetensors file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// The names of a table's tensor: as sentence-transformers' `StaticEmbedding` writes it, and as model2vec does.
pub const TABLES: [&str; 2] = ["embedding.weight", "embeddings"];
/// The scale of each row of a table in I8.
pub const SCALE: &str = "embedding.scale";

/// No header of a model with so few tensors is longer.
const MAX_HEADER: u64 = 1 << 20;

/// Rows (tokens) and columns of the table.
///
/// # Errors
/// `BAD_CHECKPOINT` without such a table; `MODEL_UNSUPPORTED` for model2vec's tables in which tokens share rows, and
/// for a table in several files.
pub fn table_shape(files: &[PathBuf]) -> Result<(usize, usize)> {
    let [file] = files else {
        let place = files.first().map_or_else(|| Path::new("."), PathBuf::as_path);
        return Err(Error::unsupported(format!("{}: the table is in {} files.", place.display(), files.len())));
    };
    let header = read_header(file)?;
    if let Some(name) = ["mapping", "weights"].into_iter().find(|name| header.get(name).is_some()) {
        return Err(Error::unsupported(format!(
            "{}: the table has a tensor {name}, with which tokens share or weigh rows. Supported is one row a token.",
            file.display()
        )));
    }
    let table = TABLES.iter().find_map(|name| header.get(name));
    let table = table.ok_or_else(|| Error::bad_checkpoint(file, "has no tensor embedding.weight."))?;
    let shape: Vec<usize> = serde_json::from_value(table["shape"].clone()).unwrap_or_default();
    match shape[..] {
        [rows, width] if rows > 0 && width > 0 => Ok((rows, width)),
        _ => Err(Error::bad_checkpoint(
            file,
            format!("the table has the shape {}, but must have [tokens, width].", table["shape"]),
        )),
    }
}

/// The header of a safetensors file: its length in eight bytes, then JSON.
fn read_header(path: &Path) -> Result<Value> {
    let cannot = |error: std::io::Error| Error::bad_checkpoint(path, format!("cannot be read: {error}."));
    let mut file = File::open(path).map_err(cannot)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(cannot)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(Error::bad_checkpoint(path, format!("has a header of {length} bytes, which no table needs.")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(cannot)?;
    serde_json::from_slice(&header)
        .map_err(|error| Error::bad_checkpoint(path, format!("is no safetensors file: {error}.")))
}
