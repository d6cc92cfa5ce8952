//! Owns what waits to be told to one address: how much may wait, in which order it goes, when it is tried again, when
//! it is given up. Never speaks to anybody itself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Delivery, Event};
use crate::clock::{Monotonic, SharedClock};

/// News that wait for one address: a day of photos. A kilobyte each, so about 4 MiB; the oldest go first, because the
/// latest are what a person needs when the network is back.
const WAITING_MAX: usize = 4096;

/// The first pause after a failure. Doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause: a server that was away for the night is found again before the coffee is ready.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// Older news are given up: a night without network, and not more.
const AGE_MAX: Duration = Duration::from_secs(12 * 3600);

/// How often a server that is there may refuse one event for the moment. Then it is the event, and others wait for it.
const REFUSALS_MAX: u32 = 10;

/// Pause before another try while the service ends.
const FAREWELL_PAUSE: Duration = Duration::from_millis(500);

/// What waits for one address.
#[derive(Debug)]
pub struct Backlog {
    name: String,
    clock: SharedClock,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Event>>,
    in_hand: bool,
    /// Since there was room last.
    dropped: u64,
    closing_until: Option<Monotonic>,
    is_retired: bool,
}

impl State {
    fn is_over(&self, now: Monotonic) -> bool {
        self.is_retired || self.closing_until.is_some_and(|until| now >= until)
    }
}

impl Backlog {
    /// For the address that logs call `name`.
    pub fn new(name: String, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            name,
            clock,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// What logs call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an event. Where too much waits, the oldest goes; that is said once, until there is room again.
    pub fn put(&self, event: Arc<Event>) {
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            state.waiting.pop_front();
            state.dropped += 1;
            if state.dropped == 1 {
                let name = &self.name;
                tracing::warn!(
                    "{name}: {WAITING_MAX} news wait; the oldest are dropped until it hears again"
                );
            }
        }
        state.waiting.push_back(event);
        self.changed.notify_all();
    }

