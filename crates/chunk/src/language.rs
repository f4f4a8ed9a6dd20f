//! The languages that are cut by their grammar, and how files tell theirs.

use embedding_engine_grammars as grammars;
use serde::{Deserialize, Serialize};

/// A language that is cut by its grammar, or by its headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Bash and other shells.
    Bash,
    /// C.
    C,
    /// C++.
    Cpp,
    /// C#.
    CSharp,
    /// Elixir.
    Elixir,
    /// Go.
    Go,
    /// Java.
    Java,
    /// JavaScript, with JSX.
    JavaScript,
    /// Markdown, by headings.
    Markdown,
    /// PHP.
    Php,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// Rust.
    Rust,
    /// TypeScript with JSX.
    Tsx,
    /// TypeScript.
    TypeScript,
}

/// Each language with its names (the first is what it is called) and the ends of its files.
const LANGUAGES: [(Language, &[&str], &[&str]); 15] = [
    (Language::Bash, &["bash", "sh", "shell", "zsh"], &["sh", "bash", "zsh", "ksh"]),
    (Language::C, &["c"], &["c", "h"]),
    (Language::Cpp, &["cpp", "c++", "cxx"], &["cc", "cpp", "cxx", "hpp", "hh", "hxx", "inl", "cu", "cuh"]),
    (Language::CSharp, &["csharp", "c#", "cs"], &["cs"]),
    (Language::Elixir, &["elixir"], &["ex", "exs"]),
    (Language::Go, &["go", "golang"], &["go"]),
    (Language::Java, &["java"], &["java"]),
    (Language::JavaScript, &["javascript", "js", "jsx"], &["js", "jsx", "mjs", "cjs"]),
    (Language::Markdown, &["markdown", "md"], &["md", "markdown", "mdx"]),
    (Language::Php, &["php"], &["php", "phtml"]),
    (Language::Python, &["python", "py"], &["py", "pyi", "pyw"]),
    (Language::Ruby, &["ruby", "rb"], &["rb", "rake", "gemspec"]),
    (Language::Rust, &["rust", "rs"], &["rs"]),
    (Language::Tsx, &["tsx"], &["tsx"]),
    (Language::TypeScript, &["typescript", "ts"], &["ts", "mts", "cts"]),
];

impl Language {
    /// Every language.
    pub fn all() -> impl Iterator<Item = Language> {
        LANGUAGES.iter().map(|(language, ..)| *language)
    }

    /// What it is called in results, such as `typescript`.
    pub fn name(self) -> &'static str {
        LANGUAGES.iter().find(|(language, ..)| *language == self).map_or("", |(_, names, _)| names[0])
    }

    /// The language of this name or short name; case does not count.
    pub fn by_name(name: &str) -> Option<Language> {
        let found = LANGUAGES.iter().find(|(_, names, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
        found.map(|(language, ..)| *language)
    }

    /// The language of a file, by the end of its name.
    pub fn by_path(path: &str) -> Option<Language> {
        let name = path.rsplit(['/', '\\']).next()?;
        let (stem, end) = name.rsplit_once('.')?;
        if stem.is_empty() {
            return None;
        }
        let found = LANGUAGES.iter().find(|(_, _, ends)| ends.iter().any(|known| known.eq_ignore_ascii_case(end)));
        found.map(|(language, ..)| *language)
    }

    /// Its grammar; `None` for Markdown.
    pub(crate) fn grammar(self) -> Option<tree_sitter::Language> {
        let grammar = match self {
            Language::Bash => &grammars::BASH,
            Language::C => &grammars::C,
            Language::Cpp => &grammars::CPP,
            Language::CSharp => &grammars::C_SHARP,
            Language::Elixir => &grammars::ELIXIR,
            Language::Go => &grammars::GO,
            Language::Java => &grammars::JAVA,
            Language::JavaScript => &grammars::JAVASCRIPT,
            Language::Markdown => return None,
            Language::Php => &grammars::PHP,
            Language::Python => &grammars::PYTHON,
            Language::Ruby => &grammars::RUBY,
            Language::Rust => &grammars::RUST,
            Language::Tsx => &grammars::TSX,
            Language::TypeScript => &grammars::TYPESCRIPT,
        };
        Some(grammar.language())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        for language in Language::all() {
            assert_eq!(Language::by_name(language.name()), Some(language));
            assert_eq!(serde_name(language), language.name());
        }
        for (path, expected) in [
            ("src/a.ts", Some("typescript")),
            ("a.D.TS", Some("typescript")),
            (r"b\x.tsx", Some("tsx")),
            ("x.test.mjs", Some("javascript")),
            ("README.md", Some("markdown")),
            ("Makefile", None),
            (".py", None),
            ("a.txt", None),
            ("", None),
        ] {
            assert_eq!(Language::by_path(path).map(Language::name), expected, "{path}");
        }
        assert_eq!(Language::by_name("C++"), Some(Language::Cpp));
        assert_eq!(Language::by_name("cobol"), None);
    }

    fn serde_name(language: Language) -> String {
        format!("{language:?}").to_lowercase()
    }
}
