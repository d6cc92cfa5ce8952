//! Every way a claim ends, the policy of trying again, I10.

use super::*;
use crate::queue::retry::{ATTEMPTS_MAX, Draw, backoff};
use crate::queue::{JobOutcome, QueueError, State, recover};

#[tokio::test]
async fn done_is_recorded_only_after_the_publishing_was() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let report = RenderReport::default();
    let done = ledger.store.record_done(claim, Path::new("a.png"), &report).await;
    assert!(matches!(done, Err(QueueError::LeaseLost { job }) if job == id));
    assert_eq!(ledger.job(id).await.state, State::Running);
    assert_eq!(ledger.outcomes(id).await, ["open"]);
}

#[tokio::test]
async fn a_published_job_keeps_its_report_its_place_and_its_times() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("2024/a.png", 1).await;
    ledger.pass(5);
    let claim = ledger.claim().await;
    let report = RenderReport {
        oom_retries: 2,
        tile_history: vec![512, 256],
        warnings: vec!["16 bits were reduced to 8".to_owned()],
        ..RenderReport::default()
    };
    // The first name turned out to be taken.
    for result in ["2024/a.png", "2024/a-2.png"] {
        let to = publishing(result);
        ledger
            .store
            .record_publishing(&claim, &to, &report)
            .await
            .unwrap();
        assert_eq!(ledger.job(id).await.state, State::Publishing);
    }
    ledger.pass(7);
    let job = ledger
        .store
        .record_done(claim, Path::new("2024/a-2.png"), &report)
        .await
        .unwrap();
    assert_eq!(job, ledger.job(id).await);
    assert_eq!(job.result.as_deref(), Some(Path::new("2024/a-2.png")));
    assert_eq!((&job.report, job.reason.as_ref()), (&report, None));
    let took =
        [job.started_at, job.finished_at].map(|at| at.unwrap().duration_since(job.queued_at).as_secs());
    assert_eq!(took, [5, 12]);
    let document = job.document();
    assert_eq!(document.result.as_deref(), Some("2024/a-2.png"));
    assert_eq!(ledger.outcomes(id).await, ["done"]);
}

#[tokio::test]
async fn i10_every_ending_without_a_result_has_a_reason_and_a_place_in_the_history() {
    let ledger = Ledger::new().await;
    let mut ids = Vec::new();
    for content in 0..4 {
        ids.push(ledger.queue(&format!("{content}.png"), content).await);
    }
    let store = &ledger.store;
    let report = RenderReport {
        warnings: vec!["half of it was read".to_owned()],
        ..RenderReport::default()
    };
    let claim = ledger.claim().await;
    let failed = store.record_failed(claim, reason("not an image"), Some(&report));
    assert_eq!(failed.await.unwrap().report, report);
    let claim = ledger.claim().await;
    store
        .record_skipped(claim, reason("is there already"))
        .await
        .unwrap();
    let claim = ledger.claim().await;
    store.cancel(&[ids[2]]).await.unwrap();
    store.record_cancelled(claim).await.unwrap();
    let claim = ledger.claim().await;
    store.record_withdrawn(claim, reason("is gone")).await.unwrap();

    let expected = [
        (State::Failed, "failed", "not an image"),
        (State::Skipped, "skipped", "is there already"),
        (
            State::Cancelled,
            "cancelled",
            "2.png was cancelled by request; `upscaled jobs retry` queues it again",
        ),
        (State::Cancelled, "cancelled", "is gone"),
    ];
    for (&id, (state, outcome, message)) in ids.iter().zip(expected) {
        let job = ledger.job(id).await;
        assert_eq!(
            (job.state, job.finished_at),
            (state, Some(ledger.clock.wall())),
            "job {id}"
        );
        assert_eq!(job.reason.unwrap().message, message);
        let attempts = store.attempts(id).await.unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].outcome.as_deref(), Some(outcome));
        assert_eq!(attempts[0].reason.as_ref().unwrap().message, message);
    }
}

