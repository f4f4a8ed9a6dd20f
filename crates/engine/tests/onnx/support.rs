//! Finding the library, describing models by hand, making batches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use embedding_engine::Cancel;
use embedding_engine::backend::Backend;
use embedding_engine::backend::onnx::{OnnxOptions, load};
use embedding_engine::batch::PackedBatch;
use embedding_engine::model::{
    Architecture, Attention, BackendKind, EndToken, ModelFiles, ModelSpec, Pooling, Task, TaskSpec,
};

use crate::encoder::{Encoder, VOCABULARY};

/// The library: where `EMBEDDING_ENGINE_ONNXRUNTIME` says, else in `node_modules` of the repository.
pub(crate) fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("EMBEDDING_ENGINE_ONNXRUNTIME") {
        return path.into();
    }
    let platform = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = repository.join("node_modules/onnxruntime-node/bin/napi-v6").join(platform).join(arch);
    assert!(folder.is_dir(), "{} is missing: run `npm install` first", folder.display());
    folder
}

pub(crate) fn options() -> OnnxOptions {
    OnnxOptions { library: Some(library()), threads: 2, ..OnnxOptions::default() }
}

/// A model that is one ONNX file.
pub(crate) fn spec(file: &Path, pooling: Pooling, width: usize) -> ModelSpec {
    let root = file.parent().expect("a folder").to_owned();
    let tasks = [Task::Document, Task::Query, Task::Similarity, Task::Classification, Task::Clustering];
    ModelSpec {
        id: root.display().to_string(),
        revision: None,
        files: ModelFiles {
            tokenizer: root.join("tokenizer.json"),
            transformer: root.clone(),
            root,
            weights: vec![file.to_owned()],
        },
        backend: BackendKind::Onnx,
        architecture: Architecture::Onnx,
        attention: Attention::Bidirectional,
        pooling,
        include_prompt: true,
        head: Vec::new(),
        tasks: tasks.into_iter().map(|task| (task, TaskSpec::default())).collect::<BTreeMap<_, _>>(),
        end_token: EndToken::Tokenizer,
        lower_case: false,
        max_tokens: 512,
        dimensions: width,
        matryoshka: Vec::new(),
        license: None,
        content: String::new(),
    }
}

/// The same, each task with a number.
pub(crate) fn spec_with_tasks(file: &Path, pooling: Pooling, width: usize) -> ModelSpec {
    let mut spec = spec(file, pooling, width);
    for (number, task) in spec.tasks.values_mut().enumerate() {
        task.task_id = Some(number as i64);
    }
    spec
}

/// An encoder written into a folder and loaded.
pub(crate) struct Loaded {
    pub(crate) encoder: Encoder,
    pub(crate) pooling: Pooling,
    pub(crate) backend: Arc<dyn Backend>,
    _folder: tempfile::TempDir,
}

impl Loaded {
    pub(crate) fn new(encoder: Encoder, pooling: Pooling) -> Self {
        Loaded::with(encoder, pooling, &options())
    }

    pub(crate) fn with(encoder: Encoder, pooling: Pooling, options: &OnnxOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = encoder.write(folder.path());
        let spec = match encoder.task {
            Some(_) => spec_with_tasks(&file, pooling, encoder.width),
            None => spec(&file, pooling, encoder.width),
        };
        let backend = load(&spec, "cpu", options).unwrap_or_else(|error| panic!("{encoder:?}: {error}"));
        Loaded { encoder, pooling, backend, _folder: folder }
    }

    /// One row for each text.
    pub(crate) fn run(&self, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let rows = self.backend.run(&batch(texts, None), &Cancel::never()).expect("ran");
        assert_eq!(rows.len(), texts.len() * self.encoder.width);
        rows.chunks_exact(self.encoder.width).map(<[f32]>::to_vec).collect()
    }

    /// The largest difference from the reference in f64.
    pub(crate) fn error(&self, texts: &[Vec<u32>]) -> f64 {
        let rows = self.run(texts);
        let pairs = texts.iter().zip(&rows);
        pairs
            .map(|(ids, row)| difference(row, &self.encoder.pooled(ids, 0..ids.len(), self.pooling, None)))
            .fold(0.0, f64::max)
    }
}

pub(crate) fn difference(ours: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len());
    // NaN anywhere must not be lost in a maximum.
    ours.iter()
        .zip(expected)
        .map(|(ours, expected)| (f64::from(*ours) - expected).abs())
        .fold(0.0, |worst, x| if x.is_nan() { f64::INFINITY } else { worst.max(x) })
}

/// A batch with one span over each text.
pub(crate) fn batch(texts: &[Vec<u32>], task: Option<i64>) -> PackedBatch {
    let mut batch = PackedBatch::new();
    for ids in texts {
        batch.push(ids, std::slice::from_ref(&(0..ids.len() as u32)), task);
    }
    batch
}

/// A text of the given length.
pub(crate) fn text(len: usize, seed: usize) -> Vec<u32> {
    (0..len).map(|at| ((at * 31 + seed * 17 + at * at) % VOCABULARY) as u32).collect()
}

pub(crate) fn texts(lengths: &[usize]) -> Vec<Vec<u32>> {
    lengths.iter().enumerate().map(|(seed, &len)| text(len, seed)).collect()
}
