//! Owns the reading of time; no other module asks the system for it. Never sleeps.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// A point on a clock that never goes back, whatever happens to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// A point `since_start` after the clock's own beginning.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since `earlier`, zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0 + rhs)
    }
}

/// The seam through which everything reads time, so that tests run on paused or invented time.
pub trait Clock: Debug + Send + Sync {
    /// Monotonic time: for settling, leases and rates.
    fn monotonic(&self) -> Monotonic;
    /// Wall time, UTC: for what people read and for comparing with file times.
    fn wall(&self) -> Timestamp;
    /// Wall time as a clock in the room shows it: for quiet hours. The zone is looked up anew each time, so that a
    /// change is noticed within minutes.
    fn local(&self) -> ZonedDateTime {
        self.wall().to_zoned_datetime(TimeZone::system())
    }
}

/// How clocks are handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clocks. Monotonic time is tokio's, so a test with paused time pauses it too.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of time")]
    pub fn shared() -> SharedClock {
        Arc::new(Self {
            start: tokio::time::Instant::now(),
        })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of time")]
    fn monotonic(&self) -> Monotonic {
        Monotonic(tokio::time::Instant::now() - self.start)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one reader of time")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told: for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed: std::sync::Mutex<Duration>,
}

impl ManualClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) += by;
    }

    fn elapsed(&self) -> Duration {
        *self
            .elapsed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.elapsed())
    }

    fn wall(&self) -> Timestamp {
        // An arbitrary Monday; only differences matter.
        const START_S: i64 = 1_763_942_400;
        let elapsed_ms = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        Timestamp::from_millisecond(START_S * 1000 + elapsed_ms).unwrap_or(Timestamp::MAX)
    }
}

/// How long an operation took, in seconds, for reports.
pub fn seconds_between(from: Monotonic, to: Monotonic) -> f64 {
    to.since(from).as_secs_f64()
}
