//! Owns the rows of a source, upright and in order. Never looks at what comes after the pixels.
//!
//! The picture is decoded whole and turned while rows are read from it: a turned copy would cost its size again.

use std::io::Read;
use std::path::{Path, PathBuf};

use image::{ImageDecoder, ImageError};

use super::decoder;
use super::error::CodecError;
use super::file::{self, Source};
use super::guard::{Panicked, fenced};
use super::layout::{Depth, PixelLayout};
use super::probe::{DecodeLimits, ImageHeader};
use crate::size::Size;

/// Rows of an upright picture, top to bottom.
pub trait RowSource: Send {
    /// Columns × rows, upright.
    fn size(&self) -> Size;
    /// Samples.
    fn layout(&self) -> PixelLayout;
    /// Writes the next row into `row`, `layout.row_bytes(width)` bytes.
    ///
    /// # Errors
    /// [`CodecError`]; nothing is to be read afterwards.
    fn read_row(&mut self, row: &mut [u8]) -> Result<(), CodecError>;
}

/// Opens a probed source. The pixels are decoded with the first row, so that this returns at once and whoever
/// reads the rows bears the time.
///
/// # Errors
/// [`CodecError`]: the file is not what the header says, any more; what [`probe`](super::probe) may find.
pub fn open(
    path: &Path,
    header: &ImageHeader,
    limits: &DecodeLimits,
) -> Result<Box<dyn RowSource>, CodecError> {
    // Once more from the beginning: between header and pixels the file may have been replaced, and a JPEG that
    // is cut off decodes without complaint.
    let source = file::accept(path, limits)?;
    if (source.format, source.size) != (header.format, header.stored) {
        return Err(file::unreadable(path, CHANGED));
    }
    Ok(Box::new(UprightRows {
        path: path.to_owned(),
        layout: header.layout,
        walk: Walk::new(header.stored, header.orientation),
        size: header.upright(),
        premultiplied: source.outline.premultiplied && header.layout.channels.has_alpha(),
        state: State::Closed(source, limits.clone()),
        next_row: 0,
    }))
}

const CHANGED: &str = "it changed while it was read";

/// Where the pixels are.
enum State {
    /// In the file.
    Closed(Source, DecodeLimits),
    /// In memory, as stored.
    Decoded(Vec<u8>),
    /// Handed out, or never got: no row comes any more.
    Over,
}

/// A decoded picture, read along its upright rows.
struct UprightRows {
    path: PathBuf,
    layout: PixelLayout,
    walk: Walk,
    size: Size,
    premultiplied: bool,
    state: State,
    next_row: u32,
}

impl RowSource for UprightRows {
    fn size(&self) -> Size {
        self.size
    }

    fn layout(&self) -> PixelLayout {
        self.layout
    }

    fn read_row(&mut self, row: &mut [u8]) -> Result<(), CodecError> {
        debug_assert_eq!(row.len(), self.layout.row_bytes(self.size.width));
        if let State::Closed(source, limits) = &self.state {
            let decoded = decode(&self.path, source, self.layout, limits);
            self.state = State::Over;
            self.state = State::Decoded(decoded?);
        }
        let State::Decoded(pixels) = &self.state else {
            return Err(file::unreadable(&self.path, "it has no more rows"));
        };
        self.walk
            .copy_row(pixels, self.layout.bytes_per_pixel(), self.next_row, row);
        if self.premultiplied {
            divide_by_alpha(row, self.layout);
        }
        self.next_row += 1;
        if self.next_row == self.size.height {
            // The encoder may still need the memory for a while.
            self.state = State::Over;
        }
        Ok(())
    }
}

/// Decodes the whole picture as it is stored.
fn decode(
    path: &Path,
    source: &Source,
    layout: PixelLayout,
    limits: &DecodeLimits,
) -> Result<Vec<u8>, CodecError> {
    let rows = source.size.height as usize;
    let bytes = layout.row_bytes(source.size.width).saturating_mul(rows);
    let mut pixels = Vec::new();
    if pixels.try_reserve_exact(bytes).is_err() {
        return Err(file::too_large(
            path,
            format!("there is no memory for {} pixels", source.size),
        ));
    }
    pixels.resize(bytes, 0);
    let image_bytes = source.outline.image_end.unwrap_or(u64::MAX);
    let decoded = fenced(|| -> Result<bool, ImageError> {
        let decoder = decoder::new(source.format, (&source.file).take(image_bytes), limits)?;
        let fits = decoder.total_bytes() == bytes as u64
            && decoder::size(&decoder) == source.size
            && decoder::layout(decoder.color_type()) == Some(layout);
        if fits {
            decoder.read_image_boxed(&mut pixels)?;
        }
        Ok(fits)
    });
    match decoded {
        Ok(Ok(true)) => Ok(pixels),
        Ok(Ok(false)) => Err(file::unreadable(path, CHANGED)),
        Ok(Err(error)) => Err(file::decoder_error(path, error)),
        Err(Panicked) => Err(file::unreadable(path, "its pixels are damaged")),
    }
}

