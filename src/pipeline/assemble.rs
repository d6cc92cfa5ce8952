//! Owns the output side of tiles: cores are cut out of what the model returned, quantised and put into the
//! band they belong to. Never encodes. A band is final when it is complete.

use std::ops::Range;

use super::extract::{Samples, sample_index};
use crate::codec::{Channels, Depth, PixelLayout};
use crate::inference::{PLANES, Planes};
use crate::tiling::Span;

/// A full-width strip of final rows being put together, interleaved samples in the result's layout.
#[derive(Debug)]
pub struct Band {
    layout: PixelLayout,
    width: u32,
    rows: u32,
    bytes: Vec<u8>,
    filled: u64,
}

/// Where a tile's core lies, in output pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Columns of the core in the model's output.
    pub from_columns: Range<u32>,
    /// Rows of the core in the model's output.
    pub from_rows: Range<u32>,
    /// Its first column in the band.
    pub to_column: u32,
    /// Its first row in the band.
    pub to_row: u32,
}

impl Placement {
    /// Where the core of a tile lies in the net's output and in a band that begins at result row `first_row`.
    pub fn of(column: &Span, row: &Span, first_row: u32) -> Self {
        Self {
            from_columns: column.output_start..column.output_start + column.result_len,
            from_rows: row.output_start..row.output_start + row.result_len,
            to_column: column.result_start,
            to_row: row.result_start - first_row,
        }
    }

    /// One row of the core, of each plane.
    pub(super) fn row<'a>(&self, result: &Planes<'a>, y: u32) -> [&'a [f32]; PLANES] {
        let columns = self.from_columns.start as usize..self.from_columns.end as usize;
        std::array::from_fn(|plane| &result.row(plane, y as usize)[columns.clone()])
    }

    /// Whether all values of the core are numbers.
    pub(super) fn is_finite(&self, result: &Planes<'_>) -> bool {
        self.from_rows.clone().all(|y| {
            self.row(result, y)
                .iter()
                .all(|row| row.iter().fold(0.0f32, |sum, value| sum + value * 0.0) == 0.0)
        })
    }
}

impl Band {
    /// An empty band of `rows` rows of `width` pixels, in a buffer that is used again.
    pub fn new(layout: PixelLayout, width: u32, rows: u32, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(layout.row_bytes(width) * rows as usize, 0);
        Self {
            layout,
            width,
            rows,
            bytes: buffer,
            filled: 0,
        }
    }

    /// Rows of the band.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Puts a core into its place. Returns `false` if the model returned a value that is not a number.
    pub fn place(&mut self, result: Planes<'_>, placement: &Placement, samples: Samples) -> bool {
        let finite = placement.is_finite(&result);
        for (row, y) in (placement.to_row..).zip(placement.from_rows.clone()) {
            self.write_row(row, placement.to_column, placement.row(&result, y), samples);
        }
        self.count(placement, samples);
        finite
    }

    /// Fills a core's place with one value: what the model was not asked for (opaque alpha).
    pub fn place_constant(&mut self, value: f32, placement: &Placement, samples: Samples) {
        let row = vec![value; placement.from_columns.len()];
        for index in (placement.to_row..).take(placement.from_rows.len()) {
            self.write_row(index, placement.to_column, [&row, &row, &row], samples);
        }
        self.count(placement, samples);
    }

    /// The finished rows.
    ///
    /// # Panics
    /// If a core is missing or was placed twice (I6, I7).
    pub fn finish(self) -> Vec<u8> {
        assert_eq!(
            self.filled,
            u64::from(self.width) * u64::from(self.rows),
            "I7: the cores do not fill the band"
        );
        self.bytes
    }

    /// Gives the buffer back without its rows: the band is not to be.
    pub fn abandon(self) -> Vec<u8> {
        self.bytes
    }

    fn count(&mut self, placement: &Placement, samples: Samples) {
        if samples == Samples::Colour {
            self.filled += placement.from_columns.len() as u64 * placement.from_rows.len() as u64;
        }
    }

