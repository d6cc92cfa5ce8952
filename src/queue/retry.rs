//! Owns the policy of trying again: how often, how long between, and what an ending makes of a job. Pure: no
//! SQL, no clock.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::job::{Job, JobId, JobOutcome, State};
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::fs::FileIdentity;
use crate::report::RenderReport;

/// Attempts that a job gets before it fails. A file that kills the service must not do so for ever.
pub const ATTEMPTS_MAX: u32 = 3;

/// Losses of the device that a job gets before it fails. The first may be anybody's doing, a driver's or a cable's;
/// the second under the same picture is held against it.
pub const DEVICE_LOSSES_MAX: u32 = 2;

/// The wait after the first spent attempt; each further one waits [`BACKOFF_FACTOR`] times longer.
const BACKOFF_FIRST: Duration = Duration::from_secs(15);

/// 15 s, 60 s, 240 s.
const BACKOFF_FACTOR: u32 = 4;

/// By how much of itself a wait may be longer: several machines that lost the same share must not all come back in
/// the same second. Never shorter, so that the wait is a promise.
const JITTER: f64 = 0.25;

/// A number from 0 to 1 (never 1) that tells one wait from another. Drawn from who waits, so that the same wait has
/// the same length whoever computes it; `owner` differs from process to process and from machine to machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw(f64);

impl Draw {
    /// Beyond every other one.
    #[cfg(test)]
    pub(super) const MOST: Self = Self(1.0);

    /// Of a claim: its owner, its job, its attempt.
    pub fn of(owner: &str, job: JobId, attempts: u32) -> Self {
        let hash = blake3::hash(format!("{owner}/{job}/{attempts}").as_bytes());
        let (bytes, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 4], &[]));
        Self(f64::from(u32::from_le_bytes(*bytes)) / (f64::from(u32::MAX) + 1.0))
    }
}

/// How long a job waits after its `attempts`-th attempt (from 1).
pub fn backoff(attempts: u32, draw: Draw) -> Duration {
    let least = BACKOFF_FIRST.saturating_mul(BACKOFF_FACTOR.saturating_pow(attempts.saturating_sub(1)));
    // A quarter of the longest wait that a `Duration` holds still fits a float.
    least.saturating_add(
        Duration::try_from_secs_f64(least.as_secs_f64() * JITTER * draw.0).unwrap_or_default(),
    )
}

/// What a fault makes of a claimed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It fails for good.
    Fail,
    /// It is tried again after this long.
    Retry(Duration),
    /// It is given back, its attempt unspent.
    Release,
}

/// Decides by the fault's disposition and the attempts spent, this one included.
pub fn verdict(attempts: u32, fault: &Fault, draw: Draw) -> Verdict {
    match fault.disposition {
        Disposition::Quarantine => Verdict::Fail,
        Disposition::Retry { .. } if attempts >= ATTEMPTS_MAX => Verdict::Fail,
        Disposition::Retry { after } => Verdict::Retry(after.max(backoff(attempts, draw))),
        Disposition::Release | Disposition::Block => Verdict::Release,
    }
}

/// How a claim ends.
#[derive(Debug)]
pub(super) enum Ending<'a> {
    Done {
        result: &'a Path,
        report: Option<&'a RenderReport>,
    },
    Failed {
        reason: Reason,
        report: Option<&'a RenderReport>,
    },
    Skipped(Reason),
    /// The worker followed a request.
    Cancelled,
    /// The source is gone or holds other content. With the identity under which the job was claimed.
    Withdrawn {
        reason: Reason,
        claimed: FileIdentity,
    },
    Retrying {
        reason: Reason,
        not_before: Timestamp,
    },
    Released(Option<Reason>),
    /// The device was lost under it. Others go first, as after a crash: if it is lost under the next job too, it was
    /// not this one's doing.
    DeviceLost {
        reason: Reason,
        report: Option<&'a RenderReport>,
        not_before: Timestamp,
    },
    /// The process that held it is no more. Others go first: a picture that kills the service must not be the
    /// first thing that every start does.
    Crashed {
        not_before: Timestamp,
    },
}

