//! Owns the session of a model that is being probed, and how much it may still be run. Never draws conclusions.

use ort::session::Session;
use ort::value::Outlet;

use super::super::InferenceError;
use super::super::arena::CpuArena;
use super::super::card::{Element, Layout};
use super::super::classify::{classify, first_line};
use super::super::library::Runtime;
use super::super::session::base_builder;
use super::super::tensor::{self, Format, Pictures, RunError, Scratch};
use super::Refusal;
use crate::clock::{Clock, seconds_between};
use crate::size::Size;

/// Cap of the arena while probing: four times of what the largest strip takes in a large net.
pub(super) const ARENA_BYTES: u64 = 2 << 30;

/// What the dear measurements (reach, seams) may cost together, seconds: with the cheap ones a minute on two cores.
const SECONDS_MOST: f64 = 45.0;

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
}

/// What one run returned: planes of float32, 0..1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) data: Vec<f32>,
    pub(super) size: Size,
}

/// Input pixels that may still be run, from the speed of early runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Allowance {
    runs: u32,
    left: Option<u64>,
}

impl Allowance {
    /// Takes note of a run. The second one sets the speed: the first also pays for the arena's growth.
    fn note(&mut self, pixels: u64, seconds: f64) {
        const SETS_THE_SPEED: u32 = 2;
        self.runs += 1;
        match &mut self.left {
            Some(left) => *left = left.saturating_sub(pixels),
            None if self.runs == SETS_THE_SPEED => {
                self.left = Some((pixels as f64 * SECONDS_MOST / seconds) as u64);
            }
            None => {}
        }
    }

    fn covers(&self, pixels: u64) -> bool {
        self.left.is_none_or(|left| pixels <= left)
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
        let session = base_builder(self.runtime, None)?
            .with_env_allocators()?
            .commit_from_memory(self.onnx)?;
        self.open = Some(Open {
            session,
            _arena: arena,
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
        let output = tensor::run(
            &mut open.session,
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
        allowance.note(4096, 30.0);
        assert!(allowance.covers(u64::MAX), "the first run is no measure");
        allowance.note(4096, 4.0);
        assert!(allowance.covers(46_080) && !allowance.covers(46_081));
        allowance.note(46_000, 1.0);
        assert!(allowance.covers(80) && !allowance.covers(81));
    }

    #[test]
    fn a_net_too_fast_to_measure_is_not_limited() {
        let mut allowance = Allowance::default();
        allowance.note(4096, 0.0);
        allowance.note(4096, 0.0);
        assert!(allowance.covers(1 << 40));
    }
}
