//! The scores of all documents for a query, by each system.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::bm25::Bm25;
use super::collection::{Collection, Query};
use super::metrics::{self, COUNT, Metrics};
use super::model::Rows;
use crate::fuse::{Fusion, Scale};
use embedding_engine::{Cancel, Result};

/// Queries that are ranked together: each vector of a document is read once for all of them.
const BLOCK: usize = 8;

/// All that ranks the documents, in one form of their names.
pub(super) struct Ranker {
    /// The documents as they stand.
    pub(super) plain: Bm25,
    /// The documents as search embeds them, where that is another text.
    pub(super) template: Option<Bm25>,
    /// Their vectors and those of the queries.
    pub(super) vectors: Option<Dense>,
    /// The same of the documents as they stand.
    pub(super) plain_vectors: Option<Dense>,
    /// Weights of BM25 beside the model.
    pub(super) weights: Vec<f32>,
}

/// Unit vectors.
pub(super) struct Dense {
    pub(super) documents: Rows,
    pub(super) queries: Rows,
}

/// What a column of [`Ranker::run`] is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Column {
    Random,
    Bm25,
    Bm25Template,
    ModelPlain,
    Model,
    Hybrid(f32),
}

/// For each query the figures of each column: [`COUNT`] values a column.
pub(super) type Figures = Vec<Vec<f64>>;

impl Ranker {
    /// The columns, in order.
    pub(super) fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::Random, Column::Bm25];
        columns.extend(self.template.is_some().then_some(Column::Bm25Template));
        columns.extend(self.plain_vectors.is_some().then_some(Column::ModelPlain));
        if self.vectors.is_some() {
            columns.push(Column::Model);
            columns.extend(self.weights.iter().map(|weight| Column::Hybrid(*weight)));
        }
        columns
    }

    /// Ranks all documents for each query, and, where there are several groups, those of the query's own group.
    pub(super) fn run(&self, collection: &Collection, cancel: &Cancel) -> Result<(Figures, Figures)> {
        let blocks: Vec<Vec<(Vec<f64>, Vec<f64>)>> = collection
            .queries
            .par_chunks(BLOCK)
            .enumerate()
            .map(|(block, queries)| {
                cancel.check()?;
                Ok(self.block(collection, queries, block * BLOCK))
            })
            .collect::<Result<_>>()?;
        Ok(blocks.into_iter().flatten().unzip())
    }

    fn block(&self, collection: &Collection, queries: &[Query], first: usize) -> Vec<(Vec<f64>, Vec<f64>)> {
        let several = collection.groups.len() > 1;
        let cosines = |dense: &Option<Dense>| match dense {
            Some(dense) => dense.cosines(first..first + queries.len()).into_iter().map(Some).collect(),
            None => vec![None; queries.len()],
        };
        let cosines = cosines(&self.vectors).into_iter().zip(cosines(&self.plain_vectors));
        let rows = queries.iter().zip(cosines).map(|(query, (cosines, plain))| {
            let of = |range: Range<usize>| {
                let part = |cosines: &Option<Vec<f32>>| cosines.as_ref().map(|cosines| cosines[range.clone()].to_vec());
                self.figures(query, range.clone(), part(&cosines), part(&plain))
            };
            let pooled = of(0..collection.documents.len());
            let own = collection.groups.get(query.group).map_or(0..0, |group| group.documents.clone());
            (pooled, if several { of(own) } else { Vec::new() })
        });
        rows.collect()
    }

    fn figures(
        &self,
        query: &Query,
        range: Range<usize>,
        cosines: Option<Vec<f32>>,
        plain_cosines: Option<Vec<f32>>,
    ) -> Vec<f64> {
        let within = |document: &usize| range.contains(document);
        let relevant: Vec<metrics::Judged> = query
            .relevant
            .iter()
            .map(|judged| metrics::Judged {
                document: judged.document.filter(within).map(|document| document - range.start),
                gain: judged.gain,
            })
            .collect();
        let without = query.without.filter(within).map(|document| document - range.start);
        let of = |scores: &[f32]| metrics::of_ranking(scores, &relevant, without);
        let plain = self.plain.scores(&query.text, range.clone());
        let template = self.template.as_ref().map(|index| index.scores(&query.text, range.clone()));
        let full_text = template.as_ref().unwrap_or(&plain);
        let fusion = cosines.as_ref().map(|cosines| Fusion {
            dense: Scale::of(cosines.iter().copied(), 0),
            full_text: Scale::of(full_text.iter().copied(), 0),
            weight: 0.0,
        });
        let mut figures = Vec::with_capacity(self.columns().len() * COUNT);
        for column in self.columns() {
            let metrics = match (column, &cosines, &plain_cosines, &template) {
                (Column::Random, ..) => metrics::of_chance(range.len() - usize::from(without.is_some()), &relevant),
                (Column::Bm25, ..) => of(&plain),
                (Column::Bm25Template, _, _, Some(scores))
                | (Column::Model, Some(scores), ..)
                | (Column::ModelPlain, _, Some(scores), _) => of(scores),
                (Column::Hybrid(weight), Some(cosines), ..) => {
                    let fused = fusion.map(|fusion| {
                        let fusion = Fusion { weight, ..fusion };
                        cosines.iter().zip(full_text).map(|(c, f)| fusion.score(*c, *f)).collect::<Vec<f32>>()
                    });
                    fused.map_or_else(Metrics::default, |fused| of(&fused))
                }
                _ => Metrics::default(),
            };
            figures.extend(metrics.values());
        }
        figures
    }
}

impl Dense {
    /// The cosines of all documents, for each of some queries.
    fn cosines(&self, queries: Range<usize>) -> Vec<Vec<f32>> {
        let mut cosines = vec![Vec::with_capacity(self.documents.len()); queries.len()];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for document in self.documents.data.chunks_exact(self.documents.dimensions.max(1)) {
                    for (query, cosines) in queries.clone().zip(&mut cosines) {
                        cosines.push(dot(document, self.queries.row(query)));
                    }
                }
            },
        );
        cosines
    }
}

/// In an order that depends on the width alone, so that equal vectors have equal products.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 32];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..32 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    lanes.iter().sum()
}
