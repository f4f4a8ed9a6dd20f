//! Files of pairs, one JSON object a line: the documentation of a unit of code, and the unit without it.

use std::collections::HashMap;
use std::path::Path;

use embedding_engine::{Code, Error, Result};
use serde::Deserialize;

use super::collection::{Collection, Group, Query, Unit, Units};
use super::lines::for_each_json;
use super::metrics::Judged;

/// A pair, as `embedding-engine-bundled gather` writes it. What else a line has is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pair {
    /// The package that the code is from: pairs are ranked within it, and all together.
    pub package: String,
    /// What the unit is called.
    #[serde(default)]
    pub name: Option<String>,
    /// The names of what it lies in, outermost first.
    #[serde(default)]
    pub inside: Vec<String>,
    /// How it is declared.
    #[serde(default)]
    pub signature: Option<String>,
    /// The first paragraph of its documentation.
    pub query: String,
    /// Its source without documentation.
    pub code: String,
}

/// Reads files of pairs.
///
/// # Errors
/// `INVALID_INPUT` with file and line for what is no pair.
pub fn read_pairs(files: &[impl AsRef<Path>]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for file in files {
        for_each_json(file.as_ref(), |_, pair| {
            pairs.push(pair);
            Ok(())
        })?;
    }
    Ok(pairs)
}

/// Pairs as a collection, a group for each package. A query that several units of a package have is answered by each
/// of them.
///
/// # Errors
/// `INVALID_INPUT` where there are none.
pub fn pairs_of(name: &str, pairs: Vec<Pair>) -> Result<Collection> {
    let mut packages: Vec<(String, Vec<Pair>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for pair in pairs {
        let place = *places.entry(pair.package.clone()).or_insert_with(|| {
            packages.push((pair.package.clone(), Vec::new()));
            packages.len() - 1
        });
        packages[place].1.push(pair);
    }
    if packages.is_empty() {
        return Err(Error::new(Code::InvalidInput, format!("There are no pairs in {name}.")));
    }
    Ok(collection(name.to_owned(), packages))
}

fn collection(name: String, packages: Vec<(String, Vec<Pair>)>) -> Collection {
    let (mut units, mut queries, mut groups) = (Vec::new(), Vec::<Query>::new(), Vec::new());
    for (group, (name, pairs)) in packages.into_iter().enumerate() {
        let start = units.len();
        let mut asked: HashMap<String, usize> = HashMap::new();
        for Pair { name, inside, signature, query, code, .. } in pairs {
            let answer = Judged { document: Some(units.len()), gain: 1.0 };
            match asked.get(&query) {
                Some(&at) => queries[at].relevant.push(answer),
                None => {
                    asked.insert(query.clone(), queries.len());
                    queries.push(Query { text: query, group, relevant: vec![answer], without: None });
                }
            }
            let present = |text: Option<String>| text.filter(|text| !text.is_empty());
            units.push(Unit { name: present(name), inside, signature: present(signature), code });
        }
        groups.push(Group { name, documents: start..units.len() });
    }
    Collection { name, documents: Box::new(Units(units)), queries, groups }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn packages_are_groups_wherever_their_lines_stand() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.jsonl");
        let line = |package: &str, query: &str, code: &str| {
            format!(
                r#"{{"package":"{package}","language":"rust","name":"f","inside":[],"query":"{query}","code":"{code}"}}"#
            )
        };
        let lines = [line("a", "q1", "c1"), line("b", "q1", "c2"), line("a", "q2", "c3"), line("a", "q1", "c4")];
        fs::write(&file, format!("\u{feff}{}\n\n", lines.join("\n"))).unwrap();
        let collection = pairs_of("test", read_pairs(&[&file]).unwrap()).unwrap();
        let group = |name: &str, documents| Group { name: name.to_owned(), documents };
        assert_eq!(collection.groups, [group("a", 0..3), group("b", 3..4)]);
        let found: Vec<(&str, usize, Vec<Option<usize>>)> = collection
            .queries
            .iter()
            .map(|query| (query.text.as_str(), query.group, query.relevant.iter().map(|j| j.document).collect()))
            .collect();
        assert_eq!(found, [("q1", 0, vec![Some(0), Some(2)]), ("q2", 0, vec![Some(1)]), ("q1", 1, vec![Some(3)])]);

        fs::write(&file, format!("{}\n{{\"package\":\"a\"}}\n", lines[0])).unwrap();
        let error = read_pairs(&[&file]).err().unwrap();
        assert_eq!((error.code, &error.details["line"]), (Code::InvalidInput, &2.into()), "{error}");
        fs::write(&file, "\n").unwrap();
        assert_eq!(pairs_of("none", read_pairs(&[&file]).unwrap()).err().unwrap().code, Code::InvalidInput);
        assert!(read_pairs(&[folder.path().join("none")]).err().unwrap().message.contains("none"));
    }
}
