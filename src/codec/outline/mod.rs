//! Owns the outline of an image file: how large, how many pictures, of what kind, and whether its end is there.
//! Read by walking its blocks, in bounded memory. Never decodes a pixel and never keeps more than a few values.
//!
//! The road not taken: to ask the decoders. They allocate by what a header claims, some fill what is missing
//! with grey and call it a success, and none tells how many pictures a file holds.

mod bmp;
mod boxes;
mod gif;
mod heif;
mod jpeg;
mod jxl;
mod png;
mod stream;
mod tiff;
mod webp;

use std::io::{self, Read, Seek};

use super::layout::SourceFormat;
use super::raw::RawLayout;
use super::sequence::{Animation, Delay};
use crate::size::Size;

pub(super) use gif::blocks as gif_blocks;
pub(super) use png::ColorChunks;
pub(super) use stream::Stream;
pub(super) use tiff::{Compression, Page, Photometric};

#[cfg(feature = "heic")]
pub(super) use heif::is_one_picture;
pub(super) use heif::{Grid, Heif};

/// Row buffers, tables and dictionaries that every decoder holds, whatever the picture's size.
const DECODER_BASE_BYTES: u64 = 1 << 20;

/// What was found before the walk ended, well or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outline {
    /// Columns × rows as stored.
    pub(super) size: Option<Size>,
    /// Bits of a sample in the file.
    pub(super) stored_bits: u8,
    /// Pictures in the file: frames of an animation, pages of a document.
    pub(super) pictures: u64,
    /// Why a file of this kind is not processed, and what to do.
    pub(super) refusal: Option<String>,
    /// How samples lie that a decoder gives, where it is asked to leave them as they are (JPEG, TIFF).
    pub(super) raw: Option<RawLayout>,
    /// What is said of colours (PNG).
    pub(super) colors: ColorChunks,
    /// Where the headers end and entropy-coded data begin (JPEG).
    pub(super) header_end: Option<u64>,
    /// Its components come one after the other (baseline JPEG).
    pub(super) apart: bool,
    /// Where the picture ends; what follows is something else.
    pub(super) image_end: Option<u64>,
    /// Rows that a decoder gives at once: 1 up to all of them.
    pub(super) band_rows: u32,
    /// Most bytes that a decoder holds besides the rows that it gives.
    pub(super) work_bytes: u64,
    /// Where the rows lie, if they can be read as they are (BMP).
    pub(super) plain_bmp: Option<PlainBmp>,
    /// What its directory says (TIFF).
    pub(super) tiff: Option<Box<Page>>,
    /// The pages after the first (TIFF).
    pub(super) more: Vec<Outline>,
    /// How the frames run, where there are several.
    pub(super) animation: Option<Animation>,
    /// Pixels of all frames: of the canvas, or of the frame where that is larger.
    pub(super) frames_px: u64,
    /// The frames may leave parts of the canvas uncovered, which are transparent.
    pub(super) holes: bool,
    /// Frames must be laid over one another to see even the first one.
    pub(super) framed: bool,
    /// The first picture in the file is for viewers that know no animations (PNG).
    pub(super) understudy: bool,
    /// The picture may go on behind the end of the file, and nothing would tell (JPEG XL).
    pub(super) open_ended: bool,
    /// Where the packed bytes lie (JPEG XL).
    pub(super) parts: Vec<Extent>,
    /// EXIF and XMP that were found on the way (JPEG XL).
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<Vec<u8>>,
    /// Where the parts of the picture lie (AVIF, HEIC).
    pub(super) heif: Option<Heif>,
    /// What need not be asked of a decoder.
    pub(super) facts: Option<Facts>,
    /// What cannot be taken along, one line each.
    pub(super) warnings: Vec<String>,
}

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// What the rows are like and what travels with them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Samples.
    pub(super) raw: RawLayout,
    /// Where the format has a place of its own for it (TIFF, HEIF), which counts instead of EXIF's.
    pub(super) orientation: Option<u8>,
    /// ICC profile.
    pub(super) icc: Option<Vec<u8>>,
    /// EXIF, possibly with a prefix.
    pub(super) exif: Option<Vec<u8>>,
    /// XMP: the packet.
    pub(super) xmp: Option<Vec<u8>>,
}

