//! Owns the question whether a file's end is there, asked before a byte of it is worth anything. Never decodes
//! and never says more than the file's structure proves.

use std::io;
use std::path::Path;

use super::file::{Opened, open_regular};
use super::outline::{self, Flaw};
use super::sniff::Kind;

/// Whether the end of an image file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The picture's end was found.
    Complete,
    /// It is an image, and its end is not there (yet).
    Incomplete,
    /// Not an image whose end is known, or so damaged that its end cannot be looked for.
    Unknown,
}

/// Looks for the end of an image: `EOI`, `IEND`, the length of a RIFF, the last strip. Reads a JPEG once, skips
/// through the others; holds no more than a few hundred kilobytes.
///
/// # Errors
/// As `open` and `read`.
pub fn ends_properly(path: &Path) -> io::Result<Ending> {
    let Opened::Regular(file, bytes, Kind::Image(format)) = open_regular(path)? else {
        return Ok(Ending::Unknown);
    };
    match outline::examine(format, file, bytes).1 {
        None => Ok(Ending::Complete),
        Some(Flaw::Short) => Ok(Ending::Incomplete),
        Some(Flaw::Damaged(_)) => Ok(Ending::Unknown),
        Some(Flaw::Io(error)) => Err(error),
    }
}
