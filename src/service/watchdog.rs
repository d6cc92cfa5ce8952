//! Owns what systemd is told: READY, STATUS, RELOADING, STOPPING, and WATCHDOG for as long as every loop
//! turns. Silent where there is no systemd. Never restarts anything itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::{Clock, Monotonic};

/// A loop of the control plane turns at least this often; anything slower hangs.
const LOOP_LIMIT: Duration = Duration::from_secs(60);

/// Longest that looking at one model takes on a slow machine.
const EXAMINING: Duration = Duration::from_secs(5 * 60);

/// The service is up (again).
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// A model is about to be looked at, which may take a minute if it was never seen: not too long for a start.
pub fn examining(model: &str) {
    busy(&format!("looking at the model {model}"));
}

/// The start does something that may take minutes, and says what.
pub fn busy(status: &str) {
    let longer = u32::try_from(EXAMINING.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::ExtendTimeoutUsec(longer),
        NotifyState::Status(status),
    ]);
}

/// The configuration is being read again; READY follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The service is on its way out.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

/// Proof of life of the worker's loop and of the job in it.
#[derive(Debug, Default)]
pub struct Pulse {
    loop_ms: AtomicU64,
    progress_ms: AtomicU64,
}

impl Pulse {
    /// The loop has turned.
    pub fn turned(&self, now: Monotonic) {
        self.loop_ms.store(millis(now), Ordering::Relaxed);
    }

    /// The job has moved, or there is none.
    pub fn progressed(&self, now: Monotonic) {
        self.progress_ms.store(millis(now), Ordering::Relaxed);
    }

    /// How long the job has not moved.
    pub fn stalled(&self, now: Monotonic) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.progress_ms.load(Ordering::Relaxed)))
    }

    /// Whether the loop turns and the job, if there is one, has moved within `job_timeout`.
    pub fn is_alive(&self, now: Monotonic, job_timeout: Duration) -> bool {
        let idle = Duration::from_millis(millis(now).saturating_sub(self.loop_ms.load(Ordering::Relaxed)));
        idle < LOOP_LIMIT && self.stalled(now) < job_timeout
    }
}

fn millis(now: Monotonic) -> u64 {
    u64::try_from(now.since(Monotonic::from_start(Duration::ZERO)).as_millis()).unwrap_or(u64::MAX)
}

/// How often systemd wants to hear from us, if it does: half of its limit, so that one late turn is forgiven.
pub fn interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Pings if everything is alive.
pub fn ping(pulse: &Pulse, clock: &dyn Clock, job_timeout: Duration) {
    if pulse.is_alive(clock.monotonic(), job_timeout) {
        tell(&[NotifyState::Watchdog]);
    } else {
        tracing::error!("a loop or the running job hangs; systemd is no longer told that all is well");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_hangs_ends_the_pings_and_an_idle_service_keeps_them() {
        let at = |s| Monotonic::from_start(Duration::from_secs(s));
        let timeout = Duration::from_secs(1800);
        let pulse = Pulse::default();
        pulse.turned(at(5000));
        pulse.progressed(at(4990));
        assert!(pulse.is_alive(at(5001), timeout));
        pulse.turned(at(7000));
        assert!(
            !pulse.is_alive(at(7001), timeout),
            "the job has not moved for half an hour"
        );
        pulse.progressed(at(7000));
        assert!(
            !pulse.is_alive(at(7100), timeout),
            "the loop has not turned for a minute"
        );
    }
}
