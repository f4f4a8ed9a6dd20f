//! Values that are made once and shared by all who ask for them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::sync::lock;

/// What a waiter is told. It must not wait for anything.
pub(super) type Waiter<V> = Box<dyn FnOnce(Result<V>) + Send>;

/// A map whose values take long to make. Whoever asks for a value that is being made waits for it; a
/// failure is told to all who wait and then forgotten; when all have left, the making is cancelled.
pub(super) struct Shared<K, V> {
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    next: u64,
    entries: HashMap<K, Entry<V>>,
}

enum Entry<V> {
    Making { id: u64, cancel: Cancel, waiters: Vec<(u64, Waiter<V>)> },
    Made(V),
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Shared { state: Mutex::new(State { next: 0, entries: HashMap::new() }) })
    }

    /// Tells `waiter` the value of `key`; if there is none and nobody makes it, `make` is called with
    /// the promise to do so. A waiter whose `stop` is raised leaves.
    pub(super) fn get(self: &Arc<Self>, key: K, stop: &Cancel, waiter: Waiter<V>, make: impl FnOnce(Promise<K, V>)) {
        self.ask(key, waiter).go_on(stop, make);
    }

    /// The first half of [`Shared::get`], which calls nobody and so may be under a lock.
    pub(super) fn ask(self: &Arc<Self>, key: K, waiter: Waiter<V>) -> Asking<K, V> {
        let mut state = lock(&self.state);
        state.next += 1;
        let id = state.next;
        let answer = match state.entries.get_mut(&key) {
            Some(Entry::Made(value)) => Answer::Made(value.clone(), waiter),
            Some(Entry::Making { waiters, .. }) => {
                waiters.push((id, waiter));
                Answer::Making
            }
            None => {
                let cancel = Cancel::new();
                let making = Entry::Making { id, cancel: cancel.clone(), waiters: vec![(id, waiter)] };
                state.entries.insert(key.clone(), making);
                Answer::ToMake(Promise { shared: Arc::clone(self), key: key.clone(), id, cancel, kept: false })
            }
        };
        drop(state);
        Asking { shared: Arc::clone(self), key, id, answer }
    }

    /// Whether the value of `key` is there already.
    pub(super) fn has(&self, key: &K) -> bool {
        matches!(lock(&self.state).entries.get(key), Some(Entry::Made(_)))
    }

    fn leave(&self, key: &K, waiter_id: u64) {
        let mut state = lock(&self.state);
        let Some(Entry::Making { cancel, waiters, .. }) = state.entries.get_mut(key) else { return };
        let Some(index) = waiters.iter().position(|&(id, _)| id == waiter_id) else { return };
        let left = waiters.swap_remove(index);
        let given_up = waiters.is_empty().then(|| cancel.clone());
        if given_up.is_some() {
            state.entries.remove(key);
        }
        drop(state);
        drop(left);
        if let Some(cancel) = given_up {
            cancel.cancel();
        }
    }

    /// Takes out every value that `which` says; what is being made is not looked at.
    pub(super) fn remove_if(&self, mut which: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        let mut state = lock(&self.state);
        let removed = state.entries.extract_if(|key, entry| match entry {
            Entry::Made(value) => which(key, value),
            Entry::Making { .. } => false,
        });
        let removed: Vec<_> = removed.collect();
        drop(state);
        removed
            .into_iter()
            .filter_map(|(key, entry)| if let Entry::Made(value) = entry { Some((key, value)) } else { None })
            .collect()
    }

    /// Takes out the value with the least `rank` among those that have one.
    pub(super) fn remove_least<R: Ord>(&self, rank: impl Fn(&V) -> Option<R>) -> Option<(K, V)> {
        let mut state = lock(&self.state);
        let ranked = state.entries.iter().filter_map(|(key, entry)| match entry {
            Entry::Made(value) => Some((rank(value)?, key)),
            Entry::Making { .. } => None,
        });
        let key = ranked.min_by(|(a, _), (b, _)| a.cmp(b))?.1.clone();
        match state.entries.remove(&key) {
            Some(Entry::Made(value)) => Some((key, value)),
            _ => None,
        }
    }

    /// Every value that is made.
    pub(super) fn made(&self) -> Vec<V> {
        let state = lock(&self.state);
        state
            .entries
            .values()
            .filter_map(|entry| if let Entry::Made(value) = entry { Some(value.clone()) } else { None })
            .collect()
    }

    /// Takes out everything. What is being made is cancelled, and its waiters are dropped.
    pub(super) fn clear(&self) -> Vec<V> {
        let entries = std::mem::take(&mut lock(&self.state).entries);
        let mut made = Vec::new();
        for entry in entries.into_values() {
            match entry {
                Entry::Made(value) => made.push(value),
                Entry::Making { cancel, waiters, .. } => {
                    drop(waiters);
                    cancel.cancel();
                }
            }
        }
        made
    }
}

/// Somebody has asked for a value.
#[must_use = "a waiter that is not told waits for ever"]
pub(super) struct Asking<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    shared: Arc<Shared<K, V>>,
    key: K,
    id: u64,
    answer: Answer<K, V>,
}

enum Answer<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    Made(V, Waiter<V>),
    Making,
    ToMake(Promise<K, V>),
}

