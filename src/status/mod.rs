//! Owns what the service tells people and programs through files: `status.json`, a job file per source, an
//! error text per failure, and the snapshot that `upscaled status` reads. Never decides anything from what it
//! wrote: the ledger is the truth, these are views of it that may be deleted at any time.
//!
//! All calls block; run them off the async threads.
//!
//! # Two folders with one output
//!
//! Where several folders share an output folder, the first of the configuration has the names of CONTRACT §3.
//! Each further one keeps apart from it: `status.<name>.json`, `.upscaled/jobs.<name>/…`, `failed.<name>/…`
//! (see [`Tenancy`]).

mod error;
mod folder;
mod jobs;
mod service;

#[cfg(test)]
mod tests;

pub use error::StatusError;
pub use folder::{
    CountsDocument, CurrentDocument, FolderDocument, FolderReport, IntakeReport, PausedDocument,
    RecentDocument, ServiceState, StatusWriter, WatchMode, clock_time,
};
pub use jobs::{JobFileWalk, JobFiles, sidecar_error_text};
pub use service::{BuildingDocument, DeviceDocument, MemoryDocument, ServiceSnapshot};

use std::path::Path;

use serde::Serialize;

use crate::config::Folder;

/// How a folder shares its output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// Alone, or the first of several: the plain names.
    Host,
    /// Another one was there first: names with this one's in them.
    Guest(String),
}

impl Tenancy {
    /// The tenancy of the folder at `index` in the configuration's order.
    pub fn of(folders: &[Folder], index: usize) -> Self {
        match folders.get(index) {
            Some(own) if folders[..index].iter().any(|other| other.output == own.output) => {
                Self::Guest(own.name.replace('/', "-"))
            }
            _ => Self::Host,
        }
    }
}

/// How every document is spelled: for people too, and ending like a text file.
fn json(path: &Path, document: &impl Serialize) -> Result<Vec<u8>, StatusError> {
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|error| StatusError::Encode {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
