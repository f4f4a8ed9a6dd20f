//! What an ONNX file says of its weights: their precision and size, and the files beside it that
//! hold them.
//!
//! ONNX Runtime reads the graph itself. This walk over the protobuf comes first, because it names
//! the file that is cut or missing where ONNX Runtime's message does not. It decodes no weights and
//! touches only the headers of a mapped file. Field numbers are those of `onnx.proto` (IR version 13).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;

use super::protobuf::{Fields, Value};
use crate::error::{Error, Result};

/// Graphs within graphs (branches of `If`, bodies of `Loop`) that a file may have. Exporters nest
/// two or three deep; a broken file must not exhaust the stack.
const MAX_DEPTH: usize = 32;

/// The weights of a graph.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    /// Bytes by ONNX element type, tensors and constants together.
    bytes: BTreeMap<u64, u64>,
    /// Files that hold tensors, as the graph names them, with the size that each must have at least.
    external: BTreeMap<String, u64>,
}

impl Weights {
    /// Precision in which most of the weights are stored, such as `float32`.
    pub(super) fn dtype(&self) -> &'static str {
        let kinds = self.bytes.iter().filter_map(|(kind, bytes)| Some((weight_name(*kind)?, bytes)));
        kinds.max_by_key(|(_, bytes)| **bytes).map_or("float32", |(name, _)| name)
    }

    /// The graph in `file`, and the files beside it that hold its tensors.
    pub(super) fn files(&self, file: &Path) -> impl Iterator<Item = PathBuf> {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        std::iter::once(file.to_owned()).chain(self.external.keys().map(move |location| folder.join(location)))
    }

    /// Bytes of all weights.
    pub(super) fn total(&self) -> u64 {
        self.bytes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// Reads the graph in `file` and makes sure that the files beside it are there and long enough.
///
/// # Errors
/// `BAD_CHECKPOINT` naming the file at fault: no ONNX graph, cut, or a file of weights that is
/// missing, too short or outside the folder.
pub(super) fn inspect(file: &Path) -> Result<Weights> {
    let unreadable = |error: std::io::Error| Error::bad_checkpoint(file, format!("cannot be read: {error}"));
    let handle = File::open(file).map_err(unreadable)?;
    if !handle.metadata().map_err(unreadable)?.is_file() {
        return Err(Error::bad_checkpoint(file, "is not a file."));
    }
    // SAFETY: the mapping is read-only, private to this function, and the file is a checkpoint that
    // nobody changes in place; the safetensors reader relies on the same.
    let bytes = unsafe { Mmap::map(&handle) }.map_err(unreadable)?;
    let weights = parse(&bytes).map_err(|reason| Error::bad_checkpoint(file, reason))?;
    for (location, size) in &weights.external {
        check_external(file, location, *size)?;
    }
    Ok(weights)
}

/// Makes sure that the file `location` of the graph in `file` is there, inside the folder, and holds
/// `size` bytes.
fn check_external(file: &Path, location: &str, size: u64) -> Result<()> {
    let relative = Path::new(location);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !inside {
        let reason = format!("keeps weights in {location:?}, which is outside its folder: that is not allowed.");
        return Err(Error::bad_checkpoint(file, reason));
    }
    let data: PathBuf = file.parent().unwrap_or(Path::new("")).join(relative);
    match data.metadata() {
        Err(error) => {
            let reason = format!("holds the weights of {}, but cannot be opened: {error}", file.display());
            Err(Error::bad_checkpoint(data, reason))
        }
        Ok(found) if found.len() < size => {
            let reason = format!("is cut: {} bytes of at least {size} that {} needs.", found.len(), file.display());
            Err(Error::bad_checkpoint(data, reason))
        }
        Ok(_) => Ok(()),
    }
}

/// Walks a serialized `ModelProto`.
fn parse(bytes: &[u8]) -> Result<Weights, String> {
    if bytes.is_empty() {
        return Err("is empty.".to_owned());
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("is a Git LFS pointer, not the graph itself: fetch it with `git lfs pull`.".to_owned());
    }
    let mut weights = Weights::default();
    let mut graphs = 0;
    let walked = model(bytes, &mut weights, &mut graphs);
    walked.map_err(|reason| format!("is cut or is not an ONNX graph ({reason})."))?;
    if graphs == 0 {
        return Err("is cut or is not an ONNX graph (it holds no graph).".to_owned());
    }
    Ok(weights)
}

fn model(bytes: &[u8], weights: &mut Weights, graphs: &mut usize) -> Result<(), String> {
    for field in Fields::new(bytes) {
        match field? {
            // A message that is split in two parts is merged by protobuf, so there may be several.
            (7, Value::Bytes(bytes)) => {
                *graphs += 1;
                graph(bytes, weights, 0)?;
            }
            (25, Value::Bytes(bytes)) => function(bytes, weights)?,
            _ => {}
        }
    }
    Ok(())
}

fn graph(bytes: &[u8], weights: &mut Weights, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("graphs nested deeper than {MAX_DEPTH}"));
    }
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => node(bytes, weights, depth)?,
            (5, Value::Bytes(bytes)) => tensor(bytes, weights)?,
            (15, Value::Bytes(bytes)) => sparse_tensor(bytes, weights)?,
            _ => {}
        }
    }
    Ok(())
}

