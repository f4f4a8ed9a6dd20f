use std::fs;

use proptest::prelude::*;

use super::*;
use crate::error::Code;

/// A field of bytes: key, length, contents.
fn bytes(number: u8, contents: &[u8]) -> Vec<u8> {
    assert!(contents.len() < 128 && number < 16, "one byte each is enough here");
    [&[number << 3 | 2, contents.len() as u8], contents].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
}

/// A `TensorProto` of the given type and dimensions.
fn tensor_of(kind: u8, dimensions: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    let dimensions = dimensions.iter().flat_map(|&size| number(1, size));
    dimensions.chain(number(2, kind)).chain(more.concat()).collect()
}

fn model_of(initializers: &[Vec<u8>]) -> Vec<u8> {
    let graph: Vec<u8> = initializers.iter().flat_map(|tensor| bytes(5, tensor)).collect();
    [number(1, 8), bytes(7, &graph)].concat()
}

#[test]
fn the_precision_of_most_bytes_wins() {
    let half = tensor_of(10, &[10, 10], &[]);
    let float = tensor_of(1, &[7], &[]);
    let indices = tensor_of(7, &[100], &[]);
    let weights = parse(&model_of(&[half, float, indices])).expect("a graph");
    assert_eq!((weights.dtype(), weights.total()), ("float16", 200 + 28 + 800));
    assert_eq!(parse(&model_of(&[])).expect("a graph").dtype(), "float32");
}

#[test]
fn packed_dimensions_and_four_bit_weights() {
    let packed = [bytes(1, &[3, 3]), number(2, 22)].concat();
    let weights = parse(&model_of(&[packed])).expect("a graph");
    assert_eq!((weights.dtype(), weights.total()), ("int4", 5));
}

#[test]
fn weights_in_nodes_subgraphs_functions_and_merged_graphs_count() {
    let tensor = tensor_of(1, &[2], &[]);
    let constant = bytes(5, &bytes(5, &tensor)); // NodeProto.attribute.t
    let branch = bytes(5, &bytes(6, &bytes(1, &constant))); // NodeProto.attribute.g.node
    let graph = [bytes(1, &constant), bytes(1, &branch)].concat();
    let function = bytes(7, &constant);
    let more = bytes(5, &tensor);
    let key = [0xca, 0x01, function.len() as u8]; // field 25
    let model = [bytes(7, &graph), key.to_vec(), function, bytes(7, &more)].concat();
    assert_eq!(parse(&model).expect("a graph").total(), 4 * 8);
}

#[test]
fn external_files_with_the_size_that_they_need() {
    let first = tensor_of(1, &[4], &[entry("location", "a.bin"), entry("offset", "64"), entry("length", "16")]);
    let second = tensor_of(1, &[8], &[entry("location", "a.bin"), entry("offset", "100")]);
    let weights = parse(&model_of(&[first, second])).expect("a graph");
    assert_eq!(weights.external, BTreeMap::from([("a.bin".to_owned(), 132)]));
}

#[test]
fn what_is_no_graph_is_told() {
    for (file, says) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!DOCTYPE html><html>", "not an ONNX graph"),
        (b"{\"error\": 1}", "not an ONNX graph"),
        (&[0x08, 0x08], "holds no graph"),
    ] {
        let reason = parse(file).expect_err(says);
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = Vec::new();
    for _ in 0..40 {
        let node = [vec![5 << 3 | 2], length(&graph, 6)].concat();
        graph = [vec![1 << 3 | 2], length(&node, 0)].concat();
    }
    // Wraps in a field when `number` is not 0, and puts the length in front.
    fn length(contents: &[u8], number: u8) -> Vec<u8> {
        let wrapped = if number == 0 {
            contents.to_vec()
        } else {
            [vec![number << 3 | 2], varint(contents.len()), contents.to_vec()].concat()
        };
        [varint(wrapped.len()), wrapped].concat()
    }
    fn varint(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 128 {
            bytes.push(value as u8 | 128);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }
    let model = [vec![7 << 3 | 2], varint(graph.len()), graph].concat();
    assert!(parse(&model).expect_err("too deep").contains("nested"));
}

#[test]
fn files_beside_the_graph_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.onnx");
    let write = |location: &str| {
        let tensor = tensor_of(1, &[4], &[entry("location", location)]);
        fs::write(&file, model_of(&[tensor])).expect("written");
    };

    write("model.onnx_data");
    let missing = inspect(&file).expect_err("missing");
    assert_eq!(missing.code, Code::BadCheckpoint);
    assert!(
        missing.message.contains("model.onnx_data")
            && missing.details["file"].as_str().is_some_and(|file| file.ends_with("model.onnx_data"))
    );

    fs::write(folder.path().join("model.onnx_data"), [0; 15]).expect("written");
    assert!(inspect(&file).expect_err("cut").message.contains("15 bytes of at least 16"));

    fs::write(folder.path().join("model.onnx_data"), [0; 16]).expect("written");
    let whole = inspect(&file).expect("whole");
    assert_eq!(whole.total(), 16);
    assert_eq!(whole.files(&file).collect::<Vec<_>>(), [file.clone(), folder.path().join("model.onnx_data")]);

    for outside in ["../model.onnx_data", "/etc/hostname", "", "*/_ORT_MEM_ADDR_/*"] {
        write(outside);
        assert_eq!(inspect(&file).expect_err(outside).code, Code::BadCheckpoint);
    }
    assert_eq!(inspect(folder.path()).expect_err("a folder").code, Code::BadCheckpoint);
    assert_eq!(inspect(&folder.path().join("absent.onnx")).expect_err("absent").code, Code::BadCheckpoint);
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_changed_graph_gives_a_value_or_a_reason(at in 0usize..60, value: u8) {
        let tensor = tensor_of(1, &[4], &[entry("location", "a"), entry("offset", "64")]);
        let mut model = model_of(&[tensor]);
        let at = at % model.len();
        model[at] = value;
        let _ = parse(&model);
    }
}
