//! Answering a query: the scan of the vectors, full text, their fusion, the best.

mod filter;
mod words;

use std::cmp::Ordering;

use embedding_engine::{Cancel, Result};
use rusqlite::Connection;
use serde::Serialize;

pub use filter::Filter;

use crate::fuse::{FULL_TEXT_WEIGHT, Fusion, Scale};
use crate::matrix::Matrix;
use crate::scan::{Candidate, QueryCode, Ranked, best, exact_dot};
use crate::store::{self, Failure, HitRow};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryOptions {
    /// How many hits at most; default 10.
    pub top: usize,
    /// Whether full text has a say beside the vectors (default), or the vectors decide alone.
    pub hybrid: bool,
    /// Which files are looked at.
    pub filter: Filter,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions { top: 10, hybrid: true, filter: Filter::default() }
    }
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Relative to the folder, with `/`.
    pub path: String,
    /// From 1.
    pub start_line: usize,
    /// From 1.
    pub end_line: usize,
    /// What it is called.
    pub name: Option<String>,
    /// What it is, such as `function`.
    pub kind: String,
    /// Such as `typescript`; none for files of no language that is known.
    pub language: Option<String>,
    /// The cosine; with full text, how many standard deviations it is above the mean, added up: see [`Fusion`].
    pub score: f32,
    /// The source as it stood when the file was stored.
    pub text: String,
}

/// Finds the best chunks for a query: those that an exact scan of all vectors finds, and in the same order. Equal scores
/// are in the order of path and line.
///
/// `connection` is inside of a transaction that sees the state of `matrix`.
pub(crate) fn search(
    connection: &Connection,
    failure: &Failure,
    matrix: &Matrix,
    text: &str,
    vector: Vec<f32>,
    options: &QueryOptions,
    cancel: &Cancel,
) -> Result<Vec<Hit>> {
    let allowed = options.filter.read()?.of(&matrix.files);
    if matrix.chunks.is_empty() || options.top == 0 {
        return Ok(Vec::new());
    }
    let query = QueryCode::new(vector, matrix.width());
    let cosines = matrix.scan(&query);
    cancel.check()?;
    let scores = if options.hybrid {
        Scores::fused(connection, matrix, text, &cosines).map_err(|error| failure.of(error))?
    } else {
        Scores::Dense
    };
    cancel.check()?;
    let ranked = rank(connection, matrix, &query, &cosines, &scores, allowed.as_deref(), options.top)
        .map_err(|error| failure.of(error))?;
    let hits = ranked.into_iter().map(|ranked| hit(connection, matrix, ranked));
    hits.collect::<rusqlite::Result<_>>().map_err(|error| failure.of(error))
}

/// What the score of a chunk is, by its cosine. Never falls where the cosine rises.
enum Scores {
    Dense,
    Fused {
        dense: Scale,
        /// What full text adds for each chunk of the matrix.
        lifts: Vec<f32>,
    },
}

impl Scores {
    fn fused(connection: &Connection, matrix: &Matrix, text: &str, cosines: &[f32]) -> rusqlite::Result<Self> {
        let mut lifts = words::scores(connection, text, &matrix.chunks)?;
        let dense = Scale::of(matrix.chunks.iter().map(|chunk| cosines[chunk.row as usize]), 0);
        let full_text = Scale::of(lifts.iter().copied(), 0);
        let fusion = Fusion { dense, full_text, weight: FULL_TEXT_WEIGHT };
        lifts.iter_mut().for_each(|score| *score = fusion.lift(*score));
        Ok(Scores::Fused { dense, lifts })
    }

    fn of(&self, chunk: u32, cosine: f32) -> f32 {
        match self {
            Scores::Dense => cosine,
            // As `Fusion::score`.
            Scores::Fused { dense, lifts } => dense.z(cosine) + lifts[chunk as usize],
        }
    }
}

fn rank(
    connection: &Connection,
    matrix: &Matrix,
    query: &QueryCode,
    cosines: &[f32],
    scores: &Scores,
    allowed: Option<&[bool]>,
    top: usize,
) -> rusqlite::Result<Vec<Ranked>> {
    let row_of = |chunk: u32| matrix.chunks[chunk as usize].row;
    let candidates = (0..matrix.chunks.len() as u32)
        .filter(|chunk| allowed.is_none_or(|allowed| allowed[matrix.chunks[*chunk as usize].file as usize]))
        .map(|chunk| {
            let row = row_of(chunk);
            let (info, cosine) = (matrix.info(row), cosines[row as usize]);
            let bound = query.bound(info.error, info.norm);
            Candidate { id: chunk, low: scores.of(chunk, cosine - bound), high: scores.of(chunk, cosine + bound) }
        });
    let refine = |chunk: u32| {
        let info = matrix.info(row_of(chunk));
        let cosine = query.refined(matrix.codes(row_of(chunk)), info.scale);
        let bound = query.refined_bound(info.error, info.norm);
        (scores.of(chunk, cosine - bound), scores.of(chunk, cosine + bound))
    };
    let mut statement = connection.prepare(store::VECTOR)?;
    // Equal chunks have one vector.
    let mut exact_of: std::collections::HashMap<u32, f32> = std::collections::HashMap::new();
    let exact = |chunk: u32| -> rusqlite::Result<f32> {
        let row = row_of(chunk);
        let cosine = match exact_of.get(&row) {
            Some(cosine) => *cosine,
            None => {
                let vector = store::vector(&mut statement, matrix.info(row).id)?;
                let cosine = exact_dot(&query.vector, &vector);
                exact_of.insert(row, cosine);
                cosine
            }
        };
        Ok(scores.of(chunk, cosine))
    };
    best(candidates, top, refine, exact, |a, b| in_order(matrix, a, b))
}

/// By path, then by line.
fn in_order(matrix: &Matrix, a: u32, b: u32) -> Ordering {
    let (a, b) = (&matrix.chunks[a as usize], &matrix.chunks[b as usize]);
    let path = |file: u32| &matrix.files[file as usize].path;
    path(a.file).cmp(path(b.file)).then(a.line.cmp(&b.line)).then(a.id.cmp(&b.id))
}

fn hit(connection: &Connection, matrix: &Matrix, Ranked { id, score }: Ranked) -> rusqlite::Result<Hit> {
    let chunk = &matrix.chunks[id as usize];
    let file = &matrix.files[chunk.file as usize];
    let HitRow { end_line, kind, name, source } = store::hit(connection, chunk.id)?;
    Ok(Hit {
        path: file.path.clone(),
        start_line: chunk.line as usize,
        end_line,
        name,
        kind,
        language: file.language.clone(),
        score,
        text: source,
    })
}
