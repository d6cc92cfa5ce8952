//! Owns the failures that end the service. Everything smaller ends a job or blocks a folder.

use crate::error::Reason;
use crate::inference::{LibraryError, ModelError};
use crate::publish::PublishError;
use crate::queue::{JobId, QueueError};

/// Why the service ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no ONNX Runtime.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A folder's model is unknown or cannot be used.
    #[error("folder {folder}: {error}")]
    Model {
        /// The folder.
        folder: String,
        /// Why, and what would do.
        error: ModelError,
    },
    /// An output folder cannot be cleaned up.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The configuration has no folders.
    #[error("{0} names no [[folder]]; add one, `upscaled config init` shows how")]
    NoFolder(String),
    /// No folder of that name.
    #[error("there is no folder {name:?}; the configuration has: {known}")]
    UnknownFolder {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The system grants no thread or no signal handler.
    #[error("cannot start: {}", crate::error::plain(.0))]
    System(#[from] std::io::Error),
    /// The device is lost: this process can do nothing more with it. The job in work is recorded.
    #[error("{0}; the service ends, its next start begins with a clean device")]
    DeviceLost(Reason),
    /// A folder is another one than at the start, and the sandbox grants that one.
    #[error(
        "folder {folder}: {dir} is another one than at the start, which the sandbox keeps this process from; the service ends, its next start sees it"
    )]
    OutOfReach {
        /// The folder's name.
        folder: String,
        /// Its input or output.
        dir: String,
    },
    /// A job hangs and its thread cannot be ended.
    #[error("job {job} hangs and cannot be stopped; the service ends, its next start tries the job again")]
    Hung {
        /// The job.
        job: JobId,
    },
}
