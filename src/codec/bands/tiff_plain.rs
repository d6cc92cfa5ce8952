//! Owns the rows of a TIFF without compression, whose strips may be as large as the picture. Holds one row.

use std::io::{Read, Seek, SeekFrom};

use image::ImageError;
use tiff::decoder::Decoder;
use tiff::tags::{ByteOrder, Tag};

use super::tiff::{decoder, image_error};
use super::{Bands, Bounded, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::layout::Depth;
use crate::codec::probe::DecodeLimits;

/// A TIFF whose strips lie at known places.
pub(super) struct Rows {
    decoder: Decoder<Bounded>,
    shape: Shape,
    /// Where the strips begin.
    strips: Vec<u64>,
    rows_per_strip: u32,
    /// With the samples that nobody wants.
    stored_pixel_bytes: usize,
    swapped: bool,
    stored: Vec<u8>,
    next: u32,
    /// Where the file is.
    at: Option<u64>,
}

impl Rows {
    pub(super) fn open(source: Source, shape: Shape, limits: &DecodeLimits) -> Result<Self, Trouble> {
        let (mut decoder, _) = decoder(source, shape, limits)?;
        let strips = decoder.get_tag_u64_vec(Tag::StripOffsets).map_err(image_error)?;
        let samples: u16 = decoder
            .find_tag_unsigned(Tag::SamplesPerPixel)
            .map_err(image_error)?
            .unwrap_or(1);
        let (_, rows_per_strip) = decoder.chunk_dimensions();
        let stored_pixel_bytes = usize::from(samples) * shape.layout.depth.bytes();
        if rows_per_strip == 0 || stored_pixel_bytes < shape.layout.bytes_per_pixel() {
            return Err(Trouble::Changed);
        }
        let native = if cfg!(target_endian = "big") {
            ByteOrder::BigEndian
        } else {
            ByteOrder::LittleEndian
        };
        Ok(Self {
            shape,
            strips,
            rows_per_strip,
            stored_pixel_bytes,
            swapped: shape.layout.depth == Depth::Sixteen && decoder.byte_order() != native,
            stored: vec![0; stored_pixel_bytes * shape.size.width as usize],
            decoder,
            next: 0,
            at: None,
        })
    }

    /// Reads the next row as it is stored.
    fn advance(&mut self) -> Result<(), ImageError> {
        let strip = self.strips.get((self.next / self.rows_per_strip) as usize);
        let row_bytes = self.stored.len() as u64;
        let place = u64::from(self.next % self.rows_per_strip) * row_bytes;
        let place = strip.and_then(|strip| strip.checked_add(place)).ok_or_else(|| {
            // Offsets for less rows than the picture has.
            ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into())
        })?;
        let file = self.decoder.inner();
        // Within a strip the file is there already, and seeking would empty its buffer.
        if self.at != Some(place) {
            file.seek(SeekFrom::Start(place)).map_err(ImageError::IoError)?;
        }
        file.read_exact(&mut self.stored).map_err(ImageError::IoError)?;
        self.at = place.checked_add(row_bytes);
        self.next += 1;
        Ok(())
    }
}

impl Bands for Rows {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let pixel_bytes = self.shape.layout.bytes_per_pixel();
        for row in rows.chunks_exact_mut(self.shape.row_bytes()) {
            self.advance()?;
            if self.stored.len() == row.len() {
                row.copy_from_slice(&self.stored);
            } else {
                let stored = self.stored.chunks_exact(self.stored_pixel_bytes);
                for (pixel, stored) in row.chunks_exact_mut(pixel_bytes).zip(stored) {
                    pixel.copy_from_slice(&stored[..pixel_bytes]);
                }
            }
            if self.swapped {
                row.as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .for_each(|sample| sample.reverse());
            }
        }
        Ok(())
    }
}
