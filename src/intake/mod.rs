//! Owns the way from "something was dropped" to a row in the ledger: I1, no pixel is read before the file is
//! stable. Never decodes a picture and never changes, moves or creates anything below an input folder.
//!
//! ```text
//! watch (hints) ──▶ look ─┐
//!                         ├─▶ filter ─▶ settle ─▶ admit: lease, end, hash, still the same? ─▶ queue::Store
//! scan (the truth) ───────┘                ▲──────── not stable yet ──────────┘
//! ```
//!
//! Events wake us early; the scan is what is relied on. [`watch_folder`] is the daemon's loop for one folder,
//! [`scan_once`] a single pass for `upscaled once`. Both hold a [`FolderIntake`].

mod admit;
pub mod filter;
mod lease;
mod once;
pub mod place;
mod read;
mod run;
pub mod scan;
pub mod settle;
mod survey;
pub mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::clock::SharedClock;
use crate::config::Folder;
use crate::error::{Fault, ReasonCode};
use crate::fs::FileIdentity;
use crate::queue::{Admission, Digest, Known, QueueError, Store};

pub use filter::{FilterError, NameFilter};
pub use once::{OnceSummary, scan_once};
pub use place::{Offline, network_kind};
pub use run::watch_folder;
pub use watch::{NotifySource, WatchSource};

/// Files read at the same time, over all folders: two keep a disk busy, more make it seek. While one batch of a
/// folder is recorded, another one is read.
const HASHERS: usize = 2;

/// Quiet time where the configuration says `auto`: on a local disk, and on a share, whose writers no lease tells of.
const SETTLE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));

/// Pause between scans where the configuration says `auto`: beside events, and instead of them.
const RESCAN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30));

/// Whether the file's structure ends where the file does; `true` also for kinds whose end cannot be told.
pub type LooksComplete = fn(&Path) -> io::Result<bool>;

/// Where the result of a source (path below the input folder) shall lie below the output folder, or one line
/// that says why there is no such place. Must not block.
pub type PlanOutput = Arc<dyn Fn(&Path) -> Result<PathBuf, String> + Send + Sync>;

/// Told of every admission, after it is durable, from any task. Must not block.
pub type OnAdmitted = Arc<dyn Fn(&Admitted) + Send + Sync>;

/// A file that went into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The folder's name.
    pub folder: String,
    /// Its path below the input folder.
    pub source: PathBuf,
    /// What the ledger made of it.
    pub admission: Admission,
}

/// Everything that intake needs for one folder.
#[derive(Clone)]
pub struct FolderIntake {
    /// The folder.
    pub folder: Folder,
    /// Decides on names; made of the same folder by [`NameFilter::new`].
    pub filter: NameFilter,
    /// Output folders of the other folders of the configuration, absolute: below this input they are sources all
    /// the same, because somebody made a chain of them. No other folder with results is entered.
    pub chained: Vec<PathBuf>,
    /// `Recipe::hash` of the folder's recipe.
    pub recipe: Digest,
    /// The ledger.
    pub store: Store,
    /// Time.
    pub clock: SharedClock,
    /// Tells of changes; [`NotifySource`] but for tests.
    pub source: Arc<dyn WatchSource>,
    /// Plans the place of a result.
    pub plan_output: PlanOutput,
    /// Tells a whole file from one that is still being copied.
    pub looks_complete: LooksComplete,
    /// Candidates that wait at the same time; [`settle::MAX_CANDIDATES`] but for tests.
    pub candidates: usize,
    /// Shared by all folders: see [`hashing_permits`].
    pub hashing: Arc<Semaphore>,
    /// Told of every admission.
    pub on_admitted: OnAdmitted,
}

impl fmt::Debug for FolderIntake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderIntake")
            .field("folder", &self.folder.name)
            .finish_non_exhaustive()
    }
}

impl FolderIntake {
    /// Whether the ledger knows this very file with the recipe of today, so that it need not be read.
    fn has(&self, known: &Known, identity: &FileIdentity) -> bool {
        known.identity == *identity && known.recipe == self.recipe
    }
}

/// The permits that all folders of one service share, so that ten folders do not read twenty files at once.
pub fn hashing_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(HASHERS))
}

/// How a folder's changes are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By events, and by scans now and then.
    Events,
    /// By scans alone.
    #[default]
    Scan,
}

/// One folder at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntakeStatus {
    /// How changes are found.
    pub mode: Mode,
    /// Why there are no events, and what to do about it.
    pub why: Option<String>,
    /// What of the folder gives no events all the same, and why.
    pub unwatched: Option<String>,
    /// Candidates that are not rows yet.
    pub settling: u64,
    /// Why the input folder cannot be looked at; `None`: it can. Its jobs are not forgotten.
    pub offline: Option<String>,
    /// Something that a person should look at: a file or directory that cannot be read, a ledger that does not
    /// answer. Gone when a whole scan found no more of it.
    pub problem: Option<String>,
    /// When an event came last.
    pub last_event_at: Option<Timestamp>,
    /// When a scan ended last.
    pub last_scan_at: Option<Timestamp>,
    /// How long it took.
    pub last_scan_took: Option<Duration>,
}

/// Why a folder could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The input folder cannot be looked at.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] QueueError),
    /// A defect of ours ended the walk.
    #[error("folder {folder}: the scan ended unexpectedly ({detail}); please report it")]
    Broken {
        /// The folder's name.
        folder: String,
        /// What is known.
        detail: String,
    },
}

impl From<IntakeError> for Fault {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Ledger(error) => error.into(),
            other => Self::block(ReasonCode::Io, other.to_string()),
        }
    }
}

/// The waiting times of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timing {
    settle: Duration,
    rescan: Duration,
}

impl Timing {
    fn of(folder: &Folder, on_network: bool) -> Self {
        let auto = |(local, network): (Duration, Duration)| if on_network { network } else { local };
        Self {
            settle: folder.settle.unwrap_or(auto(SETTLE)),
            rescan: folder.rescan.unwrap_or(auto(RESCAN)),
        }
    }
}

/// Ends the blocking work of a loop (a walk, the reading of a large file) when the loop ends, also when its
/// future is dropped: the threads are not ours to abort.
#[derive(Debug, Default)]
struct Halt(Arc<AtomicBool>);

impl Halt {
    fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Halt {
    fn drop(&mut self) {
        self.now();
    }
}
