//! The exact scan: 8-bit codes of all vectors in memory, compared with the query by integer SIMD, with a bound on what
//! the codes may be wrong by; so that only few vectors have to be looked at in full, and the best found are those that
//! a scan of the full vectors finds.

mod codes;
mod dot;
mod rank;

pub use codes::{Codes, LEVELS, QueryCode, exact_dot};
pub use dot::{ALIGN, Kernel};
pub use rank::{Candidate, Ranked, best};
