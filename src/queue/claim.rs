//! Owns I3, a claim spends an attempt before work, and every way a claim ends. Never decides whose fault a
//! failure is.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::admit::requeue;
use super::error::QueueError;
use super::job::{Claim, Job, JobId, JobOutcome, Publishing, Renewal, State};
use super::retry::{self, After, Ending, Verdict};
use super::row::{Held, bytes, report_json};
use super::store::{At, Store};
use crate::error::{Fault, Reason};
use crate::report::RenderReport;

impl Store {
    /// Claims the next job: highest priority, then oldest; none while paused and none of the excluded folders
    /// (those whose output folder is blocked). The attempt is spent by the same statement that claims (I3).
    /// Lease times are for people and logs: this process is the only one, and recovery at the next start, not
    /// a clock that jumps, tells which claims are orphans.
    ///
    /// Not to be dropped in the middle (no `select!`): the claim may be committed and then belongs to nobody until
    /// the next start.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim(
        &self,
        owner: &str,
        lease: Duration,
        excluded_folders: &[String],
    ) -> Result<Option<Claim>, QueueError> {
        let now = self.now_ms();
        let excluded = serde_json::json!(excluded_folders).to_string();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        // Asked for before the claim, so that claiming stays one statement; no other writer can take it.
        let attempt: i64 = sqlx::query_scalar(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'attempts'), 0) + 1",
        )
        .fetch_one(&mut *tx)
        .await
        .at(self)?;
        let job: Option<Job> = sqlx::query_as(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, attempt = ?4, lease_owner = ?1,
                             lease_until_ms = ?3, started_at_ms = ?2, reason_code = NULL, reason_message = NULL
             WHERE id = (SELECT id FROM jobs INDEXED BY jobs_claim
                         WHERE state = 'queued' AND not_before_ms <= ?2
                           AND folder NOT IN (SELECT value FROM json_each(?5))
                           AND NOT EXISTS (SELECT 1 FROM controls WHERE name = 'pause'
                                           AND (until_ms IS NULL OR until_ms > ?2))
                         ORDER BY priority DESC, queued_at_ms, id LIMIT 1)
             RETURNING *",
        )
        .bind(owner)
        .bind(now)
        .bind(later(now, lease))
        .bind(attempt)
        .bind(excluded)
        .fetch_optional(&mut *tx)
        .await
        .at(self)?;
        let Some(job) = job else { return Ok(None) };
        assert!(
            job.attempts > 0,
            "I3: job {} is claimed without an attempt",
            job.id
        );
        sqlx::query(
            "INSERT INTO attempts (id, job, number, owner, started_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(attempt)
        .bind(job.id.0)
        .bind(job.attempts)
        .bind(owner)
        .bind(now)
        .execute(&mut *tx)
        .await
        .at(self)?;
        tx.commit().await.at(self)?;
        let owner = owner.to_owned();
        Ok(Some(Claim { job, owner, attempt }))
    }

    /// Extends the lease and asks whether the work is still wanted. Once its publishing is recorded it always is:
    /// the result may lie there already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<Renewal, QueueError> {
        let mut writer = self.writer().await?;
        let requested: Option<bool> = sqlx::query_scalar(
            "UPDATE jobs SET lease_until_ms = ?4 WHERE id = ?1 AND lease_owner = ?2 AND attempt = ?3
             RETURNING cancel_requested AND state = 'running'",
        )
        .bind(claim.job.id.0)
        .bind(&claim.owner)
        .bind(claim.attempt)
        .bind(later(self.now_ms(), lease))
        .fetch_optional(&mut *writer)
        .await
        .at(self)?;
        Ok(renewal(requested))
    }

    /// Whether the work is still wanted, as [`Store::renew`] says it, without writing anything.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_wanted(&self, claim: &Claim) -> Result<Renewal, QueueError> {
        let mut reader = self.reader().await?;
        let requested: Option<bool> = sqlx::query_scalar(
            "SELECT cancel_requested AND state = 'running' FROM jobs
             WHERE id = ?1 AND lease_owner = ?2 AND attempt = ?3",
        )
        .bind(claim.job.id.0)
        .bind(&claim.owner)
        .bind(claim.attempt)
        .fetch_optional(&mut *reader)
        .await
        .at(self)?;
        Ok(renewal(requested))
    }

    /// Records what is about to be renamed where, before the rename. Again, with another final name, where the
    /// first one turned out to be taken.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`]: do not rename. Those of the database: do not rename either.
    pub async fn record_publishing(
        &self,
        claim: &Claim,
        publishing: &Publishing,
        report: &RenderReport,
    ) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        let done = sqlx::query(
            "UPDATE jobs SET state = 'publishing', publish_temp = ?4, publish_final = ?5, publish_digest = ?6,
                             report = ?7
             WHERE id = ?1 AND lease_owner = ?2 AND attempt = ?3",
        )
        .bind(claim.job.id.0)
        .bind(&claim.owner)
        .bind(claim.attempt)
        .bind(bytes(&publishing.temp))
        .bind(bytes(&publishing.final_path))
        .bind(&publishing.digest[..])
        .bind(report_json(report).at(self)?)
        .execute(&mut *writer)
        .await
        .at(self)?;
        match done.rows_affected() {
            0 => Err(QueueError::LeaseLost { job: claim.job.id }),
            _ => Ok(()),
        }
    }

    /// Leaves the job publishing, as a process that dies does: [`Store::interrupted_publishing`] names it from now on,
    /// and a look at the files decides.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], also for a claim that never recorded its publishing; those of the database.
    pub async fn leave_publishing(&self, claim: Claim) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        let left = sqlx::query(
            "UPDATE jobs SET lease_owner = lease_owner || ' (left)'
             WHERE id = ?1 AND lease_owner = ?2 AND attempt = ?3 AND state = 'publishing'",
        )
        .bind(claim.job.id.0)
        .bind(&claim.owner)
        .bind(claim.attempt)
        .execute(&mut *writer)
        .await
        .at(self)?;
        match left.rows_affected() {
            0 => Err(QueueError::LeaseLost { job: claim.job.id }),
            _ => Ok(()),
        }
    }

    /// Records a published, durable result; `result` is its path below the output folder. Only after
    /// [`Store::record_publishing`]. Returns the job as it is now, as all endings do.
    ///
    /// Every ending takes the claim, also where the database fails: the job is then recovered at the next start.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], also for a claim that never recorded its publishing; those of the database.
    pub async fn record_done(
        &self,
        claim: Claim,
        result: &Path,
        report: &RenderReport,
    ) -> Result<Job, QueueError> {
        let report = Some(report);
        self.end(claim, Ending::Done { result, report }).await
    }

    /// Quarantines the job: not tried again until its content changes or a person asks.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`]; those of the database. So for all endings below.
    pub async fn record_failed(
        &self,
        claim: Claim,
        reason: Reason,
        report: Option<&RenderReport>,
    ) -> Result<Job, QueueError> {
        self.end(claim, Ending::Failed { reason, report }).await
    }

    /// Deliberately not processed.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn record_skipped(&self, claim: Claim, reason: Reason) -> Result<Job, QueueError> {
        self.end(claim, Ending::Skipped(reason)).await
    }

    /// Called off, after [`Renewal::CancelRequested`]. Where the request was taken back meanwhile, the job waits
    /// again with its attempt unspent: look at the state of what is returned.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn record_cancelled(&self, claim: Claim) -> Result<Job, QueueError> {
        self.end(claim, Ending::Cancelled).await
    }

    /// The source is gone, or is no longer the file that was hashed. The job is called off and forgotten by
    /// [`Store::known`]; it comes back when intake finds its content again, also if it already has.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn record_withdrawn(&self, claim: Claim, reason: Reason) -> Result<Job, QueueError> {
        let claimed = claim.job.identity;
        self.end(claim, Ending::Withdrawn { reason, claimed }).await
    }

    /// Gives the job back with its attempt unspent: a shutdown, or the environment's fault.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn release(&self, claim: Claim) -> Result<Job, QueueError> {
        self.end(claim, Ending::Released(None)).await
    }

    /// The device was lost under the job. The first time it is given back, its attempt unspent, behind those that
    /// wait; the second time it fails. Counted durably when this returns, so that the process may end: before,
    /// the job is one of a process that died.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn record_device_lost(
        &self,
        claim: Claim,
        reason: Reason,
        report: Option<&RenderReport>,
    ) -> Result<(Job, JobOutcome), QueueError> {
        let not_before = self
            .now()
            .saturating_add(retry::backoff(claim.job.attempts, claim.draw()));
        let ending = Ending::DeviceLost {
            reason,
            report,
            not_before: not_before.unwrap_or(Timestamp::MAX),
        };
        let job = self.end(claim, ending).await?;
        let outcome = retry::outcome(&job);
        Ok((job, outcome))
    }

    /// Back to the queue, its attempt spent, not before that time.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn retry_later(
        &self,
        claim: Claim,
        reason: Reason,
        not_before: Timestamp,
    ) -> Result<Job, QueueError> {
        self.end(claim, Ending::Retrying { reason, not_before }).await
    }

    /// Ends a claim by a fault's disposition and the policy of [`retry`](super::retry): failed, tried later
    /// (failed with the last attempt), or given back unspent. A block is given back too; that the queue waits
    /// is the caller's part.
    ///
    /// # Errors
    /// As [`Store::record_failed`].
    pub async fn record_fault(
        &self,
        claim: Claim,
        fault: &Fault,
        report: Option<&RenderReport>,
    ) -> Result<(Job, JobOutcome), QueueError> {
        let reason = fault.reason.clone();
        let ending = match retry::verdict(claim.job.attempts, fault, claim.draw()) {
            Verdict::Fail => Ending::Failed { reason, report },
            Verdict::Retry(wait) => Ending::Retrying {
                reason,
                not_before: self.now().saturating_add(wait).unwrap_or(Timestamp::MAX),
            },
            Verdict::Release => Ending::Released(Some(reason)),
        };
        let job = self.end(claim, ending).await?;
        let outcome = retry::outcome(&job);
        Ok((job, outcome))
    }

    async fn end(&self, claim: Claim, ending: Ending<'_>) -> Result<Job, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let held: Option<Held> =
            sqlx::query_as("SELECT * FROM jobs WHERE id = ?1 AND lease_owner = ?2 AND attempt = ?3")
                .bind(claim.job.id.0)
                .bind(&claim.owner)
                .bind(claim.attempt)
                .fetch_optional(&mut *tx)
                .await
                .at(self)?;
        let published = matches!(ending, Ending::Done { .. });
        let held = held
            .filter(|held| !published || held.job.state == State::Publishing)
            .ok_or(QueueError::LeaseLost { job: claim.job.id })?;
        let job = end_held(&mut tx, &held, &ending, now).await.at(self)?;
        tx.commit().await.at(self)?;
        Ok(job)
    }
}

