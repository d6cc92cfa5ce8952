//! Owns the failures of the ledger and whose fault they are. Never shows SQL to a person.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Fault, ReasonCode, one_line};

use super::job::JobId;

/// Why the ledger could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Another instance holds the state directory.
    #[error(
        "another upscaled (pid {pid}) holds {}; stop it, or give this one a state_dir of its own",
        state_dir.display()
    )]
    AlreadyRunning {
        /// Its process, 0 if it has not written its number yet.
        pid: u32,
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The state directory lies on a network file system.
    #[error(
        "state_dir {} is on a network file system ({kind}), where SQLite's locks cannot be trusted; \
         put state_dir on a local disk",
        state_dir.display()
    )]
    NetworkFilesystem {
        /// The state directory.
        state_dir: PathBuf,
        /// `nfs`, `cifs` …
        kind: &'static str,
    },
    /// A newer version wrote the database.
    #[error(
        "{} was written by a newer upscaled (schema {found}, this one knows {known}); install that version, \
         or choose another state_dir",
        path.display()
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not a database, or damaged.
    #[error(
        "{} is damaged ({detail}); the next start of the service sets it aside and makes a new one from the job files, \
         unless you restore a copy first",
        path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A sound database that is not ours.
    #[error("{} is not our ledger ({detail}); move it away, or choose another state_dir", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What it is.
        detail: String,
    },
    /// There is no database to read.
    #[error("there is no ledger at {} yet; `upscaled run` or `upscaled once` makes one", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The state directory or the lock cannot be created, opened or read.
    #[error("cannot {what} {}: {}; check state_dir and its permissions", path.display(), crate::error::plain(error))]
    Io {
        /// `create`, `open`, `lock` …
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// An older version wrote the database and this handle must not change it.
    #[error(
        "{} was written by an older upscaled (schema {found}, this one needs {known}); \
         start the service once, it brings the ledger up to date",
        path.display()
    )]
    TooOld {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// This handle cannot write: it was opened for reading, or is closed.
    #[error("the ledger {} is not open for writing", path.display())]
    Closed {
        /// The database.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error(
        "cannot open or write {}: {detail}; run as the service's user, and look whether its disk is mounted writable",
        path.display()
    )]
    Denied {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// The disk of the state directory is full.
    #[error("cannot write {}: the disk is full; the queue waits until there is space again", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another process kept the database locked for longer than the busy timeout.
    #[error("cannot write {}: another process keeps it locked; try again", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The claim is no longer the caller's, or the job is not where the call needs it.
    #[error("job {job} is no longer held by this worker; its work is dropped")]
    LeaseLost {
        /// The job.
        job: JobId,
    },
    /// Anything else that SQLite says.
    #[error("cannot use {}: {}; run `upscaled doctor`", path.display(), one_line(&error.to_string()))]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        error: Box<sqlx::Error>,
    },
}

impl QueueError {
    /// Sorts a database error by SQLite's primary result code.
    pub(super) fn from_sqlx(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        // The low byte of an extended code is the primary one: 3 PERM, 5 BUSY, 6 LOCKED, 8 READONLY,
        // 11 CORRUPT, 13 FULL, 14 CANTOPEN, 26 NOTADB (https://sqlite.org/rescode.html).
        match primary_code(&error) {
            Some(13) => Self::Full { path },
            Some(5 | 6) => Self::Busy { path },
            Some(3 | 8 | 14) => Self::Denied {
                path,
                detail: database_message(&error),
            },
            Some(11 | 26) => Self::Corrupt {
                path,
                detail: database_message(&error),
            },
            _ => match error {
                sqlx::Error::ColumnDecode { source, .. } | sqlx::Error::Decode(source) => Self::Corrupt {
                    path,
                    detail: one_line(&source.to_string()),
                },
                error => Self::Database {
                    path,
                    error: Box::new(error),
                },
            },
        }
    }
}

/// Whether SQLite itself says that the file is damaged. A value that does not translate is none: its pages are sound.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?.parse::<i64>().ok()?;
    Some(code & 0xff)
}

fn database_message(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) => one_line(database.message()),
        None => one_line(&error.to_string()),
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        let message = error.to_string();
        match error {
            // Somebody else answers for the job now; whatever this worker has is dropped.
            QueueError::LeaseLost { .. } => Self::release(message),
            // A ledger that cannot be written is never a picture's fault: nothing is charged, the queue waits.
            _ => Self::block(ReasonCode::Io, message),
        }
    }
}
