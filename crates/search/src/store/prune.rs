//! Taking away vectors that nothing refers to any more.

use embedding_engine::{Cancel, Result};
use rusqlite::Connection;

use super::failure::Failure;
use super::open::immediate;

/// As many texts go in one transaction, so that nobody waits for long.
const BATCH: usize = 5000;

/// Spaces whose vectors are kept: that of the last update, and the one before, so that going back and forth between two
/// models embeds nothing twice.
const SPACES: usize = 2;

/// Takes away the texts that lost their last chunk, with their vectors, and the vectors of spaces that were not used
/// lately.
pub(crate) fn prune(connection: &Connection, failure: &Failure, cancel: &Cancel) -> Result<()> {
    let read = |sql: &str, limit: usize| -> rusqlite::Result<Vec<i64>> {
        connection.prepare(sql)?.query_map([limit as i64], |row| row.get(0))?.collect()
    };
    let old = read("SELECT id FROM spaces ORDER BY used DESC LIMIT -1 OFFSET ?", SPACES)
        .map_err(|error| failure.of(error))?;
    for space in old {
        immediate(connection, failure, cancel, |transaction| {
            transaction.execute("DELETE FROM vectors WHERE id IN (SELECT id FROM codes WHERE space = ?)", [space])?;
            transaction.execute("DELETE FROM codes WHERE space = ?", [space])?;
            transaction.execute("DELETE FROM spaces WHERE id = ?", [space])
        })?;
    }
    let mut freed = false;
    loop {
        cancel.check()?;
        let texts = read("SELECT text FROM gone LIMIT ?", BATCH).map_err(|error| failure.of(error))?;
        if texts.is_empty() {
            break;
        }
        immediate(connection, failure, cancel, |transaction| {
            let mut used = transaction.prepare("SELECT EXISTS (SELECT 1 FROM chunks WHERE text = ?)")?;
            let mut vectors =
                transaction.prepare("DELETE FROM vectors WHERE id IN (SELECT id FROM codes WHERE text = ?)")?;
            let mut codes = transaction.prepare("DELETE FROM codes WHERE text = ?")?;
            let mut text = transaction.prepare("DELETE FROM texts WHERE id = ?")?;
            let mut gone = transaction.prepare("DELETE FROM gone WHERE text = ?")?;
            for id in texts {
                if !used.query_row([id], |row| row.get::<_, bool>(0))? {
                    vectors.execute([id])?;
                    codes.execute([id])?;
                    text.execute([id])?;
                    freed = true;
                }
                gone.execute([id])?;
            }
            Ok(())
        })?;
    }
    if freed {
        // A step of it frees a page: all rows have to be taken.
        let give_back = || -> rusqlite::Result<()> {
            let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        // Somebody else at work is no reason to fail: the pages are used again, or given back another time.
        let _ = give_back();
    }
    Ok(())
}
