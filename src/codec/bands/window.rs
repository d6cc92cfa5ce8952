//! Owns a moving window onto a file, for a decoder that looks back a few bytes and asks for single ones. Never
//! holds more than the window, and remembers what the kernel said, because that decoder takes a failure for the
//! end of the file and paints what is missing grey.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zune_jpeg::zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

/// Bytes of the window.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// Bytes kept when the window moves: the decoder goes back four at a time, over and over.
const KEPT_BYTES: usize = 64;

/// A file up to the end of its picture.
pub(super) struct Window<'a> {
    file: &'a File,
    /// Where the picture ends.
    end: u64,
    bytes: Box<[u8]>,
    /// Where in the file the window begins.
    begin: u64,
    /// Bytes of the window that are there.
    filled: usize,
    /// The next byte, counted from the window's beginning; at most `filled`.
    at: usize,
    failure: &'a Cell<Option<io::Error>>,
}

impl<'a> Window<'a> {
    /// Reads from the first byte to `end`. The first failure goes to `failure`; that the file is shorter than
    /// `end` is one.
    pub(super) fn new(file: &'a File, end: u64, failure: &'a Cell<Option<io::Error>>) -> Self {
        Self {
            file,
            end,
            bytes: vec![0; WINDOW_BYTES].into_boxed_slice(),
            begin: 0,
            filled: 0,
            at: 0,
            failure,
        }
    }

    fn position(&self) -> u64 {
        self.begin + self.at as u64
    }

    /// Moves on when all is read. `false` at the end.
    fn has_more(&mut self) -> bool {
        self.at < self.filled || self.advance()
    }

    #[cold]
    fn advance(&mut self) -> bool {
        let kept = self.filled.min(KEPT_BYTES);
        self.bytes.copy_within(self.filled - kept..self.filled, 0);
        self.begin += (self.filled - kept) as u64;
        (self.filled, self.at) = (kept, kept);
        let left = self.end.saturating_sub(self.position());
        let room = (self.bytes.len() - kept).min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return false;
        }
        let place = self.position();
        let read = loop {
            match self.file.read_at(&mut self.bytes[kept..kept + room], place) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                outcome => break outcome,
            }
        };
        match read {
            Ok(count) => {
                self.filled += count;
                true
            }
            Err(error) => {
                let first = self.failure.take().unwrap_or(error);
                self.failure.set(Some(first));
                // Nothing that comes later may look like a continuation.
                self.end = self.position();
                false
            }
        }
    }

    fn go_to(&mut self, place: u64) {
        match place.checked_sub(self.begin) {
            Some(at) if at <= self.filled as u64 => self.at = at as usize,
            _ => {
                self.begin = place;
                (self.filled, self.at) = (0, 0);
            }
        }
    }
}

impl ZByteReaderTrait for Window<'_> {
    #[inline]
    fn read_byte_no_error(&mut self) -> u8 {
        if !self.has_more() {
            return 0;
        }
        let byte = self.bytes[self.at];
        self.at += 1;
        byte
    }

    #[inline]
    fn read_exact_bytes(&mut self, bytes: &mut [u8]) -> Result<(), ZByteIoError> {
        if let Some(ready) = self.bytes[..self.filled].get(self.at..self.at + bytes.len()) {
            bytes.copy_from_slice(ready);
            self.at += bytes.len();
            return Ok(());
        }
        let begin = self.position();
        let read = self.read_bytes(bytes)?;
        if read < bytes.len() {
            self.go_to(begin);
            return Err(ZByteIoError::NotEnoughBytes(read, bytes.len()));
        }
        Ok(())
    }

    fn read_bytes(&mut self, bytes: &mut [u8]) -> Result<usize, ZByteIoError> {
        let mut read = 0;
        while read < bytes.len() && self.has_more() {
            let count = (bytes.len() - read).min(self.filled - self.at);
            bytes[read..read + count].copy_from_slice(&self.bytes[self.at..self.at + count]);
            self.at += count;
            read += count;
        }
        Ok(read)
    }

    fn peek_bytes(&mut self, bytes: &mut [u8]) -> Result<usize, ZByteIoError> {
        let begin = self.position();
        let read = self.read_bytes(bytes);
        self.go_to(begin);
        read
    }

    fn peek_exact_bytes(&mut self, bytes: &mut [u8]) -> Result<(), ZByteIoError> {
        let begin = self.position();
        self.read_exact_bytes(bytes)?;
        self.go_to(begin);
        Ok(())
    }

    #[inline]
    fn z_seek(&mut self, to: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let place = match to {
            ZSeekFrom::Start(place) => Some(place),
            ZSeekFrom::End(distance) => self.end.checked_add_signed(distance),
            ZSeekFrom::Current(distance) => self.position().checked_add_signed(distance),
        };
        let place = place.ok_or(ZByteIoError::SeekError("before the beginning of the file"))?;
        self.go_to(place);
        Ok(place)
    }

    #[inline]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        Ok(!self.has_more())
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.position())
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let before = sink.len();
        while self.has_more() {
            sink.extend_from_slice(&self.bytes[self.at..self.filled]);
            self.at = self.filled;
        }
        Ok(sink.len() - before)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_window_reads_peeks_and_goes_back_across_its_own_edges() {
        let bytes: Vec<u8> = (0..3 * WINDOW_BYTES + 5).map(|at| (at * 7 / 3) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let (failure, end) = (Cell::new(None), bytes.len() - 2);
        let mut window = Window::new(&file, end as u64, &failure);
        let mut at = 0;
        let mut step = 1;
        while at + step <= end {
            let mut peeked = vec![0; step];
            window.peek_exact_bytes(&mut peeked).unwrap();
            let mut read = vec![0; step];
            window.read_exact_bytes(&mut read).unwrap();
            assert_eq!(
                (&peeked[..], &read[..]),
                (&bytes[at..at + step], &bytes[at..at + step])
            );
            window.z_seek(ZSeekFrom::Current(-1)).unwrap();
            assert_eq!(window.read_byte_no_error(), bytes[at + step - 1]);
            at += step;
            step = step * 5 % 70_001;
        }
        let mut rest = Vec::new();
        window.read_remaining(&mut rest).unwrap();
        assert_eq!(rest, bytes[at..end]);
        assert!(window.is_eof().unwrap() && window.read_exact_bytes(&mut [0]).is_err());
        window.z_seek(ZSeekFrom::Start(3)).unwrap();
        assert_eq!(window.read_byte_no_error(), bytes[3]);
        assert!(failure.take().is_none());
    }

    #[test]
    fn a_file_that_became_shorter_is_told_from_one_that_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10]).unwrap();
        let failure = Cell::new(None);
        let mut window = Window::new(&file, 11, &failure);
        let mut rest = Vec::new();
        window.read_remaining(&mut rest).unwrap();
        assert_eq!(rest, [7; 10]);
        assert_eq!(failure.take().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
