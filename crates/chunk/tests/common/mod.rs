//! What the tests of chunks share.
#![allow(dead_code)] // each of them uses a part

use embedding_engine_chunk::Chunk;

/// The promise of this crate: in order, no overlap, nothing but white space between; documentation lies within.
pub fn covers(text: &str, chunks: &[Chunk]) {
    let mut at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    for chunk in chunks {
        let range = &chunk.range;
        assert!(range.start >= at && range.end > range.start && range.end <= text.len(), "{range:?} after {at}");
        assert!(text[at..range.start].trim().is_empty(), "lost: {:?}", &text[at..range.start]);
        assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end), "{range:?}");
        for docs in &chunk.docs {
            assert!(
                range.start <= docs.start && docs.start < docs.end && docs.end <= range.end,
                "{docs:?} in {range:?}"
            );
        }
        at = range.end;
    }
    assert!(text[at..].trim().is_empty(), "lost: {:?}", &text[at..]);
}

/// The snippets of `tests/snapshots`: name and text, in the order of their names.
pub fn snippets() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    let mut snippets = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".outline") {
            let text = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
            snippets.push((name, text));
        }
    }
    snippets.sort();
    snippets
}
