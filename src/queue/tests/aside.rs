//! What lies beside the ledger: copies from before a change of schema, damaged ones.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use super::*;
use crate::queue::{QueueError, aside};

/// A ledger as an earlier version left it, by that version's own migrations.
async fn ledger_of_schema(dir: &Path, version: usize) {
    let path = dir.join("state.db");
    File::create(&path).unwrap();
    let mut raw = raw(&path).await;
    let migrator = sqlx::migrate!("./migrations");
    let earlier = sqlx::migrate::Migrator {
        migrations: migrator.migrations.iter().take(version).cloned().collect(),
        ..sqlx::migrate::Migrator::DEFAULT
    };
    earlier.run(&mut raw).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO jobs (folder, source, output_root, output, content, recipe, dev, ino, size, mtime_ns, ctime_ns,
                           priority, state, not_before_ms, queued_at_ms)
         VALUES ('photos', x'61', x'2f6f', x'61', zeroblob(32), zeroblob(32), 0, 0, 0, 0, 0, 0, 'queued', 0, 0),
                ('photos', x'62', x'2f6f', x'62', zeroblob(32), zeroblob(32), 0, 0, 0, 0, 0, 0, 'queued', 0, 0);
         INSERT INTO controls (name, since_ms) VALUES ('pause', 7)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    names
}

async fn open(dir: &Path) -> (Store, Option<PathBuf>) {
    aside::open_or_set_aside(dir, Arc::new(ManualClock::default()))
        .await
        .unwrap()
}

#[tokio::test]
async fn an_older_ledger_is_copied_then_brought_up_to_date_with_its_jobs_but_not_by_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    ledger_of_schema(dir.path(), 1).await;
    let clock = Arc::new(ManualClock::default());
    let old = Store::open_read_only(dir.path(), clock.clone()).await;
    assert!(matches!(
        old,
        Err(QueueError::TooOld {
            found: 1,
            known: 4,
            ..
        })
    ));
    assert_eq!(names(dir.path()), ["state.db"], "a reader copies nothing");

    let store = Store::open(dir.path(), clock.clone()).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["photos"].queued, 2);
    let pause = store.paused().await.unwrap().unwrap();
    assert_eq!(pause.since.as_millisecond(), 7);
    assert!(store.resume().await.unwrap());
    let claim = store.claim(ME, LEASE, &[]).await.unwrap().unwrap();
    assert_eq!(claim.job().device_losses, 0);
    store.close().await;

    let copy = dir.path().join("state.db.before-0004");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut copy = raw(&copy).await;
    let (schema, jobs): (i64, i64) =
        sqlx::query_as("SELECT (SELECT max(version) FROM _sqlx_migrations), (SELECT count(*) FROM jobs)")
            .fetch_one(&mut copy)
            .await
            .unwrap();
    assert_eq!((schema, jobs), (1, 2), "as it was before");
}

#[tokio::test]
async fn a_new_ledger_and_one_of_today_are_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store = Store::open(dir.path(), Arc::new(ManualClock::default()))
            .await
            .unwrap();
        store.close().await;
    }
    assert_eq!(names(dir.path()), ["state.db"]);
}

#[tokio::test]
async fn copies_are_bounded_and_one_that_was_cut_short_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    ledger_of_schema(dir.path(), 1).await;
    for name in [
        "state.db.before-0002",
        "state.db.before-0003",
        "state.db.before-0004.part",
    ] {
        fs::write(dir.path().join(name), "half a copy").unwrap();
    }
    let store = Store::open(dir.path(), Arc::new(ManualClock::default()))
        .await
        .unwrap();
    store.close().await;
    assert_eq!(
        names(dir.path()),
        ["state.db", "state.db.before-0003", "state.db.before-0004"]
    );
}

/// Spoils the page on which a table or an index begins.
async fn damage(dir: &Path, name: &str) {
    let path = dir.join("state.db");
    let mut raw = raw(&path).await;
    let page: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = ?1")
        .bind(name)
        .fetch_one(&mut raw)
        .await
        .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start((page.cast_unsigned() - 1) * 4096))
        .unwrap();
    file.write_all(&[0xA5; 4096]).unwrap();
}

async fn filled(dir: &Path) {
    let (store, aside) = open(dir).await;
    assert_eq!(aside, None);
    for content in 0..200 {
        store
            .admit(&photo(&format!("{content}.png"), content))
            .await
            .unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_ledger_that_is_no_database_any_more_is_set_aside_whole_and_named_for_as_long_as_it_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let path = dir.path().join("state.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0);
    bytes[0] = 1;
    fs::write(&path, &bytes).unwrap();
    fs::write(dir.path().join("state.db-wal"), "its log").unwrap();

    let (store, aside) = open(dir.path()).await;
    let aside = aside.expect("it was damaged");
    assert!(
        aside.ends_with("state.db.corrupt-20251124T000000Z"),
        "{}",
        aside.display()
    );
    assert!(fs::read(&aside).unwrap() == bytes, "byte for byte");
    assert_eq!(
        fs::read_to_string(format!("{}-wal", aside.display())).unwrap(),
        "its log"
    );
    assert!(
        store
            .list(&crate::queue::Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(aside::set_aside_before(dir.path()), std::slice::from_ref(&aside));
    assert!(aside::reminder(&aside).contains("corrupt-20251124"));
    store.close().await;
    // And not again.
    let (store, again) = open(dir.path()).await;
    assert_eq!(again, None);
    store.close().await;
}

#[tokio::test]
async fn damage_that_is_met_at_work_is_looked_for_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    damage(dir.path(), "jobs").await;
    let (store, aside) = open(dir.path()).await;
    assert_eq!(aside, None, "its schema is whole");
    assert!(!store.is_damaged());
    store.get(JobId(7)).await.unwrap_err();
    assert!(store.is_damaged());
    assert!(aside::is_suspect(dir.path()));
    store.close().await;
    let (store, aside) = open(dir.path()).await;
    assert!(aside.is_some());
    assert!(!aside::is_suspect(dir.path()) && !store.is_damaged());
    store.close().await;
}

#[tokio::test]
async fn a_suspicion_that_is_unfounded_is_dropped_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    File::create(dir.path().join("state.db.suspect")).unwrap();
    let (store, aside) = open(dir.path()).await;
    assert_eq!(aside, None);
    assert_eq!(store.counts().await.unwrap()["photos"].queued, 200);
    store.close().await;
    assert_eq!(names(dir.path()), ["state.db"]);
}

#[tokio::test]
async fn another_program_s_database_is_never_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    File::create(&path).unwrap();
    let mut theirs = raw(&path).await;
    sqlx::raw_sql("CREATE TABLE playlists (name TEXT)")
        .execute(&mut theirs)
        .await
        .unwrap();
    sqlx::Connection::close(theirs).await.unwrap();
    let refused = aside::open_or_set_aside(dir.path(), Arc::new(ManualClock::default())).await;
    assert!(matches!(refused, Err(QueueError::Foreign { .. })));
    assert_eq!(names(dir.path()), ["state.db"]);
}
