#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// The promise of this crate: in order, no overlap, nothing but white space between.
fn covers(text: &str, chunks: &[Chunk]) {
    let (mut at, mut line) = (if text.starts_with('\u{feff}') { 3 } else { 0 }, 1);
    let newlines = |range: Range<usize>| text.as_bytes()[range].iter().filter(|byte| **byte == b'\n').count();
    for chunk in chunks {
        assert!(chunk.range.start >= at && chunk.range.end > chunk.range.start, "{:?} after {at}", chunk.range);
        assert!(text[at..chunk.range.start].trim().is_empty(), "lost: {:?}", &text[at..chunk.range.start]);
        let start_line = line + newlines(at..chunk.range.start);
        let end_line = start_line + newlines(chunk.range.start..chunk.range.end - 1);
        assert_eq!((chunk.start_line, chunk.end_line), (start_line, end_line));
        (at, line) = (chunk.range.end, end_line + newlines(chunk.range.end - 1..chunk.range.end));
    }
    assert!(text[at..].trim().is_empty(), "lost: {:?}", &text[at..]);
}

/// One line a chunk: kind, name, lines, what it lies in, documentation.
fn outline(text: &str, language: Language) -> Vec<String> {
    let chunks = chunk(text, Some(language), &Options::default());
    covers(text, &chunks);
    let line = |chunk: &Chunk| {
        let inside = chunk.inside.join(".");
        let name = chunk.name.as_deref().unwrap_or("-");
        let at = if inside.is_empty() { String::new() } else { format!(" in {inside}") };
        let doc = chunk.doc.as_ref().map(|doc| format!(" \"{}\"", doc.replace('\n', "|"))).unwrap_or_default();
        format!("{:?} {name}{at} {}-{}{doc}", chunk.kind, chunk.start_line, chunk.end_line)
    };
    chunks.iter().map(line).collect()
}

#[test]
fn typescript() {
    let text = r#"import { x } from './x'

/** Adds two numbers. */
export function add(a: number, b: number): number {
  return a + b
}

export const retry = async <T>(work: () => Promise<T>): Promise<T> => {
  return work()
}

// A queue.
@sealed
export class Queue<T> extends Base {
  #items: T[] = []

  /** Puts one in. */
  push(item: T): void { this.#items.push(item) } // at the end

  handler = (event: Event) => { this.push(event as T) }
}

interface Options { top: number }
type Name = string
enum Color { Red, Green }
module.exports.old = function () { return 1 }
namespace N { export function inner() {} }
"#;
    let expected = [
        "Block - 1-1",
        "Function add 3-6 \"Adds two numbers.\"",
        "Function retry 8-10",
        "Class Queue 12-15 \"A queue.\"",
        "Method push in Queue 17-18 \"Puts one in.\"",
        "Method handler in Queue 20-21",
        "Interface Options 23-23",
        "Type Name 24-24",
        "Enum Color 25-25",
        "Function module.exports.old 26-26",
        "Module N 27-27",
        "Function inner in N 27-27",
    ];
    assert_eq!(outline(text, Language::TypeScript), expected);
    assert_eq!(outline(text, Language::Tsx), expected);
    let signature = |name: &str| {
        let chunks = chunk(text, Some(Language::TypeScript), &Options::default());
        chunks.into_iter().find(|chunk| chunk.name.as_deref() == Some(name)).unwrap().signature.unwrap()
    };
    assert_eq!(signature("add"), "export function add(a: number, b: number): number");
    assert_eq!(signature("retry"), "export const retry = async <T>(work: () => Promise<T>): Promise<T>");
    assert_eq!(signature("push"), "push(item: T): void");
}

#[test]
fn javascript() {
    let text = "'use strict'\nclass A {\n  get x() { return 1 }\n}\nexports.f = (a) => a\nlet g = function () {}\n";
    let expected = ["Block - 1-1", "Class A 2-2", "Method x in A 3-4", "Function exports.f 5-5", "Function g 6-6"];
    assert_eq!(outline(text, Language::JavaScript), expected);
}

#[test]
fn javascript_without_classes() {
    let text = r#"var Map = Evented.extend({
  // The zoom.
  zoom: 1,

  /** Moves it. */
  move: function (x) {
    this.x = x
  },
  stop() {},
})

