//! The way of a call of `preload` through the engine.

use std::sync::Arc;

use super::Inner;
use super::lookup::{Need, find, load};
use super::output::ModelReport;
use super::reference;
use super::request::PreloadRequest;
use super::settle::Settle;

/// A call of `preload`.
pub(super) struct PreloadCall;

impl PreloadCall {
    pub(super) fn start(inner: &Arc<Inner>, settle: Arc<Settle<ModelReport>>, request: PreloadRequest) {
        let inner = Arc::clone(inner);
        inner.clone().tasks.once(move || {
            settle.clone().step("starting a call", || {
                let (engine, call) = (Arc::clone(&inner), Arc::clone(&settle));
                let reference = reference::resolve(request.model.as_deref(), None, &inner.options)?;
                find(&inner, &settle, Need::Weights, reference, move |target| {
                    let told = Arc::clone(&call);
                    load(&engine, &call, target, move |model, located| {
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
