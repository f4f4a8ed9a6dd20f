//! The tokenizer of our own static models: words of identifiers in lower case, then byte pair encoding.
//!
//! Its `tokenizer.json` is an ordinary one, which the `tokenizers` library reads as well and gives the same ids for (the
//! tests compare them). This is what makes a static model fast: the library takes some twenty times as long for a text
//! as the table does for its tokens.

mod bpe;
mod split;

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use self::bpe::{Bpe, Symbols};
use super::Encoded;
use crate::error::{Code, Error, Result};

/// See the module.
#[derive(Debug)]
pub struct WordTokenizer {
    bpe: Bpe,
    /// Number of tokens.
    size: usize,
    max_tokens: usize,
}

/// What of `tokenizer.json` makes it one of ours.
#[derive(Deserialize)]
struct File {
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    added_tokens: Vec<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    ignore_merges: bool,
    vocab: std::collections::HashMap<String, u32>,
    merges: Vec<String>,
}

impl WordTokenizer {
    /// Reads a `tokenizer.json` if it is one of ours; `None` for any other, which the `tokenizers` library is for.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for one of ours that is broken, or that has more tokens than the table has `rows`.
    pub fn load(file: &Path, rows: usize, max_tokens: usize) -> Result<Option<Self>> {
        let bytes =
            std::fs::read(file).map_err(|error| Error::bad_checkpoint(file, format!("cannot be read: {error}.")))?;
        let Ok(found) = serde_json::from_slice::<File>(&bytes) else { return Ok(None) };
        let ours = found.normalizer == normalizer()
            && found.pre_tokenizer == pre_tokenizer()
            && found.post_processor.is_null()
            && found.added_tokens.is_empty()
            && found.model.kind == "BPE"
            && found.model.ignore_merges;
        if !ours {
            return Ok(None);
        }
        let tokenizer = Self::of(found.model, max_tokens).map_err(|error| Error::bad_checkpoint(file, error))?;
        if tokenizer.size > rows {
            let message = format!(
                "it has {} tokens, but the model's table has {rows} rows. The tokenizer belongs to another model.",
                tokenizer.size
            );
            return Err(Error::bad_checkpoint(file, message).with("rows", rows));
        }
        Ok(Some(tokenizer))
    }

    fn of(model: Model, max_tokens: usize) -> std::result::Result<Self, String> {
        let size = model.vocab.len();
        let mut tokens: Vec<Box<[u8]>> = vec![Box::default(); size];
        let mut ids = ahash::AHashMap::with_capacity(size);
        let decode = decoder();
        for (token, &id) in &model.vocab {
            let bytes: Option<Vec<u8>> = token.chars().map(|c| decode.get(&c).copied()).collect();
            let bytes = bytes.ok_or_else(|| format!("the token {token:?} is not written in byte-level characters"))?;
            let slot = tokens.get_mut(id as usize).ok_or_else(|| format!("the ids of {size} tokens have gaps"))?;
            *slot = bytes.into();
            ids.insert(token.as_str(), id);
        }
        let mut merges = Vec::with_capacity(model.merges.len());
        for merge in &model.merges {
            let pair = merge.split_once(' ').and_then(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?)));
            merges.push(pair.ok_or_else(|| format!("the merge {merge:?} names what is no token"))?);
        }
        Ok(WordTokenizer { bpe: Bpe::new(tokens, &merges)?, size, max_tokens })
    }

    /// Number of tokens.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Appends the ids of `text` to `ids`.
    pub fn append(&self, text: &str, ids: &mut Vec<u32>) {
        let mut symbols = Symbols::default();
        split::pieces(text, |piece, _| self.bpe.encode(piece.as_bytes(), &mut symbols, |id, _| ids.push(id)));
    }

    /// As [`super::Tokenizer::encode`].
    ///
    /// # Errors
    /// `EMPTY_TEXT` if there is no token in it.
    pub fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded> {
        // One token in four bytes is what code has.
        let mut ids = Vec::with_capacity(text.len() / 4 + 4);
        match prompt.filter(|prompt| !prompt.is_empty()) {
            Some(prompt) => self.append(&[prompt, text].concat(), &mut ids),
            None => self.append(text, &mut ids),
        }
        self.cut(ids)
    }

    /// As [`super::Tokenizer::encode_chunks`]. Within a word whose lower case has other lengths, a token may count as
    /// beginning some bytes beside its place.
    ///
    /// # Errors
    /// As [`WordTokenizer::encode`].
    pub fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        let prompt = prompt.unwrap_or_default();
        let whole = [prompt, text].concat();
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        let mut symbols = Symbols::default();
        split::pieces(&whole, |piece, start| {
            self.bpe.encode(piece.as_bytes(), &mut symbols, |id, offset| {
                ids.push(id);
                starts.push(start + offset);
            });
        });
        let encoded = self.cut(ids)?;
        starts.truncate(encoded.ids.len());
        let first = |byte: usize| starts.partition_point(|&start| start < byte.saturating_add(prompt.len())) as u32;
        let range = |chunk: &Range<usize>| match first(chunk.start)..first(chunk.end) {
            empty if empty.is_empty() => 0..0,
            range => range,
        };
        Ok((encoded, chunks.iter().map(range).collect()))
    }

    fn cut(&self, mut ids: Vec<u32>) -> Result<Encoded> {
        if ids.is_empty() {
            return Err(Error::new(Code::EmptyText, "The text has no content: it gives no token."));
        }
        let untruncated = ids.len();
        ids.truncate(self.max_tokens);
        let pooled = 0..ids.len() as u32;
        Ok(Encoded { ids, untruncated, pooled })
    }
}

