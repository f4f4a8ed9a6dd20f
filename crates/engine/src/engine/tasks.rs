//! A few threads for small work (finding files, encoding texts), fair between calls.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use crate::sync::{catch, lock};

/// Work that is done in small parts, by several threads if it comes to that.
pub(super) trait Job: Send + Sync {
    /// Takes the next part; `None` if all are taken.
    fn take(&self) -> Option<Part>;

    /// Does a part that was taken.
    fn run(&self, part: usize);
}

/// A part of a [`Job`].
pub(super) struct Part {
    pub(super) index: usize,
    /// Whether it is the last one to be taken.
    pub(super) last: bool,
}

/// Threads that serve jobs in turn, a part at a time: a short job does not wait for a long one.
///
/// Not a rayon pool: that would work off a long job's parts before it looks at a new job.
pub(super) struct Tasks {
    shared: Arc<Shared>,
    threads: usize,
    started: Mutex<bool>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Arc<dyn Job>>,
    closed: bool,
}

impl Tasks {
    /// Threads start with the first job.
    pub(super) fn new(threads: usize) -> Self {
        Tasks { shared: Arc::default(), threads: threads.max(1), started: Mutex::new(false) }
    }

    /// Adds a job at the end of the round.
    pub(super) fn push(&self, job: Arc<dyn Job>) {
        self.start();
        lock(&self.shared.state).jobs.push_back(job);
        self.shared.arrived.notify_one();
    }

    /// Adds work of one part.
    pub(super) fn once(&self, work: impl FnOnce() + Send + 'static) {
        self.push(Arc::new(Once(Mutex::new(Some(Box::new(work))))));
    }

    fn start(&self) {
        let mut started = lock(&self.started);
        if !*started {
            *started = true;
            for index in 0..self.threads {
                let shared = Arc::clone(&self.shared);
                let thread = std::thread::Builder::new()
                    .name(format!("embedding-task-{index}"))
                    // Regular expressions of tokenizers recurse.
                    .stack_size(8 << 20)
                    .spawn(move || shared.serve());
                // One thread serves all jobs if it must; without any, the first push would wait for ever.
                if let Err(error) = thread
                    && index == 0
                {
                    *started = false;
                    panic!("no thread can be started: {error}");
                }
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Not joined: this may run on one of the threads.
        lock(&self.shared.state).closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        while let Some((job, part)) = self.next() {
            let _ = catch("doing a task", || {
                job.run(part);
                Ok(())
            });
        }
    }

    /// The next part of the job whose turn it is; the job goes to the end of the round, so that other
    /// threads can take further parts of it while this one works.
    fn next(&self) -> Option<(Arc<dyn Job>, usize)> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                let Some(part) = job.take() else { continue };
                if !part.last {
                    state.jobs.push_back(Arc::clone(&job));
                    self.arrived.notify_one();
                }
                return Some((job, part.index));
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

struct Once(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Job for Once {
    fn take(&self) -> Option<Part> {
        Some(Part { index: 0, last: true })
    }

    fn run(&self, _part: usize) {
        let work = lock(&self.0).take();
        if let Some(work) = work {
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Parts {
        name: char,
        next: AtomicUsize,
        parts: usize,
        told: Mutex<Sender<(char, usize)>>,
    }

    impl Job for Parts {
        fn take(&self) -> Option<Part> {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            (index < self.parts).then_some(Part { index, last: index + 1 == self.parts })
        }

        fn run(&self, part: usize) {
            std::thread::sleep(Duration::from_millis(1));
            lock(&self.told).send((self.name, part)).unwrap();
        }
    }

    #[test]
    fn a_short_job_does_not_wait_for_a_long_one() {
        for threads in [1, 3] {
            let tasks = Tasks::new(threads);
            let (sender, done) = channel();
            for (name, parts) in [('l', 200), ('s', 1)] {
                let told = Mutex::new(sender.clone());
                tasks.push(Arc::new(Parts { name, parts, told, next: AtomicUsize::new(0) }));
            }
            drop(sender);
            let order: Vec<_> = done.iter().take(201).collect();
            let short = order.iter().position(|&(name, _)| name == 's').unwrap();
            assert!(short < 20, "the short job came after {short} parts of the long one");
            let mut parts: Vec<_> = order.iter().filter(|(name, _)| *name == 'l').map(|&(_, part)| part).collect();
            parts.sort_unstable();
            assert_eq!(parts, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_does_not_end_the_threads() {
        let tasks = Tasks::new(1);
        let (sender, done) = channel();
        tasks.once(|| panic!("ouch"));
        tasks.once(move || sender.send(()).unwrap());
        done.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
