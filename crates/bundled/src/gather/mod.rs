//! Pairs of documentation and code from packages, for training and testing the bundled model.

mod package;
mod select;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use embedding_engine_chunk::Language;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A package as scripts/gather-pairs.mjs found it.
#[derive(Debug, Clone, Deserialize)]
struct Source {
    name: String,
    version: String,
    registry: String,
    license: String,
    split: Split,
    roots: Vec<PathBuf>,
}

/// What a package is for. Held-out ones come first, so that what they have is not taken for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Test,
    Dev,
    Train,
}

impl Split {
    const ALL: [Split; 3] = [Split::Test, Split::Dev, Split::Train];

    fn file(self) -> &'static str {
        match self {
            Split::Test => "test.jsonl",
            Split::Dev => "dev.jsonl",
            Split::Train => "train.jsonl",
        }
    }
}

/// What a unit of code is said to do, and the unit without that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Pair {
    package: String,
    registry: String,
    language: &'static str,
    /// Within the package, with `/`.
    path: String,
    name: String,
    inside: Vec<String>,
    signature: String,
    /// The first paragraph of its documentation.
    query: String,
    /// Its source without documentation.
    code: String,
}

/// A package in the data card.
#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    registry: String,
    license: String,
    split: Split,
    /// Before any choice among them.
    offered: usize,
    pairs: usize,
    languages: BTreeMap<&'static str, usize>,
}

/// The step `gather`: reads `--sources`, writes `train.jsonl`, `dev.jsonl`, `test.jsonl` and `packages.json` to `--out`.
pub fn run(options: &[String]) -> Result<(), String> {
    let sources = PathBuf::from(crate::value(options, "--sources")?);
    let out = PathBuf::from(crate::value(options, "--out")?);
    let json = fs::read(&sources).map_err(|error| format!("{} cannot be read: {error}", sources.display()))?;
    let mut sources: Vec<Source> = serde_json::from_slice(&json)
        .map_err(|error| format!("{} is not what it should be: {error}", sources.display()))?;
    sources
        .sort_by(|a, b| (a.split, &a.registry, &a.name, &a.version).cmp(&(b.split, &b.registry, &b.name, &b.version)));
    let candidates: Vec<Vec<Pair>> = sources.par_iter().map(package::pairs).collect();
    let offered: Vec<usize> = candidates.iter().map(Vec::len).collect();
    let chosen = select::select(candidates);
    fs::create_dir_all(&out).map_err(|error| format!("{} cannot be made: {error}", out.display()))?;
    for split in Split::ALL {
        let pairs = sources.iter().zip(&chosen).filter(|(source, _)| source.split == split);
        write(&out.join(split.file()), pairs.flat_map(|(_, pairs)| pairs))?;
    }
    let rows = sources.into_iter().zip(offered).zip(&chosen);
    let rows: Vec<Row> = rows.map(|((source, offered), pairs)| row(source, offered, pairs)).collect();
    report(&rows);
    let path = out.join("packages.json");
    let json = serde_json::to_vec_pretty(&rows).map_err(|error| error.to_string())?;
    fs::write(&path, json).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

fn write<'p>(path: &Path, pairs: impl Iterator<Item = &'p Pair>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    for pair in pairs {
        serde_json::to_writer(&mut file, pair).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").map_err(failed)?;
    }
    file.flush().map_err(failed)
}

fn row(source: Source, offered: usize, pairs: &[Pair]) -> Row {
    let Source { name, version, registry, license, split, .. } = source;
    let mut languages = BTreeMap::new();
    for pair in pairs {
        *languages.entry(pair.language).or_default() += 1;
    }
    Row { name, version, registry, license, split, offered, pairs: pairs.len(), languages }
}

fn report(rows: &[Row]) {
    for split in Split::ALL {
        let of = || rows.iter().filter(|row| row.split == split);
        let mut languages: BTreeMap<&str, usize> = BTreeMap::new();
        for (language, pairs) in of().flat_map(|row| &row.languages) {
            *languages.entry(language).or_default() += pairs;
        }
        println!("{split:?}: {} pairs {languages:?}", of().map(|row| row.pairs).sum::<usize>());
        for row in of().filter(|row| row.pairs > 0) {
            println!("  {:6} of {:6} {} {} {}", row.pairs, row.offered, row.registry, row.name, row.version);
        }
    }
}

/// TypeScript with JSX counts as TypeScript.
fn language_name(language: Language) -> &'static str {
    if language == Language::Tsx { Language::TypeScript.name() } else { language.name() }
}
