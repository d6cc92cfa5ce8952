//! I2, and what intake's findings make of older jobs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::queue::{Renewal, State, Steered};
use crate::report::JobState;

#[tokio::test]
async fn i2_a_touched_a_copied_back_and_a_restarted_file_is_one_job() {
    let mut ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    let Admission::New(id) = ledger.admit(&new).await else {
        panic!("a first admission is a new job");
    };
    assert_eq!(ledger.admit(&new).await, Admission::Known(id, JobState::Queued));
    let newer = touched(&new);
    assert_eq!(ledger.admit(&newer).await, Admission::Known(id, JobState::Queued));
    ledger.reopen().await;
    assert_eq!(ledger.admit(&newer).await, Admission::Known(id, JobState::Queued));
    ledger.work("a.png").await;
    ledger.reopen().await;
    let newest = touched(&newer);
    assert_eq!(ledger.admit(&newest).await, Admission::Known(id, JobState::Done));
    assert_eq!(ledger.store.list(&Default::default()).await.unwrap().len(), 1);
    // The next scan need not read the file.
    let known = ledger
        .store
        .known("photos", Path::new("a.png"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((known.job, known.identity), (id, newest.identity));
    assert_eq!(ledger.job(id).await.identity, newest.identity);
    assert!(ledger.try_claim().await.is_none());
}

#[tokio::test]
async fn i2_a_renamed_file_that_gets_its_name_back_is_the_job_it_was() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    let b = ledger.queue("b.png", 1).await;
    assert_ne!(a, b, "another planned output is another job");
    assert_eq!(
        ledger.admit(&photo("a.png", 1)).await,
        Admission::Known(a, JobState::Queued)
    );
    assert_eq!(ledger.work("a.png").await.id, a);
}

#[tokio::test]
async fn i2_another_recipe_output_or_tree_is_another_job() {
    let ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    let mut recipe = photo("b.png", 1);
    recipe.output.clone_from(&new.output);
    recipe.recipe = [2; 32];
    let mut root = recipe.clone();
    root.recipe = new.recipe;
    root.output_root = PathBuf::from("/srv/other");
    for new in [new, recipe, root] {
        assert!(matches!(ledger.admit(&new).await, Admission::New(_)), "{new:?}");
    }
}

#[tokio::test]
async fn i2_two_processes_that_admit_the_same_file_at_once_make_one_job() {
    let ledger = Ledger::new().await;
    let other = Store::open(ledger.dir.path(), ledger.clock.clone())
        .await
        .unwrap();
    for content in 0..20 {
        let new = photo("a.png", content);
        let (a, b) = tokio::join!(ledger.store.admit(&new), other.admit(&new));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.id(), b.id());
        let new = [a, b].iter().filter(|a| matches!(a, Admission::New(_))).count();
        assert_eq!(new, 1, "{a:?} {b:?}");
    }
    other.close().await;
}

#[tokio::test]
async fn new_content_under_an_old_name_takes_the_place_of_a_waiting_job() {
    let ledger = Ledger::new().await;
    let old = ledger.queue("a.png", 1).await;
    let new = ledger.queue("a.png", 2).await;
    let old = ledger.job(old).await;
    assert_eq!(
        (old.state, old.withdrawn, old.attempts),
        (State::Cancelled, true, 0)
    );
    assert_eq!(
        old.reason.unwrap().message,
        "a.png has newer content or settings; a newer job took over"
    );
    assert_eq!(ledger.work("a.png").await.id, new);
    assert!(ledger.try_claim().await.is_none());
}

#[tokio::test]
async fn new_content_under_an_old_name_stops_a_running_job_and_lets_a_publishing_one_end() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    ledger.queue("b.png", 2).await;
    let (running, publishing) = (ledger.claim().await, ledger.claim().await);
    ledger.start_publishing(&publishing, "b.png").await;
    ledger.queue("a.png", 3).await;
    ledger.queue("b.png", 4).await;
    let renewal = ledger.store.renew(&running, LEASE).await.unwrap();
    assert_eq!(renewal, Renewal::CancelRequested);
    assert_eq!(
        ledger.store.renew(&publishing, LEASE).await.unwrap(),
        Renewal::Held
    );
    let stopped = ledger.store.record_cancelled(running).await.unwrap();
    assert_eq!((stopped.state, stopped.withdrawn), (State::Cancelled, true));
    let report = RenderReport::default();
    let done = ledger.store.record_done(publishing, Path::new("b.png"), &report);
    assert_eq!(done.await.unwrap().state, State::Done);
}

