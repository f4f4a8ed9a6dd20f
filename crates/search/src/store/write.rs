//! What an update writes, inside of a transaction of its own.

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, params};

use crate::scan::Codes;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Relative to the folder, with `/`.
    pub path: String,
    /// Bytes.
    pub size: i64,
    /// Nanoseconds since 1970; 0 where it may still change without showing.
    pub modified: i64,
    /// Of its content; none for what was passed over.
    pub hash: Option<[u8; 16]>,
    /// What it is called in results.
    pub language: Option<&'static str>,
    /// Why it was passed over.
    pub skipped: Option<String>,
}

/// A chunk of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewChunk {
    /// Of what is embedded.
    pub hash: [u8; 16],
    /// From 1.
    pub start_line: usize,
    /// From 1.
    pub end_line: usize,
    /// Bytes of the file.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub name: Option<String>,
    /// The source as it stands.
    pub source: String,
    /// Sub-tokens for full text search, between spaces.
    pub words: String,
}

/// The statements of an update.
pub struct Writer<'t> {
    transaction: &'t Transaction<'t>,
    space: i64,
    find_file: Statement<'t>,
    chunks_of: Statement<'t>,
    mark_gone: Statement<'t>,
    delete_words: Statement<'t>,
    delete_body: Statement<'t>,
    delete_chunks: Statement<'t>,
    delete_file: Statement<'t>,
    insert_file: Statement<'t>,
    find_text: Statement<'t>,
    insert_text: Statement<'t>,
    insert_chunk: Statement<'t>,
    insert_body: Statement<'t>,
    insert_words: Statement<'t>,
    insert_code: Statement<'t>,
    insert_vector: Statement<'t>,
}

