//! The way of a call of `count_tokens` through the engine.

use std::sync::Arc;

use super::encode::{Empty, EncodeJob};
use super::loader::Description;
use super::lookup::{Need, Target, find};
use super::reference;
use super::request::CountRequest;
use super::settle::Settle;
use super::{Inner, Texts};
use crate::error::Result;
use crate::tokenize::Encoded;

/// A call of `count_tokens`.
pub(super) struct CountCall;

impl CountCall {
    pub(super) fn start(inner: &Arc<Inner>, settle: Arc<Settle<Vec<u32>>>, request: CountRequest, texts: Texts) {
        let inner = Arc::clone(inner);
        inner.clone().tasks.once(move || {
            settle.clone().step("starting a call", || {
                let reference = reference::resolve(request.model.as_deref(), Some(&texts), &inner.options)?;
                let (tasks, call) = (Arc::clone(&inner), Arc::clone(&settle));
                find(&inner, &settle, Need::Description, reference, move |target| {
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
        let prompt = request.prompt.of(request.task, spec).map(str::to_owned);
        let stop = settle.stop().clone();
        let done = Box::new(move |encoded: Result<Vec<Encoded>>| {
            settle.finish(encoded.map(|texts| texts.iter().map(|text| text.untruncated as u32).collect()));
        });
        if let Some(job) = EncodeJob::new(Arc::clone(encoder), texts, prompt, Empty::Allowed, stop, done) {
            inner.tasks.push(job);
        }
    }
}