#[tokio::test]
async fn older_content_that_comes_back_is_published_again() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    let b = ledger.queue("a.png", 2).await;
    let claim = ledger.claim().await;
    let own = ledger.store.own_result(claim.job()).await.unwrap();
    assert_eq!(
        own.as_deref(),
        Some(Path::new("a.png")),
        "B replaces A's result, not a stranger's"
    );
    ledger.finish(claim, "a.png").await;
    assert_eq!(ledger.job(a).await.replaced_by, Some(b));

    let back = touched(&photo("a.png", 1));
    assert_eq!(ledger.admit(&back).await, Admission::Requeued(a));
    let claim = ledger.claim().await;
    assert_eq!((claim.job().id, claim.job().attempts), (a, 1));
    let own = ledger.store.own_result(claim.job()).await.unwrap();
    assert_eq!(own.as_deref(), Some(Path::new("a.png")));
    ledger.finish(claim, "a.png").await;
    assert_eq!(ledger.job(a).await.replaced_by, None);
    assert_eq!(ledger.job(b).await.replaced_by, Some(a));
    // And seen once more, there is nothing to do.
    assert_eq!(
        ledger.admit(&touched(&back)).await,
        Admission::Known(a, JobState::Done)
    );
}

#[tokio::test]
async fn older_content_that_comes_back_while_the_newer_one_publishes_is_done_over() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    ledger.queue("a.png", 2).await;
    let late = ledger.claim().await;
    ledger.start_publishing(&late, "a.png").await;
    assert_eq!(
        ledger.admit(&photo("a.png", 1)).await,
        Admission::Known(a, JobState::Done)
    );
    ledger
        .store
        .record_done(late, Path::new("a.png"), &Default::default())
        .await
        .unwrap();
    assert_eq!(
        ledger.job(a).await.state,
        State::Queued,
        "what lies there is B's picture"
    );
    assert_eq!(ledger.work("a.png").await.id, a);
}

#[tokio::test]
async fn content_that_comes_back_while_its_job_is_stopping_costs_it_nothing() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    let b = ledger.queue("a.png", 2).await;
    assert_eq!(
        ledger.store.renew(&claim, LEASE).await.unwrap(),
        Renewal::CancelRequested
    );
    assert_eq!(
        ledger.admit(&photo("a.png", 1)).await,
        Admission::Known(a, JobState::Running)
    );
    assert_eq!(ledger.store.renew(&claim, LEASE).await.unwrap(), Renewal::Held);
    assert_eq!(ledger.job(b).await.state, State::Cancelled);
    let job = ledger.store.record_cancelled(claim).await.unwrap();
    assert_eq!((job.state, job.attempts), (State::Queued, 0));
}

#[tokio::test]
async fn the_same_content_at_two_paths_with_one_planned_output_is_one_job() {
    let ledger = Ledger::new().await;
    let one = photo("a.jpg", 1);
    let mut two = photo("a.jpeg", 1);
    two.output.clone_from(&one.output);
    let id = ledger.admit(&one).await.id();
    assert_eq!(ledger.admit(&two).await, Admission::Known(id, JobState::Queued));
    assert_eq!(
        ledger.job(id).await.source,
        two.source,
        "read where it was seen last"
    );
    ledger.work("a.jpg").await;
    for new in [&one, &two] {
        let known = ledger.store.known("photos", &new.source).await.unwrap().unwrap();
        assert_eq!((known.job, known.state), (id, JobState::Done));
    }
    // New content at one of them must not overwrite the picture of the other.
    let mut newer = photo("a.jpeg", 2);
    newer.output.clone_from(&one.output);
    ledger.admit(&newer).await;
    let claim = ledger.claim().await;
    assert_eq!(ledger.store.own_result(claim.job()).await.unwrap(), None);
}

