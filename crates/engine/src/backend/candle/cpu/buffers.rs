//! Memory that the parts of one run hand on to each other.
//!
//! A layer needs the same few large buffers as the layer before. Fresh ones from the allocator would be
//! pages that the kernel has to clear, for every operation: a tenth of the time of a small model.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Code, Error, Result};

/// Values of a cache line. Buffers begin with one: rows of whole lines then share none with others, and no load of a
/// register touches two.
const LINE: usize = 16;

/// Buffers that nobody uses now.
#[derive(Debug, Default, Clone)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// A buffer of `len` values, whatever they are.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY`.
    pub(super) fn take(&self, len: usize) -> Result<Buffer> {
        let room = len.saturating_add(LINE - 1);
        let mut data = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The smallest that is large enough; where none is, a new one rather than one to be copied.
            let fits = free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= room);
            let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
            best.map(|at| free.swap_remove(at)).unwrap_or_default()
        };
        if data.capacity() < room {
            data.try_reserve_exact(room).map_err(|_| no_memory(len * size_of::<f32>()))?;
        }
        // Only what was never written is cleared; a buffer never gets shorter.
        if data.len() < room {
            data.resize(room, 0.0);
        }
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Ok(Buffer { data, start, len, home: self.clone() })
    }

    /// Gives all free buffers back to the allocator.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A buffer, which goes back to the others when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    /// At least `start + len` values.
    data: Vec<f32>,
    /// Where the first cache line begins.
    start: usize,
    len: usize,
    home: Buffers,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(data);
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// `OUT_OF_MEMORY` for so many bytes.
pub(super) fn no_memory(bytes: usize) -> Error {
    Error::new(Code::OutOfMemory, format!("No memory for activations ({bytes} bytes).")).with("bytes", bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn buffers_come_back() {
        let buffers = Buffers::default();
        let (large, small) = (buffers.take(1000).unwrap(), buffers.take(10).unwrap());
        let places = [large.as_ptr(), small.as_ptr()];
        assert!(places.iter().all(|place| place.addr().is_multiple_of(64)), "a buffer begins with a cache line");
        drop((large, small));
        // The allocator may give the same places again: what counts is that it is not asked.
        assert_eq!(buffers.0.lock().unwrap().len(), 2);
        // Each finds the one of its size.
        let (small, large) = (buffers.take(8).unwrap(), buffers.take(900).unwrap());
        assert_eq!([large.as_ptr(), small.as_ptr()], places);
        assert_eq!((small.len(), large.len()), (8, 900));
        assert!(buffers.0.lock().unwrap().is_empty());
        drop((small, large));
        buffers.clear();
        assert!(buffers.0.lock().unwrap().is_empty());
    }

    #[test]
    fn too_much_is_an_error() {
        assert_eq!(Buffers::default().take(usize::MAX / 8).unwrap_err().code, Code::OutOfMemory);
    }
}
