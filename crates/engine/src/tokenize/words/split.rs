//! Text to pieces: runs of letters, of digits, of punctuation, in lower case, split where identifiers are
//! (`parseHTTPResponse_v2` gives `parse`, `http`, `response`, `v`, `2`). White space and `_` only separate.

/// Characters of a piece, at most, so that the work for one is bounded. The limits of tokenizer.json's pattern.
pub(super) const LETTERS: usize = 32;
pub(super) const DIGITS: usize = 8;
pub(super) const MARKS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// White space and `_`.
    Gap,
    Letter,
    Digit,
    /// Anything else.
    Mark,
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Class::Letter,
            '0'..='9' => Class::Digit,
            '_' => Class::Gap,
            _ if c.is_alphabetic() => Class::Letter,
            _ if c.is_numeric() => Class::Digit,
            _ if c.is_whitespace() => Class::Gap,
            _ => Class::Mark,
        }
    }

    fn limit(self) -> usize {
        match self {
            Class::Letter => LETTERS,
            Class::Digit => DIGITS,
            _ => MARKS,
        }
    }
}

/// Calls `piece` with each piece of `text` in lower case, and with the byte of `text` at which it begins.
pub(super) fn pieces(text: &str, mut piece: impl FnMut(&str, usize)) {
    let mut lower = String::with_capacity(4 * LETTERS);
    let mut open = Class::Gap;
    let (mut start, mut length) = (0, 0);
    // The character before, as it stands in the text.
    let mut last = '\0';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let mut add = |c: char, apart: bool| {
            let class = Class::of(c);
            if class != open || apart || length == class.limit() {
                if !lower.is_empty() {
                    piece(&lower, start);
                    lower.clear();
                }
                (open, start, length) = (class, at, 0);
            }
            if class != Class::Gap {
                lower.push(c);
                length += 1;
            }
        };
        if c.is_ascii() && last.is_ascii() {
            let mut next = || chars.peek().is_some_and(|(_, next)| next.is_lowercase());
            let apart = c.is_ascii_uppercase() && (last.is_ascii_lowercase() || (last.is_ascii_uppercase() && next()));
            add(c.to_ascii_lowercase(), apart);
        } else {
            let next = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
            let mut apart = c.is_uppercase() && (last.is_lowercase() || (last.is_uppercase() && next));
            for c in c.to_lowercase() {
                add(c, std::mem::take(&mut apart));
            }
        }
        last = c;
    }
    if !lower.is_empty() {
        piece(&lower, start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        pieces(text, |piece, start| all.push((piece.to_owned(), start)));
        all
    }

    fn words(text: &str) -> String {
        of(text).into_iter().map(|(piece, _)| piece).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn identifiers_are_split() {
        for (text, expected) in [
            ("parseHTTPResponse_v2", "parse http response v 2"),
            ("MAX_RETRY", "max retry"),
            ("a.b::c->d() {", "a . b :: c -> d () {"),
            ("ÄrgerÜber ÉCOLEFine", "ärger über école fine"),
            ("x=\"1234567890\"", "x =\" 12345678 90 \""),
            (" \t\n__", ""),
            ("日本語Text", "日本語text"),
            ("🦀🦀", "🦀🦀"),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
        assert_eq!(words(&"a".repeat(70)), format!("{0} {0} {1}", "a".repeat(32), "a".repeat(6)));
    }

    #[test]
    fn pieces_know_where_they_begin() {
        let text = "ÄbC  d1";
        let starts: Vec<&str> = of(text).iter().map(|(_, start)| &text[*start..]).collect();
        assert_eq!(starts, ["ÄbC  d1", "C  d1", "d1", "1"]);
    }
}
