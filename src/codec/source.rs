//! Owns the rows of a source, upright and in order. Never looks at what comes after the pixels.
//!
//! They are decoded as they are asked for, a band at a time, where the format allows it. A picture that must be
//! turned is decoded whole, and turned while rows are read from it: a turned copy would cost its size again.

use std::iter::Enumerate;
use std::path::{Path, PathBuf};

use super::bands::{self, Bands, Trouble};
use super::convert::{Converter, Plan};
use super::error::CodecError;
use super::file::{self, Source};
use super::guard::{Panicked, fenced};
use super::layout::{Depth, PixelLayout};
use super::picture::{self, Picture};
use super::probe::{DecodeLimits, ImageHeader};
use super::raw::{Alpha, RawLayout};
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

/// Opens a probed source. Decoding begins with the first row, so that this returns at once and whoever reads the
/// rows bears the time.
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
    let known = picture::know(path, &source, limits)?;
    let is_same = known.pictures.iter().enumerate().all(|(index, picture)| {
        let page = header.page(index);
        (picture.size, picture.plan.layout, picture.orientation) == (page.size, page.layout, page.orientation)
    });
    let frames = known
        .animation
        .as_ref()
        .map_or(1, |animation| animation.delays.len());
    // What was promised to the memory budget is kept too.
    if source.format != header.format
        || !is_same
        || known.pictures.len().max(frames) != header.sequence.pictures()
        || known.decode_bytes > header.decode_bytes
    {
        return Err(file::unreadable(path, CHANGED));
    }
    let mut pictures = known.pictures.into_iter();
    let Some(first) = pictures.next() else {
        return Err(file::unreadable(path, CHANGED));
    };
    let page = UprightRows::new(path, &source, 0, first, frames, limits)?;
    if pictures.len() == 0 {
        return Ok(Box::new(page));
    }
    Ok(Box::new(PageRows {
        path: path.to_owned(),
        size: page.size,
        layout: page.layout,
        page,
        source,
        pictures: pictures.enumerate(),
        limits: limits.clone(),
    }))
}

/// The rows of all pages, one page after the other, of which only one is open.
struct PageRows {
    path: PathBuf,
    /// Of the first.
    size: Size,
    layout: PixelLayout,
    /// The one that is read.
    page: UprightRows,
    source: Source,
    /// Those to come; the number of the first of them is 0.
    pictures: Enumerate<std::vec::IntoIter<Picture>>,
    limits: DecodeLimits,
}

impl RowSource for PageRows {
    fn size(&self) -> Size {
        self.size
    }

    fn layout(&self) -> PixelLayout {
        self.layout
    }

    fn read_row(&mut self, row: &mut [u8]) -> Result<(), CodecError> {
        if self.page.next_row == self.page.size.height
            && let Some((index, next)) = self.pictures.next()
        {
            self.page = UprightRows::new(&self.path, &self.source, index + 1, next, 1, &self.limits)?;
        }
        self.page.read_row(row)
    }
}

const CHANGED: &str = "it changed while it was read";

/// Stored rows that are held at once: all of a picture whose rows do not run as the stored ones do.
pub(super) fn rows_held(stored: Size, orientation: u8, band_rows: u32) -> u32 {
    match orientation {
        3..=8 => stored.height,
        _ => band_rows.min(stored.height),
    }
}

/// Where the pixels are.
enum State {
    /// In the file.
    Closed(Box<(Source, Plan, DecodeLimits)>),
    /// On their way.
    Decoding(Box<Decoding>),
    /// Handed out, or never got: no row comes any more.
    Over,
}

/// A picture that is being decoded.
struct Decoding {
    bands: Box<dyn Bands>,
    /// A band of rows as stored.
    held: Vec<u8>,
    /// What becomes of a row, and the row before; `None` where it is given as it is.
    converter: Option<(Converter, Vec<u8>)>,
}

