//! The files of a folder that are worth chunks: text that people wrote.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::{Walk, WalkBuilder};
use serde::Serialize;

use crate::language::Language;

/// Bytes of a file, unless [`FileOptions`] say otherwise.
pub const DEFAULT_MAX_FILE_BYTES: u64 = 1 << 20;

/// As much of a file as is looked at to tell what it is.
const SAMPLE: usize = 8192;

/// Which files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Only files whose path matches one of these globs; none: all. `*` stays within a folder, `**` does not.
    pub include: Vec<String>,
    /// No file whose path matches one of these.
    pub exclude: Vec<String>,
    /// Larger files are skipped.
    pub max_file_bytes: u64,
}

impl Default for FileOptions {
    fn default() -> Self {
        FileOptions { include: Vec::new(), exclude: Vec::new(), max_file_bytes: DEFAULT_MAX_FILE_BYTES }
    }
}

/// Why a file has no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// No text.
    Binary,
    /// Written by a program, as its head or its name says; lock files.
    Generated,
    /// Lines that are not made to be read.
    Minified,
    /// Larger than [`FileOptions::max_file_bytes`].
    Large,
    /// A copy of other people's code.
    Vendored,
    /// It cannot be read, or its name is no text.
    Unreadable,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Worth chunks.
    Text {
        /// Relative to the folder, with `/`.
        path: String,
        /// By its name.
        language: Option<Language>,
        /// What is in it.
        text: String,
    },
    /// Not worth any.
    Skipped {
        /// Relative to the folder, with `/`.
        path: String,
        /// Why.
        reason: Skip,
    },
}

/// A file that was not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, with `/`.
    pub path: String,
    /// Where it lies.
    pub file: PathBuf,
}

/// The files of a folder, in the order of their paths, one at a time. What `.gitignore`, `.ignore` and
/// `.embeddingignore` name, and hidden files, are left out.
pub struct Files {
    root: PathBuf,
    walk: Walk,
    include: Option<GlobSet>,
    exclude: GlobSet,
    max_file_bytes: u64,
}

impl Files {
    /// # Errors
    /// What is wrong with a glob, in words.
    pub fn new(root: &Path, options: &FileOptions) -> Result<Self, String> {
        let mut walk = WalkBuilder::new(root);
        walk.add_custom_ignore_filename(".embeddingignore").require_git(false);
        // Read where nothing is chosen yet, so that whole folders are passed by.
        walk.filter_entry(|entry| {
            let folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            !(folder && entry.depth() > 0 && entry.file_name().to_str().is_some_and(is_dependencies))
        });
        walk.sort_by_file_name(std::cmp::Ord::cmp);
        Ok(Files {
            root: root.to_owned(),
            walk: walk.build(),
            include: if options.include.is_empty() { None } else { Some(globs(&options.include)?) },
            exclude: globs(&options.exclude)?,
            max_file_bytes: options.max_file_bytes,
        })
    }

    /// The next file by name alone; [`Entry::read`] tells what is in it. For who knows most files already.
    pub fn next_entry(&mut self) -> Option<Entry> {
        loop {
            // A folder that cannot be read has no files for us.
            let Ok(entry) = self.walk.next()? else { continue };
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let file = entry.into_path();
            let path = file.strip_prefix(&self.root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            if self.include.as_ref().is_none_or(|include| include.is_match(&path)) && !self.exclude.is_match(&path) {
                return Some(Entry { path, file });
            }
        }
    }
}

impl Entry {
    /// Reads the file; one that is larger than `max_file_bytes` is skipped.
    pub fn read(self, max_file_bytes: u64) -> Found {
        let Entry { path, file } = self;
        match text_of(&file, &path, max_file_bytes) {
            Ok(text) => Found::Text { language: Language::by_path(&path), text, path },
            Err(reason) => Found::Skipped { path, reason },
        }
    }
}

impl Iterator for Files {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        self.next_entry().map(|entry| entry.read(self.max_file_bytes))
    }
}

fn text_of(path: &Path, name: &str, max_file_bytes: u64) -> Result<String, Skip> {
    // A name that is no text could not be told from another such, nor be opened by it again.
    if path.to_str().is_none() {
        return Err(Skip::Unreadable);
    }
    if is_vendored(name) {
        return Err(Skip::Vendored);
    }
    if is_lock_file(name) {
        return Err(Skip::Generated);
    }
    let unreadable = |_| Skip::Unreadable;
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > max_file_bytes {
        return Err(Skip::Large);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // It may grow meanwhile.
    file.by_ref().take(max_file_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max_file_bytes {
        return Err(Skip::Large);
    }
    if bytes[..bytes.len().min(SAMPLE)].contains(&0) {
        return Err(Skip::Binary);
    }
    let text = String::from_utf8(bytes).map_err(|_| Skip::Binary)?;
    if is_generated(&text) {
        return Err(Skip::Generated);
    }
    if is_minified(name, &text) {
        return Err(Skip::Minified);
    }
    Ok(text)
}

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        globs.add(glob.map_err(|error| error.to_string())?);
    }
    globs.build().map_err(|error| error.to_string())
}

