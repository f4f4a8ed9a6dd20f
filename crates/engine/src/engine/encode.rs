//! Encoding the texts of a call, in parts, on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::loader::Encoder;
use super::tasks::{Job, Part};
use super::texts::Texts;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::sync::{catch, lock};
use crate::tokenize::Encoded;

/// A part ends after so many bytes of text: some milliseconds of work.
const PART_BYTES: usize = 32 << 10;
/// And after so many texts, because each has a cost of its own.
const PART_TEXTS: usize = 256;

type Done = Box<dyn FnOnce(Result<Vec<Encoded>>) + Send>;

/// What becomes of a text in which the tokenizer finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// It is `EMPTY_TEXT`.
    Refused,
    /// It has the tokens that are put around it.
    Allowed,
}

/// Encodes `prompt + text` for each text, in order.
///
/// Of several failures the one with the lowest index is told, whichever came first.
pub(super) struct EncodeJob {
    encoder: Arc<dyn Encoder>,
    texts: Texts,
    prompt: Option<String>,
    empty: Empty,
    /// The call is over: no need to go on.
    stop: Cancel,
    parts: Vec<Range<usize>>,
    next: AtomicUsize,
    left: AtomicUsize,
    results: Mutex<Vec<Option<Result<Vec<Encoded>>>>>,
    /// What a text without content is encoded as.
    blank: OnceLock<Option<Encoded>>,
    done: Mutex<Option<Done>>,
}

impl EncodeJob {
    /// A job that calls `done` with one result a text. Without texts it is called at once, and there is no job.
    pub(super) fn new(
        encoder: Arc<dyn Encoder>,
        texts: Texts,
        prompt: Option<String>,
        empty: Empty,
        stop: Cancel,
        done: Done,
    ) -> Option<Arc<Self>> {
        let parts = split(&texts);
        if parts.is_empty() {
            done(Ok(Vec::new()));
            return None;
        }
        Some(Arc::new(EncodeJob {
            encoder,
            texts,
            prompt,
            empty,
            stop,
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(parts.len()),
            results: Mutex::new(parts.iter().map(|_| None).collect()),
            parts,
            blank: OnceLock::new(),
            done: Mutex::new(Some(done)),
        }))
    }

    fn encode_part(&self, texts: Range<usize>) -> Result<Vec<Encoded>> {
        texts
            .map(|index| {
                self.stop.check()?;
                let encode = || self.encode_text(index, &self.texts.get(index));
                catch("encoding a text", encode).map_err(|error| at(error, index))
            })
            .collect()
    }

    fn encode_text(&self, index: usize, text: &str) -> Result<Encoded> {
        let prompt = self.prompt.as_deref();
        let encoded = self.encoder.encode(text, prompt)?;
        if self.empty == Empty::Refused {
            let blank = self.blank.get_or_init(|| self.encoder.encode("", prompt).ok());
            check_content(index, text, &encoded, blank.as_ref())?;
        }
        Ok(encoded)
    }

    fn gather(&self) -> Result<Vec<Encoded>> {
        let results = std::mem::take(&mut *lock(&self.results));
        let mut all = Vec::with_capacity(self.texts.len());
        for result in results {
            all.append(&mut result.unwrap_or_else(|| Err(Error::internal("A text was not encoded.")))?);
        }
        Ok(all)
    }
}

impl Job for EncodeJob {
    fn take(&self) -> Option<Part> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.parts.len()).then_some(Part { index, last: index + 1 == self.parts.len() })
    }

    fn run(&self, part: usize) {
        let result = self.encode_part(self.parts[part].clone());
        lock(&self.results)[part] = Some(result);
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = lock(&self.done).take()
        {
            done(self.gather());
        }
    }
}

