//! Search itself, as people use it: a folder without its documentation is indexed, and what the documentation said is
//! searched for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use embedding_engine::{Cancel, Code, Error, Result};
use embedding_engine_chunk::{FileOptions, Files, Language, blank_docs};

use super::bm25::Bm25;
use super::collection::Query;
use super::folder::{Folder, Place, read_folder};
use super::metrics::{self, COUNT, Judged};
use super::ranker::Column;
use super::report::{Names, Report, Scope, TOO_FEW_QUERIES};
use super::summary::{notes, section};
use crate::embedder::Embedder;
use crate::event::{IndexEvent, OnIndexEvent};
use crate::fuse::FULL_TEXT_WEIGHT;
use crate::recipe;
use crate::{Hit, Index, QueryOptions, UpdateOptions};

/// As deep as hits are looked at: what Recall@100 needs.
const TOP: usize = 100;

/// Between two events of progress: ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// What an evaluation through the index found, and how long a search took.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexRun {
    /// The figures: `model` is search by vectors alone, `hybrid` search as it is by default.
    pub report: Report,
    /// Seconds that bringing the index up to date took.
    pub update_seconds: f64,
    /// Mean seconds of a hybrid query, with embedding it.
    pub query_seconds: f64,
}

/// Copies a folder without the documentation of its code to a temporary place, indexes the copy there, and searches it
/// for what the documentation says. A hit is right if it has at least half of the lines of the unit that was
/// documented, or is itself at least half within it. BM25 ranks the same chunks.
///
/// # Errors
/// As [`read_folder`], [`Index::open`], [`Index::update`] and [`Index::query`]; `DISK_FULL` or `INVALID_INPUT` where
/// the copy cannot be made.
pub fn evaluate_index(
    folder: &Path,
    files: &FileOptions,
    embedder: Box<dyn Embedder>,
    cancel: &Cancel,
    progress: Option<OnIndexEvent>,
) -> Result<IndexRun> {
    let Folder { collection, places } = read_folder(folder, files, cancel)?;
    let copy = tempfile::tempdir().map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
    let root = copy.path().join("folder");
    let chunks = Chunks::copy(folder, files, &root, cancel)?;
    let index = Index::open(&root, &copy.path().join("index.db"), embedder, UpdateOptions::default())?;
    let began = Instant::now();
    index.update(cancel, progress.clone())?;
    let update_seconds = began.elapsed().as_secs_f64();
    let mut search = Search { index: &index, cancel, seconds: 0.0 };
    let mut figures = Vec::with_capacity(collection.queries.len());
    let mut told = Instant::now();
    let searching = Instant::now();
    for (done, query) in collection.queries.iter().enumerate() {
        if told.elapsed() >= INTERVAL
            && let Some(progress) = &progress
        {
            told = Instant::now();
            progress(IndexEvent::Embedding {
                done,
                tokens_per_second: done as f64 / searching.elapsed().as_secs_f64(),
            });
        }
        let answers: Vec<&[Place]> = answers(query, &places).collect();
        let mut row = chunks.figures(&query.text, &answers);
        row.extend(search.figures(&query.text, &answers, false)?);
        row.extend(search.figures(&query.text, &answers, true)?);
        figures.push(row);
    }
    let queries = collection.queries.len();
    let query_seconds = search.seconds / queries as f64;
    let space = index.space();
    index.close();
    let columns =
        vec![Column::Random, Column::Bm25, Column::Bm25Template, Column::Model, Column::Hybrid(FULL_TEXT_WEIGHT)];
    let parts = [(Names::Kept, columns, (figures, Vec::new()))];
    let mut notes = notes(queries, true);
    notes.push("Searched through the index of a copy of the folder without its documentation.".to_owned());
    let report = Report {
        name: collection.name,
        queries,
        documents: chunks.places.len(),
        missing: 0,
        model: None,
        space,
        name_repeats: Some(embedding_engine_chunk::DEFAULT_NAME_REPEATS),
        hybrid_weight: FULL_TEXT_WEIGHT,
        too_few: queries < TOO_FEW_QUERIES,
        notes,
        sections: vec![section(Scope::Pooled, &parts, |(pooled, _)| pooled)],
        sweep: Vec::new(),
        groups: Vec::new(),
    };
    Ok(IndexRun { report, update_seconds, query_seconds })
}

