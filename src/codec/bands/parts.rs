//! Owns reading what lies in several places of a file as if it lay in one. Never looks at it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::codec::outline::Extent;

/// Places of a file, one after the other.
pub(super) struct Parts<'a> {
    file: &'a File,
    extents: &'a [Extent],
    /// Of the first extent, what was read of it.
    read: u64,
}

impl<'a> Parts<'a> {
    pub(super) fn new(file: &'a File, extents: &'a [Extent]) -> Self {
        Self {
            file,
            extents,
            read: 0,
        }
    }

    /// All of it; the file must have all of it.
    pub(super) fn all(mut self) -> io::Result<Vec<u8>> {
        let bytes = self.extents.iter().map(|extent| extent.bytes);
        let bytes = bytes.fold(0, u64::saturating_add);
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut all = Vec::new();
        all.try_reserve_exact(bytes)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        all.resize(bytes, 0);
        self.read_exact(&mut all)?;
        Ok(all)
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((extent, rest)) = self.extents.split_first() {
            let left = extent.bytes - self.read;
            if left == 0 {
                (self.extents, self.read) = (rest, 0);
                continue;
            }
            let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self
                .file
                .read_at(&mut buffer[..room], extent.at.saturating_add(self.read))?;
            self.read += read as u64;
            return Ok(read);
        }
        Ok(0)
    }
}
