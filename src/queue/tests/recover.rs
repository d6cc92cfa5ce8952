//! The first minute after a crash.

use super::*;
use crate::queue::retry::ATTEMPTS_MAX;
use crate::queue::{Filter, QueueError, Resolution, State, recover};

/// The process that comes after the one that crashed.
const NEXT: &str = "upscaled-2";

#[tokio::test]
async fn a_crash_costs_an_attempt_and_the_job_goes_on() {
    let mut ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let _lost = ledger.claim().await;
    ledger.reopen().await;
    let recovered = recover(&ledger.store, NEXT).await.unwrap();
    assert_eq!(recovered, [ledger.job(id).await]);
    assert_eq!((recovered[0].state, recovered[0].attempts), (State::Queued, 1));
    assert_eq!(ledger.outcomes(id).await, ["crashed"]);
    let other = ledger.queue("b.png", 2).await;
    assert_eq!(ledger.claim().await.job().id, other, "others go first");
    ledger.clock.advance(longest_backoff(1));
    assert_eq!(ledger.claim().await.job().attempts, 2);
}

#[tokio::test]
async fn a_job_that_takes_the_service_down_three_times_is_quarantined() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("bomb.png", 1).await;
    for start in 1..=ATTEMPTS_MAX {
        ledger.clock.advance(longest_backoff(start));
        let _lost = ledger
            .store
            .claim(&start.to_string(), LEASE, &[])
            .await
            .unwrap()
            .unwrap();
        recover(&ledger.store, NEXT).await.unwrap();
    }
    let job = ledger.job(id).await;
    assert_eq!((job.state, job.attempts), (State::Failed, ATTEMPTS_MAX));
    let reason = job.reason.unwrap();
    assert_eq!(reason.code, ReasonCode::CrashedService);
    assert_eq!(
        reason.message,
        format!(
            "bomb.png: the service died while it worked on it (attempt 3 of 3); see its log, then \
             `upscaled jobs retry {id}`"
        )
    );
    assert_eq!(ledger.outcomes(id).await, ["crashed", "crashed", "crashed"]);
    assert!(ledger.try_claim().await.is_none());
}

#[tokio::test]
async fn a_cancel_that_the_dead_process_did_not_follow_is_followed_at_the_next_start() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let _lost = ledger.claim().await;
    ledger.store.cancel(&[id]).await.unwrap();
    let recovered = recover(&ledger.store, NEXT).await.unwrap();
    assert_eq!(recovered[0].state, State::Cancelled);
    assert!(recovered[0].reason.is_some());
    assert_eq!(ledger.outcomes(id).await, ["crashed"]);
}

#[tokio::test]
async fn recovery_leaves_the_living_the_waiting_and_the_finished_alone() {
    let ledger = Ledger::new().await;
    for content in 0..3 {
        ledger.queue(&format!("{content}.png"), content).await;
    }
    ledger.work("0.png").await;
    let mine = ledger.store.claim(NEXT, LEASE, &[]).await.unwrap().unwrap();
    let before = ledger.store.list(&Filter::default()).await.unwrap();
    assert!(recover(&ledger.store, NEXT).await.unwrap().is_empty());
    assert_eq!(ledger.store.list(&Filter::default()).await.unwrap(), before);
    ledger.finish(mine, "1.png").await;
}

#[tokio::test]
async fn a_rename_that_was_cut_short_is_handed_over_with_all_that_it_takes_to_finish_it() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let report = RenderReport {
        oom_retries: 1,
        ..RenderReport::default()
    };
    let to = publishing("a.png");
    ledger
        .store
        .record_publishing(&claim, &to, &report)
        .await
        .unwrap();
    let own = ledger.store.interrupted_publishing(ME).await.unwrap();
    assert!(own.is_empty(), "that one is at work");

    assert!(recover(&ledger.store, NEXT).await.unwrap().is_empty());
    let interrupted = ledger.store.interrupted_publishing(NEXT).await.unwrap();
    assert_eq!(interrupted.len(), 1);
    assert_eq!((interrupted[0].job.id, &interrupted[0].publishing), (id, &to));
    let result = PathBuf::from("a.png");
    let job = ledger
        .store
        .resolve_interrupted(id, Resolution::Done { result })
        .await
        .unwrap();
    assert_eq!((job.state, &job.report), (State::Done, &report));
    assert_eq!(ledger.outcomes(id).await, ["done"]);
    assert!(
        ledger
            .store
            .interrupted_publishing(NEXT)
            .await
            .unwrap()
            .is_empty()
    );
    // Twice resolved is a mistake that changes nothing.
    let again = ledger.store.resolve_interrupted(id, Resolution::Requeue).await;
    assert!(matches!(again, Err(QueueError::LeaseLost { job }) if job == id));
    assert_eq!(ledger.job(id).await, job);
}

#[tokio::test]
async fn a_publishing_that_lost_its_files_is_a_crash() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    for attempt in 1..=ATTEMPTS_MAX {
        ledger.clock.advance(longest_backoff(attempt));
        let claim = ledger.claim().await;
        ledger.start_publishing(&claim, "a.png").await;
        let job = ledger
            .store
            .resolve_interrupted(id, Resolution::Requeue)
            .await
            .unwrap();
        let last = attempt == ATTEMPTS_MAX;
        assert_eq!(job.state, if last { State::Failed } else { State::Queued });
        assert_eq!(job.attempts, attempt);
    }
    assert_eq!(
        ledger.job(id).await.reason.unwrap().code,
        ReasonCode::CrashedService
    );
}

#[tokio::test]
async fn a_late_publishing_that_is_finished_by_recovery_makes_way_for_the_content_that_is_there() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    let b = ledger.queue("a.png", 2).await;
    let claim = ledger.claim().await;
    ledger.start_publishing(&claim, "a.png").await;
    ledger.queue("a.png", 1).await;
    let result = PathBuf::from("a.png");
    ledger
        .store
        .resolve_interrupted(b, Resolution::Done { result })
        .await
        .unwrap();
    let job = ledger.job(a).await;
    assert_eq!((job.state, job.replaced_by), (State::Queued, Some(b)));
}
