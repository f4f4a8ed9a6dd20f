//! How many tokens wait, and the limit on that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Code, Error, Result};
use crate::sync::lock;

/// Counts the tokens that wait in all queues of an engine.
///
/// A reservation fits if the limit holds, or if nothing else waits: a call larger than the limit
/// could never be made otherwise.
pub(super) struct Gauge {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting_tokens: u64,
    /// Calls that wait for room, first come, first served.
    line: VecDeque<(u64, Enter)>,
}

type Enter = Box<dyn FnOnce(Reservation) + Send>;

impl Gauge {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Gauge { limit, state: Mutex::default() })
    }

    /// Reserves room for `tokens`.
    ///
    /// # Errors
    /// `QUEUE_FULL` with the figures.
    pub(super) fn reserve(self: &Arc<Self>, tokens: u64) -> Result<Reservation> {
        let mut state = lock(&self.state);
        if self.fits(state.waiting_tokens, tokens) {
            state.waiting_tokens += tokens;
            drop(state);
            return Ok(Reservation { gauge: Arc::clone(self), tokens: Mutex::new(tokens) });
        }
        Err(self.full(state.waiting_tokens, tokens))
    }

    /// Calls `enter` with a reservation as soon as there is room: at once, or on the thread that makes room.
    pub(super) fn reserve_later(self: &Arc<Self>, tokens: u64, enter: Enter) {
        let mut state = lock(&self.state);
        state.line.push_back((tokens, enter));
        self.admit(state);
    }

    fn fits(&self, others: u64, tokens: u64) -> bool {
        others == 0 || others.saturating_add(tokens) <= self.limit
    }

    fn full(&self, waiting: u64, tokens: u64) -> Error {
        let limit = self.limit;
        Error::new(
            Code::QueueFull,
            format!(
                "{waiting} tokens wait already, and this call has {tokens} or more: maxQueuedTokens is {limit}. Wait for \
                 earlier calls, use embedStream, or raise maxQueuedTokens."
            ),
        )
        .with("waiting", waiting)
        .with("tokens", tokens)
        .with("limit", limit)
    }

    /// Lets in from the front of the line whoever fits.
    fn admit(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut entering = Vec::new();
        while let Some(&(tokens, _)) = state.line.front()
            && self.fits(state.waiting_tokens, tokens)
            && let Some((_, enter)) = state.line.pop_front()
        {
            state.waiting_tokens += tokens;
            entering.push((tokens, enter));
        }
        drop(state);
        for (tokens, enter) in entering {
            enter(Reservation { gauge: Arc::clone(self), tokens: Mutex::new(tokens) });
        }
    }

    fn give_back(self: &Arc<Self>, tokens: u64) {
        let mut state = lock(&self.state);
        state.waiting_tokens -= tokens;
        self.admit(state);
    }
}

/// The room of one call. What is left of it is given back when it is dropped.
pub(super) struct Reservation {
    gauge: Arc<Gauge>,
    tokens: Mutex<u64>,
}

impl Reservation {
    /// Changes the estimate into the real number; `force` where the call has waited for its turn already.
    ///
    /// # Errors
    /// `QUEUE_FULL` with the figures.
    pub(super) fn resize(&self, tokens: u64, force: bool) -> Result<()> {
        let mut own = lock(&self.tokens);
        let mut state = lock(&self.gauge.state);
        let others = state.waiting_tokens - *own;
        if tokens > *own && !force && !self.gauge.fits(others, tokens) {
            return Err(self.gauge.full(others, tokens));
        }
        state.waiting_tokens = others + tokens;
        *own = tokens;
        drop(own);
        self.gauge.admit(state);
        Ok(())
    }

    /// Gives back `tokens`: they begin to be computed.
    pub(super) fn release(&self, tokens: u64) {
        let released = {
            let mut own = lock(&self.tokens);
            let released = tokens.min(*own);
            *own -= released;
            released
        };
        self.gauge.give_back(released);
    }

    /// Gives back all that is left.
    pub(super) fn release_all(&self) {
        self.release(u64::MAX);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_exceeds_the_limit_is_refused_with_figures() {
        let gauge = Gauge::new(100);
        let first = gauge.reserve(60).unwrap();
        let error = gauge.reserve(41).err().unwrap();
        assert_eq!(error.code, Code::QueueFull);
        assert_eq!((&error.details["waiting"], &error.details["tokens"]), (&60.into(), &41.into()));
        let second = gauge.reserve(40).unwrap();
        first.release(30);
        drop(gauge.reserve(30).unwrap());
        drop(second);
        first.release_all();
        assert_eq!(lock(&gauge.state).waiting_tokens, 0);
    }

    #[test]
    fn a_large_call_needs_an_empty_queue() {
        let gauge = Gauge::new(100);
        let large = gauge.reserve(1000).unwrap();
        assert!(gauge.reserve(1).is_err());
        large.release(950);
        assert!(gauge.reserve(1).is_ok());
        drop(large);
        let small = gauge.reserve(1).unwrap();
        assert!(gauge.reserve(1000).is_err());
        small.resize(500, false).unwrap();
        assert!(gauge.reserve(1).is_err());
    }

    #[test]
    fn an_estimate_becomes_the_real_number() {
        let gauge = Gauge::new(100);
        let (a, b) = (gauge.reserve(10).unwrap(), gauge.reserve(10).unwrap());
        a.resize(90, false).unwrap();
        assert_eq!(b.resize(11, false).unwrap_err().code, Code::QueueFull);
        b.resize(11, true).unwrap();
        a.resize(5, false).unwrap();
        assert_eq!(lock(&gauge.state).waiting_tokens, 16);
    }

    #[test]
    fn the_line_moves_as_room_is_made() {
        let gauge = Gauge::new(100);
        let first = gauge.reserve(100).unwrap();
        let (sender, entered) = channel();
        for (name, tokens) in [('a', 50), ('b', 60), ('c', 10)] {
            let sender = sender.clone();
            gauge.reserve_later(tokens, Box::new(move |reservation| sender.send((name, reservation)).unwrap()));
        }
        assert!(entered.try_recv().is_err());
        first.release(50);
        let (name, a) = entered.try_recv().unwrap();
        assert_eq!(name, 'a');
        // c would fit, but b comes before it.
        assert!(entered.try_recv().is_err());
        drop((first, a));
        assert_eq!(entered.try_iter().map(|(name, _)| name).collect::<String>(), "bc");
    }
}
