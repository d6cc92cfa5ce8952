//! Owns the byte permits that bound what the data plane holds, on the host and on the device (I8).
//! Never allocates what it permits and never measures: it counts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often whoever waits for bytes is asked whether they are still wanted: a person who cancels sees it soon.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// A number of bytes that may be held at once, handed out as permits.
#[derive(Debug)]
pub struct Budget {
    total_bytes: u64,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held_bytes: u64,
    peak_bytes: u64,
}

/// More was asked for than the whole budget: waiting would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("needs {needed_bytes} bytes where {total_bytes} are allowed")]
pub struct OverBudget {
    /// Bytes asked for.
    pub needed_bytes: u64,
    /// Bytes of the whole budget.
    pub total_bytes: u64,
}

impl Budget {
    /// A budget of `total_bytes`.
    pub fn new(total_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            total_bytes,
            state: Mutex::default(),
            released: Condvar::new(),
        })
    }

    /// Bytes of the whole budget.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The most bytes that were held at once since the budget was made.
    pub fn peak_bytes(&self) -> u64 {
        self.lock().peak_bytes
    }

    /// Takes `bytes`, waiting on this thread until others have given back enough. While it waits, `is_wanted` is asked
    /// now and then; `None` once that says no.
    ///
    /// # Errors
    /// [`OverBudget`] if `bytes` exceeds the whole budget.
    pub fn acquire(
        self: &Arc<Self>,
        bytes: u64,
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<Option<Permit>, OverBudget> {
        if bytes > self.total_bytes {
            return Err(OverBudget {
                needed_bytes: bytes,
                total_bytes: self.total_bytes,
            });
        }
        let mut state = self.lock();
        while state.held_bytes + bytes > self.total_bytes {
            if !is_wanted() {
                return Ok(None);
            }
            let waited = self.released.wait_timeout(state, ASK_INTERVAL);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.held_bytes += bytes;
        state.peak_bytes = state.peak_bytes.max(state.held_bytes);
        assert!(
            state.held_bytes <= self.total_bytes,
            "I8: live permits exceed the budget"
        );
        Ok(Some(Permit {
            budget: Arc::clone(self),
            bytes,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that its owner may hold until it is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Permit {
    /// Bytes permitted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        assert!(
            state.held_bytes >= self.bytes,
            "I8: more was given back than taken"
        );
        state.held_bytes -= self.bytes;
        self.budget.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i8_live_permits_never_exceed_the_budget() {
        let budget = Budget::new(100);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for bytes in [10, 60, 100, 33] {
                        drop(budget.acquire(bytes, || true).unwrap().unwrap());
                    }
                });
            }
        });
        assert!(budget.peak_bytes() <= 100);
        assert_eq!(budget.lock().held_bytes, 0);
    }

    #[test]
    fn who_waits_for_bytes_may_give_up() {
        let budget = Budget::new(100);
        let held = budget.acquire(60, || true).unwrap();
        let mut asked = 0;
        let given = budget.acquire(60, || {
            asked += 1;
            asked < 3
        });
        assert!(given.unwrap().is_none());
        assert_eq!(asked, 3);
        drop(held);
        assert!(
            budget.acquire(60, || false).unwrap().is_some(),
            "there is room: nobody is asked"
        );
    }

    #[test]
    fn what_can_never_fit_is_refused_at_once_with_both_numbers() {
        let error = Budget::new(100).acquire(101, || true).unwrap_err();
        assert_eq!(
            error,
            OverBudget {
                needed_bytes: 101,
                total_bytes: 100
            }
        );
    }
}
