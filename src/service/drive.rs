//! Owns the wait for a picture that is being rendered: the lease that is renewed, requests to stop, the grace of
//! a shutdown, and the patience with a picture that does not move. Never ends a claim.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::LEASE;
use super::shared::Shared;
use crate::clock::Monotonic;
use crate::config::Config;
use crate::pipeline::executor::{Executor, Order, Rendered};
use crate::queue::{Claim, Renewal};

/// How often the wait looks around: a person who cancels sees it at the next tile anyway.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Asking whether the work is still wanted reads the ledger, so not at every look.
const LOOKS_PER_QUESTION: u32 = 4;

/// Renewing the lease writes the ledger and waits for the disk: well before it ends, and not oftener.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);

/// A tile takes a second or two; whoever asked to stop need not wait for a longer one, which is ended in the middle.
const TILE_PATIENCE: Duration = Duration::from_secs(5);

/// Ended in the middle, a run comes back with its next operator. A picture that was asked to stop and is still there
/// after this long hangs.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A quarter of the shutdown's grace is kept for ending the run, which goes on to the end of its operator, and for
/// giving the job back.
const GRACE_KEPT: u32 = 4;

/// Why a picture was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A person called the job off.
    CancelRequested,
    /// Somebody else answers for the job.
    Lost,
    /// The service ends and its grace is over.
    ShuttingDown,
    /// No progress for `job_timeout`.
    Timeout,
}

/// Hands the order to the executor and waits for its end: what the executor answered, `None` if its thread is gone or
/// does not come back; and why it was asked to stop, if it was. Runs to the end of the tile that is in work, or ends it
/// where nobody can wait for that.
pub async fn drive(
    shared: &Shared,
    config: &Config,
    claim: &Claim,
    executor: &Executor,
    order: Order,
    mut stop: watch::Receiver<bool>,
) -> (Option<Rendered>, Option<Why>) {
    let (cancel, progress) = (order.cancel.clone(), order.progress.clone());
    let (send, mut answer) = oneshot::channel();
    executor.submit(order, move |rendered| drop(send.send(rendered)));
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = Watcher::new(shared.clock.monotonic());
    let mut looked = 0_u32;
    let mut lease = Lease::new(shared.clock.monotonic());
    loop {
        tokio::select! {
            rendered = &mut answer => {
                return (rendered.ok(), watcher.why);
            }
            _ = looks.tick() => {}
            _ = stop.changed(), if watcher.stopping_since.is_none() => {}
        }
        let now = shared.clock.monotonic();
        shared.pulse.turned(now);
        if watcher.moved(progress.pulse(), now) {
            shared.pulse.progressed(now);
            shared.news.notify_one();
            lease.earned = true;
        }
        if looked.is_multiple_of(LOOKS_PER_QUESTION) {
            let held = if lease.is_due(now) {
                shared.store.renew(claim, LEASE).await
            } else {
                shared.store.is_wanted(claim).await
            };
            match held {
                Ok(Renewal::Held) => {}
                Ok(Renewal::CancelRequested) => watcher.ask(Why::CancelRequested, now),
                Ok(Renewal::Lost) => watcher.ask(Why::Lost, now),
                // The ledger is asked again; recording the end is what must not fail.
                Err(error) => tracing::warn!(job = claim.job().id.0, "{error}"),
            }
        }
        looked = looked.wrapping_add(1);
        watcher.look(*stop.borrow(), config, now);
        match watcher.demand(now) {
            Some(Demand::NextTile) => cancel.cancel(),
            Some(Demand::AtOnce) => cancel.terminate(),
            None => {}
        }
        if watcher.is_hopeless(now) {
            return (None, watcher.why);
        }
    }
}

/// When the claim is renewed: only a picture that moved has earned it.
#[derive(Debug)]
struct Lease {
    renewed_at: Monotonic,
    earned: bool,
}

impl Lease {
    fn new(now: Monotonic) -> Self {
        Self {
            renewed_at: now,
            earned: false,
        }
    }

    /// Whether to renew now; counted as done then.
    fn is_due(&mut self, now: Monotonic) -> bool {
        let due = self.earned && now.since(self.renewed_at) >= RENEWAL;
        if due {
            *self = Self::new(now);
        }
        due
    }
}

/// How a picture is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Before its next tile.
    NextTile,
    /// In the middle of the tile that is in work.
    AtOnce,
}

/// What the wait has seen so far.
#[derive(Debug)]
struct Watcher {
    pulse: u64,
    moved_at: Monotonic,
    stopping_since: Option<Monotonic>,
    why: Option<Why>,
    asked_at: Option<Monotonic>,
}

