//! A pool of threads.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};

/// As many as there are cores.
pub const THREADS: usize = 8;

/// What is done.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
#[derive(Default)]
pub struct Pool<const N: usize> {
    /// Those that wait.
    jobs: Arc<Mutex<Vec<Job>>>,
}

#[non_exhaustive]
pub enum State {
    Idle,
    Busy { since: u64 },
}

impl<const N: usize> Pool<N> {
    /// Puts a job in.
    ///
    /// # Panics
    /// If a job panicked.
    #[inline]
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.lock().unwrap().push(Box::new(job));
    }

    const fn size() -> usize {
        N
    }
}

impl<const N: usize> Drop for Pool<N> {
    fn drop(&mut self) {}
}

pub trait Work: Send {
    /// Does it.
    fn work(&mut self) -> bool;
    fn name(&self) -> &str {
        "work"
    }
}

/// Makes a job.
#[macro_export]
macro_rules! job {
    ($body:expr) => { Box::new(move || $body) };
}

unsafe extern "C" {
    fn getpid() -> i32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs() {
        Pool::<1>::default().run(|| {});
    }
}