const add = curry(function add(a, b) { return a + b })
const short = { a: () => 1 }
qx.Class.define("qx.Object", {
  members: {
    /** Says it. */
    say() { return 1 }
  }
})
module.exports = { run() {} }
describe('x', () => { it('y', () => {}) })
"#;
    let expected = [
        "Class Map 1-3",
        "Method move in Map 5-8 \"Moves it.\"",
        "Method stop in Map 9-10",
        "Function add 12-12",
        "Block - 13-13",
        "Class qx.Object 14-14",
        "Class members in qx.Object 15-15",
        "Method say in qx.Object.members 16-19 \"Says it.\"",
        "Class module.exports 20-20",
        "Method run in module.exports 20-20",
        "Block - 21-21",
    ];
    assert_eq!(outline(text, Language::JavaScript), expected);
    for (open, close) in [
        (";(function (root) {", "}.call(this));"),
        ("!function () {", "}()"),
        ("(() => {", "})()"),
        ("sap.ui.define(['a'], function (A) {", "});"),
        ("(function (f) { f() })(this, function () {", "})"),
    ] {
        let text = format!("{open}\n  'use strict'\n\n  /** Adds. */\n  function add() {{}}\n{close}\n");
        let expected = ["Block - 1-2", "Function add 4-6 \"Adds.\""];
        assert_eq!(outline(&text, Language::JavaScript), expected, "{text}");
    }
}

#[test]
fn python() {
    let text = r#"#!/usr/bin/env python
"""The module."""
import os

# Reads it.
@cache
def read(path: str) -> bytes:
    """Read a file.

    Whole.
    """
    return open(path).read()

class A(Base):
    '''A class.'''
    x = 1

    def f(self):
        return 1

    async def g(self): ...

if __name__ == '__main__':
    read('x')
"#;
    let expected = [
        "Block - 1-3",
        "Function read 5-12 \"Reads it.\"",
        "Class A 14-16 \"A class.\"",
        "Method f in A 18-19",
        "Method g in A 21-21",
        "Block - 23-24",
    ];
    assert_eq!(outline(text, Language::Python), expected);
    let chunks = chunk(text, Some(Language::Python), &Options::default());
    assert_eq!(chunks[1].signature.as_deref(), Some("def read(path: str) -> bytes"));
    let template = Template { name_repeats: 2 };
    assert_eq!(chunks[3].embed_text(text, &template), "A f f\ndef f(self)\ndef f(self):\n        return 1");
}

#[test]
fn rust() {
    let text = r#"//! The crate.

use std::fmt;

/// A point.
#[derive(Debug)]
pub struct Point { x: i32 }

impl fmt::Display for Point {
    /// Shows it.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Ok(())
    }
}

pub trait Shape {
    fn area(&self) -> f64;
}

macro_rules! m { () => {} }
pub(crate) async fn run<T: Send>(t: T) -> T { t }
#[cfg(test)]
mod tests {
    #[test]
    fn works() {}
}
"#;
    let expected = [
        "Block - 1-3",
        "Class Point 5-7 \"A point.\"",
        "Implementation fmt::Display for Point 9-9",
        "Method fmt in fmt::Display for Point 10-14 \"Shows it.\"",
        "Interface Shape 16-16",
        "Method area in Shape 17-18",
        "Macro m 20-20",
        "Function run 21-21",
        "Module tests 22-23",
        "Function works in tests 24-26",
    ];
    assert_eq!(outline(text, Language::Rust), expected);
}

#[test]
fn go_and_java() {
    let go = "package p\n\n// Add adds.\nfunc Add(a, b int) int { return a + b }\n\ntype T struct{ x int }\n\nfunc (t *T) M() {}\n";
    let expected = ["Block - 1-1", "Function Add 3-4 \"Add adds.\"", "Type T 6-6", "Method M 8-8"];
    assert_eq!(outline(go, Language::Go), expected);
    let java = "package p;\n\n/** A. */\npublic class A {\n  int x;\n  A() {}\n  @Override\n  public int f() { return x; }\n  enum E { X; void g() {} }\n}\nrecord R(int a) {}\n";
    let expected = [
        "Block - 1-1",
        "Class A 3-5 \"A.\"",
        "Method A in A 6-6",
        "Method f in A 7-8",
        "Enum E in A 9-9",
        "Method g in A.E 9-10",
        "Class R 11-11",
    ];
    assert_eq!(outline(java, Language::Java), expected);
}

