//! Text to token ids: prompt, special tokens, end token, truncation with a flag, counting.
//!
//! The ids are those that sentence-transformers makes of the same folder: prompt and text are one
//! string; special-token strings in it become special tokens; content is cut to the limit less the
//! special tokens, which then go around it. Settings of truncation and padding inside tokenizer.json do
//! not count.

mod load;
mod template;
mod windows;
pub mod words;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::model::ModelSpec;

use template::Template;
use windows::{MARGIN, WINDOW};

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
pub struct Tokenizer {
    /// For messages.
    file: PathBuf,
    /// Without truncation, padding and post-processor: content only.
    inner: tokenizers::Tokenizer,
    /// What goes around the content.
    template: Template,
    max_tokens: usize,
    /// Cut at the start rather than at the end.
    truncate_left: bool,
    include_prompt: bool,
    /// Whether a token starts after the spaces that it begins with (`trim_offsets`).
    trim_offsets: bool,
    /// Rows of the embedding table, if the tokenizer has added tokens beyond them.
    table: Option<u32>,
    /// Whether long texts may be encoded in windows.
    local: bool,
    /// Ids of special tokens, sorted: sentence-transformers leaves one at the end out of a prompt's length.
    special: Vec<u32>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("template", &self.template).field("max_tokens", &self.max_tokens).finish()
    }
}

impl Tokenizer {
    /// Loads `tokenizer.json` and checks that every id of its vocabulary lies in the embedding table.
    ///
    /// *Added* tokens may lie beyond the table (the real Qwen2.5 tokenizer has 19 that Qodo-Embed's
    /// table does not reach): a text that contains one is refused by [`Tokenizer::encode`].
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for a broken file, or for ids beyond the table; `MODEL_UNSUPPORTED` for a
    /// post-processor that does more than put tokens around a text; `INVALID_OPTION` for a limit that
    /// leaves no room for the text.
    pub fn load(spec: &ModelSpec) -> Result<Self> {
        load::load(spec)
    }

    /// Encodes `prompt + text` (one string, as sentence-transformers does) and cuts it to the limit.
    ///
    /// # Errors
    /// `EMPTY_TEXT` if nothing is left of the text; `INVALID_INPUT` for a token that the model has no
    /// embedding for; `INVALID_OPTION` for a prompt that leaves nothing to pool; `INTERNAL` if the
    /// tokenizer library fails.
    pub fn encode(&self, text: &str, prompt: Option<&str>) -> Result<Encoded> {
        self.encode_cancellable(text, prompt, &Cancel::never())
    }

    /// As [`Tokenizer::encode`]; looks at `cancel` every 64 kB of text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and `ABORTED`.
    pub fn encode_cancellable(&self, text: &str, prompt: Option<&str>, cancel: &Cancel) -> Result<Encoded> {
        let prompt = prompt.filter(|prompt| !prompt.is_empty());
        let content = match prompt {
            Some(prompt) => self.content(&[prompt, text].concat(), false, cancel)?.0,
            None => self.content(text, false, cancel)?.0,
        };
        self.finish(content, prompt).map(|(encoded, _)| encoded)
    }

