//! The way of a call through the engine, step by step. Each step ends by handing over to the next.

use std::sync::Arc;

use super::call::{CallParts, QueuedCall};
use super::encode::{Empty, EncodeJob, check_content, check_empty};
use super::event::{Event, OnEvent, Reporter};
use super::gauge::Reservation;
use super::loader::Description;
use super::models::{Described, LoadedModel, ModelKey};
use super::output::{EmbedOutput, ModelReport};
use super::reference::{self, Reference};
use super::request::{CountRequest, EmbedRequest, PreloadRequest, Prompt};
use super::sequences::{Sequences, check_lengths, check_spans};
use super::settle::Settle;
use super::{Inner, Texts};
use crate::error::{Code, Error, Result};
use crate::finish::Finish;
use crate::hub::Located;
use crate::model::{ModelSpec, Pooling, SpaceParts, Task, space_id};
use crate::tokenize::Encoded;

/// A model that a call has found, loaded or not.
struct Target {
    located: Located,
    key: ModelKey,
    described: Arc<Described>,
}

/// Finds and describes a model, and hands it to `next` on a task thread. Calls that will need its weights
/// pass a `reporter`: for their user loading begins here.
fn find<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: &Arc<Settle<T>>,
    reporter: Option<&Reporter>,
    reference: Reference,
    next: impl FnOnce(Target) -> Result<()> + Send + 'static,
) -> Result<()> {
    let Reference { model, overrides } = reference;
    let located = inner.models.loader.locate(&model, settle.stop())?;
    let key = ModelKey::new(&located, &overrides);
    if let Some(reporter) = reporter
        && !inner.models.is_loaded(&key)
    {
        reporter.send(Event::Loading { model: located.id.clone() });
    }
    let waiter = {
        let (inner, settle, located, key) = (Arc::clone(inner), Arc::clone(settle), located.clone(), key.clone());
        Box::new(move |described: Result<Arc<Described>>| {
            let tasks = Arc::clone(&inner);
            tasks.tasks.once(move || {
                settle.step("checking a call", || {
                    let described = described?;
                    described.last_used.touch();
                    next(Target { located, key, described })
                });
            });
        })
    };
    inner.models.describe(key, located, overrides, settle.stop(), waiter);
    Ok(())
}

/// Loads the weights of a model and hands it to `next`.
fn load<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: &Arc<Settle<T>>,
    reporter: &Reporter,
    target: Target,
    next: impl FnOnce(Arc<LoadedModel>, Located) -> Result<()> + Send + 'static,
) {
    let Target { located, key, described } = target;
    let waiter = {
        let (settle, reporter) = (Arc::clone(settle), reporter.clone());
        Box::new(move |loaded: Result<Arc<LoadedModel>>| {
            settle.clone().step("starting a call", || {
                let loaded = loaded?;
                loaded.touch();
                reporter.send(Event::Ready { model: located.id.clone(), device: loaded.info.device.clone() });
                next(loaded, located)
            });
        })
    };
    inner.models.load(key, described, settle.stop(), waiter);
}

/// A call of `embed`.
pub(super) struct EmbedCall {
    inner: Arc<Inner>,
    settle: Arc<Settle<EmbedOutput>>,
    reporter: Reporter,
    request: EmbedRequest,
}

impl EmbedCall {
    pub(super) fn start(
        inner: &Arc<Inner>,
        settle: Arc<Settle<EmbedOutput>>,
        request: EmbedRequest,
        texts: Texts,
        progress: Option<OnEvent>,
    ) {
        let call = Arc::new(EmbedCall { inner: Arc::clone(inner), settle, reporter: Reporter::new(progress), request });
        call.settle.step("starting a call", || {
            let estimate = estimate_tokens(&texts);
            if !call.request.wait {
                let reservation = inner.gauge.reserve(estimate)?;
                Arc::clone(&call).enter(reservation, texts);
                return Ok(());
            }
            let waiting = Arc::clone(&call);
            inner.gauge.reserve_later(estimate, Box::new(move |reservation| waiting.enter(reservation, texts)));
            Ok(())
        });
    }

    /// There is room for the call: go on, off the caller's thread.
    fn enter(self: Arc<Self>, reservation: Reservation, texts: Texts) {
        let reservation = Arc::new(reservation);
        // Whoever cancels makes room at once, wherever the call is.
        let release = Arc::downgrade(&reservation);
        let listening = self.settle.stop().on_cancel(move || {
            if let Some(reservation) = release.upgrade() {
                reservation.release_all();
            }
        });
        listening.detach();
        let inner = Arc::clone(&self.inner);
        inner.tasks.once(move || {
            let settle = Arc::clone(&self.settle);
            settle.step("starting a call", || self.find_model(reservation, texts));
        });
    }

