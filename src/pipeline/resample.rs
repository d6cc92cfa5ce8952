//! Owns the way from what the model made to the size that was asked for, between the bands and the encoder, a strip of
//! rows at a time. Never holds more of the picture than the kernel sees around a strip.
//!
//! Catmull-Rom, in the values as they are stored. Measured on three photos that were made a quarter of their size,
//! enlarged four times by span-x4 and brought to three: against the truth, which was averaged in linear light, the error
//! is 1 to 6 % less than in linear light, and 2 to 5 % less than with Lanczos (docs/decisions/0024-scale.md). Nor does
//! it need the profile's curve.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::target::{Course, Target};
use crate::codec::{Depth, FeedStopped, PixelLayout, RowFeed};
use crate::size::Size;

/// How far the kernel reaches at scale 1, in pixels.
const KERNEL_RADIUS_PX: f64 = 2.0;

/// Rows that the model made which a strip takes up: so many that what the kernel sees above and below costs little.
const STRIP_ROWS: u32 = 64;

/// Rows of all pictures, in the sizes of the result: resampled where they have another one.
pub(super) struct Resized<'a, F> {
    rows: F,
    target: &'a Target,
    /// Which picture.
    index: usize,
    /// Its rows that were given on.
    given: u32,
    resampler: Option<Resampler>,
    /// What came, and how much of it was taken in.
    chunk: Vec<u8>,
    taken: usize,
}

impl<'a, F: RowFeed> Resized<'a, F> {
    pub(super) fn new(rows: F, target: &'a Target) -> Self {
        Self {
            rows,
            target,
            index: 0,
            given: 0,
            resampler: None,
            chunk: Vec::new(),
            taken: 0,
        }
    }

    /// What it reads from.
    pub(super) fn inner(&self) -> &F {
        &self.rows
    }

    fn resampled(&mut self, course: &Course, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let resampler = self.resampler.get_or_insert_with(|| Resampler::new(course));
        while !resampler.is_ready() {
            if self.taken == self.chunk.len() {
                self.chunk = self.rows.next_rows(std::mem::take(&mut self.chunk))?;
                self.taken = 0;
            }
            self.taken += resampler.take(&self.chunk[self.taken..]);
        }
        Ok(resampler.strip(spent))
    }
}

impl<F: RowFeed> RowFeed for Resized<'_, F> {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let course = self.target.course(self.index);
        let rows = if course.is_resampled() {
            self.resampled(course, spent)?
        } else {
            self.rows.next_rows(spent)?
        };
        self.given += (rows.len() / course.layout.row_bytes(course.size.width)) as u32;
        if self.given >= course.size.height {
            (self.index, self.given, self.resampler) = (self.index + 1, 0, None);
        }
        Ok(rows)
    }
}

/// Most bytes that resampling one picture holds, beside the bands that it reads and the rows that the encoder has.
pub(super) fn bytes(course: &Course) -> u64 {
    if !course.is_resampled() {
        return 0;
    }
    let plan = Strips::of(course);
    let channels = course.layout.channels;
    let sample_row = |width: u32| 2 * channels.count() as u64 * u64::from(width);
    // The rows that came, once more multiplied by alpha, and made as wide as the result.
    let copies = if channels.has_alpha() { 2 } else { 1 };
    let seen = u64::from(plan.rows_seen())
        * (copies * sample_row(course.made.width) + sample_row(course.size.width));
    let strip = sample_row(course.size.width) + course.layout.row_bytes(course.size.width) as u64;
    seen + u64::from(plan.strip_rows) * strip
}

/// How the rows of the result are cut into strips, and which rows each is made of.
#[derive(Debug, Clone, Copy)]
struct Strips {
    made_rows: u32,
    rows: u32,
    /// Rows of a strip of the result.
    strip_rows: u32,
    /// Rows that were made for one of the result.
    ratio: f64,
    /// How far the kernel sees, in rows that were made, with one more for what is rounded.
    reach: f64,
}

impl Strips {
    fn of(course: &Course) -> Self {
        let ratio = f64::from(course.made.height) / f64::from(course.size.height);
        Self {
            made_rows: course.made.height,
            rows: course.size.height,
            strip_rows: ((f64::from(STRIP_ROWS) / ratio) as u32).clamp(1, STRIP_ROWS),
            ratio,
            reach: KERNEL_RADIUS_PX * ratio.max(1.0) + 1.0,
        }
    }

