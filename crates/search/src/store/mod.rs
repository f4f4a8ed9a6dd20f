//! The index on disk: one SQLite file.
//!
//! ```text
//! files   what was read: path, size, time, hash, language, or why it was passed over
//! chunks  where chunks are, of which text      bodies    their source
//! texts   what is embedded, by hash: equal chunks are embedded once, and so are files that were moved
//! codes   8-bit vectors of texts by space      vectors   the same in full, by the same id
//! gone    texts that lost a chunk: looked at when pruning
//! fulltext  FTS5 over the sub-tokens of what is embedded and of the path, by chunk
//! ```
//!
//! Every change to a file's rows is one transaction with its vectors: what is there is whole, whenever the process ends.

mod failure;
mod open;
mod prune;
mod read;
mod write;

use rusqlite::Connection;

pub(crate) use failure::Failure;
pub(crate) use open::{Store, immediate};
pub(crate) use prune::prune;
pub(crate) use read::{HitRow, KnownFile, VECTOR, has_vector, hit, known_files, last_space, space_id, totals, vector};
pub(crate) use write::{NewChunk, NewFile, Writer, use_recipe, use_space};

/// A member of the table `meta`; 0 where it is absent.
fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare("SELECT value FROM meta WHERE name = ?")?;
    let mut rows = statement.query([name])?;
    rows.next()?.map_or(Ok(0), |row| row.get(0))
}

/// Changes with every transaction that changes what a query can find.
pub(crate) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    meta(connection, "generation")
}
