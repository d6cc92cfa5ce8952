//! Owns the sink's side of I6: exactly the rows of the result, whole, in order. Never looks at a sample.

use crate::codec::error::CodecError;
use crate::codec::sink::{FeedStopped, RowFeed, SinkSpec};

impl From<FeedStopped> for CodecError {
    fn from(FeedStopped: FeedStopped) -> Self {
        Self::FeedStopped
    }
}

/// The rows still to come of a result.
pub struct Rows<'a> {
    feed: &'a mut dyn RowFeed,
    row_bytes: usize,
    left: usize,
}

impl<'a> Rows<'a> {
    /// All rows of a result.
    pub fn new(spec: &SinkSpec, feed: &'a mut dyn RowFeed) -> Self {
        Self {
            feed,
            row_bytes: spec.layout.row_bytes(spec.size.width),
            left: spec.size.height as usize,
        }
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The next rows, for those that came before, `spent`; `None` after the last.
    ///
    /// # Errors
    /// [`FeedStopped`].
    ///
    /// # Panics
    /// When the feed breaks I6: what it gives is then no picture, and no file is better than a wrong one.
    pub fn next_chunk(&mut self, spent: Vec<u8>) -> Result<Option<Vec<u8>>, FeedStopped> {
        if self.left == 0 {
            return Ok(None);
        }
        let chunk = self.feed.next_rows(spent)?;
        let rows = chunk.len() / self.row_bytes;
        assert!(
            rows > 0 && rows * self.row_bytes == chunk.len(),
            "I6: {} bytes are not a whole number of rows of {} bytes",
            chunk.len(),
            self.row_bytes
        );
        assert!(rows <= self.left, "I6: {rows} rows came, {} were left", self.left);
        self.left -= rows;
        Ok(Some(chunk))
    }

    /// An encoder that says it is done has taken every row.
    ///
    /// # Panics
    /// When it has not.
    pub fn finish(self) {
        assert!(self.left == 0, "I6: {} rows were not encoded", self.left);
    }
}