/// How upright rows run through the stored picture, in pixels: row `y` begins at `first + y * down` and its
/// next pixel is `right` further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walk {
    first: isize,
    right: isize,
    down: isize,
}

impl Walk {
    fn new(stored: Size, orientation: u8) -> Self {
        let (width, height) = (stored.width as isize, stored.height as isize);
        let (last_column, last_row) = (width - 1, width * (height - 1));
        let (first, right, down) = match orientation {
            2 => (last_column, -1, width),
            3 => (last_row + last_column, -1, -width),
            4 => (last_row, 1, -width),
            5 => (0, width, 1),
            6 => (last_row, -width, 1),
            7 => (last_row + last_column, -width, -1),
            8 => (last_column, width, -1),
            _ => (0, 1, width),
        };
        Self { first, right, down }
    }

    fn copy_row(self, pixels: &[u8], bytes_per_pixel: usize, y: u32, row: &mut [u8]) {
        let begin = self.first + self.down * y as isize;
        if self.right == 1 {
            let begin = begin.cast_unsigned() * bytes_per_pixel;
            row.copy_from_slice(&pixels[begin..begin + row.len()]);
            return;
        }
        // With the length known while compiling, a pixel is a move or two instead of a call.
        match bytes_per_pixel {
            1 => self.gather::<1>(pixels, begin, row),
            2 => self.gather::<2>(pixels, begin, row),
            3 => self.gather::<3>(pixels, begin, row),
            4 => self.gather::<4>(pixels, begin, row),
            6 => self.gather::<6>(pixels, begin, row),
            _ => self.gather::<8>(pixels, begin, row),
        }
    }

    fn gather<const BYTES: usize>(self, pixels: &[u8], begin: isize, row: &mut [u8]) {
        let (pixels, _) = pixels.as_chunks::<BYTES>();
        let (row, _) = row.as_chunks_mut::<BYTES>();
        let mut at = begin;
        for pixel in row {
            *pixel = pixels[at.cast_unsigned()];
            at += self.right;
        }
    }
}

/// Takes alpha out of the colours, which everybody behind this expects without it.
fn divide_by_alpha(row: &mut [u8], layout: PixelLayout) {
    let channels = layout.channels.count();
    match layout.depth {
        Depth::Eight => {
            for pixel in row.chunks_exact_mut(channels) {
                if let Some((alpha, colors)) = pixel.split_last_mut() {
                    for color in colors {
                        *color = divided((*color).into(), (*alpha).into(), u8::MAX.into()) as u8;
                    }
                }
            }
        }
        Depth::Sixteen => {
            for pixel in row.chunks_exact_mut(channels * 2) {
                let (samples, _) = pixel.as_chunks_mut::<2>();
                if let Some((alpha, colors)) = samples.split_last_mut() {
                    let alpha = u16::from_ne_bytes(*alpha).into();
                    for color in colors {
                        let value = u16::from_ne_bytes(*color).into();
                        *color = (divided(value, alpha, u16::MAX.into()) as u16).to_ne_bytes();
                    }
                }
            }
        }
    }
}

/// `color / alpha`, rounded, at most `most`; what is invisible stays as it is.
fn divided(color: u64, alpha: u64, most: u64) -> u64 {
    (color * most + alpha / 2)
        .checked_div(alpha)
        .map_or(color, |color| color.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::layout::Channels;

    #[test]
    fn alpha_is_taken_out_of_premultiplied_colours_at_both_depths() {
        let rgba = |depth| PixelLayout {
            channels: Channels::Rgba,
            depth,
        };
        let mut row = [64, 128, 0, 128, 9, 9, 9, 0, 200, 10, 0, 100];
        divide_by_alpha(&mut row, rgba(Depth::Eight));
        assert_eq!(row, [128, 255, 0, 128, 9, 9, 9, 0, 255, 26, 0, 100]);
        let mut row: Vec<u8> = [16_384u16, 32_768, 0, 32_768]
            .iter()
            .flat_map(|s| s.to_ne_bytes())
            .collect();
        divide_by_alpha(&mut row, rgba(Depth::Sixteen));
        let samples: Vec<u16> = row.as_chunks().0.iter().map(|s| u16::from_ne_bytes(*s)).collect();
        assert_eq!(samples, [32_768, 65_535, 0, 32_768]);
    }
}
