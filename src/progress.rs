//! Owns what a running job shares with those who watch it: how far it is, whether to stop, and what ends the run that
//! is in work. Never blocks either side.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Monotonic;

/// Pixels of the picture that are finished, of how many.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    waits: AtomicU64,
}

impl Progress {
    /// Starts over with so many pixels to do.
    pub fn begin(&self, total_pixels: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total_pixels, Ordering::Relaxed);
    }

    /// So many more are finished.
    pub fn advance(&self, pixels: u64) {
        self.done.fetch_add(pixels, Ordering::Relaxed);
    }

    /// Some have to be done again.
    pub fn take_back(&self, pixels: u64) {
        let _ = self
            .done
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |done| {
                Some(done.saturating_sub(pixels))
            });
    }

    /// It stands still, since it waits for its turn.
    pub fn wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// The finished part, 0 to 1; 0 before the job knows how much there is.
    pub fn fraction(&self) -> f64 {
        let total = self.total.load(Ordering::Relaxed);
        if total == 0 {
            return 0.0;
        }
        (self.done.load(Ordering::Relaxed) as f64 / total as f64).min(1.0)
    }

    /// A number that changes with every step: what the watchdog looks at.
    pub fn pulse(&self) -> u64 {
        self.done
            .load(Ordering::Relaxed)
            .wrapping_add(self.total.load(Ordering::Relaxed))
            .wrapping_add(self.waits.load(Ordering::Relaxed))
    }
}

/// What is left at the speed so far; `None` before there is a speed.
pub fn eta(started: Monotonic, now: Monotonic, fraction: f64) -> Option<Duration> {
    (fraction > 0.0 && fraction <= 1.0).then(|| now.since(started).mul_f64((1.0 - fraction) / fraction))
}

/// Ends the run of a session that is in work on another thread, and every later one of the same picture. Must not
/// block.
pub type Terminator = Arc<dyn Fn() + Send + Sync>;

/// A wish to stop: heard before the next tile, or in the middle of one.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Wish>);

#[derive(Default)]
struct Wish {
    asked: AtomicBool,
    ending: Mutex<Ending>,
}

/// Both under one lock: a terminator that comes while the end is asked for is not missed.
#[derive(Default)]
struct Ending {
    at_once: bool,
    terminator: Option<Terminator>,
}

impl Cancel {
    /// Asks the job to stop before its next tile.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Asks the job to stop, in the middle of a tile if it must be.
    pub fn terminate(&self) {
        self.cancel();
        let mut ending = self.ending();
        ending.at_once = true;
        if let Some(terminate) = &ending.terminator {
            terminate();
        }
    }

    /// Names what ends the job's runs; `None`: nothing does (any more).
    pub fn set_terminator(&self, terminator: Option<Terminator>) {
        let mut ending = self.ending();
        ending.terminator = terminator;
        if let (true, Some(terminate)) = (ending.at_once, &ending.terminator) {
            terminate();
        }
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.0.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.0.asked).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_speed_so_far() {
        let start = Monotonic::from_start(Duration::ZERO);
        let now = start + Duration::from_secs(30);
        assert_eq!(eta(start, now, 0.75), Some(Duration::from_secs(10)));
        assert_eq!(eta(start, now, 0.0), None);
    }

    #[test]
    fn whoever_asks_for_an_end_before_there_is_a_run_is_heard_by_the_first() {
        let ended = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&ended);
        let terminator: Terminator = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let cancel = Cancel::default();
        cancel.cancel();
        cancel.set_terminator(Some(Arc::clone(&terminator)));
        assert_eq!(ended.load(Ordering::Relaxed), 0, "the tile in work is let go on");
        cancel.terminate();
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        cancel.set_terminator(None);
        cancel.set_terminator(Some(terminator));
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_band_that_is_done_again_does_not_count_twice() {
        let progress = Progress::default();
        progress.begin(100);
        progress.advance(60);
        progress.take_back(20);
        assert!((progress.fraction() - 0.4).abs() < 1e-9);
    }
}
