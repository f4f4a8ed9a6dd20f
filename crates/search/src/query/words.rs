//! Full text: the BM25 scores of all chunks that have a word of the query.

use rusqlite::Connection;

use crate::subtokens;

/// As many different words of a query are looked for: the rarest. FTS5 takes no more than 256.
const MOST_WORDS: usize = 64;

/// A word that is in more than this share of the chunks says little about any: it is left out where others are left.
const MOST_CHUNKS: f64 = 1.0 / 3.0;

/// Calls `found` with each chunk that has a word of `text`, and its BM25 score, the higher the better; in ascending
/// order of the chunks' ids.
///
/// # Errors
/// Those of SQLite.
pub(super) fn scores(
    connection: &Connection,
    text: &str,
    chunks: usize,
    mut found: impl FnMut(i64, f32),
) -> rusqlite::Result<()> {
    let words = choose(frequencies(connection, text)?, chunks);
    if words.is_empty() {
        return Ok(());
    }
    // Each word is letters or digits alone, as sub-tokens are; the quotes keep AND, OR, NOT and NEAR words.
    let any = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" OR ");
    let mut statement = connection.prepare("SELECT rowid, -bm25(fulltext) FROM fulltext WHERE fulltext MATCH ?")?;
    let mut rows = statement.query([any])?;
    while let Some(row) = rows.next()? {
        found(row.get(0)?, row.get::<_, f64>(1)? as f32);
    }
    Ok(())
}

/// The different words of a text that are in any chunk, with the number of chunks.
fn frequencies(connection: &Connection, text: &str) -> rusqlite::Result<Vec<(String, usize)>> {
    let mut words = subtokens::of(text);
    words.sort_unstable();
    words.dedup();
    let mut statement = connection.prepare("SELECT doc FROM temp.words WHERE term = ?")?;
    let mut found = Vec::new();
    for word in words {
        let mut rows = statement.query([&word])?;
        if let Some(row) = rows.next()? {
            let count: i64 = row.get(0)?;
            drop(rows);
            found.push((word, count as usize));
        }
    }
    Ok(found)
}

fn choose(mut words: Vec<(String, usize)>, chunks: usize) -> Vec<String> {
    words.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    let telling = words.iter().take_while(|(_, count)| *count as f64 <= MOST_CHUNKS * chunks as f64).count();
    let kept = if telling == 0 { words.len() } else { telling };
    words.into_iter().take(kept.min(MOST_WORDS)).map(|(word, _)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_are_left_out_where_others_are_left() {
        let words = |list: &[(&str, usize)]| list.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        assert_eq!(choose(words(&[("the", 90), ("retry", 3), ("queue", 33)]), 99), ["retry", "queue"]);
        assert_eq!(choose(words(&[("the", 90), ("a", 80)]), 99), ["a", "the"]);
        assert!(choose(Vec::new(), 99).is_empty());
    }
}
