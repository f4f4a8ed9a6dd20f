//! From a collection to its report.

use std::time::{Duration, Instant};

use embedding_engine::engine::{Event, OnEvent};
use embedding_engine::model::Task;
use embedding_engine::{Cancel, Code, Error, Result};
use embedding_engine_chunk::Template;

use super::bm25::Bm25;
use super::bootstrap::Bootstrap;
use super::collection::{Collection, Form};
use super::embedder::{Embedder, Rows};
use super::metrics::{COUNT, Metrics};
use super::ranker::{Column, Dense, Figures, Ranker};
use super::report::{GroupReport, Names, Report, Row, Scope, Section, SweepPoint, System, TOO_FEW_QUERIES};
use crate::fuse::FULL_TEXT_WEIGHT;

/// Texts that are embedded in one call: enough for full batches, few enough to stop soon.
const TEXTS: usize = 512;
/// Bytes of texts that are embedded in one call.
const BYTES: usize = 1 << 20;

/// Between two events of progress: ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How units of code are written down.
    pub template: Template,
    /// Of BM25 beside the model.
    pub weight: f32,
    /// Further weights, each of which gives a [`SweepPoint`].
    pub sweep: Vec<f32>,
    /// Whether all is done again with the names of units blanked.
    pub blank_names: bool,
    /// Whether the model is evaluated on plain code as well.
    pub plain_model: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            template: Template::default(),
            weight: FULL_TEXT_WEIGHT,
            sweep: Vec::new(),
            blank_names: true,
            plain_model: false,
        }
    }
}

/// Ranks the documents of a collection for its queries by chance, BM25, and, with an embedder, by the model and both.
/// Memory: vectors and word counts of all documents, and the texts of one call.
///
/// # Errors
/// `INVALID_INPUT` where there is nothing to evaluate, `ABORTED`, and what reading and embedding fail with.
pub fn evaluate(
    collection: &Collection,
    mut embedder: Option<&mut dyn Embedder>,
    options: &Options,
    cancel: &Cancel,
    progress: Option<OnEvent>,
) -> Result<Report> {
    if collection.queries.is_empty() || collection.documents.is_empty() {
        let message = format!("{} has no queries with answers: there is nothing to evaluate.", collection.name);
        return Err(Error::new(Code::InvalidInput, message));
    }
    let code = collection.documents.are_code();
    let names: &[Names] = if code && options.blank_names { &[Names::Kept, Names::Blanked] } else { &[Names::Kept] };
    let embeds_plain = code && options.plain_model;
    let passes = names.len() * (1 + usize::from(embeds_plain));
    let mut job = Job {
        collection,
        options,
        cancel,
        progress: Progress::new(progress, collection.queries.len() + passes * collection.documents.len()),
    };
    let queries = match &mut embedder {
        Some(embedder) => Some(job.queries(*embedder)?),
        None => None,
    };
    let mut parts = Vec::new();
    for names in names {
        let ranker = job.ranker(*names, reborrow(&mut embedder), queries.as_ref(), embeds_plain)?;
        let figures = ranker.run(collection, cancel)?;
        parts.push((*names, ranker.columns(), figures));
    }
    let mut report = job.report(&parts);
    if let Some(embedder) = embedder {
        (report.model, report.space) = (embedder.model(), embedder.space());
    }
    Ok(report)
}

/// `as_deref_mut` would ask the trait object to live for ever.
fn reborrow<'e>(embedder: &'e mut Option<&mut dyn Embedder>) -> Option<&'e mut dyn Embedder> {
    match embedder {
        Some(embedder) => Some(&mut **embedder),
        None => None,
    }
}

struct Job<'j> {
    collection: &'j Collection,
    options: &'j Options,
    cancel: &'j Cancel,
    progress: Progress,
}

type Part = (Names, Vec<Column>, (Figures, Figures));

