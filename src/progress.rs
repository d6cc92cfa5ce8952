//! Owns what a running job shares with those who watch it: how far it is, and whether to stop. Two atomics;
//! never blocks either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;

/// Pixels of the picture that are finished, of how many.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
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
    }
}

/// What is left at the speed so far; `None` before there is a speed.
pub fn eta(started: Monotonic, now: Monotonic, fraction: f64) -> Option<Duration> {
    (fraction > 0.0 && fraction <= 1.0).then(|| now.since(started).mul_f64((1.0 - fraction) / fraction))
}

/// A wish to stop, heard before the next tile.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the job to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
    fn a_band_that_is_done_again_does_not_count_twice() {
        let progress = Progress::default();
        progress.begin(100);
        progress.advance(60);
        progress.take_back(20);
        assert!((progress.fraction() - 0.4).abs() < 1e-9);
    }
}