#[test]
fn c_and_cpp() {
    let c = "#include <x.h>\n\n/* Adds. */\nstatic int *add(int a, int b)\n{\n  return 0;\n}\n\ntypedef struct { int x; } point;\nstruct s { int y; };\n#ifdef X\nvoid f(void) {}\n#endif\n#define M(a) a\n";
    let expected = [
        "Block - 1-1",
        "Function add 3-7 \"Adds.\"",
        "Type point 9-9",
        "Class s 10-10",
        "Block - 11-11",
        "Function f 12-13",
        "Macro M 14-14",
    ];
    assert_eq!(outline(c, Language::C), expected);
    let cpp = "namespace n {\ntemplate <class T>\nclass A {\n public:\n  // Gets.\n  T get() const { return x; }\n};\nint A<int>::f(int x) { return x; }\n}\n";
    let expected =
        ["Module n 1-1", "Class A in n 2-4", "Method get in n.A 5-7 \"Gets.\"", "Function A<int>::f in n 8-9"];
    assert_eq!(outline(cpp, Language::Cpp), expected);
}

#[test]
fn csharp_and_php() {
    let cs = "using X;\nnamespace N\n{\n    /// <summary>A.</summary>\n    public class A\n    {\n        public A() {}\n        public int F(int x) => x;\n    }\n}\n";
    let expected = [
        "Block - 1-1",
        "Module N 2-3",
        "Class A in N 4-6 \"<summary>A.</summary>\"",
        "Method A in N.A 7-7",
        "Method F in N.A 8-10",
    ];
    assert_eq!(outline(cs, Language::CSharp), expected);
    let php = "<?php\nnamespace N;\n\n/** Adds. */\nfunction add($a) { return $a; }\n\nclass A {\n    public function f() {}\n}\n";
    let expected = ["Block - 1-2", "Function add 4-5 \"Adds.\"", "Class A 7-7", "Method f in A 8-9"];
    assert_eq!(outline(php, Language::Php), expected);
}

#[test]
fn ruby_elixir_and_bash() {
    let ruby = "require 'x'\n\nmodule M\n  # A.\n  class A < B\n    def f(x)\n      x\n    end\n\n    def self.g; end\n  end\nend\n";
    let expected =
        ["Block - 1-1", "Module M 3-3", "Class A in M 4-5 \"A.\"", "Method f in M.A 6-8", "Method g in M.A 10-12"];
    assert_eq!(outline(ruby, Language::Ruby), expected);
    let elixir = "defmodule M.N do\n  @moduledoc \"M\"\n\n  @doc \"Adds.\"\n  @spec add(a, b) :: c\n  def add(a, b) when a > 0 do\n    a + b\n  end\n\n  defp sub(a), do: a\nend\n";
    let expected = ["Module M.N 1-2 \"M\"", "Function add in M.N 4-8 \"Adds.\"", "Function sub in M.N 10-11"];
    assert_eq!(outline(elixir, Language::Elixir), expected);
    let bash = "#!/bin/bash\nset -e\n\n# Says it.\nsay() {\n  echo \"$1\"\n}\n\nsay hello\n";
    let expected = ["Block - 1-2", "Function say 4-7 \"Says it.\"", "Block - 9-9"];
    assert_eq!(outline(bash, Language::Bash), expected);
}

#[test]
fn markdown_by_headings() {
    let text = "Intro.\n\n# One\n\ntext\n\n```\n# not a heading\n```\n\n## Two `x`\nmore\n\nThree\n=====\n";
    let expected = ["Block - 1-1", "Section One 3-9", "Section Two x in One 11-12", "Section Three 14-15"];
    assert_eq!(outline(text, Language::Markdown), expected);
}

