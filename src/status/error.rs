//! Owns what can go wrong with a document, in words.

use std::io;
use std::path::PathBuf;

use crate::error::{Fault, ReasonCode, one_line, plain};
use crate::publish::PublishError;

/// A document could not be written, removed or read. No job fails for it.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The output folder or the state directory refused.
    #[error(transparent)]
    Write(#[from] PublishError),
    /// The document could not be read.
    #[error("cannot read {}: {}", one_line(&.path.to_string_lossy()), plain(.source))]
    Read {
        /// The document.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The document holds something else.
    #[error("cannot read {}: it is not a document of this version ({why}); restart the service", one_line(&.path.to_string_lossy()))]
    Malformed {
        /// The document.
        path: PathBuf,
        /// What was expected, and where.
        why: String,
    },
    /// The document cannot be said in JSON.
    #[error("cannot write {}: {why}; please report this", one_line(&.path.to_string_lossy()))]
    Encode {
        /// The document.
        path: PathBuf,
        /// What the encoder said.
        why: String,
    },
}

impl From<StatusError> for Fault {
    fn from(error: StatusError) -> Self {
        match &error {
            StatusError::Write(write) => Self::from(write),
            StatusError::Read { path, source } => {
                Self::from_read(format_args!("cannot read {}", path.display()), source)
            }
            StatusError::Malformed { .. } | StatusError::Encode { .. } => {
                Self::quarantine(ReasonCode::Io, error.to_string())
            }
        }
    }
}
