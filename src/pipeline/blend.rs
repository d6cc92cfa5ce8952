//! Owns the putting together of cores that overlap: values are weighted and added in floating point until no later
//! window touches their row, then quantised. Never decides weights (`tiling`) and never encodes.
//!
//! The weights sum to one at every pixel, so there is no second buffer to divide by. What a finished band leaves for
//! the next is kept apart from what the next adds: a band that runs out of memory half-way is dropped, and nothing of
//! the rows before it is lost.

use super::assemble::{Placement, write_pixels};
use super::extract::Samples;
use crate::codec::{Channels, PixelLayout};
use crate::inference::{PLANES, Planes};
use crate::tiling::Span;

/// Rows of a blended picture that are not final yet.
#[derive(Debug)]
pub struct Blend {
    layout: PixelLayout,
    width: u32,
    /// Result row at which `sums` and `left` begin: the first that is not final.
    first_row: u32,
    /// The band in work: rows × channels × columns, weighted values added.
    sums: Vec<f32>,
    /// What earlier bands left, of the same shape and as many rows as they reached.
    left: Vec<f32>,
    /// Weight that earlier bands have spent on each of `left`'s rows.
    spent: Vec<f32>,
    /// Weight that the band in work spends on each of its rows.
    spending: Vec<f32>,
    /// What a new plan's weights are multiplied with, from `first_row` on: what an earlier plan left to be spent.
    /// Empty while one plan goes on.
    remaining: Vec<f32>,
    /// Whether the net's output is clamped before it is weighted, as the reference node does.
    clamps: bool,
}

impl Blend {
    /// Nothing yet, of a result of this layout and width, from this row on.
    pub fn new(layout: PixelLayout, width: u32, first_row: u32, clamps: bool) -> Self {
        Self {
            layout,
            width,
            first_row,
            sums: Vec::new(),
            left: Vec::new(),
            spent: Vec::new(),
            spending: Vec::new(),
            remaining: Vec::new(),
            clamps,
        }
    }

    /// Values of one row.
    fn row_len(&self) -> usize {
        self.layout.channels.count() * self.width as usize
    }

    /// Whether rows of earlier bands wait for more.
    pub fn is_waiting(&self) -> bool {
        !self.spent.is_empty()
    }

    /// From here on another plan goes on, whose first band begins at the first row that is not final. What it adds to
    /// rows that wait is weighted so that they still sum to one.
    pub fn change_plan(&mut self) {
        self.remaining = self.spent.iter().map(|spent| 1.0 - spent).collect();
    }

    /// Begins a band: result rows from the first that is not final to `end_row`. What was added since the last
    /// [`Blend::finish`] is dropped.
    ///
    /// # Panics
    /// If the band begins elsewhere (I6).
    pub fn begin(&mut self, band: &Span) {
        assert_eq!(
            band.result_start, self.first_row,
            "I6: a band does not begin where the last one ended"
        );
        self.sums.clear();
        self.sums.resize(band.result_len as usize * self.row_len(), 0.0);
        self.spending = (0..band.result_len).map(|at| self.row_weight(band, at)).collect();
    }

    fn row_weight(&self, row: &Span, at: u32) -> f32 {
        let weight = row.weights.as_ref().map_or(1.0, |weights| weights[at as usize]);
        weight * self.remaining.get(at as usize).copied().unwrap_or(1.0)
    }

    /// Adds a core. Returns `false` if the model returned a value that is not a number.
    pub fn add(&mut self, result: Planes<'_>, column: &Span, row: &Span, samples: Samples) -> bool {
        let placement = Placement::of(column, row, self.first_row);
        for (at, y) in placement.from_rows.clone().enumerate() {
            self.add_row(at, placement.row(&result, y), column, samples);
        }
        placement.is_finite(&result)
    }