#[tokio::test]
async fn a_path_whose_twin_was_overwritten_takes_the_running_job_over() {
    let ledger = Ledger::new().await;
    let one = photo("a.jpg", 1);
    let mut two = photo("a.jpeg", 1);
    two.output.clone_from(&one.output);
    let id = ledger.admit(&one).await.id();
    let claim = ledger.claim().await;
    ledger.admit(&two).await;
    assert_eq!(
        ledger.job(id).await.source,
        one.source,
        "it is being read from there"
    );
    ledger.queue("a.jpg", 2).await;
    let forgotten = ledger.store.known("photos", &two.source).await.unwrap();
    assert_eq!(forgotten, None, "the next scan looks at the twin again");
    assert_eq!(ledger.admit(&two).await, Admission::Known(id, JobState::Running));
    let job = ledger.store.record_cancelled(claim).await.unwrap();
    assert_eq!((job.state, &job.source), (State::Queued, &two.source));
}

#[tokio::test]
async fn failed_content_is_not_tried_again_because_it_was_touched() {
    let ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    let id = ledger.admit(&new).await.id();
    let claim = ledger.claim().await;
    ledger
        .store
        .record_failed(claim, reason("not an image"), None)
        .await
        .unwrap();
    assert_eq!(
        ledger.admit(&touched(&new)).await,
        Admission::Known(id, JobState::Failed)
    );
}

#[tokio::test]
async fn a_file_that_could_not_be_read_is_tried_again_once_something_was_done_about_it() {
    let ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    let id = ledger.admit(&new).await.id();
    let forbidden = Reason::new(ReasonCode::Io, "permission denied");
    let claim = ledger.claim().await;
    ledger.store.record_failed(claim, forbidden, None).await.unwrap();
    assert_eq!(ledger.admit(&new).await, Admission::Known(id, JobState::Failed));
    assert_eq!(ledger.admit(&touched(&new)).await, Admission::Requeued(id));
    assert_eq!(ledger.claim().await.job().attempts, 1, "with fresh attempts");
}

#[tokio::test]
async fn what_a_person_cancelled_stays_cancelled_and_what_the_service_withdrew_comes_back() {
    let ledger = Ledger::new().await;
    let cancelled = ledger.queue("a.png", 1).await;
    let steered = ledger.store.cancel(&[cancelled]).await.unwrap();
    assert!(matches!(steered[..], [(_, Steered::Changed(_))]));
    let again = touched(&photo("a.png", 1));
    assert_eq!(
        ledger.admit(&again).await,
        Admission::Known(cancelled, JobState::Cancelled)
    );
    let withdrawn = ledger.queue("b.png", 2).await;
    ledger.queue("b.png", 3).await;
    assert_eq!(
        ledger.admit(&photo("b.png", 2)).await,
        Admission::Requeued(withdrawn)
    );
}

#[tokio::test]
async fn a_person_s_word_outlasts_the_content_s_coming_and_going() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    ledger.queue("a.png", 2).await;
    ledger.store.cancel(&[a]).await.unwrap();
    ledger.admit(&photo("a.png", 1)).await;
    assert_eq!(
        ledger.store.renew(&claim, LEASE).await.unwrap(),
        Renewal::CancelRequested
    );
    let job = ledger.store.record_cancelled(claim).await.unwrap();
    assert_eq!((job.state, job.withdrawn), (State::Cancelled, false));
    let seen = ledger.admit(&touched(&photo("a.png", 1))).await;
    assert_eq!(seen, Admission::Known(a, JobState::Cancelled));
}

#[tokio::test]
async fn new_content_does_not_turn_a_person_s_cancel_into_a_withdrawal() {
    let ledger = Ledger::new().await;
    let a = ledger.queue("a.png", 1).await;
    let claim = ledger.claim().await;
    ledger.store.cancel(&[a]).await.unwrap();
    ledger.queue("a.png", 2).await;
    let job = ledger.store.record_cancelled(claim).await.unwrap();
    assert_eq!((job.state, job.withdrawn), (State::Cancelled, false));
    let seen = ledger.admit(&touched(&photo("a.png", 1))).await;
    assert_eq!(seen, Admission::Known(a, JobState::Cancelled));
}