    fn find_model(self: Arc<Self>, reservation: Arc<Reservation>, texts: Texts) -> Result<()> {
        self.request.validate(&texts)?;
        check_empty(&texts)?;
        let reference = reference::resolve(self.request.model.as_deref(), Some(&texts), &self.inner.options)?;
        let call = Arc::clone(&self);
        find(&self.inner, &self.settle, Some(&self.reporter), reference, move |target| {
            call.encode(reservation, texts, target)
        })
    }

    fn encode(self: Arc<Self>, reservation: Arc<Reservation>, texts: Texts, target: Target) -> Result<()> {
        let spec = &target.described.description.spec;
        let finish = self.request.finish(spec)?;
        let encoder = Arc::clone(&target.described.description.encoder);
        let prompt = prompt_of(&self.request.prompt, self.request.task, spec).map(str::to_owned);
        if let Some(chunks) = &self.request.chunks {
            check_can_chunk(spec)?;
            let text = texts.get(0);
            let (encoded, spans) = encoder.encode_chunks(&text, prompt.as_deref(), chunks)?;
            check_content(0, &text, &encoded, None)?;
            check_lengths(std::slice::from_ref(&encoded), spec, self.request.truncate)?;
            check_spans(&spans, chunks, &encoded)?;
            drop(text);
            return self.load(reservation, target, finish, Sequences::of_chunks(encoded, spans));
        }
        let inner = Arc::clone(&self.inner);
        let stop = self.settle.stop().clone();
        let encoded = Box::new(move |encoded: Result<Vec<Encoded>>| {
            let settle = Arc::clone(&self.settle);
            settle.step("checking a call", || {
                let encoded = encoded?;
                check_lengths(&encoded, &target.described.description.spec, self.request.truncate)?;
                self.load(reservation, target, finish, Sequences::of_texts(encoded))
            });
        });
        if let Some(job) = EncodeJob::new(encoder, texts, prompt, Empty::Refused, stop, encoded) {
            inner.tasks.push(job);
        }
        Ok(())
    }

    fn load(
        self: Arc<Self>,
        reservation: Arc<Reservation>,
        target: Target,
        finish: Finish,
        work: Sequences,
    ) -> Result<()> {
        reservation.resize(work.tokens(), self.request.wait)?;
        let call = Arc::clone(&self);
        load(&self.inner, &self.settle, &self.reporter, target, move |model, located| {
            call.submit(reservation, model, &located, finish, work)
        });
        Ok(())
    }

    fn submit(
        &self,
        reservation: Arc<Reservation>,
        model: Arc<LoadedModel>,
        located: &Located,
        finish: Finish,
        work: Sequences,
    ) -> Result<()> {
        let space = self.space(&model, finish);
        self.check_space(&space)?;
        let spec = &model.described.description.spec;
        let done = work.sequences.is_empty();
        let call = QueuedCall::new(CallParts {
            engine: Arc::clone(&self.inner),
            settle: Arc::clone(&self.settle),
            reporter: self.reporter.clone(),
            reservation,
            finish,
            task_id: spec.tasks.get(&self.request.task).and_then(|task| task.task_id),
            report: model.report(Some(located)),
            space,
            work,
            model: Arc::clone(&model),
        });
        if done {
            call.complete();
        } else {
            model.submit(call);
        }
        Ok(())
    }

    fn space(&self, model: &LoadedModel, finish: Finish) -> String {
        let spec = &model.described.description.spec;
        space_id(&SpaceParts {
            content: &model.content,
            adapter: None,
            family: self.request.task.family(),
            prompt: self.request.own_prompt(spec),
            pooling: spec.pooling,
            attention: spec.attention,
            dimensions: finish.dimensions,
            normalize: finish.normalize,
            int8_weights: model.info.dtype == "int8",
        })
    }

    fn check_space(&self, found: &str) -> Result<()> {
        match self.request.space.as_deref() {
            Some(asked) if asked != found => Err(Error::new(
                Code::SpaceMismatch,
                format!(
                    "The vectors would lie in the space {found}, not in {asked}: the model or its files, the task, the \
                     prompt, the dimensions or the normalisation are others. Vectors of two spaces cannot be compared."
                ),
            )
            .with("expected", asked)
            .with("found", found)),
            _ => Ok(()),
        }
    }
}

impl EmbedRequest {
    /// What to do with the rows of this model.
    fn finish(&self, spec: &ModelSpec) -> Result<Finish> {
        let dimensions = self.dimensions.unwrap_or(spec.dimensions);
        if dimensions != spec.dimensions && !spec.matryoshka.contains(&dimensions) {
            let mut allowed = spec.matryoshka.clone();
            if !allowed.contains(&spec.dimensions) {
                allowed.push(spec.dimensions);
            }
            let list = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid_option(
                "dimensions",
                format!(
                    "{} was not trained to be cut to {dimensions} dimensions. It has {list}; if you know of others, name \
                     them in modelDefaults.",
                    spec.id
                ),
            )
            .with("value", dimensions)
            .with("allowed", allowed));
        }
        Ok(Finish { dimensions, normalize: self.normalize, precision: self.precision })
    }

    /// The caller's own prompt, where it differs from what the model would use.
    fn own_prompt(&self, spec: &ModelSpec) -> Option<&str> {
        let own = match &self.prompt {
            Prompt::Model => return None,
            Prompt::None => "",
            Prompt::Own(prompt) => prompt,
        };
        let models = prompt_of(&Prompt::Model, self.task, spec).unwrap_or_default();
        (own != models).then_some(own)
    }
}

