//! The files beside an ONNX graph that hold its weights (external data).
//!
//! Just enough protobuf to find them: `ModelProto.graph` (7), in it `node` (1) and `initializer` (5),
//! nested graphs and tensors in the attributes of nodes, `TensorProto.external_data` (13), whose
//! entries are pairs of `key` (1) and `value` (2). See onnx/onnx.proto.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// The external data files of a graph, sorted; empty for a graph that holds its weights itself.
///
/// # Errors
/// `BAD_CHECKPOINT` for what is no ONNX graph, or names a file outside its folder.
pub(super) fn external_data(graph: &Path) -> Result<Vec<PathBuf>> {
    let broken = |what: &str| Error::bad_checkpoint(graph, what);
    let file = std::fs::File::open(graph).map_err(|error| broken(&format!("cannot be read: {error}.")))?;
    let length = file.metadata().map_err(|error| broken(&format!("cannot be read: {error}.")))?.len();
    if length == 0 {
        return Err(broken("the file is empty."));
    }
    // SAFETY: the map is read only, within this call. A file that another process shortens meanwhile
    // would end this process; model files are replaced, not rewritten, by all tools that we know.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| broken(&format!("cannot be mapped: {error}.")))?;
    let mut locations = BTreeSet::new();
    walk_model(&bytes, &mut locations).ok_or_else(|| broken("not a complete ONNX graph."))?;
    let folder = graph.parent().unwrap_or(Path::new(""));
    locations
        .into_iter()
        .map(|location| {
            let inside = !location.contains(['\\', '\0', ':'])
                && Path::new(&location)
                    .components()
                    .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            if inside {
                Ok(folder.join(location))
            } else {
                Err(broken(&format!("its weights lie in {location:?}, which is outside the graph's folder.")))
            }
        })
        .collect()
}

fn walk_model(model: &[u8], locations: &mut BTreeSet<String>) -> Option<()> {
    let mut has_graph = false;
    for field in Fields(model) {
        if let (7, Payload::Bytes(graph)) = field? {
            has_graph = true;
            walk_graph(graph, locations, 0)?;
        }
    }
    has_graph.then_some(())
}

fn walk_graph(graph: &[u8], locations: &mut BTreeSet<String>, depth: usize) -> Option<()> {
    if depth > 32 {
        return None;
    }
    for field in Fields(graph) {
        match field? {
            (1, Payload::Bytes(node)) => {
                for field in Fields(node) {
                    if let (5, Payload::Bytes(attribute)) = field? {
                        walk_attribute(attribute, locations, depth)?;
                    }
                }
            }
            (5, Payload::Bytes(tensor)) => walk_tensor(tensor, locations)?,
            _ => {}
        }
    }
    Some(())
}

/// `AttributeProto`: t (5), g (6), tensors (10), graphs (11).
fn walk_attribute(attribute: &[u8], locations: &mut BTreeSet<String>, depth: usize) -> Option<()> {
    for field in Fields(attribute) {
        match field? {
            (5 | 10, Payload::Bytes(tensor)) => walk_tensor(tensor, locations)?,
            (6 | 11, Payload::Bytes(graph)) => walk_graph(graph, locations, depth + 1)?,
            _ => {}
        }
    }
    Some(())
}

fn walk_tensor(tensor: &[u8], locations: &mut BTreeSet<String>) -> Option<()> {
    for field in Fields(tensor) {
        if let (13, Payload::Bytes(entry)) = field? {
            let (mut key, mut value) = (&[][..], &[][..]);
            for field in Fields(entry) {
                match field? {
                    (1, Payload::Bytes(bytes)) => key = bytes,
                    (2, Payload::Bytes(bytes)) => value = bytes,
                    _ => {}
                }
            }
            if key == b"location" {
                locations.insert(std::str::from_utf8(value).ok()?.to_owned());
            }
        }
    }
    Some(())
}

enum Payload<'a> {
    Number,
    Bytes(&'a [u8]),
}

/// The fields of a message; an item of `None` means that the bytes are no message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Payload<'a>)> {
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => self.varint().map(|_| Payload::Number),
            1 => self.take(8).map(|_| Payload::Number),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.take(length).map(Payload::Bytes)
            }
            5 => self.take(4).map(|_| Payload::Number),
            _ => None,
        }?;
        Some((tag >> 3, payload))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Payload<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;

    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = payload.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn tensor(location: &str) -> Vec<u8> {
        let entry =
            |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
        [vec![0x10, 0x01], field(9, &[0; 300]), entry("location", location), entry("offset", "8")].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<PathBuf>> {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("model.onnx");
        std::fs::write(&graph, bytes).unwrap();
        external_data(&graph)
            .map(|files| files.into_iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_owned()).collect())
    }

    #[test]
    fn finds_initializers_and_nested_graphs() {
        let nested = field(1, &field(5, &field(6, &field(5, &tensor("branch.bin")))));
        let constant = field(1, &field(5, &field(5, &tensor("sub/constant.bin"))));
        let graph =
            [field(5, &tensor("model.onnx_data")), field(5, &tensor("model.onnx_data")), nested, constant].concat();
        let model = [vec![0x08, 0x0a], field(7, &graph)].concat();
        let files = read(&model).unwrap();
        assert_eq!(files, ["branch.bin", "model.onnx_data", "sub/constant.bin"].map(PathBuf::from));
        assert_eq!(read(&field(7, &[])).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn refuses_places_outside_the_folder_and_cut_files() {
        for location in ["../x", "/etc/passwd", r"..\x", r"C:\x", "a/../../x"] {
            let error = read(&field(7, &field(5, &tensor(location)))).unwrap_err();
            assert_eq!(error.code, Code::BadCheckpoint, "{location}");
        }
        let whole = field(7, &field(5, &tensor("x")));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).unwrap_err().code, Code::BadCheckpoint, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_files_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = read(&bytes) {
                prop_assert_eq!(error.code, Code::BadCheckpoint);
            }
            let _ = read(&field(7, &bytes));
        }
    }
}
