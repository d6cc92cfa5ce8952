//! A new ledger that takes over what became of earlier jobs.

use super::*;
use crate::queue::{Adopted, AdoptedEnd, State};

/// `name` was upscaled to `result` as job `id`, at that second.
fn done(id: i64, name: &str, content: u8, result: &str, second: i64) -> Adopted {
    let at = Timestamp::from_second(second).unwrap();
    Adopted {
        id: Some(JobId(id)),
        new: NewJob {
            identity: identity(0),
            ..photo(name, content)
        },
        ended: AdoptedEnd::Done(PathBuf::from(result)),
        attempts: 1,
        report: RenderReport::default(),
        queued_at: at,
        started_at: Some(at),
        finished_at: at,
    }
}

#[tokio::test]
async fn an_adopted_source_is_not_worked_on_again_and_new_content_replaces_its_result() {
    let ledger = Ledger::new().await;
    assert!(!ledger.store.has_adopted("photos").await.unwrap());
    let taken = ledger
        .store
        .adopt(&[done(126, "a.png", 1, "a-1.png", 5)])
        .await
        .unwrap();
    assert_eq!(taken, 1);
    ledger.store.finish_adoption("photos").await.unwrap();
    assert!(ledger.store.has_adopted("photos").await.unwrap());
    let known = ledger
        .store
        .known("photos", Path::new("a.png"))
        .await
        .unwrap()
        .unwrap();
    assert_ne!(
        known.identity,
        photo("a.png", 1).identity,
        "the source is read once more"
    );
    let seen = ledger.admit(&photo("a.png", 1)).await;
    assert_eq!(seen, Admission::Known(JobId(126), State::Done.shown()));
    assert_eq!(ledger.job(JobId(126)).await.identity, photo("a.png", 1).identity);
    assert!(ledger.try_claim().await.is_none());

    let newer = ledger.queue("a.png", 2).await;
    assert_eq!(newer, JobId(127), "numbers go on behind the adopted ones");
    let job = ledger.job(newer).await;
    assert_eq!(
        ledger.store.own_result(&job).await.unwrap().unwrap(),
        Path::new("a-1.png")
    );
}

#[tokio::test]
async fn an_adopted_job_is_not_forgotten_before_somebody_looked_for_its_source() {
    let ledger = Ledger::new().await;
    ledger
        .store
        .adopt(&[done(1, "a.png", 1, "a.png", 5)])
        .await
        .unwrap();
    let (removed, _) = ledger
        .store
        .expire("photos", ledger.clock.wall(), None)
        .await
        .unwrap();
    assert!(removed.is_empty(), "decades old, and its source may lie there");
}

#[tokio::test]
async fn a_failure_stays_a_failure_and_the_second_time_nothing_is_news() {
    let ledger = Ledger::new().await;
    let failed = Adopted {
        ended: AdoptedEnd::Failed(Reason::new(ReasonCode::CrashedService, "three times")),
        attempts: 3,
        ..done(7, "bomb.png", 1, "", 5)
    };
    assert_eq!(
        ledger.store.adopt(std::slice::from_ref(&failed)).await.unwrap(),
        1
    );
    assert_eq!(ledger.store.adopt(&[failed]).await.unwrap(), 0);
    let seen = ledger.admit(&photo("bomb.png", 1)).await;
    assert_eq!(seen, Admission::Known(JobId(7), State::Failed.shown()));
    assert_eq!(ledger.job(JobId(7)).await.attempts, 3);
}

#[tokio::test]
async fn what_waits_for_work_that_is_done_is_done_and_what_runs_or_ended_is_left_alone() {
    let ledger = Ledger::new().await;
    let waiting = ledger.queue("a.png", 1).await;
    let taken = ledger
        .store
        .adopt(&[done(50, "a.png", 1, "a.png", 5)])
        .await
        .unwrap();
    assert_eq!(taken, 1);
    let job = ledger.job(waiting).await;
    assert_eq!(
        (job.state, job.result.unwrap()),
        (State::Done, PathBuf::from("a.png"))
    );

    ledger.queue("b.png", 2).await;
    let claim = ledger.claim().await;
    let taken = ledger
        .store
        .adopt(&[done(51, "b.png", 2, "b.png", 5)])
        .await
        .unwrap();
    assert_eq!(taken, 0);
    ledger.finish(claim, "b.png").await;
}

#[tokio::test]
async fn of_two_that_claim_one_result_it_is_the_later_one_s_in_whatever_order_they_are_read() {
    for order in [[0, 1], [1, 0]] {
        let ledger = Ledger::new().await;
        let both = [
            done(1, "a.jpg", 1, "a.png", 10),
            Adopted {
                new: NewJob {
                    output: PathBuf::from("a.png"),
                    ..photo("a.jpeg", 2)
                },
                ..done(2, "a.jpeg", 2, "a.png", 20)
            },
        ];
        for index in order {
            ledger
                .store
                .adopt(std::slice::from_ref(&both[index]))
                .await
                .unwrap();
        }
        let owner = ledger
            .store
            .owner_of_result(Path::new("/srv/out"), Path::new("a.png"));
        assert_eq!(owner.await.unwrap().unwrap().job, JobId(2), "{order:?}");
        assert_eq!(ledger.job(JobId(1)).await.replaced_by, Some(JobId(2)));
    }
}

#[tokio::test]
async fn a_number_that_is_taken_or_not_believable_becomes_another_one() {
    let ledger = Ledger::new().await;
    let jobs = [
        done(5, "a.png", 1, "a.png", 1),
        done(5, "b.png", 2, "b.png", 2),
        done(i64::MAX, "c.png", 3, "c.png", 3),
        done(-4, "d.png", 4, "d.png", 4),
    ];
    assert_eq!(ledger.store.adopt(&jobs).await.unwrap(), 4);
    let ids: Vec<i64> = ledger
        .store
        .list(&crate::queue::Filter::default())
        .await
        .unwrap()
        .iter()
        .map(|job| job.id.0)
        .collect();
    assert_eq!(ids, [8, 7, 6, 5]);
}