#[test]
fn what_is_too_large_is_cut_between_statements() {
    let statements: Vec<String> =
        (0..40).map(|i| format!("  const value{i} = compute({i}, 'a string; with {{ signs')")).collect();
    let text = format!("function large() {{\n{}\n}}\n", statements.join("\n"));
    let options = Options { max_bytes: 500 };
    let chunks = chunk(&text, Some(Language::TypeScript), &options);
    covers(&text, &chunks);
    assert!(chunks.len() > 4 && chunks.iter().all(|chunk| chunk.range.len() <= 500));
    for part in &chunks[1..] {
        assert!(text[part.range.clone()].starts_with("const value"), "{:?}", &text[part.range.clone()]);
        assert_eq!((part.name.as_deref(), part.continued), (Some("large"), true));
        assert!(part.embed_text(&text, &Template { name_repeats: 1 }).starts_with("large\nfunction large()\nconst"));
    }
}

#[test]
fn a_minified_line_is_cut_between_tokens() {
    let text: String = (0..20_000).map(|i| format!("function f{i}(a){{return a+'x y {i}'}};")).collect();
    let text = format!("!function(){{{text}}}()");
    let chunks = chunk(&text, Some(Language::JavaScript), &Options::default());
    covers(&text, &chunks);
    assert!(chunks.iter().all(|chunk| chunk.range.len() <= DEFAULT_MAX_BYTES));
    assert!(chunks[1..].iter().all(|chunk| text[chunk.range.clone()].starts_with("function")));
    // One token is never cut, however long.
    let text = format!("x = '{}'; y = 1", "long ".repeat(1000));
    let chunks = chunk(&text, Some(Language::JavaScript), &Options::default());
    covers(&text, &chunks);
    assert!(chunks.iter().any(|chunk| chunk.range.len() > 5000));
}

#[test]
fn other_texts_are_cut_at_empty_lines() {
    let paragraph = "Some words that make up a line of text.\n".repeat(10);
    let text = [paragraph.as_str(); 12].join("\n");
    let chunks = chunk(&text, None, &Options { max_bytes: 1000 });
    covers(&text, &chunks);
    assert_eq!(chunks.len(), 6);
    assert!(chunks.iter().all(|chunk| chunk.kind == Kind::Block && chunk.range.len() < 1000));
    assert!(chunk("", None, &Options::default()).is_empty());
    assert!(chunk(" \n\t\n", Some(Language::Python), &Options::default()).is_empty());
    // Words that never end.
    let text = "x".repeat(10_000);
    let chunks = chunk(&text, None, &Options { max_bytes: 1000 });
    covers(&text, &chunks);
}

fn any_language() -> impl Strategy<Value = Option<Language>> {
    proptest::option::of(proptest::sample::select(Language::all().collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_covered(text in "(?s).{0,400}", language in any_language(), max_bytes in 1_usize..200) {
        covers(&text, &chunk(&text, language, &Options { max_bytes }));
    }

    #[test]
    fn any_heap_of_tokens_is_covered(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "def ", "class A", "function f", "(", ")", "{", "}", "\n", "\n\n", "# ", "//", "/*", "*/", "\"", "'", "`",
            "end\n", "fn ", "impl ", "é🦀", ";", ":", "=>", "@doc ", "template<", "namespace ", "do\n", "  ", "\t",
            "export ", "const x = ", "if ", "return 1", "```\n", "<?php ", "#endif\n", "\r\n",
        ]), 0..80),
        language in any_language(),
        max_bytes in 1_usize..100,
    ) {
        let text: String = words.concat();
        covers(&text, &chunk(&text, language, &Options { max_bytes }));
    }
}

#[test]
fn no_grammar_crashes_on_any_character_or_depth() {
    for language in Language::all() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..100 {
            let text = "(?s).{0,400}".new_tree(&mut runner).unwrap().current();
            covers(&text, &chunk(&text, Some(language), &Options { max_bytes: 50 }));
        }
        for open in ["(", "{", "[", "class A {", "if (x) {", "def f(\n", "a = ", "#"] {
            let text = open.repeat(500);
            covers(&text, &chunk(&text, Some(language), &Options::default()));
        }
    }
}
