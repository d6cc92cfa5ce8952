//! Owns the way from luminance and chrominance to grey, RGB and alpha, at any of the depths and subsamplings that
//! AV1 has. Computes in floating point and rounds once. Never decodes.

use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::size::Size;

/// How colours were turned into luminance and chrominance, as H.273 numbers it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Matrix {
    /// Green, blue and red as they are.
    Identity,
    /// Shares of red and of blue in the luminance.
    Shares(f32, f32),
    /// Sums and differences.
    YCgCo,
}

impl Matrix {
    /// `None` for matrices that are not linear, which only video has.
    pub(super) fn numbered(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Identity,
            1 => Self::Shares(0.2126, 0.0722),
            // Not said: what libavif and libheif take it for.
            2 | 5 | 6 => Self::Shares(0.299, 0.114),
            4 => Self::Shares(0.30, 0.11),
            7 => Self::Shares(0.212, 0.087),
            8 => Self::YCgCo,
            9 => Self::Shares(0.2627, 0.0593),
            _ => return None,
        })
    }
}

/// One plane of samples, two bytes each in the machine's order if there are more than eight bits.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) bytes: &'a [u8],
    /// From one row to the next.
    pub(super) stride: usize,
}

/// A decoded picture.
pub(super) struct Planes<'a> {
    pub(super) luma: Plane<'a>,
    /// Blue and red; `None` of a grey picture.
    pub(super) chroma: Option<[Plane<'a>; 2]>,
    pub(super) size: Size,
    /// Whether chrominance has half the columns, and half the rows.
    pub(super) halved: (bool, bool),
    pub(super) bits: u8,
    pub(super) full_range: bool,
    pub(super) matrix: Matrix,
    /// Its samples lie above those of luminance, not between them.
    pub(super) left_sited: bool,
}

/// What of a picture goes where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// The first column and row of it that are wanted.
    pub(super) from: (u32, u32),
    /// Columns × rows that are wanted.
    pub(super) size: Size,
    /// Where they go.
    pub(super) to: (u32, u32),
}

/// The picture that is written, rows of `layout` and `width`.
pub(super) struct Target<'a> {
    pub(super) rows: &'a mut [u8],
    pub(super) layout: PixelLayout,
    pub(super) width: u32,
}

impl Target<'_> {
    /// The pixels of a window's row.
    fn line(&mut self, window: Window, row: u32) -> &mut [u8] {
        let begin = self.layout.row_bytes(self.width) * (window.to.1 + row) as usize
            + self.layout.row_bytes(window.to.0);
        &mut self.rows[begin..][..self.layout.row_bytes(window.size.width)]
    }
}

