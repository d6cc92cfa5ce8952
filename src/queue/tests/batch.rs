//! What many at once change about admission, and what a scan is told: nothing, but for the time it takes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::*;
use crate::queue::Filter;
use crate::report::JobState;

#[tokio::test]
async fn a_batch_is_admitted_in_its_order_as_if_one_by_one() {
    let ledger = Ledger::new().await;
    let (one, two) = (photo("a.png", 1), photo("b.png", 2));
    let newer = NewJob {
        content: [3; 32],
        ..touched(&one)
    };
    let batch = [one.clone(), two, touched(&one), newer.clone()];
    let admissions = ledger.store.admit_many(&batch).await.unwrap();
    let [
        Admission::New(first),
        Admission::New(_),
        again,
        Admission::New(third),
    ] = admissions[..]
    else {
        panic!("{admissions:?}");
    };
    assert_eq!(again, Admission::Known(first, JobState::Queued));
    assert!(
        ledger.job(first).await.withdrawn,
        "other content is at its path now"
    );
    let known = ledger.store.known("photos", &one.source).await.unwrap().unwrap();
    assert_eq!((known.job, known.identity), (third, newer.identity));
    assert!(ledger.store.admit_many(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_with_one_that_the_ledger_refuses_leaves_nothing_behind() {
    let ledger = Ledger::new().await;
    let mut refused = photo("b.png", 2);
    refused.source = PathBuf::new();
    let batch = [photo("a.png", 1), refused];
    assert!(ledger.store.admit_many(&batch).await.is_err());
    assert_eq!(
        ledger.store.known("photos", &batch[0].source).await.unwrap(),
        None
    );
    assert!(ledger.store.list(&Filter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_scan_is_told_of_the_files_that_need_not_be_read_and_of_no_others() {
    let ledger = Ledger::new().await;
    // More than a page, and names on both sides of every border.
    let batch: Vec<NewJob> = (0..5000_u32)
        .map(|n| NewJob {
            source: PathBuf::from(OsStr::from_bytes(format!("{n}/\u{e9}.png").as_bytes())),
            output: PathBuf::from(format!("{n}.png")),
            content: *blake3::hash(&n.to_le_bytes()).as_bytes(),
            ..photo("x", 1)
        })
        .collect();
    ledger.store.admit_many(&batch).await.unwrap();
    let elsewhere = NewJob {
        folder: "elsewhere".to_owned(),
        ..photo("other.png", 7)
    };
    let outdated = NewJob {
        recipe: [2; 32],
        ..photo("outdated.png", 8)
    };
    let mut odd = photo("odd.png", 9);
    odd.source = PathBuf::from(OsStr::from_bytes(b"\xff\n.png"));
    odd.identity.ino = u64::MAX;
    odd.identity.mtime_ns = -1;
    for new in [&elsewhere, &outdated, &odd] {
        ledger.admit(new).await;
    }
    let known = ledger.store.known_files("photos", &[1; 32]).await.unwrap();
    assert_eq!(known.len(), batch.len() + 1);
    assert!(
        batch
            .iter()
            .chain([&odd])
            .all(|new| known.contains(&new.source, &new.identity))
    );
    for new in [&elsewhere, &outdated] {
        assert!(!known.contains(&new.source, &new.identity), "{new:?}");
    }
    assert!(!known.contains(&batch[0].source, &touched(&batch[0]).identity));
    assert!(
        ledger
            .store
            .known_files("nobody", &[1; 32])
            .await
            .unwrap()
            .is_empty()
    );
}
