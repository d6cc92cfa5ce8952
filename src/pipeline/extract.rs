//! Owns the input side of tiles: the rows of the source that are still needed, and the windows cut from them
//! as the model's planes. Never decodes and never runs a model.

use std::ops::Range;

use crate::codec::{Channels, Depth, PixelLayout};
use crate::inference::PLANES;
use crate::size::Size;

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

    /// Fills `planes` with the window at (`x`, `y`), samples scaled to 0..1. Beyond the picture's right and
    /// lower border it is mirrored (a model may ask for more pixels than there are).
    ///
    /// Returns the value of all samples if they are equal.
    ///
    /// # Panics
    /// If a row is needed that is not held (I6).
    pub fn fill(&self, x: u32, y: u32, window: Size, samples: Samples, planes: &mut Vec<f32>) -> Option<f32> {
        let columns: Vec<usize> = (x..x + window.width)
            .map(|column| mirrored(column, self.image.width) as usize)
            .collect();
        let rows: Vec<usize> = (y..y + window.height)
            .map(|row| {
                let row = mirrored(row, self.image.height);
                assert!(self.rows().contains(&row), "I6: row {row} is not held");
                (row - self.first_row) as usize
            })
            .collect();
        planes.clear();
        match self.layout.depth {
            Depth::Eight => {
                self.fill_from::<1>(&columns, &rows, samples, planes, |[byte]| f32::from(byte) / 255.0)
            }
            Depth::Sixteen => self.fill_from::<2>(&columns, &rows, samples, planes, |bytes| {
                f32::from(u16::from_ne_bytes(bytes)) / 65535.0
            }),
        }
        let first = *planes.first()?;
        planes.iter().all(|value| *value == first).then_some(first)
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

/// Mirrors an index at the last pixel, which is not repeated: … n−2 n−1 n−2 …
fn mirrored(index: u32, len: u32) -> u32 {
    if index < len || len == 1 {
        return index.min(len - 1);
    }
    let period = 2 * (len - 1);
    let index = index % period;
    index.min(period - index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RGB: PixelLayout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };

    #[test]
    fn beyond_the_border_the_picture_is_mirrored_without_repeating_its_edge() {
        let indices: Vec<u32> = (0..9).map(|index| mirrored(index, 4)).collect();
        assert_eq!(indices, [0, 1, 2, 3, 2, 1, 0, 1, 2]);
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
        rows.fill(1, 2, Size::new(2, 2), Samples::Colour, &mut planes);
        let red: Vec<u8> = planes[..4].iter().map(|v| (v * 255.0).round() as u8).collect();
        assert_eq!(red, [21, 24, 30, 33]);
    }

    #[test]
    #[should_panic(expected = "I6")]
    fn i6_a_row_that_was_forgotten_cannot_be_read() {
        let mut rows = RowWindow::new(Size::new(3, 4), RGB);
        rows.push(&[0; 36]);
        rows.forget_before(2);
        rows.fill(0, 1, Size::new(2, 2), Samples::Colour, &mut Vec::new());
    }
}
