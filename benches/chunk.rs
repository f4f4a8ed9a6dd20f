//! How fast source code is cut, by language: one line of JSON for each, on one thread.
//!
//! `cargo bench --bench chunk [-- FOLDER…]`. Without folders it takes what builds of this repository bring: the crates in
//! cargo's cache, `node_modules`, and this repository; languages that these have little of are measured on the tests'
//! snippets, written over and over, and say so.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use embedding_engine_chunk::{FileOptions, Files, Found, Language, Options, chunk};

/// As much as is measured of a language, in bytes; and what is too little.
const MOST: usize = 8_000_000;
const LEAST: usize = 200_000;

/// Each is measured so often; the fastest counts.
const ROUNDS: usize = 3;

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let mut folders: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if folders.is_empty() {
        folders.push(root.clone());
        folders.push(root.join("node_modules"));
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap();
        folders.push(cargo.join("registry/src"));
    }
    let mut texts: BTreeMap<Language, (usize, Vec<String>)> = BTreeMap::new();
    for folder in &folders {
        for found in Files::new(folder, &FileOptions::default()).unwrap() {
            let Found::Text { language: Some(language), text, .. } = found else { continue };
            let (bytes, texts) = texts.entry(language).or_default();
            if *bytes < MOST {
                *bytes += text.len();
                texts.push(text);
            }
        }
    }
    for language in Language::all() {
        let (bytes, texts) = texts.remove(&language).unwrap_or_default();
        let is_real = bytes >= LEAST;
        let texts = if is_real { texts } else { vec![snippet(language); LEAST / snippet(language).len() + 1] };
        measure(language, &texts, is_real);
    }
}

/// The snippet of a language among the tests.
fn snippet(language: Language) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let path = paths.iter().find(|path| Language::by_path(path.to_str().unwrap()) == Some(language)).unwrap();
    std::fs::read_to_string(path).unwrap()
}

fn measure(language: Language, texts: &[String], is_real: bool) {
    let options = Options::default();
    let mut best = f64::INFINITY;
    let mut chunks = 0;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        chunks = texts.iter().map(|text| black_box(chunk(text, Some(language), &options)).len()).sum();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    let (name, files, speed) = (language.name(), texts.len(), bytes as f64 / 1e6 / best);
    println!(
        r#"{{"bench":"chunk","language":"{name}","real":{is_real},"files":{files},"bytes":{bytes},"chunks":{chunks},"mbPerSecond":{speed:.1}}}"#
    );
}
