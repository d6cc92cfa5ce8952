//! Owns I2, one job per (content, recipe, output path): what intake's finding makes of the ledger. Never looks
//! at a file.

use std::path::Path;

use sqlx::SqliteConnection;

use super::error::QueueError;
use super::job::{Admission, Job, JobId, Known, NewJob, State};
use super::retry::replaced_reason;
use super::row::{KnownSource, bytes};
use super::store::{At, Store};
use crate::error::ReasonCode;

/// `not_before_ms` of a job that need not wait. Not the time of its queueing: a wall clock that is put back
/// (a first NTP answer, a dead CMOS battery) must not hold the whole queue until it has caught up.
const AT_ONCE_MS: i64 = 0;

impl Store {
    /// What the latest admission of that source path left behind. A path that was never admitted, or whose job
    /// was withdrawn since, is not known: it is to be hashed and admitted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn known(&self, folder: &str, source: &Path) -> Result<Option<Known>, QueueError> {
        let mut reader = self.reader().await?;
        let row: Option<KnownSource> = sqlx::query_as(
            "SELECT s.*, j.content, j.recipe, j.state FROM sources s JOIN jobs j ON j.id = s.job
             WHERE s.folder = ?1 AND s.source = ?2",
        )
        .bind(folder)
        .bind(bytes(source))
        .fetch_optional(&mut *reader)
        .await
        .at(self)?;
        Ok(row.map(|row| row.known))
    }

    /// Takes in a stable, hashed file: [`Store::admit_many`] of one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn admit(&self, new: &NewJob) -> Result<Admission, QueueError> {
        let admissions = self.admit_many(std::slice::from_ref(new)).await?;
        admissions
            .into_iter()
            .next()
            .ok_or(sqlx::Error::RowNotFound)
            .at(self)
    }

    /// Takes in stable, hashed files, in their order. One transaction, so one wait for the disk, and all or none:
    /// for each the job, what lies at the source path, and the end of older jobs for the same path whose content
    /// is gone from it.
    ///
    /// # Errors
    /// Those of the database; nothing was taken in then.
    pub async fn admit_many(&self, new: &[NewJob]) -> Result<Vec<Admission>, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let mut admissions = Vec::with_capacity(new.len());
        for new in new {
            let admission = admit(&mut tx, new, now).await.at(self)?;
            withdraw_others(&mut tx, new, admission.id(), now)
                .await
                .at(self)?;
            remember_source(&mut tx, new, admission.id()).await.at(self)?;
            admissions.push(admission);
        }
        tx.commit().await.at(self)?;
        Ok(admissions)
    }
}

async fn admit(tx: &mut SqliteConnection, new: &NewJob, now: i64) -> sqlx::Result<Admission> {
    let job: Option<Job> = sqlx::query_as(
        "SELECT * FROM jobs WHERE content = ?1 AND recipe = ?2 AND output_root = ?3 AND output = ?4",
    )
    .bind(&new.content[..])
    .bind(&new.recipe[..])
    .bind(bytes(&new.output_root))
    .bind(bytes(&new.output))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(job) = job else {
        return Ok(Admission::New(insert(tx, new, now).await?));
    };
    let current: Option<i64> =
        sqlx::query_scalar("SELECT job FROM sources WHERE folder = ?1 AND source = ?2")
            .bind(&new.folder)
            .bind(bytes(&new.source))
            .fetch_optional(&mut *tx)
            .await?;
    if is_wanted_again(&job, new, current == Some(job.id.0)) {
        requeue(tx, job.id, now).await?;
        point_at(tx, job.id, new).await?;
        return Ok(Admission::Requeued(job.id));
    }
    let same_place = job.folder == new.folder && job.source == new.source;
    // The same content at another path: a job that has not begun reads it from where it was seen last, and one
    // that was to stop because its own path has other content belongs to this path from now on.
    if same_place || job.state == State::Queued || job.withdrawn {
        point_at(tx, job.id, new).await?;
    }
    if job.withdrawn {
        // Running, asked to stop because its content had gone; now the content is back.
        sqlx::query("UPDATE jobs SET withdrawn = 0, cancel_requested = 0 WHERE id = ?1")
            .bind(job.id.0)
            .execute(&mut *tx)
            .await?;
    }
    Ok(Admission::Known(job.id, job.state.shown()))
}

/// Whether a known key is to be worked on again, unasked.
fn is_wanted_again(job: &Job, new: &NewJob, was_current: bool) -> bool {
    match job.state {
        State::Queued | State::Running | State::Publishing | State::Skipped => false,
        // A → B → A: the source's next job put its result where this one's was. Only when the source had other
        // content in between: two sources that fight for one name would else overwrite each other for ever.
        State::Done => job.replaced_by.is_some() && !was_current,
        // A touched file is the same content, and fails the same way. But `io` is not about content: the file
        // was away or forbidden, and a new identity says that somebody did something about it.
        State::Failed => {
            job.identity != new.identity
                && job
                    .reason
                    .as_ref()
                    .is_some_and(|reason| reason.code == ReasonCode::Io)
        }
        // What a person cancelled stays cancelled.
        State::Cancelled => job.withdrawn,
    }
}