/// Most frames whose timing is kept; the limit of what is processed lies below.
pub(super) const MOST_FRAMES: u64 = 100_000;

/// Most bytes of a profile or of metadata that a walk takes along. Real ones are below a megabyte.
pub(super) const MOST_METADATA_BYTES: u64 = 16 << 20;

/// What is shown for less than this is shown for [`USUAL_DELAY_MS`] instead, by every browser: 0 and 1 hundredths of
/// a second were meant as "as fast as it goes" by machines of 1990.
const SHORTEST_DELAY_MS: u64 = 10;
const USUAL_DELAY_MS: u32 = 100;

/// How long a frame is shown, as browsers understand it.
pub(super) fn delay(numerator: u32, denominator: u32) -> Delay {
    let below_shortest =
        u64::from(numerator) * 1000 <= SHORTEST_DELAY_MS * u64::from(denominator) || denominator == 0;
    if below_shortest {
        return Delay {
            numerator: USUAL_DELAY_MS,
            denominator: 1000,
        };
    }
    Delay {
        numerator,
        denominator,
    }
}

/// Rows of a BMP that are neither compressed nor looked up in a palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlainBmp {
    /// Where the first stored row begins.
    pub(super) at: u64,
    /// From one row to the next.
    pub(super) stride: u64,
    /// The first stored row is the lowest one.
    pub(super) bottom_up: bool,
    /// Blue, green, red, and a byte of nothing where it is four.
    pub(super) pixel_bytes: usize,
}

impl Outline {
    fn new() -> Self {
        Self {
            pictures: 1,
            stored_bits: 8,
            work_bytes: DECODER_BASE_BYTES,
            ..Self::default()
        }
    }

    /// A picture comes whole, unless its walk found that it comes in smaller portions.
    fn settle(&mut self) {
        let rows = self.size.map_or(1, |size| size.height.max(1));
        self.band_rows = match self.band_rows {
            0 => rows,
            band_rows => band_rows.min(rows),
        };
    }

    /// The decoder will hold so much more. Saturates: hostile headers claim anything.
    fn add_work(&mut self, bytes: u64) {
        self.work_bytes = self.work_bytes.saturating_add(bytes);
    }

    /// A frame was found that so many pixels must be decoded for, and that is shown for so long.
    fn add_frame(&mut self, pixels: u64, delay: Delay) {
        self.frames_px = self.frames_px.saturating_add(pixels);
        let animation = self.animation.get_or_insert(Animation {
            loops: 1,
            delays: Vec::new(),
        });
        if (animation.delays.len() as u64) < MOST_FRAMES {
            animation.delays.push(delay);
        }
    }
}

/// Why a walk did not reach the end.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The kernel says so.
    Io(io::Error),
    /// The file ends, or something else begins, before the picture ends.
    Short,
    /// Its blocks contradict each other: how, in a few words.
    Damaged(&'static str),
}

/// Walks a file. The outline tells as much as was found before the flaw, so that a limit can be reported
/// before what is missing behind it.
pub(super) fn examine(
    format: SourceFormat,
    file: impl Read + Seek,
    file_bytes: u64,
) -> (Outline, Option<Flaw>) {
    let mut stream = Stream::new(file, file_bytes);
    let mut outline = Outline::new();
    let walked = match format {
        SourceFormat::Jpeg => jpeg::walk(&mut stream, &mut outline),
        SourceFormat::Png => png::walk(&mut stream, &mut outline),
        SourceFormat::Webp => webp::walk(&mut stream, &mut outline),
        SourceFormat::Tiff => tiff::walk(&mut stream, &mut outline),
        SourceFormat::Bmp => bmp::walk(&mut stream, &mut outline),
        SourceFormat::Gif => gif::walk(&mut stream, &mut outline),
        SourceFormat::Jxl => jxl::walk(&mut stream, &mut outline),
        SourceFormat::Avif | SourceFormat::Heic => heif::walk(&mut stream, &mut outline, format),
    };
    // One frame is no animation.
    if outline.pictures <= 1 {
        outline.animation = None;
    }
    outline.settle();
    (outline, walked.err())
}
