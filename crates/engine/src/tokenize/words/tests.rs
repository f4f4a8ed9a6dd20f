#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::train::vocabulary;

/// Our own sources, for a vocabulary that is like a real one.
const TEXTS: [&str; 4] = [
    include_str!("mod.rs"),
    include_str!("bpe.rs"),
    include_str!("split.rs"),
    "größe naïve 日本語 日本 🦀 == != => ::",
];

static FILE: LazyLock<String> = LazyLock::new(|| vocabulary::learn(TEXTS.into_iter(), 700).unwrap());

/// The library, on the same file.
static LIBRARY: LazyLock<tokenizers::Tokenizer> =
    LazyLock::new(|| tokenizers::Tokenizer::from_bytes(FILE.as_bytes()).unwrap());

static OURS: LazyLock<WordTokenizer> = LazyLock::new(|| load(&FILE, usize::MAX).unwrap());

fn load(json: &str, rows: usize) -> Result<WordTokenizer> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, json).unwrap();
    WordTokenizer::load(&file, rows, 1 << 20).map(Option::unwrap)
}

fn ids(text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    OURS.append(text, &mut ids);
    ids
}

fn agree(text: &str) {
    let theirs = LIBRARY.encode(text, false).unwrap();
    assert_eq!(ids(text), theirs.get_ids(), "{text:?}: {:?}", theirs.get_tokens());
}

#[test]
fn the_library_gives_the_same_ids() {
    for text in TEXTS {
        agree(text);
    }
    for text in [
        "",
        " \n",
        "parseHTTPResponse_v2",
        "aBCd ABc abC ABC_def",
        "İstanbul ǅ ß ẞ ﬁ Ⅷ1Ⅷ ½ x²",
        "e\u{301}a\u{308}A\u{308}",
        "0123456789012345 + 1_000_000",
        "=====================",
        "\u{a0}nbsp\u{2028}line\u{200b}zero",
        "🦀🇩🇪👩‍👩‍👧",
        "\0\u{1}\u{7f}",
    ] {
        agree(text);
    }
    agree(&"abcABC123==".repeat(500));
    agree(&"z".repeat(1000));
    agree(&"日".repeat(1000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // Blocks in which nothing is new: std and the library's regular expressions are of different versions of Unicode.
    #[test]
    fn for_any_text(text in "[\u{0}-\u{52f}\u{1e00}-\u{20bf}\u{2100}-\u{218b}\u{3041}-\u{30ff}\u{4e00}-\u{9fff}\u{1f300}-\u{1f64f}]{0,60}") {
        agree(&text);
    }

    #[test]
    fn for_any_identifiers(text in "[a-zA-Z0-9_ÄäİǅßⅧ²\u{301}. =]{0,60}") {
        agree(&text);
    }
}

#[test]
fn tokens_begin_where_they_stand() {
    let text = "let parseHTTP = retryCount;";
    let chunks = [0..4, 4..13, 13..14, 14..text.len(), 3..3];
    let (encoded, ranges) = OURS.encode_chunks(text, None, &chunks).unwrap();
    assert_eq!(encoded.ids, ids(text));
    for (chunk, range) in chunks.iter().zip(&ranges) {
        let own = ids(&text[chunk.clone()]);
        assert_eq!(encoded.ids[range.start as usize..range.end as usize], own, "{chunk:?}");
    }
    let (prompted, moved) = OURS.encode_chunks(text, Some("query: "), &chunks).unwrap();
    let prompt = ids("query: ").len() as u32;
    assert_eq!(prompted.ids.len() as u32, encoded.ids.len() as u32 + prompt);
    assert_eq!(moved[1], ranges[1].start + prompt..ranges[1].end + prompt);
}

#[test]
fn a_long_text_is_cut() {
    let tokenizer = WordTokenizer { max_tokens: 3, ..load(&FILE, usize::MAX).unwrap() };
    let encoded = tokenizer.encode("a b c d e", None).unwrap();
    assert_eq!((encoded.ids.len(), encoded.untruncated, encoded.pooled), (3, 5, 0..3));
    assert_eq!(tokenizer.encode(" _ ", None).unwrap_err().code, Code::EmptyText);
}

#[test]
fn broken_files() {
    assert_eq!(load(&FILE, 600).unwrap_err().code, Code::BadCheckpoint);
    let broken = |from: &str, to: &str| {
        assert!(FILE.contains(from), "{from}");
        load(&FILE.replacen(from, to, 1), usize::MAX).unwrap_err().code
    };
    // The byte `!` without a token; a merge of what is none.
    assert_eq!(broken(r#""!":"#, r#""!!!!!":"#), Code::BadCheckpoint);
    assert_eq!(broken(r#""merges":[""#, r#""merges":["nothing nowhere",""#), Code::BadCheckpoint);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, FILE.replace("ignore_merges\":true", "ignore_merges\":false")).unwrap();
    assert!(WordTokenizer::load(&file, 1000, 10).unwrap().is_none());
}
