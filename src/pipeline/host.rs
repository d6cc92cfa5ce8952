//! Owns the arithmetic of host memory: what decoder, windows, bands, resampling and encoder hold together. Pure, but
//! for the permit that it takes.

use std::sync::Arc;

use super::choice::Choices;
use super::resample;
use super::target::{Course, Target};
use super::threads::{BANDS_IN_FLIGHT, CHUNKS_IN_FLIGHT, ROWS_PER_CHUNK};
use crate::budget::{Budget, OverBudget, Permit};
use crate::codec::{self, ImageHeader, ResultFormat, Sequence, SinkSpec};
use crate::ratio::Ratio;

/// Bytes of a pixel of a window as the session takes it.
const PLANES_BYTES: u64 = (crate::inference::PLANES * size_of::<f32>()) as u64;

/// One source on its way from file to file. Its pictures are made one after the other, so the largest need counts.
#[derive(Debug, Clone, Copy)]
pub struct HostNeed<'a> {
    /// The source.
    pub header: &'a ImageHeader,
    /// The result.
    pub sink: &'a SinkSpec,
    /// What becomes of each picture.
    pub target: &'a Target,
    /// The model's.
    pub scale: Ratio,
    /// Runs in flight at once.
    pub lanes: usize,
}

impl HostNeed<'_> {
    /// Rows of a window that a budget has room for, beside decoder and encoder. Bands hold the whole width, so the
    /// taller a window the more they hold.
    pub fn window_rows(&self, budget_bytes: u64, blends: bool) -> u32 {
        let left = budget_bytes.saturating_sub(self.fixed_bytes());
        let rows = |course| {
            left / self
                .bytes_per_window_row(course, |_| blends)
                .iter()
                .sum::<u64>()
                .max(1)
        };
        let least = self.target.courses.iter().map(rows).min();
        u32::try_from(least.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Permission for all of it, after other pictures' where it must be; `None` once it `is_wanted` no more. `choices`
    /// are those of each course's passes.
    ///
    /// # Errors
    /// [`OverBudget`] if it exceeds the whole budget.
    pub fn acquire(
        &self,
        host: &Arc<Budget>,
        choices: &[Choices],
        is_wanted: impl FnMut() -> bool,
    ) -> Result<Option<Permit>, OverBudget> {
        host.acquire(self.bytes(choices), is_wanted)
    }

    /// A format that is written row by row and would fit the budget, where the result's own is held whole.
    pub fn streamed_format(&self, budget_bytes: u64, choices: &[Choices]) -> Option<ResultFormat> {
        let format = codec::streaming_alternative(self.sink)?;
        let sink = SinkSpec {
            format,
            ..self.sink.clone()
        };
        let streamed = HostNeed { sink: &sink, ..*self };
        let is_single = matches!(self.sink.sequence, Sequence::Single);
        (is_single && streamed.bytes(choices) <= budget_bytes).then_some(format)
    }

    fn bytes(&self, choices: &[Choices]) -> u64 {
        let windows = |(course, choices): (&Course, &Choices)| {
            let per_row = self.bytes_per_window_row(course, |pass| choices[pass].plan.is_blended());
            let rows = choices
                .iter()
                .map(|choice| u64::from(choice.plan.window().height));
            rows.zip(per_row).map(|(rows, bytes)| rows * bytes).sum::<u64>()
        };
        let most = self.target.courses.iter().zip(choices).map(windows).max();
        self.fixed_bytes() + most.unwrap_or(0)
    }

    /// Decoder, encoder, and rows on their way: from the decoder to the windows, and between windows and encoder where
    /// they get another size.
    fn fixed_bytes(&self) -> u64 {
        let on_the_way = |course: &Course| {
            let rows = u64::from(ROWS_PER_CHUNK) * (CHUNKS_IN_FLIGHT as u64 + 2);
            rows * course.shown_layout().row_bytes(course.source.width) as u64
                + course
                    .transparency
                    .bytes(course.source_layout, course.source.width)
                + resample::bytes(course)
        };
        let most = self.target.courses.iter().map(on_the_way).max();
        self.header.decode_bytes + codec::encode_bytes(self.sink) + most.unwrap_or(0)
    }

    /// What each row of a window costs, for each pass: itself, the windows' planes, its rows of the result in each band
    /// on the way to the encoder or to the next pass, and in floating point where cores are blended.
    fn bytes_per_window_row(&self, course: &Course, blends: impl Fn(usize) -> bool) -> Vec<u64> {
        (0..course.passes)
            .map(|pass| {
                let (given, given_layout) = course.given(pass, self.scale);
                let layout = course.made_layout(pass);
                let width = self.scale.of(given.width);
                let source =
                    given_layout.row_bytes(given.width) as u64 + u64::from(given.width) * PLANES_BYTES;
                let result_rows = u64::from(self.scale.of(given.height).div_ceil(given.height.max(1)));
                // On to the next pass goes one at a time: one being made, one being taken in.
                let in_flight = if pass + 1 == course.passes {
                    BANDS_IN_FLIGHT as u64
                } else {
                    0
                };
                let bands = (in_flight + 2) * layout.row_bytes(width) as u64;
                let values = layout.channels.count() as u64 * u64::from(width);
                // The band in work, and what the one before it left.
                let sums = if blends(pass as usize) {
                    2 * values * size_of::<f32>() as u64
                } else {
                    0
                };
                // Where several are in flight, results wait for their turn. No two are the same tile's.
                let waiting = if self.lanes > 1 {
                    u64::from(width) * PLANES_BYTES
                } else {
                    0
                };
                source + result_rows * (bands + sums + waiting)
            })
            .collect()
    }
}
