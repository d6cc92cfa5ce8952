//! Owns the pixels of a JPEG. They come whole: its decoder writes each row of blocks into the picture at once and
//! holds no second one, but it cannot stop in between. The file goes through a window.
//!
//! The `image` crate's reader for the same decoder takes in the whole file first, into a buffer that doubles.

use std::cell::Cell;

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::window::Window;
use super::{Bands, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

/// A JPEG that is read with one call.
pub(super) struct Picture {
    source: Source,
    shape: Shape,
    side_px: usize,
}

impl Picture {
    pub(super) fn new(source: Source, shape: Shape, limits: &DecodeLimits) -> Self {
        Self {
            source,
            shape,
            side_px: limits.side_px as usize,
        }
    }
}

impl Bands for Picture {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let failure = Cell::new(None);
        let end = self.source.outline.image_end.unwrap_or(u64::MAX);
        let window = Window::new(&self.source.file, end, &failure);
        let decoded = decode(window, self.shape, self.side_px, rows);
        match failure.take() {
            Some(error) => Err(ImageError::IoError(error).into()),
            None => decoded,
        }
    }
}

fn decode(window: Window<'_>, shape: Shape, side_px: usize, rows: &mut [u8]) -> Result<(), Trouble> {
    let color = match shape.layout.channels {
        Channels::Grey => ColorSpace::Luma,
        Channels::GreyAlpha => ColorSpace::LumaA,
        Channels::Rgb => ColorSpace::RGB,
        Channels::Rgba => ColorSpace::RGBA,
    };
    // Not strict: the end of the picture is known to be there, and what cameras get wrong besides does no harm.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(side_px)
        .set_max_height(side_px)
        .jpeg_set_out_colorspace(color);
    let mut decoder = JpegDecoder::new_with_options(window, options);
    decoder.decode_headers().map_err(image_error)?;
    let (size, stored) = (decoder.dimensions(), decoder.input_colorspace());
    let (Some((width, height)), Some(stored)) = (size, stored) else {
        return Err(Trouble::Changed);
    };
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    shape.insist(Size::new(side(width), side(height)), Some(layout(stored)))?;
    decoder.decode_into(rows).map_err(image_error)?;
    Ok(())
}

/// How samples come out that are stored so: what is neither grey nor RGB is converted to RGB.
fn layout(stored: ColorSpace) -> PixelLayout {
    let channels = match stored {
        ColorSpace::Luma => Channels::Grey,
        ColorSpace::LumaA => Channels::GreyAlpha,
        ColorSpace::RGBA => Channels::Rgba,
        _ => Channels::Rgb,
    };
    PixelLayout {
        channels,
        depth: Depth::Eight,
    }
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
