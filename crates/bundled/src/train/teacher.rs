//! The teacher's vectors, by our own encoder, kept in the working folder: they take longer than all else.

use std::fs;
use std::path::Path;

use embedding_engine::Cancel;
use embedding_engine::engine::{EmbedRequest, Engine, EngineOptions};
use embedding_engine::finish::Vectors;
use sha2::{Digest, Sha256};

/// Texts of one call: enough for full batches.
const TEXTS: usize = 2048;

/// A model folder that teaches.
pub struct Teacher<'a> {
    engine: Engine,
    folder: &'a Path,
    cache: &'a Path,
}

impl<'a> Teacher<'a> {
    /// `folder` holds the model, `cache` what was computed before. Texts are cut at `max_tokens`.
    pub fn new(folder: &'a Path, cache: &'a Path, max_tokens: usize) -> Result<Self, String> {
        let model = folder.display().to_string();
        let json = serde_json::json!({ "modelDefaults": { model: { "maxTokens": max_tokens } } });
        let options = EngineOptions::from_json(&json.to_string()).map_err(|error| error.message)?;
        let engine = Engine::new(options).map_err(|error| error.message)?;
        Ok(Teacher { engine, folder, cache })
    }

    /// One vector of unit length a text, one after another.
    pub fn embed(&self, what: &str, texts: &[String]) -> Result<Vec<f32>, String> {
        let mut digest = Sha256::new();
        digest.update(self.folder.display().to_string());
        for text in texts {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        let key: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = self.cache.join(format!("teacher-{key}.f32"));
        if let Ok(bytes) = fs::read(&file) {
            eprintln!("[teacher] {what}: {} vectors from {}", texts.len(), file.display());
            return Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
        }
        let mut vectors = Vec::new();
        let mut tokens = 0u64;
        let begin = std::time::Instant::now();
        for (index, part) in texts.chunks(TEXTS).enumerate() {
            let request = EmbedRequest { model: Some(self.folder.display().to_string()), ..EmbedRequest::default() };
            let output = self
                .engine
                .embed_blocking(
                    request,
                    part.iter().map(String::as_str).collect::<embedding_engine::engine::Texts>(),
                    &Cancel::never(),
                )
                .map_err(|error| error.message)?;
            tokens += output.tokens_per_text.iter().map(|tokens| u64::from(*tokens)).sum::<u64>();
            match output.vectors {
                Vectors::F32(rows) => vectors.extend(rows),
                _ => return Err("the teacher gave no f32 vectors".to_owned()),
            }
            let done = (index * TEXTS + part.len()).min(texts.len());
            let rate = tokens as f64 / begin.elapsed().as_secs_f64();
            eprintln!("[teacher] {what}: {done} of {} texts, {rate:.0} tokens/s", texts.len());
        }
        let bytes: Vec<u8> = vectors.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        fs::create_dir_all(self.cache).map_err(|error| error.to_string())?;
        fs::write(&file, bytes).map_err(|error| error.to_string())?;
        Ok(vectors)
    }
}
