//! What is evaluated on: documents, queries, and which documents answer which query.

use std::ops::Range;

use embedding_engine::Result;
use embedding_engine_chunk::{Parts, Template, blank_name};

use super::metrics::Judged;

/// Queries and the documents among which their answers stand.
pub struct Collection {
    /// What it is called in reports.
    pub name: String,
    /// What is ranked.
    pub documents: Box<dyn Documents>,
    /// What is searched for.
    pub queries: Vec<Query>,
    /// Parts that are also looked at on their own, such as packages: together all documents, in order.
    pub groups: Vec<Group>,
}

/// Documents that stand next to each other and belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What it is called in reports.
    pub name: String,
    /// Its documents.
    pub documents: Range<usize>,
}

/// A query and its answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is searched for.
    pub text: String,
    /// Its place among [`Collection::groups`]: where its answers are.
    pub group: usize,
    /// Its answers.
    pub relevant: Vec<Judged>,
    /// A document that is left out of its ranking: the query itself, where queries are documents as well.
    pub without: Option<usize>,
}

/// How a document is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// With its names and signature before it, as search embeds it; `None`: the text as it stands.
    pub template: Option<Template>,
    /// With its own name taken out, wherever it stands.
    pub blank_names: bool,
}

impl Form {
    /// The text as it stands.
    pub const PLAIN: Form = Form { template: None, blank_names: false };
}

/// Documents that can be gone through more than once, so that not all texts need to be in memory.
pub trait Documents: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are units of code, so that templates and blanked names mean something.
    fn are_code(&self) -> bool;

    /// Calls `each` with every document, in order, in the given form.
    ///
    /// # Errors
    /// What `each` fails with, and what reading fails with.
    fn for_each(&self, form: Form, each: &mut dyn FnMut(String) -> Result<()>) -> Result<()>;
}

/// A unit of code without its documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is called.
    pub name: Option<String>,
    /// The names of what it lies in, outermost first.
    pub inside: Vec<String>,
    /// How it is declared, on one line.
    pub signature: Option<String>,
    /// Its source, without documentation.
    pub code: String,
}

impl Unit {
    /// Its text in the given form.
    pub fn text(&self, form: Form) -> String {
        let (name, signature) = (self.name.as_deref(), self.signature.as_deref());
        let blanked = |text: &str| blank_name(text, name.unwrap_or_default());
        let parts = |name, signature, source| Parts { name, inside: &self.inside, signature, continued: false, source };
        match (form.template, form.blank_names) {
            (None, false) => self.code.clone(),
            (None, true) => blanked(&self.code),
            (Some(template), false) => template.embed_text(&parts(name, signature, &self.code)),
            (Some(template), true) => {
                let signature = signature.map(blanked);
                template.embed_text(&parts(None, signature.as_deref(), &blanked(&self.code)))
            }
        }
    }
}

/// Units of code, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units(pub Vec<Unit>);

impl Documents for Units {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn are_code(&self) -> bool {
        true
    }

    fn for_each(&self, form: Form, each: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
        self.0.iter().try_for_each(|unit| each(unit.text(form)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_unit() {
        let unit = Unit {
            name: Some("push".to_owned()),
            inside: vec!["Queue".to_owned()],
            signature: Some("fn push(item: T)".to_owned()),
            code: "fn push(item: T) { self.push(item); push_all() }".to_owned(),
        };
        let template = Some(Template { name_repeats: 2 });
        let text = |template, blank_names| unit.text(Form { template, blank_names });
        assert_eq!(text(None, false), unit.code);
        assert_eq!(text(None, true), "fn _(item: T) { self._(item); push_all() }");
        assert_eq!(text(template, false), format!("Queue push push\nfn push(item: T)\n{}", unit.code));
        assert_eq!(text(template, true), "Queue\nfn _(item: T)\nfn _(item: T) { self._(item); push_all() }");
    }
}