impl Watcher {
    fn new(now: Monotonic) -> Self {
        Self {
            pulse: 0,
            moved_at: now,
            stopping_since: None,
            why: None,
            asked_at: None,
        }
    }

    /// Whether the picture has moved since the last look.
    fn moved(&mut self, pulse: u64, now: Monotonic) -> bool {
        let moved = pulse != self.pulse;
        if moved {
            self.pulse = pulse;
            self.moved_at = now;
        }
        moved
    }

    fn look(&mut self, stopping: bool, config: &Config, now: Monotonic) {
        if stopping {
            let since = *self.stopping_since.get_or_insert(now);
            if now.since(since) >= config.shutdown_grace - config.shutdown_grace / GRACE_KEPT {
                self.ask(Why::ShuttingDown, now);
            }
        }
        if now.since(self.moved_at) >= config.job_timeout {
            self.ask(Why::Timeout, now);
        }
    }

    /// The first reason stays.
    fn ask(&mut self, why: Why, now: Monotonic) {
        if self.why.is_none() {
            self.why = Some(why);
            self.asked_at = Some(now);
        }
    }

    /// What is demanded of the picture now.
    fn demand(&self, now: Monotonic) -> Option<Demand> {
        let (why, asked) = (self.why?, self.asked_at?);
        Some(match why {
            // The grace is over, or the tile is the very thing that does not end.
            Why::ShuttingDown | Why::Timeout => Demand::AtOnce,
            Why::CancelRequested | Why::Lost if now.since(asked) >= TILE_PATIENCE => Demand::AtOnce,
            Why::CancelRequested | Why::Lost => Demand::NextTile,
        })
    }

    fn is_hopeless(&self, now: Monotonic) -> bool {
        self.asked_at
            .is_some_and(|asked| now.since(asked) >= STOP_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn config() -> Config {
        Config {
            shutdown_grace: Duration::from_secs(20),
            job_timeout: Duration::from_secs(100),
            ..Config::default()
        }
    }

    #[test]
    fn a_picture_that_moves_is_never_timed_out_and_one_that_stands_still_is() {
        let mut watcher = Watcher::new(at(0));
        for second in 1..300 {
            assert!(watcher.moved(second, at(second)));
            watcher.look(false, &config(), at(second));
        }
        assert_eq!(watcher.why, None);
        watcher.look(false, &config(), at(399));
        assert_eq!(watcher.why, Some(Why::Timeout));
    }

    #[test]
    fn a_shutdown_grants_its_grace_before_it_stops_the_picture() {
        let mut watcher = Watcher::new(at(0));
        watcher.look(true, &config(), at(1));
        watcher.look(true, &config(), at(15));
        assert_eq!((watcher.why, watcher.demand(at(15))), (None, None));
        watcher.look(true, &config(), at(16));
        assert_eq!(watcher.why, Some(Why::ShuttingDown));
        assert_eq!(
            watcher.demand(at(16)),
            Some(Demand::AtOnce),
            "out within the grace, whatever a tile takes"
        );
    }

    #[test]
    fn a_lease_is_renewed_by_progress_and_not_by_time_alone() {
        let mut lease = Lease::new(at(0));
        assert!(!lease.is_due(at(100)), "nothing moved");
        lease.earned = true;
        assert!(lease.is_due(at(100)));
        assert!(!lease.is_due(at(200)), "nothing moved since");
        lease.earned = true;
        assert!(!lease.is_due(at(101)), "not every time");
    }

    #[test]
    fn a_tile_is_let_end_where_that_does_not_take_long_and_a_hung_one_is_not() {
        let mut watcher = Watcher::new(at(0));
        watcher.ask(Why::CancelRequested, at(5));
        assert_eq!(watcher.demand(at(9)), Some(Demand::NextTile));
        assert_eq!(watcher.demand(at(10)), Some(Demand::AtOnce));
        let mut hung = Watcher::new(at(0));
        hung.look(false, &config(), at(100));
        assert_eq!(hung.demand(at(100)), Some(Demand::AtOnce));
    }

    #[test]
    fn a_picture_that_ignores_the_request_to_stop_is_given_up() {
        let mut watcher = Watcher::new(at(0));
        watcher.ask(Why::CancelRequested, at(5));
        watcher.ask(Why::Timeout, at(50));
        assert_eq!(watcher.why, Some(Why::CancelRequested), "the first reason stays");
        assert!(!watcher.is_hopeless(at(64)));
        assert!(watcher.is_hopeless(at(65)));
    }
}
