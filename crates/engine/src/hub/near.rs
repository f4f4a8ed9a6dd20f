//! Names that look like another one, for "did you mean".

/// The names of `known` that look like `name`, best first, at most three.
///
/// Looks like it: equal without case and punctuation, one within the other, or few edits away (a third
/// of the length). An id is also compared by its part after the owner, so that `MiniLM` finds
/// `sentence-transformers/all-MiniLM-L6-v2`.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = simplify(name);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| score(&wanted, candidate).map(|score| (score, candidate)))
        .collect();
    scored.sort();
    scored.dedup_by_key(|(_, candidate)| *candidate);
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// Lower is nearer; `None` is too far.
fn score(wanted: &str, candidate: &str) -> Option<usize> {
    let short = candidate.rsplit('/').next().unwrap_or(candidate);
    let wanted_short = wanted.rsplit('/').next().unwrap_or(wanted);
    let pairs = [(wanted, simplify(candidate)), (wanted_short, simplify(short))];
    pairs.iter().filter_map(|(wanted, candidate)| pair_score(wanted, candidate)).min()
}

fn pair_score(wanted: &str, candidate: &str) -> Option<usize> {
    if wanted == candidate {
        return Some(0);
    }
    let edits = edit_distance(wanted, candidate);
    let close = (edits <= wanted.chars().count().max(3) / 3).then_some(edits);
    // Part of a longer name, unless it is so short that it is part of anything.
    let part = (wanted.len() >= 4 && candidate.contains(wanted)).then_some(wanted.len() / 3 + 1);
    close.into_iter().chain(part).min()
}

/// Lower case, without the punctuation that people confuse.
fn simplify(name: &str) -> String {
    let without_revision = name.split('@').next().unwrap_or(name);
    without_revision
        .chars()
        .take(200)
        .filter(|c| c.is_alphanumeric() || *c == '/')
        .flat_map(char::to_lowercase)
        .collect()
}

/// Levenshtein distance in characters.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
