//! What is made of a file: its chunks, what is embedded of each, and the words of full text search. The one place that
//! says so.

use embedding_engine_chunk::{Chunk, Language, Options, Template, chunk};
use sha2::{Digest, Sha256};

use crate::store::NewChunk;
use crate::subtokens;

/// Goes up with every change of what is made of a file, so that old indexes are made anew.
pub(crate) const RECIPE: i64 = 1;

/// A chunk, and what is embedded of it.
pub(crate) struct Cut {
    pub(crate) chunk: NewChunk,
    pub(crate) text: String,
}

/// The chunks of a file.
pub(crate) fn cut(path: &str, source: &str, language: Option<Language>) -> Vec<Cut> {
    chunk(source, language, &Options::default()).into_iter().map(|chunk| cut_of(path, source, chunk)).collect()
}

fn cut_of(path: &str, source: &str, chunk: Chunk) -> Cut {
    let text = embed_text(&chunk, source);
    let words = words(&text, path);
    let Chunk { range, start_line, end_line, kind, name, .. } = chunk;
    let chunk = NewChunk {
        hash: hash(text.as_bytes()),
        start_line,
        end_line,
        start: range.start,
        end: range.end,
        kind: serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
        name,
        source: source[range].to_owned(),
        words,
    };
    Cut { chunk, text }
}

/// What is embedded of a chunk: the same as `embedText` of `chunkCode`.
fn embed_text(chunk: &Chunk, source: &str) -> String {
    chunk.embed_text(source, &Template::default())
}

/// Sub-tokens of what is embedded, and of the path.
fn words(text: &str, path: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for part in [text, path] {
        subtokens::for_each(part, |word| {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        });
    }
    words
}

/// The first half of SHA-256: as good as unique.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    half
}
