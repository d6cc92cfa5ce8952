//! Owns the words in which a failure is told: whose fault it is (`Disposition`), its stable code
//! (`ReasonCode`) and the one line that a person reads (`Reason`). Never performs I/O and never decides:
//! an error gets its disposition where it is born.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose fault a failure is, and so what becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The file's: the job fails for good and is not tried again until the file changes or a person asks.
    Quarantine,
    /// Passing: the job goes back to the queue and is tried again after this long.
    Retry {
        /// Time to wait before the next attempt.
        after: Duration,
    },
    /// Ours (a shutdown, a cancelled run): the job is given back with its attempt unspent.
    Release,
    /// The environment's (disk full, folder gone, no device): the queue waits and probes, no job is charged.
    Block,
}

/// The stable codes of CONTRACT §3. Their spelling is part of the product: programs match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// Not an image, or damaged beyond reading.
    Unreadable,
    /// The file ends before its picture does.
    Truncated,
    /// More pixels, bytes or side length than the limits allow.
    TooLarge,
    /// A real image of a kind that this version cannot process.
    Unsupported,
    /// No tile was small enough for the memory there is.
    OutOfMemory,
    /// The model or the runtime failed on it.
    Model,
    /// The service died during each of its attempts.
    CrashedService,
    /// No progress for `job_timeout`.
    Timeout,
    /// Reading or writing failed.
    Io,
}

impl ReasonCode {
    /// The spelling used in JSON, in the ledger and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::OutOfMemory => "out_of_memory",
            Self::Model => "model",
            Self::CrashedService => "crashed_service",
            Self::Timeout => "timeout",
            Self::Io => "io",
        }
    }

    /// The inverse of [`ReasonCode::as_str`]; `None` for a word that is not a code.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Unreadable,
            Self::Truncated,
            Self::TooLarge,
            Self::Unsupported,
            Self::OutOfMemory,
            Self::Model,
            Self::CrashedService,
            Self::Timeout,
            Self::Io,
        ]
        .into_iter()
        .find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job is where it is: a stable code and one line (what, which, why, what next) for a person (I10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// One line, no line breaks, names the file, says what to do.
    pub message: String,
}

impl Reason {
    /// Builds a reason; control characters of `message` (a file name may hold a newline) are escaped,
    /// so that it stays one line.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: one_line(&message.into()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What reaches the control plane of any failure: whose fault it is and what to tell.
/// Each module has its own typed error and turns it into a `Fault` with `From`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// Whose fault it is.
    pub disposition: Disposition,
    /// What to tell.
    pub reason: Reason,
}

impl Fault {
    /// The file's fault: quarantined.
    pub fn quarantine(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            disposition: Disposition::Quarantine,
            reason: Reason::new(code, message),
        }
    }

    /// The environment's fault: the queue waits.
    pub fn block(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            disposition: Disposition::Block,
            reason: Reason::new(code, message),
        }
    }

    /// A passing fault: again after `after`.
    pub fn retry(after: Duration, code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            disposition: Disposition::Retry { after },
            reason: Reason::new(code, message),
        }
    }

    /// Our own doing: the job is given back unspent.
    pub fn release(message: impl Into<String>) -> Self {
        Self {
            disposition: Disposition::Release,
            reason: Reason::new(ReasonCode::Io, message),
        }
    }

    /// A failed write into an output folder or the state directory. The disk, not the picture, is to blame,
    /// so the queue waits. `what` says what was attempted and names the file: `cannot publish out/a.png`.
    pub fn from_write(what: impl fmt::Display, error: &io::Error) -> Self {
        match remedy_for(error) {
            Some(remedy) => Self::block(ReasonCode::Io, format!("{what}: {}; {remedy}", plain(error))),
            None => Self::retry(
                PASSING_RETRY,
                ReasonCode::Io,
                format!("{what}: {}; it is tried again", plain(error)),
            ),
        }
    }

    /// A failed read of a source. A vanished or forbidden file is its own fault; an I/O error or a stale
    /// network handle is the environment's.
    pub fn from_read(what: impl fmt::Display, error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::NotFound => Self::quarantine(
                ReasonCode::Io,
                format!("{what}: the file is gone; drop it again to process it"),
            ),
            K::PermissionDenied => Self::quarantine(
                ReasonCode::Io,
                format!(
                    "{what}: permission denied; let the service's user read it, then `upscaled jobs retry`"
                ),
            ),
            _ => match remedy_for(error) {
                Some(remedy) => Self::block(ReasonCode::Io, format!("{what}: {}; {remedy}", plain(error))),
                None => Self::retry(
                    PASSING_RETRY,
                    ReasonCode::Io,
                    format!("{what}: {}; it is tried again", plain(error)),
                ),
            },
        }
    }
}

/// Pause before a passing failure is tried again: long enough for a descriptor or a share to come back.
const PASSING_RETRY: Duration = Duration::from_secs(15);

/// The remedy for an error of the environment, or `None` when the error is of another kind.
fn remedy_for(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as K;
    Some(match error.kind() {
        K::StorageFull | K::QuotaExceeded => "the queue waits until there is space again",
        K::ReadOnlyFilesystem => "the queue waits until it is mounted writable",
        K::PermissionDenied => "let the service's user write there; the queue waits",
        K::NotFound | K::NotADirectory => "the queue waits until the folder is there again",
        K::StaleNetworkFileHandle | K::NotConnected | K::HostUnreachable | K::NetworkUnreachable => {
            "the queue waits until the share answers again"
        }
        _ if error.raw_os_error() == Some(libc::EIO) => "the queue waits; check the disk",
        _ => return None,
    })
}

/// The operating system's words for an error, in small letters and without the number that Rust appends.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text[first.len_utf8()..].starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Escapes control characters, so that a message or a file name stays on its line.
pub fn one_line(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| {
                if c.is_control() {
                    c.escape_default().collect::<Vec<_>>()
                } else {
                    vec![c]
                }
            })
            .collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_blocks_the_queue_and_charges_nobody() {
        let fault = Fault::from_write(
            "cannot publish out/a.png",
            &io::Error::from_raw_os_error(libc::ENOSPC),
        );
        assert_eq!(fault.disposition, Disposition::Block);
        assert_eq!(
            fault.reason.message,
            "cannot publish out/a.png: no space left on device; the queue waits until there is space again"
        );
    }

    #[test]
    fn a_file_name_with_a_newline_cannot_break_a_message_into_two_lines() {
        assert_eq!(
            Reason::new(ReasonCode::Io, "cannot read a\nb.png").message,
            "cannot read a\\nb.png"
        );
    }

    #[test]
    fn every_code_survives_the_ledger() {
        for code in [
            "unreadable",
            "truncated",
            "too_large",
            "unsupported",
            "out_of_memory",
            "model",
            "crashed_service",
            "timeout",
            "io",
        ] {
            assert_eq!(ReasonCode::parse(code).map(ReasonCode::as_str), Some(code));
        }
    }
}
