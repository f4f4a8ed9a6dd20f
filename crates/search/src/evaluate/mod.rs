//! How well a model finds: queries with known answers, ranked by chance, by BM25, by the model and by both.
//!
//! ```text
//! Collection (pairs, folder, dataset) ─ run ─ rankings ─ metrics of each query ─ bootstrap ─ Report
//! ```

mod batch;
mod bm25;
mod bootstrap;
mod collection;
mod dataset;
mod folder;
mod lines;
mod metrics;
mod model;
mod pairs;
mod ranker;
mod report;
mod run;
mod summary;
mod table;
mod through_index;

pub use bm25::Bm25;
pub use bootstrap::Estimate;
pub use collection::{Collection, Documents, Form, Group, Query, Unit, Units};
pub use dataset::read_dataset;
pub use folder::{Folder, Place, read_folder};
pub use metrics::{Judged, Metrics, of_chance, of_ranking, of_ranks};
pub use model::{EngineModel, Rows, VectorModel};
pub use pairs::{Pair, pairs_of, read_pairs};
pub use report::{GroupReport, Names, Report, Row, Scope, Section, SweepPoint, System, TOO_FEW_QUERIES};
pub use run::{Options, evaluate};
pub use through_index::{IndexRun, evaluate_index};
