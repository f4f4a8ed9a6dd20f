//! Stopping the engines before their environment, or the process, goes down.
//!
//! A thread that computes inside ONNX Runtime while the process runs that library's destructors crashes
//! it. So the threads are told to leave, and waited for: when a worker is terminated and when the event
//! loop has run dry (cleanup hook of the environment), and on `process.exit()` (event `exit`), which
//! runs no such hooks on the main thread.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use embedding_engine::engine::{Engine, WeakEngine};
use napi::bindgen_prelude::{Env, FnArgs, Function, JsObjectValue, Object};

use crate::errors::guarded;

/// How long the threads are waited for, all together. They leave within 200 ms, unless they are inside of
/// something that cannot be cancelled.
const LIMIT: Duration = Duration::from_secs(3);

thread_local! {
    /// The engines that were made on this thread; `None` until the first. An engine that JavaScript has
    /// forgotten is among them as long as its calls run.
    static ENGINES: RefCell<Option<Vec<WeakEngine>>> = const { RefCell::new(None) };
}

/// Sees to it that `engine` is disposed when `env` goes down.
pub(crate) fn watch(env: &Env, engine: &Engine) -> napi::Result<()> {
    let first = ENGINES.with_borrow(Option::is_none);
    if first {
        env.add_env_cleanup_hook((), |()| dispose_all())?;
        on_exit(env)?;
    }
    ENGINES.with_borrow_mut(|engines| {
        let engines = engines.get_or_insert_default();
        engines.retain(|engine| !engine.is_gone());
        engines.push(engine.downgrade());
    });
    Ok(())
}

/// What Node calls when the process ends.
type Listener<'a> = Function<'a, (), ()>;

/// `process.once('exit', …)`
fn on_exit(env: &Env) -> napi::Result<()> {
    let process: Object = env.get_global()?.get_named_property("process")?;
    let listener: Listener<'_> = env.create_function_from_closure("disposeEngines", |_| {
        dispose_all();
        Ok(())
    })?;
    let once: Function<'_, FnArgs<(&str, Listener<'_>)>, ()> = process.get_named_property("once")?;
    once.apply(process, FnArgs::from(("exit", listener)))
}

fn dispose_all() {
    let engines = ENGINES.try_with(|engines| engines.take()).ok().flatten().unwrap_or_default();
    let _ = guarded(|| {
        // All are told before any is waited for.
        engines.iter().for_each(WeakEngine::dispose);
        let deadline = Instant::now() + LIMIT;
        for engine in &engines {
            engine.wait_until_gone(Some(deadline.saturating_duration_since(Instant::now())));
        }
        Ok(())
    });
}