/// The `tokenizer.json` of a vocabulary: the bytes of each token by id, and the merges by rank.
pub fn tokenizer_json(tokens: &[Vec<u8>], merges: &[(u32, u32)]) -> String {
    let encode = byte_level();
    let name = |id: usize| tokens[id].iter().map(|byte| encode[usize::from(*byte)]).collect::<String>();
    let vocab: serde_json::Map<String, Value> = (0..tokens.len()).map(|id| (name(id), id.into())).collect();
    let merges: Vec<String> =
        merges.iter().map(|(left, right)| format!("{} {}", name(*left as usize), name(*right as usize))).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer(),
        "pre_tokenizer": pre_tokenizer(),
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": true,
            "vocab": vocab,
            "merges": merges,
        },
    })
    .to_string()
}

/// The bytes of each token of a `tokenizer.json` of ours, by id.
///
/// # Errors
/// `BAD_CHECKPOINT`.
pub fn token_bytes(json: &[u8]) -> Result<Vec<Vec<u8>>> {
    let broken = |message: String| Error::bad_checkpoint("tokenizer.json", message);
    let file: File = serde_json::from_slice(json).map_err(|error| broken(error.to_string()))?;
    let decode = decoder();
    let mut tokens = vec![Vec::new(); file.model.vocab.len()];
    for (token, id) in &file.model.vocab {
        let slot = tokens.get_mut(*id as usize).ok_or_else(|| broken("the ids have gaps".to_owned()))?;
        *slot = token.chars().filter_map(|c| decode.get(&c).copied()).collect();
    }
    Ok(tokens)
}

/// Calls `word` with each piece that byte pair encoding is applied to: what a vocabulary is learned from.
pub fn for_each_word(text: &str, mut word: impl FnMut(&str)) {
    split::pieces(text, |piece, _| word(piece));
}

/// What [`split`] does before it looks at classes, in the library's terms.
fn normalizer() -> Value {
    const CASES: &str = r"(?<=\p{Lowercase})(?=\p{Uppercase})|(?<=\p{Uppercase})(?=\p{Uppercase}\p{Lowercase})";
    json!({
        "type": "Sequence",
        "normalizers": [
            { "type": "Replace", "pattern": { "Regex": CASES }, "content": " " },
            { "type": "Replace", "pattern": { "String": "_" }, "content": " " },
            { "type": "Lowercase" },
        ],
    })
}

/// And what it does then.
fn pre_tokenizer() -> Value {
    let (letters, digits, marks) = (split::LETTERS, split::DIGITS, split::MARKS);
    let pattern = format!(
        r"\p{{Alphabetic}}{{1,{letters}}}|[\p{{N}}&&[^\p{{Alphabetic}}]]{{1,{digits}}}|[^\s\p{{Alphabetic}}\p{{N}}]{{1,{marks}}}"
    );
    json!({
        "type": "Sequence",
        "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Removed", "invert": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        ],
    })
}

/// The characters that stand for bytes in `tokenizer.json`: printable ones for themselves, the others from U+0100 on
/// (GPT-2's `bytes_to_unicode`).
pub(crate) fn byte_level() -> [char; 256] {
    let mut chars = ['\0'; 256];
    let mut next = 0x100;
    for (byte, slot) in chars.iter_mut().enumerate() {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable { byte as u32 } else { next };
        next += u32::from(!printable);
        *slot = char::from_u32(code).unwrap_or_default();
    }
    chars
}

pub(crate) fn decoder() -> ahash::AHashMap<char, u8> {
    byte_level().iter().enumerate().map(|(byte, c)| (*c, byte as u8)).collect()
}

#[cfg(test)]
mod tests;
