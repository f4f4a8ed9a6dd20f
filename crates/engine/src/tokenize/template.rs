//! What stands around the content of a text.

use tokenizers::{Encoding, PostProcessor, Token};

use crate::error::{Error, Result};

/// Special tokens before and after the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Template {
    /// Always the same ones, as a post-processor puts them (`[CLS]` … `[SEP]`).
    Around { before: Vec<u32>, after: Vec<u32> },
    /// One at the end, unless it is already last.
    End(u32),
}

impl Template {
    /// What a post-processor puts around any text, found by giving it three marks.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED` for one that repeats or leaves out content.
    pub(super) fn of(processor: Option<&impl PostProcessor>, file: &std::path::Path) -> Result<Self> {
        // Ids that no vocabulary has.
        let marks = [u32::MAX - 2, u32::MAX - 1, u32::MAX];
        let tokens = marks.iter().map(|&id| Token::new(id, String::from("a"), (0, 1))).collect();
        let encoding = Encoding::from_tokens(tokens, 0);
        let ids = match processor {
            None => marks.to_vec(),
            Some(processor) => processor
                .process(encoding, None, true)
                .map_err(|error| Error::bad_checkpoint(file, format!("its post-processor fails: {error}.")))?
                .get_ids()
                .to_vec(),
        };
        let start = ids.windows(marks.len()).position(|three| three == marks);
        let once = ids.iter().filter(|id| marks.contains(id)).count() == marks.len();
        match start {
            Some(start) if once => {
                Ok(Template::Around { before: ids[..start].to_vec(), after: ids[start + marks.len()..].to_vec() })
            }
            _ => Err(Error::unsupported(format!(
                "{}: its post-processor does not keep the text in one piece. Supported are special tokens before and \
                 after it.",
                file.display()
            ))),
        }
    }

    /// How many tokens it adds at most.
    pub(super) fn added(&self) -> usize {
        match self {
            Template::Around { before, after } => before.len() + after.len(),
            Template::End(_) => 1,
        }
    }

    /// How many stand before the content.
    pub(super) fn before(&self) -> usize {
        match self {
            Template::Around { before, .. } => before.len(),
            Template::End(_) => 0,
        }
    }

    /// Length of the whole for an uncut content.
    pub(super) fn length(&self, content: &[u32]) -> usize {
        match self {
            Template::Around { .. } => content.len() + self.added(),
            Template::End(end) => content.len() + usize::from(content.last() != Some(end)),
        }
    }

    /// The content with its special tokens.
    pub(super) fn wrap(&self, content: &[u32]) -> Vec<u32> {
        match self {
            Template::Around { before, after } => [before, content, after].concat(),
            Template::End(end) if content.last() == Some(end) => content.to_vec(),
            Template::End(end) => [content, &[*end]].concat(),
        }
    }

    /// The special tokens themselves.
    pub(super) fn tokens(&self) -> Vec<u32> {
        match self {
            Template::Around { before, after } => [before.as_slice(), after].concat(),
            Template::End(end) => vec![*end],
        }
    }
}
