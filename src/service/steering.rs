//! Owns the ear for what commands leave in the ledger while the service runs (docs/decisions/0005): a rescan, a pause.
//! Never does what is asked itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::shared::Shared;
use crate::queue::{Pause, QueueError};

/// How often the ledger is asked: a person who typed `upscaled rescan` watches the screen. A read of a table with two
/// rows at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Something that the loop of the service must act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Scan all folders now.
    Rescan,
    /// The ledger is damaged: nothing that is recorded from now on can be trusted.
    Damaged,
}

/// Starts the task that listens, until it is aborted.
pub fn listen(shared: &Arc<Shared>) -> (mpsc::Receiver<Heard>, JoinHandle<()>) {
    // One: a second rescan before the first is begun is the same one.
    let (tell, heard) = mpsc::channel(1);
    let shared = Arc::clone(shared);
    let task = tokio::spawn(async move {
        let mut paused = None;
        loop {
            if shared.store.is_damaged() {
                let _ = tell.send(Heard::Damaged).await;
                return;
            }
            if let Err(error) = look(&shared, &tell, &mut paused).await {
                // The queue meets it too, and says so.
                tracing::debug!("cannot ask the ledger what is wanted: {error}");
            }
            sleep(LOOK_INTERVAL).await;
        }
    });
    (heard, task)
}

async fn look(
    shared: &Shared,
    tell: &mpsc::Sender<Heard>,
    paused: &mut Option<Pause>,
) -> Result<(), QueueError> {
    let (now, rescan) = shared.store.asked().await?;
    if now != *paused {
        match now {
            Some(Pause {
                until: Some(until), ..
            }) => tracing::info!(%until, "paused"),
            Some(_) => tracing::info!("paused until somebody resumes it"),
            None => tracing::info!("resumed"),
        }
        *paused = now;
        shared.news.notify_one();
        shared.work.notify_one();
    }
    if rescan {
        shared.store.take_rescan().await?;
        let _ = tell.try_send(Heard::Rescan);
    }
    Ok(())
}
