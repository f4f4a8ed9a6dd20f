//! Whatever stands in a model's files gives a model or a coded error: never a panic, never a hang.
//!
//! Takes whole folders, damages one file at a time (bits, bytes, cuts, splices, numbers and values of
//! its JSON) and loads them. Runs for `FUZZ_SECONDS` (default 5; CI gives it a minute). A failure prints
//! the seed that shows it again: `FUZZ_SEED=… cargo test --release --test fuzz_files`.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use embedding_engine::backend::candle::{self, Dtype};
use embedding_engine::backend::head::Head;
use embedding_engine::backend::onnx::{self, OnnxOptions};
use embedding_engine::backend::static_table;
use embedding_engine::batch::PackedBatch;
use embedding_engine::cancel::Cancel;
use embedding_engine::hub::Located;
use embedding_engine::model::static_table::table_shape;
use embedding_engine::model::{BackendKind, ModelOverrides, ModelSpec, describe};
use embedding_engine::tokenize::words::WordTokenizer;
use embedding_engine::tokenize::{Encoded, Tokenizer};
use embedding_engine::{Code, Error};

/// Small models of each kind; the file whose name is in the second column is damaged more often.
const MODELS: [(&str, &str); 5] = [
    ("qwen3-tiny", "model.safetensors"),
    ("bert-dense", "config.json"),
    ("xlmr-e5", "tokenizer.json"),
    ("qwen2-window", "config.json"),
    ("onnx-bert", "model.onnx"),
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

/// Where a damaged byte says most: the header of a safetensors file, anywhere in a text.
fn place(random: &mut Random, bytes: &[u8], name: &str) -> usize {
    let limit = if name.ends_with(".safetensors") && random.below(4) > 0 { bytes.len().min(4096) } else { bytes.len() };
    random.below(limit)
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>, name: &str) {
    const NUMBERS: [&str; 12] =
        ["0", "-1", "1", "3", "65536", "4294967296", "18446744073709551615", "1e308", "-0.0", "null", "\"x\"", "[]"];
    if bytes.is_empty() {
        return;
    }
    for _ in 0..1 + random.below(3) {
        let at = place(random, bytes, name);
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + 1 + random.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let size = random.next().to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&size[..end - at]);
            }
            _ => {
                // The next number or word of a JSON text becomes another value.
                let start = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()).unwrap_or(at);
                let end = (start..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
                bytes.splice(start..end, random.of(&NUMBERS).bytes());
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    found.sort();
    found
}

type Encode = Box<dyn Fn(&str) -> Result<Encoded, Error>>;

/// The tokenizer that the engine would take.
fn encoder(spec: &ModelSpec) -> Result<Encode, Error> {
    if spec.backend == BackendKind::Static {
        let (rows, _) = table_shape(&spec.files.weights)?;
        if let Some(words) = WordTokenizer::load(&spec.files.tokenizer, rows, spec.max_tokens)? {
            return Ok(Box::new(move |text| words.encode(text, None)));
        }
    }
    let tokenizer = Tokenizer::load(spec)?;
    Ok(Box::new(move |text| tokenizer.encode(text, None)))
}

/// Everything that a call does with a folder.
fn use_model(root: &Path) -> Result<Vec<f32>, Error> {
    let located = Located { id: root.display().to_string(), revision: None, root: root.to_owned() };
    let spec = describe(&located, &ModelOverrides::default())?;
    let encode = encoder(&spec)?;
    let head = Head::load(&spec.head)?;
    let backend = match spec.backend {
        BackendKind::Candle => candle::load(&spec, "cpu", Dtype::Auto, &Cancel::never())?,
        BackendKind::Static => static_table::load(&spec, "cpu")?,
        BackendKind::Onnx => {
            let options = OnnxOptions { library: Some(common::onnxruntime()), threads: 1, ..OnnxOptions::default() };
            onnx::load(&spec, "cpu", &options)?
        }
    };
    let mut batch = PackedBatch::new();
    for text in ["def add(a, b): return a + b", "😀 中文 <|endoftext|> [SEP]"] {
        let encoded = encode(text)?;
        batch.push(&encoded.ids, std::slice::from_ref(&encoded.pooled), None);
    }
    let rows = backend.run(&batch, &Cancel::never())?;
    Ok(head.apply(rows, backend.info().width)?.0)
}

#[test]
fn damaged_files_give_a_model_or_a_coded_error() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let given = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let mut folders: Vec<_> = MODELS.iter().map(|(name, favourite)| (common::model_dir(name), *favourite)).collect();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/bundled");
    folders.extend(["model.safetensors", "tokenizer.json"].map(|favourite| (bundled.clone(), favourite)));
    for (folder, _) in &folders {
        use_model(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    let begin = Instant::now();
    let first = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1);
    let (mut runs, mut models) = (0u64, 0u64);
    let mut codes = std::collections::BTreeMap::<Code, u64>::new();
    while begin.elapsed() < Duration::from_secs_f64(seconds) && (given.is_none() || runs == 0) {
        let seed = first.wrapping_add(runs.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1;
        let mut random = Random(seed);
        random.next();
        let (folder, favourite) = random.of(&folders).clone();
        let copy = tempfile::tempdir().unwrap();
        let all = files(&folder);
        let target = match all.iter().find(|path| path.ends_with(favourite)) {
            Some(path) if random.below(2) == 0 => path.clone(),
            _ => random.of(&all).clone(),
        };
        for path in &all {
            let place = copy.path().join(path.strip_prefix(&folder).unwrap());
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            let mut bytes = std::fs::read(path).unwrap();
            if *path == target {
                damage(&mut random, &mut bytes, path.file_name().unwrap().to_str().unwrap());
            }
            std::fs::write(place, bytes).unwrap();
        }
        let what = || format!("FUZZ_SEED={seed}: {} damaged", target.display());
        let started = Instant::now();
        match std::panic::catch_unwind(|| use_model(copy.path())) {
            Ok(Ok(_)) => models += 1,
            Ok(Err(error)) => {
                assert!(error.code != Code::Internal, "{}: {error}", what());
                *codes.entry(error.code).or_default() += 1;
            }
            Err(_) => panic!("{}: panicked", what()),
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{}: took {:?}", what(), started.elapsed());
        runs += 1;
    }
    println!("{runs} damaged folders: {models} still gave vectors, refused {codes:?}");
}