/// The row after an ending, and what the history says of the attempt.
#[derive(Debug, PartialEq)]
pub(super) struct After {
    pub(super) state: State,
    pub(super) attempts: u32,
    pub(super) device_losses: u32,
    pub(super) not_before: Timestamp,
    pub(super) withdrawn: bool,
    /// Of the job.
    pub(super) reason: Option<Reason>,
    /// Of the attempt.
    pub(super) outcome: &'static str,
    pub(super) attempt_reason: Option<Reason>,
}

/// What `ending` makes of `job`, a row that is held.
pub(super) fn after(job: &Job, ending: &Ending<'_>) -> After {
    assert!(job.attempts > 0, "I3: job {} is held without an attempt", job.id);
    let last = |state, outcome, reason: Option<&Reason>| After {
        state,
        attempts: job.attempts,
        device_losses: job.device_losses,
        not_before: job.not_before,
        withdrawn: false,
        reason: reason.cloned(),
        outcome,
        attempt_reason: reason.cloned(),
    };
    match ending {
        Ending::Done { .. } => last(State::Done, "done", None),
        Ending::Failed { reason, .. } => last(State::Failed, "failed", Some(reason)),
        Ending::Skipped(reason) => last(State::Skipped, "skipped", Some(reason)),
        _ if job.cancel_requested => cancelled(job, matches!(ending, Ending::Crashed { .. })),
        // Intake has since found the same content there again (touched, put back): the job is wanted.
        Ending::Withdrawn { claimed, .. } if job.identity != *claimed => given_back(job, None),
        Ending::Withdrawn { reason, .. } => After {
            withdrawn: true,
            ..last(State::Cancelled, "cancelled", Some(reason))
        },
        // The request was taken back while the worker was stopping.
        Ending::Cancelled => given_back(job, None),
        Ending::Released(reason) => given_back(job, reason.clone()),
        Ending::DeviceLost { reason, .. } if job.device_losses + 1 >= DEVICE_LOSSES_MAX => After {
            device_losses: job.device_losses + 1,
            ..last(State::Failed, "failed", Some(&device_lost(job, reason)))
        },
        Ending::DeviceLost {
            reason, not_before, ..
        } => After {
            device_losses: job.device_losses + 1,
            not_before: *not_before,
            ..given_back(job, Some(reason.clone()))
        },
        Ending::Retrying { reason, not_before } => After {
            not_before: *not_before,
            ..last(State::Queued, "retrying", Some(reason))
        },
        Ending::Crashed { .. } if job.attempts >= ATTEMPTS_MAX => {
            last(State::Failed, "crashed", Some(&crashed_service(job)))
        }
        Ending::Crashed { not_before } => After {
            not_before: *not_before,
            ..last(State::Queued, "crashed", None)
        },
    }
}

/// A job that waits again has no reason: nothing is wrong with it. The attempt remembers why.
fn given_back(job: &Job, attempt_reason: Option<Reason>) -> After {
    After {
        state: State::Queued,
        attempts: job.attempts - 1,
        device_losses: job.device_losses,
        not_before: job.not_before,
        withdrawn: false,
        reason: None,
        outcome: "released",
        attempt_reason,
    }
}

fn cancelled(job: &Job, crashed: bool) -> After {
    let reason = if job.withdrawn {
        replaced_reason(&job.source)
    } else {
        cancelled_reason(&job.source)
    };
    After {
        state: State::Cancelled,
        attempts: job.attempts,
        device_losses: job.device_losses,
        not_before: job.not_before,
        withdrawn: job.withdrawn,
        reason: Some(reason.clone()),
        outcome: if crashed { "crashed" } else { "cancelled" },
        attempt_reason: Some(reason),
    }
}

