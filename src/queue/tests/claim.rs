//! I3, the order of claims, leases.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::queue::{Filter, QueueError, Renewal, State};

#[tokio::test]
async fn i3_a_claim_spends_its_attempt_in_the_statement_that_claims() {
    let ledger = Ledger::new().await;
    let mut raw = ledger.raw().await;
    // Sees every UPDATE on its own: one that claims and another that counts would not pass.
    sqlx::raw_sql(
        "CREATE TRIGGER i3 BEFORE UPDATE ON jobs
         WHEN (NEW.state = 'running' AND OLD.state = 'queued') <> (NEW.attempts = OLD.attempts + 1)
         BEGIN SELECT RAISE(ABORT, 'claimed without an attempt'); END",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    assert_eq!((claim.job().id, claim.job().attempts, claim.owner()), (id, 1, ME));
    let job = ledger.job(id).await;
    assert_eq!((job.state, job.attempts), (State::Running, 1));
    assert_eq!(job.started_at, Some(ledger.clock.wall()));
    assert_eq!(ledger.outcomes(id).await, ["open"]);
    assert!(ledger.try_claim().await.is_none(), "nobody claims it twice");
}

#[tokio::test]
async fn i3_a_claim_that_is_dropped_at_any_await_is_committed_or_never_was() {
    let ledger = Ledger::new().await;
    for content in 0..40 {
        ledger.queue(&format!("{content}.png"), content).await;
    }
    for polls in 0..40 {
        let mut claim = pin!(ledger.store.claim(ME, LEASE, &[]));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if let Poll::Ready(claimed) = claim.as_mut().poll(&mut context) {
                assert!(claimed.unwrap().is_some());
                break;
            }
            std::thread::yield_now();
        }
    }
    // SQLite's own thread may still be at the last COMMIT; another write comes after it.
    ledger.store.resume().await.unwrap();
    for job in ledger.store.list(&Filter::default()).await.unwrap() {
        let expected = match job.state {
            State::Queued => (0, 0),
            _ => (1, 1),
        };
        let history = ledger.outcomes(job.id).await.len();
        assert_eq!((job.attempts, history), expected, "job {}", job.id);
    }
    // And the connection is as good as new.
    ledger.queue("last.png", 99).await;
    while ledger.try_claim().await.is_some() {}
    assert_eq!(ledger.store.counts().await.unwrap()["photos"].queued, 0);
}

#[tokio::test]
async fn i3_what_is_given_back_is_unspent_and_what_is_tried_again_is_spent() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let job = ledger.store.release(claim).await.unwrap();
    assert_eq!(
        (job.state, job.attempts, job.reason.as_ref()),
        (State::Queued, 0, None)
    );
    let claim = ledger.claim().await;
    let later = ledger.clock.wall() + Duration::from_secs(30);
    let job = ledger
        .store
        .retry_later(claim, reason("share away"), later)
        .await
        .unwrap();
    assert_eq!((job.state, job.attempts), (State::Queued, 1));
    assert_eq!(job.reason.unwrap().message, "share away");
    assert_eq!(ledger.outcomes(id).await, ["released", "retrying"]);
    ledger.pass(29);
    assert!(ledger.try_claim().await.is_none());
    ledger.pass(1);
    let claim = ledger.claim().await;
    assert_eq!(
        (claim.job().attempts, &claim.job().reason),
        (2, &None),
        "a new try has no reason yet"
    );
}

#[tokio::test]
async fn the_highest_priority_goes_first_then_the_oldest_then_the_lowest_number() {
    let ledger = Ledger::new().await;
    let mut admitted = Vec::new();
    for (content, (priority, wait)) in [(0, 0), (5, 1), (-1, 1), (5, 1), (0, 0)].into_iter().enumerate() {
        ledger.pass(wait);
        let mut new = photo(&format!("{content}.png"), u8::try_from(content).unwrap());
        new.priority = priority;
        admitted.push(ledger.admit(&new).await.id());
    }
    // Given back or tried again, a job keeps its place.
    let first = ledger.claim().await;
    ledger.store.release(first).await.unwrap();
    let mut order = Vec::new();
    while let Some(claim) = ledger.try_claim().await {
        order.push(claim.job().id);
    }
    assert_eq!(order, [1, 3, 0, 4, 2].map(|index: usize| admitted[index]));
}

