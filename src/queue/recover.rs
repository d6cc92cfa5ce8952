//! Owns the first minute after a crash: what becomes of rows that a dead process held. Never touches a file;
//! publishing that was cut short is handed to `publish`, which can look.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::claim::end_held;
use super::error::QueueError;
use super::job::{Interrupted, Job, JobId, Resolution};
use super::retry::{Draw, Ending, backoff};
use super::row::Held;
use super::store::{At, Store};

/// Ends every `running` row of another owner: queued again, failed as `crashed_service` with its last attempt
/// spent, or cancelled where that was asked. Returns the jobs as they are now. To be called before the first
/// claim, with the instance lock held: every other owner is dead then. `owner` must be a name that no earlier
/// process had, which a process number alone is not: in a container it is the same at every start.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn recover(store: &Store, owner: &str) -> Result<Vec<Job>, QueueError> {
    let now = store.now_ms();
    let mut writer = store.writer().await?;
    let mut tx = store.begin(&mut writer).await?;
    let orphans: Vec<Held> = sqlx::query_as(
        "SELECT * FROM jobs INDEXED BY jobs_held WHERE state = 'running' AND lease_owner <> ?1 ORDER BY id",
    )
    .bind(owner)
    .fetch_all(&mut *tx)
    .await
    .at(store)?;
    let mut recovered = Vec::with_capacity(orphans.len());
    for orphan in &orphans {
        let ending = store.crashed(orphan);
        recovered.push(end_held(&mut tx, orphan, &ending, now).await.at(store)?);
    }
    tx.commit().await.at(store)?;
    Ok(recovered)
}

impl Store {
    /// The jobs that another owner was publishing when it died. Each is to be given to
    /// [`Store::resolve_interrupted`] after a look at the files: final there with the digest ⇒ done; staged
    /// file there ⇒ rename, then done; neither ⇒ requeue.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn interrupted_publishing(&self, owner: &str) -> Result<Vec<Interrupted>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as(
            "SELECT * FROM jobs INDEXED BY jobs_held
             WHERE state = 'publishing' AND lease_owner <> ?1 ORDER BY id",
        )
        .bind(owner)
        .fetch_all(&mut *reader)
        .await
        .at(self)
    }

    /// Ends an interrupted publishing. A requeue is a crash: with the last attempt spent, the job fails.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] where the job is not publishing; those of the database.
    pub async fn resolve_interrupted(&self, id: JobId, resolution: Resolution) -> Result<Job, QueueError> {
        let now = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = self.begin(&mut writer).await?;
        let held = publishing(&mut tx, id)
            .await
            .at(self)?
            .ok_or(QueueError::LeaseLost { job: id })?;
        let ending = match &resolution {
            // The report was stored with the intent to publish.
            Resolution::Done { result } => Ending::Done { result, report: None },
            Resolution::Requeue => self.crashed(&held),
        };
        let job = end_held(&mut tx, &held, &ending, now).await.at(self)?;
        tx.commit().await.at(self)?;
        Ok(job)
    }

    fn crashed(&self, held: &Held) -> Ending<'static> {
        let (id, attempts) = (held.job.id, held.job.attempts);
        let wait = backoff(attempts, Draw::of(&held.owner, id, attempts));
        let not_before = self.now().saturating_add(wait);
        Ending::Crashed {
            not_before: not_before.unwrap_or(Timestamp::MAX),
        }
    }
}

async fn publishing(tx: &mut SqliteConnection, id: JobId) -> sqlx::Result<Option<Held>> {
    sqlx::query_as("SELECT * FROM jobs WHERE id = ?1 AND state = 'publishing'")
        .bind(id.0)
        .fetch_optional(tx)
        .await
}
