//! What the caller of one call is told, and in which order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::event::{Event, OnEvent};
use crate::sync::{catch, lock};

/// Ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// Passes on the events of a call, and then its end: in order, one at a time, on whichever thread has just told
/// something. At most ten a second of `embedding`; the others come once a call anyway.
///
/// Nothing is locked while the caller's code runs, and no thread waits for it but the one that runs it: what others
/// put meanwhile is left to that one. So a listener that takes long holds up one thread.
///
/// Clones are the same reporter.
#[derive(Clone, Default)]
pub(super) struct Reporter {
    listener: Option<OnEvent>,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Message>,
    /// A thread is telling what waits.
    telling: bool,
    /// The end was put, or is not to be told by this: nothing comes after it.
    closed: bool,
    /// When an event of `embedding` was put last.
    last: Option<Instant>,
}

enum Message {
    Event(Event),
    End(Box<dyn FnOnce() + Send>),
}

impl Reporter {
    pub(super) fn new(listener: Option<OnEvent>) -> Self {
        Reporter { listener, line: Arc::default() }
    }

    /// The same as a function.
    pub(super) fn sink(&self) -> OnEvent {
        let reporter = self.clone();
        Arc::new(move |event| reporter.send(event))
    }

    /// Tells an event. Not under a lock.
    pub(super) fn send(&self, event: Event) {
        self.put(event);
        self.tell();
    }

    /// Puts an event into the line, for [`Reporter::tell`] to tell it. Waits for nobody: this may be called under a
    /// lock, which then keeps several threads' events in order.
    pub(super) fn put(&self, event: Event) {
        if self.listener.is_none() {
            return;
        }
        let mut line = lock(&self.line);
        if line.closed {
            return;
        }
        if let Event::Embedding { done, total, .. } = event {
            // The last one is always told, or a progress bar would stop short of its end.
            if done < total && line.last.is_some_and(|last| last.elapsed() < INTERVAL) {
                return;
            }
            line.last = Some(Instant::now());
        }
        // However long a listener takes, no more waits for it than there are things to be told of.
        line.waiting.retain(|waiting| !matches!(waiting, Message::Event(earlier) if event.outdates(earlier)));
        line.waiting.push_back(Message::Event(event));
    }

    /// Puts the end into the line: `end` is run after all events that were put before it; not after another end, nor
    /// after [`Reporter::close`].
    pub(super) fn put_end(&self, end: impl FnOnce() + Send + 'static) {
        let mut line = lock(&self.line);
        if !std::mem::replace(&mut line.closed, true) {
            line.waiting.push_back(Message::End(Box::new(end)));
        }
    }

    /// Drops what waits, and takes no more: the call is ended by other means.
    pub(super) fn close(&self) {
        let dropped = {
            let mut line = lock(&self.line);
            line.closed = true;
            std::mem::take(&mut line.waiting)
        };
        drop(dropped);
    }

    /// Tells what waits, unless another thread is at it, which then goes on with what has come. Not under a lock.
    pub(super) fn tell(&self) {
        let mut line = lock(&self.line);
        if line.telling {
            return;
        }
        line.telling = true;
        while let Some(message) = line.waiting.pop_front() {
            drop(line);
            // What a listener does wrong is no failure of the call.
            let _ = catch("telling progress", || {
                match (message, &self.listener) {
                    (Message::Event(event), Some(listener)) => listener(event),
                    (Message::Event(_), None) => {}
                    (Message::End(end), _) => end(),
                }
                Ok(())
            });
            line = lock(&self.line);
        }
        line.telling = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::engine::event::Level;
    use crate::hub::FileEvent;

    fn embedding(done: usize, total: usize) -> Event {
        Event::Embedding { done, total, tokens_per_second: 1.0, eta_seconds: 2.0 }
    }

    fn notice(number: usize) -> Event {
        Event::Notice { level: Level::Info, message: number.to_string() }
    }

    fn collect() -> (Reporter, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&events);
        (Reporter::new(Some(Arc::new(move |event| lock(&target).push(event)))), events)
    }