async fn insert(tx: &mut SqliteConnection, new: &NewJob, now: i64) -> sqlx::Result<JobId> {
    sqlx::query_scalar(
        "INSERT INTO jobs (folder, source, output_root, output, content, recipe,
                           dev, ino, size, mtime_ns, ctime_ns, priority, state, not_before_ms, queued_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'queued', ?13, ?14)
         RETURNING id",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(bytes(&new.output_root))
    .bind(bytes(&new.output))
    .bind(&new.content[..])
    .bind(&new.recipe[..])
    .bind(new.identity.dev.cast_signed())
    .bind(new.identity.ino.cast_signed())
    .bind(new.identity.size.cast_signed())
    .bind(new.identity.mtime_ns)
    .bind(new.identity.ctime_ns)
    .bind(new.priority)
    .bind(AT_ONCE_MS)
    .bind(now)
    .fetch_one(tx)
    .await
    .map(JobId)
}

/// Puts a finished job back in the queue as if it were new; `result` stays, so that it may replace its own.
pub(super) async fn requeue(tx: &mut SqliteConnection, id: JobId, now: i64) -> sqlx::Result<Job> {
    sqlx::query_as(
        "UPDATE jobs SET state = 'queued', attempts = 0, device_losses = 0, not_before_ms = ?3,
                         queued_at_ms = ?2, started_at_ms = NULL, finished_at_ms = NULL, reason_code = NULL,
                         reason_message = NULL, report = NULL, withdrawn = 0, cancel_requested = 0
         WHERE id = ?1 AND state IN ('done', 'failed', 'skipped', 'cancelled')
         RETURNING *",
    )
    .bind(id.0)
    .bind(now)
    .bind(AT_ONCE_MS)
    .fetch_one(tx)
    .await
}

/// Makes the job read its content from where it was just seen.
async fn point_at(tx: &mut SqliteConnection, id: JobId, new: &NewJob) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET folder = ?2, source = ?3, dev = ?4, ino = ?5, size = ?6, mtime_ns = ?7, ctime_ns = ?8,
                         priority = ?9
         WHERE id = ?1",
    )
    .bind(id.0)
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(new.identity.dev.cast_signed())
    .bind(new.identity.ino.cast_signed())
    .bind(new.identity.size.cast_signed())
    .bind(new.identity.mtime_ns)
    .bind(new.identity.ctime_ns)
    .bind(new.priority)
    .execute(tx)
    .await?;
    Ok(())
}

/// Calls off the other jobs of this source path: what they were made for no longer lies there. One that is
/// publishing has done its work and is left to end; `record_done` sees that it is late.
async fn withdraw_others(tx: &mut SqliteConnection, new: &NewJob, id: JobId, now: i64) -> sqlx::Result<()> {
    let reason = replaced_reason(&new.source);
    sqlx::query(
        "UPDATE jobs INDEXED BY jobs_source
         SET state = 'cancelled', withdrawn = 1, reason_code = ?4, reason_message = ?5, finished_at_ms = ?6
         WHERE folder = ?1 AND source = ?2 AND id <> ?3 AND state = 'queued'",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(id.0)
    .bind(reason.code.as_str())
    .bind(reason.message)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE jobs INDEXED BY jobs_source SET cancel_requested = 1, withdrawn = 1
         WHERE folder = ?1 AND source = ?2 AND id <> ?3 AND state = 'running' AND cancel_requested = 0",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(id.0)
    .execute(&mut *tx)
    .await?;
    // Another path with the same content may count on the withdrawn job. Forgotten, it is found by the next
    // scan and brings the job back with itself as the source.
    sqlx::query(
        "DELETE FROM sources
         WHERE job IN (SELECT id FROM jobs WHERE folder = ?1 AND source = ?2 AND withdrawn = 1)",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .execute(tx)
    .await?;
    Ok(())
}

async fn remember_source(tx: &mut SqliteConnection, new: &NewJob, id: JobId) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO sources (folder, source, job, dev, ino, size, mtime_ns, ctime_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (folder, source) DO UPDATE SET
             job = excluded.job, dev = excluded.dev, ino = excluded.ino, size = excluded.size,
             mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, gone_since_ms = NULL",
    )
    .bind(&new.folder)
    .bind(bytes(&new.source))
    .bind(id.0)
    .bind(new.identity.dev.cast_signed())
    .bind(new.identity.ino.cast_signed())
    .bind(new.identity.size.cast_signed())
    .bind(new.identity.mtime_ns)
    .bind(new.identity.ctime_ns)
    .execute(tx)
    .await?;
    Ok(())
}