impl Planes<'_> {
    /// Writes colours; leaves alpha alone.
    pub(super) fn write_colors(&self, window: Window, target: &mut Target<'_>) {
        let wide = window.size.width as usize;
        let mut luma = vec![0.0; wide];
        let mut chroma = [vec![0.0; wide], vec![0.0; wide]];
        let (layout, most) = (target.layout, most(target.layout));
        for row in 0..window.size.height {
            let y = window.from.1 + row;
            self.read_luma(y, window.from.0, &mut luma);
            let line = target.line(window, row);
            let Some(planes) = self.chroma.filter(|_| layout.channels.count() >= 3) else {
                for (pixel, luma) in line.chunks_exact_mut(layout.bytes_per_pixel()).zip(&luma) {
                    put(pixel, 0, layout.depth, luma * most);
                }
                continue;
            };
            for (plane, samples) in planes.into_iter().zip(&mut chroma) {
                self.read_chroma(plane, y, window.from.0, samples);
            }
            let pixels = line.chunks_exact_mut(layout.bytes_per_pixel());
            for (at, pixel) in pixels.enumerate() {
                let rgb = self.color(luma[at], chroma[0][at], chroma[1][at]);
                for (channel, value) in rgb.into_iter().enumerate() {
                    put(pixel, channel, layout.depth, value * most);
                }
            }
        }
    }

    /// Writes the luminance as alpha.
    pub(super) fn write_alpha(&self, window: Window, target: &mut Target<'_>) {
        let (layout, most) = (target.layout, most(target.layout));
        let mut luma = vec![0.0; window.size.width as usize];
        for row in 0..window.size.height {
            self.read_luma(window.from.1 + row, window.from.0, &mut luma);
            let pixels = target
                .line(window, row)
                .chunks_exact_mut(layout.bytes_per_pixel());
            for (pixel, luma) in pixels.zip(&luma) {
                put(pixel, layout.channels.count() - 1, layout.depth, luma * most);
            }
        }
    }

    /// 0..=1.
    fn read_luma(&self, y: u32, left: u32, samples: &mut [f32]) {
        let (offset, scale) = self.luma_scale();
        for (x, sample) in (left as usize..).zip(samples) {
            *sample = (self.sample(self.luma, x, y as usize) - offset) * scale;
        }
    }

    /// Around 0, −0.5..=0.5; of an identity, 0..=1. Between samples of a halved plane it is interpolated linearly.
    fn read_chroma(&self, plane: Plane<'_>, y: u32, left: u32, samples: &mut [f32]) {
        let step = f32::from(1u16 << (self.bits - 8));
        let (offset, scale) = match (self.matrix, self.full_range) {
            (Matrix::Identity, _) => self.luma_scale(),
            (_, true) => (128.0 * step, 1.0 / (256.0 * step - 1.0)),
            (_, false) => (128.0 * step, 1.0 / (224.0 * step)),
        };
        let side =
            |side: u32, halved| (if halved { side.div_ceil(2) } else { side } as usize).saturating_sub(1);
        let last = (
            side(self.size.width, self.halved.0),
            side(self.size.height, self.halved.1),
        );
        let ((above, below), down) = between(y as usize, self.halved.1, false, last.1);
        for (x, value) in (left as usize..).zip(samples) {
            let ((before, behind), right) = between(x, self.halved.0, self.left_sited, last.0);
            let row = |y| {
                let first = self.sample(plane, before, y);
                if right == 0.0 {
                    return first;
                }
                first + (self.sample(plane, behind, y) - first) * right
            };
            let upper = row(above);
            let mixed = if down == 0.0 {
                upper
            } else {
                upper + (row(below) - upper) * down
            };
            *value = (mixed - offset) * scale;
        }
    }

    fn luma_scale(&self) -> (f32, f32) {
        let step = f32::from(1u16 << (self.bits - 8));
        if self.full_range {
            (0.0, 1.0 / (256.0 * step - 1.0))
        } else {
            (16.0 * step, 1.0 / (219.0 * step))
        }
    }

    fn color(&self, luma: f32, blue: f32, red: f32) -> [f32; 3] {
        match self.matrix {
            Matrix::Identity => [red, luma, blue],
            Matrix::Shares(of_red, of_blue) => {
                let r = luma + red * 2.0 * (1.0 - of_red);
                let b = luma + blue * 2.0 * (1.0 - of_blue);
                [r, (luma - of_red * r - of_blue * b) / (1.0 - of_red - of_blue), b]
            }
            Matrix::YCgCo => [luma - blue + red, luma + blue, luma - blue - red],
        }
    }

    fn sample(&self, plane: Plane<'_>, x: usize, y: usize) -> f32 {
        if self.bits == 8 {
            return f32::from(plane.bytes[y * plane.stride + x]);
        }
        let at = y * plane.stride + x * 2;
        f32::from(u16::from_ne_bytes([plane.bytes[at], plane.bytes[at + 1]]))
    }
}

/// The samples of a plane between which a place lies, and how near it is to the second one.
fn between(at: usize, halved: bool, sited: bool, last: usize) -> ((usize, usize), f32) {
    if !halved {
        return ((at.min(last), at.min(last)), 0.0);
    }
    let half = at / 2;
    let (first, share) = match (sited, at % 2) {
        (true, 0) => (half, 0.0),
        (true, _) => (half, 0.5),
        // In the middle of two: each sample lies a quarter from its two pixels.
        (false, 0) if half == 0 => (0, 0.0),
        (false, 0) => (half - 1, 0.75),
        (false, _) => (half, 0.25),
    };
    ((first.min(last), (first + 1).min(last)), share)
}

fn most(layout: PixelLayout) -> f32 {
    match layout.depth {
        Depth::Eight => f32::from(u8::MAX),
        Depth::Sixteen => f32::from(u16::MAX),
    }
}

/// Rounds and stores; what is out of range is cut by the conversion.
fn put(pixel: &mut [u8], channel: usize, depth: Depth, value: f32) {
    match depth {
        Depth::Eight => pixel[channel] = (value + 0.5) as u8,
        Depth::Sixteen => pixel[channel * 2..][..2].copy_from_slice(&((value + 0.5) as u16).to_ne_bytes()),
    }
}

/// Whether a layout can take the colours of grey or coloured planes.
pub(super) fn suits(layout: PixelLayout, is_grey: bool) -> bool {
    is_grey == matches!(layout.channels, Channels::Grey | Channels::GreyAlpha)
}