#[tokio::test]
async fn a_passing_fault_is_tried_three_times_each_after_a_longer_wait_and_then_fails_with_its_own_code() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let mut waits = Vec::new();
    for attempt in 1..ATTEMPTS_MAX {
        let claim = ledger.claim().await;
        assert_eq!(claim.job().attempts, attempt);
        let (job, outcome) = ledger.store.record_fault(claim, &passing(), None).await.unwrap();
        let JobOutcome::Retrying { not_before, .. } = outcome else {
            panic!("attempt {attempt}: {outcome:?}");
        };
        assert_eq!((job.state, job.not_before), (State::Queued, not_before));
        let wait = not_before.duration_since(ledger.clock.wall()).unsigned_abs();
        let draw = Draw::of(ME, id, attempt);
        assert_eq!(
            wait.as_millis(),
            backoff(attempt, draw).as_millis(),
            "of this very wait"
        );
        waits.push(wait);
        assert!(ledger.try_claim().await.is_none());
        assert_eq!(ledger.store.next_due().await.unwrap(), Some(not_before));
        ledger.clock.advance(wait);
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
    let claim = ledger.claim().await;
    let (job, outcome) = ledger.store.record_fault(claim, &passing(), None).await.unwrap();
    assert_eq!(outcome, JobOutcome::Failed(passing().reason));
    assert_eq!((job.state, job.attempts), (State::Failed, ATTEMPTS_MAX));
    assert_eq!(ledger.outcomes(id).await, ["retrying", "retrying", "failed"]);
    let numbers = ledger.store.attempts(id).await.unwrap();
    assert!(numbers.iter().map(|attempt| attempt.number).eq(1..=ATTEMPTS_MAX));
}

#[tokio::test]
async fn the_file_s_own_fault_fails_at_the_first_attempt() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let fault = Fault::quarantine(ReasonCode::Truncated, "a.png ends early");
    let (job, outcome) = ledger.store.record_fault(claim, &fault, None).await.unwrap();
    assert_eq!(outcome, JobOutcome::Failed(fault.reason));
    assert_eq!((job.state, job.attempts), (State::Failed, 1));
}

#[tokio::test]
async fn the_environment_s_fault_never_fails_a_job_however_often_it_strikes() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let fault = Fault::block(ReasonCode::Io, "the disk is full");
    for _ in 0..10 {
        let claim = ledger.claim().await;
        let (job, outcome) = ledger.store.record_fault(claim, &fault, None).await.unwrap();
        assert_eq!(outcome, JobOutcome::Released);
        assert_eq!((job.attempts, job.reason), (0, None));
    }
    let last = ledger.store.attempts(id).await.unwrap().pop().unwrap();
    assert_eq!((last.number, last.reason), (1, Some(fault.reason)));
}

#[tokio::test]
async fn a_cancel_wins_over_everything_but_a_result_and_a_failure() {
    let ledger = Ledger::new().await;
    let block = Fault::block(ReasonCode::Io, "the disk is full");
    let broken = Fault::quarantine(ReasonCode::Unreadable, "not an image");
    for (content, (fault, state)) in [
        (&block, State::Cancelled),
        (&passing(), State::Cancelled),
        (&broken, State::Failed),
    ]
    .into_iter()
    .enumerate()
    {
        let id = ledger
            .queue(&format!("{content}.png"), u8::try_from(content).unwrap())
            .await;
        let claim = ledger.claim().await;
        ledger.store.cancel(&[id]).await.unwrap();
        let (job, _) = ledger.store.record_fault(claim, fault, None).await.unwrap();
        assert_eq!((job.state, job.cancel_requested), (state, false));
    }
}

