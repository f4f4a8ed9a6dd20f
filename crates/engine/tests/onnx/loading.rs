//! What can be wrong with a file, a layout or a device, and what is said of it.

use std::fs;
use std::path::Path;

use embedding_engine::backend::onnx::{OnnxOptions, load, providers, runtime};
use embedding_engine::model::{Activation, HeadModule, Pooling};
use embedding_engine::{Code, Error};

use crate::encoder::{Encoder, Holds};
use crate::proto::{Dimension, Graph, Type};
use crate::support::{options, spec, spec_with_tasks};

fn refused(file: &Path, pooling: Pooling) -> Error {
    load(&spec(file, pooling, 8), "cpu", &options()).map(|_| ()).expect_err("refused")
}

fn external() -> Encoder {
    Encoder { external: Some("model.onnx_data"), ..Encoder::default() }
}

#[test]
fn the_runtime_is_reported() {
    let (library, version) = runtime(&options()).expect("loaded");
    assert!(library.is_absolute() && library.is_file(), "{}", library.display());
    assert!(version.starts_with("1."), "{version}");
    assert_eq!(runtime(&OnnxOptions::default()).expect("the one that is loaded"), (library, version));
}

#[test]
fn providers_are_told_with_reasons() {
    let providers = providers(&options());
    assert!(providers.iter().any(|provider| provider.kind == "cpu" && provider.available));
    for provider in &providers {
        assert_eq!(provider.available, provider.reason.is_none(), "{provider:?}");
    }
    // Microsoft's library for Node has no MIGraphX on any platform.
    let migraphx = providers.iter().find(|provider| provider.kind == "migraphx").expect("known");
    assert!(migraphx.reason.as_ref().is_some_and(|reason| reason.contains("MIGraphXExecutionProvider")));
    let reasons = providers.iter().filter_map(|provider| provider.reason.as_ref());
    for reason in reasons {
        assert!(!reason.contains("[ONNXRuntimeError]") && !reason.contains('\n'), "{reason}");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_never_the_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(&Encoder::default().write(folder.path()), Pooling::Mean, 8);
    for provider in providers(&options()).iter().filter(|provider| !provider.available) {
        let error = load(&spec, provider.kind, &options()).map(|_| ()).expect_err("not available");
        assert_eq!(error.code, Code::DeviceUnavailable, "{}", error.message);
        assert_eq!(error.details["reason"].as_str(), provider.reason.as_deref());
        println!("{}", error.message);
    }
    for (device, code) in
        [("migraphx", Code::DeviceUnavailable), ("metal", Code::DeviceUnavailable), ("cuda:x", Code::InvalidOption)]
    {
        let error = load(&spec, device, &options()).map(|_| ()).expect_err("no such device");
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(device));
    }
}

/// The hub cache: both files are links to blobs with names of their own.
#[cfg(unix)]
#[test]
fn the_layout_of_the_hub_cache() {
    let cache = tempfile::tempdir().expect("a folder");
    let repository = cache.path().join("models--x--y");
    let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots/0123abcd/onnx"));
    fs::create_dir_all(&blobs).expect("made");
    fs::create_dir_all(&snapshot).expect("made");
    let graph = external().graph();
    for (name, blob, contents) in [("model.onnx", "aa11", graph.model()), ("model.onnx_data", "bb22", graph.data)] {
        fs::write(blobs.join(blob), contents).expect("written");
        std::os::unix::fs::symlink(Path::new("../../../blobs").join(blob), snapshot.join(name)).expect("linked");
    }
    let file = snapshot.join("model.onnx");
    let backend = load(&spec(&file, Pooling::Mean, 8), "cpu", &options()).expect("loaded");
    let ids = crate::support::text(7, 1);
    let batch = crate::support::batch(std::slice::from_ref(&ids), None);
    let row = backend.run(&batch, &embedding_engine::Cancel::never()).expect("ran");
    let expected = external().pooled(&ids, 0..7, Pooling::Mean, None);
    assert!(crate::support::difference(&row, &expected) < 2e-6);

    // A link that leads nowhere, as after a download that was broken off.
    fs::remove_file(blobs.join("bb22")).expect("removed");
    let error = refused(&file, Pooling::Mean);
    assert_eq!(error.code, Code::BadCheckpoint);
    assert!(error.message.contains("model.onnx_data"), "{}", error.message);
}

