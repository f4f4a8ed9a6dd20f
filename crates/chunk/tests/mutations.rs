//! Snippets of each language, damaged at random: whatever a file holds, its chunks cover it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{covers, snippets};
use embedding_engine_chunk::{Language, Options, blank_docs, chunk};
use proptest::prelude::*;

/// What is done to a text, at a place told in thousandths of it.
#[derive(Debug, Clone)]
enum Damage {
    /// So many bytes are lost.
    Lose(usize, usize),
    /// Bytes come in between.
    Insert(usize, Vec<u8>),
    /// A part is written twice.
    Repeat(usize, usize),
    /// The rest is lost.
    End(usize),
    /// The lines end as on Windows.
    Crlf,
}

fn damage() -> impl Strategy<Value = Damage> {
    let sign = proptest::sample::select(vec![
        "(", ")", "{", "}", "[", "]", "\"", "'", "`", "\"\"\"", "/*", "*/", "//", "#", "\n", "\r", "\t", "\0", "\\",
        "é", "🦀", "\u{feff}", "\u{2028}", "end", "do", "<<EOF", "=begin", "#if", "<?php", "?>", "@", "$", ";", ",",
    ]);
    prop_oneof![
        (0..1000_usize, 1..40_usize).prop_map(|(at, length)| Damage::Lose(at, length)),
        (0..1000_usize, proptest::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (0..1000_usize, sign).prop_map(|(at, sign)| Damage::Insert(at, sign.as_bytes().to_vec())),
        (0..1000_usize, 1..200_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (1..1000_usize).prop_map(Damage::End),
        Just(Damage::Crlf),
    ]
}

fn damaged(text: &str, damages: &[Damage]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for damage in damages {
        let place = |at: usize| at * bytes.len() / 1000;
        match damage {
            Damage::Lose(at, length) => {
                let start = place(*at);
                let end = (start + length).min(bytes.len());
                bytes.drain(start..end);
            }
            Damage::Insert(at, new) => {
                let start = place(*at);
                bytes.splice(start..start, new.iter().copied());
            }
            Damage::Repeat(at, length) => {
                let start = place(*at);
                let part = bytes[start..(start + length).min(bytes.len())].to_vec();
                bytes.splice(start..start, part);
            }
            Damage::End(at) => bytes.truncate(place(*at)),
            Damage::Crlf => bytes = String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes(),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_covered(
        snippet in proptest::sample::select(snippets()),
        damages in proptest::collection::vec(damage(), 1..6),
        max_bytes in prop_oneof![1..100_usize, Just(2000)],
    ) {
        let (name, text) = snippet;
        let language = Language::by_path(&name).unwrap();
        let text = damaged(&text, &damages);
        let chunks = chunk(&text, Some(language), &Options { max_bytes });
        covers(&text, &chunks);
        for chunk in &chunks {
            prop_assert!(chunk.without_docs(&text).len() <= chunk.range.len());
        }
        // The same text gives the same chunks.
        prop_assert_eq!(&chunk(&text, Some(language), &Options { max_bytes }), &chunks);
        let blanked = blank_docs(&text, language);
        let newlines = |text: &str| text.matches('\n').count();
        prop_assert_eq!(newlines(&blanked), newlines(&text));
    }

    #[test]
    fn any_bytes_are_covered(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        language in proptest::sample::select(Language::all().collect::<Vec<_>>()),
        max_bytes in 1..100_usize,
    ) {
        let text = String::from_utf8_lossy(&bytes);
        covers(&text, &chunk(&text, Some(language), &Options { max_bytes }));
    }
}
