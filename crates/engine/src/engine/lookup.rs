//! How calls come by a model: find its folder, read what it is, load its weights.

use std::sync::Arc;

use super::Inner;
use super::event::{Event, Level};
use super::models::{Described, LoadedModel, ModelKey};
use super::output::ModelReport;
use super::reference::Reference;
use super::settle::Settle;
use crate::error::Result;
use crate::hub::Located;
use crate::model::ModelOverrides;

/// A model that a call has found, loaded or not.
pub(super) struct Target {
    located: Located,
    key: ModelKey,
    pub(super) described: Arc<Described>,
}

/// What a call needs of a model that it looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// What it is, and its tokenizer.
    Description,
    /// Its weights as well: for the caller loading begins once it is found.
    Weights,
}

/// Finds and describes a model, and hands it to `next` on a task thread.
pub(super) fn find<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: &Arc<Settle<T>>,
    need: Need,
    reference: Reference,
    next: impl FnOnce(Target) -> Result<()> + Send + 'static,
) -> Result<()> {
    let Reference { model, overrides } = reference;
    let waiter = {
        let (inner, settle, overrides) = (Arc::clone(inner), Arc::clone(settle), overrides.clone());
        Box::new(move |located: Result<Located>| {
            let call = Arc::clone(&settle);
            call.step("finding a model", || {
                describe(&inner, &settle, need, located?, overrides, next);
                Ok(())
            });
        })
    };
    inner.models.locate(model, overrides, settle.stop(), settle.reporter(), waiter)
}

fn describe<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: &Arc<Settle<T>>,
    need: Need,
    located: Located,
    overrides: ModelOverrides,
    next: impl FnOnce(Target) -> Result<()> + Send + 'static,
) {
    let key = ModelKey::new(&located, &overrides);
    if need == Need::Weights && !inner.models.is_loaded(&key) {
        settle.reporter().send(Event::Loading { model: located.id.clone() });
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
}

/// Loads the weights of a model and hands it to `next`.
pub(super) fn load<T: Send + 'static>(
    inner: &Arc<Inner>,
    settle: &Arc<Settle<T>>,
    target: Target,
    next: impl FnOnce(Arc<LoadedModel>, Located) -> Result<()> + Send + 'static,
) {
    let Target { located, key, described } = target;
    let waiter = {
        let (settle, inner) = (Arc::clone(settle), Arc::clone(inner));
        Box::new(move |loaded: Result<Arc<LoadedModel>>| {
            settle.clone().step("starting a call", || {
                let loaded = loaded?;
                loaded.touch();
                if let Some(message) = inner.models.take_warning() {
                    settle.reporter().send(Event::Notice { level: Level::Warn, message });
                }
                settle.reporter().send(Event::Ready { model: located.id.clone(), device: loaded.info.device.clone() });
                next(loaded, located)
            });
        })
    };
    inner.models.load(key, described, settle.stop(), waiter);
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
