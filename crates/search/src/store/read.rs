//! What an update and a query read.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// Bytes.
    pub size: i64,
    /// Nanoseconds since 1970; 0 where that says nothing.
    pub modified: i64,
    /// Of its content.
    pub hash: Option<[u8; 16]>,
    /// Why it was passed over.
    pub skipped: Option<String>,
    /// The space in which its chunks surely have vectors.
    pub space: i64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Files that have been cut.
    pub files: u64,
    /// Their chunks.
    pub chunks: u64,
}

/// A chunk as results show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitRow {
    /// From 1.
    pub end_line: usize,
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub name: Option<String>,
    /// The source as it stands.
    pub source: String,
}

/// All files, by path.
pub(crate) fn known_files(connection: &Connection) -> rusqlite::Result<HashMap<String, KnownFile>> {
    let mut statement = connection.prepare("SELECT path, size, modified, hash, skipped, space FROM files")?;
    let files = statement.query_map([], |row| {
        let known = KnownFile {
            size: row.get(1)?,
            modified: row.get(2)?,
            hash: row.get(3)?,
            skipped: row.get(4)?,
            space: row.get(5)?,
        };
        Ok((row.get(0)?, known))
    })?;
    files.collect()
}

/// The number of a space that has been used.
pub(crate) fn space_id(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT id FROM spaces WHERE name = ?", [name], |row| row.get(0)).optional()
}

/// The name of the space that was used last.
pub(crate) fn last_space(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT name FROM spaces ORDER BY used DESC LIMIT 1", [], |row| row.get(0)).optional()
}

/// Whether a text has a vector in a space.
pub(crate) fn has_vector(connection: &Connection, space: i64, hash: &[u8; 16]) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM texts JOIN codes ON codes.text = texts.id AND codes.space = ? WHERE texts.hash = ?)",
        params![space, hash],
        |row| row.get(0),
    )
}

pub(crate) fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count as u64);
    Ok(Totals {
        files: count("SELECT count(*) FROM files WHERE skipped IS NULL")?,
        chunks: count("SELECT count(*) FROM chunks")?,
    })
}

/// The vector of a row of `codes`.
pub(crate) fn vector(statement: &mut rusqlite::Statement<'_>, id: i64) -> rusqlite::Result<Vec<f32>> {
    statement.query_row([id], |row| {
        let bytes = row.get_ref(0)?.as_blob()?;
        let (floats, _) = bytes.as_chunks::<4>();
        Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    })
}

/// For [`vector`].
pub(crate) const VECTOR: &str = "SELECT vector FROM vectors WHERE id = ?";

pub(crate) fn hit(connection: &Connection, chunk: i64) -> rusqlite::Result<HitRow> {
    connection.query_row(
        "SELECT end_line, kind, name, source FROM chunks JOIN bodies USING (id) WHERE chunks.id = ?",
        [chunk],
        |row| {
            Ok(HitRow {
                end_line: row.get::<_, i64>(0)? as usize,
                kind: row.get(1)?,
                name: row.get(2)?,
                source: row.get(3)?,
            })
        },
    )
}
