//! Owns the rows of a BMP without palette and compression. Holds one of them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Bands, Shape, Trouble};
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::outline::PlainBmp;

/// A BMP whose rows lie at known places.
pub(super) struct Rows {
    file: File,
    plain: PlainBmp,
    shape: Shape,
    next: u32,
    stored: Vec<u8>,
}

impl Rows {
    pub(super) fn open(file: File, plain: PlainBmp, shape: Shape) -> Result<Self, Trouble> {
        let rgb = PixelLayout {
            channels: Channels::Rgb,
            depth: Depth::Eight,
        };
        shape.insist(shape.size, Some(rgb))?;
        let stored = vec![0; shape.size.width as usize * plain.pixel_bytes];
        Ok(Self {
            file,
            plain,
            shape,
            next: 0,
            stored,
        })
    }
}

impl Bands for Rows {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        for row in rows.chunks_exact_mut(self.shape.row_bytes()) {
            let line = if self.plain.bottom_up {
                self.shape.size.height - 1 - self.next
            } else {
                self.next
            };
            let place = self.plain.at + self.plain.stride * u64::from(line);
            self.file
                .read_exact_at(&mut self.stored, place)
                .map_err(image::ImageError::IoError)?;
            let stored = self.stored.chunks_exact(self.plain.pixel_bytes);
            for (pixel, bgr) in row.as_chunks_mut::<3>().0.iter_mut().zip(stored) {
                *pixel = [bgr[2], bgr[1], bgr[0]];
            }
            self.next += 1;
        }
        Ok(())
    }
}
