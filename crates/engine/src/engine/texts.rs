//! The texts of one call, held as one block of bytes.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Code, Error, Result};

/// Texts one after another. One block, whatever their number: a million short texts are one
/// allocation, and whoever hands them over copies bytes instead of building strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// `bytes` holds the UTF-8 of all texts one after another, `lengths` the bytes of each.
    ///
    /// What is no UTF-8 counts as U+FFFD, as in a text decoder.
    ///
    /// # Errors
    /// `INVALID_INPUT` if the lengths do not add up to the bytes.
    pub fn from_bytes(bytes: Vec<u8>, lengths: &[u32]) -> Result<Self> {
        let mut end = 0_usize;
        let ends: Vec<usize> = lengths
            .iter()
            .map(|&length| {
                end = end.saturating_add(length as usize);
                end
            })
            .collect();
        if end != bytes.len() {
            return Err(Error::new(
                Code::InvalidInput,
                format!("The lengths of the texts add up to {end} bytes, but there are {}.", bytes.len()),
            ));
        }
        Ok(Texts { bytes, ends })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all texts together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Text `index`.
    pub fn get(&self, index: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[self.range(index)])
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Bytes of text `index`, as it was given.
    pub(super) fn len_of(&self, index: usize) -> usize {
        self.range(index).len()
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut all = Texts::default();
        for text in texts {
            all.bytes.extend_from_slice(text.as_ref().as_bytes());
            all.ends.push(all.bytes.len());
        }
        all
    }
}

impl From<Vec<String>> for Texts {
    fn from(texts: Vec<String>) -> Self {
        texts.iter().collect()
    }
}

impl<const N: usize> From<[&str; N]> for Texts {
    fn from(texts: [&str; N]) -> Self {
        texts.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let texts = Texts::from(["a", "", "aä😀"]);
        assert_eq!(texts.len(), 3);
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "", "aä😀"]);
        assert_eq!(texts, Texts::from_bytes("aaä😀".into(), &[1, 0, 7]).unwrap());
        assert!(Texts::default().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        // Each text is decoded on its own: a character cut in two between texts is two broken ones.
        let texts = Texts::from_bytes("ä".into(), &[1, 1]).unwrap();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["\u{fffd}", "\u{fffd}"]);
    }

    #[test]
    fn lengths_must_add_up() {
        for lengths in [&[1][..], &[2, 2], &[u32::MAX, u32::MAX]] {
            assert_eq!(Texts::from_bytes(b"abc".to_vec(), lengths).unwrap_err().code, Code::InvalidInput);
        }
    }
}
