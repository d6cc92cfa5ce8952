//! Owns the sink's side of I6: exactly the rows of the result, whole, in order. Never looks at a sample.

use crate::codec::error::CodecError;
use crate::codec::sink::{FeedStopped, RowFeed, SinkSpec};

impl From<FeedStopped> for CodecError {
    fn from(FeedStopped: FeedStopped) -> Self {
        Self::FeedStopped
    }
}

/// The rows still to come of a result, picture after picture.
pub struct Rows<'a> {
    feed: &'a mut dyn RowFeed,
    spec: &'a SinkSpec,
    /// The picture that they are of.
    picture: usize,
    row_bytes: usize,
    left: usize,
}

impl<'a> Rows<'a> {
    /// All rows of a result, those of its first picture first.
    pub fn new(spec: &'a SinkSpec, feed: &'a mut dyn RowFeed) -> Self {
        Self {
            feed,
            spec,
            picture: 0,
            row_bytes: spec.layout.row_bytes(spec.size.width),
            left: spec.size.height as usize,
        }
    }

    /// Goes on to the rows of the next picture; `false` after the last one.
    ///
    /// # Panics
    /// When rows of the one before were not encoded.
    pub fn next_picture(&mut self) -> bool {
        assert!(self.left == 0, "I6: {} rows were not encoded", self.left);
        if self.picture + 1 >= self.spec.sequence.pictures() {
            return false;
        }
        self.picture += 1;
        let (size, layout) = match self.spec.sequence.page(self.picture) {
            Some(page) => (page.size, page.layout),
            None => (self.spec.size, self.spec.layout),
        };
        self.row_bytes = layout.row_bytes(size.width);
        self.left = size.height as usize;
        true
    }

    /// Bytes of one row of this picture.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The next rows of this picture, for those that came before, `spent`; `None` after its last.
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

    /// Appends all rows of this picture to `canvas`.
    ///
    /// # Errors
    /// [`FeedStopped`].
    pub fn read_picture(&mut self, canvas: &mut Vec<u8>) -> Result<(), FeedStopped> {
        canvas.reserve_exact(self.left * self.row_bytes);
        let mut spent = Vec::new();
        while let Some(chunk) = self.next_chunk(spent)? {
            canvas.extend_from_slice(&chunk);
            spent = chunk;
        }
        Ok(())
    }

    /// An encoder that says it is done has taken every row of every picture.
    ///
    /// # Panics
    /// When it has not.
    pub fn finish(mut self) {
        assert!(
            !self.next_picture(),
            "I6: {} pictures were encoded, {} were to be",
            self.picture,
            self.spec.sequence.pictures()
        );
    }
}
