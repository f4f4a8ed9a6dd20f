//! The models of an engine: loaded once each, shared, unloaded when idle or when room is needed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::call::QueuedCall;
use super::event::{Audience, OnEvent};
use super::loader::{Description, Loader, Weights};
use super::memory::{Held, Memory};
use super::options::EngineOptions;
use super::reporter::Reporter;
use super::settle::disposed;
use super::shared::{Promise, Shared, Waiter};
use super::threads::{Running, spawn};
use super::worker::{Command, Idle, OnIdle, Worker};
use crate::backend::BackendInfo;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::hub::{self, Located};
use crate::model::ModelOverrides;
use crate::sync::{catch, lock};

/// What makes two references the same model: the folder, and what the caller says about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ModelKey {
    root: PathBuf,
    overrides: String,
}

impl ModelKey {
    pub(super) fn new(located: &Located, overrides: &ModelOverrides) -> Self {
        ModelKey { root: located.root.clone(), overrides: format!("{overrides:?}") }
    }
}

/// A described model and when it was used last.
pub(super) struct Described {
    pub(super) description: Description,
    pub(super) last_used: LastUsed,
}

/// When something was used last.
#[derive(Clone)]
pub(super) struct LastUsed(Arc<Mutex<Instant>>);

impl LastUsed {
    pub(super) fn touch(&self) {
        *lock(&self.0) = Instant::now();
    }

    pub(super) fn get(&self) -> Instant {
        *lock(&self.0)
    }
}

impl Default for LastUsed {
    fn default() -> Self {
        LastUsed(Arc::new(Mutex::new(Instant::now())))
    }
}

/// A loaded model. The weights are with its thread; this is how to reach it.
///
/// A model is idle when nothing but the list holds this, because it is handed out under the list's lock.
pub(super) struct LoadedModel {
    pub(super) described: Arc<Described>,
    pub(super) info: BackendInfo,
    pub(super) content: String,
    commands: Sender<Command>,
    last_used: LastUsed,
    /// Ends when the weights are freed.
    gone: Mutex<Receiver<()>>,
}

impl LoadedModel {
    pub(super) fn submit(&self, call: QueuedCall) {
        // The thread is there as long as this is held, unless the engine is disposed; then the call was told.
        let _ = self.commands.send(Command::Submit(Box::new(call)));
    }

    /// It is being used.
    pub(super) fn touch(&self) {
        self.last_used.touch();
    }

    fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }

    /// Waits until the weights are freed.
    fn wait_until_gone(&self) {
        let _ = lock(&self.gone).recv();
    }
}

/// A model as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    model: String,
    overrides: String,
}

type LocatedMap = Shared<Name, Located>;
type DescribedMap = Shared<ModelKey, Arc<Described>>;
type LoadedMap = Shared<ModelKey, Arc<LoadedModel>>;

/// All models of an engine.
pub(super) struct Models {
    pub(super) loader: Arc<dyn Loader>,
    /// Models of the hub. What a branch stands for is asked once.
    located: Arc<LocatedMap>,
    /// Who wants to hear of the downloads that are under way.
    audiences: Mutex<HashMap<Name, Arc<Audience>>>,
    described: Arc<DescribedMap>,
    loaded: Arc<LoadedMap>,
    memory: Arc<Memory>,
    threads: usize,
    max_tokens_per_batch: Option<usize>,
    idle_unload: Option<Duration>,
    pool: Mutex<Option<Arc<rayon::ThreadPool>>>,
    running: Arc<Running>,
}

impl Models {
    pub(super) fn new(loader: Arc<dyn Loader>, options: &EngineOptions) -> Arc<Self> {
        Arc::new(Models {
            loader,
            located: Shared::new(),
            audiences: Mutex::default(),
            described: Shared::new(),
            loaded: Shared::new(),
            memory: Memory::new(options.memory_limit),
            threads: options.threads(),
            max_tokens_per_batch: options.max_tokens_per_batch,
            idle_unload: (options.idle_unload_ms > 0).then(|| Duration::from_millis(options.idle_unload_ms)),
            pool: Mutex::new(None),
            running: Arc::default(),
        })
    }

