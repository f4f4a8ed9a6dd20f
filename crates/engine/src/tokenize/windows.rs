//! Long texts in windows, so that memory does not follow their length.
//!
//! The library holds 100 to 350 bytes for each byte of text while it encodes (3.5 GB for 10 MB). So a
//! long text is encoded window by window. The ids are the same as those of the whole, because a window
//! is only cut where a word of the pre-tokenizer begins, and only for tokenizers of which this holds:
//!
//! - normalisers work on single characters or graphemes, pre-tokenizers from left to right with a look
//!   ahead of one character, and models on single words ([`is_local`]);
//! - the characters on both sides of a cut are such that no normaliser joins them ([`is_plain`]);
//! - what a window cannot see to its right ([`MARGIN`]) is longer than any added token.
//!
//! Where no cut is found (a word of 64 kB, such as Chinese without punctuation for Qwen) the window grows
//! eightfold, and that word is held whole. Any other tokenizer encodes texts whole.

use serde_json::Value;
use tokenizers::{Encoding, ModelWrapper};

/// Bytes encoded at once.
pub(super) const WINDOW: usize = 1 << 16;

/// Bytes at the end of a window in which no cut is made.
pub(super) const MARGIN: usize = 1 << 12;

/// Where to cut an encoded window of a longer text: how many of its tokens stand, and at which byte the
/// next window begins.
pub(super) fn cut(window: &str, encoding: &Encoding, margin: usize) -> Option<(usize, usize)> {
    let end = window.len().saturating_sub(margin);
    let (words, offsets) = (encoding.get_word_ids(), encoding.get_offsets());
    (1..words.len()).rev().find_map(|token| {
        let start = offsets[token].0;
        let begins = words[token] != words[token - 1] && offsets[token - 1].1 <= start;
        (begins && (1..=end).contains(&start) && may_cut(window, start)).then_some((token, start))
    })
}

fn may_cut(text: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (text.get(..at), text.get(at..)) else { return false };
    // A single space belongs to the word after it in many tokenizers.
    let word = after.strip_prefix(' ').unwrap_or(after);
    let previous = before.chars().next_back();
    previous.is_some_and(|c| is_plain(c) || c.is_ascii_whitespace()) && word.chars().next().is_some_and(is_plain)
}

/// A visible character that neither combines with the one before it, nor forms a grapheme with it.
fn is_plain(c: char) -> bool {
    matches!(c,
        '!'..='~'
        | '\u{c0}'..='\u{24f}'
        | '\u{391}'..='\u{3ce}' | '\u{400}'..='\u{481}'
        | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}'
        | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}')
}

/// Whether the ids of a text are those of its parts, cut between words.
pub(super) fn is_local(tokenizer: &tokenizers::Tokenizer) -> bool {
    let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    let added = tokenizer.get_added_tokens_decoder();
    let model = match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) => bpe.dropout.is_none(),
        ModelWrapper::WordPiece(_) | ModelWrapper::Unigram(_) | ModelWrapper::WordLevel(_) => true,
    };
    model
        && added.values().all(|token| !token.single_word && token.content.len() < MARGIN / 8)
        && tokenizer.get_normalizer().is_none_or(|found| local_normalizer(&json(serde_json::to_value(found))))
        && tokenizer.get_pre_tokenizer().is_some_and(|found| local_pre_tokenizers(&json(serde_json::to_value(found))))
}

fn local_normalizer(found: &Value) -> bool {
    match found["type"].as_str() {
        Some("Sequence") => found["normalizers"].as_array().is_some_and(|all| all.iter().all(local_normalizer)),
        // Runs of spaces made one.
        Some("Replace") => found["pattern"]["Regex"] == " {2,}",
        Some(kind) => matches!(
            kind,
            "BertNormalizer" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "StripAccents" | "Nmt" | "Precompiled"
        ),
        None => false,
    }
}

fn local_pre_tokenizers(found: &Value) -> bool {
    let mut split_at_spaces = false;
    let alone = [found.clone()];
    let all = match found["type"].as_str() {
        Some("Sequence") => found["pretokenizers"].as_array().map(Vec::as_slice).unwrap_or_default(),
        _ => &alone,
    };
    !all.is_empty()
        && all.iter().all(|found| match found["type"].as_str() {
            Some("WhitespaceSplit" | "Whitespace" | "BertPreTokenizer") => {
                split_at_spaces = true;
                true
            }
            Some("Digits" | "Punctuation") => true,
            Some("ByteLevel") => found["add_prefix_space"] == false,
            Some("Metaspace") => {
                split_at_spaces && matches!(found["prepend_scheme"].as_str(), Some("always" | "never"))
            }
            Some("Split") => {
                found["behavior"] == "Isolated" && found["invert"] == false && is_known_regex(&found["pattern"])
            }
            _ => false,
        })
}

/// The patterns of Qwen2 and of Llama 3 (cl100k): no look behind, a look ahead of one character.
fn is_known_regex(pattern: &Value) -> bool {
    const START: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}";
    const END: &str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let middle = pattern["Regex"].as_str().and_then(|regex| regex.strip_prefix(START)?.strip_suffix(END));
    matches!(middle, Some("" | "{1,3}"))
}
