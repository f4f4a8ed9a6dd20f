//! Free space of a disk.

use std::path::Path;

/// Bytes that this user may still write on the disk of `path`; where `path` does not exist yet, of the
/// nearest folder above it. `None` where the platform does not tell.
pub fn free_space(path: &Path) -> Option<u64> {
    path.ancestors().find(|folder| folder.exists()).and_then(available)
}

#[cfg(unix)]
fn available(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
fn available(_path: &Path) -> Option<u64> {
    None
}