    #[test]
    fn events_are_throttled_but_for_the_last() {
        let (reporter, events) = collect();
        for done in 1..=1000 {
            reporter.send(embedding(done, 1000));
        }
        let events = lock(&events);
        assert!(events.len() >= 2 && events.len() <= 5, "{}", events.len());
        assert_eq!(*events.first().unwrap(), embedding(1, 1000));
        assert_eq!(*events.last().unwrap(), embedding(1000, 1000));
    }

    #[test]
    fn a_listener_that_panics_is_no_failure() {
        let heard = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&heard);
        let reporter = Reporter::new(Some(Arc::new(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
            panic!("listener")
        })));
        reporter.send(notice(0));
        reporter.send(notice(1));
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_many_threads_put_is_told_in_order_one_at_a_time_and_then_the_end() {
        const EVENTS: usize = 400;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let reporter = Reporter::new(Some(Arc::new(move |event| {
            let mut heard = told.try_lock().expect("one at a time");
            std::thread::yield_now();
            heard.push(event);
        })));
        let next = Mutex::new(0);
        let (sender, ended) = channel();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        {
                            let mut next = lock(&next);
                            if *next > EVENTS {
                                return;
                            }
                            if *next < EVENTS {
                                reporter.put(notice(*next));
                            } else {
                                let (heard, sender) = (Arc::clone(&heard), sender.clone());
                                reporter.put_end(move || sender.send(lock(&heard).len()).unwrap());
                            }
                            *next += 1;
                        }
                        reporter.tell();
                    }
                });
            }
        });
        assert_eq!(ended.try_recv().unwrap(), EVENTS);
        assert_eq!(*lock(&heard), (0..EVENTS).map(notice).collect::<Vec<_>>());
        reporter.send(notice(0));
        let sender = sender.clone();
        reporter.put_end(move || sender.send(0).unwrap());
        reporter.tell();
        assert!(ended.try_recv().is_err(), "there is one end");
        assert_eq!(lock(&heard).len(), EVENTS, "nothing comes after the end");
    }

    #[test]
    fn a_listener_that_is_at_work_holds_up_nobody_else() {
        let ((at_work, began), (go_on, told_to)) = (channel(), channel::<()>());
        let (heard, told_to) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(Some(told_to)));
        let told = Arc::clone(&heard);
        let reporter = Reporter::new(Some(Arc::new(move |event| {
            at_work.send(()).unwrap();
            // The first event takes until the test says so; not for ever, so that a failure is no hanging.
            let first = lock(&told_to).take();
            let _ = first.map(|told_to| told_to.recv_timeout(Duration::from_secs(10)));
            lock(&told).push(event);
        })));
        let progress = |loaded| {
            Event::File(FileEvent::Progress {
                name: "m".into(),
                file: "f".into(),
                progress: loaded as f64,
                loaded,
                total: 100,
                bytes_per_second: 1.0,
                eta_seconds: None,
            })
        };
        let teller = reporter.clone();
        let thread = std::thread::spawn(move || teller.send(notice(0)));
        began.recv().unwrap();
        // None of this waits, and of what is out of date the newest is left.
        (1..=3).for_each(|done| reporter.send(embedding(done, 3)));
        (1..=100).for_each(|loaded| reporter.send(progress(loaded)));
        (1..=2).for_each(|number| reporter.send(notice(number)));
        assert_eq!(*lock(&heard), []);
        drop(go_on);
        thread.join().unwrap();
        assert_eq!(*lock(&heard), [notice(0), embedding(3, 3), progress(100), notice(1), notice(2)]);

        let (reporter, heard) = collect();
        reporter.put(notice(0));
        reporter.close();
        reporter.send(notice(1));
        assert_eq!(*lock(&heard), []);
    }
}
