//! What people, status and publish are told.

use super::*;
use crate::queue::{Counts, Filter};
use crate::report::JobState;

/// One job in every state, all in `photos`, and a waiting one in `scans`. In the order of [`Filter`]'s states.
async fn one_of_each(ledger: &Ledger) -> Vec<JobId> {
    let store = &ledger.store;
    let mut ids = Vec::new();
    for content in 0..6 {
        ids.push(ledger.queue(&format!("{content}.png"), content).await);
    }
    ledger.work("0.png").await;
    ledger.pass(1);
    let claim = ledger.claim().await;
    store.record_failed(claim, reason("broken"), None).await.unwrap();
    let claim = ledger.claim().await;
    store.record_skipped(claim, reason("taken")).await.unwrap();
    let _running = ledger.claim().await;
    let claim = ledger.claim().await;
    ledger.start_publishing(&claim, "4.png").await;
    ledger.pass(1);
    store.cancel(&[ids[5]]).await.unwrap();
    ids.push(ledger.queue("6.png", 6).await);
    let mut scan = photo("scan.png", 7);
    scan.folder = "scans".to_owned();
    ids.push(ledger.admit(&scan).await.id());
    ids
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_state_by_folder_and_so_many() {
    let ledger = Ledger::new().await;
    let all = one_of_each(&ledger).await;
    let list = async |filter: Filter| ids(&ledger.store.list(&filter).await.unwrap());
    let newest_first: Vec<_> = all.iter().rev().copied().collect();
    assert_eq!(list(Filter::default()).await, newest_first);
    for (state, expected) in [
        (JobState::Done, vec![all[0]]),
        (JobState::Failed, vec![all[1]]),
        (JobState::Skipped, vec![all[2]]),
        (JobState::Running, vec![all[4], all[3]]),
        (JobState::Cancelled, vec![all[5]]),
        (JobState::Queued, vec![all[7], all[6]]),
    ] {
        let state = Some(state);
        let filter = Filter {
            state,
            ..Filter::default()
        };
        assert_eq!(list(filter.clone()).await, expected, "{state:?}");
        let folder = Some("scans".to_owned());
        let scans: Vec<_> = expected.into_iter().filter(|id| *id == all[7]).collect();
        assert_eq!(list(Filter { folder, ..filter }).await, scans, "{state:?}");
    }
    let limit = Some(3);
    assert_eq!(
        list(Filter {
            limit,
            ..Filter::default()
        })
        .await,
        newest_first[..3]
    );
    let limit = Some(0);
    assert!(
        list(Filter {
            limit,
            ..Filter::default()
        })
        .await
        .is_empty()
    );
    let folder = Some("x' OR 1".to_owned());
    assert!(
        list(Filter {
            folder,
            ..Filter::default()
        })
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn counts_are_by_folder_and_show_publishing_as_running() {
    let ledger = Ledger::new().await;
    assert!(ledger.store.counts().await.unwrap().is_empty());
    one_of_each(&ledger).await;
    let counts = ledger.store.counts().await.unwrap();
    let photos = Counts {
        queued: 1,
        running: 2,
        done: 1,
        failed: 1,
        skipped: 1,
        cancelled: 1,
    };
    let scans = Counts {
        queued: 1,
        ..Counts::default()
    };
    assert!(
        counts
            .iter()
            .map(|(name, counts)| (name.as_str(), *counts))
            .eq([("photos", photos), ("scans", scans)])
    );
    let mut sum = photos;
    sum += scans;
    assert_eq!(*sum.of(JobState::Queued), 2);
}

#[tokio::test]
async fn recent_tells_what_ended_last_and_leaves_out_what_a_newer_job_took_over() {
    let ledger = Ledger::new().await;
    let all = one_of_each(&ledger).await;
    // 6.png has new content before its turn came.
    ledger.queue("6.png", 60).await;
    let recent = ledger.store.recent("photos", 10).await.unwrap();
    assert_eq!(ids(&recent), [all[5], all[2], all[1], all[0]]);
    let recent = ledger.store.recent("photos", 2).await.unwrap();
    assert_eq!(ids(&recent), [all[5], all[2]]);
    assert!(ledger.store.recent("scans", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn running_tells_what_is_held_oldest_claim_first() {
    let ledger = Ledger::new().await;
    let all = one_of_each(&ledger).await;
    assert_eq!(ids(&ledger.store.running().await.unwrap()), [all[3], all[4]]);
}

#[tokio::test]
async fn the_next_due_job_is_the_one_that_waits_least() {
    let ledger = Ledger::new().await;
    assert_eq!(ledger.store.next_due().await.unwrap(), None);
    let mut waits = Vec::new();
    for content in 0..2 {
        ledger.queue(&format!("{content}.png"), content).await;
        let claim = ledger.claim().await;
        let (job, _) = ledger.store.record_fault(claim, &passing(), None).await.unwrap();
        waits.push(job.not_before);
        ledger.pass(1);
    }
    assert_eq!(
        ledger.store.next_due().await.unwrap(),
        waits.iter().min().copied()
    );
    ledger.queue("2.png", 2).await;
    let due = ledger.store.next_due().await.unwrap().unwrap();
    assert!(due <= ledger.clock.wall(), "a new job need not wait");
}

#[tokio::test]
async fn a_job_document_tells_of_a_result_only_while_it_lies_there() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    assert_eq!(ledger.job(id).await.document().result.as_deref(), Some("a.png"));
    ledger.queue("a.png", 2).await;
    ledger.work("a.png").await;
    ledger.queue("a.png", 1).await;
    let job = ledger.job(id).await;
    assert_eq!(
        job.result.as_deref(),
        Some(Path::new("a.png")),
        "the ledger remembers its place"
    );
    assert_eq!(job.document().result, None);
    assert_eq!(job.document().state, JobState::Queued);
}

#[tokio::test]
async fn a_result_belongs_to_the_job_that_published_there_last() {
    let ledger = Ledger::new().await;
    let (root, path) = (Path::new("/srv/out"), Path::new("a.png"));
    assert_eq!(ledger.store.owner_of_result(root, path).await.unwrap(), None);
    ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    let b = ledger.queue("a.png", 2).await;
    ledger.work("a.png").await;
    let owner = ledger.store.owner_of_result(root, path).await.unwrap().unwrap();
    assert_eq!((owner.job, owner.is("photos", path)), (b, true));
    assert!(!owner.is("scans", path) && !owner.is("photos", Path::new("b.png")));
    let elsewhere = ledger
        .store
        .owner_of_result(Path::new("/srv"), path)
        .await
        .unwrap();
    assert_eq!(elsewhere, None);
}

#[tokio::test]
async fn a_result_under_another_name_than_planned_is_still_the_source_s_own() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    // The planned name was taken by something else.
    ledger.work("a-2.png").await;
    ledger.queue("a.png", 2).await;
    let claim = ledger.claim().await;
    let own = ledger.store.own_result(claim.job()).await.unwrap();
    assert_eq!(own.as_deref(), Some(Path::new("a-2.png")));
}
