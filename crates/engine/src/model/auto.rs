//! `model: 'auto'`: code or prose, once for all texts of a call.

/// How many texts are looked at, and how much of each: enough to tell, little enough to be free.
const TEXTS: usize = 64;
const CHARS: usize = 4096;

/// What `model: 'auto'` means for these texts: the alias `code` or `text`, once for all of them.
///
/// Each text is judged by signs that only one of the two has, such as braces or sentences; most texts
/// decide, a draw is `text`. Deterministic: the same texts in any order give the same answer, as long as
/// there are at most 64.
pub fn choose_auto<'a>(texts: impl Iterator<Item = &'a str>) -> &'static str {
    let (mut code, mut prose) = (0, 0);
    for text in texts.filter(|text| !text.trim().is_empty()).take(TEXTS) {
        if looks_like_code(text) { code += 1 } else { prose += 1 }
    }
    if code > prose { "code" } else { "text" }
}

/// Whether a text is source code rather than prose about anything, code included.
///
/// Signs of code, each weighted by how rarely prose shows it: lines that end in `{`, `}`, `;`, `)` or
/// `:`, or are indented; lines that begin with a keyword of a programming language; operators; names in
/// snake_case or camelCase; calls. Signs of prose: sentence ends, and words that programs do not have.
fn looks_like_code(text: &str) -> bool {
    let end = text.char_indices().nth(CHARS).map_or(text.len(), |(index, _)| index);
    let text = &text[..end];
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return false;
    }
    let line_score: f64 = lines.iter().map(|line| score_line(line)).sum::<f64>() / lines.len() as f64;
    line_score > 0.0
}

fn score_line(line: &str) -> f64 {
    const KEYWORDS: [&str; 45] = [
        "def ",
        "class ",
        "import ",
        "from ",
        "return ",
        "return;",
        "func ",
        "fn ",
        "pub ",
        "let ",
        "const ",
        "var ",
        "function ",
        "async ",
        "await ",
        "public ",
        "private ",
        "protected ",
        "static ",
        "void ",
        "int ",
        "if (",
        "if(",
        "for (",
        "for(",
        "while (",
        "while(",
        "switch ",
        "case ",
        "else:",
        "elif ",
        "else {",
        "} else",
        "try:",
        "except ",
        "try {",
        "catch ",
        "#include",
        "#define",
        "package ",
        "use ",
        "struct ",
        "enum ",
        "impl ",
        "export ",
    ];
    const SQL: [&str; 8] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "ALTER ", "FROM ", "WHERE "];
    const OPERATORS: [&str; 22] = [
        "=>", "->", "::", "==", "!=", "+=", "-=", "&&", "||", "();", "()", "{}", "[]", "</", "/>", "//", "/*", "*/",
        " = ", "):", "<=", "++",
    ];
    const PROSE: [&str; 24] = [
        "the", "a", "an", "of", "to", "and", "that", "this", "with", "was", "are", "how", "what", "where", "which",
        "you", "we", "it", "they", "der", "die", "und", "les", "que",
    ];
    let trimmed = line.trim();
    let mut score = 0.0;
    if line.starts_with(['\t']) || line.starts_with("  ") {
        score += 0.5;
    }
    score += match trimmed.chars().last() {
        Some('{' | '}' | ';') => 2.0,
        Some(')' | ':' | ',' | ']') => 0.5,
        Some('.' | '?' | '!' | '。' | '？' | '！') => -1.5,
        _ => 0.0,
    };
    if KEYWORDS.iter().any(|word| trimmed.starts_with(word)) {
        // Many of them begin sentences as well; a sentence has other signs.
        score += 1.0;
    }
    if SQL.iter().any(|word| trimmed.starts_with(word)) {
        score += 3.0;
    }
    let operators = OPERATORS.iter().filter(|operator| trimmed.contains(**operator)).count();
    score += 1.0 * operators.min(4) as f64;

    let (mut words, mut plain, mut names, mut calls) = (0usize, 0usize, 0usize, 0usize);
    for word in trimmed.split_whitespace() {
        words += 1;
        if is_name(word) {
            names += 1;
        }
        if word.find('(').is_some_and(|at| at > 0 && word.as_bytes()[at - 1].is_ascii_alphanumeric()) {
            calls += 1;
        }
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
        if PROSE.contains(&bare.as_str()) {
            plain += 1;
        }
    }
    score += 0.7 * names.min(3) as f64 + 0.7 * calls.min(3) as f64 - 0.8 * plain.min(6) as f64;
    // A long line of words with nothing else is prose in any language.
    if words >= 6 && operators == 0 && names == 0 && calls == 0 {
        score -= 1.0;
    }
    score - 0.2
}

/// snake_case, camelCase, or a path of names such as `a.b.c`.
fn is_name(word: &str) -> bool {
    let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let bytes = inner.as_bytes();
    bytes.windows(3).any(|three| {
        let [before, middle, after] = [three[0], three[1], three[2]];
        (before.is_ascii_lowercase() && middle.is_ascii_uppercase() && after.is_ascii_lowercase())
            || (before.is_ascii_alphanumeric() && matches!(middle, b'_' | b'.') && after.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &[&str] = &[
        "def add(a, b):\n    return a + b",
        "fn main() {\n    println!(\"hello\");\n}",
        "const x = await fetch(url)",
        "public class Foo {\n    private int bar;\n    public int getBar() { return bar; }\n}",
        "SELECT id, name FROM users WHERE age > 18",
        "import numpy as np\nimport os",
        "for (int i = 0; i < n; i++) sum += a[i];",
        "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(\"hi\")\n}",
        "<div class=\"a\"><span>hello</span></div>",
        "#include <stdio.h>\nint main(void) { return 0; }",
        "let total = items.iter().map(|item| item.price).sum::<f64>();",
        "if not self.cache.get(key):\n    raise KeyError(key)",
        "module.exports = { parse, format }",
        "type Point = { x: number; y: number }",
    ];

    const PROSE: &[&str] = &[
        "The quick brown fox jumps over the lazy dog.",
        "How to define a function in Java",
        "where are retries handled",
        "Represent the query for retrieving evidence documents",
        "What is the capital of France?",
        "Es war einmal ein Mädchen, das alle Leute lieb hatten.",
        "用于检索的文本嵌入模型。",
        "Dear Sir or Madam,\n\nI am writing to you about the invoice of last month (number 1234).\n\nYours, A. B.",
        "Return the book to the library before Friday.",
        "From the beginning, it was clear that this would be hard; nobody believed it.",
        "- milk\n- eggs\n- bread",
        "In this paper we present a new method for training embedding models with hard negatives.",
        "hello",
        "For example, a user may import data and then export it again.",
    ];

    #[test]
    fn tells_code_from_prose() {
        for text in CODE {
            assert_eq!(choose_auto([*text].into_iter()), "code", "{text}");
        }
        for text in PROSE {
            assert_eq!(choose_auto([*text].into_iter()), "text", "{text}");
        }
    }

    #[test]
    fn most_texts_decide() {
        assert_eq!(choose_auto([CODE[0], PROSE[0], CODE[1]].into_iter()), "code");
        assert_eq!(choose_auto([CODE[0], PROSE[0], PROSE[1]].into_iter()), "text");
        assert_eq!(choose_auto([CODE[0], PROSE[0]].into_iter()), "text");
        assert_eq!(choose_auto([CODE[0], "  ", "\n"].into_iter()), "code");
        assert_eq!(choose_auto(std::iter::empty()), "text");
        let long = "x = 1;\n".repeat(1_000_000);
        assert_eq!(choose_auto([long.as_str()].into_iter()), "code");
    }
}
