//! The pairs that a package offers, before any choice among them.

use embedding_engine_chunk::{
    Chunk, FileOptions, Files, Found, Kind, Language, Options, chunk, cut_to_lines, query_of_doc,
};

use super::{Pair, Source, language_name};

/// So much of a unit is taken together before its documentation is removed: a long docstring must not push the code
/// out.
const UNIT_BYTES: usize = 1 << 16;

/// As much of a unit's code as is kept, in bytes.
const CODE_BYTES: usize = 4000;

/// A body has so many lines, or so many words and numbers.
const MIN_LINES: usize = 3;
const MIN_TOKENS: usize = 10;

/// What a package offers, in the order of its files.
pub(super) fn pairs(source: &Source) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for root in &source.roots {
        // Without patterns there is nothing that could be wrong with them.
        let Ok(files) = Files::new(root, &FileOptions::default()) else { continue };
        for found in files {
            if let Found::Text { path, text, .. } = found {
                pairs.extend(of_text(source, &path, &text));
            }
        }
    }
    pairs
}

fn of_text(source: &Source, path: &str, text: &str) -> Vec<Pair> {
    let Some(language) = Language::by_path(path).filter(|language| is_source(path, *language)) else {
        return Vec::new();
    };
    let chunks = chunk(text, Some(language), &Options { max_bytes: UNIT_BYTES });
    chunks.iter().filter_map(|chunk| pair(source, path, language, text, chunk)).collect()
}

fn pair(source: &Source, path: &str, language: Language, text: &str, chunk: &Chunk) -> Option<Pair> {
    if chunk.continued || matches!(chunk.kind, Kind::Block | Kind::Section) {
        return None;
    }
    let name = chunk.name.as_deref()?;
    let is_test = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("test_") || matches!(name.as_str(), "test" | "tests")
    };
    if is_test(name)
        || chunk.inside.iter().any(|name| is_test(name) || name.ends_with("Test") || name.ends_with("TestCase"))
    {
        return None;
    }
    let query = query_of_doc(chunk.doc.as_deref()?)?;
    let signature = chunk.signature.as_deref().unwrap_or_default();
    let code = cut_to_lines(&chunk.without_docs(text), CODE_BYTES).to_owned();
    if !has_body(&code, signature) {
        return None;
    }
    // It would give itself away.
    let says = |text: &str| normalised(text).contains(&query);
    if says(signature) || says(&code) {
        return None;
    }
    Some(Pair {
        package: source.name.clone(),
        registry: source.registry.clone(),
        language: language_name(language),
        path: path.to_owned(),
        name: name.to_owned(),
        inside: chunk.inside.clone(),
        signature: signature.to_owned(),
        query,
        code,
    })
}

fn has_body(code: &str, signature: &str) -> bool {
    let lines = code.lines().filter(|line| line.chars().any(char::is_alphanumeric)).count();
    let own = tokens(code).saturating_sub(tokens(signature));
    // A signature over several lines is one of no body.
    own >= MIN_TOKENS || own > 3 && lines > MIN_LINES
}

fn tokens(text: &str) -> usize {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
}

/// With one space in place of all white space.
pub(super) fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a file is source that people read: no test, no declarations without bodies, no bundle.
fn is_source(path: &str, language: Language) -> bool {
    if language == Language::Markdown {
        return false;
    }
    let path = path.to_ascii_lowercase();
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", &path));
    let passed_by = |folder: &str| {
        matches!(
            folder,
            "test"
                | "tests"
                | "testing"
                | "__tests__"
                | "spec"
                | "specs"
                | "testsuite"
                | "testdata"
                | "test-utils"
                | "bench"
                | "benches"
                | "benchmark"
                | "benchmarks"
                | "fixtures"
                | "__mocks__"
                | "mocks"
                | "_vendor"
                | "externals"
                | "extern"
                | "min"
                | "umd"
                | "bundles"
                | "deps"
                | "generated"
        ) || folder.ends_with("_tests")
            || folder.ends_with(".dist-info")
    };
    let is_test = file.starts_with("test_")
        || ["_test.", "_tests.", ".test.", ".spec.", "-test."].iter().any(|part| file.contains(part))
        || matches!(file, "tests.rs" | "test.rs" | "conftest.py" | "tests.py" | "test.py" | "test.js" | "test.ts");
    let no_bodies = [".d.ts", ".d.mts", ".d.cts", ".pyi"].iter().any(|end| file.ends_with(end));
    !(is_test || no_bodies || folders.split('/').any(passed_by))
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::*;

    fn pairs_of(path: &str, text: &str) -> Vec<Pair> {
        let source = Source {
            name: "p".to_owned(),
            version: "1".to_owned(),
            registry: "npm".to_owned(),
            license: "MIT".to_owned(),
            split: Split::Train,
            roots: Vec::new(),
        };
        of_text(&source, path, text)
    }

    const PYTHON: &str = r#"
class Reader:
    """Reads whole files, one after another."""

    def __init__(self, path, encoding, errors, size, mode, buffer):
        self.path = path

    def read(self, path):
        """Read a file with all of its lines.

        Args:
            path: where it is
        """
        with open(path) as file:
            lines = [line.strip() for line in file]
        return lines

    def abstract(self):
        """Must be written by those who derive."""
        raise NotImplementedError

    def undocumented(self, a, b):
        return a + b + self.path + a + b + self.path
"#;

    #[test]
    fn units_with_documentation_and_a_body() {
        let pairs = pairs_of("src/a.py", PYTHON);
        let [read] = pairs.as_slice() else { panic!("{pairs:?}") };
        assert_eq!((read.name.as_str(), read.inside.as_slice()), ("read", ["Reader".to_owned()].as_slice()));
        assert_eq!(read.query, "Read a file with all of its lines.");
        assert_eq!(read.signature, "def read(self, path)");
        assert!(read.code.starts_with("def read(self, path):\n        with open") && !read.code.contains("Args"));
    }

    #[test]
    fn tests_and_declarations_are_no_source() {
        for path in ["tests/a.py", "src/test_a.py", "a.test.ts", "a.d.ts", "x/_vendor/a.py", "a.md", "a.txt"] {
            assert!(pairs_of(path, PYTHON).is_empty(), "{path}");
        }
        let rust = "mod tests {\n  /// Reads whole files, all of them.\n  fn read() {\n    a(1, 2, 3);\n    b(4, 5, 6);\n    c(7, 8, 9);\n  }\n}\n";
        assert!(pairs_of("a.rs", rust).is_empty());
        assert_eq!(pairs_of("a.rs", &rust.replace("tests", "files")).len(), 1);
    }

    #[test]
    fn long_units_are_cut_after_their_documentation() {
        let doc = "More about it, in many words.\n    ".repeat(200);
        let body = "    total = total + compute(total)\n".repeat(400);
        let text = format!("def f(total):\n    \"\"\"Sum up what is given.\n\n    {doc}\"\"\"\n{body}");
        let pairs = pairs_of("a.py", &text);
        assert!(pairs[0].code.starts_with("def f(total):\n    total = total"), "{}", &pairs[0].code[..80]);
        assert!(pairs[0].code.len() <= CODE_BYTES && pairs[0].code.len() > CODE_BYTES - 100);
        assert!(pairs[0].code.ends_with("compute(total)"));
    }
}
