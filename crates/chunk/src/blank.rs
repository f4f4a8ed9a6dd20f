//! Code without what would give it away: its documentation, its name. For training and for evaluation.

use std::ops::Range;

use crate::language::Language;
use crate::{parse, units};

/// `source` without the given ranges and without the lines that are empty then, and the empty lines after those.
/// `offset` is where `source` begins in the text that the ranges count from.
pub(crate) fn without(source: &str, ranges: &[Range<usize>], offset: usize) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut at = 0;
    for range in ranges {
        let (start, end) = (range.start - offset, range.end - offset);
        // Nested ones may lie within the one before.
        if end <= at {
            continue;
        }
        kept.push_str(source.get(at..start).unwrap_or_default());
        at = end;
        let begins_line = kept.rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        if begins_line {
            kept.truncate(kept.trim_end_matches([' ', '\t']).len());
            let rest = &source[at..];
            let blank = rest.len() - rest.trim_start().len();
            // Whole lines only: the indentation of the next one stays.
            match rest[..blank].rfind('\n') {
                Some(newline) => at += newline + 1,
                None => at += blank,
            }
        }
    }
    kept.push_str(source.get(at..).unwrap_or_default());
    kept.trim().to_owned()
}

/// A whole file without the documentation of its units (see [`crate::Chunk::docs`]): what is left keeps its lines,
/// and parses as it did. Where a docstring was all there was of a Python body, `pass` stands in its place. Texts
/// without a grammar are given back as they are.
pub fn blank_docs(text: &str, language: Language) -> String {
    let Some(tree) = parse(text, language) else { return text.to_owned() };
    let cuts = units::cuts(text, language, tree.root_node());
    let mut docs: Vec<Range<usize>> = cuts.into_iter().filter_map(|cut| cut.unit).flat_map(|unit| unit.docs).collect();
    docs.sort_by_key(|range| (range.start, range.end));
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    for range in docs {
        if range.start < at {
            continue;
        }
        blanked.push_str(text.get(at..range.start).unwrap_or_default());
        let doc = text.get(range.clone()).unwrap_or_default();
        if language == Language::Python && !doc.starts_with('#') && !has_statement_below(text, &range) {
            blanked.push_str("pass");
        }
        blanked.extend(doc.chars().filter(|c| matches!(c, '\n' | '\r')));
        at = range.end;
    }
    blanked.push_str(text.get(at..).unwrap_or_default());
    blanked
}

/// Whether the next line of Python that says something belongs to the block of this docstring.
fn has_statement_below(text: &str, docstring: &Range<usize>) -> bool {
    let before = text[..docstring.start].rsplit('\n').next().unwrap_or_default();
    let Some((same_line, below)) = text[docstring.end..].split_once('\n') else { return false };
    let own_line = before.trim().is_empty() && (same_line.trim().is_empty() || same_line.trim().starts_with('#'));
    let mut lines = below.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    own_line && lines.next().is_some_and(|line| line.len() - line.trim_start().len() == before.len())
}

/// The source with `_` for each identifier that is `name`, or the last part of it where it has several
/// (`module.exports.parse`, `Queue::push`, `Display for Point`). Parts of longer identifiers stay. A name that is no
/// identifier changes nothing.
pub fn blank_name(source: &str, name: &str) -> String {
    let name = name.rsplit(|c: char| !is_identifier(c)).find(|part| !part.is_empty()).unwrap_or_default();
    if name.is_empty() {
        return source.to_owned();
    }
    let mut blanked = String::with_capacity(source.len());
    let mut at = 0;
    for (found, _) in source.match_indices(name) {
        let end = found + name.len();
        let is_whole = !source[..found].chars().next_back().is_some_and(is_identifier)
            && !source[end..].chars().next().is_some_and(is_identifier);
        if is_whole && found >= at {
            blanked.push_str(&source[at..found]);
            blanked.push('_');
            at = end;
        }
    }
    blanked.push_str(&source[at..]);
    blanked
}

/// What identifiers are made of in the languages at hand; `$` for JavaScript and PHP.
fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Options, chunk};

    fn bare(text: &str, language: Language, name: &str) -> String {
        let chunks = chunk(text, Some(language), &Options::default());
        let chunk = chunks.iter().find(|chunk| chunk.name.as_deref() == Some(name)).unwrap();
        assert!(chunk.docs.iter().all(|docs| docs.start >= chunk.range.start && docs.end <= chunk.range.end));
        chunk.without_docs(text)
    }

    const PYTHON: &str = r#"