    /// The end of the strip that begins at a row of the result.
    fn end(self, from: u32) -> u32 {
        (from + self.strip_rows).min(self.rows)
    }

    /// The rows, of those that were made, that a strip sees.
    fn seen(self, from: u32) -> std::ops::Range<u32> {
        let first = f64::from(from) * self.ratio - self.reach;
        let end = f64::from(self.end(from)) * self.ratio + self.reach;
        first.max(0.0) as u32..(end.ceil() as u32).min(self.made_rows)
    }

    /// Most rows that are held at once.
    fn rows_seen(self) -> u32 {
        let most = f64::from(self.strip_rows) * self.ratio + 2.0 * self.reach + 2.0;
        (most as u32).min(self.made_rows)
    }
}

/// Resamples one picture.
struct Resampler {
    strips: Strips,
    made_width: u32,
    size: Size,
    layout: PixelLayout,
    /// Samples of 16 bits of the rows from `first` on.
    held: Vec<u16>,
    first: u32,
    /// The next row of the result.
    next: u32,
    strip: Vec<u16>,
    resizer: Resizer,
}

impl Resampler {
    fn new(course: &Course) -> Self {
        Self {
            strips: Strips::of(course),
            made_width: course.made.width,
            size: course.size,
            layout: course.layout,
            held: Vec::new(),
            first: 0,
            next: 0,
            strip: Vec::new(),
            resizer: Resizer::new(),
        }
    }

    /// Samples of a row that was made.
    fn row_len(&self) -> usize {
        self.layout.channels.count() * self.made_width as usize
    }

    fn held_end(&self) -> u32 {
        self.first + (self.held.len() / self.row_len()) as u32
    }

    /// Whether the next strip can be made.
    fn is_ready(&self) -> bool {
        self.held_end() >= self.strips.seen(self.next).end
    }

    /// Takes in as many of these rows as the next strip still needs; tells their bytes.
    fn take(&mut self, rows: &[u8]) -> usize {
        let missing = (self.strips.seen(self.next).end - self.held_end()) as usize;
        let bytes = (missing * self.row_len() * 2).min(rows.len());
        let samples = rows[..bytes].as_chunks::<2>().0;
        self.held
            .extend(samples.iter().map(|sample| u16::from_ne_bytes(*sample)));
        bytes
    }

    /// Makes the next strip, in the samples of the result.
    fn strip(&mut self, mut spent: Vec<u8>) -> Vec<u8> {
        let seen = self.strips.seen(self.next);
        let row_len = self.row_len();
        self.held.drain(..(seen.start - self.first) as usize * row_len);
        self.first = seen.start;
        let rows = self.strips.end(self.next) - self.next;
        let channels = self.layout.channels.count();
        self.strip
            .resize(channels * self.size.width as usize * rows as usize, 0);
        let kind = match channels {
            1 => PixelType::U16,
            2 => PixelType::U16x2,
            3 => PixelType::U16x3,
            _ => PixelType::U16x4,
        };
        let top = f64::from(self.next) * self.strips.ratio - f64::from(self.first);
        let height = (f64::from(rows) * self.strips.ratio).min(f64::from(self.held_end() - self.first) - top);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
            .crop(0.0, top, self.made_width.into(), height)
            .use_alpha(self.layout.channels.has_alpha());
        let held_rows = self.held_end() - self.first;
        let from = ImageRef::new(self.made_width, held_rows, bytemuck::cast_slice(&self.held), kind);
        let to = Image::from_slice_u8(
            self.size.width,
            rows,
            bytemuck::cast_slice_mut(&mut self.strip),
            kind,
        );
        let resized = from
            .and_then(|from| Ok((from, to?)))
            .map(|(from, mut to)| self.resizer.resize(&from, &mut to, &options));
        // Lengths, alignment and crop are right by construction; a wrong one is a mistake of this file.
        assert!(
            matches!(resized, Ok(Ok(()))),
            "a strip cannot be resampled: {resized:?}"
        );
        self.next += rows;
        spent.clear();
        match self.layout.depth {
            Depth::Eight => spent.extend(self.strip.iter().map(|sample| to_eight_bits(*sample))),
            Depth::Sixteen => spent.extend_from_slice(bytemuck::cast_slice(&self.strip)),
        }
        spent
    }
}

/// Rounds.
fn to_eight_bits(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

#[cfg(test)]
mod tests;
