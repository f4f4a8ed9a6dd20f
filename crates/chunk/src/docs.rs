//! What comments and docstrings say, without their signs.

use std::ops::Range;

use tree_sitter::Node;

use crate::language::Language;

/// As much of a documentation as is kept, in bytes.
const MAX_DOC: usize = 2000;

/// The words of the comments before a declaration.
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

/// `@doc """…"""` or `@doc "…"`, and the same of `@moduledoc`
fn elixir_doc(lead: &str) -> Option<&str> {
    let rest =
        lead.split_once("@doc ").or_else(|| lead.split_once("@moduledoc "))?.1.trim_start_matches(['~', 'S', 's']);
    match rest.strip_prefix("\"\"\"") {
        Some(rest) => rest.split_once("\"\"\"").map(|(doc, _)| doc),
        None => rest.strip_prefix('"')?.split_once('"').map(|(doc, _)| doc),
    }
}

/// Where the documentation stands that a declaration has inside of its body: Python's docstring (the first
/// statement, if it is a string), Elixir's `@moduledoc`.
pub(crate) fn within(text: &str, language: Language, body: Option<Node<'_>>) -> Option<Range<usize>> {
    let body = body?;
    let mut cursor = body.walk();
    let first = body.named_children(&mut cursor).find(|child| child.kind() != "comment")?;
    let source = text.get(first.byte_range())?;
    match language {
        Language::Elixir => source.starts_with("@moduledoc ").then(|| first.byte_range()),
        Language::Python => {
            let string = if first.kind() == "expression_statement" { first.named_child(0)? } else { first };
            // A string that something is done with, as in `"".join(x)`, is no docstring.
            (string.kind() == "string" && string.byte_range() == first.byte_range()).then(|| string.byte_range())
        }
        _ => None,
    }
}

/// The docstrings of the functions and classes that are defined inside of a Python function, in order.
pub(crate) fn nested(text: &str, function: Node<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut cursor = function.walk();
    loop {
        let node = cursor.node();
        if node != function && matches!(node.kind(), "function_definition" | "class_definition") {
            found.extend(within(text, Language::Python, node.child_by_field_name("body")));
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return found;
            }
        }
    }
}

/// What the documentation inside of a body says.
pub(crate) fn of_body(source: &str, language: Language) -> Option<String> {
    if language == Language::Elixir {
        return joined(&elixir_doc(source)?.lines().map(str::trim).collect::<Vec<_>>());
    }
    let inner = source.trim_start_matches(['r', 'R', 'b', 'B', 'u', 'U', 'f', 'F']).trim_matches(['"', '\'']);
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
