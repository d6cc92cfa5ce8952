//! Owns what can be wrong with an image file, and whose fault it is. Never retries anything.

use std::io;
use std::path::PathBuf;

use crate::error::{Fault, ReasonCode, one_line, plain};

/// Reading an image or writing one did not work.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The file system does not give the source.
    #[error("cannot read {}: {}", path.display(), plain(error))]
    Read {
        /// The source.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// Not an image, or a damaged one.
    #[error("cannot read {} as an image: {detail}; replace the file, it is then tried again", path.display())]
    Unreadable {
        /// The source.
        path: PathBuf,
        /// What is wrong, in a few words.
        detail: String,
    },
    /// The end of the image is missing.
    #[error("cannot read {} to its end: {detail}; copy the whole file again, it is then tried again", path.display())]
    Truncated {
        /// The source.
        path: PathBuf,
        /// Where it breaks off.
        detail: String,
    },
    /// More pixels or bytes than the limits allow.
    #[error("cannot read {}: {detail}; scale it down or split it first", path.display())]
    TooLarge {
        /// The source.
        path: PathBuf,
        /// What is too large, and what the limit is.
        detail: String,
    },
    /// An image, but of a kind that this version does not process.
    #[error("cannot process {}: {detail}", path.display())]
    Unsupported {
        /// The source.
        path: PathBuf,
        /// What kind, and what to do instead.
        detail: String,
    },
    /// The result cannot be written. The message knows no path: the file has only a temporary name.
    #[error("cannot write the result: {}", plain(.0))]
    Output(#[source] io::Error),
    /// The encoder refuses what it was given.
    #[error("cannot encode the result as {format}: {detail}; use another format")]
    Encode {
        /// Name of the format.
        format: &'static str,
        /// What the encoder says.
        detail: String,
    },
    /// The rows ended early, because another thread of the pipeline stopped; that one tells why.
    #[error("the result's rows ended early")]
    FeedStopped,
}

impl CodecError {
    /// Writing the result failed in the file system.
    pub fn output(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        let message = one_line(&error.to_string());
        match &error {
            CodecError::Read { path, error } => {
                Self::from_read(format_args!("cannot read {}", path.display()), error)
            }
            CodecError::Output(error) => Self::from_write("cannot write the result", error),
            CodecError::Unreadable { .. } => Self::quarantine(ReasonCode::Unreadable, message),
            CodecError::Truncated { .. } => Self::quarantine(ReasonCode::Truncated, message),
            CodecError::TooLarge { .. } => Self::quarantine(ReasonCode::TooLarge, message),
            CodecError::Unsupported { .. } | CodecError::Encode { .. } => {
                Self::quarantine(ReasonCode::Unsupported, message)
            }
            CodecError::FeedStopped => Self::release(message),
        }
    }
}
