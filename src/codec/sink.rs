//! Owns the encoders: rows in, a file out. Keeps I6. Never names, syncs or renames a file.

use std::fs::File;

use super::encode::{Output, Rows, jpeg, png, refused, tiff, webp};
use super::error::CodecError;
use super::layout::{PixelLayout, ResultFormat};
use super::metadata::Carried;
use super::sequence::Sequence;
use crate::size::Size;

/// The other side stopped; it knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedStopped;

/// Final rows in order, a few at a time.
pub trait RowFeed {
    /// The next rows: a whole number of them, at least one. `spent` is a buffer that is no longer needed, to be
    /// used again; empty at the first call.
    ///
    /// # Errors
    /// [`FeedStopped`] when no more will come.
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped>;
}

/// What is to be written.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// Columns × rows.
    pub size: Size,
    /// Samples of the rows that come.
    pub layout: PixelLayout,
    /// File format.
    pub format: ResultFormat,
    /// 1..=100, for lossy formats; 100 makes WebP lossless.
    pub quality: u8,
    /// Goes into the file too.
    pub metadata: Carried,
    /// The pictures after the first: their rows follow its rows in the feed.
    pub sequence: Sequence,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Length of the file.
    pub bytes: u64,
    /// What the format could not hold, one line each.
    pub warnings: Vec<String>,
}

/// Pulls all rows of `spec.size` from the feed and writes the file from its beginning.
///
/// # Errors
/// [`CodecError::FeedStopped`], [`CodecError::Output`], [`CodecError::Encode`]; the file is then worthless.
///
/// # Panics
/// When the feed breaks I6: a torn row, or more rows than `spec.size` has.
pub fn encode(spec: &SinkSpec, feed: &mut dyn RowFeed, out: File) -> Result<Encoded, CodecError> {
    let limit = side_limit(spec.format);
    let sides = [spec.size.width, spec.size.height];
    if sides.iter().any(|side| !(1..=limit).contains(side)) {
        return Err(refused(
            spec.format,
            format_args!("{} pixels, it holds 1 to {limit} a side", spec.size),
        ));
    }
    let mut out = Output::new(out)?;
    let mut rows = Rows::new(spec, feed);
    let warnings = match spec.format {
        ResultFormat::Jpeg => jpeg::encode(spec, &mut rows, &mut out),
        ResultFormat::Png => png::encode(spec, &mut rows, &mut out),
        ResultFormat::Webp => webp::encode(spec, &mut rows, &mut out),
        ResultFormat::Tiff => tiff::encode(spec, &mut rows, &mut out),
    }?;
    rows.finish();
    Ok(Encoded {
        bytes: out.finish()?,
        warnings,
    })
}

/// Most bytes that [`encode`] holds besides the rows it is given: for a format that takes rows as they come, what
/// depends on the width; for one that does not, the whole picture and what its encoder makes of it.
pub fn encode_bytes(spec: &SinkSpec) -> u64 {
    let picture_bytes = match spec.format {
        ResultFormat::Jpeg => jpeg::bytes(spec),
        ResultFormat::Png => png::bytes(spec),
        ResultFormat::Webp => webp::bytes(spec),
        ResultFormat::Tiff => tiff::bytes(spec),
    };
    // What the specification holds, the encoder's copy, and that in segments on its way into the file.
    picture_bytes + 3 * spec.metadata.bytes()
}

/// The format to fall back on where [`encode_bytes`] is too much for a format that needs the whole picture: one
/// that loses nothing, holds every layout and any size, and takes rows as they come. `None` for a format that
/// takes them so already.
pub fn streaming_alternative(format: ResultFormat) -> Option<ResultFormat> {
    match format {
        ResultFormat::Webp => Some(ResultFormat::Png),
        ResultFormat::Jpeg | ResultFormat::Png | ResultFormat::Tiff => None,
    }
}

/// Longest side that the format can hold, in pixels.
pub fn side_limit(format: ResultFormat) -> u32 {
    match format {
        ResultFormat::Jpeg => 65_535,
        ResultFormat::Webp => 16_383,
        // PNG ends here; TIFF could go on, few of its readers could.
        ResultFormat::Png | ResultFormat::Tiff => i32::MAX as u32,
    }
}
