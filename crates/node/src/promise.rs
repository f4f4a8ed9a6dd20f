//! Promises that are settled from the engine's threads.

use std::sync::{Arc, Mutex, PoisonError};

use embedding_engine::{Error, Result};
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

/// Runs `work` on a thread of its own and settles with its result.
pub(crate) fn in_background<T: Send + 'static>(
    name: &str,
    done: Done<T>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) {
    // Handed over through a slot, because a thread that cannot be started drops what it was given.
    let slot = Arc::new(Mutex::new(Some(done)));
    let told = Arc::clone(&slot);
    let tell = move |slot: &Mutex<Option<Done<T>>>, result| {
        let done = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            done(result);
        }
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || tell(&told, work()));
    if let Err(error) = started {
        tell(&slot, Err(Error::internal(format!("No thread can be started: {error}."))));
    }
}
