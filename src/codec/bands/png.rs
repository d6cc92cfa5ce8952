//! Owns the rows of a PNG. Holds a few of them; of an interlaced one, whose first row is complete only after its
//! last pass, none, because it is asked for all at once.

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, ParameterError, ParameterErrorKind,
};

use super::{Bands, Bounded, Shape, Trouble, bounded};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

/// A PNG whose header is read.
pub(super) struct Rows {
    reader: png::Reader<Bounded>,
    shape: Shape,
    left: u32,
}

impl Rows {
    pub(super) fn open(source: Source, shape: Shape, limits: &DecodeLimits) -> Result<Self, Trouble> {
        let bytes = usize::try_from(limits.decode_bytes).unwrap_or(usize::MAX);
        let mut decoder = png::Decoder::new_with_limits(bounded(source), png::Limits { bytes });
        // Profiles were read with the header; a second copy would only be held.
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_ignore_text_chunk(true);
        // Palettes, transparent colours and less than eight bits become samples as everybody else has them.
        decoder.set_transformations(png::Transformations::EXPAND);
        let reader = decoder.read_info().map_err(image_error)?;
        let (width, height) = reader.info().size();
        shape.insist(Size::new(width, height), layout(reader.output_color_type()))?;
        Ok(Self {
            reader,
            shape,
            left: height,
        })
    }
}

impl Bands for Rows {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        if self.reader.info().interlaced {
            self.reader.next_frame(rows).map_err(image_error)?;
        } else {
            for row in rows.chunks_exact_mut(self.shape.row_bytes()) {
                self.reader.read_row(row).map_err(image_error)?;
                self.left = self.left.saturating_sub(1);
            }
            if self.left == 0 {
                // What is left of the compressed data holds the checksums of what was read.
                self.reader.read_row(&mut []).map_err(image_error)?;
            }
        }
        if self.shape.layout.depth == Depth::Sixteen {
            for sample in rows.as_chunks_mut::<2>().0 {
                *sample = u16::from_be_bytes(*sample).to_ne_bytes();
            }
        }
        Ok(())
    }
}

pub(super) fn layout((color, depth): (png::ColorType, png::BitDepth)) -> Option<PixelLayout> {
    let channels = match color {
        png::ColorType::Grayscale => Channels::Grey,
        png::ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        png::ColorType::Rgb => Channels::Rgb,
        png::ColorType::Rgba => Channels::Rgba,
        png::ColorType::Indexed => return None,
    };
    let depth = match depth {
        png::BitDepth::Eight => Depth::Eight,
        png::BitDepth::Sixteen => Depth::Sixteen,
        _ => return None,
    };
    Some(PixelLayout { channels, depth })
}

/// In the words that the `image` crate, which reads the headers, has for it.
pub(super) fn image_error(error: png::DecodingError) -> ImageError {
    let format = ImageFormatHint::Exact(image::ImageFormat::Png);
    match error {
        png::DecodingError::IoError(error) => ImageError::IoError(error),
        error @ png::DecodingError::Format(_) => ImageError::Decoding(DecodingError::new(format, error)),
        png::DecodingError::Parameter(error) => ImageError::Parameter(ParameterError::from_kind(
            ParameterErrorKind::Generic(error.to_string()),
        )),
        png::DecodingError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
    }
}
