//! Owns the questions that people, status and publish ask of the ledger. Never writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::error::QueueError;
use super::job::{Attempt, Counts, Filter, Job, JobId, ResultOwner, State};
use super::row::{bytes, path, state, timestamp};
use super::store::{At, Store};

impl Store {
    /// The job of that number.
    ///
    /// # Errors
    /// Those of the database; so for all of these.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as("SELECT * FROM jobs WHERE id = ?1")
            .bind(id.0)
            .fetch_optional(&mut *reader)
            .await
            .at(self)
    }

    /// The jobs that pass the filter, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Job>, QueueError> {
        let mut reader = self.reader().await?;
        list_query(filter)
            .build_query_as()
            .fetch_all(&mut *reader)
            .await
            .at(self)
    }

    /// The jobs that are being worked on, oldest claim first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn running(&self) -> Result<Vec<Job>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as("SELECT * FROM jobs WHERE lease_owner IS NOT NULL ORDER BY started_at_ms, id")
            .fetch_all(&mut *reader)
            .await
            .at(self)
    }

    /// The last `n` finished jobs of a folder, newest first; without those that a newer job took over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recent(&self, folder: &str, n: u32) -> Result<Vec<Job>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as(
            "SELECT * FROM jobs WHERE folder = ?1 AND finished_at_ms IS NOT NULL AND withdrawn = 0
             ORDER BY finished_at_ms DESC, id DESC LIMIT ?2",
        )
        .bind(folder)
        .bind(n)
        .fetch_all(&mut *reader)
        .await
        .at(self)
    }

    /// The jobs of a folder that wait for their turn, with their sources.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn waiting(&self, folder: &str) -> Result<Vec<(JobId, PathBuf)>, QueueError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(
            "SELECT id, source FROM jobs INDEXED BY jobs_folder WHERE folder = ?1 AND state = 'queued'",
        )
        .bind(folder)
        .fetch_all(&mut *reader)
        .await
        .at(self)?;
        rows.iter()
            .map(|row| Ok((JobId(row.try_get("id")?), path(row, "source")?)))
            .collect::<sqlx::Result<_>>()
            .at(self)
    }

    /// A job's attempts, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as("SELECT * FROM attempts WHERE job = ?1 ORDER BY id")
            .bind(id.0)
            .fetch_all(&mut *reader)
            .await
            .at(self)
    }

    /// How many jobs each folder has in each state; folders without jobs are absent. Kept by triggers, so that asking
    /// costs the same whatever the ledger holds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts(&self) -> Result<BTreeMap<String, Counts>, QueueError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT folder, state, n FROM job_counts WHERE n > 0")
                .fetch_all(&mut *reader)
                .await
                .at(self)?;
        let mut counts = BTreeMap::<String, Counts>::new();
        for (folder, word, n) in rows {
            let shown = state(&word).at(self)?.shown();
            *counts.entry(folder).or_default().of(shown) += n.cast_unsigned();
        }
        Ok(counts)
    }

    /// The earliest time at which any waiting job is due, be it in the past; `None` where none waits. Knows
    /// nothing of pauses and excluded folders: a worker that claims nothing although something is due must wait
    /// for one of these to change.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, QueueError> {
        let mut reader = self.reader().await?;
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT min(not_before_ms) FROM jobs INDEXED BY jobs_due WHERE state = 'queued'",
        )
        .fetch_one(&mut *reader)
        .await
        .at(self)?;
        due.map(timestamp).transpose().at(self)
    }

    /// When the job that waits longest was queued; `None` where none waits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn oldest_queued_at(&self) -> Result<Option<Timestamp>, QueueError> {
        let mut reader = self.reader().await?;
        let oldest: Option<i64> = sqlx::query_scalar(
            "SELECT min(queued_at_ms) FROM jobs INDEXED BY jobs_claim WHERE state = 'queued'",
        )
        .fetch_one(&mut *reader)
        .await
        .at(self)?;
        oldest.map(timestamp).transpose().at(self)
    }

    /// Where the job's source published last for the same planned output (below the output folder), as long as
    /// nothing else took that place: the file that new content under the old name may replace. Not the same
    /// as the planned path, which may have been taken by something else then. A result that another path with
    /// the same content counts on is not among them: it stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn own_result(&self, job: &Job) -> Result<Option<PathBuf>, QueueError> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(
            "SELECT result FROM jobs INDEXED BY jobs_source
             WHERE folder = ?1 AND source = ?2 AND output_root = ?3 AND output = ?4
               AND result IS NOT NULL AND replaced_by IS NULL
               AND NOT EXISTS (SELECT 1 FROM sources
                               WHERE sources.job = jobs.id AND (sources.folder, sources.source) <> (?1, ?2))
             ORDER BY started_at_ms DESC, id DESC LIMIT 1",
        )
        .bind(&job.folder)
        .bind(bytes(&job.source))
        .bind(bytes(&job.output_root))
        .bind(bytes(&job.output))
        .fetch_optional(&mut *reader)
        .await
        .at(self)?;
        row.map(|row| path(&row, "result")).transpose().at(self)
    }

    /// Whose result lies at `output_root`/`result`; `None` for a file that we did not publish.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn owner_of_result(
        &self,
        output_root: &Path,
        result: &Path,
    ) -> Result<Option<ResultOwner>, QueueError> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(
            "SELECT id, folder, source FROM jobs
             WHERE output_root = ?1 AND result = ?2 AND replaced_by IS NULL",
        )
        .bind(bytes(output_root))
        .bind(bytes(result))
        .fetch_optional(&mut *reader)
        .await
        .at(self)?;
        row.map(|row| {
            Ok(ResultOwner {
                job: JobId(row.try_get("id")?),
                folder: row.try_get("folder")?,
                source: path(&row, "source")?,
            })
        })
        .transpose()
        .at(self)
    }
}

/// Put together from what is asked: a statement that fits every filter (`?1 IS NULL OR …`) fits no index. The newest of
/// each state come from the index in the order of rows, and the newest of those are the answer: it reads as many rows
/// as it returns, times the states at most.
fn list_query(filter: &Filter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM jobs");
    if filter.state.is_some() || filter.folder.is_some() {
        query.push(" WHERE id IN (");
        let asked = State::ALL.into_iter();
        let asked = asked.filter(|state| filter.state.is_none_or(|shown| state.shown() == shown));
        for (index, state) in asked.enumerate() {
            query.push(if index > 0 { " UNION ALL " } else { "" });
            match &filter.folder {
                Some(folder) => query
                    .push("SELECT * FROM (SELECT id FROM jobs INDEXED BY jobs_folder WHERE folder = ")
                    .push_bind(folder.clone())
                    .push(" AND state = "),
                None => query.push("SELECT * FROM (SELECT id FROM jobs INDEXED BY jobs_state WHERE state = "),
            };
            query.push_bind(state.as_str()).push(" ORDER BY id DESC");
            push_limit(&mut query, filter);
            query.push(")");
        }
        query.push(")");
    }
    query.push(" ORDER BY id DESC");
    push_limit(&mut query, filter);
    query
}

fn push_limit(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    if let Some(limit) = filter.limit {
        query.push(" LIMIT ").push_bind(limit);
    }
}
