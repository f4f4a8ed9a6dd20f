//! Progress events on their way to a JavaScript callback.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embedding_engine::engine::{Event, OnEvent};
use embedding_engine_search::event::{IndexEvent, OnIndexEvent};
use napi::bindgen_prelude::{Env, Function, FunctionRef};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde::Serialize;

/// A callback as JavaScript passes it.
pub(crate) type EventCallback<'env> = Function<'env, String, ()>;

/// Wakes the JavaScript thread. Weak: it is the promise that keeps the process alive, not the progress.
type Wake = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

/// The events of one call.
///
/// Engine threads put them into a queue and wake the JavaScript thread, which empties it; the promise
/// empties it once more before it settles. So events come in order, and none after the result.
pub(crate) struct Events {
    queue: Arc<Queue>,
    wake: Wake,
}

struct Queue {
    waiting: Mutex<VecDeque<String>>,
    callback: Mutex<Option<FunctionRef<String, ()>>>,
}

impl Events {
    pub(crate) fn new(env: &Env, callback: &EventCallback<'_>) -> napi::Result<Arc<Self>> {
        let queue = Arc::new(Queue { waiting: Mutex::default(), callback: Mutex::new(Some(callback.create_ref()?)) });
        let drained = Arc::clone(&queue);
        let drain: Function<'_, (), ()> = env.create_function_from_closure("drainEvents", move |context| {
            drained.drain(context.env);
            Ok(())
        })?;
        let wake = drain.build_threadsafe_function::<()>().callee_handled::<false>().weak::<true>().build()?;
        Ok(Arc::new(Events { queue, wake }))
    }

    /// What the engine calls.
    pub(crate) fn sink(self: &Arc<Self>) -> OnEvent {
        let events = Arc::clone(self);
        Arc::new(move |event: Event| events.send(&event))
    }

    /// What an index calls.
    pub(crate) fn index_sink(self: &Arc<Self>) -> OnIndexEvent {
        let events = Arc::clone(self);
        Arc::new(move |event: IndexEvent| events.send(&event))
    }

    fn send(&self, event: &impl Serialize) {
        let Ok(json) = serde_json::to_string(event) else { return };
        lock(&self.queue.waiting).push_back(json);
        // Refused only while the environment goes down, and then nobody listens.
        let _ = self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Passes on what is left; nothing will be passed on after this. On the JavaScript thread.
    pub(crate) fn finish(&self, env: &Env) {
        self.queue.drain(env);
        let callback = lock(&self.queue.callback).take();
        drop(callback);
    }
}

impl Queue {
    fn drain(&self, env: &Env) {
        loop {
            // Nothing is locked while JavaScript runs: it may start other calls.
            let Some(json) = lock(&self.waiting).pop_front() else { return };
            let guard = lock(&self.callback);
            let Some(callback) = guard.as_ref().and_then(|callback| callback.borrow_back(env).ok()) else { return };
            drop(guard);
            // The TypeScript side catches what users throw. Whatever else goes wrong is no failure of the call.
            let _ = callback.call(json);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