/// The places of each answer of a query.
fn answers<'p>(query: &Query, places: &'p [Vec<Place>]) -> impl Iterator<Item = &'p [Place]> {
    query.relevant.iter().filter_map(|judged| judged.document).map(|document| places[document].as_slice())
}

/// Whether one of them covers half of the other.
fn covers(found: &Place, unit: &Place) -> bool {
    let shared = (found.end_line.min(unit.end_line) + 1).saturating_sub(found.start_line.max(unit.start_line));
    let lines = |place: &Place| place.end_line + 1 - place.start_line;
    found.path == unit.path && 2 * shared >= lines(found).min(lines(unit))
}

/// The chunks that the index will have, for the baselines.
#[derive(Default)]
struct Chunks {
    places: Vec<Place>,
    plain: Bm25,
    template: Bm25,
}

impl Chunks {
    /// Copies the files of `folder` to `root` without documentation, and cuts them as the index does.
    fn copy(folder: &Path, files: &FileOptions, root: &Path, cancel: &Cancel) -> Result<Self> {
        let mut chunks = Chunks::default();
        let files = Files::new(folder, files).map_err(|why| {
            Error::invalid_option("include", format!("A pattern of include or exclude is none: {why}."))
        })?;
        for found in files {
            cancel.check()?;
            let embedding_engine_chunk::Found::Text { path, language, text } = found else { continue };
            let text = language.map_or(text.clone(), |language| blank_docs(&text, language));
            let target = root.join(&path);
            let made = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&target, &text));
            made.map_err(|error| unwritable(&target, &error))?;
            chunks.add(&path, language, &text);
        }
        Ok(chunks)
    }

    fn add(&mut self, path: &str, language: Option<Language>, text: &str) {
        for cut in recipe::cut(path, text, language) {
            let recipe::Cut { chunk, text } = cut;
            self.places.push(Place { path: path.to_owned(), start_line: chunk.start_line, end_line: chunk.end_line });
            self.plain.push(&chunk.source);
            self.template.push(&text);
        }
    }

    /// Of chance and of BM25. Of the chunks of one answer the best counts.
    fn figures(&self, text: &str, answers: &[&[Place]]) -> Vec<f64> {
        let right: Vec<Vec<usize>> = answers
            .iter()
            .map(|places| {
                let is_right = |at: &usize| places.iter().any(|place| covers(&self.places[*at], place));
                (0..self.places.len()).filter(is_right).collect()
            })
            .collect();
        let judged = |document| Judged { document, gain: 1.0 };
        let first: Vec<Judged> = right.iter().map(|chunks| judged(chunks.first().copied())).collect();
        let mut figures = Vec::with_capacity(3 * COUNT);
        figures.extend(metrics::of_chance(self.places.len(), &first).values());
        for index in [&self.plain, &self.template] {
            let scores = index.scores(text, 0..self.places.len());
            let best = |chunks: &Vec<usize>| chunks.iter().copied().max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let relevant: Vec<Judged> = right.iter().map(|chunks| judged(best(chunks))).collect();
            figures.extend(metrics::of_ranking(&scores, &relevant, None).values());
        }
        figures
    }
}

struct Search<'s> {
    index: &'s Index,
    cancel: &'s Cancel,
    /// Of hybrid queries.
    seconds: f64,
}

impl Search<'_> {
    fn figures(&mut self, text: &str, answers: &[&[Place]], hybrid: bool) -> Result<[f64; COUNT]> {
        let began = Instant::now();
        let options = QueryOptions { top: TOP, hybrid, ..QueryOptions::default() };
        let hits = self.index.query(text, &options, self.cancel, None)?;
        if hybrid {
            self.seconds += began.elapsed().as_secs_f64();
        }
        let found: Vec<Place> = hits.into_iter().map(place).collect();
        let rank = |places: &&[Place]| {
            let is_right = |hit: &Place| places.iter().any(|place| covers(hit, place));
            found.iter().position(is_right).map(|at| at + 1)
        };
        let ranks: Vec<Option<usize>> = answers.iter().map(rank).collect();
        Ok(metrics::of_ranks(&ranks).values())
    }
}

