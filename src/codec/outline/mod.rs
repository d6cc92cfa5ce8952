//! Owns the outline of an image file: how large, how many pictures, of what kind, and whether its end is there.
//! Read by walking its blocks, in bounded memory. Never decodes a pixel and never keeps more than a few values.
//!
//! The road not taken: to ask the decoders. They allocate by what a header claims, some fill what is missing
//! with grey and call it a success, and none tells how many pictures a file holds.

mod bmp;
mod jpeg;
mod png;
mod stream;
mod tiff;
mod webp;

use std::io::{self, Read, Seek};

use super::layout::SourceFormat;
use super::raw::RawLayout;
use crate::size::Size;

pub(super) use png::ColorChunks;
pub(super) use stream::Stream;
pub(super) use tiff::{Compression, Page, Photometric};

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
    /// What cannot be taken along, one line each.
    pub(super) warnings: Vec<String>,
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
    };
    outline.settle();
    (outline, walked.err())
}
