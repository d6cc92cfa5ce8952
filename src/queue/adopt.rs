//! Owns what a new ledger takes over from the job files of an earlier one, so that a lost database costs no work twice
//! (docs/decisions/0017). Only what has ended, and not what was called off: a file does not tell whether a person did that or
//! the content had left, and what left must be able to come back. Never reads a file.

use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::error::QueueError;
use super::job::{JobId, NewJob, State};
use super::row::{bytes, report_json};
use super::store::{At, Store};
use crate::error::Reason;
use crate::report::RenderReport;

/// A job's number beyond this is not believed and it gets a new one: the file lies where others can write, and numbers
/// run out at the greatest that was ever used.
const ID_MAX: i64 = 1 << 40;

/// A job that ended, as its file tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// Its number then.
    pub id: Option<JobId>,
    /// What it was made from. The identity is not known and no file's: the next scan reads the source once, and finds
    /// the job by its content.
    pub new: NewJob,
    /// How it ended.
    pub ended: AdoptedEnd,
    /// Attempts it took.
    pub attempts: u32,
    /// What the pipeline reported.
    pub report: RenderReport,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// How an adopted job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AdoptedEnd {
    /// Its result lies there, below the output folder.
    Done(PathBuf),
    /// It failed.
    Failed(Reason),
    /// It was deliberately not processed.
    Skipped(Reason),
}

impl AdoptedEnd {
    fn state(&self) -> State {
        match self {
            Self::Done(_) => State::Done,
            Self::Failed(_) => State::Failed,
            Self::Skipped(_) => State::Skipped,
        }
    }

    fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Done(_) => None,
            Self::Failed(reason) | Self::Skipped(reason) => Some(reason),
        }
    }
}

impl Store {
    /// Whether the job files of a folder were asked already.
    ///
    /// # Errors
    /// Those of the database; so for all of these.
    pub async fn has_adopted(&self, folder: &str) -> Result<bool, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM adopted WHERE folder = ?1)")
            .bind(folder)
            .fetch_one(&mut *reader)
            .await
            .at(self)
    }

    /// Takes over ended jobs, in one transaction; how many were news. A job that the ledger has by itself stays as it
    /// is, unless it waits for the very work that is done.
    ///
    /// # Errors
    /// Those of the database; then nothing is changed.
    pub async fn adopt(&self, jobs: &[Adopted]) -> Result<u64, QueueError> {
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let mut taken = 0;
        for job in jobs {
            taken += u64::from(adopt_one(&mut tx, job).await.at(self)?);
        }
        tx.commit().await.at(self)?;
        Ok(taken)
    }

    /// Notes that the folder's job files were read to their end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish_adoption(&self, folder: &str) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        sqlx::query("INSERT OR IGNORE INTO adopted (folder) VALUES (?1)")
            .bind(folder)
            .execute(&mut *writer)
            .await
            .at(self)?;
        Ok(())
    }
}

async fn adopt_one(tx: &mut SqliteConnection, job: &Adopted) -> sqlx::Result<bool> {
    let (new, finished_at) = (&job.new, job.finished_at.as_millisecond());
    let result = match &job.ended {
        AdoptedEnd::Done(result) => Some(bytes(result)),
        _ => None,
    };
    let wanted_id = job.id.map(|id| id.0).filter(|id| (1..=ID_MAX).contains(id));
    let reason = job.ended.reason();
    let id: Option<i64> = sqlx::query_scalar(
        "INSERT INTO jobs (id, folder, source, output_root, output, content, recipe, dev, ino, size, mtime_ns,
                           ctime_ns, priority, state, attempts, not_before_ms, reason_code, reason_message, result,
                           report, queued_at_ms, finished_at_ms, started_at_ms)
         VALUES ((SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)), ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0,
                 0, ?8, ?9, ?10, 0, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (content, recipe, output_root, output) DO UPDATE SET
             state = excluded.state, attempts = excluded.attempts, reason_code = excluded.reason_code,
             reason_message = excluded.reason_message, result = excluded.result, report = excluded.report,
             finished_at_ms = excluded.finished_at_ms, started_at_ms = excluded.started_at_ms
         WHERE jobs.state = 'queued' AND jobs.attempts = 0
         RETURNING id",
    )
    .bind(wanted_id)
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(bytes(&new.output_root))
    .bind(bytes(&new.output))
    .bind(&new.content[..])
    .bind(&new.recipe[..])
    .bind(new.priority)
    .bind(job.ended.state().as_str())
    .bind(job.attempts)
    .bind(reason.map(|reason| reason.code.as_str()))
    .bind(reason.map(|reason| reason.message.as_str()))
    .bind(result)
    .bind(report_json(&job.report)?)
    .bind(job.queued_at.as_millisecond())
    .bind(finished_at)
    .bind(job.started_at.map(Timestamp::as_millisecond))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = id else { return Ok(false) };
    remember_source(tx, id, new).await?;
    if let Some(result) = result {
        settle_place(tx, id, bytes(&new.output_root), result).await?;
    }
    Ok(true)
}

/// Until somebody has looked, the source counts as there: nothing is forgotten for it. What intake saw goes before.
async fn remember_source(tx: &mut SqliteConnection, id: i64, new: &NewJob) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR IGNORE INTO sources (folder, source, job, dev, ino, size, mtime_ns, ctime_ns)
         VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0)",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Of several that say that a result is theirs, it is the latest one's.
async fn settle_place(tx: &mut SqliteConnection, id: i64, root: &[u8], result: &[u8]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET replaced_by = latest.id
         FROM (SELECT id FROM jobs WHERE output_root = ?2 AND result = ?3 AND (replaced_by IS NULL OR id = ?1)
               ORDER BY finished_at_ms DESC, id DESC LIMIT 1) AS latest
         WHERE output_root = ?2 AND result = ?3 AND jobs.id <> latest.id AND replaced_by IS NULL",
    )
    .bind(id)
    .bind(root)
    .bind(result)
    .execute(tx)
    .await?;
    Ok(())
}
