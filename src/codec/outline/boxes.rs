//! Owns the boxes of the ISO base media format, in a file and in memory. Never knows what is in them.

use std::io::{Read, Seek};

use super::Flaw;
use super::stream::Stream;

/// A box of a file, whose content is next to be read.
pub(super) struct FileBox {
    pub(super) name: [u8; 4],
    /// Where it ends.
    pub(super) end: u64,
    /// It goes on as long as the file does.
    pub(super) open_ended: bool,
}

/// Reads the next box's header; `None` at the end of the file.
pub(super) fn next<R: Read + Seek>(stream: &mut Stream<R>) -> Result<Option<FileBox>, Flaw> {
    let begin = stream.at();
    if begin == stream.len() {
        return Ok(None);
    }
    let length = u64::from(stream.u32_be()?);
    let name: [u8; 4] = stream.bytes()?;
    let (length, open_ended) = match length {
        0 => (stream.len() - begin, true),
        1 => (
            u64::from(stream.u32_be()?) << 32 | u64::from(stream.u32_be()?),
            false,
        ),
        length => (length, false),
    };
    // Zeros, which would be a box that goes on for ever: the rest of a file whose space was reserved before it was
    // filled.
    if name == [0; 4] {
        return Err(Flaw::Short);
    }
    let end = begin.saturating_add(length);
    if end < stream.at() {
        return Err(Flaw::Damaged("one of its boxes is shorter than its header"));
    }
    Ok(Some(FileBox {
        name,
        end,
        open_ended,
    }))
}

/// Bytes that are read from front to back; `None` wherever there are too few.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of up to eight bytes, the highest first; 0 of none.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.number(1)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number(2)?.try_into().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number(4)?.try_into().ok()
    }

    /// Version and flags, which begin a full box.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00FF_FFFF))
    }

    /// The next box: its name and content.
    pub(super) fn next_box(&mut self) -> Option<([u8; 4], Cursor<'a>)> {
        let all = self.0;
        let length = self.u32()?;
        let name = self.take(4)?.try_into().ok()?;
        let header = if length == 1 { 16 } else { 8 };
        let length = match length {
            0 => all.len(),
            1 => usize::try_from(self.number(8)?).ok()?,
            length => length as usize,
        };
        let content = all.get(header..length)?;
        self.0 = all.get(length..)?;
        Some((name, Cursor(content)))
    }

    /// All boxes of that name.
    pub(super) fn find(self, name: &'static [u8; 4]) -> impl Iterator<Item = Cursor<'a>> {
        let mut rest = self;
        std::iter::from_fn(move || rest.next_box())
            .filter_map(move |(found, content)| (found == *name).then_some(content))
    }
}

/// EXIF stands behind a number that tells how far behind it.
pub(super) fn behind_offset(exif: Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = Cursor(&exif);
    let skipped = rest.u32()? as usize;
    rest.take(skipped)?;
    Some(rest.0.to_vec())
}
