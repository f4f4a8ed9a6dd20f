//! Full text: the BM25 scores of all chunks that have a word of the query.

use rusqlite::Connection;

use crate::matrix::ChunkRow;
use crate::subtokens;

/// As many different words of a query are looked for: the rarest.
const MOST_WORDS: usize = 64;

/// A word that is in more than this share of the chunks says little about any: it is left out where others are left.
const MOST_CHUNKS: f64 = 1.0 / 3.0;

/// How fast further occurrences of a word count less, and how much longer chunks do: what BM25 is used with everywhere
/// (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009), FTS5 included.
const K1: f64 = 1.2;
const B: f64 = 0.75;

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
    for word in words {
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
        let (all, with) = (chunks.len() as f64, places.len() as f64);
        let rarity = ((all - with + 0.5) / (with + 0.5) + 1.0).ln();
        for (place, count) in &places {
            let (count, length) = (f64::from(*count), f64::from(chunks[*place as usize].words));
            let score = rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean.max(1.0)));
            scores[*place as usize] += score as f32;
        }
    }
    Ok(scores)
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
