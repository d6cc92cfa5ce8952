//! Owns what is kept beside the ledger: a copy before its schema changes, and a damaged one that was set aside. Never
//! deletes a damaged ledger, and never opens one (docs/decisions/0017).

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::SqliteConnection;

use super::error::QueueError;
use super::store::{DATABASE, Store, io_error, quick_check};
use crate::clock::SharedClock;
use crate::fs::{Filesystem, RealFilesystem};

/// Copies from before a change of schema that are kept: the last one, and one more for whoever notices late.
const COPIES_KEPT: usize = 2;

/// Stands behind the database's name while somebody has reason to think that it is damaged: the next start looks at
/// every page of it. Not at every start after a crash, since SQLite's log takes care of those and a million rows take
/// seconds.
const SUSPECT: &str = "suspect";

/// Notes that the next start must look at the whole ledger. Best effort: a disk that is full or read-only does not let
/// us, and then the next one who meets the damage notes it.
pub(super) fn suspect(database: &Path) {
    if let Err(error) = File::create(beside(database, SUSPECT)) {
        tracing::debug!("cannot note that {} is damaged: {error}", database.display());
    }
}

/// Whether the next start looks at the whole ledger, which may take a while.
pub fn is_suspect(state_dir: &Path) -> bool {
    beside(&state_dir.join(DATABASE), SUSPECT).exists()
}

/// As [`Store::open`], by the service, which holds the instance lock. A damaged ledger is set aside under a name that
/// tells when, and a new one takes its place; says where the damaged one is now.
///
/// # Errors
/// As [`Store::open`], but for damage.
pub async fn open_or_set_aside(
    state_dir: &Path,
    clock: SharedClock,
) -> Result<(Store, Option<PathBuf>), QueueError> {
    let database = state_dir.join(DATABASE);
    let opened = match is_suspect(state_dir) && database.exists() {
        true => match quick_check(&database).await {
            Ok(()) => Store::open(state_dir, clock.clone()).await,
            Err(error) => Err(error),
        },
        false => Store::open(state_dir, clock.clone()).await,
    };
    let opened = match opened {
        Err(QueueError::Corrupt { detail, .. }) => {
            let aside = set_aside(state_dir, &clock)?;
            tracing::error!(
                "{} was damaged ({detail}) and is now {}; a new ledger is made from the job files",
                database.display(),
                aside.display()
            );
            (Store::open(state_dir, clock).await?, Some(aside))
        }
        opened => (opened?, None),
    };
    match std::fs::remove_file(beside(&database, SUSPECT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!("cannot remove the mark beside {}: {error}", database.display());
        }
        _ => {}
    }
    Ok(opened)
}

/// The damaged ledgers that lie beside this one, oldest first.
pub fn set_aside_before(state_dir: &Path) -> Vec<PathBuf> {
    siblings(state_dir, "corrupt-")
        .into_iter()
        .filter(|path| !is_log(path))
        .collect()
}

/// What is told of a damaged ledger for as long as it lies there.
pub fn reminder(aside: &Path) -> String {
    format!(
        "the ledger was damaged and is set aside as {}; a new one was made from the job files: move that file away when you \
         no longer need it, and this line goes with it",
        aside.display()
    )
}

/// Gives the ledger and its log names that tell that it is damaged, and since when.
fn set_aside(state_dir: &Path, clock: &SharedClock) -> Result<PathBuf, QueueError> {
    let database = state_dir.join(DATABASE);
    let day = clock.wall().strftime("%Y%m%dT%H%M%SZ");
    let aside = beside(&database, &format!("corrupt-{day}"));
    // The log first: left behind, it would be taken for the new ledger's.
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (with_suffix(&database, suffix), with_suffix(&aside, suffix));
        match RealFilesystem.rename_noreplace(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(|error| io_error("set aside", &from, error))?,
        }
    }
    RealFilesystem
        .sync_dir(state_dir)
        .map_err(|error| io_error("sync", state_dir, error))?;
    Ok(aside)
}

/// Copies a ledger before its schema becomes `schema`, whole or not at all, and drops older copies.
pub(super) async fn copy_before(
    database: &Path,
    writer: &mut SqliteConnection,
    schema: i64,
) -> Result<(), QueueError> {
    let copy = beside(database, &format!("before-{schema:04}"));
    let part = with_suffix(&copy, ".part");
    // An earlier try that was cut short. SQLite fills an empty file, and ours is for its owner's eyes.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(|error| io_error("open", &part, error))?;
    let name = part.to_str().ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
        io_error("copy the ledger to", &part, error)
    })?;
    sqlx::query("VACUUM INTO ?1")
        .bind(name)
        .execute(writer)
        .await
        .map_err(|error| QueueError::from_sqlx(&part, error))?;
    let kept = file
        .sync_all()
        .and_then(|()| RealFilesystem.rename_replace(&part, &copy))
        .and_then(|()| RealFilesystem.sync_dir(copy.parent().unwrap_or(Path::new("/"))));
    kept.map_err(|error| io_error("copy the ledger to", &copy, error))?;
    tracing::info!(copy = %copy.display(), "the ledger's schema changes; a copy from before is kept");
    let state_dir = database.parent().unwrap_or(Path::new("/"));
    for old in siblings(state_dir, "before-").iter().rev().skip(COPIES_KEPT) {
        if let Err(error) = std::fs::remove_file(old) {
            tracing::warn!("cannot remove the old copy {}: {error}", old.display());
        }
    }
    Ok(())
}

/// `state.db.<word>`
fn beside(database: &Path, word: &str) -> PathBuf {
    with_suffix(database, &format!(".{word}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn is_log(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    name.ends_with(b"-wal") || name.ends_with(b"-shm")
}

/// The files `state.db.<word>…`, sorted; none where the directory cannot be read.
fn siblings(state_dir: &Path, word: &str) -> Vec<PathBuf> {
    let prefix = format!("{DATABASE}.{word}");
    let starts = |name: &OsStr| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| starts(&entry.file_name()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