// The stable codes are those of failures; what was called off carries `io` for want of a better one, and its
// message tells.

/// Why a job that a person called off is where it is.
pub(super) fn cancelled_reason(source: &Path) -> Reason {
    let message = format!(
        "{} was cancelled by request; `upscaled jobs retry` queues it again",
        source.display()
    );
    Reason::new(ReasonCode::Io, message)
}

/// Why a job whose content is no longer what lies there was called off.
pub(super) fn replaced_reason(source: &Path) -> Reason {
    let message = format!(
        "{} has newer content or settings; a newer job took over",
        source.display()
    );
    Reason::new(ReasonCode::Io, message)
}

fn crashed_service(job: &Job) -> Reason {
    let message = format!(
        "{}: the service died while it worked on it (attempt {} of {ATTEMPTS_MAX}); see its log, then \
         `upscaled jobs retry {}`",
        job.source.display(),
        job.attempts,
        job.id
    );
    Reason::new(ReasonCode::CrashedService, message)
}

fn device_lost(job: &Job, reason: &Reason) -> Reason {
    let message = format!(
        "{reason}; it was the second time with this picture: see the kernel's log and nvidia-smi, or set providers = \
         [\"cpu\"] in [runtime], then `upscaled jobs retry {}`",
        job.id
    );
    Reason::new(ReasonCode::Model, message)
}

/// What became of a job, told by its row after the ending.
pub(super) fn outcome(job: &Job) -> JobOutcome {
    let reason = || {
        let none = || Reason::new(ReasonCode::Io, "no reason was recorded");
        job.reason.clone().unwrap_or_else(none)
    };
    match job.state {
        State::Done => JobOutcome::Done,
        State::Failed => JobOutcome::Failed(reason()),
        State::Skipped => JobOutcome::Skipped(reason()),
        State::Cancelled => JobOutcome::Cancelled(reason()),
        State::Queued | State::Running | State::Publishing => match &job.reason {
            Some(reason) => JobOutcome::Retrying {
                reason: reason.clone(),
                not_before: job.not_before,
            },
            None => JobOutcome::Released,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least() -> Draw {
        Draw(0.0)
    }

    #[test]
    fn waits_grow_fourfold_and_never_overflow() {
        assert_eq!(
            [1, 2, 3].map(|attempts| backoff(attempts, least())),
            [15, 60, 240].map(Duration::from_secs)
        );
        assert!(backoff(u32::MAX, Draw(0.999)) >= backoff(3, least()));
    }

    #[test]
    fn machines_that_lost_the_same_share_come_back_at_different_times() {
        let machine = |n: u32| backoff(1, Draw::of(&format!("{n}@1763942400000"), JobId(1), 1));
        let waits: std::collections::BTreeSet<u128> = (0..50).map(|n| machine(n).as_millis()).collect();
        assert!(waits.len() > 45, "{waits:?}");
        let (shortest, longest) = (waits.first().unwrap(), waits.last().unwrap());
        assert!(*shortest >= 15_000 && *longest < 18_750, "{waits:?}");
        assert!(longest - shortest > 2_000, "spread over most of the quarter");
        assert_eq!(machine(7), machine(7), "whoever computes it");
    }

    #[test]
    fn a_passing_fault_fails_with_the_third_attempt_and_waits_at_least_as_long_as_it_asks() {
        let fault = Fault::retry(Duration::from_secs(90), ReasonCode::Io, "share away");
        let asked = Verdict::Retry(Duration::from_secs(90));
        assert_eq!(verdict(1, &fault, least()), asked);
        assert_eq!(verdict(2, &fault, least()), asked);
        assert_eq!(verdict(3, &fault, least()), Verdict::Fail);
    }

    #[test]
    fn the_environments_fault_charges_no_job() {
        let fault = Fault::block(ReasonCode::Io, "disk full");
        assert_eq!(verdict(3, &fault, least()), Verdict::Release);
    }
}
