//! Owns what a person does to the queue: retry, cancel, remove, pause, rescan. Works on the ledger whether or not a
//! service runs.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::admit::requeue;
use super::error::QueueError;
use super::job::{Job, JobId, Pause, State, Steered};
use super::retry::cancelled_reason;
use super::row::timestamp;
use super::store::{At, Store};

impl Store {
    /// Queues failed, skipped and cancelled jobs again, with fresh attempts; others are left as they are.
    ///
    /// # Errors
    /// Those of the database; then nothing is changed.
    pub async fn retry(&self, ids: &[JobId]) -> Result<Vec<(JobId, Steered)>, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let mut steered = Vec::with_capacity(ids.len());
        for &id in ids {
            steered.push((id, retry_one(&mut tx, id, now).await.at(self)?));
        }
        tx.commit().await.at(self)?;
        Ok(steered)
    }

    /// Queues every failed job again, with fresh attempts. Returns them as they are now.
    ///
    /// # Errors
    /// Those of the database; then nothing is changed.
    pub async fn retry_all_failed(&self) -> Result<Vec<Job>, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let failed: Vec<i64> = sqlx::query_scalar("SELECT id FROM jobs WHERE state = 'failed' ORDER BY id")
            .fetch_all(&mut *tx)
            .await
            .at(self)?;
        let mut jobs = Vec::with_capacity(failed.len());
        for id in failed {
            jobs.push(requeue(&mut tx, JobId(id), now).await.at(self)?);
        }
        tx.commit().await.at(self)?;
        Ok(jobs)
    }

    /// Calls jobs off: waiting ones at once, running ones by asking their worker. A job that is publishing is
    /// past the point where it could be stopped.
    ///
    /// # Errors
    /// Those of the database; then nothing is changed.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<Vec<(JobId, Steered)>, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let mut steered = Vec::with_capacity(ids.len());
        for &id in ids {
            steered.push((id, cancel_one(&mut tx, id, now).await.at(self)?));
        }
        tx.commit().await.at(self)?;
        Ok(steered)
    }

    /// Removes finished jobs with their history; their numbers are not given again. A source that still lies there is
    /// new to the ledger then. Waiting and running jobs are left as they are: they are cancelled first.
    ///
    /// # Errors
    /// Those of the database; then nothing is changed.
    pub async fn remove(&self, ids: &[JobId]) -> Result<Vec<(JobId, Steered)>, QueueError> {
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let mut steered = Vec::with_capacity(ids.len());
        for &id in ids {
            steered.push((id, remove_one(&mut tx, id).await.at(self)?));
        }
        tx.commit().await.at(self)?;
        Ok(steered)
    }

    /// Asks the running service for a scan of all folders.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ask_rescan(&self) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        sqlx::query("INSERT OR REPLACE INTO controls (name, since_ms) VALUES ('rescan', ?1)")
            .bind(self.now_ms())
            .execute(&mut *writer)
            .await
            .at(self)?;
        Ok(())
    }

    /// What is asked of the running service: the pause that holds, and whether a rescan waits. Asked every second, so
    /// it is one read.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn asked(&self) -> Result<(Option<Pause>, bool), QueueError> {
        let now = self.now_ms();
        let mut reader = self.reader().await?;
        let rows: Vec<(String, i64, Option<i64>)> =
            sqlx::query_as("SELECT name, since_ms, until_ms FROM controls")
                .fetch_all(&mut *reader)
                .await
                .at(self)?;
        let (mut paused, mut rescan) = (None, false);
        for (name, since, until) in rows {
            match name.as_str() {
                "pause" if until.is_none_or(|until| until > now) => {
                    paused = Some(pause((since, until)).at(self)?);
                }
                "rescan" => rescan = true,
                _ => {}
            }
        }
        Ok((paused, rescan))
    }

    /// Takes the wish for a rescan: it is the caller's to make now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_rescan(&self) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        sqlx::query("DELETE FROM controls WHERE name = 'rescan'")
            .execute(&mut *writer)
            .await
            .at(self)?;
        Ok(())
    }

    /// Pauses claiming, until that time or until [`Store::resume`]; survives a restart. A pause that holds
    /// already keeps its beginning.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn pause(&self, until: Option<Timestamp>) -> Result<Pause, QueueError> {
        let mut writer = self.writer().await?;
        let stored: (i64, Option<i64>) = sqlx::query_as(
            "INSERT INTO controls (name, since_ms, until_ms) VALUES ('pause', ?1, ?2)
             ON CONFLICT (name) DO UPDATE SET
                 since_ms = CASE WHEN until_ms <= ?1 THEN excluded.since_ms ELSE since_ms END,
                 until_ms = excluded.until_ms
             RETURNING since_ms, until_ms",
        )
        .bind(self.now_ms())
        .bind(until.map(Timestamp::as_millisecond))
        .fetch_one(&mut *writer)
        .await
        .at(self)?;
        pause(stored).at(self)
    }

    /// Ends a pause; whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn resume(&self) -> Result<bool, QueueError> {
        let mut writer = self.writer().await?;
        let until: Option<Option<i64>> =
            sqlx::query_scalar("DELETE FROM controls WHERE name = 'pause' RETURNING until_ms")
                .fetch_optional(&mut *writer)
                .await
                .at(self)?;
        let now = self.now_ms();
        Ok(until.is_some_and(|until| until.is_none_or(|until| until > now)))
    }

    /// The pause that holds now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn paused(&self) -> Result<Option<Pause>, QueueError> {
        let mut reader = self.reader().await?;
        let row: Option<(i64, Option<i64>)> = sqlx::query_as(
            "SELECT since_ms, until_ms FROM controls
             WHERE name = 'pause' AND (until_ms IS NULL OR until_ms > ?1)",
        )
        .bind(self.now_ms())
        .fetch_optional(&mut *reader)
        .await
        .at(self)?;
        row.map(pause).transpose().at(self)
    }
}

