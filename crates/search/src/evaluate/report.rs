//! What an evaluation found.

use embedding_engine::engine::ModelReport;
use serde::Serialize;

use super::bootstrap::Estimate;
use super::metrics::Metrics;

/// With fewer queries a difference says little.
pub const TOO_FEW_QUERIES: usize = 200;

/// What was ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Chance: the exact expectation.
    Random,
    /// BM25 over sub-tokens, of the documents as they stand.
    Bm25,
    /// BM25 over sub-tokens, of the documents as search embeds them.
    Bm25Template,
    /// The model, on the documents as they stand.
    ModelPlain,
    /// The model.
    Model,
    /// The model and BM25.
    Hybrid,
}

/// Whether units of code have their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// As they are.
    Kept,
    /// A unit's own name is taken out of it.
    Blanked,
}

/// Among what the answers are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All documents.
    Pooled,
    /// The documents of the query's own group, such as its package: what a search in one repository is.
    Within,
}

/// How well a system ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What ranked.
    pub system: System,
    /// Whether it saw names.
    pub names: Names,
    /// Means over all queries.
    pub metrics: Metrics<Estimate>,
    /// Over [`System::Bm25`] with the same names, query by query.
    pub gain: Metrics<Estimate>,
}

/// All systems, ranking the same documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// Which documents.
    pub scope: Scope,
    /// One a system.
    pub rows: Vec<Row>,
}

/// NDCG@10 of the hybrid at one weight of BM25.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepPoint {
    /// Of BM25 beside the model; 0 is the model alone.
    pub weight: f32,
    /// Among all documents.
    pub pooled: f64,
    /// Within the query's own group, where there are several.
    pub within: Option<f64>,
}

/// NDCG@10 within one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// Its queries.
    pub queries: usize,
    /// Its documents.
    pub documents: usize,
    /// By system, names kept.
    pub ndcg10: Vec<(System, f64)>,
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it was evaluated on.
    pub name: String,
    /// How many queries there are.
    pub queries: usize,
    /// How many documents there are.
    pub documents: usize,
    /// Answers that are not among the documents: they count as not found.
    pub missing: usize,
    /// What computed the vectors, if a model was evaluated by the engine.
    pub model: Option<ModelReport>,
    /// The space of the vectors.
    pub space: Option<String>,
    /// How often names stand before the documents, where these are code.
    pub name_repeats: Option<usize>,
    /// Of BM25 beside the model.
    pub hybrid_weight: f32,
    /// Whether there are fewer than [`TOO_FEW_QUERIES`].
    pub too_few: bool,
    /// What is to be kept in mind.
    pub notes: Vec<String>,
    /// Pooled, and within the groups where there are several.
    pub sections: Vec<Section>,
    /// The hybrid at several weights, if asked for.
    pub sweep: Vec<SweepPoint>,
    /// Each group on its own, where there are several.
    pub groups: Vec<GroupReport>,
}

impl Report {
    /// The row of a system.
    pub fn row(&self, scope: Scope, system: System, names: Names) -> Option<&Row> {
        let section = self.sections.iter().find(|section| section.scope == scope)?;
        section.rows.iter().find(|row| row.system == system && row.names == names)
    }
}
