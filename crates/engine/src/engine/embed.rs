//! The way of a call of `embed` through the engine, step by step. Each step ends by handing over to the next.

use std::sync::Arc;

use super::call::{CallParts, QueuedCall};
use super::encode::{Empty, EncodeJob, check_content, check_empty};
use super::gauge::Reservation;
use super::lookup::{Need, Target, find, load};
use super::models::LoadedModel;
use super::output::EmbedOutput;
use super::reference;
use super::request::{EmbedRequest, Prompt};
use super::sequences::{Sequences, check_lengths, check_spans};
use super::settle::Settle;
use super::{Inner, Texts};
use crate::error::{Code, Error, Result};
use crate::finish::Finish;
use crate::hub::Located;
use crate::model::{ModelSpec, Pooling, SpaceParts, space_id};
use crate::tokenize::Encoded;

/// A call of `embed`.
pub(super) struct EmbedCall {
    inner: Arc<Inner>,
    settle: Arc<Settle<EmbedOutput>>,
    request: EmbedRequest,
}

impl EmbedCall {
    pub(super) fn start(inner: &Arc<Inner>, settle: Arc<Settle<EmbedOutput>>, request: EmbedRequest, texts: Texts) {
        let call = Arc::new(EmbedCall { inner: Arc::clone(inner), settle, request });
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
        find(&self.inner, &self.settle, Need::Weights, reference, move |target| call.encode(reservation, texts, target))
    }

    fn encode(self: Arc<Self>, reservation: Arc<Reservation>, texts: Texts, target: Target) -> Result<()> {
        let spec = &target.described.description.spec;
        let finish = self.request.finish(spec)?;
        let encoder = Arc::clone(&target.described.description.encoder);
        let prompt = self.request.prompt.of(self.request.task, spec).map(str::to_owned);
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
        load(&self.inner, &self.settle, target, move |model, located| {
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
        let models = Prompt::Model.of(self.task, spec).unwrap_or_default();
        (own != models).then_some(own)
    }
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

/// What a call takes of the queue before its texts are encoded: a token in sixteen bytes, which is less than
/// tokenizers find in any language, but no more than models read, since long texts will be cut.
fn estimate_tokens(texts: &Texts) -> u64 {
    (0..texts.len()).map(|index| (texts.len_of(index) / 16).clamp(1, 8192) as u64).sum()
}