#[tokio::test]
async fn two_sources_that_fight_for_one_name_do_not_overwrite_each_other_for_ever() {
    let ledger = Ledger::new().await;
    let one = photo("a.png", 1);
    let mut two = photo("b.png", 2);
    two.output.clone_from(&one.output);
    let id = ledger.admit(&one).await.id();
    ledger.work("a.png").await;
    ledger.admit(&two).await;
    let claim = ledger.claim().await;
    assert_eq!(
        ledger.store.own_result(claim.job()).await.unwrap(),
        None,
        "not b's own"
    );
    // `on_conflict = "overwrite"`.
    ledger.finish(claim, "a.png").await;
    let seen = ledger.admit(&touched(&one)).await;
    assert_eq!(seen, Admission::Known(id, JobState::Done));
}

#[tokio::test]
async fn a_source_that_is_gone_is_forgotten_and_comes_back_with_its_content() {
    let ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    let id = ledger.admit(&new).await.id();
    let claim = ledger.claim().await;
    let job = ledger
        .store
        .record_withdrawn(claim, reason("a.png is gone"))
        .await
        .unwrap();
    assert_eq!((job.state, job.withdrawn), (State::Cancelled, true));
    assert_eq!(ledger.store.known("photos", &new.source).await.unwrap(), None);
    assert!(ledger.store.lying("photos", None).await.unwrap().is_empty());
    assert_eq!(ledger.admit(&new).await, Admission::Requeued(id));
}

#[tokio::test]
async fn a_source_that_was_found_again_before_its_worker_missed_it_waits_unspent() {
    let ledger = Ledger::new().await;
    let new = photo("a.png", 1);
    ledger.admit(&new).await;
    let claim = ledger.claim().await;
    ledger.admit(&touched(&new)).await;
    let job = ledger
        .store
        .record_withdrawn(claim, reason("it changed"))
        .await
        .unwrap();
    assert_eq!((job.state, job.attempts, job.reason), (State::Queued, 0, None));
    assert_eq!(job.identity, touched(&new).identity);
    assert!(ledger.store.known("photos", &new.source).await.unwrap().is_some());
}

#[tokio::test]
async fn names_that_are_not_text_and_numbers_beyond_i64_survive_the_ledger() {
    let ledger = Ledger::new().await;
    let mut new = photo("a.png", 1);
    new.source = PathBuf::from(OsStr::from_bytes(b"\xff\xfe\n'a.png"));
    new.output = PathBuf::from(OsStr::from_bytes(b"\xff.png"));
    new.identity.dev = u64::MAX;
    new.identity.ino = u64::MAX - 1;
    new.identity.mtime_ns = -1;
    let job = ledger.job(ledger.admit(&new).await.id()).await;
    assert_eq!(
        (job.source, job.output, job.identity),
        (new.source.clone(), new.output, new.identity)
    );
    let known = ledger.store.lying("photos", None).await.unwrap();
    assert_eq!(
        (&known[0].source, known[0].known.identity),
        (&new.source, new.identity)
    );
}

#[tokio::test]
async fn a_wall_clock_that_is_put_back_holds_no_new_job() {
    let dir = tempfile::tempdir().unwrap();
    let clock = SetClock::at(4_000_000_000_000);
    let store = Store::open(dir.path(), clock.clone()).await.unwrap();
    let new = photo("a.png", 1);
    store.admit(&new).await.unwrap();
    clock.shift(-2_000_000_000_000);
    let claim = store.claim(ME, LEASE, &[]).await.unwrap();
    let job = store.release(claim.unwrap()).await.unwrap();
    assert_eq!(job.state, State::Queued);
    assert!(store.claim(ME, LEASE, &[]).await.unwrap().is_some());
    store.close().await;
}
