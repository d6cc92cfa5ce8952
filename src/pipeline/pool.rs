//! Owns the buffers that go round between two threads, so that a picture allocates a few times and not once for every
//! band. Never grows beyond what can be in flight.

use std::sync::{Mutex, PoisonError};

/// Buffers of one kind that wait to be used again.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<Vec<u8>>>,
    limit: usize,
}

impl Pool {
    /// Keeps at most `limit` buffers: as many as are in flight at once.
    pub fn new(limit: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::with_capacity(limit)),
            limit,
        }
    }

    /// A buffer of any content and length, or a new one.
    pub fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn give(&self, buffer: Vec<u8>) {
        let mut idle = self.lock();
        if buffer.capacity() > 0 && idle.len() < self.limit {
            idle.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_memory_and_no_more_are_kept_than_fly() {
        let pool = Pool::new(1);
        pool.give(vec![7_u8; 1000]);
        pool.give(vec![8; 2000]);
        assert_eq!(pool.take(), [7; 1000]);
        assert_eq!(pool.take().capacity(), 0, "the second was let go");
    }
}