    /// The next event; waits for one. `None`: there will be no more.
    fn take(&self) -> Option<Arc<Event>> {
        let mut state = self.lock();
        loop {
            if state.is_over(self.clock.monotonic()) {
                return None;
            }
            if let Some(event) = state.waiting.pop_front() {
                state.in_hand = true;
                return Some(event);
            }
            if state.closing_until.is_some() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The event in hand has come to its end.
    fn put_down(&self) {
        let mut state = self.lock();
        state.in_hand = false;
        if state.dropped > 0 && state.waiting.len() < WAITING_MAX / 2 {
            tracing::warn!(
                dropped = state.dropped,
                "{}: {} news were dropped",
                self.name,
                state.dropped
            );
            state.dropped = 0;
        }
    }

    /// Waits before another try: so long, or a moment if the service ends. Whether there may be another try.
    fn pause(&self, pause: Duration) -> bool {
        let begun = self.clock.monotonic();
        let mut state = self.lock();
        loop {
            let now = self.clock.monotonic();
            if state.is_over(now) {
                return false;
            }
            let pause = match state.closing_until {
                Some(_) => pause.min(FAREWELL_PAUSE),
                None => pause,
            };
            let Some(left) = pause.checked_sub(now.since(begun)).filter(|left| !left.is_zero()) else {
                return true;
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Nothing more comes; what waits is told until then.
    pub fn close(&self, until: Monotonic) {
        self.lock().closing_until = Some(until);
        self.changed.notify_all();
    }

    /// The address is no longer to be told.
    pub fn retire(&self) {
        let mut state = self.lock();
        state.is_retired = true;
        let left = state.waiting.len();
        state.waiting.clear();
        if left > 0 {
            tracing::warn!(
                "{}: {left} news that waited are dropped, it is to be told no more",
                self.name
            );
        }
        self.changed.notify_all();
    }

    /// Whether what is under way must end now.
    pub fn is_over(&self) -> bool {
        self.lock().is_over(self.clock.monotonic())
    }

    /// What is not told yet.
    pub fn left(&self) -> usize {
        let state = self.lock();
        state.waiting.len() + usize::from(state.in_hand)
    }

    /// Tells one event after the other until there are no more. `deliver` is one try.
    pub fn serve(&self, mut deliver: impl FnMut(&Event) -> Delivery) {
        let mut outage = Outage::default();
        while let Some(event) = self.take() {
            let mut refusals = 0;
            loop {
                let (why, after) = match deliver(&event) {
                    Delivery::Done => {
                        outage.end(&self.name);
                        break;
                    }
                    Delivery::Never(why) => {
                        let job = event.job.as_ref().and_then(|job| job.job);
                        tracing::warn!(job, "{}: {why}", self.name);
                        break;
                    }
                    Delivery::Again {
                        why,
                        after,
                        was_heard,
                    } => {
                        refusals += u32::from(was_heard);
                        (why, after)
                    }
                };
                let is_old = is_older(event.at, self.clock.wall(), AGE_MAX);
                let pause = outage.goes_on(&self.name, &why, after);
                if is_old || refusals >= REFUSALS_MAX {
                    outage.given_up += 1;
                    break;
                }
                if !self.pause(pause) {
                    return outage.say_given_up(&self.name);
                }
            }
            self.put_down();
        }
        outage.say_given_up(&self.name);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_older(at: Timestamp, now: Timestamp, age: Duration) -> bool {
    u128::try_from(now.duration_since(at).as_millis()).is_ok_and(|ms| ms >= age.as_millis())
}

/// An address that does not hear.
#[derive(Debug, Default)]
struct Outage {
    failures: u32,
    given_up: u64,
}

impl Outage {
    /// Another failure, said if it is the first. The pause before the next try.
    fn goes_on(&mut self, name: &str, why: &str, after: Option<Duration>) -> Duration {
        if self.failures == 0 {
            tracing::warn!("{name}: {why}; it is tried again");
        } else {
            tracing::debug!(failures = self.failures, "{name}: {why}");
        }
        let pause = after.unwrap_or_else(|| pause_after(self.failures));
        self.failures = self.failures.saturating_add(1);
        pause.clamp(PAUSE_MIN, PAUSE_MAX)
    }

    fn end(&mut self, name: &str) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{name}: hears again");
        }
        self.say_given_up(name);
        *self = Self::default();
    }

    /// Once for an outage, and not for every message of it.
    fn say_given_up(&self, name: &str) {
        let given_up = self.given_up;
        if given_up > 0 {
            tracing::warn!(given_up, "{name}: {given_up} news were given up");
        }
    }
}

/// The pause after so many failures in a row before this one.
fn pause_after(failures: u32) -> Duration {
    PAUSE_MIN
        .checked_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
        .map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SystemClock};
    use crate::news::Tally;

    fn event(done: u64) -> Arc<Event> {
        let ended = Tally {
            done,
            ..Tally::default()
        };
        Arc::new(Event::idle(ManualClock::default().wall(), ended))
    }

    fn done(event: &Event) -> u64 {
        event.ended.map_or(0, |ended| ended.done)
    }

    fn again(was_heard: bool) -> Delivery {
        Delivery::Again {
            why: "x".to_owned(),
            after: None,
            was_heard,
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_the_other_side_may_ask_for_its_own() {
        let pauses: Vec<u64> = (0..11).map(|n| pause_after(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause_after(4000), PAUSE_MAX);
        let mut outage = Outage::default();
        assert_eq!(
            outage.goes_on("a", "x", Some(Duration::from_secs(70))).as_secs(),
            70
        );
        assert_eq!(
            outage.goes_on("a", "x", Some(Duration::from_secs(7000))),
            PAUSE_MAX
        );
        assert_eq!(outage.goes_on("a", "x", Some(Duration::ZERO)), PAUSE_MIN);
        assert_eq!(outage.goes_on("a", "x", None).as_secs(), 8);
    }

    #[test]
    fn what_is_too_much_costs_the_oldest() {
        let backlog = Backlog::new("a".to_owned(), SystemClock::shared());
        for n in 0..WAITING_MAX as u64 + 3 {
            backlog.put(event(n));
        }
        assert_eq!(backlog.left(), WAITING_MAX);
        assert_eq!(backlog.take().map(|event| done(&event)), Some(3));
    }

    /// Old enough not to be tried twice, so that no pause is waited for.
    #[test]
    fn news_go_in_order_and_old_ones_are_given_up() {
        let clock = Arc::new(ManualClock::default());
        let backlog = Backlog::new("a".to_owned(), clock.clone());
        for n in 0..3 {
            backlog.put(event(n));
        }
        clock.advance(AGE_MAX);
        backlog.close(clock.monotonic() + Duration::from_secs(1));
        let mut tried = Vec::new();
        backlog.serve(|event| {
            tried.push(done(event));
            if done(event) == 1 {
                Delivery::Done
            } else {
                again(false)
            }
        });
        assert_eq!(tried, [0, 1, 2]);
        assert_eq!(backlog.left(), 0);
    }

    #[test]
    fn after_the_farewell_nothing_is_tried_and_what_is_left_is_known() {
        let clock = Arc::new(ManualClock::default());
        let backlog = Backlog::new("a".to_owned(), clock.clone());
        backlog.put(event(0));
        backlog.put(event(1));
        backlog.close(clock.monotonic() + Duration::from_secs(5));
        let mut tries = 0;
        backlog.serve(|_| {
            tries += 1;
            clock.advance(Duration::from_secs(6));
            again(true)
        });
        assert_eq!((tries, backlog.left()), (1, 2), "the one in hand is left, too");
    }

    #[test]
    fn an_address_that_is_no_longer_told_gets_nothing_more() {
        let backlog = Backlog::new("a".to_owned(), SystemClock::shared());
        backlog.put(event(0));
        backlog.retire();
        backlog.serve(|_| unreachable!("nothing is told"));
        assert!(backlog.is_over());
        assert_eq!(backlog.left(), 0);
    }
}
