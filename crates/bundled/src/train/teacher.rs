//! The teacher's vectors, by our own encoder, kept in the working folder: they take longer than all else.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use embedding_engine::Cancel;
use embedding_engine::engine::{EmbedRequest, Engine, EngineOptions, Texts};
use embedding_engine::finish::Vectors;
use sha2::{Digest, Sha256};

/// Texts of one call: enough for full batches, and little that a stop loses.
const TEXTS: usize = 1024;
/// Components of the teacher's vectors.
const WIDTH: usize = 384;

/// What tells texts apart.
type Key = [u8; 16];

/// A model folder that teaches.
pub struct Teacher<'a> {
    engine: Engine,
    folder: &'a Path,
    cache: &'a Path,
    max_tokens: usize,
}

impl<'a> Teacher<'a> {
    /// `folder` holds the model, `cache` what was computed before. Texts are cut at `max_tokens`.
    pub fn new(folder: &'a Path, cache: &'a Path, max_tokens: usize) -> Result<Self, String> {
        let model = folder.display().to_string();
        let json = serde_json::json!({ "modelDefaults": { model: { "maxTokens": max_tokens } } });
        let options = EngineOptions::from_json(&json.to_string()).map_err(|error| error.message)?;
        let engine = Engine::new(options).map_err(|error| error.message)?;
        Ok(Teacher { engine, folder, cache, max_tokens })
    }

    /// One vector of unit length a text, one after another.
    pub fn embed(&self, what: &str, texts: &[String]) -> Result<Vec<f32>, String> {
        let mut known = self.read()?;
        let keys: Vec<Key> = texts.iter().map(|text| self.key(text)).collect();
        let mut seen = HashSet::new();
        let missing: Vec<usize> =
            (0..texts.len()).filter(|at| !known.contains_key(&keys[*at]) && seen.insert(keys[*at])).collect();
        eprintln!("[teacher] {what}: {} texts, {} of them new", texts.len(), missing.len());
        let begin = Instant::now();
        let (mut tokens, mut done) = (0u64, 0);
        for part in missing.chunks(TEXTS) {
            let request = EmbedRequest { model: Some(self.folder.display().to_string()), ..EmbedRequest::default() };
            let of_part: Texts = part.iter().map(|at| texts[*at].as_str()).collect();
            let output = self.engine.embed_blocking(request, of_part, &Cancel::never());
            let output = output.map_err(|error| error.message)?;
            tokens += output.tokens_per_text.iter().map(|tokens| u64::from(*tokens)).sum::<u64>();
            let Vectors::F32(rows) = output.vectors else { return Err("the teacher gave no f32 vectors".to_owned()) };
            let rows: Vec<_> =
                part.iter().zip(rows.chunks_exact(WIDTH)).map(|(at, row)| (keys[*at], row.to_vec())).collect();
            self.append(&rows)?;
            known.extend(rows);
            done += part.len();
            let rate = tokens as f64 / begin.elapsed().as_secs_f64();
            eprintln!("[teacher] {what}: {done} of {}, {rate:.0} tokens/s", missing.len());
        }
        Ok(keys.iter().flat_map(|key| known.get(key).into_iter().flatten().copied()).collect())
    }

    fn key(&self, text: &str) -> Key {
        let mut digest = Sha256::new();
        digest.update(format!("{} {}\n", self.folder.display(), self.max_tokens));
        digest.update(text);
        let mut key = Key::default();
        key.copy_from_slice(&digest.finalize()[..16]);
        key
    }

    fn file(&self) -> PathBuf {
        self.cache.join("teacher.f32")
    }

    fn read(&self) -> Result<HashMap<Key, Vec<f32>>, String> {
        let bytes = match fs::read(self.file()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| error.to_string())?,
        };
        // A record that was cut short is left out, and all before it counts.
        let records = bytes.chunks_exact(size_of::<Key>() + 4 * WIDTH);
        let value = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        Ok(records
            .filter_map(|record| {
                let (key, row) = record.split_first_chunk()?;
                Some((*key, row.as_chunks::<4>().0.iter().map(value).collect()))
            })
            .collect())
    }

    fn append(&self, rows: &[(Key, Vec<f32>)]) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(rows.len() * (size_of::<Key>() + 4 * WIDTH));
        for (key, row) in rows {
            bytes.extend(key);
            bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
        fs::create_dir_all(self.cache).map_err(|error| error.to_string())?;
        let file = OpenOptions::new().create(true).append(true).open(self.file());
        file.and_then(|mut file| file.write_all(&bytes)).map_err(|error| error.to_string())
    }
}