/// Ranges of texts that are about equally much work.
fn split(texts: &Texts) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for index in 0..texts.len() {
        bytes += texts.len_of(index);
        if bytes >= PART_BYTES || index + 1 - start == PART_TEXTS {
            parts.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < texts.len() {
        parts.push(start..texts.len());
    }
    parts
}

/// `EMPTY_TEXT` for the first text without content: empty, or nothing but white space.
pub(super) fn check_empty(texts: &Texts) -> Result<()> {
    match texts.iter().position(|text| text.trim().is_empty()) {
        Some(index) => Err(empty(index)),
        None => Ok(()),
    }
}

/// `EMPTY_TEXT` where the tokenizer drops all that a text is made of, such as control characters: its
/// vector would be that of no text at all. A special token that is spelled out (the end token alone)
/// is content, though the ids are those of an empty text.
pub(super) fn check_content(index: usize, text: &str, encoded: &Encoded, blank: Option<&Encoded>) -> Result<()> {
    let nothing = encoded.ids.is_empty() || blank == Some(encoded);
    let spelled_out = text.bytes().any(|byte| byte.is_ascii_graphic());
    if encoded.ids.is_empty() || (nothing && !spelled_out) { Err(empty(index)) } else { Ok(()) }
}

fn empty(index: usize) -> Error {
    Error::new(
        Code::EmptyText,
        format!("Text {index} has no content, so that there is nothing to embed. Leave it out, or pass other text."),
    )
    .with("index", index)
}

fn at(error: Error, index: usize) -> Error {
    if error.details.contains_key("index") || error.code == Code::Aborted { error } else { error.with("index", index) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use super::*;
    use crate::engine::tasks::Tasks;
    use crate::engine::tests::dummy::DummyEncoder;

    fn encode(texts: Texts, prompt: Option<&str>, threads: usize) -> Result<Vec<Encoded>> {
        let (sender, results) = channel();
        let done = Box::new(move |result| sender.send(result).unwrap());
        let tasks = Tasks::new(threads);
        let (encoder, prompt) = (Arc::new(DummyEncoder::default()), prompt.map(str::to_owned));
        if let Some(job) = EncodeJob::new(encoder, texts, prompt, Empty::Refused, Cancel::new(), done) {
            tasks.push(job);
        }
        results.recv().unwrap()
    }

    #[test]
    fn results_are_in_order() {
        for threads in [1, 4] {
            let texts: Texts = (0..5000).map(|number| format!("text {}", "x".repeat(number % 300))).collect();
            let encoded = encode(texts.clone(), None, threads).unwrap();
            assert_eq!(encoded.len(), 5000);
            for (text, encoded) in texts.iter().zip(&encoded) {
                assert_eq!(encoded, &DummyEncoder::default().encode(&text, None).unwrap());
            }
        }
        assert_eq!(encode(Texts::default(), None, 1).unwrap(), []);
    }

    #[test]
    fn the_first_failure_counts() {
        let texts: Texts =
            (0..2000).map(|number| if number % 700 == 699 { "fail".to_owned() } else { "x".repeat(40) }).collect();
        let error = encode(texts, None, 4).unwrap_err();
        assert_eq!((error.code, &error.details["index"]), (Code::Internal, &699.into()));
        let error = encode(Texts::from(["a", "panic"]), None, 1).unwrap_err();
        assert_eq!((error.code, &error.details["index"]), (Code::Internal, &1.into()));
    }

    #[test]
    fn a_text_of_which_nothing_is_left_is_empty() {
        let error = encode(Texts::from(["a", "\u{1}\u{2}"]), Some("prompt: "), 1).unwrap_err();
        assert_eq!((error.code, &error.details["index"]), (Code::EmptyText, &1.into()));
        let check =
            |texts: &[&str]| check_empty(&texts.iter().collect()).map_err(|error| error.details["index"].clone());
        assert_eq!(check(&["a", "b "]), Ok(()));
        assert_eq!(check(&["a", ""]), Err(1.into()));
        assert_eq!(check(&[" \n\t\u{3000}", "a"]), Err(0.into()));
    }

    #[test]
    fn a_spelled_out_end_token_is_content() {
        let end = Encoded { ids: vec![7], untruncated: 1, pooled: 0..1 };
        assert!(check_content(0, "<end>", &end, Some(&end)).is_ok());
        assert!(check_content(0, "\u{1}", &end, Some(&end)).is_err());
        let none = Encoded { ids: vec![], untruncated: 0, pooled: 0..0 };
        assert!(check_content(0, "?", &none, None).is_err());
    }
}
