//! The initialisers of the tables, evaluated: nested braces with designators, numbers, names of an enum, and the macros
//! `STATE(n)` and `ACTIONS(n)`, which are their argument.

use std::collections::HashMap;

use super::Result;

/// The symbols by name.
pub struct Names<'a>(HashMap<&'a str, u16>);

impl<'a> Names<'a> {
    /// Reads `enum ts_symbol_identifiers` of a `parser.c`.
    pub fn read(text: &'a str) -> Result<Self> {
        let definition = "enum ts_symbol_identifiers {";
        let begin = text.find(definition).ok_or("there is no enum of the symbols")? + definition.len();
        let end = begin + text[begin..].find('}').ok_or("the enum of the symbols does not end")?;
        // Those of parser.h.
        let mut names = HashMap::from([("ts_builtin_sym_end", 0), ("ts_builtin_sym_error", u16::MAX)]);
        for entry in text[begin..end].split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').ok_or_else(|| format!("`{entry}` of the enum has no value"))?;
            names.insert(name.trim(), value.trim().parse()?);
        }
        Ok(Self(names))
    }
}

/// `{ [row] = { [column] = value, … }, … }`; what is not named is 0, as in C.
pub fn dense(text: &str, names: &Names<'_>, rows: usize, columns: usize) -> Result<Vec<u16>> {
    let mut table = vec![0; rows * columns];
    let mut tokens = Tokens { rest: text };
    tokens.expect("{")?;
    while !tokens.take("}") {
        let row = tokens.designator(names)?.ok_or("a row without a number")?;
        tokens.expect("{")?;
        while !tokens.take("}") {
            let column = tokens.designator(names)?.ok_or("a column without a symbol")?;
            let value = tokens.value(names)?;
            if row >= rows || column >= columns {
                return Err(format!("[{row}][{column}] lies outside of {rows} by {columns}").into());
            }
            table[row * columns + column] = value;
            tokens.take(",");
        }
        tokens.take(",");
    }
    Ok(table)
}

/// `{ [at] = value, value, … }`.
pub fn sparse(text: &str, names: &Names<'_>) -> Result<Vec<u16>> {
    let mut table = Vec::new();
    let mut tokens = Tokens { rest: text };
    tokens.expect("{")?;
    while !tokens.take("}") {
        if let Some(at) = tokens.designator(names)? {
            if at < table.len() {
                return Err(format!("[{at}] comes after {} values", table.len()).into());
            }
            table.resize(at, 0);
        }
        table.push(tokens.value(names)?);
        tokens.take(",");
    }
    Ok(table)
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.rest = self.rest.trim_ascii_start();
        let bytes = self.rest.as_bytes();
        let first = bytes.first().ok_or("the table ends too early")?;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = if is_word(first) { bytes.iter().take_while(|byte| is_word(byte)).count() } else { 1 };
        let (token, rest) = self.rest.split_at_checked(length).ok_or("a character that is not ASCII")?;
        self.rest = rest;
        Ok(token)
    }

    /// Whether the next token is this one, which is then behind us.
    fn take(&mut self, token: &str) -> bool {
        let before = self.rest;
        let found = self.next().is_ok_and(|next| next == token);
        if !found {
            self.rest = before;
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        match self.next()? {
            found if found == token => Ok(()),
            found => Err(format!("`{found}` where `{token}` was expected").into()),
        }
    }

    /// `[value] =`, if that is what comes.
    fn designator(&mut self, names: &Names<'_>) -> Result<Option<usize>> {
        if !self.take("[") {
            return Ok(None);
        }
        let at = self.number(names)?;
        self.expect("]")?;
        self.expect("=")?;
        Ok(Some(at))
    }

    fn value(&mut self, names: &Names<'_>) -> Result<u16> {
        Ok(u16::try_from(self.number(names)?)?)
    }

    fn number(&mut self, names: &Names<'_>) -> Result<usize> {
        let token = self.next()?;
        if token.as_bytes()[0].is_ascii_digit() {
            return Ok(token.parse()?);
        }
        if matches!(token, "STATE" | "ACTIONS") {
            self.expect("(")?;
            let value = self.number(names)?;
            self.expect(")")?;
            return Ok(value);
        }
        names.0.get(token).map(|value| usize::from(*value)).ok_or_else(|| format!("`{token}` has no value").into())
    }
}
