//! Owns the making of bands: asks for rows, gives rows, and in between runs tiles, going down the ladder when
//! one does not fit. How bands come about is this module's alone; decode, encode, ledger and permits would not
//! notice another way. Runs on the thread that owns the session (I9).

use std::sync::mpsc::{Receiver, SyncSender};

use super::assemble::{Band, Placement};
use super::degrade::Ladder;
use super::extract::{RowWindow, Samples};
use super::pool::Pool;
use super::{BandsMade, PipelineError, Render};
use crate::clock::seconds_between;
use crate::codec::PixelLayout;
use crate::inference::{InferenceError, Planes, Upscaler};
use crate::ratio::Ratio;
use crate::size::Size;
use crate::tiling::{self, Limits, Span, TilePlan};

/// Why no more bands come.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The decoder ended before the picture did; it knows why.
    Upstream,
    /// The encoder ended before the picture did; it knows why.
    Downstream,
    /// A failure of our own.
    Failed(PipelineError),
}

/// Makes all bands of one picture.
#[derive(Debug)]
pub(super) struct BandMaker {
    image: Size,
    result_layout: PixelLayout,
    passes: Vec<Samples>,
    plan: TilePlan,
    limits: Limits,
    source_name: String,
    rows: RowWindow,
    planes: Vec<f32>,
    ladder: Ladder,
    inference_s: f64,
}

/// What became of one band.
enum BandOutcome {
    Made(Vec<u8>),
    OutOfMemory(InferenceError),
}

impl BandMaker {
    pub(super) fn new(
        image: Size,
        source_layout: PixelLayout,
        result_layout: PixelLayout,
        plan: TilePlan,
        limits: Limits,
        source_name: String,
    ) -> Self {
        let alpha = source_layout.channels.has_alpha() && result_layout.channels.has_alpha();
        Self {
            image,
            result_layout,
            passes: if alpha {
                vec![Samples::Colour, Samples::Alpha]
            } else {
                vec![Samples::Colour]
            },
            plan,
            limits,
            source_name,
            rows: RowWindow::new(image, source_layout),
            planes: Vec::new(),
            ladder: Ladder::default(),
            inference_s: 0.0,
        }
    }

    /// Makes every band, top to bottom, once, without gaps (I6).
    pub(super) fn run(
        &mut self,
        (incoming, chunk_pool): (Receiver<Vec<u8>>, &Pool),
        (bands, band_pool): (SyncSender<Vec<u8>>, &Pool),
        upscaler: &mut dyn Upscaler,
        render: &Render<'_>,
    ) -> Result<(), Stopped> {
        let mut next_row = 0;
        while next_row < self.image.height {
            self.ladder.try_window(self.plan.window());
            let Some(band) = self
                .plan
                .bands()
                .iter()
                .copied()
                .find(|band| band.core_start == next_row)
            else {
                unreachable!("I6: the plan has no band that begins at row {next_row}");
            };
            self.receive_rows(band, &incoming, chunk_pool)?;
            let made = match upscaler.prepare(self.plan.window(), 1, self.limits.device_bytes) {
                Ok(()) => self.make_band(band, band_pool, upscaler, render)?,
                Err(error @ InferenceError::OutOfMemory(_)) => BandOutcome::OutOfMemory(error),
                Err(error) => return Err(self.failed(error)),
            };
            match made {
                BandOutcome::Made(bytes) => {
                    bands.send(bytes).map_err(|_| Stopped::Downstream)?;
                    next_row = band.core_end();
                }
                BandOutcome::OutOfMemory(error) => self.step_down(next_row, error, upscaler)?,
            }
        }
        Ok(())
    }

    pub(super) fn into_made(self) -> BandsMade {
        BandsMade {
            ladder: self.ladder,
            plan: self.plan,
            inference_s: self.inference_s,
        }
    }

