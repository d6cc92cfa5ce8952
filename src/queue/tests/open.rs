//! How the ledger is opened, and what is refused.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;
use crate::error::Disposition;
use crate::queue::{Filter, InstanceLock, QueueError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What the store says of a state directory with this `state.db`, read-only and not; the file must not change.
async fn refusals(dir: &Path) -> [QueueError; 2] {
    let path = dir.join("state.db");
    let before = fs::read(&path).unwrap();
    let clock = Arc::new(ManualClock::default());
    let read_only = Store::open_read_only(dir, clock.clone()).await.unwrap_err();
    let writing = Store::open(dir, clock).await.unwrap_err();
    assert!(
        fs::read(&path).unwrap() == before,
        "a file that cannot be read is somebody's data"
    );
    for error in [&read_only, &writing] {
        let message = error.to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    [read_only, writing]
}

#[tokio::test]
async fn a_new_ledger_is_for_its_owner_s_eyes() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("var/lib/upscaled");
    let store = Store::open(&state_dir, Arc::new(ManualClock::default()))
        .await
        .unwrap();
    store.admit(&photo("a.png", 1)).await.unwrap();
    assert_eq!(
        mode(&state_dir) & 0o027,
        0,
        "not for others, and not for the group to write"
    );
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        assert_eq!(mode(&state_dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(store.path(), state_dir.join("state.db"));
    store.close().await;
}

#[tokio::test]
async fn closing_folds_the_log_and_later_calls_are_told_so() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    let clone = ledger.store.clone();
    ledger.store.close().await;
    ledger.store.close().await;
    assert!(!ledger.dir.path().join("state.db-wal").exists());
    let closed = clone.admit(&photo("b.png", 2)).await.unwrap_err();
    assert!(matches!(&closed, QueueError::Closed { path } if path == clone.path()));
    assert!(matches!(
        clone.get(JobId(1)).await,
        Err(QueueError::Closed { .. })
    ));
}

#[tokio::test]
async fn what_a_killed_process_committed_is_there_after_it() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    // A copy of the files as they lie there now is what a crash leaves.
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(ledger.dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let store = Store::open(copy.path(), ledger.clock.clone()).await.unwrap();
    assert_eq!(store.get(id).await.unwrap(), Some(ledger.job(id).await));
    store.check().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn many_that_open_a_new_ledger_at_once_all_get_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), Arc::new(ManualClock::default()));
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    let stores = [a, b, c, d].map(Result::unwrap);
    stores[0].admit(&photo("a.png", 1)).await.unwrap();
    for store in &stores {
        assert_eq!(store.list(&Filter::default()).await.unwrap().len(), 1);
        store.close().await;
    }
}

#[tokio::test]
async fn a_reader_sees_what_the_service_writes_and_writes_nothing() {
    let ledger = Ledger::new().await;
    let reader = Store::open_read_only(ledger.dir.path(), ledger.clock.clone())
        .await
        .unwrap();
    let id = ledger.queue("a.png", 1).await;
    let _claim = ledger.claim().await;
    assert_eq!(reader.get(id).await.unwrap(), Some(ledger.job(id).await));
    assert!(matches!(reader.pause(None).await, Err(QueueError::Closed { .. })));
    assert!(matches!(
        reader.cancel(&[id]).await,
        Err(QueueError::Closed { .. })
    ));
    // In the middle of a transaction, too.
    let mut writer = ledger.raw().await;
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE jobs SET priority = 9")
        .execute(&mut writer)
        .await
        .unwrap();
    assert_eq!(reader.get(id).await.unwrap().unwrap().priority, 0);
    reader.close().await;
    ledger.store.close().await;
}

