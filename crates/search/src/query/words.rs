//! Full text: the BM25 scores of all chunks that have a word of the query.

use rusqlite::Connection;

use crate::bm25::{gain, rarity};
use crate::matrix::ChunkRow;
use crate::subtokens;

/// As many different words of a query are looked for: the rarest.
const MOST_WORDS: usize = 64;

/// A word that is in more than this share of the chunks says little about any: it is left out where others are left.
const MOST_CHUNKS: f64 = 1.0 / 3.0;

/// The BM25 score of each of `chunks`, which are in the order of their ids; 0 where no word of `text` is in it.
///
/// FTS5 has the index; its own `bm25()` is not used, because it looks up the length of each chunk that matches.
///
/// # Errors
/// Those of SQLite.
pub(super) fn scores(connection: &Connection, text: &str, chunks: &[ChunkRow]) -> rusqlite::Result<Vec<f32>> {
    let mut scores = vec![0f32; chunks.len()];
    let words = choose(frequencies(connection, text)?, chunks.len());
    let mean = chunks.iter().map(|chunk| f64::from(chunk.words)).sum::<f64>() / chunks.len().max(1) as f64;
    let mut statement = connection.prepare("SELECT doc FROM temp.instances WHERE term = ?")?;
    let mut places: Vec<(u32, u32)> = Vec::new();
    for Word { word, times, .. } in words {
        places.clear();
        let mut at = 0;
        let mut rows = statement.query([&word])?;
        // A row an occurrence, in the order of the chunks' ids.
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            while chunks.get(at).is_some_and(|chunk| chunk.id < id) {
                at += 1;
            }
            match places.last_mut() {
                Some((place, count)) if *place as usize == at => *count += 1,
                // One that the matrix does not have has no vector.
                _ if chunks.get(at).is_some_and(|chunk| chunk.id == id) => places.push((at as u32, 1)),
                _ => {}
            }
        }
        let worth = rarity(chunks.len() as f64, places.len() as f64) * f64::from(times);
        for (place, count) in &places {
            let length = f64::from(chunks[*place as usize].words);
            scores[*place as usize] += (worth * gain(f64::from(*count), length, mean)) as f32;
        }
    }
    Ok(scores)
}

/// A word of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    word: String,
    /// How often it stands in the query.
    times: u32,
    /// Chunks that it is in.
    chunks: usize,
}

/// The different words of a text that are in any chunk.
fn frequencies(connection: &Connection, text: &str) -> rusqlite::Result<Vec<Word>> {
    let mut words = subtokens::of(text);
    words.sort_unstable();
    let mut statement = connection.prepare("SELECT doc FROM temp.words WHERE term = ?")?;
    let mut found = Vec::new();
    for run in words.chunk_by(|a, b| a == b) {
        let mut rows = statement.query([&run[0]])?;
        if let Some(row) = rows.next()? {
            let chunks: i64 = row.get(0)?;
            found.push(Word { word: run[0].clone(), times: run.len() as u32, chunks: chunks as usize });
        }
    }
    Ok(found)
}

fn choose(mut words: Vec<Word>, chunks: usize) -> Vec<Word> {
    words.sort_by(|a, b| a.chunks.cmp(&b.chunks).then_with(|| a.word.cmp(&b.word)));
    let telling = words.iter().take_while(|word| word.chunks as f64 <= MOST_CHUNKS * chunks as f64).count();
    words.truncate(if telling == 0 { words.len() } else { telling }.min(MOST_WORDS));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_are_left_out_where_others_are_left() {
        let chosen = |list: &[(&str, usize)]| -> Vec<String> {
            let word = |(word, chunks): &(&str, usize)| Word { word: (*word).to_owned(), times: 1, chunks: *chunks };
            choose(list.iter().map(word).collect(), 99).into_iter().map(|word| word.word).collect()
        };
        assert_eq!(chosen(&[("the", 90), ("retry", 3), ("queue", 33)]), ["retry", "queue"]);
        assert_eq!(chosen(&[("the", 90), ("a", 80)]), ["a", "the"]);
        assert!(chosen(&[]).is_empty());
    }
}