/// A picture that is decoded while its upright rows are read.
struct UprightRows {
    path: PathBuf,
    /// As its decoder gives it.
    raw: RawLayout,
    layout: PixelLayout,
    /// Columns × rows as stored.
    stored: Size,
    /// Upright.
    size: Size,
    /// Through what is held.
    walk: Walk,
    rows_held: u32,
    state: State,
    next_row: u32,
    /// Of an animation, the one that is read included.
    frames_left: usize,
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
        // A failure leaves it over: what a decoder would give after one is not the picture.
        let mut decoding = match std::mem::replace(&mut self.state, State::Over) {
            State::Closed(closed) => {
                let (source, plan, limits) = *closed;
                self.begin(source, plan, &limits)?
            }
            State::Decoding(decoding) => decoding,
            State::Over => return Err(file::unreadable(&self.path, "it has no more rows")),
        };
        let Decoding {
            bands,
            held,
            converter,
        } = &mut *decoding;
        let whole = self.rows_held == self.stored.height;
        let line = if whole {
            self.next_row
        } else {
            self.next_row % self.rows_held
        };
        if line == 0 {
            let left = self.stored.height - if whole { 0 } else { self.next_row };
            held.truncate(left as usize * self.raw.row_bytes(self.stored.width));
            self.attempt(|| bands.read(held))?;
        }
        let pixel_bytes = self.raw.bytes_per_pixel();
        if let Some((converter, raw)) = converter {
            self.walk.copy_row(held, pixel_bytes, line, raw);
            self.attempt(|| Ok(converter.convert(raw, row)?))?;
        } else {
            self.walk.copy_row(held, pixel_bytes, line, row);
            if self.raw.alpha == Alpha::Premultiplied {
                divide_by_alpha(row, self.layout);
            }
        }
        self.next_row += 1;
        if self.next_row == self.size.height && self.frames_left > 1 {
            self.frames_left -= 1;
            self.next_row = 0;
        }
        // After the last row the memory goes: the encoder may still need some for a while.
        if self.next_row < self.size.height {
            self.state = State::Decoding(decoding);
        }
        Ok(())
    }
}

impl UprightRows {
    /// For the picture at `index` of a file.
    fn new(
        path: &Path,
        source: &Source,
        index: usize,
        picture: Picture,
        frames: usize,
        limits: &DecodeLimits,
    ) -> Result<Self, CodecError> {
        let source = source
            .page(index)
            .map_err(|error| file::read_error(path, error))?;
        let (stored, orientation) = (picture.size, picture.orientation);
        Ok(Self {
            path: path.to_owned(),
            raw: picture.plan.raw(),
            layout: picture.plan.layout,
            stored,
            walk: Walk::new(Size::new(stored.width, picture.rows_held), orientation),
            size: match orientation {
                5..=8 => Size::new(stored.height, stored.width),
                _ => stored,
            },
            rows_held: picture.rows_held,
            state: State::Closed(Box::new((source, picture.plan, limits.clone()))),
            next_row: 0,
            frames_left: frames,
        })
    }

    /// The decoder, room for what is held of the picture, and the tables that change its colours.
    fn begin(&self, source: Source, plan: Plan, limits: &DecodeLimits) -> Result<Box<Decoding>, CodecError> {
        let bytes = self
            .raw
            .row_bytes(self.stored.width)
            .saturating_mul(self.rows_held as usize);
        let mut held = Vec::new();
        if held.try_reserve_exact(bytes).is_err() {
            let detail = format!("there is no memory for {} pixels", self.stored);
            return Err(file::too_large(&self.path, detail));
        }
        held.resize(bytes, 0);
        let bands = self.attempt(|| bands::open(source, self.raw, limits))?;
        let converter = if plan.keeps() {
            None
        } else {
            let converter = self.attempt(|| Ok(Converter::new(plan, self.size.width)?))?;
            Some((converter, vec![0; self.raw.row_bytes(self.size.width)]))
        };
        Ok(Box::new(Decoding {
            bands,
            held,
            converter,
        }))
    }

    /// Lets a decoder work.
    fn attempt<T>(&self, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, CodecError> {
        match fenced(work) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Trouble::Changed)) => Err(file::unreadable(&self.path, CHANGED)),
            Ok(Err(Trouble::Colors)) => Err(file::unreadable(&self.path, "its colours cannot be converted")),
            Ok(Err(Trouble::Decoder(error))) => Err(file::decoder_error(&self.path, error)),
            Err(Panicked) => Err(file::unreadable(&self.path, "its pixels are damaged")),
        }
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
            5 => self.gather::<5>(pixels, begin, row),
            6 => self.gather::<6>(pixels, begin, row),
            8 => self.gather::<8>(pixels, begin, row),
            10 => self.gather::<10>(pixels, begin, row),
            12 => self.gather::<12>(pixels, begin, row),
            _ => self.gather::<16>(pixels, begin, row),
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
