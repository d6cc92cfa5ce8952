//! Owns the folding of a log that repeats itself: the same line is shown once, and then summed up. Never loses the first
//! of its kind, and never folds lines that differ in anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::said::Said;
use crate::clock::{Monotonic, SharedClock};

/// A line that comes again within this time of its first is folded into a sum at the end of it.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines that are remembered. When more than this differ within a window, nothing repeats itself.
const LINES_MAX: usize = 256;

/// Longest line that is remembered, bytes: together half a megabyte at the worst.
const LINE_MAX_BYTES: usize = 2048;

/// Under which the sums are logged.
const TARGET: &str = "upscaled::repeated";

/// Folds what is logged. A filter: what it hides reaches no other layer.
#[derive(Debug, Clone)]
pub struct Folding {
    clock: SharedClock,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    known: HashMap<Line, Repeated>,
    /// Whether a thread waits to say the sums.
    is_awaited: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    level: Level,
    target: &'static str,
    text: String,
}

#[derive(Debug)]
struct Repeated {
    until: Monotonic,
    times: u64,
}

impl Lines {
    /// Whether the line is shown: not if it was within the window.
    fn hear(&mut self, line: Line, now: Monotonic) -> bool {
        if let Some(repeated) = self.known.get_mut(&line) {
            repeated.times += 1;
            return false;
        }
        if self.known.len() < LINES_MAX {
            let until = now + WINDOW;
            self.known.insert(line, Repeated { until, times: 0 });
        }
        true
    }

    /// Forgets what is over, at `now` or altogether. What was hidden of it.
    fn take_over(&mut self, now: Option<Monotonic>) -> Vec<(Line, u64)> {
        let is_over = |repeated: &Repeated| now.is_none_or(|now| now >= repeated.until);
        let over = self.known.extract_if(|_, repeated| is_over(repeated));
        let mut sums: Vec<_> = over
            .filter(|(_, repeated)| repeated.times > 0)
            .map(|(line, repeated)| (line, repeated.times))
            .collect();
        sums.sort_by(|(a, _), (b, _)| (a.level, &a.text).cmp(&(b.level, &b.text)));
        sums
    }

    fn hides_any(&self) -> bool {
        self.known.values().any(|repeated| repeated.times > 0)
    }
}

impl Folding {
    /// Nothing heard yet. Starts no thread before something repeats itself.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            lines: Arc::default(),
        }
    }

    /// Says the sums of everything that is hidden.
    pub fn finish(&self) {
        let sums = self.lock().take_over(None);
        say(&sums);
    }

    fn hear(&self, line: Line) -> bool {
        let now = self.clock.monotonic();
        let (sums, is_shown, must_wait) = {
            let mut lines = self.lock();
            let sums = lines.take_over(Some(now));
            let is_shown = lines.hear(line, now);
            let must_wait = !is_shown && !lines.is_awaited;
            lines.is_awaited |= must_wait;
            (sums, is_shown, must_wait)
        };
        // Not under the lock: what is said comes through here again.
        say(&sums);
        if must_wait {
            self.wait();
        }
        is_shown
    }

    /// Says the sums when their windows are over, also if nothing else is logged by then.
    fn wait(&self) {
        let folding = self.clone();
        let started = thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                thread::sleep(WINDOW);
                let now = folding.clock.monotonic();
                let sums = folding.lock().take_over(Some(now));
                say(&sums);
                let mut lines = folding.lock();
                if !lines.hides_any() {
                    lines.is_awaited = false;
                    return;
                }
            }
        });
        if started.is_err() {
            // Then the next line says them, or the end.
            self.lock().is_awaited = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Folding {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Whoever looks for a mistake wants to see everything.
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let text = Said::of(event).to_string();
        text.len() > LINE_MAX_BYTES
            || self.hear(Line {
                level: *metadata.level(),
                target: metadata.target(),
                text,
            })
    }
}

fn say(sums: &[(Line, u64)]) {
    for (line, times) in sums {
        let (text, word) = (&line.text, if *times == 1 { "time" } else { "times" });
        match line.level {
            Level::ERROR => tracing::error!(target: TARGET, "{text} (repeated {times} {word})"),
            Level::WARN => tracing::warn!(target: TARGET, "{text} (repeated {times} {word})"),
            _ => tracing::info!(target: TARGET, "{text} (repeated {times} {word})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    /// What reaches the layers behind the folding.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Shown {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Said::of(event).to_string());
        }
    }

    #[test]
    fn the_same_line_is_shown_once_and_summed_up_and_another_is_not_touched() {
        let clock = Arc::new(ManualClock::default());
        let (folding, shown) = (Folding::new(clock.clone()), Shown::default());
        // Sums are said by the next line and by the end here, not by the thread.
        folding.lock().is_awaited = true;
        let subscriber = tracing_subscriber::registry()
            .with(shown.clone())
            .with(folding.clone());
        let say = |job: i64| tracing::error!(job, "no answer");
        // A subscriber for one thread is not entered twice, so sums are looked at in the table.
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                say(1);
            }
            say(2);
            for _ in 0..2 {
                tracing::debug!("loud");
            }
        });
        assert_eq!(
            *shown.0.lock().unwrap(),
            ["no answer job=1", "no answer job=2", "loud", "loud"]
        );
        clock.advance(WINDOW);
        let sums = folding.lock().take_over(Some(clock.monotonic()));
        let sums: Vec<_> = sums
            .iter()
            .map(|(line, times)| (line.text.as_str(), *times))
            .collect();
        assert_eq!(sums, [("no answer job=1", 4)]);
        assert!(folding.lock().known.is_empty(), "the next one is shown again");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_does_not_fit_is_shown() {
        let clock = ManualClock::default();
        let mut lines = Lines::default();
        let line = |n: usize| Line {
            level: Level::WARN,
            target: "a",
            text: n.to_string(),
        };
        for n in 0..LINES_MAX * 2 {
            assert!(lines.hear(line(n), clock.monotonic()));
        }
        assert_eq!(lines.known.len(), LINES_MAX);
        assert!(!lines.hear(line(0), clock.monotonic()));
        assert!(lines.hear(line(LINES_MAX), clock.monotonic()), "never lost");
        assert_eq!(lines.take_over(None).len(), 1);
    }
}
