//! A snippet of each language beside what is made of it. To accept a change, look at it and run
//! `UPDATE_SNAPSHOTS=1 cargo test --release -p embedding-engine-chunk --test snapshots`.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;

use common::{covers, snippets};
use embedding_engine_chunk::{Chunk, Language, Options, blank_docs, chunk};

fn outline(text: &str, chunks: &[Chunk]) -> String {
    let mut outline = String::new();
    for chunk in chunks {
        let inside: String = chunk.inside.iter().map(|name| format!("{name} > ")).collect();
        let kind = format!("{:?}", chunk.kind).to_lowercase();
        let name = chunk.name.as_deref().unwrap_or("-");
        writeln!(outline, "{}-{} {kind} {inside}{name}", chunk.start_line, chunk.end_line).unwrap();
        if let Some(signature) = &chunk.signature {
            writeln!(outline, "    signature: {signature}").unwrap();
        }
        if let Some(doc) = &chunk.doc {
            writeln!(outline, "    doc: {}", doc.replace('\n', " | ")).unwrap();
        }
        for docs in &chunk.docs {
            writeln!(outline, "    docs: {:?}", &text[docs.clone()]).unwrap();
        }
    }
    outline
}

#[test]
fn what_is_made_of_each_language() {
    let mut languages = BTreeSet::new();
    for (name, text) in snippets() {
        let language = Language::by_path(&name).unwrap();
        languages.insert(language);
        let chunks = chunk(&text, Some(language), &Options::default());
        covers(&text, &chunks);
        let (outline, path) =
            (outline(&text, &chunks), format!("{}/tests/snapshots/{name}.outline", env!("CARGO_MANIFEST_DIR")));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &outline).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(outline, expected, "{name}");
    }
    assert_eq!(languages, Language::all().collect());
}

#[test]
fn without_documentation_the_same_units_are_found_on_the_same_lines() {
    for (name, text) in snippets() {
        let language = Language::by_path(&name).unwrap();
        let blanked = blank_docs(&text, language);
        assert_eq!(blanked.lines().count(), text.lines().count(), "{name}");
        let of = |text: &str| -> Vec<Chunk> {
            let chunks = chunk(text, Some(language), &Options::default());
            chunks.into_iter().filter(|chunk| chunk.name.is_some()).collect()
        };
        let (before, after) = (of(&text), of(&blanked));
        let names = |chunks: &[Chunk]| -> Vec<_> {
            chunks.iter().map(|chunk| (chunk.inside.clone(), chunk.name.clone(), chunk.signature.clone())).collect()
        };
        assert_eq!(names(&before), names(&after), "{name}");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after.doc, None, "{name}: {:?}", after.name);
            // The comments before it are no part of it any more.
            assert!(before.start_line <= after.start_line && after.end_line <= before.end_line, "{name}: {before:?}");
            // White space apart, both ways to leave documentation out agree; `pass` stands for a body of nothing else.
            let words = |text: &str| text.split_whitespace().filter(|word| *word != "pass").collect::<String>();
            assert_eq!(words(&before.without_docs(&text)), words(&blanked[after.range.clone()]), "{name}");
        }
    }
}
