//! Owns the pixels of a JPEG. They come whole: its decoder writes each row of blocks into the picture at once and
//! holds no second one, but it cannot stop in between. The file goes through a window.
//!
//! Baseline pictures in several scans go through another decoder, because this one makes garbage of them.
//!
//! The `image` crate's reader for the same decoder takes in the whole file first, into a buffer that doubles.

use std::cell::Cell;
use std::io::{BufReader, Read};

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::window::{WINDOW_BYTES, Window};
use super::{Bands, Trouble};
use crate::codec::file::Source;
use crate::codec::probe::DecodeLimits;
use crate::codec::raw::{Model, RawLayout};
use crate::size::Size;

/// A JPEG that is read with one call.
pub(super) struct Picture {
    source: Source,
    raw: RawLayout,
    side_px: usize,
}

impl Picture {
    pub(super) fn new(source: Source, raw: RawLayout, limits: &DecodeLimits) -> Self {
        Self {
            source,
            raw,
            side_px: limits.side_px as usize,
        }
    }
}

impl Bands for Picture {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        if self.source.outline.apart {
            return decode_apart(&self.source, rows);
        }
        let failure = Cell::new(None);
        let end = self.source.outline.image_end.unwrap_or(u64::MAX);
        let window = Window::new(&self.source.file, end, &failure);
        let decoded = decode(window, self.source.size, self.raw, self.side_px, rows);
        match failure.take() {
            Some(error) => Err(ImageError::IoError(error).into()),
            None => decoded,
        }
    }
}

fn decode(
    window: Window<'_>,
    size: Size,
    raw: RawLayout,
    side_px: usize,
    rows: &mut [u8],
) -> Result<(), Trouble> {
    // Ink is taken as it is: a profile may tell how it looks.
    let color = match raw.model {
        Model::Grey => ColorSpace::Luma,
        Model::Rgb => ColorSpace::RGB,
        Model::Cmyk(_) => ColorSpace::CMYK,
        Model::Ycck => ColorSpace::YCCK,
        Model::YCbCr { .. } | Model::Lab { .. } => return Err(Trouble::Changed),
    };
    // Not strict: the end of the picture is known to be there, and what cameras get wrong besides does no harm.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(side_px)
        .set_max_height(side_px)
        .jpeg_set_out_colorspace(color);
    let mut decoder = JpegDecoder::new_with_options(window, options);
    decoder.decode_headers().map_err(image_error)?;
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let found = decoder
        .dimensions()
        .map(|(width, height)| Size::new(side(width), side(height)));
    let fits = decoder.input_colorspace().is_some_and(|stored| match stored {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => stored == color,
        ColorSpace::RGB | ColorSpace::YCbCr => color == ColorSpace::RGB,
        _ => false,
    });
    if found != Some(size) || !fits {
        return Err(Trouble::Changed);
    }
    decoder.decode_into(rows).map_err(image_error)?;
    Ok(())
}

/// A baseline picture whose components come one after the other. The decoder of all others takes them for something
/// else and says nothing.
fn decode_apart(source: &Source, rows: &mut [u8]) -> Result<(), Trouble> {
    let end = source.outline.image_end.unwrap_or(u64::MAX);
    let file = BufReader::with_capacity(WINDOW_BYTES, (&source.file).take(end));
    let mut decoder = jpeg_decoder::Decoder::new(file);
    let pixels = decoder.decode().map_err(|error| match error {
        jpeg_decoder::Error::Io(error) => ImageError::IoError(error),
        other => ImageError::Decoding(DecodingError::new(
            ImageFormatHint::Exact(image::ImageFormat::Jpeg),
            other,
        )),
    })?;
    if pixels.len() != rows.len() {
        return Err(Trouble::Changed);
    }
    rows.copy_from_slice(&pixels);
    Ok(())
}

/// In the words that the `image` crate, which reads the headers, has for it.
fn image_error(error: DecodeErrors) -> ImageError {
    let format = ImageFormatHint::Exact(image::ImageFormat::Jpeg);
    match error {
        DecodeErrors::Unsupported(what) => ImageError::Unsupported(UnsupportedError::from_format_and_kind(
            format,
            UnsupportedErrorKind::GenericFeature(format!("{what:?}")),
        )),
        DecodeErrors::LargeDimensions(_) => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError))
        }
        other => ImageError::Decoding(DecodingError::new(format, other)),
    }
}
