//! What a person does to the queue, with or without a service.

use super::*;
use crate::queue::{Pause, State, Steered};
use crate::report::JobState;

#[tokio::test]
async fn cancel_takes_a_waiting_job_at_once_asks_a_running_one_and_leaves_the_rest() {
    let ledger = Ledger::new().await;
    let done = ledger.queue("done.png", 1).await;
    ledger.work("done.png").await;
    let publishing = ledger.queue("publishing.png", 2).await;
    let claim = ledger.claim().await;
    ledger.start_publishing(&claim, "publishing.png").await;
    let running = ledger.queue("running.png", 3).await;
    let _held = ledger.claim().await;
    let queued = ledger.queue("queued.png", 4).await;
    let unknown = JobId(99);

    let all = [done, publishing, running, queued, unknown];
    let steered = ledger.store.cancel(&all).await.unwrap();
    assert!(steered.iter().map(|(id, _)| *id).eq(all));
    assert_eq!(steered[0].1, Steered::Unchanged(JobState::Done));
    assert_eq!(steered[1].1, Steered::Unchanged(JobState::Running));
    assert_eq!(
        steered[2].1,
        Steered::Requested(Box::new(ledger.job(running).await))
    );
    assert!(ledger.job(running).await.cancel_requested);
    assert_eq!(steered[3].1, Steered::Changed(Box::new(ledger.job(queued).await)));
    assert_eq!(ledger.job(queued).await.state, State::Cancelled);
    assert_eq!(steered[4].1, Steered::Unknown);
    let twice = ledger.store.cancel(&[queued]).await.unwrap();
    assert_eq!(twice, [(queued, Steered::Unchanged(JobState::Cancelled))]);
}

#[tokio::test]
async fn retry_queues_what_ended_without_a_result_with_fresh_attempts_and_leaves_the_rest() {
    let ledger = Ledger::new().await;
    let done = ledger.queue("done.png", 1).await;
    ledger.work("done.png").await;
    let failed = ledger.queue("failed.png", 2).await;
    let claim = ledger.claim().await;
    ledger
        .store
        .record_failed(claim, reason("broken"), None)
        .await
        .unwrap();
    let cancelled = ledger.queue("cancelled.png", 3).await;
    ledger.store.cancel(&[cancelled]).await.unwrap();
    ledger.pass(10);

    let steered = ledger
        .store
        .retry(&[done, failed, cancelled, JobId(99)])
        .await
        .unwrap();
    assert_eq!(steered[0].1, Steered::Unchanged(JobState::Done));
    assert_eq!(steered[3].1, Steered::Unknown);
    for id in [failed, cancelled] {
        let job = ledger.job(id).await;
        assert_eq!((job.state, job.attempts), (State::Queued, 0));
        assert_eq!((job.reason, job.finished_at), (None, None));
        assert_eq!(job.queued_at, ledger.clock.wall());
    }
    assert_eq!(
        ledger.outcomes(failed).await,
        ["failed"],
        "the history is not rewritten"
    );
    assert_eq!(ledger.claim().await.job().id, failed);
    assert_eq!(
        ledger.store.attempts(failed).await.unwrap()[1].number,
        1,
        "counted anew"
    );
}

