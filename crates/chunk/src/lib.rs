//! Source code cut into chunks that can be found: functions, methods, the headers of classes, what lies
//! between; with name, signature and documentation.
//!
//! The chunks of a text cover it, in order, without overlap; only white space lies between them (and a byte order
//! mark before the first).

mod blank;
mod docs;
mod files;
mod language;
mod markdown;
mod query;
mod rules;
mod split;
mod template;
mod units;

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use serde::Serialize;
use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

pub use blank::{blank_docs, blank_name};
pub use files::{Entry, FileOptions, Files, Found, Skip};
pub use language::Language;
pub use query::query_of_doc;
pub use rules::Kind;
pub use split::cut_to_lines;
pub use template::{DEFAULT_NAME_REPEATS, Parts, Template};
use units::{Cut, Unit};

/// Bytes of a chunk, unless [`Options`] say otherwise: about 500 tokens of code.
pub const DEFAULT_MAX_BYTES: usize = 2000;

/// A text that takes longer to parse is cut as one of no language: grammars take time in the square of the length for
/// some heaps of signs that are no code (50 kB of `<` in Bash: 3 s). Code takes a hundredth of this.
const MAX_PARSE: Duration = Duration::from_secs(10);

/// How to cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The largest chunk, in bytes. What is larger is cut at the borders of statements; only a single token
    /// may exceed it.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_bytes: DEFAULT_MAX_BYTES }
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// Bytes of the text.
    #[serde(skip)]
    pub range: Range<usize>,
    /// The first line, from 1.
    pub start_line: usize,
    /// The last line, from 1.
    pub end_line: usize,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: Option<String>,
    /// How it is declared, on one line.
    pub signature: Option<String>,
    /// What its comments say.
    pub doc: Option<String>,
    /// Where its documentation stands within [`Chunk::range`], in order, in bytes of the text: the comments right
    /// before it (not attributes), Elixir's `@doc`, Python's docstrings, also those of functions inside of it.
    #[serde(skip)]
    pub docs: Vec<Range<usize>>,
    /// The names of what it lies in, outermost first.
    pub inside: Vec<String>,
    /// Whether it is a later part of something that was too large.
    pub continued: bool,
}

impl Chunk {
    /// What is embedded: see [`Template`]. `text` is what the chunk was cut from.
    pub fn embed_text(&self, text: &str, template: &Template) -> String {
        template.embed_text(&self.parts(&text[self.range.clone()]))
    }

    /// What [`Template`] puts together, with `source` in place of the chunk's own, which may lack its documentation.
    pub fn parts<'c>(&'c self, source: &'c str) -> Parts<'c> {
        let (name, signature) = (self.name.as_deref(), self.signature.as_deref());
        Parts { name, inside: &self.inside, signature, continued: self.continued, source }
    }

    /// Its source without [`Chunk::docs`], and without the empty lines that this leaves. What was nothing but
    /// documentation is empty then; a body of a function that was nothing but its docstring is missing.
    pub fn without_docs(&self, text: &str) -> String {
        blank::without(&text[self.range.clone()], &self.docs, self.range.start)
    }
}

/// Cuts a text. Without a language it is cut at empty lines.
pub fn chunk(text: &str, language: Option<Language>, options: &Options) -> Vec<Chunk> {
    let budget = options.max_bytes.max(1);
    let tree = language.and_then(|language| parse(text, language));
    let mut cuts = match (language, &tree) {
        (Some(Language::Markdown), _) => markdown::cuts(text),
        (Some(language), Some(tree)) => units::cuts(text, language, tree.root_node()),
        _ => vec![Cut { at: 0, unit: None }],
    };
    // A byte order mark is no part of what is said.
    if text.starts_with('\u{feff}')
        && let Some(first) = cuts.first_mut()
    {
        first.at = '\u{feff}'.len_utf8();
    }
    let root = tree.as_ref().map(Tree::root_node);
    let lines = Lines::new(text);
    let mut chunks = Vec::new();
    for (range, unit) in regions(text, cuts) {
        for (index, part) in split::split(text, range, budget, root).into_iter().enumerate() {
            let part = trimmed(text, part);
            if part.is_empty() {
                continue;
            }
            let Unit { kind, name, signature, doc, mut docs, inside } = unit.clone().unwrap_or(Unit {
                kind: Kind::Block,
                name: None,
                signature: None,
                doc: None,
                docs: Vec::new(),
                inside: Vec::new(),
            });
            docs.retain_mut(|docs| {
                *docs = docs.start.max(part.start)..docs.end.min(part.end);
                docs.start < docs.end
            });
            chunks.push(Chunk {
                start_line: lines.of(part.start),
                end_line: lines.of(part.end - 1),
                range: part,
                kind,
                name,
                signature,
                doc,
                docs,
                inside,
                continued: index > 0,
            });
        }
    }
    chunks
}

fn parse(text: &str, language: Language) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()?).ok()?;
    // The scanner of tree-sitter-bash asks C's `isdigit` about characters that it has no answer for, and that reads
    // outside of a table: it crashes the process. Letters in their place give the same tree, byte for byte.
    let masked = (language == Language::Bash && !text.is_ascii()).then(|| mask(text));
    let bytes = masked.as_deref().unwrap_or(text.as_bytes());
    let begin = Instant::now();
    let mut progress = |_: &ParseState| match begin.elapsed() < MAX_PARSE {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(ParseOptions::new().progress_callback(&mut progress)))
}

fn mask(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'x' }).collect()
}

/// The parts between cuts. What only closes the part before it belongs to that.
fn regions(text: &str, cuts: Vec<Cut>) -> Vec<(Range<usize>, Option<Unit>)> {
    let mut regions: Vec<(Range<usize>, Option<Unit>)> = Vec::with_capacity(cuts.len());
    let ends: Vec<usize> = cuts.iter().skip(1).map(|cut| cut.at).chain([text.len()]).collect();
    for (Cut { at, unit }, end) in cuts.into_iter().zip(ends) {
        match regions.last_mut() {
            Some((last, _)) if unit.is_none() && closes(&text[at..end]) => last.end = end,
            _ => regions.push((at..end, unit)),
        }
    }
    regions
}

/// Whether there is nothing in it but the ends of what is open.
fn closes(text: &str) -> bool {
    // `}.call(this));` and the like end a module of JavaScript.
    let module = |word: &str| matches!(word, "" | "call" | "this" | "window" | "self" | "globalThis" | "jQuery");
    let ends = |word: &str| {
        matches!(word, "end" | "#endif" | "fi" | "done" | "esac")
            || word.chars().all(|c| c.is_ascii_punctuation())
            || word.starts_with(['}', ')']) && word.split(|c: char| c.is_ascii_punctuation()).all(module)
    };
    text.lines().all(|line| {
        // `}  // namespace n`, `#endif /* X */`
        let comment = ["//", "/*"].iter().filter_map(|sign| line.find(sign)).min().filter(|at| *at > 0);
        line[..comment.unwrap_or(line.len())].split_whitespace().all(ends)
    })
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    start..(range.start + slice.trim_end().len()).max(start)
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Lines(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, from 1.
    fn of(&self, at: usize) -> usize {
        self.0.partition_point(|newline| *newline < at) + 1
    }
}

#[cfg(test)]
mod tests;
