//! Cutting what is too large: at the highest border of the tree that lies within the budget.

use std::ops::Range;

use tree_sitter::{Node, TreeCursor};

use crate::rules::is_token;

/// A place where a node begins, and how deep in the tree.
#[derive(Debug, Clone, Copy)]
struct Border {
    at: usize,
    depth: usize,
}

/// Parts of a range of the text that are not larger than `budget` bytes, unless one token is.
pub(crate) fn split(text: &str, range: Range<usize>, budget: usize, root: Option<Node<'_>>) -> Vec<Range<usize>> {
    if range.len() <= budget {
        return vec![range];
    }
    let borders = match root {
        Some(root) => of_tree(text, root, &range),
        None => of_lines(text, &range),
    };
    let mut parts = Vec::new();
    let mut start = range.start;
    let mut next = 0;
    while range.end - start > budget {
        while borders.get(next).is_some_and(|border| border.at <= start) {
            next += 1;
        }
        let within = borders[next..].iter().take_while(|border| border.at <= start + budget);
        // The last half of the budget first: small parts say little.
        let half = start + budget / 2;
        let best = within
            .clone()
            .filter(|border| border.at > half)
            .chain(within.clone().filter(|border| border.at <= half))
            .fold(None::<Border>, |best, border| match best {
                Some(best) if best.at > half && border.at <= half => Some(best),
                Some(best) if border.depth > best.depth => Some(best),
                _ => Some(*border),
            });
        // One token that is larger than the budget stays whole.
        let Some(cut) = best.or_else(|| borders.get(next).copied()) else { break };
        parts.push(start..cut.at);
        start = cut.at;
    }
    parts.push(start..range.end);
    parts
}

/// As much of `code` as fits into `max_bytes`: whole lines, unless that would leave less than half of it. White space
/// at the end of what is cut is dropped.
pub fn cut_to_lines(code: &str, max_bytes: usize) -> &str {
    if code.len() <= max_bytes {
        return code;
    }
    let end = code.floor_char_boundary(max_bytes);
    let end = code[..end].rfind('\n').filter(|end| *end > max_bytes / 2).unwrap_or(end);
    code[..end].trim_end()
}

/// Every place in the range where a node begins, in order; the insides of strings and comments are none.
fn of_tree(text: &str, root: Node<'_>, range: &Range<usize>) -> Vec<Border> {
    let mut borders: Vec<Border> = Vec::new();
    let mut cursor = root.walk();
    let mut depth = 0;
    loop {
        let node = cursor.node();
        let at = node.start_byte();
        let inside = node.end_byte() > range.start && at < range.end;
        // A grammar that sees bytes may begin a token inside of a character.
        let is_border = inside && at > range.start && text.is_char_boundary(at);
        if is_border && borders.last().is_none_or(|last| last.at < at) {
            borders.push(Border { at, depth });
        }
        if inside && !is_token(node.kind()) && cursor.goto_first_child() {
            depth += 1;
            continue;
        }
        if !advance(&mut cursor, &mut depth) {
            return borders;
        }
    }
}

fn advance(cursor: &mut TreeCursor<'_>, depth: &mut usize) -> bool {
    while !cursor.goto_next_sibling() {
        if !cursor.goto_parent() {
            return false;
        }
        *depth -= 1;
    }
    true
}

/// Without a tree: paragraphs, then lines, then words, then whatever there is.
fn of_lines(text: &str, range: &Range<usize>) -> Vec<Border> {
    let mut borders = Vec::new();
    let slice = &text[range.clone()];
    let (mut newlines, mut space) = (0, false);
    for (offset, c) in slice.char_indices() {
        match c {
            '\n' => newlines += 1,
            c if c.is_whitespace() => space = true,
            _ => {
                if offset > 0 {
                    let depth = match (newlines, space) {
                        (2.., _) => 0,
                        (1, _) => 1,
                        (0, true) => 2,
                        // Not inside of a word, unless it is longer than any.
                        _ => 3,
                    };
                    if depth < 3 || offset % 64 == 0 {
                        borders.push(Border { at: range.start + offset, depth });
                    }
                }
                (newlines, space) = (0, false);
            }
        }
    }
    borders
}

#[cfg(test)]
mod tests {
    use super::cut_to_lines;

    #[test]
    fn what_does_not_fit_is_cut_to_lines() {
        assert_eq!(cut_to_lines("one\n", 4), "one\n");
        assert_eq!(cut_to_lines("one\ntwo\nthree", 9), "one\ntwo");
        assert_eq!(cut_to_lines("one\n\n\ntwo", 6), "one");
        // The only line that ends is less than half: a part of the next one comes too, of whole characters.
        assert_eq!(cut_to_lines("a\nbcdéfgh", 6), "a\nbcd");
        assert_eq!(cut_to_lines("a\nbcdéfgh", 7), "a\nbcdé");
    }
}
