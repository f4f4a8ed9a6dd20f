//! Text to the words that full text search compares: identifiers split at camelCase, snake_case and digits, in lower
//! case. `parseHTTPResponse_v2` gives `parse http response v 2`.

/// Calls `word` with each sub-token of `text`, in order. A sub-token is a run of letters of one case pattern, or a run
/// of digits; everything else only separates.
pub fn for_each(text: &str, mut word: impl FnMut(&str)) {
    let mut lower = String::new();
    let mut chars = text.char_indices().peekable();
    let mut last = Class::Other;
    while let Some((_, c)) = chars.next() {
        let class = Class::of(c);
        let next = chars.peek().map_or(Class::Other, |(_, next)| Class::of(*next));
        let begins = match (last, class) {
            (Class::Other, _) => false,
            (_, Class::Other) => true,
            (Class::Digit, class) => class != Class::Digit,
            (_, Class::Digit) => true,
            (Class::Lower, Class::Upper) => true,
            // The last capital of `HTTPResponse` begins a word.
            (Class::Upper, Class::Upper) => next == Class::Lower,
            _ => false,
        };
        if begins && !lower.is_empty() {
            word(&lower);
            lower.clear();
        }
        if class != Class::Other {
            lower.extend(c.to_lowercase());
        }
        last = class;
    }
    if !lower.is_empty() {
        word(&lower);
    }
}

/// The sub-tokens of `text`, one after another.
pub fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for_each(text, |word| words.push(word.to_owned()));
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Upper,
    /// Letters of scripts without case are here too.
    Lower,
    Digit,
    Other,
}

impl Class {
    fn of(c: char) -> Self {
        if c.is_uppercase() {
            Class::Upper
        } else if c.is_alphabetic() {
            Class::Lower
        } else if c.is_numeric() {
            Class::Digit
        } else {
            Class::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_split() {
        for (text, expected) in [
            ("parseHTTPResponse_v2", "parse http response v 2"),
            ("MAX_RETRY_COUNT", "max retry count"),
            ("XMLHttpRequest", "xml http request"),
            ("a.b::c->d", "a b c d"),
            ("Größe überHaupt", "größe über haupt"),
            ("中文 mixedCase", "中文 mixed case"),
            ("  ", ""),
            ("x1y22", "x 1 y 22"),
        ] {
            assert_eq!(of(text).join(" "), expected, "{text}");
        }
    }
}
