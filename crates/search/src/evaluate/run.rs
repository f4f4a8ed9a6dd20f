//! From a collection to its report.

use embedding_engine::engine::OnEvent;
use embedding_engine::model::Task;
use embedding_engine::{Cancel, Code, Error, Result};
use embedding_engine_chunk::Template;

use super::batch::{Batch, Progress};
use super::bm25::Bm25;
use super::collection::{Collection, Form};
use super::model::{Rows, VectorModel};
use super::ranker::{Dense, Ranker};
use super::report::{Names, Report, Scope, TOO_FEW_QUERIES};
use super::summary::{Part, groups, notes, section, sweep};
use crate::fuse::FULL_TEXT_WEIGHT;

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

/// Ranks the documents of a collection for its queries by chance, BM25, and, with a model, by the model and both.
/// Memory: vectors and word counts of all documents, and the texts of one call.
///
/// # Errors
/// `INVALID_INPUT` where there is nothing to evaluate, `ABORTED`, and what reading and embedding fail with.
pub fn evaluate(
    collection: &Collection,
    mut model: Option<&mut dyn VectorModel>,
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
    let queries = match &mut model {
        Some(model) => Some(job.queries(*model)?),
        None => None,
    };
    let mut parts = Vec::new();
    for names in names {
        let ranker = job.ranker(*names, reborrow(&mut model), queries.as_ref(), embeds_plain)?;
        let figures = ranker.run(collection, cancel)?;
        parts.push((*names, ranker.columns(), figures));
    }
    let mut report = job.report(&parts);
    if let Some(model) = model {
        (report.model, report.space) = (model.model(), model.space());
    }
    Ok(report)
}

/// `as_deref_mut` would ask the trait object to live for ever.
fn reborrow<'e>(model: &'e mut Option<&mut dyn VectorModel>) -> Option<&'e mut dyn VectorModel> {
    match model {
        Some(model) => Some(&mut **model),
        None => None,
    }
}

struct Job<'j> {
    collection: &'j Collection,
    options: &'j Options,
    cancel: &'j Cancel,
    progress: Progress,
}

impl Job<'_> {
    fn queries(&mut self, model: &mut dyn VectorModel) -> Result<Rows> {
        let mut batch = Batch::new(Task::Query);
        for query in &self.collection.queries {
            batch.push(query.text.clone(), model, self.cancel, &mut self.progress)?;
        }
        batch.finish(model, self.cancel, &mut self.progress)
    }

    fn ranker(
        &mut self,
        names: Names,
        mut model: Option<&mut dyn VectorModel>,
        queries: Option<&Rows>,
        embeds_plain: bool,
    ) -> Result<Ranker> {
        let blank_names = names == Names::Blanked;
        let code = self.collection.documents.are_code();
        let plain_form = Form { template: None, blank_names };
        let plain_model = if embeds_plain || !code { reborrow(&mut model) } else { None };
        let (plain, plain_vectors) = self.pass(plain_form, plain_model)?;
        let (template, template_vectors) = if code {
            let form = Form { template: Some(self.options.template), blank_names };
            let (index, vectors) = self.pass(form, model)?;
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
    fn pass(&mut self, form: Form, mut model: Option<&mut dyn VectorModel>) -> Result<(Bm25, Option<Rows>)> {
        let mut index = Bm25::default();
        let mut batch = Batch::new(Task::Document);
        let (cancel, progress) = (self.cancel, &mut self.progress);
        self.collection.documents.for_each(form, &mut |text| {
            cancel.check()?;
            index.push(&text);
            match &mut model {
                Some(model) => batch.push(text, *model, cancel, progress),
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
        let rows = match model {
            Some(model) => Some(batch.finish(model, cancel, progress)?),
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
            groups: if several { groups(collection, parts) } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests;
