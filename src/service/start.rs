//! Owns the minute before the first claim: the instance lock, the ledger, what a crash left behind. Never starts
//! a task.

use std::path::Path;
use std::sync::Arc;

use super::adopt::adopt;
use super::environment;
use super::error::ServiceError;
use super::shared::{Shared, blocking, lock};
use super::watchdog;
use super::worker::sidecars;
use crate::config::{Config, Folder};
use crate::error::Fault;
use crate::inference::{Catalogue, Runtime};
use crate::queue::{self, Interrupted};

/// Whether there is an ONNX Runtime to load later. Loads nothing: an idle service stays small.
///
/// # Errors
/// [`ServiceError::Library`] with the one command that installs it.
pub fn find_runtime(config: &Config) -> Result<(), ServiceError> {
    Runtime::locate(config.runtime.library.as_deref())?;
    Ok(())
}

/// Whether every folder's model can be used. A file that was never seen is examined now: whoever named it is there to
/// read what is wrong with it.
///
/// # Errors
/// [`ServiceError::Model`] for the first that cannot.
pub async fn check_models(catalogue: &Arc<Catalogue>, config: &Config) -> Result<(), ServiceError> {
    for folder in &config.folders {
        let (catalogue, model) = (Arc::clone(catalogue), folder.recipe.model.clone());
        watchdog::examining(&model);
        blocking(move || catalogue.card(&model))
            .await
            .map_err(|error| ServiceError::Model {
                folder: folder.name.clone(),
                error,
            })?;
    }
    Ok(())
}

/// Brings ledger and folders to where work can begin: jobs that a dead process held go back or are given up,
/// renames that were cut short are finished, our own leftovers are removed.
///
/// # Errors
/// The ledger cannot be used.
pub async fn recover(shared: &Arc<Shared>) -> Result<(), ServiceError> {
    for job in queue::recover(&shared.store, &shared.owner).await? {
        tracing::warn!(
            job = job.id.0,
            state = job.state.as_str(),
            attempts = job.attempts,
            "found half done"
        );
        shared.announce(&job).await;
    }
    let (publisher, state_dir) = (shared.publisher.clone(), shared.config().state_dir.clone());
    blocking(move || publisher.sweep(&state_dir)).await?;
    for folder in &shared.config().folders {
        open_folder(shared, folder).await;
    }
    Ok(())
}

/// Jobs whose files are written again at a start, of each folder: those that ended last. Files are written one by one,
/// right after the ledger, so a crash leaves a handful behind.
const RETOLD: u32 = 100;

/// Has the job files written that the last run may not have come to: of what ended last, and of what waits without one.
///
/// # Errors
/// The ledger cannot be used.
pub async fn retell(shared: &Arc<Shared>) -> Result<(), ServiceError> {
    for folder in &shared.config().folders {
        for job in shared.store.recent(&folder.name, RETOLD).await? {
            shared.announce_later(job.id);
        }
        let waiting = shared.store.waiting(&folder.name).await?;
        let Some(files) = shared.job_files(&folder.name, folder.output.clone()) else {
            continue;
        };
        let untold = blocking(move || {
            let is_told = |source: &Path| files.job_path(source).metadata().is_ok_and(|meta| meta.len() > 0);
            let untold = waiting.into_iter().filter(|(_, source)| !is_told(source));
            untold.map(|(job, _)| job).collect::<Vec<_>>()
        });
        for job in untold.await {
            shared.announce_later(job);
        }
    }
    Ok(())
}

/// Makes a folder ready for its first job, or blocks it. Called at the start, and again when a block may be over.
pub async fn open_folder(shared: &Arc<Shared>, folder: &Folder) {
    match try_open_folder(shared, folder).await {
        Ok(()) => shared.unblock(&folder.name),
        Err(fault) => shared.block(&folder.name, &fault.reason),
    }
}

async fn try_open_folder(shared: &Arc<Shared>, folder: &Folder) -> Result<(), Fault> {
    environment::prepare_output(folder)?;
    // Before anything that may block the folder for long: it needs neither the input nor free space, and no picture is
    // taken in before.
    environment::output_is_there(folder)?;
    adopt(shared, folder).await?;
    environment::check(shared.fs.as_ref(), folder, shared.config().min_free_bytes)?;
    environment::try_writing(shared.fs.as_ref(), folder)?;
    finish_publishing(shared, &folder.output).await?;
    let (publisher, root) = (shared.publisher.clone(), folder.output.clone());
    let swept = blocking(move || publisher.sweep(&root)).await?;
    if swept > 0 {
        tracing::info!(
            folder = folder.name,
            files = swept,
            "temporary files of an earlier run removed"
        );
    }
    // A look at every finished source is not what a start should wait for.
    lock(&shared.opened_folders).insert(folder.name.clone());
    shared.opened.notify_one();
    Ok(())
}

/// Finishes every rename below `root` that was cut short.
async fn finish_publishing(shared: &Arc<Shared>, root: &Path) -> Result<(), Fault> {
    let interrupted = shared.store.interrupted_publishing(&shared.owner).await?;
    for Interrupted { job, publishing } in interrupted {
        if job.output_root != root {
            continue;
        }
        let (publisher, root) = (shared.publisher.clone(), root.to_owned());
        let resolution = blocking(move || publisher.recover(&root, &publishing)).await?;
        let job = shared.store.resolve_interrupted(job.id, resolution).await?;
        tracing::warn!(
            job = job.id.0,
            state = job.state.as_str(),
            "publishing had been cut short"
        );
        let config = shared.config();
        if let (Some(result), Some(folder)) = (&job.result, config.folder(&job.folder)) {
            for warning in sidecars(shared, &job, folder, result, &job.report).await {
                tracing::warn!(job = job.id.0, "{warning}");
            }
        }
        shared.announce(&job).await;
    }
    Ok(())
}