#[test]
fn missing_and_cut_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = external().write(folder.path());
    let data = folder.path().join("model.onnx_data");
    let whole = fs::read(&data).expect("read");
    fs::write(&data, &whole[..whole.len() - 1]).expect("written");
    let cut = refused(&file, Pooling::Mean);
    assert_eq!((cut.code, cut.details["file"].as_str()), (Code::BadCheckpoint, data.to_str()));
    fs::remove_file(&data).expect("removed");
    let missing = refused(&file, Pooling::Mean);
    assert_eq!((missing.code, missing.details["file"].as_str()), (Code::BadCheckpoint, data.to_str()));
    fs::remove_file(&file).expect("removed");
    let gone = refused(&file, Pooling::Mean);
    assert_eq!((gone.code, gone.details["file"].as_str()), (Code::BadCheckpoint, file.to_str()));
}

#[test]
fn a_graph_that_is_cut_anywhere_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Encoder::default().write(folder.path());
    let whole = fs::read(&file).expect("read");
    for length in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        fs::write(&file, &whole[..length]).expect("written");
        let error = refused(&file, Pooling::Mean);
        assert_eq!(error.code, Code::BadCheckpoint, "{length}: {}", error.message);
        assert!(error.message.contains("model.onnx"), "{}", error.message);
    }
}

#[test]
fn a_changed_byte_gives_a_coded_error_or_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Encoder { layers: 1, width: 2, ..Encoder::default() }.write(folder.path());
    let whole = fs::read(&file).expect("read");
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x15;
        fs::write(&file, &changed).expect("written");
        if let Err(error) = load(&spec(&file, Pooling::Mean, 2), "cpu", &options()) {
            let known = [Code::BadCheckpoint, Code::ModelUnsupported];
            assert!(known.contains(&error.code), "{at}: {:?} {}", error.code, error.message);
        }
    }
}

#[test]
fn an_operator_that_does_not_exist_is_unsupported() {
    let mut graph = Graph::default();
    let matrix = [Dimension::Free("batch"), Dimension::Free("sequence")];
    graph.input("input_ids", Type::Int64, &matrix);
    graph.input("attention_mask", Type::Int64, &matrix);
    graph.node("Frobnicate", &["input_ids", "attention_mask"], "last_hidden_state");
    graph.output("last_hidden_state", Type::Float, None);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.onnx");
    fs::write(&file, graph.model()).expect("written");
    let error = refused(&file, Pooling::Mean);
    assert_eq!(error.code, Code::ModelUnsupported, "{}", error.message);
    assert!(error.message.contains("Frobnicate"), "{}", error.message);
}

#[test]
fn inputs_and_outputs_that_are_not_known_are_named() {
    let mut graph = Encoder::default().graph();
    graph.input("past_key_values.0.key", Type::Float, &[Dimension::Free("batch"), Dimension::Free("past")]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.onnx");
    fs::write(&file, graph.model()).expect("written");
    let error = refused(&file, Pooling::Mean);
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(
        error.message.contains("past_key_values.0.key") && error.message.contains("model.onnx"),
        "{}",
        error.message
    );

    let pooler = Encoder { outputs: vec![("pooler_output", Holds::Noise)], ..Encoder::default() };
    let error = refused(&pooler.write(folder.path()), Pooling::Mean);
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(error.message.contains("pooler_output"), "{}", error.message);
}

#[test]
fn tasks_must_agree_with_the_graph() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Encoder { task: Some(vec![]), ..Encoder::default() }.write(folder.path());
    assert_eq!(refused(&file, Pooling::Mean).code, Code::ModelUnsupported);
    let file = Encoder::default().write(folder.path());
    let error = load(&spec_with_tasks(&file, Pooling::Mean, 8), "cpu", &options()).map(|_| ()).expect_err("no task_id");
    assert_eq!(error.code, Code::ModelUnsupported);
}

#[test]
fn the_width_must_agree_with_the_description() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Encoder::default().write(folder.path());
    let wide = load(&spec(&file, Pooling::Mean, 16), "cpu", &options()).map(|_| ()).expect_err("too narrow");
    assert_eq!(wide.code, Code::ModelUnsupported);
    assert!(wide.message.contains("8") && wide.message.contains("16"));
    let mut dense = spec(&file, Pooling::Mean, 16);
    dense.head = vec![HeadModule::Dense {
        file: file.clone(),
        in_features: 8,
        out_features: 16,
        bias: false,
        activation: Activation::Tanh,
    }];
    assert_eq!(load(&dense, "cpu", &options()).expect("8 into the Dense").info().width, 8);
}
