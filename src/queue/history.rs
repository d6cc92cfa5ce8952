//! Owns what the ledger forgets, and when: sources that were disposed of, and jobs whose sources have been gone for
//! longer than the history is kept. Never removes a job that waits or runs, nor one whose source may still lie there:
//! its row is what keeps that file from being upscaled again. Never looks at a file; it is told.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::Row;

use super::error::QueueError;
use super::job::{Job, JobId, Known};
use super::row::{KnownSource, bytes};
use super::store::{At, Store};

/// Rows of one page, and of one transaction that removes: tens of milliseconds, so that a claim or a person's command
/// never waits long for the writer.
pub const PAGE: u32 = 500;

/// What lies, or lay, at a source path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// The path below the input folder.
    pub source: PathBuf,
    /// What the ledger knows of it.
    pub known: Known,
    /// Since when it is known not to be there any more.
    pub gone_since: Option<Timestamp>,
}

/// Where the next page of [`Store::expire`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    finished_at_ms: i64,
    id: i64,
}

impl Store {
    /// A page of a folder's known sources, by path, behind `after`; empty at the end.
    ///
    /// # Errors
    /// Those of the database; so for all of these.
    pub async fn lying(&self, folder: &str, after: Option<&Path>) -> Result<Vec<Lying>, QueueError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(
            "SELECT s.*, j.content, j.recipe, j.state FROM sources s JOIN jobs j ON j.id = s.job
             WHERE s.folder = ?1 AND s.source > ?2 ORDER BY s.source LIMIT ?3",
        )
        .bind(folder)
        .bind(after.map(bytes).unwrap_or_default())
        .bind(PAGE)
        .fetch_all(&mut *reader)
        .await
        .at(self)?;
        let lying = |row| -> sqlx::Result<Lying> {
            let KnownSource { source, known } = sqlx::FromRow::from_row(&row)?;
            let gone_since: Option<i64> = row.try_get("gone_since_ms")?;
            Ok(Lying {
                source,
                known,
                gone_since: gone_since.map(super::row::timestamp).transpose()?,
            })
        };
        rows.into_iter().map(lying).collect::<sqlx::Result<_>>().at(self)
    }

    /// Notes which of these sources are there now and which are not; how long one is gone counts from the first time
    /// that it is not found. Only where the caller saw the input folder itself: an unmounted disk is no loss.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn mark_gone(&self, folder: &str, seen: &[(PathBuf, bool)]) -> Result<(), QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        for (source, is_there) in seen {
            sqlx::query("UPDATE sources SET gone_since_ms = ?3 WHERE folder = ?1 AND source = ?2")
                .bind(folder)
                .bind(bytes(source))
                .bind((!is_there).then_some(now))
                .execute(&mut *tx)
                .await
                .at(self)?;
        }
        tx.commit().await.at(self)
    }

    /// Forgets that a job's source lies there: it was moved away or removed after its result was recorded. The job
    /// stays, and so does the memory of its content.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_source(&self, folder: &str, source: &Path, job: JobId) -> Result<(), QueueError> {
        let mut writer = self.writer().await?;
        sqlx::query("DELETE FROM sources WHERE folder = ?1 AND source = ?2 AND job = ?3")
            .bind(folder)
            .bind(bytes(source))
            .bind(job.0)
            .execute(&mut *writer)
            .await
            .at(self)?;
        Ok(())
    }

    /// Removes a page of a folder's jobs that finished before `before` and whose sources have been gone since before
    /// it. Returns them as they were, and where the next page begins; `None` at the end. The page is chosen by a
    /// reader: however many old jobs stay, the writer is held for those that go.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn expire(
        &self,
        folder: &str,
        before: Timestamp,
        from: Option<Cursor>,
    ) -> Result<(Vec<Job>, Option<Cursor>), QueueError> {
        let before = before.as_millisecond();
        let (page, next) = self.expiring(folder, before, from).await?;
        let mut removed = Vec::new();
        if page.is_empty() {
            return Ok((removed, next));
        }
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        for id in page {
            // Asked again: the content may have come back since the page was read.
            let job: Option<Job> = sqlx::query_as(
                "DELETE FROM jobs WHERE id = ?1 AND finished_at_ms < ?2
                 AND NOT EXISTS (SELECT 1 FROM sources WHERE job = ?1
                                 AND (gone_since_ms IS NULL OR gone_since_ms >= ?2))
                 RETURNING *",
            )
            .bind(id)
            .bind(before)
            .fetch_optional(&mut *tx)
            .await
            .at(self)?;
            removed.extend(job);
        }
        tx.commit().await.at(self)?;
        Ok((removed, next))
    }

    /// The jobs of a page that may go, and where the next page begins.
    async fn expiring(
        &self,
        folder: &str,
        before: i64,
        from: Option<Cursor>,
    ) -> Result<(Vec<i64>, Option<Cursor>), QueueError> {
        let from = from.unwrap_or(Cursor {
            finished_at_ms: i64::MIN,
            id: i64::MIN,
        });
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64, bool)> = sqlx::query_as(
            "SELECT id, finished_at_ms,
                    NOT EXISTS (SELECT 1 FROM sources WHERE job = jobs.id
                                AND (gone_since_ms IS NULL OR gone_since_ms >= ?2))
             FROM jobs INDEXED BY jobs_recent
             WHERE folder = ?1 AND finished_at_ms < ?2 AND (finished_at_ms, id) > (?3, ?4)
             ORDER BY finished_at_ms, id LIMIT ?5",
        )
        .bind(folder)
        .bind(before)
        .bind(from.finished_at_ms)
        .bind(from.id)
        .bind(PAGE)
        .fetch_all(&mut *reader)
        .await
        .at(self)?;
        let next = rows
            .last()
            .map(|&(id, finished_at_ms, _)| Cursor { finished_at_ms, id });
        let may_go = rows.into_iter().filter(|(.., may_go)| *may_go);
        Ok((may_go.map(|(id, ..)| id).collect(), next))
    }

    /// Whether any job of that source path is left.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_job_of(&self, folder: &str, source: &Path) -> Result<bool, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_source WHERE folder = ?1 AND source = ?2)",
        )
        .bind(folder)
        .bind(bytes(source))
        .fetch_one(&mut *reader)
        .await
        .at(self)
    }
}
