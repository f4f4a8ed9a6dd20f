//! What a person could ask for: the first paragraph of a documentation, in plain words.

/// Words of a query. Of a longer paragraph the first sentences that fit are taken.
const MIN_WORDS: usize = 3;
const MAX_WORDS: usize = 80;

/// The first paragraph of what a comment or docstring says, without tags, links and signs; `None` where it says
/// nothing that one could ask for.
pub fn query_of_doc(doc: &str) -> Option<String> {
    let paragraph = first_paragraph(doc);
    let plain = plain(&paragraph).split_whitespace().collect::<Vec<_>>().join(" ");
    let query = sentences(&plain)?;
    (is_prose(query) && !is_directive(query)).then(|| query.to_owned())
}

/// Up to the first empty line, tag, section, list or example.
fn first_paragraph(doc: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in doc.lines().map(str::trim) {
        let line = described(line);
        // Tags of one word may come first, a rule may stand above the words.
        let is_mark = line.starts_with(['@', '\\']) && !line.contains(' ') || !line.chars().any(char::is_alphanumeric);
        if lines.is_empty() && is_mark {
            continue;
        }
        if line.is_empty() || ends_paragraph(line) {
            break;
        }
        lines.push(line);
    }
    lines.join(" ")
}

/// The line without the tag that says that a description follows.
fn described(line: &str) -> &str {
    ["@description ", "@desc ", "@summary ", "@brief ", "\\brief ", "@fileoverview ", "@classdesc "]
        .iter()
        .find_map(|tag| line.strip_prefix(tag))
        .unwrap_or(line)
        .trim()
}

fn ends_paragraph(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let section = [
        "args:",
        "arguments:",
        "parameters",
        "params:",
        "returns:",
        "return:",
        "raises:",
        "raises",
        "yields:",
        "yields",
        "example:",
        "examples:",
        "example::",
        "examples",
        "example",
        "usage:",
        "usage",
        "note:",
        "notes",
        "see also",
        "attributes",
        "attributes:",
        "returns",
        "references",
        "# examples",
        "# example",
        "# panics",
        "# safety",
        "# errors",
        "input:",
        "output:",
        "inputs:",
        "outputs:",
        "input",
        "output",
        "keyword arguments:",
        "warning:",
        "todo:",
        "deprecated:",
        "deprecated",
    ];
    line.starts_with(['@', '\\', ':', '#', '>', '|', '+'])
        || ["```", "~~~", "- ", "* ", "--", "==", "..", "1. ", "1) "].iter().any(|sign| line.starts_with(sign))
        || section.contains(&lower.as_str())
}

/// Without the marks of JSDoc, Markdown, reStructuredText and HTML.
fn plain(text: &str) -> String {
    let text = braced(text);
    let text = roles(&text);
    let text = links(&text);
    let text = tags(&text);
    let text = epytext(&text);
    text.chars().filter(|c| !matches!(c, '`' | '*')).collect()
}