#[tokio::test]
async fn a_publishing_that_failed_leaves_no_intent_behind() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    ledger.start_publishing(&claim, "a.png").await;
    let fault = Fault::block(ReasonCode::Io, "the disk is full");
    ledger.store.record_fault(claim, &fault, None).await.unwrap();
    assert_eq!(ledger.job(id).await.state, State::Queued);
    let interrupted = ledger.store.interrupted_publishing("another").await.unwrap();
    assert!(interrupted.is_empty());
    assert_eq!(
        ledger.work("a.png").await.attempts,
        1,
        "publishing was not charged either"
    );
}

fn illegal_address() -> Reason {
    Reason::new(
        ReasonCode::Model,
        "cannot upscale a.png: the device was lost: CUDA failure 700",
    )
}

#[tokio::test]
async fn a_lost_device_gives_the_job_back_once_behind_the_others_and_the_second_time_holds_it_against_the_job()
 {
    let mut ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let lost = ledger.store.record_device_lost(claim, illegal_address(), None);
    let (job, outcome) = lost.await.unwrap();
    assert_eq!(outcome, JobOutcome::Released);
    assert_eq!(
        (job.state, job.attempts, job.device_losses),
        (State::Queued, 0, 1)
    );
    let attempt = ledger.store.attempts(id).await.unwrap().pop().unwrap();
    assert_eq!(attempt.reason, Some(illegal_address()), "the history tells why");

    // The process ends; the next one finds the count, and takes what waits before what took the device along.
    ledger.reopen().await;
    assert_eq!(ledger.job(id).await.device_losses, 1);
    let other = ledger.queue("b.png", 2).await;
    assert_eq!(ledger.work("b.png").await.id, other);
    assert!(ledger.try_claim().await.is_none());
    ledger.clock.advance(longest_backoff(1));

    let claim = ledger.claim().await;
    let report = RenderReport {
        oom_retries: 1,
        ..RenderReport::default()
    };
    let lost = ledger
        .store
        .record_device_lost(claim, illegal_address(), Some(&report));
    let (job, outcome) = lost.await.unwrap();
    let JobOutcome::Failed(reason) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (job.state, job.attempts, &job.report),
        (State::Failed, 1, &report)
    );
    assert_eq!(reason.code, ReasonCode::Model);
    assert_eq!(
        reason.message,
        "cannot upscale a.png: the device was lost: CUDA failure 700; it was the second time with this picture: see \
         the kernel's log and nvidia-smi, or set providers = [\"cpu\"] in [runtime], then `upscaled jobs retry 1`"
    );
    assert_eq!(ledger.outcomes(id).await, ["released", "failed"]);
}

#[tokio::test]
async fn whoever_asks_for_a_job_again_gets_it_with_a_clean_slate() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    for _ in 0..2 {
        ledger.clock.advance(longest_backoff(1));
        let claim = ledger.claim().await;
        let lost = ledger.store.record_device_lost(claim, illegal_address(), None);
        lost.await.unwrap();
    }
    ledger.store.retry(&[id]).await.unwrap();
    let claim = ledger.claim().await;
    assert_eq!(claim.job().device_losses, 0);
    let lost = ledger.store.record_device_lost(claim, illegal_address(), None);
    assert_eq!(lost.await.unwrap().1, JobOutcome::Released);
}

#[tokio::test]
async fn a_job_that_was_called_off_is_not_queued_again_by_a_lost_device() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    ledger.store.cancel(&[id]).await.unwrap();
    let lost = ledger.store.record_device_lost(claim, illegal_address(), None);
    assert_eq!(lost.await.unwrap().0.state, State::Cancelled);
}

#[tokio::test]
async fn power_that_fails_before_a_lost_device_is_recorded_leaves_a_crash_and_no_half_count() {
    let mut ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let _claim = ledger.claim().await;
    ledger.reopen().await;
    recover(&ledger.store, "upscaled-2").await.unwrap();
    let job = ledger.job(id).await;
    assert_eq!(
        (job.state, job.attempts, job.device_losses),
        (State::Queued, 1, 0)
    );
}