/// What a held row says of the work; `None`: it is held no longer.
fn renewal(cancel_requested: Option<bool>) -> Renewal {
    match cancel_requested {
        Some(false) => Renewal::Held,
        Some(true) => Renewal::CancelRequested,
        None => Renewal::Lost,
    }
}

fn later(now_ms: i64, by: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

/// Writes an ending: the row, the attempt's place in the history, and what follows for other rows.
pub(super) async fn end_held(
    tx: &mut SqliteConnection,
    held: &Held,
    ending: &Ending<'_>,
    now: i64,
) -> sqlx::Result<Job> {
    let after = retry::after(&held.job, ending);
    let (result, report) = match ending {
        Ending::Done { result, report } => (Some(*result), *report),
        Ending::Failed { report, .. } | Ending::DeviceLost { report, .. } => (None, *report),
        _ => (None, None),
    };
    close_attempt(tx, held.attempt, &after, now).await?;
    let report = report.map(report_json).transpose()?;
    let job: Job = sqlx::query_as(
        "UPDATE jobs SET state = ?2, attempts = ?3, not_before_ms = ?4, withdrawn = ?5, reason_code = ?6,
                         reason_message = ?7, finished_at_ms = ?8, report = coalesce(?9, report),
                         result = coalesce(?10, result),
                         replaced_by = CASE WHEN ?10 IS NULL THEN replaced_by END,
                         device_losses = ?11, cancel_requested = 0, lease_owner = NULL, lease_until_ms = NULL, attempt = NULL,
                         publish_temp = NULL, publish_final = NULL, publish_digest = NULL
         WHERE id = ?1
         RETURNING *",
    )
    .bind(held.job.id.0)
    .bind(after.state.as_str())
    .bind(after.attempts)
    .bind(after.not_before.as_millisecond())
    .bind(after.withdrawn)
    .bind(after.reason.as_ref().map(|reason| reason.code.as_str()))
    .bind(after.reason.as_ref().map(|reason| reason.message.as_str()))
    .bind(after.state.shown().is_final().then_some(now))
    .bind(report)
    .bind(result.map(bytes))
    .bind(after.device_losses)
    .fetch_one(&mut *tx)
    .await?;
    assert!(
        !matches!(job.state, State::Failed | State::Skipped | State::Cancelled) || job.reason.is_some(),
        "I10: job {} ended without a reason",
        job.id
    );
    if let Some(result) = result {
        replace_earlier(tx, &job, result, now).await?;
    }
    if job.withdrawn {
        sqlx::query("DELETE FROM sources WHERE job = ?1")
            .bind(job.id.0)
            .execute(tx)
            .await?;
    }
    Ok(job)
}

async fn close_attempt(tx: &mut SqliteConnection, id: i64, after: &After, now: i64) -> sqlx::Result<()> {
    let reason = after.attempt_reason.as_ref();
    sqlx::query(
        "UPDATE attempts SET finished_at_ms = ?2, outcome = ?3, reason_code = ?4, reason_message = ?5
         WHERE id = ?1",
    )
    .bind(id)
    .bind(now)
    .bind(after.outcome)
    .bind(reason.map(|reason| reason.code.as_str()))
    .bind(reason.map(|reason| reason.message.as_str()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes whose results this one took the place of. If the very source has the older content again by now
/// (A → B → A while B was publishing), the older job is done over: its result is what should lie there.
async fn replace_earlier(tx: &mut SqliteConnection, job: &Job, result: &Path, now: i64) -> sqlx::Result<()> {
    let late: Vec<(i64, String, bool)> = sqlx::query_as(
        "UPDATE jobs SET replaced_by = ?1
         WHERE output_root = ?2 AND result = ?3 AND id <> ?1 AND replaced_by IS NULL
         RETURNING id, state, EXISTS (SELECT 1 FROM sources
                                      WHERE folder = ?4 AND source = ?5 AND job = jobs.id)",
    )
    .bind(job.id.0)
    .bind(bytes(&job.output_root))
    .bind(bytes(result))
    .bind(&job.folder)
    .bind(bytes(&job.source))
    .fetch_all(&mut *tx)
    .await?;
    for (id, state, wanted) in late {
        if wanted && state == State::Done.as_str() {
            requeue(tx, JobId(id), now).await?;
        }
    }
    Ok(())
}
