//! Owns `service.json` in the state directory: what the running service knows and the ledger does not. Written
//! by the service, read by `upscaled status`. Never proof that a service runs: the instance lock is.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StatusError;
use super::folder::{FolderReport, ServiceState};
use crate::fs::SharedFilesystem;
use crate::publish::replace_document;
use crate::report::DOCUMENT_VERSION;

const NAME: &str = "service.json";

/// What inference runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDocument {
    /// `cpu`, `cuda:0`; null before a model is loaded, as are the next two.
    pub device: Option<String>,
    /// The execution provider.
    pub provider: Option<String>,
    /// The warm model.
    pub model: Option<String>,
    /// Providers that could not be used, each with its reason.
    pub skipped: Vec<String>,
    /// TensorRT's engine that is being built beside the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<BuildingDocument>,
    /// Its number, where there are several; so is the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u32>,
    /// Most that inference may hold on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<u64>,
    /// Why it is not used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_use: Option<String>,
}

/// An engine that is being built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildingDocument {
    /// Of this model.
    pub model: String,
    /// When that began.
    pub since: Timestamp,
}

/// What may be held, and what is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryDocument {
    /// Most that decoding, tiles and encoding may hold; null before the first picture.
    pub host_budget_bytes: Option<u64>,
    /// Most that inference may hold on the device; null before the first picture.
    pub device_budget_bytes: Option<u64>,
    /// The process's resident memory.
    pub resident_bytes: Option<u64>,
}

/// What the running service knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The service's process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When this was written.
    pub updated_at: Timestamp,
    /// How far the kernel holds it to its folders.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// What it is about.
    pub service: ServiceState,
    /// Why it is blocked; null unless it is.
    pub blocked_reason: Option<String>,
    /// What inference runs on; the first, where there are several.
    pub device: DeviceDocument,
    /// Each of them, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceDocument>,
    /// What may be held, and what is.
    pub memory: MemoryDocument,
    /// The watched folders.
    pub folders: Vec<FolderReport>,
}

impl ServiceSnapshot {
    /// Where it is.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(NAME)
    }

    /// Replaces the one in `state_dir`. Not synced: it is worth nothing after a power cut.
    ///
    /// # Errors
    /// [`StatusError::Write`].
    pub fn write(&self, fs: &SharedFilesystem, state_dir: &Path) -> Result<(), StatusError> {
        let path = Self::path(state_dir);
        let json = super::json(&path, self)?;
        Ok(replace_document(fs, state_dir, &path, &json, false)?)
    }

    /// The last one that a service wrote; `None` where none ever did.
    ///
    /// # Errors
    /// [`StatusError::Read`]; [`StatusError::Malformed`] for one of another version or cut by a power cut.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, StatusError> {
        let path = Self::path(state_dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StatusError::Read { path, source }),
        };
        let snapshot: Self = serde_json::from_slice(&bytes).map_err(|error| StatusError::Malformed {
            path: path.clone(),
            why: error.to_string(),
        })?;
        if snapshot.version != DOCUMENT_VERSION {
            return Err(StatusError::Malformed {
                path,
                why: format!("version {}, expected {DOCUMENT_VERSION}", snapshot.version),
            });
        }
        Ok(Some(snapshot))
    }
}
