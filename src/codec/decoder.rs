//! Owns the choice of a decoder and what its rows look like. Never reads a pixel.

use std::io::{BufReader, Read, Seek};

use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::ImageFormatHint;
use image::{ColorType, ImageDecoder, ImageError, Limits};

use super::layout::{Channels, Depth, PixelLayout, SourceFormat};
use super::probe::DecodeLimits;
use crate::size::Size;

/// Most bytes that the headers of a PNG may unpack to: profiles have less than a megabyte, and editors' histories a
/// few.
const MOST_HEADER_BYTES: u64 = 64 << 20;

/// A decoder for a file at its beginning, bound to the limits.
pub(super) fn new<'a>(
    format: SourceFormat,
    file: impl Read + Seek + 'a,
    limits: &DecodeLimits,
) -> Result<Box<dyn ImageDecoder + 'a>, ImageError> {
    let file = BufReader::with_capacity(1 << 16, file);
    let mut bounds = Limits::no_limits();
    bounds.max_image_width = Some(limits.side_px);
    bounds.max_image_height = Some(limits.side_px);
    bounds.max_alloc = Some(limits.decode_bytes);
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        SourceFormat::Jpeg => Box::new(JpegDecoder::new(file)?),
        // It takes in profiles and texts at once, so that limits set later would come too late. Only its header is
        // read: what a few kilobytes may unpack to has a limit of its own.
        SourceFormat::Png => {
            bounds.max_alloc = Some(limits.decode_bytes.min(MOST_HEADER_BYTES));
            Box::new(PngDecoder::with_limits(file, bounds.clone())?)
        }
        SourceFormat::Webp => Box::new(WebPDecoder::new(file)?),
        // Read by its directories alone.
        SourceFormat::Tiff => {
            return Err(ImageError::Unsupported(
                ImageFormatHint::Exact(image::ImageFormat::Tiff).into(),
            ));
        }
        SourceFormat::Bmp => Box::new(BmpDecoder::new(file)?),
        SourceFormat::Gif | SourceFormat::Avif | SourceFormat::Jxl | SourceFormat::Heic => {
            // Nobody asks: what is to be known of them is known from their outline.
            return Err(ImageError::Unsupported(
                ImageFormatHint::Name(format.as_str().to_owned()).into(),
            ));
        }
    };
    decoder.set_limits(bounds)?;
    Ok(decoder)
}

/// How the decoder's samples lie; `None` for floating-point ones.
pub(super) fn layout(color: ColorType) -> Option<PixelLayout> {
    let (channels, depth) = match color {
        ColorType::L8 => (Channels::Grey, Depth::Eight),
        ColorType::La8 => (Channels::GreyAlpha, Depth::Eight),
        ColorType::Rgb8 => (Channels::Rgb, Depth::Eight),
        ColorType::Rgba8 => (Channels::Rgba, Depth::Eight),
        ColorType::L16 => (Channels::Grey, Depth::Sixteen),
        ColorType::La16 => (Channels::GreyAlpha, Depth::Sixteen),
        ColorType::Rgb16 => (Channels::Rgb, Depth::Sixteen),
        ColorType::Rgba16 => (Channels::Rgba, Depth::Sixteen),
        _ => return None,
    };
    Some(PixelLayout { channels, depth })
}

/// Columns × rows as stored.
pub(super) fn size(decoder: &dyn ImageDecoder) -> Size {
    let (width, height) = decoder.dimensions();
    Size::new(width, height)
}