impl<K, V> Asking<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Whether the value is to be made by who asked.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.answer, Answer::ToMake(_))
    }

    /// The second half of [`Shared::get`].
    pub(super) fn go_on(self, stop: &Cancel, make: impl FnOnce(Promise<K, V>)) {
        let Asking { shared, key, id, answer } = self;
        match answer {
            Answer::Made(value, waiter) => return waiter(Ok(value)),
            Answer::Making => {}
            Answer::ToMake(promise) => make(promise),
        }
        let shared = Arc::downgrade(&shared);
        let leave = stop.on_cancel(move || {
            if let Some(shared) = shared.upgrade() {
                shared.leave(&key, id);
            }
        });
        // The call that it belongs to ends one day, and takes the listener with it.
        leave.detach();
    }
}

/// The duty to make a value.
pub(super) struct Promise<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    shared: Arc<Shared<K, V>>,
    key: K,
    id: u64,
    cancel: Cancel,
    kept: bool,
}

impl<K, V> Promise<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Raised when nobody waits any more.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Tells all who wait. Whether the value is shared from now on: not after a failure, nor if all have left.
    pub(super) fn keep(mut self, result: Result<V>) -> bool {
        self.tell(result)
    }

    fn tell(&mut self, result: Result<V>) -> bool {
        self.kept = true;
        let mut state = lock(&self.shared.state);
        // Another promise for the same key may have been made after all had left this one.
        let mine = matches!(state.entries.get(&self.key), Some(Entry::Making { id, .. }) if *id == self.id);
        if !mine {
            return false;
        }
        let entry = match &result {
            Ok(value) => state.entries.insert(self.key.clone(), Entry::Made(value.clone())),
            Err(_) => state.entries.remove(&self.key),
        };
        drop(state);
        if let Some(Entry::Making { waiters, .. }) = entry {
            for (_, waiter) in waiters {
                waiter(result.clone());
            }
        }
        result.is_ok()
    }
}

impl<K, V> Drop for Promise<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    fn drop(&mut self) {
        if !self.kept {
            self.tell(Err(Error::internal("The loading of a model ended without a result. Please report this.")));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::error::Code;

    type Map = Arc<Shared<&'static str, u8>>;

    struct Asking {
        results: Receiver<Result<u8, Code>>,
        stop: Cancel,
    }

    fn ask(map: &Map, promises: &Sender<Promise<&'static str, u8>>) -> Asking {
        let (sender, results) = channel();
        let stop = Cancel::new();
        let waiter = Box::new(move |result: Result<u8>| sender.send(result.map_err(|error| error.code)).unwrap());
        map.get("key", &stop, waiter, |promise| promises.send(promise).unwrap());
        Asking { results, stop }
    }

    #[test]
    fn made_once_for_all() {
        let (map, (sender, promises)) = (Shared::new(), channel());
        let askers = [ask(&map, &sender), ask(&map, &sender)];
        let promise = promises.try_recv().unwrap();
        assert!(promises.try_recv().is_err());
        assert!(promise.keep(Ok(7)));
        let late = ask(&map, &sender);
        for asker in askers.iter().chain([&late]) {
            assert_eq!(asker.results.try_recv().unwrap(), Ok(7));
        }
        assert!(promises.try_recv().is_err());
        assert_eq!(map.made(), [7]);
    }

    #[test]
    fn a_failure_is_told_to_all_and_forgotten() {
        let (map, (sender, promises)) = (Shared::new(), channel());
        let askers = [ask(&map, &sender), ask(&map, &sender)];
        assert!(!promises.try_recv().unwrap().keep(Err(Error::unsupported("x"))));
        for asker in &askers {
            assert_eq!(asker.results.try_recv().unwrap(), Err(Code::ModelUnsupported));
        }
        let again = ask(&map, &sender);
        promises.try_recv().unwrap().keep(Ok(1));
        assert_eq!(again.results.try_recv().unwrap(), Ok(1));

        let map = Shared::new();
        let asker = ask(&map, &sender);
        drop(promises.try_recv().unwrap());
        assert_eq!(asker.results.try_recv().unwrap(), Err(Code::Internal));
    }

    #[test]
    fn the_making_is_cancelled_when_the_last_has_left() {
        let (map, (sender, promises)) = (Shared::new(), channel());
        let (first, second) = (ask(&map, &sender), ask(&map, &sender));
        let promise = promises.try_recv().unwrap();
        first.stop.cancel();
        assert!(!promise.cancel().is_cancelled());
        second.stop.cancel();
        assert!(promise.cancel().is_cancelled());
        // The next one starts anew, whatever becomes of the old promise.
        let third = ask(&map, &sender);
        let anew = promises.try_recv().unwrap();
        assert!(!promise.keep(Ok(1)));
        assert!(third.results.try_recv().is_err());
        assert!(anew.keep(Ok(2)));
        assert_eq!(third.results.try_recv().unwrap(), Ok(2));
        assert!(first.results.try_recv().is_err());
    }

    #[test]
    fn values_are_taken_out() {
        let (map, (sender, promises)) = (Shared::new(), channel());
        let _asker = ask(&map, &sender);
        let promise = promises.try_recv().unwrap();
        assert_eq!(map.remove_if(|_, _| true), []);
        assert_eq!(map.remove_least(|&value| Some(value)), None);
        promise.keep(Ok(3));
        assert_eq!(map.remove_least(|_| None::<u8>), None);
        assert_eq!(map.remove_if(|_, &value| value == 4), []);
        assert_eq!(map.remove_least(|&value| Some(value)), Some(("key", 3)));
        let _asker = ask(&map, &sender);
        let promise = promises.try_recv().unwrap();
        assert!(map.clear().is_empty());
        assert!(promise.cancel().is_cancelled());
        assert!(!promise.keep(Ok(3)));
    }
}
