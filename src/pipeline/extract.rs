//! Owns the input side of tiles: the rows of the source that are still needed, and the windows cut from them
//! as the model's planes. Never decodes and never runs a model.

use std::ops::Range;

use crate::codec::{Channels, Depth, PixelLayout};
use crate::inference::PLANES;
use crate::size::Size;
use crate::tiling::Span;

/// Which samples of a pixel become the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// The colours; grey is repeated into all planes.
    Colour,
    /// The alpha, repeated into all planes.
    Alpha,
}

/// The rows of the source from the current band's window downwards.
#[derive(Debug)]
pub struct RowWindow {
    image: Size,
    layout: PixelLayout,
    first_row: u32,
    bytes: Vec<u8>,
}

impl RowWindow {
    /// An empty window onto a source of this size and layout.
    pub fn new(image: Size, layout: PixelLayout) -> Self {
        Self {
            image,
            layout,
            first_row: 0,
            bytes: Vec::new(),
        }
    }

    fn row_bytes(&self) -> usize {
        self.layout.row_bytes(self.image.width)
    }

    /// The rows that it holds.
    pub fn rows(&self) -> Range<u32> {
        let count = u32::try_from(self.bytes.len() / self.row_bytes()).unwrap_or(u32::MAX);
        self.first_row..self.first_row + count
    }

    /// Appends whole rows.
    pub fn push(&mut self, rows: &[u8]) {
        assert_eq!(rows.len() % self.row_bytes(), 0, "I6: part of a row");
        self.bytes.extend_from_slice(rows);
        assert!(
            self.rows().end <= self.image.height,
            "I6: more rows than the picture has"
        );
    }

    /// Drops the rows before `row`.
    pub fn forget_before(&mut self, row: u32) {
        let drop_rows = row
            .saturating_sub(self.first_row)
            .min(self.rows().end - self.first_row);
        self.bytes.drain(..drop_rows as usize * self.row_bytes());
        self.first_row += drop_rows;
    }

    /// Appends the window's samples to `planes`, scaled to 0..1, plane by plane. Beyond what the window may show lies
    /// its mirror image (a net may ask for more pixels than there are).
    ///
    /// Returns the value of all samples if they are equal.
    ///
    /// # Panics
    /// If a row is needed that is not held (I6).
    pub fn fill(&self, column: &Span, row: &Span, samples: Samples, planes: &mut Vec<f32>) -> Option<f32> {
        let columns: Vec<usize> = pixels(column).map(|pixel| pixel as usize).collect();
        let held = self.rows();
        let rows: Vec<usize> = pixels(row)
            .map(|row| {
                assert!(held.contains(&row), "I6: row {row} is not held");
                (row - self.first_row) as usize
            })
            .collect();
        let begin = planes.len();
        match self.layout.depth {
            Depth::Eight => {
                self.fill_from::<1>(&columns, &rows, samples, planes, |[byte]| f32::from(byte) / 255.0)
            }
            Depth::Sixteen => self.fill_from::<2>(&columns, &rows, samples, planes, |bytes| {
                f32::from(u16::from_ne_bytes(bytes)) / 65535.0
            }),
        }
        let filled = &planes[begin..];
        let first = *filled.first()?;
        filled.iter().all(|value| *value == first).then_some(first)
    }

    fn fill_from<const BYTES: usize>(
        &self,
        columns: &[usize],
        rows: &[usize],
        samples: Samples,
        planes: &mut Vec<f32>,
        value: impl Fn([u8; BYTES]) -> f32,
    ) {
        let pixel_bytes = self.layout.bytes_per_pixel();
        for plane in 0..PLANES {
            let offset = sample_index(self.layout.channels, samples, plane) * BYTES;
            for row in rows {
                let row = &self.bytes[row * self.row_bytes()..][..self.row_bytes()];
                planes.extend(columns.iter().map(|column| {
                    let at = column * pixel_bytes + offset;
                    let mut sample = [0; BYTES];
                    sample.copy_from_slice(&row[at..at + BYTES]);
                    value(sample)
                }));
            }
        }
    }
}

