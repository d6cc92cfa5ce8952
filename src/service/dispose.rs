//! Owns I5 on the side of the service: when a source may be disposed of. Never removes anything itself, publish does.

use super::shared::{Shared, blocking};
use crate::config::{Folder, OnSuccess};
use crate::publish::Disposal;
use crate::queue::{Job, JobId, State};

/// I5: called with a job whose result is published and recorded, and with no other. A source that cannot be
/// disposed of stays where it is; the next start tries again.
pub(super) async fn dispose(shared: &Shared, job: &Job, folder: &Folder) {
    assert!(
        job.result.is_some() && job.state == State::Done,
        "I5: job {} has no recorded result",
        job.id
    );
    let publisher = shared.publisher.clone();
    let (input, source) = (folder.input.clone(), job.source.clone());
    let (identity, how) = (job.identity, folder.on_success);
    match blocking(move || publisher.dispose(&input, &source, &identity, how)).await {
        // Nothing of it lies there any more: the next start need not look.
        Ok(Disposal::Moved { .. } | Disposal::Trashed | Disposal::Deleted) => {
            if let Err(error) = shared.store.forget_source(&job.folder, &job.source, job.id).await {
                tracing::debug!(job = job.id.0, "{error}");
            }
        }
        Ok(Disposal::Kept | Disposal::Changed) => {}
        Err(error) => tracing::warn!(job = job.id.0, "{error}"),
    }
}

/// As [`dispose`], some time after the job was recorded: its source lies there again, or could not be disposed of then.
/// Asks anew what the ledger says, and whether the result is still there: whoever took it away may want the source, and
/// the last copy is nobody's to remove.
pub(super) async fn dispose_late(shared: &Shared, id: JobId) {
    let job = match shared.store.get(id).await {
        Ok(Some(job)) => job,
        Ok(None) => return,
        Err(error) => return tracing::warn!(job = id.0, "{error}"),
    };
    let config = shared.config();
    let Some(folder) = config.folder(&job.folder) else {
        return;
    };
    if folder.on_success == OnSuccess::Keep || job.state != State::Done || job.replaced_by.is_some() {
        return;
    }
    let Some(result) = job.result.as_ref().map(|result| job.output_root.join(result)) else {
        return;
    };
    if blocking(move || result.is_file()).await {
        dispose(shared, &job, folder).await;
    }
}
