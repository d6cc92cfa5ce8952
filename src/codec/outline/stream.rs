//! Owns reading forward through a file of known length. Never reads past it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};

use super::Flaw;

/// A buffered file that knows where it is and where it ends.
pub(in crate::codec) struct Stream<R> {
    inner: BufReader<R>,
    at: u64,
    len: u64,
}

impl<'a> Stream<&'a File> {
    /// A file from its beginning, wherever it was.
    pub(in crate::codec) fn of(mut file: &'a File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self::new(file, file.metadata()?.len()))
    }
}

impl<R: Read + Seek> Stream<R> {
    /// A file at its beginning, `len` bytes long.
    pub(in crate::codec) fn new(file: R, len: u64) -> Self {
        Self {
            inner: BufReader::with_capacity(1 << 16, file),
            at: 0,
            len,
        }
    }

    /// Bytes from the beginning.
    pub(in crate::codec) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the file.
    pub(in crate::codec) fn len(&self) -> u64 {
        self.len
    }

    /// The next bytes.
    pub(in crate::codec) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next bytes, as many as there is room for.
    pub(in crate::codec) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Flaw> {
        self.inner.read_exact(bytes).map_err(flaw)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The next byte.
    pub(in crate::codec) fn byte(&mut self) -> Result<u8, Flaw> {
        Ok(u8::from_be_bytes(self.bytes()?))
    }

    /// The next two bytes, the higher one first.
    pub(in crate::codec) fn u16_be(&mut self) -> Result<u16, Flaw> {
        Ok(u16::from_be_bytes(self.bytes()?))
    }

    /// The next two bytes, the lower one first.
    pub(super) fn u16_le(&mut self) -> Result<u16, Flaw> {
        Ok(u16::from_le_bytes(self.bytes()?))
    }

    /// The next four bytes, the highest one first.
    pub(in crate::codec) fn u32_be(&mut self) -> Result<u32, Flaw> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    /// The next four bytes, the lowest one first.
    pub(in crate::codec) fn u32_le(&mut self) -> Result<u32, Flaw> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    /// Leaves out so many bytes, which must be there.
    pub(in crate::codec) fn skip(&mut self, count: u64) -> Result<(), Flaw> {
        self.seek_to(self.at.saturating_add(count))
    }

    /// Goes to a place in the file.
    pub(in crate::codec) fn seek_to(&mut self, at: u64) -> Result<(), Flaw> {
        if at > self.len {
            return Err(Flaw::Short);
        }
        // Both lie within the file, so that the difference fits; seeking relatively keeps the buffer.
        let distance = at.cast_signed() - self.at.cast_signed();
        self.inner.seek_relative(distance).map_err(Flaw::Io)?;
        self.at = at;
        Ok(())
    }

    /// Goes behind the next byte of that value.
    pub(in crate::codec) fn skip_past(&mut self, byte: u8) -> Result<(), Flaw> {
        let skipped = self.inner.skip_until(byte).map_err(Flaw::Io)?;
        self.at += skipped as u64;
        if skipped == 0 { Err(Flaw::Short) } else { Ok(()) }
    }
}

/// A file that shrinks while it is read ends early like any other.
fn flaw(error: io::Error) -> Flaw {
    if error.kind() == ErrorKind::UnexpectedEof {
        Flaw::Short
    } else {
        Flaw::Io(error)
    }
}
