//! Owns the way into a file: which encoder takes the rows, what it may hold, what its format can. Keeps I6. Never names, syncs or renames a file.

use std::fs::File;

use super::encode::{Output, Rows, apng, avif, gif, jpeg, jxl, png, refused, tiff, webp, webp_anim};
use super::error::CodecError;
use super::layout::{PixelLayout, ResultFormat};
use super::metadata::Carried;
use super::notes::Notes;
use super::sequence::Sequence;
use crate::config::EncodeSettings;
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
    /// 1..=100, for lossy formats.
    pub quality: u8,
    /// What else the encoders are told.
    pub settings: EncodeSettings,
    /// Goes into the file too.
    pub metadata: Carried,
    /// The pictures after the first: their rows follow its rows in the feed.
    pub sequence: Sequence,
}

impl SinkSpec {
    /// The picture at `index` as if it were the only one; what describes the whole file stays with the first.
    pub(super) fn picture(&self, index: usize) -> Self {
        let (size, layout, metadata) = match self.sequence.page(index) {
            Some(page) => {
                let metadata = Carried {
                    icc: page.icc.clone(),
                    notes: Notes {
                        density: page.density,
                        ..Notes::default()
                    },
                    ..Carried::default()
                };
                (page.size, page.layout, metadata)
            }
            None => (self.size, self.layout, self.metadata.clone()),
        };
        Self {
            size,
            layout,
            format: self.format,
            quality: self.quality,
            settings: self.settings,
            metadata,
            sequence: Sequence::Single,
        }
    }

    /// Whether its pictures are frames.
    fn is_animated(&self) -> bool {
        matches!(self.sequence, Sequence::Animation(_)) && !self.sequence.is_single()
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Length of the file.
    pub bytes: u64,
    /// What the format could not hold, one line each.
    pub warnings: Vec<String>,
}

/// Pulls all rows of all pictures from the feed and writes the file from its beginning.
///
/// # Errors
/// [`CodecError::FeedStopped`], [`CodecError::Output`], [`CodecError::Encode`]; the file is then worthless.
///
/// # Panics
/// When the feed breaks I6: a torn row, or more rows than a picture has.
pub fn encode(spec: &SinkSpec, feed: &mut dyn RowFeed, out: File) -> Result<Encoded, CodecError> {
    check(spec)?;
    let mut out = Output::new(out)?;
    let mut rows = Rows::new(spec, feed);
    let warnings = match spec.format {
        ResultFormat::Jpeg => jpeg::encode(spec, &mut rows, &mut out),
        ResultFormat::Png if spec.is_animated() => apng::encode(spec, &mut rows, &mut out),
        ResultFormat::Png => png::encode(spec, &mut rows, &mut out),
        ResultFormat::Webp if spec.is_animated() => webp_anim::encode(spec, &mut rows, &mut out),
        ResultFormat::Webp => webp::encode(spec, &mut rows, &mut out),
        ResultFormat::Tiff => tiff::encode(spec, &mut rows, &mut out),
        ResultFormat::Avif => avif::encode(spec, &mut rows, &mut out),
        ResultFormat::Jxl => jxl::encode(spec, &mut rows, &mut out),
        ResultFormat::Gif => gif::encode(spec, &mut rows, &mut out),
    }?;
    rows.finish();
    Ok(Encoded {
        bytes: out.finish()?,
        warnings,
    })
}

/// That the format can hold all of it.
fn check(spec: &SinkSpec) -> Result<(), CodecError> {
    if !holds(spec.format, &spec.sequence) {
        let pictures = spec.sequence.pictures();
        return Err(refused(
            spec.format,
            format_args!("{pictures} pictures, it holds one"),
        ));
    }
    let limit = side_limit(spec.format);
    let pages = (1..spec.sequence.pictures()).filter_map(|index| spec.sequence.page(index));
    for size in [spec.size].into_iter().chain(pages.map(|page| page.size)) {
        if [size.width, size.height]
            .iter()
            .any(|side| !(1..=limit).contains(side))
        {
            return Err(refused(
                spec.format,
                format_args!("{size} pixels, it holds 1 to {limit} a side"),
            ));
        }
    }
    Ok(())
}

/// Most bytes that [`encode`] holds besides the rows it is given: for a format that takes rows as they come, what
/// depends on the width; for one that does not, the whole picture and what its encoder makes of it. Of several
/// pictures, what the largest needs.
pub fn encode_bytes(spec: &SinkSpec) -> u64 {
    let picture_bytes = match spec.format {
        ResultFormat::Jpeg => jpeg::bytes(spec),
        ResultFormat::Png if spec.is_animated() => apng::bytes(spec),
        ResultFormat::Png => png::bytes(spec),
        ResultFormat::Webp if spec.is_animated() => webp_anim::bytes(spec),
        ResultFormat::Webp => webp::bytes(spec),
        ResultFormat::Tiff => tiff::bytes(spec),
        ResultFormat::Avif => avif::bytes(spec),
        ResultFormat::Jxl => jxl::bytes(spec),
        ResultFormat::Gif => gif::bytes(spec),
    };
    let pages = (1..spec.sequence.pictures()).filter_map(|index| spec.sequence.page(index)?.icc.as_ref());
    let pages_bytes: u64 = pages.map(|icc| icc.len() as u64).sum();
    // What the specification holds, the encoder's copy, and that in segments on its way into the file.
    picture_bytes + 3 * (spec.metadata.bytes() + pages_bytes)
}

/// The format to fall back on where [`encode_bytes`] is too much for a format that needs the whole picture: one
/// that loses nothing, holds every layout and any size, and takes rows as they come. `None` for a format that
/// takes them so already, and for frames, which no format takes so.
pub fn streaming_alternative(spec: &SinkSpec) -> Option<ResultFormat> {
    match spec.format {
        _ if spec.is_animated() => None,
        ResultFormat::Jpeg if !spec.settings.jpeg_progressive => None,
        ResultFormat::Png | ResultFormat::Tiff | ResultFormat::Avif => None,
        ResultFormat::Jpeg | ResultFormat::Webp | ResultFormat::Jxl | ResultFormat::Gif => {
            Some(ResultFormat::Png)
        }
    }
}

/// Whether the format can hold these pictures in one file.
pub fn holds(format: ResultFormat, sequence: &Sequence) -> bool {
    match sequence {
        _ if sequence.is_single() => true,
        Sequence::Pages(_) => format == ResultFormat::Tiff,
        Sequence::Animation(_) | Sequence::Single => {
            matches!(format, ResultFormat::Png | ResultFormat::Webp | ResultFormat::Gif)
        }
    }
}

/// Longest side that the format can hold, in pixels.
pub fn side_limit(format: ResultFormat) -> u32 {
    match format {
        ResultFormat::Jpeg | ResultFormat::Gif => 65_535,
        ResultFormat::Webp => 16_383,
        // 65,536 is what the format can say; beyond this its readers refuse a picture unless told otherwise.
        ResultFormat::Avif => 32_768,
        ResultFormat::Jxl => 1 << 18,
        // PNG ends here; TIFF could go on, few of its readers could.
        ResultFormat::Png | ResultFormat::Tiff => i32::MAX as u32,
    }
}
