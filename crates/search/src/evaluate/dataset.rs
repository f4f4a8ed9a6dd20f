//! Folders in the layout of BEIR and CoIR: `corpus.jsonl`, `queries.jsonl`, and judgements.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use embedding_engine::{Code, Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::collection::{Collection, Documents, Form, Group, Query};
use super::lines::{bad_line, for_each_json, for_each_line};
use super::metrics::Judged;

/// Reads a folder with `corpus.jsonl` (`{"_id", "title"?, "text"}`), `queries.jsonl` (`{"_id", "text"}`) and the
/// judgements of `split`, in the first of `qrels/<split>.tsv`, `qrels/<split>.jsonl`, `qrels.jsonl` and `qrels.tsv`
/// that is there: tab-separated with a head line, or JSON lines, of `query-id`, `corpus-id` and `score`.
///
/// As in trec_eval, only queries with an answer (a score above 0) count, and answers that are not in the corpus, or
/// have no text, count as not found. A document with the id of the query is left out of its ranking, as in BEIR,
/// unless it was judged. The texts of the corpus are read again when they are needed, not held.
///
/// # Errors
/// `INVALID_INPUT` with file and line for what is not of this form, and where no query has an answer.
pub fn read_dataset(folder: &Path, split: &str) -> Result<Collection> {
    let corpus = Corpus::open(folder.join("corpus.jsonl"))?;
    let path = folder.join("queries.jsonl");
    let (mut queries, mut places) = (Vec::new(), HashMap::new());
    for_each_json(&path, |line, query: QueryLine| {
        let id = id_of(&query.id).map_err(|why| bad_line(&path, line, why))?;
        if query.text.trim().is_empty() {
            return Err(bad_line(&path, line, format_args!("the query {id} has no text")));
        }
        if places.insert(id.clone(), queries.len()).is_some() {
            return Err(bad_line(&path, line, format_args!("there is a query {id} already")));
        }
        let without = corpus.places.get(&id).copied();
        queries.push(Query { text: query.text, group: 0, relevant: Vec::new(), without });
        Ok(())
    })?;
    let judgements = judgements(folder, split)?;
    let mut seen = HashMap::new();
    for_each_judgement(&judgements, |line, Judgement { query, document, score }| {
        let Some(&place) = places.get(&query) else {
            return Err(bad_line(&judgements, line, format_args!("there is no query {query} in {}", path.display())));
        };
        if let Some(before) = seen.insert((place, document.clone()), line) {
            let why = format!("query {query} and document {document} were judged in line {before} already");
            return Err(bad_line(&judgements, line, why));
        }
        let document = corpus.places.get(&document).copied();
        if queries[place].without == document {
            queries[place].without = None;
        }
        if score > 0.0 {
            queries[place].relevant.push(Judged { document, gain: score });
        }
        Ok(())
    })?;
    queries.retain(|query| !query.relevant.is_empty());
    if queries.iter().flat_map(|query| &query.relevant).all(|judged| judged.document.is_none()) {
        let message = format!("No query of {} has an answer in {}.", judgements.display(), corpus.path.display());
        return Err(Error::new(Code::InvalidInput, message).with("file", judgements.display().to_string()));
    }
    let name = folder.display().to_string();
    let groups = vec![Group { name: name.clone(), documents: 0..corpus.len }];
    Ok(Collection { name, documents: Box::new(corpus), queries, groups })
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: Value,
    text: String,
}

#[derive(Deserialize)]
struct DocumentLine {
    #[serde(rename = "_id")]
    id: Value,
    #[serde(default)]
    title: Option<String>,
    text: String,
}

impl DocumentLine {
    /// Title and text, as BEIR puts them together.
    fn text(self) -> String {
        match self.title.filter(|title| !title.trim().is_empty()) {
            Some(title) => format!("{} {}", title.trim(), self.text).trim().to_owned(),
            None => self.text,
        }
    }
}

/// Ids are strings; some sets have numbers.
fn id_of(id: &Value) -> Result<String, String> {
    match id {
        Value::String(id) if !id.is_empty() => Ok(id.clone()),
        Value::Number(id) => Ok(id.to_string()),
        other => Err(format!("an id must be a string that is not empty, not {other}")),
    }
}

