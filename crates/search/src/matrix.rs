//! What a query looks through, in memory: the codes of one space, and for each chunk where it is.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Statement, params};

use crate::scan::{ALIGN, Kernel, QueryCode};

/// Rows of a segment: 6 MB of codes at 384 components. Segments that are full are shared by all later states.
const SEGMENT: usize = 1 << 14;

/// Rows without a chunk that are carried along before everything is read anew.
const MOST_DEAD: f64 = 0.3;

/// One state of one space of an index. Never changed: a refresh makes a new one that shares most of it.
pub struct Matrix {
    /// See `store::generation`.
    pub generation: i64,
    /// The number of the space.
    pub space: i64,
    width: usize,
    segments: Vec<Arc<Segment>>,
    rows: usize,
    last_row: i64,
    /// Texts to rows.
    texts: Arc<HashMap<i64, u32>>,
    /// In ascending order of their ids.
    pub chunks: Vec<ChunkRow>,
    last_chunk: i64,
    /// What chunks refer to.
    pub files: Vec<FileRow>,
}

/// A chunk, as the scan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRow {
    /// Its id in the store.
    pub id: i64,
    /// The row of its text.
    pub row: u32,
    /// Its place in [`Matrix::files`].
    pub file: u32,
    /// The first line, from 1.
    pub line: u32,
    /// Words of full text.
    pub words: u32,
}

/// A file that has chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    id: i64,
    /// Relative to the folder, with `/`.
    pub path: String,
    /// What it is called in results.
    pub language: Option<String>,
}

#[derive(Clone, Default)]
struct Segment {
    codes: Vec<i8>,
    rows: Vec<RowInfo>,
}

/// What belongs to the codes of a vector: see [`crate::scan::Codes`].
#[derive(Debug, Clone, Copy)]
pub struct RowInfo {
    /// The id of the vector in full.
    pub id: i64,
    /// See [`crate::scan::Codes::scale`].
    pub scale: f32,
    /// See [`crate::scan::Codes::error`].
    pub error: f32,
    /// See [`crate::scan::Codes::norm`].
    pub norm: f32,
}