fn prompt_of<'a>(prompt: &'a Prompt, task: Task, spec: &'a ModelSpec) -> Option<&'a str> {
    match prompt {
        Prompt::Model => spec.tasks.get(&task).and_then(|task| task.prompt.as_deref()),
        Prompt::None => None,
        Prompt::Own(prompt) => Some(prompt.as_str()),
    }
    .filter(|prompt| !prompt.is_empty())
}

/// Late chunking pools parts of a document; only a mean has parts.
fn check_can_chunk(spec: &ModelSpec) -> Result<()> {
    if spec.pooling == Pooling::Mean {
        return Ok(());
    }
    let pooling = serde_json::to_value(spec.pooling).unwrap_or_default();
    Err(Error::unsupported(format!(
        "{} pools by {pooling}, and chunks of a document can only be embedded by a model that pools by \"mean\": a single \
         token's vector stands for all of the text. Embed the chunks as texts of their own (embedBatch).",
        spec.id
    ))
    .with("pooling", pooling))
}

/// What a call surely takes of the queue before its texts are encoded: a token a text, and one in
/// sixteen bytes, which is less than tokenizers find in any language.
fn estimate_tokens(texts: &Texts) -> u64 {
    texts.len().max(texts.bytes() / 16) as u64
}

/// A call of `count_tokens`.
pub(super) struct CountCall;

impl CountCall {
    pub(super) fn start(inner: &Arc<Inner>, settle: Arc<Settle<Vec<u32>>>, request: CountRequest, texts: Texts) {
        let inner = Arc::clone(inner);
        inner.clone().tasks.once(move || {
            settle.clone().step("starting a call", || {
                let reference = reference::resolve(request.model.as_deref(), Some(&texts), &inner.options)?;
                let (tasks, call) = (Arc::clone(&inner), Arc::clone(&settle));
                find(&inner, &settle, None, reference, move |target| {
                    Self::encode(&tasks, call, &request, texts, &target);
                    Ok(())
                })
            });
        });
    }

    fn encode(
        inner: &Arc<Inner>,
        settle: Arc<Settle<Vec<u32>>>,
        request: &CountRequest,
        texts: Texts,
        target: &Target,
    ) {
        let Description { spec, encoder } = &target.described.description;
        let prompt = prompt_of(&request.prompt, request.task, spec).map(str::to_owned);
        let stop = settle.stop().clone();
        let done = Box::new(move |encoded: Result<Vec<Encoded>>| {
            settle.finish(encoded.map(|texts| texts.iter().map(|text| text.untruncated as u32).collect()));
        });
        if let Some(job) = EncodeJob::new(Arc::clone(encoder), texts, prompt, Empty::Allowed, stop, done) {
            inner.tasks.push(job);
        }
    }
}

/// A call of `preload`.
pub(super) struct PreloadCall;

impl PreloadCall {
    pub(super) fn start(
        inner: &Arc<Inner>,
        settle: Arc<Settle<ModelReport>>,
        request: PreloadRequest,
        progress: Option<OnEvent>,
    ) {
        let (inner, reporter) = (Arc::clone(inner), Reporter::new(progress));
        inner.clone().tasks.once(move || {
            settle.clone().step("starting a call", || {
                let (engine, call) = (Arc::clone(&inner), Arc::clone(&settle));
                let reference = reference::resolve(request.model.as_deref(), None, &inner.options)?;
                find(&inner, &settle, Some(&reporter.clone()), reference, move |target| {
                    let told = Arc::clone(&call);
                    load(&engine, &call, &reporter, target, move |model, located| {
                        let report = model.report(Some(&located));
                        drop(model);
                        told.finish(Ok(report));
                        Ok(())
                    });
                    Ok(())
                })
            });
        });
    }
}

impl LoadedModel {
    /// What it is, under the name by which this call found it.
    pub(super) fn report(&self, located: Option<&Located>) -> ModelReport {
        let spec = &self.described.description.spec;
        ModelReport {
            id: located.map_or(&spec.id, |located| &located.id).clone(),
            revision: located.map_or(&spec.revision, |located| &located.revision).clone(),
            adapter: None,
            backend: spec.backend,
            device: self.info.device.clone(),
            dtype: self.info.dtype.clone(),
            pooling: spec.pooling,
            attention: spec.attention,
            max_tokens: spec.max_tokens,
            license: spec.license.clone(),
        }
    }
}
