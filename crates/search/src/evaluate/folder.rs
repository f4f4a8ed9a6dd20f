//! A folder of code as its own test: what the documentation of a unit says is the query, the unit without any
//! documentation is the answer, and all units of the folder are what it is looked for among.

use std::collections::HashMap;
use std::path::Path;

use embedding_engine::{Cancel, Code, Error, Result};
use embedding_engine_chunk::{
    Chunk, FileOptions, Files, Found, Kind, Language, Options, chunk, cut_to_lines, query_of_doc,
};

use super::collection::{Collection, Group, Query, Unit, Units};
use super::metrics::Judged;

/// So much of a unit is taken together before its documentation is removed: a long one must not push the code out.
const UNIT_BYTES: usize = 1 << 16;

/// As much of a unit's code as is ranked, in bytes; as much as the pairs for training have.
const CODE_BYTES: usize = 4000;

/// Words and numbers that a unit has beside its signature, to be asked for.
const MIN_WORDS: usize = 10;

/// Documentation of more units than this says nothing of any of them.
const MAX_ANSWERS: usize = 3;

/// A folder of code as a collection.
pub struct Folder {
    /// Its units, and what their documentation says.
    pub collection: Collection,
    /// Where each unit stands: in several places where it was copied.
    pub places: Vec<Vec<Place>>,
}

/// Where a unit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the folder, with `/`.
    pub path: String,
    /// The first line, from 1.
    pub start_line: usize,
    /// The last line, from 1.
    pub end_line: usize,
}

/// Reads a folder. Units are functions, methods, and the headers of classes; copies count once.
///
/// # Errors
/// `INVALID_OPTION` for a glob that is none, `INVALID_INPUT` for what is no folder or has no documented code,
/// `ABORTED`.
pub fn read_folder(folder: &Path, options: &FileOptions, cancel: &Cancel) -> Result<Folder> {
    let name = folder.display().to_string();
    let refused = |why: &str| Error::new(Code::InvalidInput, format!("{name} {why}")).with("folder", name.clone());
    if !folder.is_dir() {
        return Err(refused("is no folder. Name one with code in it."));
    }
    let files = Files::new(folder, options)
        .map_err(|why| Error::invalid_option("include", format!("A pattern of include or exclude is none: {why}.")))?;
    let mut reader = Reader::default();
    for found in files {
        cancel.check()?;
        if let Found::Text { path, language: Some(language), text } = found {
            reader.read(&path, language, &text);
        }
    }
    let Reader { units, places, queries, .. } = reader;
    let queries: Vec<Query> = queries.into_iter().filter(|query| query.relevant.len() <= MAX_ANSWERS).collect();
    if queries.is_empty() {
        return Err(refused("has no code with documentation that could be asked for."));
    }
    let groups = vec![Group { name: name.clone(), documents: 0..units.len() }];
    Ok(Folder { collection: Collection { name, documents: Box::new(Units(units)), queries, groups }, places })
}

#[derive(Default)]
struct Reader {
    units: Vec<Unit>,
    places: Vec<Vec<Place>>,
    /// Units by their code.
    known: HashMap<String, usize>,
    queries: Vec<Query>,
    /// Queries by their text.
    asked: HashMap<String, usize>,
}

impl Reader {
    fn read(&mut self, path: &str, language: Language, text: &str) {
        for chunk in chunk(text, Some(language), &Options { max_bytes: UNIT_BYTES }) {
            if chunk.continued || matches!(chunk.kind, Kind::Block | Kind::Section) {
                continue;
            }
            let Some(name) = chunk.name.clone() else { continue };
            let code = cut_to_lines(&chunk.without_docs(text), CODE_BYTES).to_owned();
            if code.trim().is_empty() {
                continue;
            }
            let query = query_of(&chunk, &code);
            let unit = Unit { name: Some(name), inside: chunk.inside, signature: chunk.signature, code };
            let place = Place { path: path.to_owned(), start_line: chunk.start_line, end_line: chunk.end_line };
            let document = self.add(unit, place);
            if let Some(query) = query {
                self.ask(query, document);
            }
        }
    }

