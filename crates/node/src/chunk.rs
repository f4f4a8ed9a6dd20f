//! Chunks of source code, as JavaScript sees them.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use embedding_engine::{Code, Error, Result};
use embedding_engine_chunk::{Chunk, FileOptions, Files, Found, Language, Options, Template, chunk};
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::errors::{guarded, guarded_napi};
use crate::promise::{in_background, promise};

/// Files are handed over in parts of about so many bytes, so that memory does not grow with their number.
const PART_BYTES: usize = 1 << 20;
const PART_FILES: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChunkOptions {
    language: Option<String>,
    path: Option<String>,
    max_bytes: Option<usize>,
}

/// JSON of the chunks of a text: `{ start, end, startLine, endLine, kind, name, signature, doc, head, language }[]`,
/// `start` and `end` in UTF-16 units.
///
/// @param optionsJson JSON: `{ language?, path?, maxBytes? }`
#[napi]
pub fn chunk_code(text: String, options_json: String) -> napi::Result<String> {
    guarded(|| {
        let options: ChunkOptions = parse(&options_json)?;
        let language = match &options.language {
            Some(name) => Language::by_name(name),
            None => options.path.as_deref().and_then(Language::by_path),
        };
        Ok(Value::from(chunks_of(&text, language, options.max_bytes)).to_string())
    })
}

fn parse<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| Error::new(Code::InvalidOption, format!("The options of chunking cannot be read: {error}.")))
}

fn chunks_of(text: &str, language: Option<Language>, max_bytes: Option<usize>) -> Vec<Value> {
    let options = max_bytes.map_or_else(Options::default, |max_bytes| Options { max_bytes });
    let mut units = Utf16::new(text);
    chunk(text, language, &options).iter().map(|chunk| to_json(chunk, units.range(&chunk.range), language)).collect()
}

fn to_json(chunk: &Chunk, range: Range<usize>, language: Option<Language>) -> Value {
    let mut json = json!(chunk);
    if let Value::Object(members) = &mut json {
        members.remove("inside");
        members.remove("continued");
        members.insert("start".to_owned(), range.start.into());
        members.insert("end".to_owned(), range.end.into());
        members.insert("head".to_owned(), Template::default().head(&chunk.parts("")).into());
        members.insert("language".to_owned(), language.map(Language::name).into());
    }
    json
}

/// Bytes to UTF-16 units, for places that come in order.
struct Utf16<'t> {
    text: &'t str,
    bytes: usize,
    units: usize,
}

impl<'t> Utf16<'t> {
    fn new(text: &'t str) -> Self {
        Utf16 { text, bytes: 0, units: 0 }
    }

    fn range(&mut self, range: &Range<usize>) -> Range<usize> {
        self.at(range.start)..self.at(range.end)
    }

    fn at(&mut self, bytes: usize) -> usize {
        let passed = self.text.get(self.bytes..bytes).unwrap_or_default();
        self.units += passed.chars().map(char::len_utf16).sum::<usize>();
        self.bytes = bytes;
        self.units
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WalkOptions {
    include: Vec<String>,
    exclude: Vec<String>,
    max_file_bytes: u64,
    max_bytes: Option<usize>,
}

impl Default for WalkOptions {
    fn default() -> Self {
        let FileOptions { include, exclude, max_file_bytes } = FileOptions::default();
        WalkOptions { include, exclude, max_file_bytes, max_bytes: None }
    }
}

/// The files of a folder with their chunks, a part at a time.
#[napi]
pub struct NativeFiles {
    files: Arc<Mutex<Files>>,
    max_bytes: Option<usize>,
}

#[napi]
impl NativeFiles {
    /// @param optionsJson JSON: `{ include?, exclude?, maxFileBytes?, maxBytes? }`
    #[napi(constructor)]
    pub fn new(folder: String, options_json: String) -> napi::Result<Self> {
        guarded(|| {
            let WalkOptions { include, exclude, max_file_bytes, max_bytes } = parse(&options_json)?;
            if !Path::new(&folder).is_dir() {
                let message = format!("{folder} is no folder. Give the folder whose files are to be cut.");
                return Err(Error::new(Code::InvalidInput, message).with("path", folder.as_str()));
            }
            let files = Files::new(Path::new(&folder), &FileOptions { include, exclude, max_file_bytes })
                .map_err(|error| Error::invalid_option("include", format!("include or exclude: {error}.")))?;
            Ok(NativeFiles { files: Arc::new(Mutex::new(files)), max_bytes })
        })
    }

    /// JSON of the next files, none at the end: `{ path, language, text, chunks }` or `{ path, skipped }`.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        guarded_napi(|| {
            let (files, max_bytes) = (Arc::clone(&self.files), self.max_bytes);
            promise(
                env,
                None,
                |json: String| json,
                |done| {
                    in_background("embedding-chunk", done, move || Ok(part(&files, max_bytes)));
                },
            )
        })
    }
}

fn part(files: &Mutex<Files>, max_bytes: Option<usize>) -> String {
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    let mut bytes = 0;
    while bytes < PART_BYTES && found.len() < PART_FILES {
        match files.next() {
            None => break,
            Some(Found::Skipped { path, reason }) => found.push(json!({ "path": path, "skipped": reason })),
            Some(Found::Text { path, language, text }) => {
                bytes += text.len();
                let chunks = chunks_of(&text, language, max_bytes);
                let language = language.map(Language::name);
                found.push(json!({ "path": path, "language": language, "text": text, "chunks": chunks }));
            }
        }
    }
    Value::from(found).to_string()
}
