//! Owns I5 on the side of the service: when a source may be disposed of. Never removes anything itself, publish does.

use super::shared::{Shared, blocking};
use crate::config::Folder;
use crate::queue::Job;

/// I5: called with a job whose result is published and recorded, and with no other. A source that cannot be
/// disposed of stays where it is; the next start tries again.
pub(super) async fn dispose(shared: &Shared, job: &Job, folder: &Folder) {
    assert!(
        job.result.is_some() && job.state.shown().is_final(),
        "I5: job {} has no recorded result",
        job.id
    );
    let publisher = shared.publisher.clone();
    let (input, source) = (folder.input.clone(), job.source.clone());
    let (identity, how) = (job.identity, folder.on_success);
    match blocking(move || publisher.dispose(&input, &source, &identity, how)).await {
        Ok(_) => {}
        Err(error) => tracing::warn!(job = job.id.0, "{error}"),
    }
}