    /// The place of a unit among all.
    fn add(&mut self, unit: Unit, place: Place) -> usize {
        let key = format!("{}\n{}", unit.inside.join("\n"), unit.code);
        let document = *self.known.entry(key).or_insert(self.units.len());
        if document == self.units.len() {
            self.units.push(unit);
            self.places.push(Vec::new());
        }
        self.places[document].push(place);
        document
    }

    fn ask(&mut self, text: String, document: usize) {
        let answer = Judged { document: Some(document), gain: 1.0 };
        match self.asked.get(&text) {
            Some(&at) => {
                let relevant = &mut self.queries[at].relevant;
                if !relevant.contains(&answer) {
                    relevant.push(answer);
                }
            }
            None => {
                self.asked.insert(text.clone(), self.queries.len());
                self.queries.push(Query { text, group: 0, relevant: vec![answer], without: None });
            }
        }
    }
}

/// What could be asked for to find a unit; not what stands in its code, nor of one that does nothing.
fn query_of(chunk: &Chunk, code: &str) -> Option<String> {
    let query = query_of_doc(chunk.doc.as_deref()?)?;
    let signature = chunk.signature.as_deref().unwrap_or_default();
    let words =
        |text: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count();
    let says = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&query);
    let does_something = words(code) >= words(signature) + MIN_WORDS;
    (does_something && !says(code) && !says(signature)).then_some(query)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::super::collection::Form;
    use super::*;

    const RUST: &str = "/// Adds up what is given.\n///\n/// More.\nfn sum(values: &[u64]) -> u64 {\n    let mut total = 0;\n    for value in values {\n        total += value;\n    }\n    total + total - total + 0\n}\n\nfn undocumented() { other(1, 2, 3) }\n";
    const PYTHON: &str = "class Reader:\n    \"\"\"Reads whole files.\"\"\"\n\n    def lines(self, path):\n        \"\"\"The lines of a file, without their ends.\n\n        Args:\n            path: where\n        \"\"\"\n        with open(path) as file:\n            found = [line.strip() for line in file]\n        return found\n";

    fn texts(folder: &Folder) -> Vec<String> {
        let mut texts = Vec::new();
        folder
            .collection
            .documents
            .for_each(Form::PLAIN, &mut |text| {
                texts.push(text);
                Ok(())
            })
            .unwrap();
        texts
    }

    #[test]
    fn documentation_asks_for_the_unit_without_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.rs"), RUST).unwrap();
        fs::write(folder.path().join("b.rs"), RUST).unwrap();
        fs::write(folder.path().join("c.py"), PYTHON).unwrap();
        let read = |options: &FileOptions| read_folder(folder.path(), options, &Cancel::never());
        let found = read(&FileOptions::default()).unwrap();
        let texts = texts(&found);
        assert!(texts.iter().all(|text| !text.contains("Adds") && !text.contains("Reads") && !text.contains("Args")));
        let queries: Vec<&str> = found.collection.queries.iter().map(|query| query.text.as_str()).collect();
        assert_eq!(queries, ["Adds up what is given.", "The lines of a file, without their ends."]);
        let answers = |at: usize| {
            let document = found.collection.queries[at].relevant[0].document.unwrap();
            (texts[document].as_str(), found.places[document].as_slice())
        };
        assert!(answers(0).0.starts_with("fn sum"));
        let place = |path: &str, start_line, end_line| Place { path: path.to_owned(), start_line, end_line };
        assert_eq!(answers(0).1, [place("a.rs", 1, 10), place("b.rs", 1, 10)]);
        assert!(answers(1).0.starts_with("def lines(self, path):\n        with open"));
        assert_eq!(texts.iter().filter(|text| text.contains("undocumented")).count(), 1, "copies count once");

        let python = FileOptions { include: vec!["**/*.py".to_owned()], ..FileOptions::default() };
        assert_eq!(read(&python).unwrap().collection.queries.len(), 1);
        let none = FileOptions { include: vec!["*.go".to_owned()], ..FileOptions::default() };
        assert_eq!(read(&none).err().unwrap().code, Code::InvalidInput);
        let bad = FileOptions { include: vec!["[".to_owned()], ..FileOptions::default() };
        assert_eq!(read(&bad).err().unwrap().code, Code::InvalidOption);
        assert_eq!(
            read_folder(&folder.path().join("x"), &none, &Cancel::never()).err().unwrap().code,
            Code::InvalidInput
        );
    }
}
