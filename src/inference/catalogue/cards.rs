//! Owns the cards that were found by probing, kept by the sha256 of their file. A cache: what cannot be read or was
//! written by another version is found anew, and a directory that cannot be written is no failure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fs::{SharedFilesystem, replace_file};
use crate::inference::card::ModelCard;

/// The directory below a state directory.
pub const CARDS_DIR: &str = "cards";

/// Raised whenever probing finds more or something else than before: older cards are then found anew.
const CARD_VERSION: u32 = 2;

/// Largest file that is believed to be a card.
const CARD_MAX_BYTES: u64 = 1 << 20;

/// A card as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<C> {
    version: u32,
    card: C,
}

/// The cards of these state directories.
#[derive(Debug)]
pub struct CardCache {
    state_dirs: Vec<PathBuf>,
    fs: SharedFilesystem,
}

impl CardCache {
    /// Those of these directories.
    pub fn new(state_dirs: Vec<PathBuf>, fs: SharedFilesystem) -> Self {
        Self { state_dirs, fs }
    }

    /// The card of the file with this sha256, from the first place that has a good one.
    pub fn get(&self, sha256: &str) -> Option<ModelCard> {
        self.paths(sha256, "json").find_map(|path| {
            let bytes = read_small(&path, CARD_MAX_BYTES)?;
            let kept: Kept<ModelCard> = serde_json::from_slice(&bytes).ok()?;
            // A file under a name that is not its own is nobody's.
            (kept.version == CARD_VERSION && kept.card.sha256 == sha256).then_some(kept.card)
        })
    }

    /// Keeps a card in the first place that takes it. With none, it is found anew by the next process.
    pub fn put(&self, card: &ModelCard) {
        let kept = Kept {
            version: CARD_VERSION,
            card,
        };
        match serde_json::to_vec_pretty(&kept) {
            Ok(bytes) => self.keep(&card.sha256, "json", &bytes),
            // A card is numbers and text; there is nothing in it that JSON cannot say.
            Err(error) => tracing::debug!("a card cannot be written as JSON: {error}"),
        }
    }

    /// What else is kept beside the card of this sha256.
    pub fn get_beside(&self, sha256: &str, extension: &str, max_bytes: u64) -> Option<Vec<u8>> {
        self.paths(sha256, extension)
            .find_map(|path| read_small(&path, max_bytes))
    }

    /// Keeps something else beside the card.
    pub fn keep(&self, sha256: &str, extension: &str, bytes: &[u8]) {
        for path in self.paths(sha256, extension) {
            match replace_file(self.fs.as_ref(), &path, bytes) {
                Ok(()) => return,
                Err(error) => tracing::debug!("cannot keep {}: {error}", path.display()),
            }
        }
    }

    /// Lets go of the card of this sha256 and of what is kept beside it.
    pub fn forget(&self, sha256: &str) {
        for path in ["json", "reference", "half"]
            .iter()
            .flat_map(|extension| self.paths(sha256, extension))
        {
            let _ = self.fs.remove_file(&path);
        }
    }

    fn paths(&self, sha256: &str, extension: &str) -> impl Iterator<Item = PathBuf> {
        let file = format!("{sha256}.{extension}");
        let dirs = self.state_dirs.iter().map(|dir| dir.join(CARDS_DIR));
        dirs.map(move |dir| dir.join(&file))
    }
}

fn read_small(path: &std::path::Path, max_bytes: u64) -> Option<Vec<u8>> {
    let fits = path
        .metadata()
        .is_ok_and(|meta| meta.is_file() && meta.len() <= max_bytes);
    fits.then(|| std::fs::read(path).ok()).flatten()
}
