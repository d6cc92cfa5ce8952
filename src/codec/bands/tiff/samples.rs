//! Owns the samples of a TIFF's rows: byte order, predictors, few bits, palettes, the places of planes. Never reads
//! a file.

use half::f16;

use crate::codec::outline::{Page, Photometric};
use crate::codec::raw::{RawLayout, Sample};

/// Turns samples into the machine's byte order.
pub(super) fn native(row: &mut [u8], bits: u64, big_endian: bool) {
    if big_endian == cfg!(target_endian = "big") {
        return;
    }
    let bytes = match bits {
        16 => 2,
        32 => 4,
        64 => 8,
        _ => return,
    };
    row.chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
}

/// Makes values of differences.
pub(super) fn unpredict(row: &mut [u8], bits: u64, samples: usize, predictor: u64) {
    match (predictor, bits) {
        (2, 8) => {
            for at in samples..row.len() {
                row[at] = row[at].wrapping_add(row[at - samples]);
            }
        }
        (2, 16) => add_up::<2>(row, samples, |a, b| {
            u16::from_ne_bytes(a)
                .wrapping_add(u16::from_ne_bytes(b))
                .to_ne_bytes()
        }),
        (2, 32) => add_up::<4>(row, samples, |a, b| {
            u32::from_ne_bytes(a)
                .wrapping_add(u32::from_ne_bytes(b))
                .to_ne_bytes()
        }),
        (2, 64) => add_up::<8>(row, samples, |a, b| {
            u64::from_ne_bytes(a)
                .wrapping_add(u64::from_ne_bytes(b))
                .to_ne_bytes()
        }),
        (3, 16 | 32 | 64) => {
            for at in samples..row.len() {
                row[at] = row[at].wrapping_add(row[at - samples]);
            }
            // First the highest bytes of all values, then the next ones.
            let shuffled = row.to_vec();
            let bytes = (bits / 8) as usize;
            let values = row.len() / bytes;
            for (at, value) in row.chunks_exact_mut(bytes).enumerate() {
                for (rank, byte) in value.iter_mut().enumerate() {
                    let rank = if cfg!(target_endian = "big") {
                        rank
                    } else {
                        bytes - 1 - rank
                    };
                    *byte = shuffled[rank * values + at];
                }
            }
        }
        _ => {}
    }
}

fn add_up<const BYTES: usize>(
    row: &mut [u8],
    samples: usize,
    sum: impl Fn([u8; BYTES], [u8; BYTES]) -> [u8; BYTES],
) {
    let values = row.as_chunks_mut::<BYTES>().0;
    for at in samples..values.len() {
        values[at] = sum(values[at], values[at - samples]);
    }
}

/// What is done to rows that are given as they are stored.
pub(super) fn adjust(page: &Page, raw: RawLayout, rows: &mut [u8]) {
    match page.photometric() {
        Some(Photometric::WhiteIsZero) => {
            // Only colours: alpha has the same meaning in all of TIFF.
            each(raw, rows, 0..1, |value| 65_535 - value, |value| 1.0 - value);
        }
        Some(Photometric::CieLab) => each(raw, rows, 1..3, |value| value ^ 0x8080, |value| value),
        _ => {}
    }
}

/// Changes samples of every pixel. Integers come in 16 bits: eight of them twice.
fn each(
    raw: RawLayout,
    rows: &mut [u8],
    which: std::ops::Range<usize>,
    integer: impl Fn(u16) -> u16,
    float: impl Fn(f32) -> f32,
) {
    let sample = raw.sample.bytes();
    for pixel in rows.chunks_exact_mut(raw.bytes_per_pixel()) {
        for value in pixel.chunks_exact_mut(sample).skip(which.start).take(which.len()) {
            match *value {
                [byte] => value[0] = (integer(u16::from(byte) * 257) >> 8) as u8,
                [a, b] => value.copy_from_slice(&integer(u16::from_ne_bytes([a, b])).to_ne_bytes()),
                [a, b, c, d] => {
                    let changed = float(f32::from_ne_bytes([a, b, c, d]));
                    value.copy_from_slice(&changed.to_ne_bytes());
                }
                _ => {}
            }
        }
    }
}