    /// Tells `waiter` where the model is, fetching what is missing of it if nobody did. Those who ask
    /// meanwhile share the work, and all are told how far it is; it ends when all have left.
    pub(super) fn locate(
        self: &Arc<Self>,
        model: String,
        overrides: ModelOverrides,
        stop: &Cancel,
        reporter: &Reporter,
        waiter: Waiter<Located>,
    ) -> Result<()> {
        if matches!(hub::Reference::parse(&model)?, hub::Reference::Folder(_)) {
            waiter(self.loader.locate(&model, &overrides, stop, &reporter.sink()));
            return Ok(());
        }
        let name = Name { model: model.clone(), overrides: format!("{overrides:?}") };
        // Somebody may have removed it since.
        self.located.remove_if(|other, located| *other == name && !located.root.exists());
        let (asking, audience) = {
            // Held over both, so that who joins a download also hears of it, and hears of what has happened before its
            // waiter is told: the audience is closed first. Nobody is called meanwhile.
            let mut audiences = lock(&self.audiences);
            let asking = self.located.ask(name.clone(), waiter);
            if asking.is_first() {
                audiences.insert(name.clone(), Arc::default());
            }
            let audience = audiences.get(&name).cloned().unwrap_or_default();
            audience.join(stop, reporter);
            (asking, audience)
        };
        reporter.tell();
        let models = Arc::clone(self);
        asking.go_on(stop, |promise| {
            let Some(running) = models.running.enter() else {
                models.close_audience(&name, &audience);
                promise.keep(Err(disposed()));
                return;
            };
            spawn("embedding-fetch", promise, move |promise| {
                let _running = running;
                let told = Arc::clone(&audience);
                let events: OnEvent = Arc::new(move |event| told.tell(event));
                let located =
                    catch("finding a model", || models.loader.locate(&model, &overrides, promise.cancel(), &events));
                models.close_audience(&name, &audience);
                promise.keep(located);
            });
        });
        Ok(())
    }

    /// The download is over. Another one of the same name may have begun meanwhile.
    fn close_audience(&self, name: &Name, ended: &Arc<Audience>) {
        let mut audiences = lock(&self.audiences);
        if audiences.get(name).is_some_and(|found| Arc::ptr_eq(found, ended)) {
            audiences.remove(name);
        }
    }

    /// Tells `waiter` what the model is, reading its folder if nobody did.
    pub(super) fn describe(
        self: &Arc<Self>,
        key: ModelKey,
        located: Located,
        overrides: ModelOverrides,
        stop: &Cancel,
        waiter: Waiter<Arc<Described>>,
    ) {
        self.forget_descriptions();
        let models = Arc::clone(self);
        let make = move |promise: Promise<ModelKey, Arc<Described>>| {
            let Some(running) = models.running.enter() else {
                promise.keep(Err(disposed()));
                return;
            };
            spawn("embedding-describe", promise, move |promise| {
                let _running = running;
                let result = catch("reading a model", || models.loader.describe(&located, &overrides));
                promise.keep(
                    result.map(|description| Arc::new(Described { description, last_used: LastUsed::default() })),
                );
            });
        };
        self.described.get(key, stop, waiter, make);
    }

    /// Descriptions of models that are not loaded go when they have been idle for as long as models may be.
    fn forget_descriptions(&self) {
        let Some(limit) = self.idle_unload else { return };
        drop(self.described.remove_if(|_, described| {
            Arc::strong_count(described) == 1 && described.last_used.get().elapsed() >= limit
        }));
    }

    /// Whether the model is loaded already.
    pub(super) fn is_loaded(&self, key: &ModelKey) -> bool {
        self.loaded.has(key)
    }

    /// Tells `waiter` the loaded model, loading it if nobody did. It stays loaded while it is held.
    pub(super) fn load(
        self: &Arc<Self>,
        key: ModelKey,
        described: Arc<Described>,
        stop: &Cancel,
        waiter: Waiter<Arc<LoadedModel>>,
    ) {
        let models = Arc::clone(self);
        let make = {
            let key = key.clone();
            move |promise: Promise<ModelKey, Arc<LoadedModel>>| {
                let Some(running) = models.running.enter() else {
                    promise.keep(Err(disposed()));
                    return;
                };
                spawn("embedding-model", promise, move |promise| {
                    let _running = running;
                    models.load_and_work(key, described, promise);
                });
            }
        };
        self.loaded.get(key, stop, waiter, make);
    }

