//! Owns the session of a model that is being probed, and how much it may still be run. Never draws conclusions.

use ort::session::{RunOptions, Session};
use ort::value::Outlet;

use super::super::InferenceError;
use super::super::arena::CpuArena;
use super::super::card::{Element, Layout};
use super::super::classify::{classify, first_line};
use super::super::library::Runtime;
use super::super::providers::processor;
use super::super::session::base_builder;
use super::super::tensor::{self, Format, Pictures, RunError, Running, Scratch};
use super::Refusal;
use crate::clock::{Clock, seconds_between};
use crate::size::Size;

/// Cap of the arena while probing: four times of what the largest strip takes in a large net.
pub(super) const ARENA_BYTES: u64 = 2 << 30;

/// What all runs together may cost on a machine that has nothing else to do, seconds.
const SECONDS_MOST: f64 = 45.0;

/// Nothing dear is begun after so many seconds, however busy the machine is. Well above the other limit: a card is kept
/// for good, and should not be a poor one because something was compiled meanwhile.
const SECONDS_MOST_BUSY: f64 = 120.0;

/// A model that can be run at any size, as far as it can.
pub(super) struct Net<'a> {
    runtime: &'a Runtime,
    onnx: &'a [u8],
    clock: &'a dyn Clock,
    open: Option<Open>,
    /// How it is run: found step by step.
    pub(super) format: Format,
    scratch: Scratch,
    allowance: Allowance,
}

/// The session before the arena, which must outlive it.
struct Open {
    session: Session,
    _arena: CpuArena,
    options: RunOptions,
}

/// What one run returned: planes of float32, 0..1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) data: Vec<f32>,
    pub(super) size: Size,
}

/// How many input pixels may still be run: what the fastest run so far would do in [`SECONDS_MOST`]. The fastest,
/// because the others tell of the machine's other work: on two busy cores the same run was seen to take ten times as
/// long.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Allowance {
    spent_pixels: u64,
    spent_seconds: f64,
    fastest_pixels_per_second: f64,
}

impl Allowance {
    /// Takes note of a run.
    fn note(&mut self, pixels: u64, seconds: f64) {
        self.spent_pixels += pixels;
        self.spent_seconds += seconds;
        self.fastest_pixels_per_second = self.fastest_pixels_per_second.max(pixels as f64 / seconds);
    }

    fn covers(&self, pixels: u64) -> bool {
        let most_pixels = self.fastest_pixels_per_second * SECONDS_MOST;
        (self.spent_pixels + pixels) as f64 <= most_pixels && self.spent_seconds < SECONDS_MOST_BUSY
    }
}

impl<'a> Net<'a> {
    /// Opens the session; of the format only the element type is known then.
    ///
    /// # Errors
    /// If it cannot be loaded or its interface is not one picture in, one picture out.
    pub(super) fn open(runtime: &'a Runtime, onnx: &'a [u8], clock: &'a dyn Clock) -> Result<Self, Refusal> {
        let mut net = Self {
            runtime,
            onnx,
            clock,
            open: None,
            format: Format {
                layout: Layout::Nchw,
                channels: 3,
                input: Element::Fp32,
                range: [0.0, 1.0],
            },
            scratch: Scratch::default(),
            allowance: Allowance::default(),
        };
        net.reopen()
            .map_err(|error| Refusal::Unloadable(first_line(error.message())))?;
        Ok(net)
    }

    fn reopen(&mut self) -> ort::Result<()> {
        self.open = None;
        let arena = CpuArena::register(&self.runtime.environment, ARENA_BYTES)?;
        let session =
            processor(self.runtime, base_builder(self.runtime, None)?)?.commit_from_memory(self.onnx)?;
        self.open = Some(Open {
            session,
            _arena: arena,
            options: RunOptions::new()?,
        });
        Ok(())
    }

    /// What goes in, as the model itself describes it.
    pub(super) fn inputs(&self) -> &[Outlet] {
        self.open.as_ref().map_or(&[], |open| open.session.inputs())
    }

    /// What comes out, as the model itself describes it.
    pub(super) fn outputs(&self) -> &[Outlet] {
        self.open.as_ref().map_or(&[], |open| open.session.outputs())
    }

    /// Runs one picture.
    ///
    /// # Errors
    /// [`RunError`].
    pub(super) fn run(&mut self, data: &[f32], size: Size) -> Result<Output, RunError> {
        self.run_batch(data, 1, size)
    }

    /// Runs several pictures at once.
    ///
    /// # Errors
    /// [`RunError`].
    pub(super) fn run_batch(&mut self, data: &[f32], count: usize, size: Size) -> Result<Output, RunError> {
        match self.try_run(data, count, size) {
            // Regions of earlier shapes may be in the way: an arena keeps them.
            Err(RunError::Runtime(text)) if matches!(classify(&text), InferenceError::OutOfMemory(_)) => {
                self.reopen()?;
                self.try_run(data, count, size)
            }
            result => result,
        }
    }

    fn try_run(&mut self, data: &[f32], count: usize, size: Size) -> Result<Output, RunError> {
        let Some(open) = &mut self.open else {
            return Err(RunError::Runtime("the session is closed".to_owned()));
        };
        let pictures = Pictures { data, count, size };
        let begun = self.clock.monotonic();
        let mut running = Running {
            session: &mut open.session,
            options: &open.options,
            staging: None,
        };
        let output = tensor::run(
            &mut running,
            &self.format,
            pictures,
            &mut self.scratch,
            |result| Output {
                data: result.data.to_vec(),
                size: result.size,
            },
        )?;
        let seconds = seconds_between(begun, self.clock.monotonic());
        self.allowance.note(count as u64 * size.pixels(), seconds);
        Ok(output)
    }

    /// Whether so many input pixels may still be run.
    pub(super) fn affords(&self, pixels: u64) -> bool {
        self.allowance.covers(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_net_is_not_run_for_ever() {
        let mut allowance = Allowance::default();
        allowance.note(4_000, 4.0);
        assert!(allowance.covers(41_000) && !allowance.covers(41_001));
        allowance.note(40_000, 40.0);
        assert!(allowance.covers(1_000) && !allowance.covers(1_001));
    }

    #[test]
    fn a_busy_machine_does_not_spoil_a_card_but_has_its_end() {
        let mut allowance = Allowance::default();
        allowance.note(4_000, 20.0);
        allowance.note(4_000, 1.0);
        allowance.note(4_000, 60.0);
        assert!(allowance.covers(160_000));
        allowance.note(4_000, 60.0);
        assert!(!allowance.covers(1));
    }

    #[test]
    fn a_net_too_fast_to_measure_is_not_limited() {
        let mut allowance = Allowance::default();
        allowance.note(4096, 0.0);
        allowance.note(4096, 0.0);
        assert!(allowance.covers(1 << 40));
    }
}
