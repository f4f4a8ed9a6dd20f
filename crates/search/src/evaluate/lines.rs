//! JSON lines, one at a time, with the number of the line in every error.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use embedding_engine::{Code, Error, Result};
use serde::de::DeserializeOwned;

/// Calls `each` with the bytes of every line and its number, from 1; empty lines are passed over.
pub(super) fn for_each_line(path: &Path, mut each: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| unreadable(path, &error))? == 0 {
            return Ok(());
        }
        number += 1;
        let bytes = if number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) } else { &line };
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if !bytes.trim_ascii().is_empty() {
            each(number, bytes.strip_suffix(b"\r").unwrap_or(bytes))?;
        }
    }
}

/// As [`for_each_line`], with the lines read as JSON.
pub(super) fn for_each_json<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    for_each_line(path, |number, line| {
        let value = serde_json::from_slice(line).map_err(|error| bad_line(path, number, cause(&error)))?;
        each(number, value)
    })
}

/// Without serde's own place, which counts from the beginning of the line.
fn cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(cause, _)| cause.to_owned())
}

/// `INVALID_INPUT` for a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let file = path.display().to_string();
    Error::new(Code::InvalidInput, format!("{file} cannot be read: {error}. Check the path.")).with("file", file)
}

/// `INVALID_INPUT` for a line that is not what it should be.
pub(super) fn bad_line(path: &Path, line: usize, why: impl std::fmt::Display) -> Error {
    let file = path.display().to_string();
    Error::new(Code::InvalidInput, format!("{file}, line {line}: {why}. Correct the line, or take it out."))
        .with("file", file)
        .with("line", line)
}