# Reads it.
@cache
def read(path):
    """Read a file.

    Whole.
    """

    def part(n):
        "A part."
        return n
    return part(path)  # here

class A:
    '''A class.'''

    x = 1

    def only(self):
        """Nothing else."""

    def inline(self): "Short."; return 1
"#;

    #[test]
    fn sources_without_their_documentation() {
        for (language, text, name, expected) in [
            (
                Language::Python,
                PYTHON,
                "read",
                "@cache\ndef read(path):\n    def part(n):\n        return n\n    return part(path)  # here",
            ),
            (Language::Python, PYTHON, "A", "class A:\n    x = 1"),
            (Language::Python, PYTHON, "only", "def only(self):"),
            (
                Language::Rust,
                "/// Adds.\n///\n/// Two.\n#[inline]\n// Why.\nfn add() {\n    // one\n}\n",
                "add",
                "#[inline]\nfn add() {\n    // one\n}",
            ),
            (
                Language::TypeScript,
                "/** Adds.\n * @x\n */\n@a()\nexport class Q {\n  /** b */ b() { return 1 }\n}\n",
                "b",
                "b() { return 1 }\n}",
            ),
            (
                Language::TypeScript,
                "/** Adds.\n * @x\n */\n@a()\nexport class Q {\n  /** b */ b() { return 1 }\n}\n",
                "Q",
                "@a()\nexport class Q {",
            ),
            (
                Language::Java,
                "class A {\n  /** F. */\n  @Override\n  int f() { return 1; }\n}",
                "f",
                "@Override\n  int f() { return 1; }\n}",
            ),
            (Language::Go, "package p\n\n// F is.\n// Two.\nfunc F() {}\n", "F", "func F() {}"),
            (
                Language::Elixir,
                "defmodule M do\n  @moduledoc \"\"\"\n  About.\n  \"\"\"\n  @doc \"Adds.\"\n  @spec f(a) :: b\n  # Why.\n  def f(a), do: a\nend\n",
                "f",
                "@spec f(a) :: b\n  def f(a), do: a\nend",
            ),
            (
                Language::Elixir,
                "defmodule M do\n  @moduledoc \"About.\"\n  @doc \"Adds.\"\n  def f(a), do: a\nend\n",
                "M",
                "defmodule M do",
            ),
        ] {
            assert_eq!(bare(text, language, name), expected, "{language:?} {name}");
        }
    }

    #[test]
    fn files_without_documentation_keep_their_lines_and_parse() {
        let blanked = blank_docs(PYTHON, Language::Python);
        assert_eq!(blanked.lines().count(), PYTHON.lines().count());
        for doc in ["Reads it", "Whole", "A part", "A class", "Nothing", "Short"] {
            assert!(!blanked.contains(doc), "{doc}: {blanked}");
        }
        assert_eq!(blanked.matches("pass").count(), 2, "{blanked}");
        assert!(blanked.contains("# here") && !parse(&blanked, Language::Python).unwrap().root_node().has_error());
        let names = |text: &str| -> Vec<(Option<String>, usize)> {
            let chunks = chunk(text, Some(Language::Python), &Options::default());
            chunks.into_iter().map(|chunk| (chunk.name, chunk.end_line)).collect()
        };
        assert_eq!(names(&blanked).len(), names(PYTHON).len());
        let rust = "/// A.\r\n///\r\n/// B.\r\npub fn f() {}\r\n\r\n/* C\r\nD */ fn g() {}\r\n";
        let blanked = blank_docs(rust, Language::Rust);
        assert_eq!(blanked.replace([' '], ""), "\r\n\r\n\r\npubfnf(){}\r\n\r\n\r\nfng(){}\r\n");
        assert_eq!(blank_docs("# T\n", Language::Markdown), "# T\n");
    }

    #[test]
    fn names_are_blanked_as_whole_identifiers() {
        for (source, name, expected) in [
            (
                "def read(path): reader = read_all(); return self.read(read)",
                "read",
                "def _(path): reader = read_all(); return self._(_)",
            ),
            ("exports.parse = parse$1", "module.exports.parse", "exports._ = parse$1"),
            ("impl fmt::Display for Point {}", "fmt::Display for Point", "impl fmt::Display for _ {}"),
            ("aaa aa a", "a", "aaa aa _"),
            ("x", "", "x"),
            ("é = éa", "é", "_ = éa"),
        ] {
            assert_eq!(blank_name(source, name), expected);
        }
    }
}
