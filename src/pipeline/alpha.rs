//! Owns what happens to transparency before the model sees a picture: the background put behind it where the result
//! holds none, or visible colours bled outward below what is invisible. Rows in, rows out, a few of them held; never
//! looks at a tile, so that what it does is the same however the picture is cut.
//!
//! The alpha channel itself goes through the model like the colours: on drawn shapes its error against the truth is
//! half that of the best resampler (docs/decisions/0023-transparency.md).

use std::collections::VecDeque;

use crate::codec::{Channels, CodecError, Depth, PixelLayout, RowSource};
use crate::config::Background;
use crate::size::Size;

/// How far colours are bled, in pixels: what lies farther from anything visible is out of sight of models whose
/// tiles are exact, and too faint to see for the others.
const REACH_PX: u32 = 32;

/// Half sides of the squares that are looked at around an invisible pixel, one after the other, until something
/// visible is in it.
const HALF_SIDES_PX: [u32; 6] = [1, 2, 4, 8, 16, REACH_PX];

/// What is done with a picture's transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparency {
    /// It has none.
    Absent,
    /// It goes into the result; below it colours are bled.
    Kept,
    /// The result holds none: this is put behind the picture.
    Flattened(Background),
}

impl Transparency {
    /// By what the source has and what the result holds.
    pub fn of(source: PixelLayout, result: PixelLayout, background: Background) -> Self {
        match (source.channels.has_alpha(), result.channels.has_alpha()) {
            (false, _) => Self::Absent,
            (true, true) => Self::Kept,
            (true, false) => Self::Flattened(background),
        }
    }

    /// Samples of the rows that come out.
    pub fn layout(self, source: PixelLayout) -> PixelLayout {
        let channels = match (self, source.channels) {
            (Self::Flattened(_), Channels::GreyAlpha) => Channels::Grey,
            (Self::Flattened(_), Channels::Rgba) => Channels::Rgb,
            (_, channels) => channels,
        };
        PixelLayout { channels, ..source }
    }

    /// Most bytes that [`Prepared`] holds for a picture of this width.
    pub fn bytes(self, source: PixelLayout, width: u32) -> u64 {
        let row = source.row_bytes(width) as u64;
        let rows = u64::from(2 * REACH_PX + 2);
        match self {
            Self::Absent => 0,
            Self::Flattened(_) => row,
            Self::Kept => rows * (row + Sums::row_len(source, width) as u64 * size_of::<u64>() as u64),
        }
    }
}

/// The rows of one picture as the model is to see them.
#[derive(Debug)]
pub struct Prepared {
    layout: PixelLayout,
    way: Way,
}

#[derive(Debug)]
enum Way {
    AsIs,
    Flatten {
        background: Background,
        row: Vec<u8>,
        /// Whether anything of the background shows.
        shows: bool,
    },
    Bleed(Bleed),
}

impl Prepared {
    /// For a picture of this size (upright) and these samples.
    pub fn new(transparency: Transparency, size: Size, layout: PixelLayout) -> Self {
        let way = match transparency {
            Transparency::Absent => Way::AsIs,
            Transparency::Flattened(background) => Way::Flatten {
                background,
                row: vec![0; layout.row_bytes(size.width)],
                shows: false,
            },
            Transparency::Kept => Way::Bleed(Bleed::new(size, layout)),
        };
        Self { layout, way }
    }

    /// Writes the next row, whose samples are `transparency.layout(layout)`.
    ///
    /// # Errors
    /// As the source's.
    pub fn read_row(&mut self, source: &mut dyn RowSource, row: &mut [u8]) -> Result<(), CodecError> {
        match &mut self.way {
            Way::AsIs => source.read_row(row),
            Way::Flatten {
                background,
                row: read,
                shows,
            } => {
                source.read_row(read)?;
                *shows |= flatten(read, self.layout, *background, row);
                Ok(())
            }
            Way::Bleed(bleed) => bleed.read_row(source, row),
        }
    }

    /// Whether a background shows in the rows read so far.
    pub fn background_shows(&self) -> bool {
        matches!(self.way, Way::Flatten { shows: true, .. })
    }
}