/// `L{package.Name}`, `C{value}`
fn epytext(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once('{') {
        let mark = before.chars().last().filter(|mark| "LCIBUEM".contains(*mark));
        let alone = before.chars().rev().nth(1).is_none_or(|c| !c.is_alphanumeric());
        match (mark.filter(|_| alone), marked.split_once('}')) {
            (Some(_), Some((inner, after))) => {
                plain.push_str(&before[..before.len() - 1]);
                plain.push_str(inner);
                rest = after;
            }
            _ => {
                plain.push_str(before);
                plain.push('{');
                rest = marked;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// `{@link Queue.push | what is shown}`, `{@code x}`
fn braced(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once("{@") {
        plain.push_str(before);
        let Some((inner, after)) = tag.split_once('}') else { return plain };
        let shown = inner.split_once([' ', '\n']).map_or("", |(_, shown)| shown);
        plain.push_str(shown.rsplit('|').next().unwrap_or(shown).trim());
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// :class:`~package.Name` and :func:`words <target>`
fn roles(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, role)) = rest.split_once(":`") {
        let kept =
            before.rfind(':').filter(|at| before[at + 1..].chars().all(|c| c.is_alphanumeric() || ":_-".contains(c)));
        plain.push_str(kept.map_or(before, |at| &before[..at]).trim_end_matches(':'));
        let Some((inner, after)) = role.split_once('`') else {
            rest = role;
            continue;
        };
        let shown = inner.split_once(" <").map_or(inner, |(shown, _)| shown);
        plain.push_str(match shown.strip_prefix('~') {
            Some(path) => path.rsplit('.').next().unwrap_or(path),
            None => shown,
        });
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// `[what is shown](target)`, `[what is shown][target]`, and addresses
fn links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        let Some((shown, after)) = link.split_once(']') else {
            rest = link;
            break;
        };
        let target =
            [('(', ')'), ('[', ']')].into_iter().find_map(|(open, close)| after.strip_prefix(open)?.split_once(close));
        // Brackets of one word are a link in Rust; others are brackets.
        if target.is_some() || !shown.contains([' ', ',', ':', '=']) && shown.chars().any(char::is_alphabetic) {
            plain.push_str(shown);
        } else {
            plain.push_str(&format!("[{shown}]"));
        }
        rest = target.map_or(after, |(_, after)| after);
    }
    plain.push_str(rest);
    plain.split(' ').filter(|word| !word.contains("://")).collect::<Vec<_>>().join(" ")
}

/// HTML and the tags of C#'s documentation; what else stands in angle brackets is part of a type.
fn tags(text: &str) -> String {
    const NAMES: [&str; 24] = [
        "a", "b", "br", "c", "code", "div", "em", "i", "li", "ol", "p", "para", "pre", "remarks", "returns", "see",
        "span", "strong", "sub", "summary", "sup", "tt", "u", "ul",
    ];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        match tag.split_once('>') {
            Some((_, after)) if NAMES.contains(&name.to_ascii_lowercase().as_str()) => {
                plain.push(' ');
                rest = after;
            }
            _ => {
                plain.push('<');
                rest = tag;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// All of it, or the first sentences that are few enough words.
fn sentences(text: &str) -> Option<&str> {
    let words = |text: &str| text.split(' ').filter(|word| word.chars().any(char::is_alphabetic)).count();
    let mut text = text;
    while words(text) > MAX_WORDS {
        text = &text[..text[..text.len() - 1].rfind(". ")? + 1];
    }
    (words(text) >= MIN_WORDS).then_some(text)
}

/// Mostly letters of English, few of the signs that code is made of.
fn is_prose(text: &str) -> bool {
    let count = |is: fn(char) -> bool| text.chars().filter(|c| is(*c)).count();
    let (all, letters) = (count(|c| !c.is_whitespace()), count(char::is_alphabetic));
    let ascii = count(|c| c.is_ascii_alphabetic());
    let code = count(|c| "{}()[];=<>|$\\^&/".contains(c));
    letters * 10 >= all * 7 && ascii * 20 >= letters * 19 && code * 100 <= all * 8 && !text.ends_with([';', '{', ':'])
}

/// Words for tools, lawyers and colleagues.
fn is_directive(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let begins = [
        "todo",
        "fixme",
        "xxx",
        "hack",
        "copyright",
        "license",
        "spdx",
        "eslint",
        "tslint",
        "prettier",
        "istanbul",
        "pylint",
        "noqa",
        "type:",
        "see ",
        "see:",
        "deprecated",
        "same as ",
        "alias ",
        "alias:",
        "inherit",
        "generated",
        "auto-generated",
        "autogenerated",
        "#region",
        "region ",
        "@",
        "ts-",
        "c8 ",
        "v8 ",
        "nolint",
        "clang-format",
        "jshint",
        "global ",
        "webpack",
        "flow",
        "like ",
        "refer to ",
        "for internal use",
        "this is an internal",
        "override",
        "overrides ",
        "overridden",
        "overload",
        "constructor",
        "internal ",
        "private ",
        "hidden",
        "nodoc",
        "safety:",
        "note:",
        "step ",
        "wrapper for ",
        "calls ",
        "ditto",
        "idem",
        "test ",
        "tests ",
    ];
    let holds =
        ["all rights reserved", "licensed under", "permission is hereby", "@license", "spdx-license", "eslint-"];
    begins.iter().any(|word| lower.starts_with(word)) || holds.iter().any(|words| lower.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_paragraph_in_plain_words() {
        for (doc, expected) in [
            ("Adds two numbers.\n\nMore.", "Adds two numbers."),
            ("Adds two\nnumbers.\n@param a one", "Adds two numbers."),
            ("@internal\nAdds two numbers.", "Adds two numbers."),
            ("@description Adds two numbers.", "Adds two numbers."),
            ("\nAdds two numbers.\nArgs:\n    a: one", "Adds two numbers."),
            ("Adds {@link Number | some numbers} and {@code more}.", "Adds some numbers and more."),
            ("Adds :class:`~a.b.Number` to ``x``, a :func:`words <f>`.", "Adds Number to x, a words."),
            ("Adds a [`Number`] to [this list](a::b) and [that][x].", "Adds a Number to this list and that."),
            ("Adds <b>two</b> numbers into a Vec<T>.<br/>", "Adds two numbers into a Vec<T>."),
            ("Adds L{Number} to C{x}, a map{b} of I{it}.", "Adds Number to x, a map{b} of it."),
            ("<summary>Adds two numbers.</summary>", "Adds two numbers."),
            ("Adds two numbers, see https://x.org/y for it", "Adds two numbers, see for it"),
        ] {
            assert_eq!(query_of_doc(doc).as_deref(), Some(expected), "{doc}");
        }
        let long = format!("One two three. {}", "word ".repeat(100));
        assert_eq!(query_of_doc(&long).as_deref(), Some("One two three."));
    }

    #[test]
    fn what_nobody_would_ask_for_is_no_query() {
        for doc in [
            "",
            "Adds numbers",
            "TODO: adds two numbers",
            "Copyright of the authors and others",
            "eslint-disable-next-line no-use of it",
            "See the other function for more",
            "@param a one two three four",
            "x = f(a, b); y = g(c)",
            "Складывает два числа вместе",
            ">>> add(1, 2, 3) is what it is",
            "----------",
        ] {
            assert_eq!(query_of_doc(doc), None, "{doc}");
        }
        assert_eq!(query_of_doc(&"word ".repeat(100)), None);
    }
}