/// Folders that package managers fill.
fn is_dependencies(name: &str) -> bool {
    matches!(name, "node_modules" | "bower_components" | "__pycache__" | "site-packages" | ".venv" | "venv")
}

fn is_vendored(path: &str) -> bool {
    path.split('/').rev().skip(1).any(|folder| matches!(folder, "vendor" | "vendored" | "third_party" | "third-party"))
}

fn is_lock_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(
        name,
        "package-lock.json"
            | "npm-shrinkwrap.json"
            | "yarn.lock"
            | "pnpm-lock.yaml"
            | "bun.lock"
            | "Cargo.lock"
            | "poetry.lock"
            | "uv.lock"
            | "Pipfile.lock"
            | "composer.lock"
            | "Gemfile.lock"
            | "go.sum"
            | "mix.lock"
    )
}

/// The words by which generators mark what they write, in the first lines
/// (<https://go.dev/s/generatedcode>, `@generated` of several tools).
fn is_generated(text: &str) -> bool {
    text.lines().take(20).any(|line| {
        line.contains("@generated")
            || line.contains("DO NOT EDIT") && line.to_ascii_lowercase().contains("generated")
            || line.to_ascii_lowercase().contains("this file is automatically generated")
            || line.to_ascii_lowercase().contains("this file was automatically generated")
    })
}

/// Few lines for so many bytes; documents may have long lines, code has not.
fn is_minified(name: &str, text: &str) -> bool {
    if name.ends_with(".min.js") || name.ends_with(".min.css") || name.ends_with(".map") {
        return true;
    }
    let code = matches!(Language::by_path(name), Some(language) if language != Language::Markdown);
    code && text.len() > 10_000 && text.len() / text.lines().count().max(1) > 300
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn found(folder: &Path, options: &FileOptions) -> BTreeMap<String, Option<Skip>> {
        let files = Files::new(folder, options).unwrap();
        files
            .map(|found| match found {
                Found::Text { path, .. } => (path, None),
                Found::Skipped { path, reason } => (path, Some(reason)),
            })
            .collect()
    }

    #[test]
    fn what_is_not_worth_chunks_is_skipped_and_counted() {
        let minified = format!("x={};\n", "a+".repeat(6000));
        let folder = folder(&[
            ("src/a.ts", b"export {}"),
            ("docs/b.md", "long words ".repeat(2000).as_bytes()),
            ("image.png", b"\x89PNG\0\0"),
            ("latin1.py", b"x = '\xe9'"),
            ("gen.go", b"// Code generated by x. DO NOT EDIT.\npackage p\n"),
            ("package-lock.json", b"{}"),
            ("bundle.js", minified.as_bytes()),
            ("x.min.js", b"x"),
            ("large.py", "x = 1\n".repeat(1000).as_bytes()),
            ("vendor/v.go", b"package v"),
            ("node_modules/m/i.js", b"x"),
            ("ignored/i.js", b"x"),
            ("sub/secret.js", b"x"),
            (".hidden/h.js", b"x"),
            (".gitignore", b"ignored/\n"),
            ("sub/.embeddingignore", b"secret.js\n"),
        ]);
        let options = FileOptions { max_file_bytes: 30_000, ..FileOptions::default() };
        let mut found = found(folder.path(), &FileOptions { max_file_bytes: 5000, ..options.clone() });
        assert_eq!(found.remove("docs/b.md"), Some(Some(Skip::Large)));
        assert_eq!(found.remove("bundle.js"), Some(Some(Skip::Large)));
        let expected = [
            ("gen.go", Some(Skip::Generated)),
            ("image.png", Some(Skip::Binary)),
            ("large.py", Some(Skip::Large)),
            ("latin1.py", Some(Skip::Binary)),
            ("package-lock.json", Some(Skip::Generated)),
            ("src/a.ts", None),
            ("vendor/v.go", Some(Skip::Vendored)),
            ("x.min.js", Some(Skip::Minified)),
        ];
        assert_eq!(found, expected.map(|(path, skip)| (path.to_owned(), skip)).into());
        let found = self::found(folder.path(), &options);
        assert_eq!((found["docs/b.md"], found["bundle.js"]), (None, Some(Skip::Minified)));
    }

    #[test]
    fn globs_choose() {
        let folder = folder(&[("a.ts", b""), ("src/b.ts", b""), ("src/x/c.ts", b""), ("src/d.py", b"")]);
        let names = |include: &[&str], exclude: &[&str]| -> Vec<String> {
            let list = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
            let options = FileOptions { include: list(include), exclude: list(exclude), ..FileOptions::default() };
            found(folder.path(), &options).into_keys().collect()
        };
        assert_eq!(names(&["src/*.ts"], &[]), ["src/b.ts"]);
        assert_eq!(names(&["src/**"], &["**/*.py"]), ["src/b.ts", "src/x/c.ts"]);
        assert_eq!(names(&[], &[]).len(), 4);
        let bad = FileOptions { include: vec!["[".to_owned()], ..FileOptions::default() };
        assert!(Files::new(folder.path(), &bad).is_err());
    }
}