    /// Adds a core of one value: what the model was not asked for (opaque alpha).
    pub fn add_constant(&mut self, value: f32, column: &Span, row: &Span, samples: Samples) {
        let values = vec![value; column.result_len as usize];
        for at in 0..row.result_len as usize {
            self.add_row(at, [&values, &values, &values], column, samples);
        }
    }

    fn add_row(&mut self, row: usize, planes: [&[f32]; PLANES], column: &Span, samples: Samples) {
        let row_weight = self.spending[row];
        let (begin, row_len) = (column.result_start as usize, self.row_len());
        let clamp = |value: f32| if self.clamps { value.clamp(0.0, 1.0) } else { value };
        let weight = |at: usize| row_weight * column.weights.as_ref().map_or(1.0, |weights| weights[at]);
        let sums = &mut self.sums[row * row_len..][..row_len];
        for (channel, plane) in channels_of(self.layout.channels, samples) {
            let sums = &mut sums[channel * self.width as usize + begin..][..column.result_len as usize];
            for (at, sum) in sums.iter_mut().enumerate() {
                let value = match plane {
                    Some(plane) => clamp(planes[plane][at]),
                    None => planes.iter().map(|plane| clamp(plane[at])).sum::<f32>() / PLANES as f32,
                };
                *sum += weight(at) * value;
            }
        }
    }

    /// Ends the band: appends the rows before result row `final_until` to `bytes`, quantised, and keeps the rest.
    ///
    /// # Panics
    /// If a final row's weights do not sum to one (I6: rows reach the encoder whole).
    pub fn finish(&mut self, final_until: u32, bytes: &mut Vec<u8>) {
        for (sum, left) in self.sums.iter_mut().zip(&self.left) {
            *sum += left;
        }
        for (spending, spent) in self.spending.iter_mut().zip(&self.spent) {
            *spending += spent;
        }
        let rows = (final_until - self.first_row) as usize;
        assert!(
            self.spending[..rows]
                .iter()
                .all(|weight| (weight - 1.0).abs() < 1e-3),
            "I6: a row is not whole"
        );
        let row_len = self.row_len();
        let row_bytes = self.layout.row_bytes(self.width);
        for row in self.sums[..rows * row_len].chunks_exact(row_len) {
            let begin = bytes.len();
            bytes.resize(begin + row_bytes, 0);
            self.quantise(row, &mut bytes[begin..]);
        }
        self.left.clear();
        self.left.extend_from_slice(&self.sums[rows * row_len..]);
        self.spent.clear();
        self.spent.extend_from_slice(&self.spending[rows..]);
        self.remaining.drain(..rows.min(self.remaining.len()));
        self.first_row = final_until;
    }

    fn quantise(&self, row: &[f32], bytes: &mut [u8]) {
        let channel = |index: usize| &row[index * self.width as usize..][..self.width as usize];
        let colours = if matches!(self.layout.channels, Channels::Grey | Channels::GreyAlpha) {
            [channel(0); PLANES]
        } else {
            [channel(0), channel(1), channel(2)]
        };
        write_pixels(bytes, self.layout, colours, Samples::Colour);
        if self.layout.channels.has_alpha() {
            let alpha = channel(self.layout.channels.count() - 1);
            write_pixels(bytes, self.layout, [alpha; PLANES], Samples::Alpha);
        }
    }
}

/// The channels that a pass makes, each with the plane that it comes from; `None`: the mean of all.
fn channels_of(channels: Channels, samples: Samples) -> impl Iterator<Item = (usize, Option<usize>)> {
    let alpha_at = channels.count() - 1;
    let (range, mean) = match (samples, channels) {
        (Samples::Alpha, _) => (alpha_at..alpha_at + 1, true),
        (Samples::Colour, Channels::Grey | Channels::GreyAlpha) => (0..1, true),
        (Samples::Colour, Channels::Rgb | Channels::Rgba) => (0..PLANES, false),
    };
    range.map(move |channel| (channel, (!mean).then_some(channel)))
}
