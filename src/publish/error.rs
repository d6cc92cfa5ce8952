//! Owns what can go wrong between a finished file and its final name, in words. Never performs I/O.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Fault, ReasonCode, one_line, plain};

/// Pause after a name was taken between the choice and the rename: the next choice sees the new file at once.
const AFTER_TAKEN: Duration = Duration::from_secs(1);

/// A step of publishing, disposing or sweeping failed. `doing` is what was attempted and names the file:
/// `publish out/a.png`. The remedy is added where the error becomes a [`Fault`], because a foreground command
/// has no queue that waits.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The operating system refused.
    #[error("cannot {doing}: {}", plain(.source))]
    Io {
        /// What was attempted.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The folder itself is not there: an unmounted share, perhaps. It is never created, or results would
    /// land below the mount point.
    #[error("cannot {doing}: the folder {} is not there", shown(.root))]
    RootMissing {
        /// What was attempted.
        doing: String,
        /// The folder.
        root: PathBuf,
    },
    /// Something stands where a folder is needed, or a folder where a file is.
    #[error("cannot {doing}: {} is {what}", shown(.obstacle))]
    InTheWay {
        /// What was attempted.
        doing: String,
        /// What stands there.
        obstacle: PathBuf,
        /// What it is: `a file`, `a folder`, `a symlink`.
        what: &'static str,
    },
    /// The file system cannot hold such a long name.
    #[error("cannot {doing}: the name is longer than the file system allows")]
    NameTooLong {
        /// What was attempted.
        doing: String,
    },
    /// Somebody took the final name after it was chosen. Choose again.
    #[error("cannot publish {}: the name was taken meanwhile", shown(.path))]
    Taken {
        /// The name.
        path: PathBuf,
    },
    /// The result has its final name, its name may not be durable, and it cannot be taken back. Recovery looks at it.
    #[error("cannot make {} durable: {}", shown(.path), plain(.source))]
    Unsure {
        /// The final name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name and every numbered name beside it are taken.
    #[error(
        "cannot find a name for {}: it and {} numbered names beside it are taken",
        shown(.path),
        super::commit::NUMBERS_MAX
    )]
    NoFreeName {
        /// The name that was wanted.
        path: PathBuf,
    },
    /// The path leads out of the folder that it belongs into.
    #[error("cannot {doing}: it would lie outside {}", shown(.root))]
    Outside {
        /// What was attempted.
        doing: String,
        /// The folder.
        root: PathBuf,
    },
    /// The desktop's trash did not take a source, which is therefore kept.
    #[error("cannot move {} to the trash: {why}; the source is kept", shown(.path))]
    Trash {
        /// The source.
        path: PathBuf,
        /// What the trash said.
        why: String,
    },
}

impl PublishError {
    /// Sorts an error of the operating system: a name that is too long is the file's fault, not the disk's.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        match source.kind() {
            io::ErrorKind::InvalidFilename => Self::NameTooLong { doing },
            _ => Self::Io { doing, source },
        }
    }
}

impl From<&PublishError> for Fault {
    fn from(error: &PublishError) -> Self {
        let with = |remedy: &str| format!("{error}; {remedy}");
        match error {
            PublishError::Io { doing, source } => Self::from_write(format_args!("cannot {doing}"), source),
            PublishError::Unsure { path, source } => {
                Self::from_write(format_args!("cannot make {} durable", shown(path)), source)
            }
            PublishError::RootMissing { .. } => {
                Self::block(ReasonCode::Io, with("the queue waits until it is there again"))
            }
            PublishError::InTheWay { .. } => {
                Self::quarantine(ReasonCode::Io, with("move it away, then `upscaled jobs retry`"))
            }
            PublishError::NameTooLong { .. } => Self::quarantine(
                ReasonCode::Io,
                with("give the source a shorter name, or shorten name_template"),
            ),
            PublishError::Taken { .. } => Self::retry(AFTER_TAKEN, ReasonCode::Io, with("it is tried again")),
            PublishError::NoFreeName { .. } => Self::quarantine(
                ReasonCode::Io,
                with("clear some of them, then `upscaled jobs retry`"),
            ),
            PublishError::Outside { .. } => Self::quarantine(ReasonCode::Io, with("correct name_template")),
            PublishError::Trash { .. } => Self::quarantine(
                ReasonCode::Io,
                with("use on_success = \"move\" where there is no desktop"),
            ),
        }
    }
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        Self::from(&error)
    }
}

/// A path as messages show it: on one line, whatever its bytes.
pub(crate) fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}
