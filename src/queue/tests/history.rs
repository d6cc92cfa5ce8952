//! What is forgotten, and what never is.

use super::*;
use crate::queue::{Cursor, State};

const DAY: u64 = 24 * 3600;

/// Everything of the folder that may go after so many days; names, in the order of their end.
async fn expire(ledger: &Ledger, days: u64) -> Vec<String> {
    let before = ledger.clock.wall() - Duration::from_secs(days * DAY);
    let (mut gone, mut from) = (Vec::new(), None::<Cursor>);
    loop {
        let (page, next) = ledger.store.expire("photos", before, from).await.unwrap();
        gone.extend(page.iter().map(|job| job.source.display().to_string()));
        match next {
            Some(_) => from = next,
            None => return gone,
        }
    }
}

async fn mark(ledger: &Ledger, source: &str, is_there: bool) {
    let seen = [(PathBuf::from(source), is_there)];
    ledger.store.mark_gone("photos", &seen).await.unwrap();
}

#[tokio::test]
async fn a_source_that_still_lies_there_is_remembered_whatever_its_age() {
    let ledger = Ledger::new().await;
    for (content, name) in [(1, "a.png"), (2, "b.png"), (3, "c.png")] {
        ledger.queue(name, content).await;
        ledger.work(name).await;
    }
    ledger.pass(100 * DAY);
    assert!(
        expire(&ledger, 30).await.is_empty(),
        "nobody has looked whether they are there"
    );
    mark(&ledger, "a.png", false).await;
    mark(&ledger, "b.png", false).await;
    ledger.pass(20 * DAY);
    // It came back: a disk that was away.
    mark(&ledger, "b.png", true).await;
    ledger.pass(11 * DAY);
    assert_eq!(expire(&ledger, 30).await, ["a.png"], "gone for 31 days");
    assert!(ledger.store.get(JobId(1)).await.unwrap().is_none());
    assert!(ledger.store.attempts(JobId(1)).await.unwrap().is_empty());
    assert!(
        !ledger
            .store
            .has_job_of("photos", Path::new("a.png"))
            .await
            .unwrap()
    );
    assert_eq!(ledger.store.counts().await.unwrap()["photos"].done, 2);
    assert_eq!(ledger.store.lying("photos", None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn seen_again_by_intake_it_is_not_gone_any_more() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    mark(&ledger, "a.png", false).await;
    ledger.pass(50 * DAY);
    ledger.admit(&touched(&photo("a.png", 1))).await;
    ledger.pass(50 * DAY);
    assert!(expire(&ledger, 30).await.is_empty());
}

#[tokio::test]
async fn what_waits_or_runs_stays_and_so_does_what_ended_lately() {
    let ledger = Ledger::new().await;
    ledger.queue("running.png", 1).await;
    let _claim = ledger.claim().await;
    ledger.queue("waiting.png", 2).await;
    ledger.pass(100 * DAY);
    ledger.queue("late.png", 3).await;
    for name in ["running.png", "waiting.png", "late.png"] {
        mark(&ledger, name, false).await;
    }
    let cancelled = ledger.store.cancel(&[JobId(3)]).await.unwrap();
    assert_eq!(cancelled.len(), 1);
    ledger.pass(10 * DAY);
    assert!(expire(&ledger, 30).await.is_empty());
    ledger.pass(30 * DAY);
    assert_eq!(expire(&ledger, 30).await, ["late.png"]);
    assert_eq!(ledger.job(JobId(1)).await.state, State::Running);
}

#[tokio::test]
async fn a_disposed_source_and_one_with_newer_content_count_from_their_end() {
    let ledger = Ledger::new().await;
    ledger.queue("moved.png", 1).await;
    let job = ledger.work("moved.png").await;
    ledger
        .store
        .forget_source("photos", &job.source, job.id)
        .await
        .unwrap();
    assert_eq!(ledger.store.known("photos", &job.source).await.unwrap(), None);
    ledger.queue("a.png", 2).await;
    ledger.work("a.png").await;
    ledger.queue("a.png", 3).await;
    ledger.work("a.png").await;
    ledger.pass(31 * DAY);
    assert_eq!(expire(&ledger, 30).await, ["moved.png", "a.png"]);
    let left = ledger.job(JobId(3)).await;
    assert_eq!(
        ledger.store.own_result(&left).await.unwrap().unwrap(),
        Path::new("a.png")
    );
    assert!(
        ledger
            .store
            .has_job_of("photos", Path::new("a.png"))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_long_history_is_gone_through_in_pages() {
    let ledger = Ledger::new().await;
    for n in 0..1203_u32 {
        let mut new = photo(&format!("{n:04}.png"), 0);
        new.content[..4].copy_from_slice(&n.to_le_bytes());
        ledger.admit(&new).await;
    }
    let mut raw = ledger.raw().await;
    sqlx::raw_sql(
        "UPDATE jobs SET state = 'done', result = output, finished_at_ms = id / 10;
         UPDATE sources SET gone_since_ms = 1 WHERE job % 2 = 0",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    assert_eq!(expire(&ledger, 30).await.len(), 601);
    assert_eq!(ledger.store.counts().await.unwrap()["photos"].done, 602);
    let mut seen = 0;
    let mut after: Option<PathBuf> = None;
    loop {
        let page = ledger.store.lying("photos", after.as_deref()).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.source.clone());
        seen += page.len();
    }
    assert_eq!(seen, 602);
}
