//! Graphs that are written over safetensors: where the weights may lie, what is refused, which devices.
//! That they compute what our own encoders do is proved in `tests/encoders.rs` and `tests/references.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use embedding_engine::backend::candle::Dtype;
use embedding_engine::backend::onnx::{OnnxOptions, load, providers};
use embedding_engine::hub::Located;
use embedding_engine::model::{BackendKind, ModelOverrides, ModelSpec, describe};
use embedding_engine::{Cancel, Code, Error};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::common;
use crate::support::{batch, options, texts};

fn described(name: &str) -> ModelSpec {
    let root = common::model_dir(name).canonicalize().unwrap();
    let located = Located { id: name.to_owned(), revision: None, root };
    let overrides = ModelOverrides { backend: Some(BackendKind::Onnx), ..ModelOverrides::default() };
    describe(&located, &overrides).unwrap()
}

/// Rows of a few texts.
fn rows(spec: &ModelSpec) -> Vec<f32> {
    let backend = load(spec, "cpu", &options()).unwrap_or_else(|error| panic!("{}: {error}", spec.id));
    backend.run(&batch(&texts(&[3, 1, 17]), None), &Cancel::never()).unwrap()
}

fn refused(spec: &ModelSpec, device: &str, options: &OnnxOptions) -> Error {
    load(spec, device, options).map(|_| ()).unwrap_err()
}

/// The weights of a model in `shards` files of `folder`.
fn shards(spec: &ModelSpec, folder: &Path, shards: usize) -> Vec<PathBuf> {
    let bytes = fs::read(&spec.files.weights[0]).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut parts: Vec<BTreeMap<String, TensorView<'_>>> = vec![BTreeMap::new(); shards];
    for (at, (name, tensor)) in tensors.tensors().into_iter().enumerate() {
        parts[at % shards].insert(name, tensor);
    }
    let write = |(at, part): (usize, BTreeMap<String, TensorView<'_>>)| {
        let file = folder.join(format!("model-{at}.safetensors"));
        // Headers of odd lengths: the data need not be aligned.
        let metadata = std::collections::HashMap::from([("padding".to_owned(), "x".repeat(at * 13))]);
        safetensors::serialize_to_file(part, Some(metadata), &file).unwrap();
        file
    };
    parts.into_iter().enumerate().map(write).collect()
}

#[test]
#[cfg(unix)]
fn weights_in_shards_in_a_hub_cache_and_in_several_folders() {
    use std::os::unix::fs::symlink;

    for name in ["qwen3-tiny", "qwen2-f16", "roberta-mean"] {
        let whole = described(name);
        assert_eq!(whole.backend, BackendKind::Onnx);
        let expected = rows(&whole);
        let folder = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (folder.path().join("blobs"), folder.path().join("snapshots/main"));
        let elsewhere = folder.path().join("elsewhere");
        for folder in [&blobs, &snapshot, &elsewhere] {
            fs::create_dir_all(folder).unwrap();
        }
        let sharded = ModelSpec { files: whole.files.clone(), ..whole };
        let with = |weights: Vec<PathBuf>| {
            let mut spec = sharded.clone();
            spec.files.weights = weights;
            rows(&spec)
        };
        let plain = shards(&sharded, &blobs, 3);
        assert_eq!(with(plain.clone()), expected, "{name}, shards");

        // Links under other names, as in the hub cache.
        let linked: Vec<PathBuf> = plain
            .iter()
            .enumerate()
            .map(|(at, blob)| {
                let digest = blobs.join(format!("{at:064x}"));
                fs::rename(blob, &digest).unwrap();
                let link = snapshot.join(format!("model-{at}-of-3.safetensors"));
                symlink(Path::new("../../blobs").join(digest.file_name().unwrap()), &link).unwrap();
                link
            })
            .collect();
        assert_eq!(with(linked.clone()), expected, "{name}, a hub cache");

        // One shard on another disk: files of two folders, which have the same name there.
        let real = linked[1].canonicalize().unwrap();
        let moved = elsewhere.join(linked[0].canonicalize().unwrap().file_name().unwrap());
        fs::rename(&real, &moved).unwrap();
        fs::remove_file(&linked[1]).unwrap();
        symlink(&moved, &linked[1]).unwrap();
        assert_eq!(with(linked), expected, "{name}, two folders");
    }
}

