//! Owns which folders wait for their environment, and why: disk full, folder gone, no device. A blocked folder
//! charges no job; it is probed until it clears by itself. Never probes on its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::error::Reason;

/// Between two probes of a blocked folder: soon enough for a person who has just mounted the disk, rare enough
/// for a share that is away for the weekend.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Blocked folders by name.
#[derive(Debug, Default)]
pub struct Blocks {
    folders: Mutex<BTreeMap<String, Block>>,
}

#[derive(Debug, Clone)]
struct Block {
    reason: Reason,
    next_probe: Monotonic,
}

impl Blocks {
    /// Blocks a folder. Whether this is news: told once, not at every probe.
    pub fn block(&self, folder: &str, reason: &Reason, now: Monotonic) -> bool {
        let block = Block {
            reason: reason.clone(),
            next_probe: now + PROBE_INTERVAL,
        };
        let before = self.lock().insert(folder.to_owned(), block);
        before.is_none_or(|before| before.reason != *reason)
    }

    /// Ends a block. Whether there was one.
    pub fn clear(&self, folder: &str) -> bool {
        self.lock().remove(folder).is_some()
    }

    /// Ends the blocks of folders that are not among these.
    pub fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.lock().retain(|folder, _| is_known(folder));
    }

    /// Makes every block due for a probe: somebody asked for a rescan or changed the configuration.
    pub fn hurry(&self, now: Monotonic) {
        for block in self.lock().values_mut() {
            block.next_probe = now;
        }
    }

    /// The names of all blocked folders.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// The names of those that are to be probed now; they are not due again for [`PROBE_INTERVAL`].
    pub fn take_due(&self, now: Monotonic) -> Vec<String> {
        let mut folders = self.lock();
        let due = folders.iter_mut().filter(|(_, block)| block.next_probe <= now);
        due.map(|(name, block)| {
            block.next_probe = now + PROBE_INTERVAL;
            name.clone()
        })
        .collect()
    }

    /// Why a folder is blocked.
    pub fn reason(&self, folder: &str) -> Option<Reason> {
        self.lock().get(folder).map(|block| block.reason.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Block>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ReasonCode;

    #[test]
    fn a_block_is_news_once_and_due_again_only_after_the_interval() {
        let at = |s| Monotonic::from_start(Duration::from_secs(s));
        let blocks = Blocks::default();
        let full = Reason::new(ReasonCode::Io, "disk full");
        assert!(blocks.block("photos", &full, at(0)));
        assert!(!blocks.block("photos", &full, at(1)), "told already");
        assert!(blocks.take_due(at(30)).is_empty());
        assert_eq!(blocks.take_due(at(31)), ["photos"]);
        assert!(blocks.take_due(at(32)).is_empty());
        assert!(blocks.block("photos", &Reason::new(ReasonCode::Io, "folder gone"), at(33)));
        blocks.hurry(at(34));
        assert_eq!(blocks.take_due(at(34)), ["photos"]);
        assert!(blocks.clear("photos"));
        assert!(!blocks.clear("photos"));
    }
}
