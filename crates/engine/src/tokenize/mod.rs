//! Text to token ids: prompt, special tokens, end token, truncation with a flag, counting.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// One tokenized text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What the model reads: special tokens, prompt, text, end token; cut to the limit.
    pub ids: Vec<u32>,
    /// How many tokens it would have been without the limit.
    pub untruncated: usize,
    /// The tokens that pooling may use: all of them, or those after the prompt where the model says
    /// `include_prompt: false`.
    pub pooled: Range<u32>,
}

impl Encoded {
    /// Whether the text was cut.
    pub fn truncated(&self) -> bool {
        self.untruncated > self.ids.len()
    }
}

/// The tokenizer of one model. `Send + Sync`: texts are encoded on several threads at once.
pub struct Tokenizer {}

impl Tokenizer {
    /// Loads `tokenizer.json` and checks that every id it can give lies in the embedding table.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for a broken file.
    pub fn load(_spec: &ModelSpec) -> Result<Self> {
        Err(Error::internal("tokenize"))
    }

    /// Encodes `prompt + text` (one string, as sentence-transformers does) and cuts it to the limit.
    ///
    /// # Errors
    /// `INTERNAL` if the tokenizer library fails.
    pub fn encode(&self, _text: &str, _prompt: Option<&str>) -> Result<Encoded> {
        Err(Error::internal("tokenize"))
    }

    /// As [`Tokenizer::encode`], and for each `chunk` (byte range of `text`) the range of tokens whose
    /// start lies in it. Special tokens, prompt and end token belong to no chunk; a chunk past the
    /// limit, or one without a token, gets an empty range.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_chunks(
        &self,
        _text: &str,
        _prompt: Option<&str>,
        _chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        Err(Error::internal("tokenize"))
    }
}
