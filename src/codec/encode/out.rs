//! Owns the result's file while it is written: buffered, and with a memory for the first failure, because
//! codecs wrap, replace or drop the errors of their writers. Never syncs or renames.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use crate::codec::error::CodecError;

/// Large enough that the kernel is not asked for every strip, small beside a row of pixels.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// A result's file. After its first failure nothing more is written, so that an encoder's destructor does
/// not knock at a full disk again.
#[derive(Debug)]
pub struct Output {
    file: BufWriter<File>,
    failure: Option<io::Error>,
    failed: bool,
}

impl Output {
    /// Begins at the file's first byte.
    ///
    /// # Errors
    /// [`CodecError::Output`].
    pub fn new(mut file: File) -> Result<Self, CodecError> {
        file.rewind().map_err(CodecError::Output)?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            failure: None,
            failed: false,
        })
    }

    /// What the kernel said first, if it said anything; can be taken once.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Hands all bytes to the kernel and tells the length of the file.
    ///
    /// # Errors
    /// [`CodecError::Output`].
    pub fn finish(mut self) -> Result<u64, CodecError> {
        if let Err(stand_in) = self.flush() {
            return Err(CodecError::Output(self.take_failure().unwrap_or(stand_in)));
        }
        let metadata = self.file.get_ref().metadata().map_err(CodecError::Output)?;
        Ok(metadata.len())
    }

    /// Runs one operation, keeps its error and gives the codec a stand-in of the same kind.
    fn attempt<T>(&mut self, operation: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>) -> io::Result<T> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        operation(&mut self.file).map_err(|error| {
            let kind = error.kind();
            // Interrupted is not a failure: `write_all` tries again.
            if kind != io::ErrorKind::Interrupted {
                self.failed = true;
                self.failure = Some(error);
            }
            io::Error::from(kind)
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|file| match file.write(bytes) {
            // Here and not in `write_all`, whose error would never pass through this type.
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            outcome => outcome,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(BufWriter::flush)
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.attempt(|file| file.seek(to))
    }
}