    /// The life of a model's thread: load, tell those who wait, work, free the weights.
    fn load_and_work(
        self: Arc<Self>,
        key: ModelKey,
        described: Arc<Described>,
        promise: Promise<ModelKey, Arc<LoadedModel>>,
    ) {
        let loaded = catch("loading a model", || self.load_weights(&described, promise.cancel()));
        let (weights, held) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                promise.keep(Err(error));
                return;
            }
        };
        let pool = match self.pool() {
            Ok(pool) => pool,
            Err(error) => {
                promise.keep(Err(error));
                return;
            }
        };
        let (commands, receiver) = channel();
        let (alive, gone) = channel::<()>();
        let last_used = LastUsed::default();
        let info = weights.backend.info().clone();
        let default_budget = weights.backend.tokens_per_batch();
        let default_budget = default_budget.unwrap_or_else(|| self.loader.tokens_per_batch(&info.device));
        let model = Arc::new(LoadedModel {
            described: Arc::clone(&described),
            content: weights.content.clone(),
            commands,
            last_used: last_used.clone(),
            gone: Mutex::new(gone),
            info,
        });
        let worker = Worker {
            weights: Arc::new(weights),
            pool,
            commands: receiver,
            budget: self.max_tokens_per_batch.unwrap_or(default_budget),
            budget_is_fixed: self.max_tokens_per_batch.is_some(),
            width: described.description.spec.full_width(),
            last_used,
            on_idle: self.on_idle(key.clone()),
        };
        let models = Arc::downgrade(&self);
        drop((self, described));
        let work = || {
            if promise.keep(Ok(model)) {
                worker.run();
            }
            Ok(())
        };
        // A worker that panics all the same must not be left in the list: the next call loads the model anew.
        if catch("scheduling", work).is_err()
            && let Some(models) = models.upgrade()
        {
            models.loaded.remove_if(|other, _| *other == key);
        }
        // Told last: whoever waits for it wants the memory.
        drop(held);
        drop(alive);
    }

    /// As [`Loader::take_warning`](super::loader::Loader::take_warning).
    pub(super) fn take_warning(&self) -> Option<String> {
        self.loader.take_warning()
    }

    fn load_weights(&self, described: &Described, cancel: &Cancel) -> Result<(Weights, Held)> {
        let spec = &described.description.spec;
        let mut held = self.make_room(&spec.id, self.loader.weight_bytes(spec)?)?;
        cancel.check()?;
        let weights = self.loader.load(spec, cancel)?;
        held.resize(weights.backend.info().weight_bytes);
        Ok((weights, held))
    }

    /// Takes room for a model, unloading idle ones, the least recently used first.
    fn make_room(&self, model: &str, bytes: u64) -> Result<Held> {
        loop {
            if let Some(held) = self.memory.take(bytes) {
                return Ok(held);
            }
            let idle = |model: &Arc<LoadedModel>| (Arc::strong_count(model) == 1).then(|| model.last_used.get());
            let unloaded = if self.memory.can_ever_fit(bytes) { self.loaded.remove_least(idle) } else { None };
            let Some((key, least_used)) = unloaded else {
                return Err(self.memory.exceeded(model, bytes));
            };
            self.described.remove_if(|other, _| *other == key);
            least_used.stop();
            least_used.wait_until_gone();
        }
    }

    fn on_idle(self: &Arc<Self>, key: ModelKey) -> OnIdle {
        let limit = self.idle_unload;
        let models: Weak<Models> = Arc::downgrade(self);
        Box::new(move || {
            let (Some(limit), Some(models)) = (limit, models.upgrade()) else { return Idle::Wait(None) };
            let mut wait = limit;
            let removed = models.loaded.remove_if(|other, model| {
                if *other != key {
                    return false;
                }
                wait = limit.saturating_sub(model.last_used.get().elapsed()).max(Duration::from_millis(1));
                Arc::strong_count(model) == 1 && model.last_used.get().elapsed() >= limit
            });
            if removed.is_empty() {
                return Idle::Wait(Some(wait));
            }
            models.described.remove_if(|other, _| *other == key);
            Idle::Unloaded
        })
    }

    /// The threads that compute, made with the first model.
    fn pool(&self) -> Result<Arc<rayon::ThreadPool>> {
        let mut pool = lock(&self.pool);
        if let Some(pool) = &*pool {
            return Ok(Arc::clone(pool));
        }
        let builder = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
        let made = builder.thread_name(|index| format!("embedding-compute-{index}")).build().map_err(|error| {
            Error::new(Code::OutOfMemory, format!("{} threads cannot be started: {error}.", self.threads))
        })?;
        Ok(Arc::clone(pool.insert(Arc::new(made))))
    }

    /// The models that are loaded.
    pub(super) fn loaded(&self) -> Vec<Arc<LoadedModel>> {
        self.loaded.made()
    }

    /// Tells all threads to leave, and lets no more begin. The calls must have been told before.
    pub(super) fn stop(&self) {
        self.running.close();
        self.located.clear();
        self.described.clear();
        for model in self.loaded.clear() {
            model.stop();
        }
    }

    /// The threads of the models, for who wants to wait for their end.
    pub(super) fn threads(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }
}