#[tokio::test]
async fn an_excluded_folder_waits_and_the_others_go_on() {
    let ledger = Ledger::new().await;
    let first = photo("a.png", 1);
    let mut second = photo("b.png", 2);
    second.folder = "it's \"scans\"".to_owned();
    ledger.admit(&first).await;
    ledger.admit(&second).await;
    let excluded = [first.folder.clone()];
    let claim = ledger.store.claim(ME, LEASE, &excluded).await.unwrap().unwrap();
    assert_eq!(claim.job().folder, second.folder);
    ledger.store.release(claim).await.unwrap();
    let both = [first.folder.clone(), second.folder.clone()];
    assert!(ledger.store.claim(ME, LEASE, &both).await.unwrap().is_none());
    let excluded = [second.folder.clone()];
    let claim = ledger.store.claim(ME, LEASE, &excluded).await.unwrap().unwrap();
    assert_eq!(claim.job().folder, first.folder);
}

#[tokio::test]
async fn two_workers_never_hold_the_same_job() {
    let ledger = Ledger::new().await;
    for content in 0..10 {
        ledger.queue(&format!("{content}.png"), content).await;
    }
    let other = Store::open(ledger.dir.path(), ledger.clock.clone())
        .await
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..6 {
        let (a, b) = tokio::join!(
            ledger.store.claim("one", LEASE, &[]),
            other.claim("two", LEASE, &[])
        );
        held.extend([a.unwrap(), b.unwrap()].into_iter().flatten());
    }
    let mut ids: Vec<_> = held.iter().map(|claim| claim.job().id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), held.len()), (10, 10));
    other.close().await;
}

#[tokio::test]
async fn a_lease_that_ran_out_is_still_held() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    // A machine that slept: recovery at the next start tells orphans, not the clock.
    ledger.pass(1_000_000);
    assert!(ledger.try_claim().await.is_none());
    assert_eq!(ledger.store.renew(&claim, LEASE).await.unwrap(), Renewal::Held);
    assert_eq!(ledger.finish(claim, "a.png").await.state, State::Done);
}

#[tokio::test]
async fn a_worker_whose_job_was_taken_over_learns_it_and_changes_nothing() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let stale = ledger.claim().await;
    super::super::recover(&ledger.store, "another").await.unwrap();
    ledger.clock.advance(longest_backoff(1));
    let current = ledger.store.claim(ME, LEASE, &[]).await.unwrap().unwrap();
    let before = ledger.job(id).await;

    assert_eq!(ledger.store.renew(&stale, LEASE).await.unwrap(), Renewal::Lost);
    let (to, report) = (publishing("a.png"), RenderReport::default());
    let recorded = ledger.store.record_publishing(&stale, &to, &report).await;
    assert!(matches!(recorded, Err(QueueError::LeaseLost { job }) if job == id));
    let failed = ledger.store.record_failed(stale, reason("late"), None).await;
    assert!(matches!(failed, Err(QueueError::LeaseLost { job }) if job == id));
    assert_eq!(
        ledger.job(id).await,
        before,
        "same owner, another claim: untouched"
    );
    assert_eq!(ledger.outcomes(id).await, ["crashed", "open"]);
    ledger.finish(current, "a.png").await;
}

#[tokio::test]
async fn a_person_s_cancel_is_seen_until_the_result_may_lie_there() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    ledger.store.cancel(&[id]).await.unwrap();
    assert_eq!(
        ledger.store.renew(&claim, LEASE).await.unwrap(),
        Renewal::CancelRequested
    );
    // The worker was already past its last look.
    ledger.start_publishing(&claim, "a.png").await;
    assert_eq!(ledger.store.renew(&claim, LEASE).await.unwrap(), Renewal::Held);
    let job = ledger
        .store
        .record_done(claim, Path::new("a.png"), &RenderReport::default())
        .await
        .unwrap();
    assert_eq!((job.state, job.cancel_requested), (State::Done, false));
}