/// The documents, of which only the ids are in memory. Those without text are none.
struct Corpus {
    path: PathBuf,
    places: HashMap<String, usize>,
    len: usize,
}

impl Corpus {
    fn open(path: PathBuf) -> Result<Self> {
        // Also of documents without text, so that none is there twice.
        let mut ids: HashMap<String, Option<usize>> = HashMap::new();
        let mut len = 0;
        for_each_json(&path, |line, document: DocumentLine| {
            let id = id_of(&document.id).map_err(|why| bad_line(&path, line, why))?;
            let place = (!document.text().trim().is_empty()).then_some(len);
            len += usize::from(place.is_some());
            match ids.insert(id.clone(), place) {
                Some(_) => Err(bad_line(&path, line, format_args!("there is a document {id} already"))),
                None => Ok(()),
            }
        })?;
        let places = ids.into_iter().filter_map(|(id, place)| place.map(|place| (id, place))).collect();
        Ok(Corpus { path, places, len })
    }
}

impl Documents for Corpus {
    fn len(&self) -> usize {
        self.len
    }

    fn are_code(&self) -> bool {
        false
    }

    fn for_each(&self, _: Form, each: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
        for_each_json(&self.path, |_, document: DocumentLine| {
            let text = document.text();
            if text.trim().is_empty() { Ok(()) } else { each(text) }
        })
    }
}

/// The file with the judgements.
fn judgements(folder: &Path, split: &str) -> Result<PathBuf> {
    let names =
        [format!("qrels/{split}.tsv"), format!("qrels/{split}.jsonl"), "qrels.jsonl".into(), "qrels.tsv".into()];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let message = format!("{} has no judgements: there is none of {}.", folder.display(), names.join(", "));
        Error::new(Code::InvalidInput, message).with("folder", folder.display().to_string())
    })
}

struct Judgement {
    query: String,
    document: String,
    score: f64,
}

#[derive(Deserialize)]
struct JudgementLine {
    #[serde(rename = "query-id", alias = "query_id")]
    query: Value,
    #[serde(rename = "corpus-id", alias = "corpus_id")]
    document: Value,
    score: f64,
}

