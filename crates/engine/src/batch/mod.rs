//! The packed batch: the seam between scheduling and computing, and the plan that fills it.

mod packed;
mod plan;

pub use packed::{PackedBatch, Span};
pub use plan::{Share, plan_shares};