impl Job<'_> {
    fn queries(&mut self, embedder: &mut dyn Embedder) -> Result<Rows> {
        let mut batch = Batch::new(Task::Query);
        for query in &self.collection.queries {
            batch.push(query.text.clone(), embedder, self.cancel, &mut self.progress)?;
        }
        batch.finish(embedder, self.cancel, &mut self.progress)
    }

    fn ranker(
        &mut self,
        names: Names,
        mut embedder: Option<&mut dyn Embedder>,
        queries: Option<&Rows>,
        embeds_plain: bool,
    ) -> Result<Ranker> {
        let blank_names = names == Names::Blanked;
        let code = self.collection.documents.are_code();
        let plain_form = Form { template: None, blank_names };
        let plain_embedder = if embeds_plain || !code { reborrow(&mut embedder) } else { None };
        let (plain, plain_vectors) = self.pass(plain_form, plain_embedder)?;
        let (template, template_vectors) = if code {
            let form = Form { template: Some(self.options.template), blank_names };
            let (index, vectors) = self.pass(form, embedder)?;
            (Some(index), vectors)
        } else {
            (None, None)
        };
        let dense = |documents: Option<Rows>| {
            documents.zip(queries.cloned()).map(|(documents, queries)| Dense { documents, queries })
        };
        let mut weights = vec![self.options.weight];
        if names == Names::Kept {
            weights.extend(&self.options.sweep);
        }
        let (vectors, plain_vectors) =
            if code { (dense(template_vectors), dense(plain_vectors)) } else { (dense(plain_vectors), None) };
        Ok(Ranker { plain, template, vectors, plain_vectors, weights })
    }

    /// Goes through the documents once.
    fn pass(&mut self, form: Form, mut embedder: Option<&mut dyn Embedder>) -> Result<(Bm25, Option<Rows>)> {
        let mut index = Bm25::default();
        let mut batch = Batch::new(Task::Document);
        let (cancel, progress) = (self.cancel, &mut self.progress);
        self.collection.documents.for_each(form, &mut |text| {
            cancel.check()?;
            index.push(&text);
            match &mut embedder {
                Some(embedder) => batch.push(text, *embedder, cancel, progress),
                None => Ok(()),
            }
        })?;
        if index.len() != self.collection.documents.len() {
            let (found, expected) = (index.len(), self.collection.documents.len());
            let name = &self.collection.name;
            let message =
                format!("{name} has changed while it was read: {found} documents after {expected}. Try again.");
            return Err(Error::new(Code::InvalidInput, message));
        }
        let rows = match embedder {
            Some(embedder) => Some(batch.finish(embedder, cancel, progress)?),
            None => None,
        };
        Ok((index, rows))
    }

    fn report(&self, parts: &[Part]) -> Report {
        let Job { collection, options, .. } = self;
        let several = collection.groups.len() > 1;
        let mut sections = vec![section(Scope::Pooled, parts, |(pooled, _)| pooled)];
        if several {
            sections.push(section(Scope::Within, parts, |(_, within)| within));
        }
        let queries = collection.queries.len();
        let missing = collection.queries.iter().flat_map(|query| &query.relevant);
        let code = collection.documents.are_code();
        Report {
            name: collection.name.clone(),
            queries,
            documents: collection.documents.len(),
            missing: missing.filter(|judged| judged.document.is_none()).count(),
            model: None,
            space: None,
            name_repeats: code.then_some(options.template.name_repeats),
            hybrid_weight: options.weight,
            too_few: queries < TOO_FEW_QUERIES,
            notes: notes(queries, code),
            sections,
            sweep: sweep(parts, several),
            groups: if several { self.groups(parts) } else { Vec::new() },
        }
    }

    fn groups(&self, parts: &[Part]) -> Vec<GroupReport> {
        let Some((_, columns, (_, within))) = parts.first() else { return Vec::new() };
        let groups = self.collection.groups.iter().enumerate();
        groups
            .map(|(at, group)| {
                let of = self.collection.queries.iter().zip(within).filter(|(query, _)| query.group == at);
                let rows: Vec<&Vec<f64>> = of.map(|(_, row)| row).collect();
                let mean =
                    |column: usize| rows.iter().map(|row| row[column * COUNT]).sum::<f64>() / rows.len().max(1) as f64;
                GroupReport {
                    name: group.name.clone(),
                    queries: rows.len(),
                    documents: group.documents.len(),
                    ndcg10: systems(columns).map(|(column, system)| (system, mean(column))).collect(),
                }
            })
            .collect()
    }
}