fn for_each_judgement(path: &Path, mut each: impl FnMut(usize, Judgement) -> Result<()>) -> Result<()> {
    if path.extension().is_some_and(|end| end == "jsonl") {
        return for_each_json(path, |line, JudgementLine { query, document, score }| {
            let id = |id: &Value| id_of(id).map_err(|why| bad_line(path, line, why));
            each(line, Judgement { query: id(&query)?, document: id(&document)?, score })
        });
    }
    let mut first = true;
    for_each_line(path, |number, line| {
        let is_first = std::mem::take(&mut first);
        let line = std::str::from_utf8(line).map_err(|_| bad_line(path, number, "it is no UTF-8"))?;
        let [query, document, score] = line.split('\t').map(str::trim).collect::<Vec<_>>()[..] else {
            return Err(bad_line(path, number, "a line has query-id, corpus-id and score, separated by tabs"));
        };
        let score = match score.parse::<f64>() {
            Ok(score) if score.is_finite() => score,
            // The head line.
            _ if is_first => return Ok(()),
            _ => return Err(bad_line(path, number, format_args!("the score {score} is no number"))),
        };
        each(number, Judgement { query: query.to_owned(), document: document.to_owned(), score })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    const CORPUS: &str = concat!(
        "{\"_id\":\"d1\",\"title\":\"A title\",\"text\":\"one\"}\n",
        "{\"_id\":\"d2\",\"title\":\"\",\"text\":\" \"}\n",
        "{\"_id\":3,\"text\":\"three\",\"metadata\":{}}\n",
        "{\"_id\":\"q2\",\"text\":\"itself\"}\n",
        "{\"_id\":\"q3\",\"text\":\"itself too\"}",
    );
    const QUERIES: &str = concat!(
        "{\"_id\":\"q1\",\"text\":\"first\"}\n\n",
        "{\"_id\":\"q2\",\"text\":\"second\"}\r\n",
        "{\"_id\":\"q3\",\"text\":\"third\"}\n{\"_id\":\"q4\",\"text\":\"none\"}\n",
    );
    const TSV: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq1\t3\t0\nq2\t3\t1\nq3\tq3\t1\n";

    type Found<'c> = Vec<(&'c str, Vec<(Option<usize>, f64)>, Option<usize>)>;

    fn found(collection: &Collection) -> Found<'_> {
        let relevant = |query: &Query| query.relevant.iter().map(|j| (j.document, j.gain)).collect();
        collection.queries.iter().map(|query| (query.text.as_str(), relevant(query), query.without)).collect()
    }

    #[test]
    fn the_layout_of_beir() {
        let folder = folder(&[("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/test.tsv", TSV)]);
        let collection = read_dataset(folder.path(), "test").unwrap();
        let expected: Found = vec![
            ("first", vec![(Some(0), 2.0), (None, 1.0)], None),
            ("second", vec![(Some(1), 1.0)], Some(2)),
            ("third", vec![(Some(3), 1.0)], None),
        ];
        assert_eq!(found(&collection), expected);
        let mut texts = Vec::new();
        collection
            .documents
            .for_each(Form::PLAIN, &mut |text| {
                texts.push(text);
                Ok(())
            })
            .unwrap();
        assert_eq!(texts, ["A title one", "three", "itself", "itself too"]);
        assert_eq!((collection.documents.len(), collection.groups[0].documents.clone()), (4, 0..4));
    }

    #[test]
    fn judgements_as_json_lines() {
        let json = "{\"query-id\":\"q1\",\"corpus-id\":\"d1\",\"score\":1}\n{\"query_id\":\"q2\",\"corpus_id\":3,\"score\":2.5}";
        for name in ["qrels.jsonl", "qrels/test.jsonl"] {
            let folder = folder(&[("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), (name, json)]);
            let collection = read_dataset(folder.path(), "test").unwrap();
            assert_eq!(collection.queries.len(), 2);
            assert_eq!(collection.queries[1].relevant, [Judged { document: Some(1), gain: 2.5 }]);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let error = |files: &[(&str, &str)]| {
            let base = [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/test.tsv", TSV)];
            let files: Vec<(&str, &str)> = base.iter().chain(files).copied().collect();
            let error = read_dataset(folder(&files).path(), "test").err().unwrap();
            assert_eq!(error.code, Code::InvalidInput);
            (error.message, error.details.get("line").and_then(Value::as_u64))
        };
        for (name, content, line, words) in [
            ("corpus.jsonl", "{\"_id\":\"a\",\"text\":\"x\"}\n\n{\"_id\":\"b\"}", 3, "missing field `text`"),
            ("corpus.jsonl", "{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"a\",\"text\":\"y\"}", 2, "already"),
            ("corpus.jsonl", "{\"_id\":\"a\",\"text\":", 1, "EOF"),
            ("corpus.jsonl", "{\"_id\":null,\"text\":\"x\"}", 1, "null"),
            ("queries.jsonl", "{\"_id\":\"q1\",\"text\":\"\"}", 1, "no text"),
            ("queries.jsonl", "{\"_id\":\"q1\",\"text\":\"a\"}\n{\"_id\":\"q1\",\"text\":\"b\"}", 2, "already"),
            ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\td1\t1", 2, "no query q9"),
            ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1", 2, "tabs"),
            ("qrels/test.tsv", "q1\td1\t1\nq1\td1\tmany", 2, "many"),
            ("qrels/test.tsv", "q1\td1\t1\nq2\td1\t1\nq1\td1\t1", 3, "line 1"),
        ] {
            let (message, at) = error(&[(name, content)]);
            assert_eq!(at, Some(line), "{message}");
            assert!(message.contains(name) && message.contains(words), "{message}");
        }
        assert!(error(&[("qrels/test.tsv", "q1\tnowhere\t1")]).0.contains("No query"));
        let none = folder(&[("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES)]);
        assert!(read_dataset(none.path(), "dev").err().unwrap().message.contains("qrels/dev.tsv"));
        assert!(read_dataset(&none.path().join("x"), "test").err().unwrap().message.contains("corpus.jsonl"));
    }
}
