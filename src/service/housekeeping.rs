//! Owns what can wait: sources of finished jobs that are still to be disposed of, and the history that is no longer
//! kept (docs/decisions/0016). In small steps, after everything else; never before READY, and never where a folder
//! cannot be looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::dispose::dispose_late;
use super::shared::{Shared, blocking, lock};
use crate::clock::Monotonic;
use crate::config::{Folder, OnSuccess};
use crate::fs::FileIdentity;
use crate::queue::{Lying, QueueError};
use crate::report::JobState;

/// How often the history is looked through: it is counted in days.
const HISTORY_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Between two pages, so that nobody who works notices.
const PAGE_PAUSE: Duration = Duration::from_millis(20);

/// Disposes and forgets until dropped; what was begun goes on at the next start.
pub async fn keep(shared: &Shared) {
    let mut looked_at = None::<Monotonic>;
    loop {
        dispose_of_rest(shared).await;
        let now = shared.clock.monotonic();
        let left = looked_at.map(|at| HISTORY_INTERVAL.saturating_sub(now.since(at)));
        if left.is_none_or(|left| left.is_zero()) {
            forget_all_old(shared).await;
            looked_at = Some(now);
        }
        // Woken for a folder that was opened, and for a source that was put back.
        let _ = timeout(left.unwrap_or(HISTORY_INTERVAL), shared.opened.notified()).await;
    }
}

async fn forget_all_old(shared: &Shared) {
    let config = shared.config();
    let Some(history) = config.history else { return };
    for folder in &config.folders {
        let name = folder.name.as_str();
        match forget_old(shared, folder, history).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(
                folder = name,
                jobs,
                "forgotten: their sources are gone for longer than `history`"
            ),
            Err(error) => tracing::warn!(folder = name, "cannot look through the history: {error}"),
        }
    }
}

/// Disposes of sources that lie there again although their jobs are done, and, in the folders that were opened since the
/// last call, of those whose jobs were recorded just before the power failed, or that could not be disposed of then.
pub async fn dispose_of_rest(shared: &Shared) {
    loop {
        let next = lock(&shared.undisposed).pop_first();
        let Some(job) = next else { break };
        dispose_late(shared, job).await;
    }
    loop {
        let next = lock(&shared.opened_folders).pop_first();
        let Some(name) = next else { return };
        let config = shared.config();
        let Some(folder) = config.folder(&name) else {
            continue;
        };
        if folder.on_success != OnSuccess::Keep
            && let Err(error) = dispose_of_finished(shared, folder).await
        {
            tracing::warn!(folder = name, "cannot look for finished sources: {error}");
        }
    }
}

async fn dispose_of_finished(shared: &Shared, folder: &Folder) -> Result<(), QueueError> {
    let mut after = None;
    loop {
        let page = shared.store.lying(&folder.name, after.as_deref()).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.source.clone());
        let finished = page
            .into_iter()
            .filter(|lying| lying.known.state == JobState::Done);
        for (lying, is_there) in look(folder, finished.collect()).await {
            if is_there == Some(lying.known.identity) {
                dispose_late(shared, lying.known.job).await;
            }
        }
        sleep(PAGE_PAUSE).await;
    }
}

/// Forgets the jobs of a folder whose sources have been gone for longer than `history`; how many.
async fn forget_old(shared: &Shared, folder: &Folder, history: Duration) -> Result<u64, QueueError> {
    if shared.blocks.reason(&folder.name).is_some() || !mark_gone(shared, folder).await? {
        return Ok(0);
    }
    let before = shared
        .clock
        .wall()
        .saturating_sub(history)
        .unwrap_or(Timestamp::MIN);
    let (mut from, mut forgotten) = (None, 0);
    loop {
        let (removed, next) = shared.store.expire(&folder.name, before, from).await?;
        for job in &removed {
            shared.forget_files(job).await;
        }
        forgotten += removed.len() as u64;
        if next.is_none() {
            return Ok(forgotten);
        }
        from = next;
        sleep(PAGE_PAUSE).await;
    }
}

/// Notes which known sources are there and which are not. `false`: the folder cannot be looked at, or nothing says
/// that it is the folder it was: a disk that is not mounted leaves an empty directory.
async fn mark_gone(shared: &Shared, folder: &Folder) -> Result<bool, QueueError> {
    let input = folder.input.clone();
    // The folder itself may be a link.
    let Ok(root) = blocking(move || input.metadata()).await else {
        return Ok(false);
    };
    let root = FileIdentity::of(&root);
    // Asked only where the device does not tell: it may take a look at every source.
    let mut is_anything_there = None;
    let mut after = None;
    loop {
        let page = shared.store.lying(&folder.name, after.as_deref()).await?;
        let Some(last) = page.last() else { return Ok(true) };
        after = Some(last.source.clone());
        let mut changed: Vec<(PathBuf, bool)> = Vec::new();
        for (lying, found) in look(folder, page).await {
            if found.is_some() == lying.gone_since.is_none() {
                continue;
            }
            let is_believed = found.is_some()
                || root.dev == lying.known.identity.dev
                || match is_anything_there {
                    Some(known) => known,
                    None => *is_anything_there.insert(finds_any(shared, folder).await?),
                };
            if is_believed {
                changed.push((lying.source, found.is_some()));
            }
        }
        if !changed.is_empty() {
            shared.store.mark_gone(&folder.name, &changed).await?;
        }
        sleep(PAGE_PAUSE).await;
    }
}

/// Whether any known source of the folder is there.
async fn finds_any(shared: &Shared, folder: &Folder) -> Result<bool, QueueError> {
    let mut after: Option<PathBuf> = None;
    loop {
        let page = shared.store.lying(&folder.name, after.as_deref()).await?;
        let Some(last) = page.last() else { return Ok(false) };
        after = Some(last.source.clone());
        if look(folder, page).await.iter().any(|(_, found)| found.is_some()) {
            return Ok(true);
        }
        sleep(PAGE_PAUSE).await;
    }
}

/// What lies at these paths now. A path that cannot be looked at counts as there: nothing is forgotten for it.
async fn look(folder: &Folder, page: Vec<Lying>) -> Vec<(Lying, Option<FileIdentity>)> {
    let input = folder.input.clone();
    blocking(move || {
        let found = |lying: Lying| {
            let found = identity_at(&input.join(&lying.source), &lying);
            (lying, found)
        };
        page.into_iter().map(found).collect()
    })
    .await
}

fn identity_at(path: &Path, lying: &Lying) -> Option<FileIdentity> {
    use std::io::ErrorKind as K;
    match FileIdentity::read(path) {
        Ok(identity) => Some(identity),
        Err(error) if matches!(error.kind(), K::NotFound | K::NotADirectory) => None,
        Err(_) => Some(FileIdentity {
            size: lying.known.identity.size.wrapping_add(1),
            ..lying.known.identity
        }),
    }
}