/// The columns that have a row of their own; further weights of the hybrid have none.
fn systems(columns: &[Column]) -> impl Iterator<Item = (usize, System)> {
    let mut hybrids = 0;
    columns.iter().enumerate().filter_map(move |(at, column)| {
        let system = match column {
            Column::Random => System::Random,
            Column::Bm25 => System::Bm25,
            Column::Bm25Template => System::Bm25Template,
            Column::ModelPlain => System::ModelPlain,
            Column::Model => System::Model,
            Column::Hybrid(_) => {
                hybrids += 1;
                return (hybrids == 1).then_some((at, System::Hybrid));
            }
        };
        Some((at, system))
    })
}

fn section(scope: Scope, parts: &[Part], figures: impl Fn(&(Figures, Figures)) -> &Figures) -> Section {
    let mut rows = Vec::new();
    for (names, columns, all) in parts {
        let bootstrap = Bootstrap::new(figures(all));
        let base = columns.iter().position(|column| *column == Column::Bm25).unwrap_or_default();
        for (column, system) in systems(columns) {
            let each =
                |of: &dyn Fn(usize) -> super::Estimate| Metrics::from_values(std::array::from_fn::<_, COUNT, _>(of));
            rows.push(Row {
                system,
                names: *names,
                metrics: each(&|at| bootstrap.mean(column * COUNT + at)),
                gain: each(&|at| bootstrap.difference(column * COUNT + at, base * COUNT + at)),
            });
        }
    }
    Section { scope, rows }
}

fn sweep(parts: &[Part], several: bool) -> Vec<SweepPoint> {
    let Some((_, columns, (pooled, within))) = parts.first() else { return Vec::new() };
    let mean = |figures: &Figures, column: usize| {
        figures.iter().map(|row| row[column * COUNT]).sum::<f64>() / figures.len().max(1) as f64
    };
    let hybrids = columns.iter().enumerate().filter_map(|(at, column)| match column {
        Column::Hybrid(weight) => Some((at, *weight)),
        _ => None,
    });
    let point = |(column, weight)| SweepPoint {
        weight,
        pooled: mean(pooled, column),
        within: several.then(|| mean(within, column)),
    };
    // The first one is that of the hybrid's row.
    hybrids.skip(1).map(point).collect()
}

fn notes(queries: usize, code: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if queries < TOO_FEW_QUERIES {
        notes.push(format!("Too few to tell: {queries} queries, and differences need {TOO_FEW_QUERIES} or more."));
    }
    if code {
        notes.push("The queries are the code's own documentation, not questions that developers asked.".to_owned());
    }
    notes
}

/// Texts until there are enough for a call, and the vectors so far.
struct Batch {
    task: Task,
    texts: Vec<String>,
    bytes: usize,
    rows: Rows,
}

impl Batch {
    fn new(task: Task) -> Self {
        Batch { task, texts: Vec::new(), bytes: 0, rows: Rows::default() }
    }

    fn push(
        &mut self,
        text: String,
        embedder: &mut dyn Embedder,
        cancel: &Cancel,
        progress: &mut Progress,
    ) -> Result<()> {
        self.bytes += text.len();
        self.texts.push(text);
        if self.texts.len() >= TEXTS || self.bytes >= BYTES { self.embed(embedder, cancel, progress) } else { Ok(()) }
    }

    fn embed(&mut self, embedder: &mut dyn Embedder, cancel: &Cancel, progress: &mut Progress) -> Result<()> {
        cancel.check()?;
        let texts = std::mem::take(&mut self.texts);
        self.bytes = 0;
        let (count, before) = (texts.len(), self.rows.len());
        progress.begin();
        let rows = embedder.embed(texts, self.task).map_err(|error| self.of_all(error, before))?;
        if rows.len() != count {
            return Err(Error::internal(format!("There are {} vectors of {count} texts.", rows.len())));
        }
        self.rows.append(&rows).map_err(|error| error.with("from", before))?;
        progress.add(count, embedder.tokens());
        Ok(())
    }

