//! Owns the look whether the sandbox still lets the service into its folders: one that was made anew or mounted where the
//! grant does not reach is open to the next process only. Never opens a file.

use std::sync::Arc;

use tokio::time::timeout;

use super::blocks::PROBE_INTERVAL;
use super::error::ServiceError;
use super::shared::{Shared, blocking};
use crate::sandbox::{self, State};

/// Waits until a folder is out of reach. For most of them, and for ever where nothing holds us, that is never.
///
/// May be dropped at any await.
pub async fn out_of_reach(shared: Arc<Shared>) -> ServiceError {
    if !matches!(sandbox::state(), Some(State::InForce { .. })) {
        return std::future::pending().await;
    }
    loop {
        // Sooner when somebody asks for a rescan, as blocked folders are.
        let _ = timeout(PROBE_INTERVAL, shared.rescan.notified()).await;
        let config = shared.config();
        // A share that does not answer holds this task up, and no other.
        let found = blocking(move || {
            let dirs = config.folders.iter().flat_map(|folder| {
                [&folder.input, &folder.output].map(|dir| (folder.name.clone(), dir.clone()))
            });
            dirs.into_iter().find(|(_, dir)| sandbox::keeps_from(dir))
        });
        if let Some((folder, dir)) = found.await {
            let dir = dir.display().to_string();
            return ServiceError::OutOfReach { folder, dir };
        }
    }
}
