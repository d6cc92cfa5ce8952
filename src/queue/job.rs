//! Owns what a job is: its states, its key, and the types that cross the ledger's border. Never speaks SQL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;

use super::retry::Draw;
use crate::error::Reason;
use crate::fs::FileIdentity;
use crate::report::{DOCUMENT_VERSION, JobDocument, JobState, RenderReport, hex, path_text};

/// A BLAKE3 hash: of a source's content, of a recipe, of a staged file.
pub type Digest = [u8; 32];

/// The ledger's number of a job; never used again after the job is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// States of a row. Documents know one less: see [`State::shown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// Claimed; its attempt is spent.
    Running,
    /// Its result is staged and synced; the rename may or may not have happened.
    Publishing,
    /// Published and recorded.
    Done,
    /// Quarantined.
    Failed,
    /// Deliberately not processed.
    Skipped,
    /// Called off, by a person or because its content is gone.
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Publishing,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The spelling in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publishing => "publishing",
            other => other.shown().as_str(),
        }
    }

    /// The inverse of [`State::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The state that people and documents see: `publishing` is the end of `running`.
    pub fn shown(self) -> JobState {
        match self {
            Self::Queued => JobState::Queued,
            Self::Running | Self::Publishing => JobState::Running,
            Self::Done => JobState::Done,
            Self::Failed => JobState::Failed,
            Self::Skipped => JobState::Skipped,
            Self::Cancelled => JobState::Cancelled,
        }
    }
}

/// What intake hands over: a stable, hashed file and where its result should go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The watched folder's name.
    pub folder: String,
    /// The source's path below the input folder.
    pub source: PathBuf,
    /// The output folder, absolute.
    pub output_root: PathBuf,
    /// The planned path of the result below the output folder.
    pub output: PathBuf,
    /// BLAKE3 of the source's content.
    pub content: Digest,
    /// Hash of everything that decides pixels and name (`Recipe::hash`).
    pub recipe: Digest,
    /// The source's identity, the same before and after hashing.
    pub identity: FileIdentity,
    /// Higher goes first.
    pub priority: i32,
}

/// What became of a [`NewJob`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A new row.
    New(JobId),
    /// The key is known and there is nothing to do; the identity is refreshed.
    Known(JobId, JobState),
    /// The key is known, but its result is gone or was never made: the row waits again, with fresh attempts.
    Requeued(JobId),
}

impl Admission {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Known(..) => "known",
            Self::Requeued(_) => "requeued",
        }
    }

    /// The job, new or not.
    pub fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Known(id, _) | Self::Requeued(id) => id,
        }
    }
}

/// What the ledger knows of a source path: the job of its latest admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The job.
    pub job: JobId,
    /// The file's identity when it was hashed last. The same identity now: no need to read the file.
    pub identity: FileIdentity,
    /// BLAKE3 of its content.
    pub content: Digest,
    /// The recipe that the job was made with.
    pub recipe: Digest,
    /// Where the job is.
    pub state: JobState,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The ledger's number.
    pub id: JobId,
    /// The watched folder's name.
    pub folder: String,
    /// The source's path below the input folder.
    pub source: PathBuf,
    /// The output folder, absolute.
    pub output_root: PathBuf,
    /// The planned path of the result below the output folder.
    pub output: PathBuf,
    /// BLAKE3 of the source's content.
    pub content: Digest,
    /// Hash of everything that decides pixels and name.
    pub recipe: Digest,
    /// The source's identity when it was hashed.
    pub identity: FileIdentity,
    /// Higher goes first.
    pub priority: i32,
    /// Where it is.
    pub state: State,
    /// Attempts spent, this one included.
    pub attempts: u32,
    /// How often the device was lost under it since it was queued.
    pub device_losses: u32,
    /// Not claimed before.
    pub not_before: Timestamp,
    /// Somebody wants it ended.
    pub cancel_requested: bool,
    /// Called off by the service because its content is no longer there; it comes back with the content.
    pub withdrawn: bool,
    /// Why it is where it is.
    pub reason: Option<Reason>,
    /// The path, below the output folder, of the last result it published; kept while it waits again.
    pub result: Option<PathBuf>,
    /// The job whose result has since taken the place of this one's.
    pub replaced_by: Option<JobId>,
    /// What the pipeline reported last.
    pub report: RenderReport,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// The job document of CONTRACT §3.
    pub fn document(&self) -> JobDocument {
        let (source, source_hex) = path_text(&self.source);
        // A job that waits again keeps its old result in the ledger; a document would promise too much.
        let result = self.result.as_deref().filter(|_| self.state == State::Done);
        JobDocument {
            version: DOCUMENT_VERSION,
            job: Some(self.id.0),
            folder: Some(self.folder.clone()),
            source,
            source_hex,
            source_blake3: Some(hex(&self.content)),
            recipe_blake3: Some(hex(&self.recipe)),
            state: self.state.shown(),
            attempts: self.attempts,
            reason: self.reason.clone(),
            result: result.map(|path| path.to_string_lossy().into_owned()),
            report: self.report.clone(),
            queued_at: Some(self.queued_at),
            started_at: self.started_at,
            finished_at: self.finished_at,
        }
    }
}