/// Puts a background behind a row, in the values as they are stored: what browsers and viewers do. Tells whether
/// anything of it shows.
fn flatten(row: &[u8], layout: PixelLayout, background: Background, out: &mut [u8]) -> bool {
    let colours = layout.channels.count() - 1;
    let ground = background.samples(colours);
    let mut shows = false;
    match layout.depth {
        Depth::Eight => {
            for (pixel, out) in row.chunks_exact(colours + 1).zip(out.chunks_exact_mut(colours)) {
                let alpha = u32::from(pixel[colours]);
                shows |= alpha < 255;
                for ((out, colour), ground) in out.iter_mut().zip(pixel).zip(ground) {
                    let mixed = u32::from(*colour) * alpha + u32::from(ground) * (255 - alpha);
                    *out = ((mixed + 127) / 255) as u8;
                }
            }
        }
        Depth::Sixteen => {
            let (samples, out) = (row.as_chunks::<2>().0, out.as_chunks_mut::<2>().0);
            for (pixel, out) in samples
                .chunks_exact(colours + 1)
                .zip(out.chunks_exact_mut(colours))
            {
                let alpha = u64::from(u16::from_ne_bytes(pixel[colours]));
                shows |= alpha < 65_535;
                for ((out, colour), ground) in out.iter_mut().zip(pixel).zip(ground) {
                    let ground = u64::from(ground) * 257 * (65_535 - alpha);
                    let mixed = u64::from(u16::from_ne_bytes(*colour)) * alpha + ground;
                    *out = (((mixed + 32_767) / 65_535) as u16).to_ne_bytes();
                }
            }
        }
    }
    shows
}

/// Gives invisible pixels the mean of what is visible around them, nearest first.
#[derive(Debug)]
struct Bleed {
    layout: PixelLayout,
    size: Size,
    /// Rows as they came, from `first` on.
    held: VecDeque<Vec<u8>>,
    first: u32,
    /// The next row to be given.
    next: u32,
    sums: Sums,
    spare: Vec<Vec<u8>>,
}

impl Bleed {
    fn new(size: Size, layout: PixelLayout) -> Self {
        Self {
            layout,
            size,
            held: VecDeque::new(),
            first: 0,
            next: 0,
            sums: Sums::new(layout, size.width),
            spare: Vec::new(),
        }
    }

    fn read_row(&mut self, source: &mut dyn RowSource, row: &mut [u8]) -> Result<(), CodecError> {
        let y = self.next;
        let last = (y + REACH_PX).min(self.size.height - 1);
        while self.first + self.held.len() as u32 <= last {
            let mut read = self.spare.pop().unwrap_or_default();
            read.resize(self.layout.row_bytes(self.size.width), 0);
            source.read_row(&mut read)?;
            self.held.push_back(read);
        }
        row.copy_from_slice(&self.held[(y - self.first) as usize]);
        if has_invisible(row, self.layout) {
            let low = y.saturating_sub(REACH_PX);
            self.sums.cover(low, last, self.first, &self.held);
            self.fill(y, row);
        }
        self.next += 1;
        while self.first + REACH_PX < self.next {
            self.spare.extend(self.held.pop_front());
            self.first += 1;
        }
        Ok(())
    }

    fn fill(&self, y: u32, row: &mut [u8]) {
        let (channels, bytes) = (self.layout.channels.count(), self.layout.depth.bytes());
        for (x, pixel) in row.chunks_exact_mut(channels * bytes).enumerate() {
            if sample(pixel, channels - 1, self.layout.depth) != 0 {
                continue;
            }
            let square = HALF_SIDES_PX
                .iter()
                .map(|half| self.sums.square(x as u32, y, *half, self.size))
                .find(|sums| sums[channels - 1] > 0);
            for channel in 0..channels - 1 {
                let colour = match &square {
                    // Weighted by visibility; the sums lie above the weight, so that there is one.
                    Some(sums) => (sums[channel] + sums[channels - 1] / 2) / sums[channels - 1],
                    None => most(self.layout.depth) / 2,
                };
                put_sample(pixel, channel, self.layout.depth, colour);
            }
        }
    }
}

fn has_invisible(row: &[u8], layout: PixelLayout) -> bool {
    let (channels, bytes) = (layout.channels.count(), layout.depth.bytes());
    row.chunks_exact(channels * bytes)
        .any(|pixel| pixel[(channels - 1) * bytes..].iter().all(|byte| *byte == 0))
}

