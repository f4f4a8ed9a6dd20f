//! The hashes that the hub names contents by: sha256 for files in LFS, git's for small ones.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// As much of a file as is read at once.
pub(super) const BUFFER: usize = 1 << 20;

/// Whether the hash is the sha256 of a file in LFS; otherwise it is git's of a small file.
pub(super) fn is_lfs(hash: &str) -> bool {
    hash.len() == 64
}

/// sha256 of a file; `on_read` is told the bytes so far and those just read.
pub(super) fn sha256(path: &Path, cancel: &Cancel, on_read: impl Fn(u64, u64)) -> io::Result<Result<String>> {
    let mut hash = Sha256::new();
    Ok(read_all(path, cancel, |bytes, done| {
        hash.update(bytes);
        on_read(done, bytes.len() as u64);
    })?
    .map(|()| hex(&hash.finalize())))
}

/// git's hash of a blob: sha1 over `blob <length>\0` and the content.
pub(super) fn git_hash(path: &Path, cancel: &Cancel) -> io::Result<Result<String>> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", fs::metadata(path)?.len()));
    Ok(read_all(path, cancel, |bytes, _| hash.update(bytes))?.map(|()| hex(&hash.finalize())))
}

/// The outer error is the disk's, the inner one the caller's cancelling.
fn read_all(path: &Path, cancel: &Cancel, mut each: impl FnMut(&[u8], u64)) -> io::Result<Result<(), Error>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    loop {
        if let Err(error) = cancel.check() {
            return Ok(Err(error));
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Ok(())),
            read => {
                done += read as u64;
                each(&buffer[..read], done);
            }
        }
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "hello\n").unwrap();
        // `printf 'hello\n' | git hash-object --stdin`, and sha256sum of the same.
        let git = git_hash(&path, &Cancel::never()).unwrap().unwrap();
        assert_eq!(git, "ce013625030ba8dba906f756967f9e9ca394464a");
        let sha = sha256(&path, &Cancel::never(), |_, _| {}).unwrap().unwrap();
        assert_eq!(sha, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(git_hash(&path, &cancel).unwrap().is_err());
    }
}