/// The right to work on a job. Its attempt is already spent (I3). Not `Clone`: every ending consumes it, so a
/// job cannot be finished twice.
#[derive(Debug, PartialEq)]
#[must_use = "a claim that is dropped leaves its job running until the next start"]
pub struct Claim {
    pub(super) job: Job,
    pub(super) owner: String,
    pub(super) attempt: i64,
}

impl Claim {
    /// The job as it was claimed.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Who claimed it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What tells its waits from those of others.
    pub(super) fn draw(&self) -> Draw {
        Draw::of(&self.owner, self.job.id, self.job.attempts)
    }
}

/// What a worker learns when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Still its own.
    Held,
    /// Still its own, but wanted ended: stop at the next tile, then `record_cancelled`.
    CancelRequested,
    /// No longer its own: stop, record nothing.
    Lost,
}

/// What is about to be renamed where; recorded before the rename, so that recovery can finish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The staged file, absolute.
    pub temp: PathBuf,
    /// Its final name, absolute.
    pub final_path: PathBuf,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
}

/// A job whose publishing was cut short by the end of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Interrupted {
    /// The job; its state is [`State::Publishing`].
    pub job: Job,
    /// What was about to be renamed where.
    pub publishing: Publishing,
}

/// How an interrupted publishing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The result is there, durable, with its digest; `result` is its path below the output folder.
    Done {
        /// Path below the output folder.
        result: PathBuf,
    },
    /// Neither the result nor the staged file is there: the work must be done again.
    Requeue,
}

/// What became of a claimed job, with a reason a person can read.
#[derive(Debug, Clone, PartialEq)]
pub enum JobOutcome {
    /// Published and recorded.
    Done,
    /// Quarantined.
    Failed(Reason),
    /// Deliberately not processed.
    Skipped(Reason),
    /// Called off.
    Cancelled(Reason),
    /// Tried again, not before that time.
    Retrying {
        /// What went wrong.
        reason: Reason,
        /// When it may be claimed again.
        not_before: Timestamp,
    },
    /// Given back with its attempt unspent.
    Released,
}

/// One attempt of a job, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number within the job; an attempt given back unspent leaves its number to the next, and a job that is
    /// queued anew counts from 1 again.
    pub number: u32,
    /// The process and executor that made it.
    pub owner: String,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// `done`, `failed`, `skipped`, `cancelled`, `retrying`, `released`, `crashed`; `None` while it runs.
    pub outcome: Option<String>,
    /// Why it ended so.
    pub reason: Option<Reason>,
}

/// Jobs by state; one folder's or all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting.
    pub queued: u64,
    /// Claimed, publishing included.
    pub running: u64,
    /// Published.
    pub done: u64,
    /// Quarantined.
    pub failed: u64,
    /// Deliberately not processed.
    pub skipped: u64,
    /// Called off.
    pub cancelled: u64,
}

impl Counts {
    /// The counter of a state.
    pub fn of(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Queued => &mut self.queued,
            JobState::Running => &mut self.running,
            JobState::Done => &mut self.done,
            JobState::Failed => &mut self.failed,
            JobState::Skipped => &mut self.skipped,
            JobState::Cancelled => &mut self.cancelled,
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, mut other: Self) {
        for state in JobState::ALL {
            *self.of(state) += *other.of(state);
        }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this folder.
    pub folder: Option<String>,
    /// At most so many, newest first; `None`: all.
    pub limit: Option<u32>,
}

/// What `retry`, `cancel` and `remove` did to one job.
#[derive(Debug, Clone, PartialEq)]
pub enum Steered {
    /// Done; the job as it is now, or as it was when it was removed.
    Changed(Box<Job>),
    /// It runs: its worker is asked to stop at the next tile.
    Requested(Box<Job>),
    /// Left as it is: there was nothing to do for a job in this state.
    Unchanged(JobState),
    /// There is no such job.
    Unknown,
}

/// A pause of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself; `None`: when a person resumes.
    pub until: Option<Timestamp>,
}

/// The planned or published place of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultOwner {
    /// The job that published it.
    pub job: JobId,
    /// Its folder.
    pub folder: String,
    /// Its source.
    pub source: PathBuf,
}

impl ResultOwner {
    /// Whether the result was made from this source.
    pub fn is(&self, folder: &str, source: &Path) -> bool {
        self.folder == folder && self.source == source
    }
}
