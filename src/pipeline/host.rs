//! Owns the arithmetic of host memory: what decoder, windows, bands and encoder of one picture hold together. Pure, but
//! for the permit that it takes.

use std::sync::Arc;

use super::{BANDS_IN_FLIGHT, CHUNKS_IN_FLIGHT, ROWS_PER_CHUNK};
use crate::budget::{Budget, OverBudget, Permit};
use crate::codec::{self, ImageHeader, ResultFormat, SinkSpec};
use crate::tiling::TilePlan;

/// Bytes of a pixel of a window as the session takes it.
const PLANES_BYTES: u64 = (crate::inference::PLANES * size_of::<f32>()) as u64;

/// One picture on its way from file to file.
#[derive(Debug, Clone, Copy)]
pub struct HostNeed<'a> {
    /// The source.
    pub header: &'a ImageHeader,
    /// The result.
    pub sink: &'a SinkSpec,
}

impl HostNeed<'_> {
    /// Rows of a window that a budget has room for, beside decoder and encoder. Bands hold the whole width, so the
    /// taller a window the more they hold.
    pub fn window_rows(&self, budget_bytes: u64, blends: bool) -> u32 {
        let left = budget_bytes.saturating_sub(self.fixed_bytes());
        u32::try_from(left / self.bytes_per_window_row(blends).max(1)).unwrap_or(u32::MAX)
    }

    /// Permission for all of it.
    ///
    /// # Errors
    /// [`OverBudget`] if it exceeds the whole budget.
    pub fn acquire(&self, host: &Arc<Budget>, plan: &TilePlan) -> Result<Permit, OverBudget> {
        host.acquire(self.bytes(plan))
    }

    /// A format that is written row by row and would fit the budget, where the result's own is held whole.
    pub fn streamed_format(&self, budget_bytes: u64, plan: &TilePlan) -> Option<ResultFormat> {
        let format = codec::streaming_alternative(self.sink.format)?;
        let sink = SinkSpec {
            format,
            ..self.sink.clone()
        };
        let streamed = HostNeed { sink: &sink, ..*self };
        (streamed.bytes(plan) <= budget_bytes).then_some(format)
    }

    fn bytes(&self, plan: &TilePlan) -> u64 {
        let rows = u64::from(plan.window().height);
        self.fixed_bytes() + rows * self.bytes_per_window_row(plan.is_blended())
    }

    /// Decoder, encoder, and chunks of rows on their way from the one to the windows.
    fn fixed_bytes(&self) -> u64 {
        let rows = u64::from(ROWS_PER_CHUNK) * (CHUNKS_IN_FLIGHT as u64 + 2);
        let chunks = rows * self.header.layout.row_bytes(self.header.upright().width) as u64;
        self.header.decode_bytes + codec::encode_bytes(self.sink) + chunks
    }

    /// What each row of a window costs: itself, the windows' planes, its rows of the result in each band on the way to
    /// the encoder, and in floating point where cores are blended.
    fn bytes_per_window_row(&self, blends: bool) -> u64 {
        let upright = self.header.upright();
        let source =
            self.header.layout.row_bytes(upright.width) as u64 + u64::from(upright.width) * PLANES_BYTES;
        let result_rows = u64::from(self.sink.size.height.div_ceil(upright.height.max(1)));
        let bands = (BANDS_IN_FLIGHT as u64 + 2) * self.sink.layout.row_bytes(self.sink.size.width) as u64;
        let values = self.sink.layout.channels.count() as u64 * u64::from(self.sink.size.width);
        // The band in work, and what the one before it left.
        let sums = if blends {
            2 * values * size_of::<f32>() as u64
        } else {
            0
        };
        source + result_rows * (bands + sums)
    }
}
