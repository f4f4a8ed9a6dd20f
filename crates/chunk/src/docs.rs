//! What comments and docstrings say, without their signs.

use tree_sitter::Node;

use crate::language::Language;

/// As much of a documentation as is kept, in bytes.
const MAX_DOC: usize = 2000;

/// The words of the comments before a declaration; attributes among them are left out.
pub(crate) fn of_comments(comments: &str, language: Language) -> Option<String> {
    let mut lines = Vec::new();
    let mut block = false;
    for line in comments.lines().map(str::trim) {
        if block || line.starts_with("/*") {
            block = !line.contains("*/");
            let line = line.trim_start_matches("/*");
            let line = line.strip_suffix("*/").unwrap_or(line).trim_matches('*');
            lines.push(line.trim());
            continue;
        }
        let marked = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
            .or_else(|| line.strip_prefix("//"))
            .or_else(|| hash_comment(line, language));
        if let Some(text) = marked {
            lines.push(text.trim());
        }
    }
    if language == Language::Elixir {
        lines.extend(elixir_doc(comments).unwrap_or_default().lines().map(str::trim));
    }
    joined(&lines)
}

fn hash_comment(line: &str, language: Language) -> Option<&str> {
    let hashes =
        matches!(language, Language::Python | Language::Ruby | Language::Bash | Language::Elixir | Language::Php);
    // `#!` and PHP's `#[` are something else.
    line.strip_prefix('#').filter(|rest| hashes && !rest.starts_with(['!', '[']))
}

/// `@doc """…"""` or `@doc "…"`
fn elixir_doc(lead: &str) -> Option<&str> {
    let rest = lead.split_once("@doc ")?.1.trim_start_matches(['~', 'S', 's']);
    match rest.strip_prefix("\"\"\"") {
        Some(rest) => rest.split_once("\"\"\"").map(|(doc, _)| doc),
        None => rest.strip_prefix('"')?.split_once('"').map(|(doc, _)| doc),
    }
}

/// Python's docstring: the first statement of a body, if it is a string.
pub(crate) fn of_body(text: &str, language: Language, body: Option<Node<'_>>) -> Option<String> {
    if language != Language::Python {
        return None;
    }
    let first = body?.named_child(0)?;
    let string = if first.kind() == "expression_statement" { first.named_child(0)? } else { first };
    if string.kind() != "string" {
        return None;
    }
    let source = text.get(string.byte_range())?.trim_start_matches(['r', 'R', 'b', 'B', 'u', 'U', 'f', 'F']);
    let inner = source.trim_matches(['"', '\'']);
    joined(&inner.lines().map(str::trim).collect::<Vec<_>>())
}

fn joined(lines: &[&str]) -> Option<String> {
    let text = lines.join("\n");
    let text = text.trim();
    let mut end = text.len().min(MAX_DOC);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_lose_their_signs() {
        for (language, comments, expected) in [
            (Language::Rust, "/// Adds.\n///\n/// Two of them.\n#[inline]", Some("Adds.\n\nTwo of them.")),
            (Language::TypeScript, "/**\n * Adds.\n * @param a one\n */", Some("Adds.\n@param a one")),
            (Language::Java, "/** Adds. */", Some("Adds.")),
            (Language::Ruby, "# Adds.\n# More.", Some("Adds.\nMore.")),
            (Language::Bash, "#!/bin/sh", None),
            (Language::Php, "#[Attr]\n// Adds.", Some("Adds.")),
            (Language::Elixir, "@doc \"\"\"\n  Adds.\n  \"\"\"\n@spec add(a) :: b", Some("Adds.")),
            (Language::Rust, "#[inline]", None),
            (Language::C, "", None),
        ] {
            assert_eq!(of_comments(comments, language).as_deref(), expected, "{comments:?}");
        }
    }
}