    /// The engine counts texts from the first one of its call.
    fn of_all(&self, error: Error, before: usize) -> Error {
        let index = error.details.get("index").and_then(serde_json::Value::as_u64);
        let Some(index) = index.filter(|_| error.code == Code::EmptyText) else { return error };
        let index = before + index as usize;
        let what = if self.task == Task::Query { "Query" } else { "Document" };
        let message = format!("{what} {index}, counted from 0, has nothing that the model can read. Leave it out.");
        Error { message, ..error }.with("index", index)
    }

    fn finish(mut self, embedder: &mut dyn Embedder, cancel: &Cancel, progress: &mut Progress) -> Result<Rows> {
        if !self.texts.is_empty() {
            self.embed(embedder, cancel, progress)?;
        }
        Ok(self.rows)
    }
}

/// Tells how far the whole evaluation is.
struct Progress {
    target: Option<OnEvent>,
    done: usize,
    total: usize,
    began: Option<Instant>,
    told: Option<Instant>,
}

impl Progress {
    fn new(target: Option<OnEvent>, total: usize) -> Self {
        Progress { target, done: 0, total, began: None, told: None }
    }

    fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// `tokens` of all texts so far.
    fn add(&mut self, texts: usize, tokens: u64) {
        self.done += texts;
        let Some(target) = &self.target else { return };
        let now = Instant::now();
        let began = self.began.unwrap_or(now);
        if self.done < self.total && self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return;
        }
        self.told = Some(now);
        let seconds = now.duration_since(began).as_secs_f64();
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let left = self.total.saturating_sub(self.done) as f64;
        let texts_per_second = rate(self.done as f64);
        target(Event::Embedding {
            done: self.done,
            total: self.total,
            tokens_per_second: rate(tokens as f64),
            eta_seconds: if texts_per_second > 0.0 { left / texts_per_second } else { 0.0 },
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::super::collection::{Group, Query, Unit, Units};
    use super::super::metrics::Judged;
    use super::*;

    /// Two packages whose functions are asked for by a word of their body that only a "model" understands.
    fn collection() -> Collection {
        let unit = |name: &str, code: &str| Unit {
            name: Some(name.to_owned()),
            inside: Vec::new(),
            signature: Some(format!("fn {name}()")),
            code: code.to_owned(),
        };
        let units = vec![
            unit("alpha", "fn alpha() { one }"),
            unit("beta", "fn beta() { two }"),
            unit("gamma", "fn gamma() { one }"),
            unit("delta", "fn delta() { three }"),
        ];
        let query = |text: &str, group, document| Query {
            text: text.to_owned(),
            group,
            relevant: vec![Judged { document: Some(document), gain: 1.0 }],
            without: None,
        };
        let group = |name: &str, documents| Group { name: name.to_owned(), documents };
        Collection {
            name: "test".to_owned(),
            documents: Box::new(Units(units)),
            queries: vec![query("one thing", 0, 0), query("the beta", 0, 1), query("3", 1, 3)],
            groups: vec![group("a", 0..2), group("b", 2..4)],
        }
    }

    /// Knows that 3 is three, and nothing else.
    fn knows_three(texts: Vec<String>, _: Task) -> Result<Rows> {
        let knows = |text: &String| if text.contains("three") || text == "3" { [1.0, 0.0] } else { [0.0, 2.0] };
        Ok(Rows { dimensions: 2, data: texts.iter().flat_map(knows).collect() })
    }

    fn ndcg(report: &Report, scope: Scope, system: System, names: Names) -> f64 {
        report.row(scope, system, names).unwrap().metrics.ndcg10.value
    }

    #[test]
    fn figures_by_hand() {
        let options = Options { sweep: vec![0.0, 5.0], weight: 0.5, plain_model: true, ..Options::default() };
        let report = evaluate(&collection(), Some(&mut knows_three), &options, &Cancel::never(), None).unwrap();
        let discount = |rank: f64| 1.0 / (rank + 1.0).log2();
        let mean_of = |ranks: &[f64]| ranks.iter().map(|rank| discount(*rank)).sum::<f64>() / ranks.len() as f64;
        let tied = |from: u32, to: u32| mean_of(&(from..=to).map(f64::from).collect::<Vec<_>>());
        let close = |scope, system, names, expected: f64| {
            let actual = ndcg(&report, scope, system, names);
            assert!((actual - expected).abs() < 1e-6, "{scope:?} {system:?} {names:?}: {actual}, not {expected}");
        };
        let (kept, blanked) = (Names::Kept, Names::Blanked);
        close(Scope::Pooled, System::Random, kept, tied(1, 4));
        close(Scope::Within, System::Random, kept, tied(1, 2));
        // "one" is in two documents of equal length, "beta" in one, "3" in none.
        close(Scope::Pooled, System::Bm25, kept, (tied(1, 2) + 1.0 + tied(1, 4)) / 3.0);
        close(Scope::Within, System::Bm25, kept, (1.0 + 1.0 + tied(1, 2)) / 3.0);
        close(Scope::Pooled, System::Bm25, blanked, (tied(1, 2) + 2.0 * tied(1, 4)) / 3.0);
        for system in [System::Model, System::ModelPlain] {
            close(Scope::Pooled, system, kept, (2.0 * tied(1, 3) + 1.0) / 3.0);
            close(Scope::Within, system, kept, (2.0 * tied(1, 2) + 1.0) / 3.0);
        }
        // Together they know all but which of the two documents with "one" it is.
        close(Scope::Pooled, System::Hybrid, kept, (tied(1, 2) + 1.0 + 1.0) / 3.0);
        close(Scope::Within, System::Hybrid, kept, 1.0);
        assert_eq!(report.sweep.len(), 2);
        assert!((report.sweep[0].pooled - ndcg(&report, Scope::Pooled, System::Model, kept)).abs() < 1e-12);
        assert_eq!(report.sweep[1].within, Some(1.0));
        let gain = report.row(Scope::Within, System::Hybrid, kept).unwrap().gain.ndcg10.value;
        assert!((gain - (1.0 - tied(1, 2)) / 3.0).abs() < 1e-6, "{gain}");
        assert_eq!((report.groups.len(), report.groups[1].queries, report.groups[0].documents), (2, 1, 2));
        assert!(report.too_few && report.to_string().contains("Too few to tell: 3 queries"));
        serde_json::to_value(&report).unwrap();
    }

    #[test]
    fn without_a_model_there_are_its_baselines() {
        let report = evaluate(&collection(), None, &Options::default(), &Cancel::never(), None).unwrap();
        let systems: Vec<(System, Names)> = report.sections[0].rows.iter().map(|row| (row.system, row.names)).collect();
        let each = [System::Random, System::Bm25, System::Bm25Template];
        let expected = [Names::Kept, Names::Blanked].into_iter().flat_map(|names| each.map(|system| (system, names)));
        assert_eq!(systems, expected.collect::<Vec<_>>());
    }

    #[test]
    fn progress_counts_every_text_and_cancel_ends_it() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        let progress: OnEvent = Arc::new(move |event| {
            if let Event::Embedding { done, total, .. } = event {
                listener.lock().unwrap().push((done, total));
            }
        });
        evaluate(&collection(), Some(&mut knows_three), &Options::default(), &Cancel::never(), Some(progress)).unwrap();
        // Three queries, four documents with and four without names.
        assert_eq!(told.lock().unwrap().last(), Some(&(11, 11)));

        let cancel = Cancel::new();
        let mut stops = |texts: Vec<String>, task| {
            cancel.cancel();
            knows_three(texts, task)
        };
        let error = evaluate(&collection(), Some(&mut stops), &Options::default(), &cancel, None).unwrap_err();
        assert_eq!(error.code, Code::Aborted);
    }

    #[test]
    fn what_cannot_be_ranked_is_an_error() {
        let run = |embedder: &mut dyn Embedder| {
            evaluate(&collection(), Some(embedder), &Options::default(), &Cancel::never(), None).unwrap_err().code
        };
        let rows = |count: usize, value: f32| Rows { dimensions: 2, data: vec![value; 2 * count] };
        assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len(), 0.0))), Code::NonFinite);
        assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len(), f32::NAN))), Code::NonFinite);
        assert_eq!(run(&mut |texts: Vec<String>, _| Ok(rows(texts.len() + 1, 1.0))), Code::Internal);
        let none = Collection { queries: Vec::new(), ..collection() };
        let error = evaluate(&none, None, &Options::default(), &Cancel::never(), None).unwrap_err();
        assert_eq!(error.code, Code::InvalidInput);
    }
}
