//! Owns the reading of pixels in the order in which they are stored, a band of rows at a time: a row of a PNG, a
//! strip of a TIFF, the whole of what cannot be had in parts. Never turns a picture and never keeps a row that it
//! has given.
//!
//! The road not taken: to read everything through the `image` crate, whose decoders give the picture whole.

mod apng;
mod avif;
mod bmp;
mod canvas;
mod gif;
#[cfg(feature = "heic")]
mod heic;
mod jpeg;
mod jxl;
mod parts;
mod png;
mod tiff;
mod webp_frames;
mod whole;
mod window;
mod yuv;

use std::fs::File;
use std::io::{BufReader, Read, Take};

use image::ImageError;

use super::convert::Unconvertible;
use super::file::Source;
use super::layout::{PixelLayout, SourceFormat};
use super::probe::DecodeLimits;
use super::raw::RawLayout;
use crate::size::Size;

pub(super) use jxl::{Told as JxlTold, told as jxl_told};

/// Stored rows, top to bottom; those of the next frame after the last of one.
pub(super) trait Bands: Send {
    /// Writes the next rows into `rows`: all that are left, or a multiple of [`Outline::band_rows`].
    ///
    /// [`Outline::band_rows`]: super::outline::Outline::band_rows
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble>;
}

/// What a decoder says.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is not what its header said when it was probed.
    Changed,
    /// Its colours cannot be converted.
    Colors,
    /// Its own words.
    Decoder(ImageError),
}

impl From<Unconvertible> for Trouble {
    fn from(Unconvertible: Unconvertible) -> Self {
        Self::Colors
    }
}

impl<E: Into<ImageError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Decoder(error.into())
    }
}

/// What the rows must be like, as it was probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    size: Size,
    layout: PixelLayout,
}

impl Shape {
    /// Bytes of a row.
    fn row_bytes(self) -> usize {
        self.layout.row_bytes(self.size.width)
    }

    /// Refuses a decoder that is going to give something else.
    fn insist(self, size: Size, layout: Option<PixelLayout>) -> Result<(), Trouble> {
        if (size, layout) == (self.size, Some(self.layout)) {
            Ok(())
        } else {
            Err(Trouble::Changed)
        }
    }
}

/// Gets ready to read a source that was probed as having such samples. Panics of decoders are the caller's to
/// fence, here and in [`Bands::read`].
pub(super) fn open(source: Source, raw: RawLayout, limits: &DecodeLimits) -> Result<Box<dyn Bands>, Trouble> {
    match source.format {
        SourceFormat::Tiff => return Ok(Box::new(tiff::Chunks::open(source, raw)?)),
        SourceFormat::Jpeg => return Ok(Box::new(jpeg::Picture::new(source, raw, limits))),
        _ => {}
    }
    let shape = Shape {
        size: source.size,
        layout: raw.plain().ok_or(Trouble::Changed)?,
    };
    Ok(match source.format {
        SourceFormat::Png if source.outline.framed => Box::new(apng::Frames::open(source, shape, limits)?),
        SourceFormat::Png => Box::new(png::Rows::open(source, shape, limits)?),
        SourceFormat::Bmp => match source.outline.plain_bmp {
            // The fourth byte is alpha to some writers, and how to tell is not ours to know.
            Some(plain) if !shape.layout.channels.has_alpha() => {
                Box::new(bmp::Rows::open(source.file, plain, shape)?)
            }
            _ => Box::new(whole::Picture::new(source, shape, limits)),
        },
        SourceFormat::Webp if source.outline.framed => {
            Box::new(webp_frames::Frames::new(source, shape, limits))
        }
        SourceFormat::Gif => Box::new(gif::Frames::open(source, shape, limits)?),
        SourceFormat::Jxl => Box::new(jxl::Frames::open(source, shape)?),
        SourceFormat::Avif => Box::new(avif::Picture::new(source, shape)?),
        #[cfg(feature = "heic")]
        SourceFormat::Heic => Box::new(heic::Picture::new(source, shape)?),
        #[cfg(not(feature = "heic"))]
        SourceFormat::Heic => return Err(Trouble::Changed),
        _ => Box::new(whole::Picture::new(source, shape, limits)),
    })
}

/// The file up to the end of its picture.
type Bounded = BufReader<Take<File>>;

fn bounded(source: Source) -> Bounded {
    let image_bytes = source.outline.image_end.unwrap_or(u64::MAX);
    BufReader::with_capacity(1 << 16, source.file.take(image_bytes))
}
