//! What SQLite fails with, in the words and codes of this package.

use std::path::{Path, PathBuf};

use embedding_engine::{Code, Error};
use rusqlite::ErrorCode;

/// Makes errors about one file.
#[derive(Debug, Clone)]
pub struct Failure {
    path: PathBuf,
}

impl Failure {
    /// About the index at `path`.
    pub fn new(path: &Path) -> Self {
        Failure { path: path.to_owned() }
    }

    /// The error for what SQLite said: `INVALID_INPUT` for what is no index or cannot be opened, `INTEGRITY_FAILED` for
    /// one that is damaged, `DISK_FULL`, `OUT_OF_MEMORY`; else `INTERNAL`.
    pub fn of(&self, error: rusqlite::Error) -> Error {
        let path = self.path.display().to_string();
        let (code, message) = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => (
                Code::InvalidInput,
                format!(
                    "{path} is no index, and no SQLite database at all. Name another file with the option store, or remove this one."
                ),
            ),
            Some(ErrorCode::DatabaseCorrupt) => (
                Code::IntegrityFailed,
                format!(
                    "The index {path} is damaged ({error}). Remove it, with its neighbours -wal and -shm: the next update makes it anew."
                ),
            ),
            Some(ErrorCode::DiskFull) => (
                Code::DiskFull,
                format!(
                    "There is no space left for the index {path}. Make room, or name a file on another disk with the option store; what was stored so far stays."
                ),
            ),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => (
                Code::InvalidInput,
                format!(
                    "The index {path} cannot be opened for writing ({error}). Check the folder and its permissions, or name another file with the option store."
                ),
            ),
            Some(ErrorCode::OutOfMemory) => {
                (Code::OutOfMemory, format!("There was not enough memory to work with the index {path}."))
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
                Code::Internal,
                format!(
                    "Another process kept the index {path} locked for too long ({error}). Try again when it has ended."
                ),
            ),
            Some(ErrorCode::SystemIoFailure) => {
                (Code::Internal, format!("The disk failed while the index {path} was used ({error})."))
            }
            _ => {
                (Code::Internal, format!("The index {path} failed in an unexpected way ({error}). Please report this."))
            }
        };
        Error::new(code, message).with("file", path)
    }

    /// `INVALID_INPUT` for a database that is not ours.
    pub fn foreign(&self) -> Error {
        let path = self.path.display().to_string();
        let message = format!(
            "{path} is a SQLite database, but no index of embedding-engine. Name another file with the option store."
        );
        Error::new(Code::InvalidInput, message).with("file", path)
    }

    /// `INVALID_INPUT` for an index of a later version.
    pub fn newer(&self, found: i64, known: i64) -> Error {
        let path = self.path.display().to_string();
        let message = format!(
            "The index {path} was made by a newer embedding-engine (schema {found}; this one knows {known}). Update the package, or name another file with the option store."
        );
        Error::new(Code::InvalidInput, message).with("file", path).with("schema", found)
    }

    /// `INVALID_INPUT` for a file that cannot be made.
    pub fn unmakeable(&self, error: &std::io::Error) -> Error {
        let path = self.path.display().to_string();
        let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::InvalidInput };
        let message = format!("{path} cannot be made: {error}. Name another file with the option store.");
        Error::new(code, message).with("file", path)
    }
}