    fn write_row(&mut self, row: u32, column: u32, planes: [&[f32]; PLANES], samples: Samples) {
        let start = row as usize * self.layout.row_bytes(self.width)
            + column as usize * self.layout.bytes_per_pixel();
        let bytes = &mut self.bytes[start..][..planes[0].len() * self.layout.bytes_per_pixel()];
        write_pixels(bytes, self.layout, planes, samples);
    }
}

/// Quantises one row of values, 0..1 clamped, into the samples of its pixels.
pub(super) fn write_pixels(
    bytes: &mut [u8],
    layout: PixelLayout,
    planes: [&[f32]; PLANES],
    samples: Samples,
) {
    match layout.depth {
        // `as` saturates, so it clamps to the range as well; adding a half rounds.
        Depth::Eight => write(bytes, layout, planes, samples, |value| {
            [(value * 255.0 + 0.5) as u8]
        }),
        Depth::Sixteen => write(bytes, layout, planes, samples, |value| {
            ((value * 65535.0 + 0.5) as u16).to_ne_bytes()
        }),
    }
}

/// Writes one row of pixels. Alpha and grey get the mean of the planes.
fn write<const BYTES: usize>(
    row: &mut [u8],
    layout: PixelLayout,
    [red, green, blue]: [&[f32]; PLANES],
    samples: Samples,
    quantise: impl Fn(f32) -> [u8; BYTES],
) {
    let pixels = row
        .chunks_exact_mut(layout.bytes_per_pixel())
        .zip(red.iter().zip(green).zip(blue));
    let colour = samples == Samples::Colour && matches!(layout.channels, Channels::Rgb | Channels::Rgba);
    if colour {
        for (pixel, ((red, green), blue)) in pixels {
            pixel[..BYTES].copy_from_slice(&quantise(*red));
            pixel[BYTES..2 * BYTES].copy_from_slice(&quantise(*green));
            pixel[2 * BYTES..3 * BYTES].copy_from_slice(&quantise(*blue));
        }
    } else {
        let at = sample_index(layout.channels, samples, 0) * BYTES;
        for (pixel, ((red, green), blue)) in pixels {
            pixel[at..at + BYTES].copy_from_slice(&quantise((red + green + blue) / 3.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    fn band(channels: Channels, depth: Depth) -> Band {
        Band::new(PixelLayout { channels, depth }, 2, 1, Vec::new())
    }

    const WHOLE: Placement = Placement {
        from_columns: 0..2,
        from_rows: 0..1,
        to_column: 0,
        to_row: 0,
    };

    #[test]
    fn values_are_rounded_and_clamped() {
        let mut band = band(Channels::Rgb, Depth::Eight);
        let data = [-0.5, 0.501, 0.5, 2.0, 1.0, 0.0];
        assert!(band.place(Planes::new(&data, Size::new(2, 1)), &WHOLE, Samples::Colour));
        assert_eq!(band.finish(), [0, 128, 255, 128, 255, 0]);
    }

    #[test]
    fn sixteen_bits_are_not_cut_to_eight_on_the_way() {
        let mut band = band(Channels::Grey, Depth::Sixteen);
        let data = [0.1234; 6];
        band.place(Planes::new(&data, Size::new(2, 1)), &WHOLE, Samples::Colour);
        assert_eq!(band.finish()[..2], 8087u16.to_ne_bytes());
    }

    #[test]
    fn what_is_not_a_number_is_noticed() {
        for bad in [f32::NAN, f32::INFINITY] {
            let data = [0.0, 0.0, 0.0, bad, 0.0, 0.0];
            let mut band = band(Channels::Rgb, Depth::Eight);
            assert!(!band.place(Planes::new(&data, Size::new(2, 1)), &WHOLE, Samples::Colour));
        }
    }

    #[test]
    #[should_panic(expected = "I7")]
    fn i7_a_band_with_a_hole_is_never_handed_on() {
        band(Channels::Rgb, Depth::Eight).finish();
    }
}
