//! Owns every rename into an output folder, and what becomes of a source afterwards. Never reads pixels and
//! never speaks to the ledger.
//!
//! ```text
//! stage ─▶ (encode) ─▶ seal ─▶ [ledger: publishing] ─▶ commit ─▶ [ledger: done] ─▶ dispose
//! ```
//!
//! The calls are separate so that the caller can write down each step before the next one: a crash between
//! any two is finished or undone by [`Publisher::recover`] and [`Publisher::sweep`].
//!
//! - **I4** final names appear only by renaming a synced file: `commit` takes nothing but a [`SealedFile`],
//!   and only `seal` makes one.
//! - **I5** a source is disposed of only after its result is published and recorded: `dispose` is a call of
//!   its own, and looks once more whether the file is still the one that was upscaled.
//!
//! All calls block; run them off the async threads.

mod commit;
mod dispose;
mod document;
mod error;
mod recover;
mod sidecar;
mod stage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use commit::{Choice, Published};
pub use dispose::Disposal;
pub use document::{remove_document, replace_document};
pub use error::PublishError;
pub use sidecar::{Sidecar, read_sidecar, sidecars};
pub use stage::{SealedFile, StagedFile};

use crate::fs::SharedFilesystem;

/// Who writes: part of every temporary name, so that only our own leftovers are swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// The service of this state directory: the first 8 hex digits of BLAKE3 over its real path, so the same
    /// after every restart.
    pub fn of_state_dir(path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let hash = blake3::hash(real.as_os_str().as_bytes());
        Self(hash.to_hex()[..8].to_owned())
    }

    /// A foreground command, `cli-<pid>`: its leftovers are anybody's to sweep once the process is gone.
    pub fn of_command() -> Self {
        Self::of_process(Self::PROCESS_KINDS[0])
    }

    /// Whoever writes documents in this process, `doc-<pid>`.
    fn of_documents() -> Self {
        Self::of_process(Self::PROCESS_KINDS[1])
    }

    /// Instances that end with their process.
    const PROCESS_KINDS: [&str; 2] = ["cli", "doc"];

    fn of_process(kind: &str) -> Self {
        Self(format!("{kind}-{}", std::process::id()))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Brings finished files to their final names. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    fs: SharedFilesystem,
    instance: Instance,
}

impl Publisher {
    /// Writes through `fs` in the name of `instance`.
    pub fn new(fs: SharedFilesystem, instance: Instance) -> Self {
        Self { fs, instance }
    }
}
