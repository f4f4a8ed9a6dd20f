//! A folder that tests may change, its index, and a model that counts what it embeds.

#![allow(clippy::unwrap_used, dead_code)]

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedding_engine::engine::OnEvent;
use embedding_engine::{Cancel, Code, Error};
use embedding_engine_search::embedder::{Done, Embedded, Embedder, Purpose};
use embedding_engine_search::{Hit, Index, QueryOptions, UpdateOptions, UpdateReport, subtokens};

pub const DIMENSIONS: usize = 96;

/// A hashed bag of sub-tokens: texts with the same words are near each other. Only for tests, which need no meaning.
#[derive(Clone, Default)]
pub struct Words {
    pub space: String,
    /// Texts that were embedded as documents, without the first one of each update, which asks for the space.
    pub embedded: Arc<Mutex<Vec<String>>>,
    pub calls: Arc<AtomicUsize>,
    /// Called before each call for documents.
    pub before: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

impl Words {
    pub fn new(space: &str) -> Self {
        Words { space: space.to_owned(), ..Words::default() }
    }

    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0f32; DIMENSIONS];
        for word in subtokens::of(text) {
            let mut hasher = DefaultHasher::new();
            (&self.space, &word).hash(&mut hasher);
            let hash = hasher.finish();
            for turn in 0..4 {
                let at = (hash >> (turn * 16)) as usize % DIMENSIONS;
                vector[at] += if hash >> (turn * 16 + 15) & 1 == 0 { 1.0 } else { -0.7 };
            }
        }
        if vector.iter().all(|value| *value == 0.0) {
            vector[0] = 1.0;
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| value / length).collect()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.embedded.lock().unwrap())
    }
}

impl Embedder for Words {
    fn embed(
        &self,
        purpose: Purpose,
        texts: Vec<String>,
        space: Option<&str>,
        cancel: &Cancel,
        _progress: Option<OnEvent>,
        done: Done,
    ) {
        if purpose == Purpose::Document && texts != ["a"] {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            if let Some(before) = &self.before {
                before(call);
            }
        }
        if let Err(error) = cancel.check() {
            return done(Err(error));
        }
        assert!(space.is_none_or(|space| space == self.space));
        if let Some(index) = texts.iter().position(|text| text.contains("nothing-to-read")) {
            return done(Err(Error::new(Code::EmptyText, "empty").with("index", index)));
        }
        let vectors = texts.iter().flat_map(|text| self.vector(text)).collect();
        let tokens = texts.iter().map(|text| text.split_whitespace().count() as u64).sum();
        if purpose == Purpose::Document && texts != ["a"] {
            self.embedded.lock().unwrap().extend(texts);
        }
        done(Ok(Embedded { vectors, dimensions: DIMENSIONS, space: self.space.clone(), tokens }));
    }
}

pub struct Place {
    pub folder: tempfile::TempDir,
    pub home: tempfile::TempDir,
}

impl Place {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            place.write(path, text);
        }
        place
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Each time with another, older time, so that a change shows and the time is trusted.
    pub fn write(&self, path: &str, text: &str) {
        static TURN: AtomicU64 = AtomicU64::new(0);
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let past = Duration::from_secs(1_000_000 - TURN.fetch_add(1, Ordering::SeqCst));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - past).unwrap();
    }

    pub fn store(&self) -> PathBuf {
        self.home.path().join("indexes/test.db")
    }

    pub fn open(&self, model: &Words) -> Index {
        open(self.folder.path(), &self.store(), model)
    }
}

pub fn open(folder: &Path, store: &Path, model: &Words) -> Index {
    Index::open(folder, store, Box::new(model.clone()), UpdateOptions::default()).unwrap()
}

pub fn update(index: &Index) -> UpdateReport {
    index.update(&Cancel::never(), None).unwrap()
}

pub fn query(index: &Index, text: &str, options: &QueryOptions) -> Vec<Hit> {
    index.query(text, options, &Cancel::never(), None).unwrap()
}

/// A module of `functions` functions with words of their own.
pub fn module(seed: usize, functions: usize) -> String {
    const WORDS: [&str; 12] = [
        "retry", "queue", "parse", "header", "cache", "token", "socket", "render", "merge", "branch", "vector", "index",
    ];
    (0..functions)
        .map(|i| {
            let word = |n: usize| WORDS[(seed * 7 + i * 3 + n * 5 + i * i * n) % WORDS.len()];
            format!(
                "def {}_{}_{seed}_{i}(value):\n    {} = value + {}\n    return {}_{}({})\n\n\n",
                word(0),
                word(1),
                word(2),
                i,
                word(3),
                word(4),
                word(2)
            )
        })
        .collect()
}
