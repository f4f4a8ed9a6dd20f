//! Where cargo keeps the sources of our dependencies.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::Result;

/// The folder of each package that this build may use. A build script is told of no other package's folder but its own,
/// so cargo is asked; it has them all by now, or fetches what only tests need.
pub fn folders() -> Result<HashMap<String, PathBuf>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &env::var("TARGET")?])
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str()?);
            Some((package["name"].as_str()?.to_owned(), manifest.parent()?.to_owned()))
        })
        .collect())
}
