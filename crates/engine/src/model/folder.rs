//! The folder of a model and the small JSON files in it, read tolerantly where published models
//! differ and strictly where a wrong value would give wrong vectors.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};
use crate::hub::Located;

/// No configuration file is longer than this; the largest published ones have some hundred kB.
const MAX_BYTES: u64 = 64 << 20;

/// Where a model's files lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folder<'a> {
    located: &'a Located,
    /// The files of the repository, while some of them are still to be fetched.
    listing: Option<&'a BTreeSet<String>>,
}

impl<'a> Folder<'a> {
    pub(super) fn new(located: &'a Located) -> Self {
        Folder { located, listing: None }
    }

    /// A folder whose files are those of `listing`, on disk or not yet.
    pub(super) fn planned(located: &'a Located, listing: &'a BTreeSet<String>) -> Self {
        Folder { located, listing: Some(listing) }
    }

    /// Whether the file is there, or can be fetched.
    pub(super) fn has(self, file: &Path) -> bool {
        match self.listing {
            Some(listing) => self.name(file).is_some_and(|name| listing.contains(&name)),
            None => file.exists(),
        }
    }

    /// Whether the file belongs to the folder, and is still to be fetched.
    pub(super) fn is_to_come(self, file: &Path) -> bool {
        self.listing.is_some() && self.has(file) && !file.exists()
    }

    /// The path of a file as the hub writes it.
    pub(super) fn name(self, file: &Path) -> Option<String> {
        let relative = file.strip_prefix(self.root()).ok()?;
        let parts: Vec<_> = relative
            .components()
            .filter(|part| !matches!(part, Component::CurDir))
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        Some(parts.join("/"))
    }

    /// The files that lie directly in a folder of this one, sorted.
    pub(super) fn files_in(self, place: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = match self.listing {
            Some(listing) => listing.iter().map(|name| self.root().join(name)).collect(),
            None => {
                fs::read_dir(place).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
            }
        };
        files.retain(|file| file.parent() == Some(place));
        files.sort();
        files
    }

    pub(super) fn root(self) -> &'a Path {
        &self.located.root
    }

    /// A path that a file of the model names, which must stay inside the folder.
    pub(super) fn inside(self, base: &Path, relative: &str) -> Option<PathBuf> {
        let plain = !relative.contains(['\\', '\0', ':'])
            && Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        plain.then(|| base.join(relative))
    }

    /// A file that the model cannot do without is not there: the download of a snapshot is not
    /// complete, or the folder is not that of a model.
    pub(super) fn missing(self, file: &Path, why: &str) -> Error {
        let id = &self.located.id;
        let name = file.strip_prefix(self.root()).unwrap_or(file).display().to_string();
        let todo = match &self.located.revision {
            Some(_) if self.listing.is_some() => format!("The repository {id} on the hub does not have it."),
            Some(revision) => format!(
                "The snapshot in the hub cache is not complete: run `npx embedding-engine models download \
                 {id}@{revision}` (or `hf download {id} --revision {revision}`) where the network may be used."
            ),
            None => "Give the folder of a model as sentence-transformers or transformers writes it.".to_owned(),
        };
        Error::new(Code::ModelNotFound, format!("{}: there is no {name}{why}. {todo}", self.root().display()))
            .with("model", id.as_str())
            .with("file", file.display().to_string())
    }

    /// A file that another one names is not there.
    pub(super) fn dangling(self, file: &Path, named_by: &Path) -> Error {
        if self.located.revision.is_some() {
            return self.missing(file, "");
        }
        let by = named_by.file_name().unwrap_or_default().to_string_lossy();
        Error::bad_checkpoint(file, format!("{by} names this file, and it is missing. Copy the complete model."))
    }
}