#[test]
fn broken_weights_are_told_by_name() {
    let spec = described("qwen3-tiny");
    let folder = tempfile::tempdir().unwrap();
    let file = shards(&spec, folder.path(), 1).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut broken = spec.clone();
    broken.files.weights = vec![file.clone()];

    let (header, metadata) = SafeTensors::read_metadata(&whole).unwrap();
    let name = "layers.1.mlp.up_proj.weight";
    let name = metadata.offset_keys().into_iter().find(|key| key.ends_with(name)).unwrap();
    let start = header + 8 + metadata.info(&name).unwrap().data_offsets.0;
    let mut bytes = whole.clone();
    // All ones is NaN in every float.
    bytes[start + 8..start + 12].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let error = refused(&broken, "cpu", &options());
    assert_eq!((error.code, error.details["tensor"].as_str()), (Code::BadCheckpoint, Some(name.as_str())), "{error}");

    fs::write(&file, &whole[..whole.len() - 4]).unwrap();
    assert_eq!(refused(&broken, "cpu", &options()).code, Code::BadCheckpoint);

    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let fewer = tensors.tensors().into_iter().filter(|(key, _)| *key != name);
    safetensors::serialize_to_file(fewer, None, &file).unwrap();
    let error = refused(&broken, "cpu", &options());
    assert!(error.code == Code::BadCheckpoint && error.message.contains(&name), "{error}");

    fs::remove_file(&file).unwrap();
    assert_eq!(refused(&broken, "cpu", &options()).code, Code::BadCheckpoint);
}

#[test]
fn what_a_device_cannot_compute_is_refused() {
    let (qwen, bert) = (described("qwen3-tiny"), described("bert-mean"));
    for (spec, dtype, device) in [
        (&qwen, Dtype::Float16, "cuda"),
        (&qwen, Dtype::Bfloat16, "cpu"),
        (&qwen, Dtype::Bfloat16, "directml"),
        (&bert, Dtype::Int8, "tensorrt"),
    ] {
        let error = refused(spec, device, &OnnxOptions { dtype, ..options() });
        assert_eq!(error.code, Code::InvalidOption, "{error}");
        assert_eq!(error.details["option"], "dtype");
        assert!(error.message.contains(device) && error.message.contains("Use '"), "{error}");
    }
}

#[test]
fn products_in_f16_point_the_same_way() {
    for name in ["bert-mean", "xlmr-e5"] {
        let spec = described(name);
        let f32 = rows(&spec);
        for plain_operators in [false, true] {
            let options = OnnxOptions { dtype: Dtype::Float16, plain_operators, ..options() };
            let backend = load(&spec, "cpu", &options).unwrap();
            assert_eq!(backend.info().dtype, "float16");
            let f16 = backend.run(&batch(&texts(&[3, 1, 17]), None), &Cancel::never()).unwrap();
            assert_ne!(f16, f32);
            for (a, b) in f32.chunks(backend.info().width).zip(f16.chunks(backend.info().width)) {
                let dot =
                    |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                assert!(cosine > 0.9999, "{name}: {cosine}");
            }
        }
    }
}

#[test]
fn ids_past_the_table_and_texts_past_the_positions_are_errors() {
    let spec = described("bert-mean");
    let backend = load(&spec, "cpu", &options()).unwrap();
    let run = |ids: Vec<u32>| backend.run(&batch(&[vec![5, 6], ids], None), &Cancel::never()).unwrap_err();
    let error = run(vec![7, 1 << 20]);
    assert!(error.code == Code::BadCheckpoint && error.message.contains("1048576"), "{error}");
    assert_eq!(run(vec![1; spec.max_tokens + 1]).code, Code::Internal);
}

#[test]
fn loading_can_be_cancelled() {
    let cancel = Cancel::new();
    cancel.cancel();
    let options = OnnxOptions { cancel, ..options() };
    assert_eq!(refused(&described("qwen3-tiny"), "cpu", &options).code, Code::Aborted);
}

/// Every provider runs the graphs, or says why it cannot. With a library that has more providers
/// (`EMBEDDING_ENGINE_ONNXRUNTIME`) this tries their options.
#[test]
fn every_provider_runs_or_says_why_not() {
    let home = tempfile::tempdir().unwrap();
    let usable = providers(&options());
    for (spec, dtype) in [
        (described("qwen3-tiny"), Dtype::Auto),
        (described("bert-mean"), Dtype::Float32),
        (described("qodo-tiny"), Dtype::Bfloat16),
        (described("xlmr-e5"), Dtype::Float16),
    ] {
        for provider in &usable {
            if dtype == Dtype::Bfloat16 && !matches!(provider.kind, "cuda" | "tensorrt" | "migraphx") {
                continue;
            }
            let options = OnnxOptions { dtype, home: Some(home.path().to_owned()), ..options() };
            match load(&spec, provider.kind, &options) {
                Ok(backend) => {
                    assert!(provider.available, "{} runs, but is told to be unusable", provider.kind);
                    assert!(backend.info().device.starts_with(provider.kind));
                    backend.run(&batch(&texts(&[3, 1, 17]), None), &Cancel::never()).unwrap();
                }
                Err(error) => {
                    assert_eq!(error.code, Code::DeviceUnavailable, "{}: {error}", provider.kind);
                    let reason = error.details["reason"].as_str().unwrap();
                    assert!(!reason.is_empty() && error.message.contains(reason), "{error}");
                    println!("{} on {}: {reason}", spec.id, provider.kind);
                    assert_ne!(provider.kind, "cpu");
                }
            }
        }
    }
}