fn place(hit: Hit) -> Place {
    Place { path: hit.path, start_line: hit.start_line, end_line: hit.end_line }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let code = if full { Code::DiskFull } else { Code::InvalidInput };
    let path: PathBuf = path.to_owned();
    let message = format!("{} cannot be written: {error}. Free space there, or set TMPDIR.", path.display());
    Error::new(code, message).with("path", path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use embedding_engine::engine::OnEvent;

    use super::super::report::System;
    use super::*;
    use crate::embedder::{Done, Embedded, Purpose};
    use crate::subtokens;

    /// Counts a few words, so that texts about the same are near each other; keeps what it was given.
    struct Words(Arc<Mutex<Vec<String>>>);

    const WORDS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

    impl Embedder for Words {
        fn embed(&self, _: Purpose, texts: Vec<String>, _: Option<&str>, _: &Cancel, _: Option<OnEvent>, done: Done) {
            let row = |text: &String| {
                let mut row = [0.1f32; WORDS.len()];
                subtokens::for_each(text, |word| {
                    if let Some(at) = WORDS.iter().position(|known| *known == word) {
                        row[at] += 1.0;
                    }
                });
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                row.map(|x| x / norm)
            };
            let vectors = texts.iter().flat_map(row).collect();
            self.0.lock().unwrap().extend(texts);
            done(Ok(Embedded { vectors, dimensions: WORDS.len(), space: "words".to_owned(), tokens: 1 }));
        }
    }

    fn function(name: &str, doc: &str) -> String {
        let body = "    let total = one + two * three;\n    total + total / four - five * six + seven\n";
        format!("/// {doc}\nfn {name}(one: u64, two: u64) -> u64 {{\n{body}}}\n\n")
    }

    #[test]
    fn units_are_found_by_what_their_documentation_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        let a =
            [function("alpha", "This one is about alpha things."), function("beta", "That one is about beta things.")];
        fs::write(folder.path().join("src/a.rs"), a.concat()).unwrap();
        fs::write(folder.path().join("src/b.rs"), function("gamma", "Wrongly told to be about alpha too.")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let embedder = Box::new(Words(Arc::clone(&seen)));
        let run = evaluate_index(folder.path(), &FileOptions::default(), embedder, &Cancel::never(), None).unwrap();
        let documents: Vec<String> = seen.lock().unwrap().iter().filter(|text| text.contains("fn ")).cloned().collect();
        assert!(documents.len() == 3 && documents.iter().all(|text| !text.contains("about")), "{documents:?}");
        let figure = |system| run.report.row(Scope::Pooled, system, Names::Kept).unwrap().metrics;
        // Alpha and beta are first, gamma is found as well, though not as the first.
        assert!((figure(System::Model).recall1.value - 2.0 / 3.0).abs() < 1e-9);
        assert!((figure(System::Hybrid).recall10.value - 1.0).abs() < 1e-9);
        assert!((figure(System::Bm25).recall1.value - 2.0 / 3.0).abs() < 1e-9);
        assert!((figure(System::Random).recall1.value - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((run.report.queries, run.report.documents), (3, 3));
        assert!(run.report.too_few && run.query_seconds > 0.0);
    }

    #[test]
    fn half_of_either_is_enough() {
        let place = |path: &str, start_line, end_line| Place { path: path.to_owned(), start_line, end_line };
        let unit = place("a", 10, 19);
        for (found, expected) in [
            (place("a", 10, 19), true),
            (place("a", 1, 100), true),
            (place("a", 15, 40), true),
            (place("a", 16, 40), false),
            (place("a", 18, 21), true),
            (place("a", 19, 22), false),
            (place("b", 10, 19), false),
            (place("a", 20, 29), false),
        ] {
            assert_eq!(covers(&found, &unit), expected, "{found:?}");
        }
    }
}