fn pause((since, until): (i64, Option<i64>)) -> sqlx::Result<Pause> {
    Ok(Pause {
        since: timestamp(since)?,
        until: until.map(timestamp).transpose()?,
    })
}

async fn find(tx: &mut SqliteConnection, id: JobId) -> sqlx::Result<Option<Job>> {
    sqlx::query_as("SELECT * FROM jobs WHERE id = ?1")
        .bind(id.0)
        .fetch_optional(tx)
        .await
}

async fn retry_one(tx: &mut SqliteConnection, id: JobId, now: i64) -> sqlx::Result<Steered> {
    let Some(job) = find(tx, id).await? else {
        return Ok(Steered::Unknown);
    };
    match job.state {
        State::Failed | State::Skipped | State::Cancelled => {
            Ok(Steered::Changed(Box::new(requeue(tx, id, now).await?)))
        }
        State::Queued | State::Running | State::Publishing | State::Done => {
            Ok(Steered::Unchanged(job.state.shown()))
        }
    }
}

async fn remove_one(tx: &mut SqliteConnection, id: JobId) -> sqlx::Result<Steered> {
    let Some(job) = find(tx, id).await? else {
        return Ok(Steered::Unknown);
    };
    if !job.state.shown().is_final() {
        return Ok(Steered::Unchanged(job.state.shown()));
    }
    sqlx::query("DELETE FROM jobs WHERE id = ?1")
        .bind(id.0)
        .execute(tx)
        .await?;
    Ok(Steered::Changed(Box::new(job)))
}

async fn cancel_one(tx: &mut SqliteConnection, id: JobId, now: i64) -> sqlx::Result<Steered> {
    let Some(job) = find(tx, id).await? else {
        return Ok(Steered::Unknown);
    };
    match job.state {
        State::Queued => {
            let reason = cancelled_reason(&job.source);
            let job: Job = sqlx::query_as(
                "UPDATE jobs SET state = 'cancelled', reason_code = ?2, reason_message = ?3, finished_at_ms = ?4
                 WHERE id = ?1 RETURNING *",
            )
            .bind(id.0)
            .bind(reason.code.as_str())
            .bind(reason.message)
            .bind(now)
            .fetch_one(tx)
            .await?;
            Ok(Steered::Changed(Box::new(job)))
        }
        State::Running => {
            // A person's word outlasts the content's coming and going: no longer a mere withdrawal.
            let job: Job = sqlx::query_as(
                "UPDATE jobs SET cancel_requested = 1, withdrawn = 0 WHERE id = ?1 RETURNING *",
            )
            .bind(id.0)
            .fetch_one(tx)
            .await?;
            Ok(Steered::Requested(Box::new(job)))
        }
        state => Ok(Steered::Unchanged(state.shown())),
    }
}
