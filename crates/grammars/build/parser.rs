//! `parser.c`, as tree-sitter generates it, taken apart.

use super::Result;
use super::table::{self, Names};

/// The parts of a `parser.c`.
pub struct Parser {
    /// The text without the two tables, and with a function that gives them back to the language.
    pub code: String,
    /// `ts_parse_table`: a row of all symbols for each of the large states.
    pub dense: Vec<u16>,
    /// `ts_small_parse_table`: the other states, as lists.
    pub sparse: Vec<u16>,
}

const DENSE: &str = "static const uint16_t ts_parse_table[LARGE_STATE_COUNT][SYMBOL_COUNT] = ";
const SPARSE: &str = "static const uint16_t ts_small_parse_table[] = ";
/// What stands in their place: addresses that are set before the language is given to anybody.
const MEMBERS: [(&str, &str); 2] = [
    (".parse_table = &ts_parse_table[0][0],", ".parse_table = 0,"),
    (".small_parse_table = ts_small_parse_table,", ".small_parse_table = 0,"),
];

/// Takes the text of a `parser.c` apart.
pub fn split(name: &str, text: &str) -> Result<Parser> {
    let names = Names::read(text)?;
    let (before, dense_text, rest) = cut(text, DENSE)?;
    let (between, sparse_text, after) = cut(rest, SPARSE)?;
    let rows = constant(text, "LARGE_STATE_COUNT")?;
    let columns = constant(text, "SYMBOL_COUNT")?;

    let mut after = after.to_owned();
    for (from, to) in MEMBERS {
        after = replace_once(&after, from, to)?;
    }
    // Its name is taken by the crate that the text comes from.
    let signature = after
        .find("TS_PUBLIC const TSLanguage *tree_sitter_")
        .and_then(|begin| Some((begin, begin + after[begin..].find("(void) {")?)))
        .ok_or("the function that returns the language was not found")?;
    after.replace_range(signature.0..signature.1, "static const TSLanguage *without_tables");

    let code = format!(
        "{before}{between}{after}
/* Called once, before anybody has the language. */
const TSLanguage *embedding_engine_grammar_{name}(const uint16_t *dense, const uint16_t *sparse) {{
  static TSLanguage language;
  language = *without_tables();
  language.parse_table = dense;
  language.small_parse_table = sparse;
  return &language;
}}
"
    );
    Ok(Parser {
        code,
        dense: table::dense(dense_text, &names, rows, columns)?,
        sparse: table::sparse(sparse_text, &names)?,
    })
}

/// The text before a definition, its initialiser with the braces, and the text after it.
fn cut<'a>(text: &'a str, definition: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let begin = text.find(definition).ok_or_else(|| format!("`{definition}` was not found"))?;
    let initialiser = &text[begin + definition.len()..];
    let end = initialiser.find("\n};\n").ok_or_else(|| format!("the end of `{definition}` was not found"))?;
    Ok((&text[..begin], &initialiser[..end + 2], &initialiser[end + 3..]))
}

fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    match text.matches(from).count() {
        1 => Ok(text.replacen(from, to, 1)),
        count => Err(format!("`{from}` stands there {count} times, expected once").into()),
    }
}

/// The value of a `#define NAME number`.
fn constant(text: &str, name: &str) -> Result<usize> {
    let definition = format!("\n#define {name} ");
    let begin = text.find(&definition).ok_or_else(|| format!("there is no #define {name}"))? + definition.len();
    Ok(text[begin..].lines().next().unwrap_or_default().trim().parse()?)
}