fn sample(pixel: &[u8], channel: usize, depth: Depth) -> u64 {
    match depth {
        Depth::Eight => pixel[channel].into(),
        Depth::Sixteen => u16::from_ne_bytes([pixel[2 * channel], pixel[2 * channel + 1]]).into(),
    }
}

/// `value` is a mean of samples, so it fits one.
fn put_sample(pixel: &mut [u8], channel: usize, depth: Depth, value: u64) {
    match depth {
        Depth::Eight => pixel[channel] = value as u8,
        Depth::Sixteen => pixel[2 * channel..2 * channel + 2].copy_from_slice(&(value as u16).to_ne_bytes()),
    }
}

fn most(depth: Depth) -> u64 {
    match depth {
        Depth::Eight => u8::MAX.into(),
        Depth::Sixteen => u16::MAX.into(),
    }
}

/// Sums of visible colours over everything above and left of a place, so that the sum over any square is four of them.
/// Only kept where something is invisible. Cannot overflow: two samples of 16 bits, times at most 2^29 pixels.
#[derive(Debug)]
struct Sums {
    layout: PixelLayout,
    width: u32,
    /// Row of the picture that `rows` begins with.
    first: u32,
    /// Of each row and place: the colours times alpha, then alpha. One place more than there are pixels.
    rows: VecDeque<Vec<u64>>,
}

/// Of colours times alpha, and alpha last; the fourth is not used by grey.
type Sum = [u64; 4];

impl Sums {
    fn new(layout: PixelLayout, width: u32) -> Self {
        Self {
            layout,
            width,
            first: 0,
            rows: VecDeque::new(),
        }
    }

    fn row_len(layout: PixelLayout, width: u32) -> usize {
        (width as usize + 1) * layout.channels.count()
    }

    /// Makes the sums of rows `low..=last` available. `held` begins with row `held_first`, at most `low`.
    fn cover(&mut self, low: u32, last: u32, held_first: u32, held: &VecDeque<Vec<u8>>) {
        let end = self.first + self.rows.len() as u32;
        if end < low || self.rows.is_empty() {
            self.rows.clear();
            self.first = low;
        }
        // The row before the lowest is what the others are counted from.
        let mut free = None;
        while self.first + 1 < low {
            free = self.rows.pop_front();
            self.first += 1;
        }
        for y in self.first + self.rows.len() as u32..=last {
            let mut sums = free.take().unwrap_or_default();
            self.add_row(&held[(y - held_first) as usize], &mut sums);
            self.rows.push_back(sums);
        }
    }

    fn add_row(&self, row: &[u8], sums: &mut Vec<u64>) {
        let channels = self.layout.channels.count();
        sums.clear();
        sums.resize(Self::row_len(self.layout, self.width), 0);
        let above = self.rows.back();
        let mut along: Sum = [0; 4];
        let pixels = row.chunks_exact(channels * self.layout.depth.bytes());
        for (x, pixel) in pixels.enumerate() {
            let alpha = sample(pixel, channels - 1, self.layout.depth);
            let at = (x + 1) * channels;
            for channel in 0..channels {
                along[channel] += if channel + 1 == channels {
                    alpha
                } else {
                    alpha * sample(pixel, channel, self.layout.depth)
                };
                sums[at + channel] = along[channel] + above.map_or(0, |above| above[at + channel]);
            }
        }
    }

    /// Over the pixels at most `half` away from a place, as far as the picture reaches.
    fn square(&self, x: u32, y: u32, half: u32, size: Size) -> Sum {
        let channels = self.layout.channels.count();
        let columns = (
            x.saturating_sub(half) as usize,
            (x + half + 1).min(size.width) as usize,
        );
        let (top, bottom) = (y.saturating_sub(half), (y + half).min(size.height - 1));
        let above = top.checked_sub(self.first + 1).map(|at| &self.rows[at as usize]);
        let below = &self.rows[(bottom - self.first) as usize];
        let mut sum: Sum = [0; 4];
        for (channel, sum) in sum.iter_mut().take(channels).enumerate() {
            let over =
                |row: &Vec<u64>| row[columns.1 * channels + channel] - row[columns.0 * channels + channel];
            *sum = over(below) - above.map_or(0, over);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
