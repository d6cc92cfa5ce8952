//! Owns the question whether a file's end is there, asked before a byte of it is worth anything. Never decodes
//! and never says more than the file's structure proves.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::file::{Opened, open_regular};
use super::outline::{self, Flaw};
use super::sniff::Kind;

/// Zeros at the end that say that it is not filled yet: a sector. Text and thumbnails end with fewer.
const TAIL_BYTES: u64 = 512;

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
        return unless_preallocated(path);
    };
    let (outline, flaw) = outline::examine(format, file, bytes);
    match flaw {
        None if outline.open_ended => unless_preallocated(path),
        None => Ok(Ending::Complete),
        Some(Flaw::Short) => Ok(Ending::Incomplete),
        Some(Flaw::Damaged(_)) => unless_preallocated(path),
        Some(Flaw::Io(error)) => Err(error),
    }
}

/// Nothing but zeros at its end, and no image that ends so: a copy that has its full size from the start, as
/// Explorer and Samba make it, and is not filled yet.
fn unless_preallocated(path: &Path) -> io::Result<Ending> {
    let Opened::Regular(mut file, bytes, _) = open_regular(path)? else {
        return Ok(Ending::Unknown);
    };
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let is_filled = tail.is_empty() || tail.iter().any(|byte| *byte != 0);
    Ok(if is_filled {
        Ending::Unknown
    } else {
        Ending::Incomplete
    })
}