    /// As [`Tokenizer::encode`], and for each `chunk` (byte range of `text`) the range of tokens whose
    /// start lies in it. Special tokens, prompt and end token belong to no chunk; a chunk past the limit,
    /// or one without a token, gets an empty range.
    ///
    /// Where a token starts is what Python's `offset_mapping` says. Qwen's tokens begin with the space
    /// before a word, and start there: let chunks begin with the white space before them, and leave no
    /// gaps. RoBERTa's start after it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_chunks(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        self.encode_chunks_cancellable(text, prompt, chunks, &Cancel::never())
    }

    /// As [`Tokenizer::encode_chunks`]; looks at `cancel` every 64 kB of text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and `ABORTED`.
    pub fn encode_chunks_cancellable(
        &self,
        text: &str,
        prompt: Option<&str>,
        chunks: &[Range<usize>],
        cancel: &Cancel,
    ) -> Result<(Encoded, Vec<Range<u32>>)> {
        let prompt = prompt.filter(|prompt| !prompt.is_empty());
        let joined;
        let (whole, prompt_bytes) = match prompt {
            Some(prompt) => {
                joined = [prompt, text].concat();
                (joined.as_str(), prompt.len())
            }
            None => (text, 0),
        };
        let (content, offsets) = self.content(whole, true, cancel)?;
        let (encoded, kept) = self.finish(content, prompt)?;

        // Starts ascend; where a normaliser reorders characters, a token cannot start before the last one.
        let mut last = 0;
        let starts: Vec<usize> = offsets[kept.content.clone()]
            .iter()
            .map(|&(start, end)| {
                let spaces = match self.trim_offsets {
                    true => whole.as_bytes()[start..end].iter().take_while(|&&byte| byte == b' ').count(),
                    false => 0,
                };
                last = last.max(start + spaces);
                last
            })
            .collect();
        let first = |byte: usize| (starts.partition_point(|&start| start < byte) + kept.first) as u32;
        let ranges = chunks
            .iter()
            .map(|chunk| {
                let start = first(chunk.start.saturating_add(prompt_bytes));
                let end = first(chunk.end.saturating_add(prompt_bytes)).max(start);
                if start == end { 0..0 } else { start..end }
            })
            .collect();
        Ok((encoded, ranges))
    }

    /// Ids of the text alone, with their byte ranges if wanted.
    fn content(&self, text: &str, offsets: bool, cancel: &Cancel) -> Result<(Vec<u32>, Offsets)> {
        self.content_in_windows(text, offsets, cancel, WINDOW, MARGIN)
    }

    fn content_in_windows(
        &self,
        text: &str,
        offsets: bool,
        cancel: &Cancel,
        window: usize,
        margin: usize,
    ) -> Result<(Vec<u32>, Offsets)> {
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        let (mut start, mut size) = (0, window);
        loop {
            cancel.check()?;
            let end = match text.len() - start {
                rest if rest <= size || !self.local => text.len(),
                _ => text.floor_char_boundary(start + size),
            };
            let part = &text[start..end];
            let last = end == text.len();
            let encoding = self.encode_part(part, offsets || !last)?;
            let (tokens, next) = match last {
                true => (encoding.len(), part.len()),
                false => match windows::cut(part, &encoding, margin) {
                    Some(cut) => cut,
                    // One word so far: encode it again with more behind it.
                    None => {
                        size = size.saturating_mul(8);
                        continue;
                    }
                },
            };
            ids.extend_from_slice(&encoding.get_ids()[..tokens]);
            if offsets {
                places.extend(encoding.get_offsets()[..tokens].iter().map(|(from, to)| (from + start, to + start)));
            }
            if last {
                return Ok((ids, places));
            }
            start += next;
            size = window;
        }
    }

    fn encode_part(&self, part: &str, offsets: bool) -> Result<tokenizers::Encoding> {
        let encoded = catch_unwind(AssertUnwindSafe(|| match offsets {
            true => self.inner.encode(part, false),
            false => self.inner.encode_fast(part, false),
        }));
        match encoded {
            Ok(Ok(encoding)) => Ok(encoding),
            // It takes any text, unless its own file does not hang together.
            Ok(Err(error)) => Err(Error::bad_checkpoint(&self.file, format!("cannot encode a text: {error}."))),
            Err(_) => Err(Error::bad_checkpoint(&self.file, "cannot encode a text: the tokenizer panicked.")),
        }
    }

    /// Cuts the content, puts the special tokens around it, and checks the result.
    fn finish(&self, content: Vec<u32>, prompt: Option<&str>) -> Result<(Encoded, Kept)> {
        let untruncated = self.template.length(&content);
        let room = self.max_tokens.saturating_sub(self.template.added());
        let kept = match content.len().saturating_sub(room) {
            0 => 0..content.len(),
            cut if self.truncate_left => cut..content.len(),
            _ => 0..room,
        };
        let ids = self.template.wrap(&content[kept.clone()]);
        if ids.is_empty() {
            return Err(Error::new(Code::EmptyText, "The text has no content: it gives no token."));
        }
        if let Some(table) = self.table
            && let Some(&id) = ids.iter().find(|&&id| id >= table)
        {
            let token = self.inner.id_to_token(id).unwrap_or_default();
            let message = format!(
                "The text contains {token:?}, a token (id {id}) that this model has no embedding for: its table ends at \
                 {table}. Take it out of the text, or break it up."
            );
            return Err(Error::new(Code::InvalidInput, message).with("token", token).with("id", id));
        }
        let mut pooled = 0..ids.len() as u32;
        if let (false, Some(prompt)) = (self.include_prompt, prompt) {
            pooled.start = self.prompt_tokens(prompt)? as u32;
            if pooled.is_empty() {
                let message = format!(
                    "This model pools what comes after the prompt, and nothing does: the prompt alone has {} tokens, with \
                     the text they are {}, and the limit is {}. Give a shorter prompt, or end it with a space.",
                    pooled.start,
                    ids.len(),
                    self.max_tokens
                );
                return Err(Error::invalid_option("prompt", message).with("limit", self.max_tokens));
            }
        }
        Ok((Encoded { ids, untruncated, pooled }, Kept { content: kept, first: self.template.before() }))
    }

    /// How many tokens a prompt takes, as sentence-transformers counts: the prompt alone with its special
    /// tokens, less one if the last of them is special.
    fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let (content, _) = self.content(prompt, false, &Cancel::never())?;
        let room = self.max_tokens.saturating_sub(self.template.added());
        let ids = self.template.wrap(&content[..content.len().min(room)]);
        let special_end = ids.last().is_some_and(|id| self.special.binary_search(id).is_ok());
        Ok(ids.len() - usize::from(special_end))
    }
}

/// Byte ranges of tokens in the text.
type Offsets = Vec<(usize, usize)>;

/// Which part of the content was kept, and where it stands among the ids.
struct Kept {
    content: Range<usize>,
    first: usize,
}

#[cfg(test)]
mod tests;