impl<'t> Writer<'t> {
    /// For a transaction that writes vectors of this space.
    ///
    /// # Errors
    /// Those of SQLite, here and below.
    pub fn new(transaction: &'t Transaction<'t>, space: i64) -> rusqlite::Result<Self> {
        let prepare = |sql| transaction.prepare(sql);
        Ok(Writer {
            transaction,
            space,
            find_file: prepare("SELECT id FROM files WHERE path = ?")?,
            chunks_of: prepare("SELECT id FROM chunks WHERE file = ?")?,
            mark_gone: prepare("INSERT OR IGNORE INTO gone SELECT text FROM chunks WHERE file = ?")?,
            delete_words: prepare("DELETE FROM fulltext WHERE rowid = ?")?,
            delete_body: prepare("DELETE FROM bodies WHERE id = ?")?,
            delete_chunks: prepare("DELETE FROM chunks WHERE file = ?")?,
            delete_file: prepare("DELETE FROM files WHERE id = ?")?,
            insert_file: prepare(
                "INSERT INTO files (path, size, modified, hash, language, skipped, space) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?,
            find_text: prepare("SELECT id FROM texts WHERE hash = ?")?,
            insert_text: prepare("INSERT INTO texts (hash) VALUES (?)")?,
            insert_chunk: prepare(
                "INSERT INTO chunks (file, text, start_line, end_line, start, end, words, kind, name)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            insert_body: prepare("INSERT INTO bodies (id, source) VALUES (?, ?)")?,
            insert_words: prepare("INSERT INTO fulltext (rowid, words) VALUES (?, ?)")?,
            insert_code: prepare(
                "INSERT OR IGNORE INTO codes (space, text, scale, error, norm, code) VALUES (?, ?, ?, ?, ?, ?)",
            )?,
            insert_vector: prepare("INSERT INTO vectors (id, vector) VALUES (?, ?)")?,
        })
    }

    /// Takes a file with its chunks out; whether it was there.
    pub fn remove(&mut self, path: &str) -> rusqlite::Result<bool> {
        let Some(file) = self.find_file.query_row([path], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(false);
        };
        let chunks: Vec<i64> = self.chunks_of.query_map([file], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for chunk in chunks {
            self.delete_words.execute([chunk])?;
            self.delete_body.execute([chunk])?;
        }
        self.mark_gone.execute([file])?;
        self.delete_chunks.execute([file])?;
        self.delete_file.execute([file])?;
        Ok(true)
    }

    /// Puts a file in, in place of what there was under its path. The vectors of its chunks must be there by
    /// [`Writer::vector`] in the same transaction, or before.
    pub fn replace(&mut self, file: &NewFile, chunks: &[NewChunk]) -> rusqlite::Result<()> {
        self.remove(&file.path)?;
        let NewFile { path, size, modified, hash, language, skipped, .. } = file;
        self.insert_file.execute(params![path, size, modified, hash, language, skipped, self.space])?;
        let id = self.transaction.last_insert_rowid();
        for chunk in chunks {
            let text = self.text(&chunk.hash)?;
            let NewChunk { start_line, end_line, start, end, kind, name, words, .. } = chunk;
            let count = words.split(' ').count() as i64;
            let lines = (*start_line as i64, *end_line as i64, *start as i64, *end as i64);
            self.insert_chunk.execute(params![id, text, lines.0, lines.1, lines.2, lines.3, count, kind, name])?;
            let chunk_id = self.transaction.last_insert_rowid();
            self.insert_body.execute(params![chunk_id, chunk.source])?;
            self.insert_words.execute(params![chunk_id, chunk.words])?;
        }
        Ok(())
    }

    /// Stores the vector of a text in this space.
    pub fn vector(&mut self, hash: &[u8; 16], vector: &[f32]) -> rusqlite::Result<()> {
        let text = self.text(hash)?;
        let Codes { codes, scale, error, norm } = Codes::of(vector);
        let bytes: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
        let floats: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bounds = (f64::from(scale), f64::from(error), f64::from(norm));
        let inserted = self.insert_code.execute(params![self.space, text, bounds.0, bounds.1, bounds.2, bytes])?;
        if inserted == 0 {
            // Another update that runs without a lock was faster.
            return Ok(());
        }
        self.insert_vector.execute(params![self.transaction.last_insert_rowid(), floats])?;
        Ok(())
    }

    /// Notes a file's time and size, where its content turned out to be the same.
    pub fn touch(&mut self, path: &str, size: i64, modified: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE files SET size = ?, modified = ? WHERE path = ?";
        self.transaction.execute(sql, params![size, modified, path])?;
        Ok(())
    }

    /// Tells readers that something changed.
    pub fn finish(self) -> rusqlite::Result<()> {
        bump(self.transaction)
    }

    fn text(&mut self, hash: &[u8; 16]) -> rusqlite::Result<i64> {
        if let Some(text) = self.find_text.query_row([hash], |row| row.get(0)).optional()? {
            return Ok(text);
        }
        self.insert_text.execute([hash])?;
        Ok(self.transaction.last_insert_rowid())
    }
}

/// See [`super::generation`].
pub(super) fn bump(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES ('generation', 1) ON CONFLICT DO UPDATE SET value = value + 1";
    connection.execute(sql, []).map(drop)
}

/// The number of a space, which becomes the one that was used last.
pub(crate) fn use_space(connection: &Connection, name: &str, dimensions: usize) -> rusqlite::Result<i64> {
    connection.query_row(
        "INSERT INTO spaces (name, dimensions, used) VALUES (?, ?, (SELECT ifnull(max(used), 0) + 1 FROM spaces))
         ON CONFLICT DO UPDATE SET used = excluded.used RETURNING id",
        params![name, dimensions as i64],
        |row| row.get(0),
    )
}

/// Forgets what is known of every file, unless they were cut by this `recipe`: what is embedded of a chunk has changed.
/// Vectors of texts that stay the same are kept.
pub(crate) fn use_recipe(connection: &Connection, recipe: i64) -> rusqlite::Result<()> {
    if super::meta(connection, "recipe")? != recipe {
        connection.execute("UPDATE files SET modified = 0, hash = NULL", [])?;
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('recipe', ?)", [recipe])?;
    }
    Ok(())
}