/// Refuses what `git clone` leaves in place of a large file where Git LFS is not installed.
pub(super) fn refuse_pointer(file: &Path) -> Result<()> {
    const START: &[u8] = b"version https://git-lfs.github.com/spec/";
    let mut start = Vec::new();
    let read = fs::File::open(file).and_then(|opened| opened.take(START.len() as u64).read_to_end(&mut start));
    read.map_err(|error| Error::bad_checkpoint(file, format!("cannot be read: {error}.")))?;
    match start == START {
        true => Err(Error::bad_checkpoint(file, "a Git LFS pointer, not the file itself. Run `git lfs pull` there.")),
        false => Ok(()),
    }
}

/// A JSON object read from a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Json {
    file: PathBuf,
    map: Map<String, Value>,
}

/// Reads any JSON value; `None` if there is no such file.
pub(super) fn read_value(file: &Path) -> Result<Option<Value>> {
    let text = match read_text(file)? {
        Some(text) => text,
        None => return Ok(None),
    };
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map(Some)
        .map_err(|error| Error::bad_checkpoint(file, format!("not valid JSON: {error}.")))
}

fn read_text(file: &Path) -> Result<Option<String>> {
    let unreadable = |error: std::io::Error| Error::bad_checkpoint(file, format!("cannot be read: {error}."));
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    let read = opened.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > MAX_BYTES {
        return Err(Error::bad_checkpoint(file, "longer than 64 MiB, which no configuration is."));
    }
    Ok(Some(text))
}

impl Json {
    /// Reads an object; `None` if there is no such file.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>> {
        match read_value(file)? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Json { file: file.to_owned(), map })),
            Some(other) => Err(Error::bad_checkpoint(file, format!("holds {}, not an object.", kind(&other)))),
        }
    }

    /// Reads an object; an empty one if there is no such file.
    pub(crate) fn read_or_empty(file: &Path) -> Result<Self> {
        Ok(Self::read(file)?.unwrap_or_else(|| Json { file: file.to_owned(), map: Map::new() }))
    }

    pub(super) fn of(file: &Path, map: Map<String, Value>) -> Self {
        Json { file: file.to_owned(), map }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Puts the entries of `other` over this one's.
    pub(super) fn overlay(&mut self, other: &Map<String, Value>) {
        self.map.extend(other.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// A value that is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// `BAD_CHECKPOINT` that names file, key and value.
    pub(crate) fn wrong(&self, key: &str, expected: impl std::fmt::Display) -> Error {
        let found = self.map.get(key).map_or_else(|| "missing".to_owned(), shorten);
        Error::bad_checkpoint(&self.file, format!("`{key}` is {found}, but must be {expected}.")).with("key", key)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A whole number within `range`; `256.0` counts as one.
    pub(super) fn size(&self, key: &str, range: std::ops::RangeInclusive<usize>) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        whole(value)
            .filter(|value| range.contains(value))
            .map(Some)
            .ok_or_else(|| self.wrong(key, format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// A whole number that must be there.
    pub(super) fn required_size(&self, key: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.size(key, range)?.ok_or_else(|| self.wrong(key, expected))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.wrong(key, "a number")),
            },
        }
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Json>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Json::of(&self.file, map.clone()))),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<&[Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.list(key)?
            .map(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
            .map_or(Ok(None), |list| list.map(Some).ok_or_else(|| self.wrong(key, "a list of strings")))
    }

    pub(super) fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        self.list(key)?
            .map(|list| list.iter().map(whole).collect::<Option<Vec<_>>>())
            .map_or(Ok(None), |list| list.map(Some).ok_or_else(|| self.wrong(key, "a list of whole numbers")))
    }

    pub(super) fn entries(&self) -> &Map<String, Value> {
        &self.map
    }
}

fn whole(value: &Value) -> Option<usize> {
    match value.as_u64() {
        Some(value) => usize::try_from(value).ok(),
        None => {
            let value = value.as_f64()?;
            // Exact in f64 up to 2^53.
            (value >= 0.0 && value.fract() == 0.0 && value < 9e15).then_some(value as usize)
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as it stands in a message.
pub(super) fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).collect::<String>() + "..." }
}
