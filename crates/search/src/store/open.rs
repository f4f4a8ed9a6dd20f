//! Opening an index: making it, or recognising it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use embedding_engine::{Cancel, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::failure::Failure;

/// "emix": tells an index from other databases.
const APPLICATION: i64 = 0x656d_6978;

/// Of the tables below. An index of another one is made anew (older) or refused (newer).
const SCHEMA: i64 = 1;

/// A vector of 384 components takes 1.5 kB: pages of 4 kB would waste a quarter.
const PAGE_BYTES: i64 = 8192;

/// How long SQLite itself waits for another's transaction before [`Busy`] looks at the caller's cancelling.
const BUSY: Duration = Duration::from_millis(100);

/// How long another process may keep a lock in all. Transactions take milliseconds; a prune of a very large index takes
/// seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE spaces (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, dimensions INTEGER NOT NULL, used INTEGER NOT NULL
);
CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified INTEGER NOT NULL,
  hash BLOB, language TEXT, skipped TEXT, space INTEGER NOT NULL
);
CREATE TABLE texts (id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE);
CREATE TABLE chunks (
  id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, text INTEGER NOT NULL, start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, words INTEGER NOT NULL,
  kind TEXT NOT NULL, name TEXT
);
CREATE INDEX chunks_file ON chunks (file);
CREATE INDEX chunks_text ON chunks (text);
CREATE TABLE bodies (id INTEGER PRIMARY KEY, source TEXT NOT NULL);
CREATE TABLE codes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL, text INTEGER NOT NULL, scale REAL NOT NULL,
  error REAL NOT NULL, norm REAL NOT NULL, code BLOB NOT NULL
);
CREATE UNIQUE INDEX codes_text ON codes (text, space);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE gone (text INTEGER PRIMARY KEY);
CREATE VIRTUAL TABLE fulltext USING fts5 (words, content='', contentless_delete=1, tokenize='ascii');
";

/// The file of an index, with the connections to it that nobody uses at the moment.
pub struct Store {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the index at `path`, or makes it, with the folders above it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn open(path: &Path, cancel: &Cancel) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Failure::new(path).unmakeable(&error))?;
        }
        let store = Store { path: path.to_owned(), idle: Mutex::default() };
        let mut connection = store.raw()?;
        Busy::new(cancel).run(&store.failure(), || prepare(&mut connection, &store.failure()))?;
        store.put_back(connection);
        Ok(store)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes errors about it.
    pub fn failure(&self) -> Failure {
        Failure::new(&self.path)
    }

    /// A connection; hand it back with [`Store::put_back`].
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn connection(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.raw(), Ok)
    }

    /// For the next who needs one. One that failed is better dropped.
    pub fn put_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Closes what is idle; the last connection that closes folds the log into the file.
    pub fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }

    fn raw(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "foreign_keys", false)?;
            // With a log, this is safe against a process that dies; a power cut may cost the last batches, which the
            // next update makes again.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // 16 MB; the default of 2 MB makes inserts into the full text index read again and again.
            connection.pragma_update(None, "cache_size", -16_384)?;
            connection.execute_batch(
                "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab (main, fulltext, row);
                 CREATE VIRTUAL TABLE IF NOT EXISTS temp.instances USING fts5vocab (main, fulltext, instance);",
            )?;
            Ok(connection)
        };
        open().map_err(|error| self.failure().of(error))
    }
}

fn prepare(connection: &mut Connection, failure: &Failure) -> rusqlite::Result<Result<()>> {
    let pragma =
        |connection: &Connection, name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    // Read as of one moment: between two, another process may have made the index.
    let (application, schema, tables) = {
        let moment = connection.transaction()?;
        let tables: i64 = moment.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        (pragma(&moment, "application_id")?, pragma(&moment, "user_version")?, tables)
    };
    if application != APPLICATION && (tables > 0 || application != 0) {
        return Ok(Err(failure.foreign()));
    }
    if schema > SCHEMA {
        return Ok(Err(failure.newer(schema, SCHEMA)));
    }
    if tables == 0 {
        // Both take effect only before there is anything.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let _: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if tables == 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        if pragma(&transaction, "user_version")? == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
    }
    Ok(Ok(()))
}

/// Tries again while another process keeps a lock, until the caller cancels.
pub struct Busy<'c> {
    cancel: &'c Cancel,
    since: Instant,
}

impl<'c> Busy<'c> {
    /// Begins to wait now.
    pub fn new(cancel: &'c Cancel) -> Self {
        Busy { cancel, since: Instant::now() }
    }

    /// # Errors
    /// `ABORTED`; what `work` fails with.
    pub fn run<T>(&self, failure: &Failure, mut work: impl FnMut() -> rusqlite::Result<Result<T>>) -> Result<T> {
        loop {
            match work() {
                Ok(result) => return result,
                Err(error) if is_busy(&error) && self.since.elapsed() < PATIENCE => {
                    self.cancel.check()?;
                    // SQLite does not wait by itself where waiting could be for ever.
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(failure.of(error)),
            }
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Does `work` in one transaction that may write from its beginning, so that it never has to give way half done.
///
/// # Errors
/// `ABORTED`; what `work` fails with; see [`Failure`].
pub fn immediate<T>(
    connection: &Connection,
    failure: &Failure,
    cancel: &Cancel,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T> {
    let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map(Ok);
    let transaction = Busy::new(cancel).run(failure, begin)?;
    let done = work(&transaction).map_err(|error| failure.of(error))?;
    transaction.commit().map_err(|error| failure.of(error))?;
    Ok(done)
}
