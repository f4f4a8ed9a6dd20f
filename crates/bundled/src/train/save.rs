//! The folder of the model.

use std::fs;
use std::path::Path;

use embedding_engine::train::static_table::Quantized;
use serde_json::json;

/// Writes weights and configuration; the tokenizer and the cards are written by who has them.
pub fn save(folder: &Path, table: &Quantized, matryoshka: &[usize]) -> Result<(), String> {
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).map_err(|error| format!("{}: {error}", folder.join(name).display()))
    };
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let pretty = |value: serde_json::Value| format!("{value:#}\n").into_bytes();
    write("model.safetensors", &safetensors(table))?;
    write(
        "modules.json",
        &pretty(json!([
            { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding" },
            { "idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize" },
        ])),
    )?;
    write(
        "config.json",
        &pretty(json!({
            "model_type": "static_embedding",
            "vocab_size": table.scales.len(),
            "hidden_size": table.width,
            "matryoshka_dimensions": matryoshka,
        })),
    )
}

/// Two tensors: `embedding.weight` in I8 and the scale of each row.
fn safetensors(table: &Quantized) -> Vec<u8> {
    let (rows, width) = (table.scales.len(), table.width);
    let scales: Vec<u8> = table.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    let header = json!({
        "embedding.scale": { "dtype": "F32", "shape": [rows], "data_offsets": [0, scales.len()] },
        "embedding.weight": {
            "dtype": "I8",
            "shape": [rows, width],
            "data_offsets": [scales.len(), scales.len() + table.codes.len()],
        },
    });
    let mut header = header.to_string();
    // The data begins at a multiple of eight, as the format asks.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(scales);
    bytes.extend(table.codes.iter().map(|code| code.cast_unsigned()));
    bytes
}
