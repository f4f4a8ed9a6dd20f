//! Which of the pairs that packages offer are taken: none twice, none that says what many say, not too many of one
//! package.

use std::collections::{BTreeSet, HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::Pair;
use super::package::normalised;

/// Pairs of a package at most.
const MAX_PAIRS: usize = 5000;

/// A query that is said of more names than this says nothing about any.
const MAX_NAMES: usize = 3;

/// Takes the pairs of each package, in the order of packages: what an earlier one has, a later one has not.
pub(super) fn select(packages: Vec<Vec<Pair>>) -> Vec<Vec<Pair>> {
    let mut names: HashMap<u64, BTreeSet<u64>> = HashMap::new();
    for pair in packages.iter().flatten() {
        let names = names.entry(query_hash(pair)).or_default();
        if names.len() <= MAX_NAMES {
            names.insert(hash(&pair.name));
        }
    }
    let mut seen = HashSet::new();
    let mut chosen = Vec::with_capacity(packages.len());
    for mut pairs in packages {
        // Of the copies of a function in a package (sources, builds of them) the source is taken.
        pairs.sort_by_cached_key(|pair| (copy_rank(pair), pair.path.clone()));
        pairs.retain(|pair| {
            let (query, code) = (query_hash(pair), hash(&normalised(&pair.code)));
            let is_common = names.get(&query).is_some_and(|names| names.len() > MAX_NAMES);
            // Both are told from each other, so that a code may be asked for by the words of another.
            let is_new = !seen.contains(&(false, query)) && !seen.contains(&(true, code));
            if !is_common && is_new {
                seen.extend([(false, query), (true, code)]);
            }
            !is_common && is_new
        });
        chosen.push(spread(pairs));
    }
    chosen
}

/// What people wrote comes before what compilers made of it.
fn copy_rank(pair: &Pair) -> u8 {
    let folders = || pair.path.split('/');
    let is_source = folders().any(|folder| matches!(folder, "src" | "source" | "Source" | "sources"));
    let is_build = folders().any(|folder| matches!(folder, "dist" | "build" | "lib" | "cjs" | "esm" | "es" | "out"));
    match (is_source, is_build, pair.language) {
        (true, false, "typescript") => 0,
        (true, false, _) => 1,
        (false, false, _) => 2,
        _ => 3,
    }
}

/// At most [`MAX_PAIRS`], chosen by hash: one of each file, then a second of each, and so on.
fn spread(mut pairs: Vec<Pair>) -> Vec<Pair> {
    if pairs.len() > MAX_PAIRS {
        pairs.sort_by_cached_key(|pair| (pair.path.clone(), query_hash(pair)));
        let mut turns = Vec::with_capacity(pairs.len());
        let (mut file, mut turn) = ("", 0_usize);
        for (index, pair) in pairs.iter().enumerate() {
            turn = if pair.path == file { turn + 1 } else { 0 };
            file = &pair.path;
            turns.push((turn, query_hash(pair), index));
        }
        turns.sort_unstable();
        let kept: HashSet<usize> = turns.into_iter().take(MAX_PAIRS).map(|(.., index)| index).collect();
        let mut index = 0;
        pairs.retain(|_| {
            index += 1;
            kept.contains(&(index - 1))
        });
    }
    pairs.sort_by_cached_key(|pair| (pair.path.clone(), pair.name.clone(), pair.query.clone()));
    pairs
}

/// Case and signs do not tell queries apart.
fn query_hash(pair: &Pair) -> u64 {
    let words = pair.query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    hash(&words.map(str::to_lowercase).collect::<Vec<_>>().join(" "))
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(path: &str, name: &str, query: &str, code: &str) -> Pair {
        Pair {
            package: "p".to_owned(),
            registry: "npm".to_owned(),
            language: "javascript",
            path: path.to_owned(),
            name: name.to_owned(),
            inside: Vec::new(),
            signature: String::new(),
            query: query.to_owned(),
            code: code.to_owned(),
        }
    }

    #[test]
    fn nothing_is_taken_twice() {
        let test = vec![pair("a.js", "f", "Adds two numbers.", "a + b")];
        let train = vec![
            pair("b.js", "g", "adds two numbers", "c"),
            pair("b.js", "h", "Something else.", "a  +\nb"),
            pair("dist/c.js", "i", "Divides two numbers.", "var d"),
            pair("src/c.js", "i", "Divides two numbers.", "d"),
        ];
        let chosen = select(vec![test.clone(), train.clone()]);
        assert_eq!(chosen, [test, vec![train[3].clone()]]);
    }

    #[test]
    fn what_is_said_of_many_is_said_of_none() {
        let pairs: Vec<Pair> = (0..8)
            .map(|i| {
                let query = if i % 2 == 0 { "Says what many say." } else { "Says it of one." };
                pair("a.js", if i % 2 == 0 { ["a", "b", "c", "d"][i / 2] } else { "x" }, query, &i.to_string())
            })
            .collect();
        let chosen = select(vec![pairs]);
        assert_eq!(chosen[0].iter().map(|pair| pair.query.as_str()).collect::<Vec<_>>(), ["Says it of one."]);
    }

    #[test]
    fn many_pairs_are_spread_over_files() {
        let pairs: Vec<Pair> = (0..MAX_PAIRS + 100)
            .map(|i| {
                let path = if i < 50 { format!("few{}.js", i % 5) } else { "many.js".to_owned() };
                pair(&path, "f", &format!("Does number {i}."), &i.to_string())
            })
            .collect();
        let [chosen] = select(vec![pairs.clone()]).try_into().unwrap_or_default();
        assert_eq!(chosen.len(), MAX_PAIRS);
        assert_eq!(chosen.iter().filter(|pair| pair.path.starts_with("few")).count(), 50);
        assert_eq!(select(vec![pairs]), [chosen]);
    }
}
