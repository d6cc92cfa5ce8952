//! Owns the strips and tiles of a TIFF. Holds the band that it is asked for, and besides it at most one strip or
//! tile, where samples must change their places.

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use tiff::TiffError;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::{PlanarConfiguration, Tag};

use super::{Bands, Bounded, Shape, Trouble, bounded};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

/// Reads the directory; the kind of samples as they are stored.
pub(super) fn decoder(
    source: Source,
    shape: Shape,
    limits: &DecodeLimits,
) -> Result<(Decoder<Bounded>, tiff::ColorType), Trouble> {
    let most = usize::try_from(limits.decode_bytes).unwrap_or(usize::MAX);
    let mut bounds = Limits::default();
    bounds.decoding_buffer_size = most;
    bounds.intermediate_buffer_size = most;
    bounds.ifd_value_size = most;
    let decoder = Decoder::new(bounded(source)).map_err(image_error)?;
    let mut decoder = decoder.with_limits(bounds);
    let (width, height) = decoder.dimensions().map_err(image_error)?;
    let color = decoder.colortype().map_err(image_error)?;
    shape.insist(Size::new(width, height), layout(color))?;
    Ok((decoder, color))
}

/// A TIFF whose directory is read.
pub(super) struct Chunks {
    decoder: Decoder<Bounded>,
    shape: Shape,
    /// Eight pixels lie in a byte.
    bitonal: bool,
    /// Samples of a kind lie together: how many kinds; 1 where they are mixed as everybody else has them.
    planes: u32,
    /// Columns × rows of a strip or tile.
    chunk: Size,
    /// Strips or tiles from the left edge to the right one.
    across: u32,
    /// The next row's number.
    next: u32,
    /// A strip or tile whose samples go elsewhere.
    scratch: Vec<u8>,
}

impl Chunks {
    pub(super) fn open(source: Source, shape: Shape, limits: &DecodeLimits) -> Result<Self, Trouble> {
        let (mut decoder, color) = decoder(source, shape, limits)?;
        let width = shape.size.width;
        let planar = decoder
            .find_tag_unsigned::<u16>(Tag::PlanarConfiguration)
            .map_err(image_error)?
            == Some(PlanarConfiguration::Planar.to_u16());
        let (chunk_width, chunk_height) = decoder.chunk_dimensions();
        if chunk_width == 0 || chunk_height == 0 {
            return Err(Trouble::Changed);
        }
        Ok(Self {
            decoder,
            shape,
            bitonal: color == tiff::ColorType::Gray(1),
            planes: if planar {
                shape.layout.channels.count() as u32
            } else {
                1
            },
            chunk: Size::new(chunk_width, chunk_height),
            across: width.div_ceil(chunk_width),
            next: 0,
            scratch: Vec::new(),
        })
    }

    /// Reads a band: all strips or tiles of one height.
    fn read_band(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let first = self.next / self.chunk.height * self.across;
        let in_plane = self.shape.size.height.div_ceil(self.chunk.height) * self.across;
        for plane in 0..self.planes {
            for column in 0..self.across {
                let index = plane * in_plane + first + column;
                let layout = self
                    .decoder
                    .image_chunk_buffer_layout(index)
                    .map_err(image_error)?;
                if self.planes == 1 && self.across == 1 && !self.bitonal && layout.len == rows.len() {
                    self.decoder.read_chunk_bytes(index, rows).map_err(image_error)?;
                    continue;
                }
                self.scratch.resize(layout.len, 0);
                self.decoder
                    .read_chunk_bytes(index, &mut self.scratch)
                    .map_err(image_error)?;
                let (chunk_width, _) = self.decoder.chunk_data_dimensions(index);
                self.place(plane, column * self.chunk.width, chunk_width, rows);
            }
        }
        Ok(())
    }

    /// Puts the samples of the scratch where they belong in a band.
    fn place(&self, plane: u32, column: u32, width: u32, rows: &mut [u8]) {
        let (column, width) = (column as usize, width as usize);
        let lines = rows.chunks_exact_mut(self.shape.row_bytes());
        if self.bitonal {
            let stored = self.scratch.chunks_exact(width.div_ceil(8));
            for (line, stored) in lines.zip(stored) {
                for (at, sample) in line[column..][..width].iter_mut().enumerate() {
                    *sample = if stored[at / 8] << (at % 8) & 0x80 == 0 {
                        0
                    } else {
                        255
                    };
                }
            }
            return;
        }
        let pixel = self.shape.layout.bytes_per_pixel();
        if self.planes == 1 {
            for (line, stored) in lines.zip(self.scratch.chunks_exact(width * pixel)) {
                line[column * pixel..][..stored.len()].copy_from_slice(stored);
            }
            return;
        }
        let sample = self.shape.layout.depth.bytes();
        let offset = plane as usize * sample;
        for (line, stored) in lines.zip(self.scratch.chunks_exact(width * sample)) {
            let pixels = line[column * pixel..].chunks_exact_mut(pixel);
            for (pixel, stored) in pixels.zip(stored.chunks_exact(sample)) {
                pixel[offset..][..sample].copy_from_slice(stored);
            }
        }
    }
}

impl Bands for Chunks {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let band_bytes = self.shape.row_bytes() * self.chunk.height.min(self.shape.size.height) as usize;
        for band in rows.chunks_mut(band_bytes) {
            self.read_band(band)?;
            self.next += (band.len() / self.shape.row_bytes()) as u32;
        }
        Ok(())
    }
}

fn layout(color: tiff::ColorType) -> Option<PixelLayout> {
    use tiff::ColorType::{Gray, GrayA, RGB, RGBA};
    let (channels, bits) = match color {
        Gray(bits) => (Channels::Grey, bits),
        GrayA(bits) => (Channels::GreyAlpha, bits),
        RGB(bits) => (Channels::Rgb, bits),
        RGBA(bits) => (Channels::Rgba, bits),
        _ => return None,
    };
    let depth = match (bits, channels) {
        (1, Channels::Grey) | (8, _) => Depth::Eight,
        (16, _) => Depth::Sixteen,
        _ => return None,
    };
    Some(PixelLayout { channels, depth })
}

/// In the words that the `image` crate, which reads the headers, has for it.
pub(super) fn image_error(error: TiffError) -> ImageError {
    let format = ImageFormatHint::Exact(image::ImageFormat::Tiff);
    match error {
        TiffError::IoError(error) => ImageError::IoError(error),
        TiffError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        TiffError::UnsupportedError(what) => ImageError::Unsupported(UnsupportedError::from_format_and_kind(
            format,
            UnsupportedErrorKind::GenericFeature(what.to_string()),
        )),
        other => ImageError::Decoding(DecodingError::new(format, other)),
    }
}