#[tokio::test]
async fn a_ledger_is_read_without_a_service_and_a_missing_one_is_not_made() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    ledger.store.close().await;
    let reader = Store::open_read_only(ledger.dir.path(), ledger.clock.clone())
        .await
        .unwrap();
    assert!(reader.get(id).await.unwrap().is_some());
    reader.close().await;

    let empty = tempfile::tempdir().unwrap();
    for dir in [empty.path().to_owned(), empty.path().join("nowhere")] {
        let missing = Store::open_read_only(&dir, ledger.clock.clone())
            .await
            .unwrap_err();
        assert!(matches!(missing, QueueError::Missing { path } if path == dir.join("state.db")));
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    // Made, but not filled before the power failed.
    File::create(empty.path().join("state.db")).unwrap();
    let missing = Store::open_read_only(empty.path(), ledger.clock.clone()).await;
    assert!(matches!(missing, Err(QueueError::Missing { .. })));
    Store::open(empty.path(), ledger.clock.clone())
        .await
        .unwrap()
        .close()
        .await;
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused_with_a_sentence_and_left_alone() {
    let ledger = Ledger::new().await;
    let mut raw = ledger.raw().await;
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (900, 'things to come', TRUE, x'00', 0)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
    ledger.store.close().await;
    let path = ledger.store.path().display();
    for error in refusals(ledger.dir.path()).await {
        let expected = format!(
            "{path} was written by a newer upscaled (schema 900, this one knows 4); install that version, or \
             choose another state_dir"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state.db"), "notes to myself\n".repeat(1000)).unwrap();
    for error in refusals(dir.path()).await {
        assert!(matches!(error, QueueError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_program_s_database_is_not_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "").unwrap();
    let mut theirs = raw(&path).await;
    sqlx::raw_sql("CREATE TABLE playlists (name TEXT)")
        .execute(&mut theirs)
        .await
        .unwrap();
    sqlx::Connection::close(theirs).await.unwrap();
    let [_, error] = refusals(dir.path()).await;
    let expected = "it belongs to another program: table `playlists`";
    assert!(
        matches!(&error, QueueError::Foreign { detail, .. } if detail == expected),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_ledger_is_named_and_never_replaced() {
    let ledger = Ledger::new().await;
    for content in 0..200 {
        ledger.queue(&format!("{content}.png"), content).await;
    }
    ledger.store.close().await;
    let path = ledger.dir.path().join("state.db");
    // Everything but the first page, which holds the schema.
    let mut file = File::options().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(len - 4096).unwrap()])
        .unwrap();
    drop(file);
    for error in refusals(ledger.dir.path()).await {
        assert!(matches!(error, QueueError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn damage_that_spares_the_schema_is_found_by_the_check_and_by_whoever_meets_it() {
    let ledger = Ledger::new().await;
    for content in 0..200 {
        ledger.queue(&format!("{content}.png"), content).await;
    }
    let mut raw = ledger.raw().await;
    let page: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    sqlx::Connection::close(raw).await.unwrap();
    ledger.store.close().await;
    let path = ledger.dir.path().join("state.db");
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start((page.cast_unsigned() - 1) * 4096))
        .unwrap();
    file.write_all(&[0xA5; 4096]).unwrap();
    drop(file);
    let store = Store::open(ledger.dir.path(), ledger.clock.clone())
        .await
        .unwrap();
    for error in [
        store.check().await.unwrap_err(),
        store.list(&Filter::default()).await.unwrap_err(),
        store.admit(&photo("x.png", 201)).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, QueueError::Corrupt { path: named, .. } if *named == path),
            "{error}"
        );
    }
    store.close().await;
}

#[tokio::test]
async fn a_value_from_nowhere_is_damage_and_not_a_panic() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    let mut raw = ledger.raw().await;
    for (sql, detail) in [
        (
            "UPDATE jobs SET queued_at_ms = 9223372036854775807",
            "is not a time",
        ),
        (
            "UPDATE jobs SET queued_at_ms = 0, attempts = 5000000000",
            "attempts is 5000000000",
        ),
        ("UPDATE jobs SET attempts = 0, report = '7'", "invalid type"),
        (
            "UPDATE jobs SET report = NULL, reason_code = 'bad', reason_message = ''",
            "`bad` is not a reason code",
        ),
    ] {
        sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
        let error = ledger.store.get(id).await.unwrap_err();
        assert!(matches!(error, QueueError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(detail), "{error}");
    }
}

#[tokio::test]
async fn a_state_directory_that_is_a_file_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().join("state");
    fs::write(&state_dir, "").unwrap();
    let error = Store::open(&state_dir, Arc::new(ManualClock::default()))
        .await
        .unwrap_err();
    let expected = format!(
        "cannot create {}: file exists; check state_dir and its permissions",
        state_dir.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_ledger_that_cannot_be_used_is_never_a_picture_s_fault() {
    let path = PathBuf::from("/var/lib/upscaled/state.db");
    let fault = Fault::from(QueueError::Full { path: path.clone() });
    assert_eq!(fault.disposition, Disposition::Block);
    assert_eq!(
        fault.reason.message,
        "cannot write /var/lib/upscaled/state.db: the disk is full; the queue waits until there is space again"
    );
    assert_eq!(
        Fault::from(QueueError::Busy { path }).disposition,
        Disposition::Block
    );
    let lost = Fault::from(QueueError::LeaseLost { job: JobId(3) });
    assert_eq!(lost.disposition, Disposition::Release);
    let network = QueueError::NetworkFilesystem {
        state_dir: PathBuf::from("/mnt/nas/upscaled"),
        kind: "nfs",
    };
    assert_eq!(
        network.to_string(),
        "state_dir /mnt/nas/upscaled is on a network file system (nfs), where SQLite's locks cannot be trusted; \
         put state_dir on a local disk"
    );
}

/// Says which directory the process of the test below is to lock; without it, that process is not meant.
const TO_LOCK: &str = "UPSCALED_TEST_LOCK";

#[test]
fn the_other_process() {
    let Some(dir) = std::env::var_os(TO_LOCK) else {
        return;
    };
    let _lock = InstanceLock::acquire(Path::new(&dir)).unwrap();
    println!("\nlocked");
    // Holds on until it is killed.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_second_process_is_refused_until_the_first_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "queue::tests::open::the_other_process"])
        .env(TO_LOCK, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(other.stdout.take().unwrap());
    assert!(out.lines().any(|line| line.unwrap() == "locked"));
    assert_eq!(InstanceLock::holder(dir.path()), Some(other.id()));
    let refused = InstanceLock::acquire(dir.path()).unwrap_err();
    let expected = format!(
        "another upscaled (pid {}) holds {}; stop it, or give this one a state_dir of its own",
        other.id(),
        dir.path().display()
    );
    assert_eq!(refused.to_string(), expected);
    // However it ends, the kernel gives the lock back.
    other.kill().unwrap();
    other.wait().unwrap();
    InstanceLock::acquire(dir.path()).unwrap();
}