impl Matrix {
    /// Reads the state that `connection`, which is inside of a transaction, sees; what `old` has of it is taken from
    /// there.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn read(connection: &Connection, generation: i64, space: i64, old: Option<&Matrix>) -> rusqlite::Result<Self> {
        let old = old.filter(|old| old.space == space);
        let matrix = Self::follow(connection, generation, space, old)?;
        let used = matrix.chunks.len().min(matrix.rows) as f64;
        // More chunks than rows may refer to few of them; that costs memory, not time to find out.
        if old.is_some() && used < (1.0 - MOST_DEAD) * matrix.rows as f64 {
            return Self::follow(connection, generation, space, None);
        }
        Ok(matrix)
    }

    fn follow(connection: &Connection, generation: i64, space: i64, old: Option<&Matrix>) -> rusqlite::Result<Self> {
        let mut matrix = match old {
            None => Matrix {
                generation,
                space,
                width: 0,
                segments: Vec::new(),
                rows: 0,
                last_row: 0,
                texts: Arc::default(),
                chunks: Vec::new(),
                last_chunk: 0,
                files: Vec::new(),
            },
            Some(old) => Matrix {
                generation,
                space,
                width: old.width,
                segments: old.segments.clone(),
                rows: old.rows,
                last_row: old.last_row,
                texts: Arc::clone(&old.texts),
                chunks: Vec::new(),
                last_chunk: old.last_chunk,
                files: Vec::new(),
            },
        };
        matrix.read_rows(connection)?;
        matrix.read_files(connection)?;
        let places: HashMap<i64, u32> =
            matrix.files.iter().enumerate().map(|(at, file)| (file.id, at as u32)).collect();
        if let Some(old) = old {
            // A file that was read again has a new id.
            let moved: Vec<Option<u32>> = old.files.iter().map(|file| places.get(&file.id).copied()).collect();
            let kept =
                old.chunks.iter().filter_map(|chunk| Some(ChunkRow { file: moved[chunk.file as usize]?, ..*chunk }));
            matrix.chunks = kept.collect();
        }
        matrix.read_chunks(connection, &places)?;
        Ok(matrix)
    }

    fn read_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT id, text, scale, error, norm, code FROM codes WHERE id > ? AND space = ? ORDER BY id";
        let mut statement: Statement<'_> = connection.prepare(sql)?;
        let mut rows = statement.query(params![self.last_row, self.space])?;
        while let Some(row) = rows.next()? {
            let real = |column| row.get::<_, f64>(column).map(|value| value as f32);
            let info = RowInfo { id: row.get(0)?, scale: real(2)?, error: real(3)?, norm: real(4)? };
            let code = row.get_ref(5)?.as_blob()?;
            if self.width == 0 {
                self.width = code.len().next_multiple_of(ALIGN);
            }
            self.push(info, row.get(1)?, code);
        }
        Ok(())
    }

    fn push(&mut self, info: RowInfo, text: i64, code: &[u8]) {
        if self.rows.is_multiple_of(SEGMENT) {
            self.segments.push(Arc::default());
        }
        let width = self.width;
        if let Some(segment) = self.segments.last_mut() {
            let segment = Arc::make_mut(segment);
            let end = segment.codes.len() + width;
            segment.codes.extend(code.iter().map(|code| *code as i8));
            segment.codes.resize(end, 0);
            segment.rows.push(info);
        }
        Arc::make_mut(&mut self.texts).insert(text, self.rows as u32);
        self.rows += 1;
        self.last_row = info.id;
    }

    fn read_files(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT id, path, language FROM files WHERE skipped IS NULL")?;
        let files =
            statement.query_map([], |row| Ok(FileRow { id: row.get(0)?, path: row.get(1)?, language: row.get(2)? }))?;
        self.files = files.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn read_chunks(&mut self, connection: &Connection, places: &HashMap<i64, u32>) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("SELECT id, text, file, start_line, words FROM chunks WHERE id > ? ORDER BY id")?;
        let mut rows = statement.query([self.last_chunk])?;
        while let Some(row) = rows.next()? {
            let (id, text, file): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.last_chunk = id;
            // A chunk that has no vector in this space yet cannot be found in it.
            if let (Some(row_of_text), Some(file)) = (self.texts.get(&text), places.get(&file)) {
                let number = |column| row.get::<_, i64>(column).map(|value| value as u32);
                let (line, words) = (number(3)?, number(4)?);
                self.chunks.push(ChunkRow { id, row: *row_of_text, file: *file, line, words });
            }
        }
        Ok(())
    }

    /// Codes of a row, with what they are filled up to.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The approximate product of the query and each row, in order.
    pub fn scan(&self, query: &QueryCode) -> Vec<f32> {
        use rayon::prelude::*;
        let kernel = Kernel::best();
        let mut out = vec![0f32; self.rows];
        out.par_chunks_mut(SEGMENT).zip(&self.segments).for_each(|(out, segment)| {
            // A block of codes stays in the nearest cache, and so do its products.
            const BLOCK: usize = 128;
            let mut whole = [0i32; BLOCK];
            let blocks = segment.codes.chunks(BLOCK * self.width).zip(segment.rows.chunks(BLOCK));
            for ((codes, infos), out) in blocks.zip(out.chunks_mut(BLOCK)) {
                kernel.dots(&query.padded, codes, &mut whole);
                for ((out, whole), info) in out.iter_mut().zip(whole).zip(infos) {
                    *out = query.scale * info.scale * whole as f32;
                }
            }
        });
        out
    }

    /// What belongs to a row.
    pub fn info(&self, row: u32) -> RowInfo {
        self.segments[row as usize / SEGMENT].rows[row as usize % SEGMENT]
    }

    /// The codes of a row.
    pub fn codes(&self, row: u32) -> &[i8] {
        let at = row as usize % SEGMENT * self.width;
        &self.segments[row as usize / SEGMENT].codes[at..at + self.width]
    }
}