fn function(bytes: &[u8], weights: &mut Weights) -> Result<(), String> {
    for field in Fields::new(bytes) {
        if let (7, Value::Bytes(bytes)) = field? {
            node(bytes, weights, 0)?;
        }
    }
    Ok(())
}

fn node(bytes: &[u8], weights: &mut Weights, depth: usize) -> Result<(), String> {
    for field in Fields::new(bytes) {
        if let (5, Value::Bytes(bytes)) = field? {
            attribute(bytes, weights, depth)?;
        }
    }
    Ok(())
}

fn attribute(bytes: &[u8], weights: &mut Weights, depth: usize) -> Result<(), String> {
    for field in Fields::new(bytes) {
        match field? {
            (5 | 10, Value::Bytes(bytes)) => tensor(bytes, weights)?,
            (6 | 11, Value::Bytes(bytes)) => graph(bytes, weights, depth + 1)?,
            (22 | 23, Value::Bytes(bytes)) => sparse_tensor(bytes, weights)?,
            _ => {}
        }
    }
    Ok(())
}

fn sparse_tensor(bytes: &[u8], weights: &mut Weights) -> Result<(), String> {
    for field in Fields::new(bytes) {
        if let (1 | 2, Value::Bytes(bytes)) = field? {
            tensor(bytes, weights)?;
        }
    }
    Ok(())
}

fn tensor(bytes: &[u8], weights: &mut Weights) -> Result<(), String> {
    let (mut kind, mut elements) = (0, 1_u64);
    let (mut location, mut offset, mut length) = (None, 0_u64, None);
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Varint(dimension)) => elements = elements.saturating_mul(dimension),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    elements = elements.saturating_mul(super::protobuf::varint(&mut packed)?);
                }
            }
            (2, Value::Varint(value)) => kind = value,
            (13, Value::Bytes(entry)) => {
                let (key, value) = string_entry(entry)?;
                let number = || value.parse().map_err(|_| format!("external data with {key} {value:?}"));
                match key {
                    "location" => location = Some(value),
                    "offset" => offset = number()?,
                    "length" => length = Some(number()?),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let size = elements.saturating_mul(bits(kind)).div_ceil(8);
    let sum = weights.bytes.entry(kind).or_default();
    *sum = sum.saturating_add(size);
    if let Some(location) = location {
        let end = offset.saturating_add(length.unwrap_or(size));
        let needed = weights.external.entry(location.to_owned()).or_default();
        *needed = end.max(*needed);
    }
    Ok(())
}

/// A `StringStringEntryProto`.
fn string_entry(bytes: &[u8]) -> Result<(&str, &str), String> {
    let (mut key, mut value) = ("", "");
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a string that is not UTF-8".to_owned())
}

/// Bits of one element of a `TensorProto.DataType`; 0 for strings and what is unknown.
fn bits(kind: u64) -> u64 {
    match kind {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => 0,
    }
}

/// The name of a `TensorProto.DataType` that weights come in; `None` for indices, flags and text.
fn weight_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "float32",
        10 => "float16",
        16 => "bfloat16",
        11 => "float64",
        2 => "uint8",
        3 => "int8",
        17..=20 | 24 => "float8",
        21 => "uint4",
        22 => "int4",
        23 => "float4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
