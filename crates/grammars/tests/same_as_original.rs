//! Each grammar with its tables unpacked is the one of the crate that it comes from: in every state of the parser the
//! same symbols may follow, and lead to the same states; and texts, whole and broken, become the same trees.

#![allow(clippy::unwrap_used)] // a test may panic

use embedding_engine_grammars as grammars;
use tree_sitter::{Language, Parser};

/// Ours, the original, and a text without errors.
fn all() -> Vec<(&'static str, Language, Language, &'static str)> {
    vec![
        (
            "bash",
            grammars::BASH.language(),
            tree_sitter_bash::LANGUAGE.into(),
            "f() { for a in \"$@\"; do echo ${a%.x}; done; }\n",
        ),
        (
            "c",
            grammars::C.language(),
            tree_sitter_c::LANGUAGE.into(),
            "static int f(char *a) { return a[0] ? 1 : f(a + 1); }\n",
        ),
        (
            "c_sharp",
            grammars::C_SHARP.language(),
            tree_sitter_c_sharp::LANGUAGE.into(),
            "class A<T> where T : new() { int F(int a) => a + 1; string S { get; set; } = $\"{1}\"; }\n",
        ),
        (
            "cpp",
            grammars::CPP.language(),
            tree_sitter_cpp::LANGUAGE.into(),
            "template <class T> auto f(T &&a) -> int { return [&] { return a.size(); }(); }\n",
        ),
        (
            "elixir",
            grammars::ELIXIR.language(),
            tree_sitter_elixir::LANGUAGE.into(),
            "defmodule A do\n  @doc \"x\"\n  def f(a), do: a |> Enum.map(&(&1 + 1))\nend\n",
        ),
        (
            "go",
            grammars::GO.language(),
            tree_sitter_go::LANGUAGE.into(),
            "package a\nfunc (s *S) F(a []int) (int, error) { for _, x := range a { go s.g(x) }; return 1, nil }\n",
        ),
        (
            "java",
            grammars::JAVA.language(),
            tree_sitter_java::LANGUAGE.into(),
            "class A<T> { @B int f(T a) throws E { return switch (a) { case C c -> 1; default -> 2; }; } }\n",
        ),
        (
            "javascript",
            grammars::JAVASCRIPT.language(),
            tree_sitter_javascript::LANGUAGE.into(),
            "const f = async ({ a, ...b }) => <A b={`${a}`}>{/x/g.test(b)}</A>\n",
        ),
        (
            "php",
            grammars::PHP.language(),
            tree_sitter_php::LANGUAGE_PHP.into(),
            "<p><?php function f(?int $a): string { return match(true) { default => \"{$a}\" }; } ?></p>\n",
        ),
        (
            "python",
            grammars::PYTHON.language(),
            tree_sitter_python::LANGUAGE.into(),
            "@d\nasync def f(a: int = 1, *b):\n    \"\"\"x\"\"\"\n    return [f'{c!r}' for c in b if c]\n",
        ),
        (
            "ruby",
            grammars::RUBY.language(),
            tree_sitter_ruby::LANGUAGE.into(),
            "class A < B\n  def f(a, *b, &c) = b.map { |d| \"#{d}\" } unless a =~ /x/\nend\n",
        ),
        (
            "rust",
            grammars::RUST.language(),
            tree_sitter_rust::LANGUAGE.into(),
            "impl<'a, T: Fn(u8)> A<'a> for B { fn f(&mut self) -> Option<T> { match self { Self { a, .. } if *a => r#\"x\"#, _ => todo!() } } }\n",
        ),
        (
            "tsx",
            grammars::TSX.language(),
            tree_sitter_typescript::LANGUAGE_TSX.into(),
            "export const f = <T,>(a: T[]): JSX.Element => <A<T> b={a as T} />\n",
        ),
        (
            "typescript",
            grammars::TYPESCRIPT.language(),
            tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            "abstract class A<T extends keyof B> { private f?(a: T): asserts a is C; g = <D>this.f!(1) satisfies E }\n",
        ),
    ]
}

#[test]
fn same_tables() {
    for (name, ours, original, _) in all() {
        assert_eq!(ours.parse_state_count(), original.parse_state_count(), "{name}");
        assert_eq!(ours.node_kind_count(), original.node_kind_count(), "{name}");
        let mut entries = 0;
        for state in 0..u16::try_from(ours.parse_state_count()).unwrap() {
            let follow = |language: &Language| -> Vec<(u16, u16)> {
                let symbols = language.lookahead_iterator(state).unwrap();
                symbols.map(|symbol| (symbol, language.next_state(state, symbol))).collect()
            };
            let expected = follow(&original);
            assert_eq!(follow(&ours), expected, "{name}, state {state}");
            entries += expected.len();
        }
        assert!(entries > 10_000, "{name} has only {entries} entries");
    }
}

#[test]
fn same_trees() {
    for (name, ours, original, text) in all() {
        let tree = |language: &Language, text: &str| {
            let mut parser = Parser::new();
            parser.set_language(language).unwrap();
            let tree = parser.parse(text, None).unwrap();
            (tree.root_node().has_error(), tree.root_node().to_sexp())
        };
        let (has_error, expected) = tree(&original, text);
        assert!(!has_error, "{name}: the test's own text is wrong: {expected}");
        assert_eq!(tree(&ours, text).1, expected, "{name}");
        // Cut anywhere, it needs the parser's recovery.
        for end in (0..text.len()).step_by(3).filter(|end| text.is_char_boundary(*end)) {
            assert_eq!(tree(&ours, &text[..end]), tree(&original, &text[..end]), "{name}, first {end} bytes");
        }
    }
}