#[tokio::test]
async fn retry_all_failed_takes_the_failed_and_no_others() {
    let ledger = Ledger::new().await;
    let skipped = ledger.queue("skipped.png", 1).await;
    let claim = ledger.claim().await;
    ledger.store.record_skipped(claim, reason("taken")).await.unwrap();
    let mut failed = Vec::new();
    for content in 2..5 {
        failed.push(ledger.queue(&format!("{content}.png"), content).await);
        let claim = ledger.claim().await;
        ledger
            .store
            .record_failed(claim, reason("broken"), None)
            .await
            .unwrap();
    }
    let queued = ledger.store.retry_all_failed().await.unwrap();
    assert!(queued.iter().map(|job| job.id).eq(failed));
    assert_eq!(ledger.job(skipped).await.state, State::Skipped);
    assert!(ledger.store.retry_all_failed().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pause_stops_claims_survives_a_restart_and_ends_when_a_person_says_so() {
    let mut ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    let since = ledger.clock.wall();
    let pause = Pause { since, until: None };
    assert_eq!(ledger.store.pause(None).await.unwrap(), pause);
    ledger.pass(1_000_000);
    ledger.reopen().await;
    assert_eq!(ledger.store.paused().await.unwrap(), Some(pause));
    assert!(ledger.try_claim().await.is_none());
    assert!(ledger.store.resume().await.unwrap());
    assert!(!ledger.store.resume().await.unwrap(), "there was none any more");
    assert_eq!(ledger.store.paused().await.unwrap(), None);
    assert!(ledger.try_claim().await.is_some());
}

#[tokio::test]
async fn a_pause_for_a_while_ends_by_itself() {
    let mut ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    let (since, hour) = (ledger.clock.wall(), Duration::from_secs(3600));
    let until = since + hour;
    ledger.store.pause(Some(until)).await.unwrap();
    ledger.pass(3599);
    ledger.reopen().await;
    assert!(ledger.try_claim().await.is_none());
    // Prolonged, it is the same pause.
    let longer = Some(until + hour);
    let pause = ledger.store.pause(longer).await.unwrap();
    assert_eq!(pause, Pause { since, until: longer });
    assert_eq!(ledger.store.paused().await.unwrap(), Some(pause));
    ledger.pass(3601);
    assert_eq!(ledger.store.paused().await.unwrap(), None);
    let claim = ledger.claim().await;
    // And the next one begins anew.
    let pause = ledger.store.pause(None).await.unwrap();
    assert_eq!(pause.since, ledger.clock.wall());
    ledger.store.pause(Some(ledger.clock.wall())).await.unwrap();
    assert!(
        !ledger.store.resume().await.unwrap(),
        "one that is over is none to end"
    );
    assert_eq!(ledger.finish(claim, "a.png").await.state, State::Done);
}

#[tokio::test]
async fn a_pause_is_told_as_it_is_stored() {
    let ledger = Ledger::new().await;
    let until = ledger.clock.wall() + Duration::from_nanos(1_500_000_001);
    let pause = ledger.store.pause(Some(until)).await.unwrap();
    assert_eq!(ledger.store.paused().await.unwrap(), Some(pause));
}

#[tokio::test]
async fn a_rescan_is_asked_for_once_beside_a_pause_and_taken_once() {
    let mut ledger = Ledger::new().await;
    assert_eq!(ledger.store.asked().await.unwrap(), (None, false));
    let pause = ledger
        .store
        .pause(Some(ledger.clock.wall() + LEASE))
        .await
        .unwrap();
    ledger.store.ask_rescan().await.unwrap();
    ledger.store.ask_rescan().await.unwrap();
    ledger.reopen().await;
    assert_eq!(ledger.store.asked().await.unwrap(), (Some(pause), true));
    ledger.store.take_rescan().await.unwrap();
    ledger.pass(61);
    assert_eq!(ledger.store.asked().await.unwrap(), (None, false));
    assert!(!ledger.store.resume().await.unwrap(), "over by itself");
}

#[tokio::test]
async fn only_a_finished_job_is_removed_and_its_source_is_new_afterwards() {
    let ledger = Ledger::new().await;
    let done = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    let running = ledger.queue("b.png", 2).await;
    let claim = ledger.claim().await;
    let queued = ledger.queue("c.png", 3).await;
    let before = ledger.job(done).await;
    let steered = ledger
        .store
        .remove(&[done, running, queued, JobId(99)])
        .await
        .unwrap();
    let steered: Vec<_> = steered.into_iter().map(|(_, steered)| steered).collect();
    assert_eq!(
        steered,
        [
            Steered::Changed(Box::new(before)),
            Steered::Unchanged(JobState::Running),
            Steered::Unchanged(JobState::Queued),
            Steered::Unknown
        ]
    );
    assert!(ledger.store.attempts(done).await.unwrap().is_empty());
    assert!(matches!(ledger.admit(&photo("a.png", 1)).await, Admission::New(id) if id > queued));
    ledger.finish(claim, "b.png").await;
}
