//! Owns one encoder per format, and what they share: rows pulled under I6 and a file that remembers its first
//! failure. Never decides which format, depth or channels a result has.

pub(super) mod apng;
pub(super) mod avif;
mod canvas;
pub(super) mod gif;
mod isobmff;
pub(super) mod jpeg;
pub(super) mod jxl;
mod out;
pub(super) mod png;
mod rows;
#[cfg(test)]
mod tests;
pub(super) mod tiff;
mod tiff_metadata;
pub(super) mod webp;
pub(super) mod webp_anim;

pub(super) use out::Output;
pub(super) use rows::Rows;

use super::error::CodecError;
use super::layout::ResultFormat;
use super::sink::FeedStopped;

/// Why a file ended early.
enum Stop {
    /// No more rows came.
    Feed,
    /// The encoder failed, or the file below it; in its words.
    Encoder(String),
}

impl Stop {
    /// What is told of it.
    fn into_error(self, format: ResultFormat, out: &mut Output) -> CodecError {
        match self {
            Self::Feed => CodecError::FeedStopped,
            Self::Encoder(detail) => failed(out, format, detail),
        }
    }
}

impl From<FeedStopped> for Stop {
    fn from(FeedStopped: FeedStopped) -> Self {
        Self::Feed
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Encoder(error.to_string())
    }
}

/// The reason why an encoder gave up: the file's, if that failed, in the words of the kernel; else its own.
fn failed(out: &mut Output, format: ResultFormat, detail: impl std::fmt::Display) -> CodecError {
    match out.take_failure() {
        Some(error) => CodecError::Output(error),
        None => refused(format, detail),
    }
}

/// The format cannot hold what was asked for.
pub(super) fn refused(format: ResultFormat, detail: impl std::fmt::Display) -> CodecError {
    CodecError::Encode {
        format: format.as_str(),
        detail: detail.to_string(),
    }
}