    /// Takes rows from the decoder until the band's window is held, and lets go of those above it.
    fn receive_rows(&mut self, band: Span, incoming: &Receiver<Vec<u8>>, pool: &Pool) -> Result<(), Stopped> {
        self.rows.forget_before(band.window_start);
        let window_end = (band.window_start + self.plan.rows.window_len).min(self.image.height);
        while self.rows.rows().end < window_end {
            let chunk = incoming.recv().map_err(|_| Stopped::Upstream)?;
            self.rows.push(&chunk);
            pool.give(chunk);
        }
        Ok(())
    }

    fn make_band(
        &mut self,
        span: Span,
        pool: &Pool,
        upscaler: &mut dyn Upscaler,
        render: &Render<'_>,
    ) -> Result<BandOutcome, Stopped> {
        let scale = upscaler.card().scale;
        let buffer = pool.take();
        let mut band = Band::new(
            self.result_layout,
            scale.of(self.image.width),
            scale.of(span.core_len),
            buffer,
        );
        let mut advanced = 0;
        for index in 0..self.plan.columns.spans.len() {
            let column = self.plan.columns.spans[index];
            for samples in self.passes.clone() {
                if render.cancel.is_cancelled() {
                    return Err(Stopped::Failed(PipelineError::Cancelled));
                }
                match self.run_tile(column, span, samples, &mut band, upscaler, render) {
                    Ok(()) => {}
                    Err(error @ InferenceError::OutOfMemory(_)) => {
                        render.progress.take_back(advanced);
                        return Ok(BandOutcome::OutOfMemory(error));
                    }
                    Err(error) => return Err(self.failed(error)),
                }
            }
            let pixels = u64::from(column.core_len) * u64::from(span.core_len);
            render.progress.advance(pixels);
            advanced += pixels;
        }
        Ok(BandOutcome::Made(band.finish()))
    }

    fn run_tile(
        &mut self,
        column: Span,
        row: Span,
        samples: Samples,
        band: &mut Band,
        upscaler: &mut dyn Upscaler,
        render: &Render<'_>,
    ) -> Result<(), InferenceError> {
        let window = self.plan.window();
        let placement = placement(column, row, upscaler.card().scale);
        let constant = self.rows.fill(
            column.window_start,
            row.window_start,
            window,
            samples,
            &mut self.planes,
        );
        if let (Samples::Alpha, Some(value)) = (samples, constant) {
            band.place_constant(value, &placement, samples);
            return Ok(());
        }
        let started = render.clock.monotonic();
        let mut finite = true;
        upscaler.upscale(Planes::new(&self.planes, window), &mut |result| {
            self.inference_s += seconds_between(started, render.clock.monotonic());
            finite = band.place(result, &placement, samples);
        })?;
        if finite {
            Ok(())
        } else {
            Err(InferenceError::Model(
                "it returned values that are not numbers".to_owned(),
            ))
        }
    }

    /// The next step of the ladder: what is left of the picture is planned anew with smaller windows.
    fn step_down(
        &mut self,
        from_row: u32,
        error: InferenceError,
        upscaler: &dyn Upscaler,
    ) -> Result<(), Stopped> {
        let Some(limits) = self.ladder.step_down(self.plan.window(), &self.limits) else {
            return Err(self.failed(error));
        };
        tracing::warn!(
            source = self.source_name,
            window = %self.plan.window(),
            next_window_pixels = limits.window_pixels,
            "{error}; the band is done again with smaller windows"
        );
        self.plan = tiling::plan(self.image, from_row, &super::demands(upscaler), &limits)
            .map_err(|_| self.failed(error))?;
        self.limits = limits;
        Ok(())
    }

    fn failed(&self, error: InferenceError) -> Stopped {
        Stopped::Failed(PipelineError::Inference {
            source_name: self.source_name.clone(),
            error,
        })
    }
}

/// Where the core of a tile lies in the model's output and in the band.
fn placement(column: Span, row: Span, scale: Ratio) -> Placement {
    let from = |span: Span| {
        let start = scale.of(span.core_start - span.window_start);
        start..start + scale.of(span.core_len)
    };
    Placement {
        from_columns: from(column),
        from_rows: from(row),
        to_column: scale.of(column.core_start),
    }
}