/// How samples of strips and tiles become those of rows.
pub(super) struct Reshape {
    raw: RawLayout,
    /// Of a sample in the file.
    bits: u64,
    /// Of a pixel in a strip or tile.
    stored: usize,
    planar: bool,
    invert: bool,
    signed: bool,
    /// Empty where there is none.
    palette: Vec<u8>,
}

impl Reshape {
    pub(super) fn new(page: &Page, raw: RawLayout) -> Self {
        Self {
            raw,
            bits: page.bits,
            stored: page.chunk_samples() as usize,
            planar: page.is_planar(),
            invert: page.photometric() == Some(Photometric::WhiteIsZero),
            signed: page.photometric() == Some(Photometric::CieLab),
            palette: page.palette.clone(),
        }
    }

    /// Stored samples of which a pixel is made; the rest is for others.
    fn wanted(&self) -> usize {
        match self.palette.len() {
            0 => self.raw.samples(),
            _ => self.raw.samples() - 2,
        }
    }

    /// Whether a plane is looked at.
    pub(super) fn wants(&self, plane: u32) -> bool {
        !self.planar || (plane as usize) < self.wanted()
    }

    /// Puts a row of a strip or tile into a row of the picture, from column `left` on.
    pub(super) fn row(&self, from: &[u8], plane: u32, left: usize, width: usize, to: &mut [u8]) {
        let pixel_bytes = self.raw.bytes_per_pixel();
        let pixels = to[left * pixel_bytes..].chunks_exact_mut(pixel_bytes).take(width);
        let count = if self.planar { 1 } else { self.wanted() };
        let first = if self.planar { plane as usize } else { 0 };
        for (x, pixel) in pixels.enumerate() {
            for sample in 0..count {
                let at = x * self.stored + sample;
                match self.raw.sample {
                    Sample::Float => self.put_float(from, at, first + sample, pixel),
                    _ => self.put_integer(from, at, first + sample, pixel),
                }
            }
        }
    }

    fn put_float(&self, from: &[u8], at: usize, sample: usize, pixel: &mut [u8]) {
        let bytes = (self.bits / 8) as usize;
        let value = match from[at * bytes..][..bytes] {
            [a, b] => f16::from_ne_bytes([a, b]).to_f32(),
            [a, b, c, d] => f32::from_ne_bytes([a, b, c, d]),
            [a, b, c, d, e, f, g, h] => f64::from_ne_bytes([a, b, c, d, e, f, g, h]) as f32,
            _ => 0.0,
        };
        let value = if self.invert && sample == 0 {
            1.0 - value
        } else {
            value
        };
        pixel[sample * 4..][..4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_integer(&self, from: &[u8], at: usize, sample: usize, pixel: &mut [u8]) {
        let value = self.value(from, at);
        let most = u32::from(u16::MAX) >> (16 - self.bits);
        if !self.palette.is_empty() && sample == 0 {
            let colors = self.palette.len() / 3;
            let value = value as usize;
            let color = [value, colors + value, 2 * colors + value];
            for (sample, at) in pixel.iter_mut().zip(color) {
                *sample = self.palette[at];
            }
            return;
        }
        let sample = if self.palette.is_empty() {
            sample
        } else {
            sample + 2
        };
        let mut value = ((value * 65_535 + most / 2) / most) as u16;
        if self.invert && sample == 0 {
            value = 65_535 - value;
        }
        if self.signed && (1..3).contains(&sample) {
            value ^= 0x8080;
        }
        self.put(value, sample, pixel);
    }

    fn put(&self, value: u16, sample: usize, pixel: &mut [u8]) {
        match self.raw.sample {
            // The higher byte is the whole of a value that was scaled by 257; of few bits likewise.
            Sample::Eight => pixel[sample] = (value >> 8) as u8,
            _ => pixel[sample * 2..][..2].copy_from_slice(&value.to_ne_bytes()),
        }
    }

    /// A stored value.
    fn value(&self, from: &[u8], at: usize) -> u32 {
        match self.bits {
            8 => from[at].into(),
            16 => u16::from_ne_bytes([from[2 * at], from[2 * at + 1]]).into(),
            bits => {
                let begin = at * bits as usize;
                // At most three bytes hold it.
                let window = (0..3).fold(0u32, |sum, byte| {
                    sum << 8 | u32::from(from.get(begin / 8 + byte).copied().unwrap_or(0))
                });
                window >> (24 - begin % 8 - bits as usize) & ((1 << bits) - 1)
            }
        }
    }
}
