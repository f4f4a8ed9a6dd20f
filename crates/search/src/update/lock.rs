//! One update of an index at a time, on the whole machine.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use embedding_engine::{Cancel, Result};

use crate::event::{IndexEvent, Reporter};

/// Held while an update runs. The system takes it back from a process that dies.
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] Option<File>);

impl Lock {
    /// Waits for the update that runs now, if any, until `cancel`.
    pub(super) fn wait(store: &Path, cancel: &Cancel, reporter: &Reporter) -> Result<Self> {
        let mut path = store.as_os_str().to_owned();
        path.push(".lock");
        // Without a lock (a file system that has none) two updates do the same work twice, and do no harm: all they
        // write are whole transactions.
        let Ok(file) = OpenOptions::new().create(true).truncate(false).write(true).open(&path) else {
            return Ok(Lock(None));
        };
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(Some(file))),
                Err(TryLockError::Error(_)) => return Ok(Lock(None)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                reporter.send(IndexEvent::Waiting);
                told = true;
            }
            cancel.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
