//! Owns what a file's header says, read under limits before any large allocation. Never decodes a pixel.

use std::path::Path;

use super::color;
use super::error::CodecError;
use super::file;
use super::layout::{PixelLayout, SourceFormat};
use super::notes::Notes;
use super::picture;
use super::sequence::{Page, Sequence};
use crate::report::InputFacts;
use crate::size::Size;

/// What a source may ask for before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest side.
    pub side_px: u32,
    /// Most pixels.
    pub pixels: u64,
    /// Most bytes that decoding may hold.
    pub decode_bytes: u64,
    /// Most pictures in a file: frames of an animation, pages of a document.
    pub frames: u32,
    /// Most pixels of all pictures of a file together.
    pub sequence_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            side_px: 50_000,
            pixels: 500_000_000,
            decode_bytes: 4 << 30,
            // Five minutes and a half at 30 frames a second: what is longer is a video.
            frames: 10_000,
            // 2000 frames of 1920×1080.
            sequence_pixels: 4_000_000_000,
        }
    }
}

/// A source's header.
#[derive(Debug, Clone)]
pub struct ImageHeader {
    /// What the file is, whatever its name says.
    pub format: SourceFormat,
    /// Columns × rows as stored, before the orientation is applied; of the first picture, as all that follows.
    pub stored: Size,
    /// Samples as [`open`](super::open) gives them.
    pub layout: PixelLayout,
    /// Bits of a sample in the file: 1 to 64.
    pub stored_bits: u8,
    /// EXIF orientation, 1..=8; 1 where there is none.
    pub orientation: u8,
    /// ICC profile whose colour space fits `layout`.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF structure (begins with `II` or `MM`), without the `Exif\0\0` of JPEG.
    pub exif: Option<Vec<u8>>,
    /// XMP: the packet, joined where a file had it in parts.
    pub xmp: Option<Vec<u8>>,
    /// IPTC: the records (IIM), without what a format wraps around them.
    pub iptc: Option<Vec<u8>>,
    /// Comments, texts, resources of Photoshop, resolution.
    pub notes: Notes,
    /// The pictures after the first.
    pub sequence: Sequence,
    /// What could not be taken along, one line each.
    pub warnings: Vec<String>,
    /// Most bytes that [`open`](super::open)'s rows will hold until the last is read: the picture where it must be
    /// turned or its decoder only gives it whole, else a band of it; the decoder's own buffers; the metadata.
    pub decode_bytes: u64,
}

impl ImageHeader {
    /// Columns × rows as people see it: orientations 5 to 8 swap the sides.
    pub fn upright(&self) -> Size {
        match self.orientation {
            5..=8 => Size::new(self.stored.height, self.stored.width),
            _ => self.stored,
        }
    }

    /// The picture at `index`: 0 is the first.
    pub fn page(&self, index: usize) -> Page {
        self.sequence.page(index).cloned().unwrap_or_else(|| Page {
            size: self.stored,
            layout: self.layout,
            orientation: self.orientation,
            icc: self.icc.clone(),
            density: self.notes.density,
        })
    }

    /// For the job document.
    pub fn facts(&self) -> InputFacts {
        InputFacts {
            width: self.stored.width,
            height: self.stored.height,
            format: self.format.as_str().to_owned(),
            bit_depth: self.layout.depth.bits(),
            channels: self.layout.channels.count() as u8,
            icc: self.icc.as_deref().and_then(color::description),
            orientation: self.orientation,
            pictures: self.sequence.pictures() as u64,
        }
    }
}

/// Reads the header.
///
/// # Errors
/// [`CodecError`]: everything that can be known to be wrong without decoding.
pub fn probe(path: &Path, limits: &DecodeLimits) -> Result<ImageHeader, CodecError> {
    let source = file::accept(path, limits)?;
    let known = picture::know(path, &source, limits)?;
    let mut pictures = known.pictures.into_iter();
    let Some(first) = pictures.next() else {
        return Err(file::unreadable(path, "it holds no picture"));
    };
    let pages: Vec<Page> = pictures
        .map(|picture| Page {
            size: picture.size,
            layout: picture.plan.layout,
            orientation: picture.orientation,
            icc: picture.plan.icc,
            density: picture.density,
        })
        .collect();
    Ok(ImageHeader {
        format: source.format,
        stored: first.size,
        layout: first.plan.layout,
        stored_bits: source.outline.stored_bits,
        orientation: first.orientation,
        icc: first.plan.icc,
        exif: known.exif,
        xmp: known.xmp,
        iptc: known.iptc,
        notes: known.notes,
        sequence: match known.animation {
            Some(animation) => Sequence::Animation(animation),
            None if pages.is_empty() => Sequence::Single,
            None => Sequence::Pages(pages),
        },
        warnings: known.warnings,
        decode_bytes: known.decode_bytes,
    })
}
