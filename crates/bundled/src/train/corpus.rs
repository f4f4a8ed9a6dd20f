//! The pairs as they are trained on.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use embedding_engine::tokenize::words::WordTokenizer;
use embedding_engine::train::static_table::{Bag, Example};
use embedding_engine_chunk::{Parts, Template};
use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What the steps after `gather` need of a pair.
#[derive(Debug, Clone, Deserialize)]
pub struct Pair {
    pub package: String,
    pub name: String,
    pub inside: Vec<String>,
    pub signature: String,
    pub query: String,
    pub code: String,
}

impl Pair {
    /// The document as search embeds it.
    pub fn document(&self, template: &Template) -> String {
        let known = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (name, signature) = (known(&self.name), known(&self.signature));
        template.embed_text(&Parts {
            name: name.as_deref(),
            inside: &self.inside,
            signature: signature.as_deref(),
            continued: false,
            source: &self.code,
        })
    }
}

/// Reads pairs as JSON lines.
pub fn read(file: &Path) -> Result<Vec<Pair>, String> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lines: Vec<String> = BufReader::new(opened)
        .lines()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", file.display()))?;
    lines
        .par_iter()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))
        })
        .collect()
}

/// The bag of a text.
pub fn bag(tokenizer: &WordTokenizer, text: &str) -> Bag {
    let mut ids = Vec::new();
    tokenizer.append(text, &mut ids);
    Bag::of(&ids)
}

/// Pairs as examples, in order. Those of one query share a group; a pair without a token on one side is left out.
pub fn examples(tokenizer: &WordTokenizer, pairs: &[Pair], template: &Template) -> Vec<Example> {
    let examples: Vec<Example> = pairs
        .par_iter()
        .map(|pair| {
            let number = |text: &str| {
                Sha256::digest(text).iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte))
            };
            Example {
                query: bag(tokenizer, &pair.query),
                document: bag(tokenizer, &pair.document(template)),
                group: number(&pair.query.to_lowercase()),
                cluster: number(&pair.package),
            }
        })
        .collect();
    examples.into_iter().filter(|example| !example.query.ids.is_empty() && !example.document.ids.is_empty()).collect()
}
