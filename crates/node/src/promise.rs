//! Promises that are settled from the engine's threads.

use std::sync::Arc;

use embedding_engine::Result;
use napi::bindgen_prelude::{Env, Object, ToNapiValue};

use crate::errors::{guarded_napi, to_napi};
use crate::events::Events;

/// What the engine calls with a result.
pub(crate) type Done<T> = Box<dyn FnOnce(Result<T>) + Send>;

type Resolver<V> = Box<dyn FnOnce(Env) -> napi::Result<V> + Send>;

/// Makes a promise and starts the work that settles it. `convert` runs on the JavaScript thread.
///
/// The process stays alive while the promise is pending. If the environment goes down before the result
/// comes (a worker that is terminated), the result is dropped.
pub(crate) fn promise<'env, T, V>(
    env: &'env Env,
    events: Option<Arc<Events>>,
    convert: impl FnOnce(T) -> V + Send + 'static,
    start: impl FnOnce(Done<T>),
) -> napi::Result<Object<'env>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred::<V, Resolver<V>>()?;
    start(Box::new(move |result| {
        deferred.resolve(Box::new(move |env| {
            guarded_napi(|| {
                if let Some(events) = events {
                    events.finish(&env);
                }
                // An error rejects the promise.
                result.map(convert).map_err(to_napi)
            })
        }));
    }));
    Ok(promise)
}