/// Where in a pixel the sample for a plane lies.
pub(super) fn sample_index(channels: Channels, samples: Samples, plane: usize) -> usize {
    match (channels, samples) {
        (Channels::Grey | Channels::GreyAlpha, Samples::Colour) => 0,
        (Channels::Rgb | Channels::Rgba, Samples::Colour) => plane,
        (Channels::GreyAlpha, Samples::Alpha) => 1,
        (Channels::Rgba, Samples::Alpha) => 3,
        (Channels::Grey | Channels::Rgb, Samples::Alpha) => {
            unreachable!("a picture without alpha has no alpha pass")
        }
    }
}

/// The pixels that a window shows along one axis, mirrored where it reaches beyond.
fn pixels(span: &Span) -> impl Iterator<Item = u32> {
    let (first, end) = span.shown;
    (0..i64::from(span.window_len)).map(move |at| {
        let from_first = span.window_start + at - i64::from(first);
        first + mirrored(from_first, end - first)
    })
}

/// The rows of the picture that a band's windows show, from the first to behind the last.
pub(super) fn rows_shown(span: &Span) -> Range<u32> {
    let (low, high) = pixels(span).fold((u32::MAX, 0), |(low, high), row| (low.min(row), high.max(row)));
    low..high + 1
}

/// Mirrors an index at the first and the last pixel, which are not repeated: 2 1 0 1 2 … n−2 n−1 n−2 …
fn mirrored(index: i64, len: u32) -> u32 {
    let last = i64::from(len) - 1;
    if (0..=last).contains(&index) || last == 0 {
        return u32::try_from(index.clamp(0, last)).unwrap_or(0);
    }
    let index = index.rem_euclid(2 * last);
    u32::try_from(index.min(2 * last - index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RGB: PixelLayout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };

    fn span(window_start: i64, window_len: u32, len: u32) -> Span {
        Span {
            window_start,
            window_len,
            shown: (0, len),
            core_start: 0,
            core_len: 1,
            result_start: 0,
            result_len: 1,
            output_start: 0,
            weights: None,
        }
    }

    #[test]
    fn a_window_beyond_both_borders_needs_the_rows_that_it_mirrors() {
        assert_eq!(rows_shown(&span(-3, 7, 100)), 0..4);
        assert_eq!(rows_shown(&span(95, 10, 100)), 94..100);
    }

    #[test]
    fn beyond_the_border_the_picture_is_mirrored_without_repeating_its_edge() {
        let indices: Vec<u32> = (-4..9).map(|index| mirrored(index, 4)).collect();
        assert_eq!(indices, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(mirrored(5, 1), 0);
    }

    #[test]
    fn a_window_shows_the_right_pixels_after_rows_were_forgotten() {
        let image = Size::new(3, 4);
        let mut rows = RowWindow::new(image, RGB);
        let bytes: Vec<u8> = (0..36).collect();
        rows.push(&bytes);
        rows.forget_before(2);
        assert_eq!(rows.rows(), 2..4);
        let mut planes = Vec::new();
        rows.fill(&span(1, 2, 3), &span(2, 2, 4), Samples::Colour, &mut planes);
        let red: Vec<u8> = planes[..4].iter().map(|v| (v * 255.0).round() as u8).collect();
        assert_eq!(red, [21, 24, 30, 33]);
    }

    #[test]
    #[should_panic(expected = "I6")]
    fn i6_a_row_that_was_forgotten_cannot_be_read() {
        let mut rows = RowWindow::new(Size::new(3, 4), RGB);
        rows.push(&[0; 36]);
        rows.forget_before(2);
        rows.fill(&span(0, 2, 3), &span(1, 2, 4), Samples::Colour, &mut Vec::new());
    }
}
