//! Owns the making of rows by tiles: a band of the source becomes windows, windows go through the model, cores become
//! a band of the result. Goes down the ladder when a run does not fit. Runs on the thread that owns the session (I9);
//! never decodes and never encodes.

use super::assemble::Band;
use super::band_runs::{Assembly, BandDone, BandRuns, BandWork};
use super::blend::Blend;
use super::choice::{self, Choice};
use super::degrade::Ladder;
use super::extract::{RowWindow, Samples, rows_shown};
use super::rows::{Device, Stopped, Supply};
use super::told::{self, RowsMade};
use super::{DeviceBudget, PipelineError};
use crate::clock::seconds_between;
use crate::codec::PixelLayout;
use crate::inference::{InferenceError, Upscaler};
use crate::report::RunSizes;
use crate::size::Size;
use crate::tiling::{self, Joint, Span, TilePlan};

/// Makes all rows of one pass over one picture by tiles.
#[derive(Debug)]
pub(super) struct Tiles {
    image: Size,
    result_layout: PixelLayout,
    result_width: u32,
    /// What each tile is asked for, one after the other.
    asked: Vec<Samples>,
    plan: TilePlan,
    ladder: Ladder,
    seam_error_levels: Option<f32>,
    why: String,
    source_name: String,
    source_layout: PixelLayout,
    rows: RowWindow,
    /// The next band.
    next: usize,
    /// A buffer for one.
    spare: Vec<u8>,
    /// Where overlapping cores are put together; `None` while none overlap.
    blend: Option<Blend>,
    /// Buffers for the tiles of runs.
    buffers: Vec<Vec<f32>>,
    computed_pixels: u64,
    inference_s: f64,
    runs: RunSizes,
    pictures: u64,
    /// Providers that could not finish, each in words.
    given_up: Vec<String>,
}

/// What is done once: a picture's layouts, and the choice that was made for it.
#[derive(Debug)]
pub(super) struct Commission {
    pub image: Size,
    pub source_layout: PixelLayout,
    pub result_layout: PixelLayout,
    pub result_width: u32,
    pub choice: Choice,
    pub source_name: String,
}

/// What became of one band.
enum BandOutcome {
    Made(Vec<u8>),
    OutOfMemory(InferenceError),
}

impl Tiles {
    pub(super) fn new(commission: Commission) -> Self {
        let Commission {
            image,
            source_layout,
            result_layout,
            choice,
            ..
        } = commission;
        let alpha = source_layout.channels.has_alpha() && result_layout.channels.has_alpha();
        Self {
            image,
            result_layout,
            result_width: commission.result_width,
            asked: if alpha {
                vec![Samples::Colour, Samples::Alpha]
            } else {
                vec![Samples::Colour]
            },
            ladder: Ladder::new(choice.plan.joint, choice.limits, choice.otherwise),
            plan: choice.plan,
            seam_error_levels: choice.seam_error_levels,
            why: choice.why,
            source_name: commission.source_name,
            source_layout,
            rows: RowWindow::new(image, source_layout),
            next: 0,
            spare: Vec::new(),
            blend: None,
            buffers: Vec::new(),
            computed_pixels: 0,
            inference_s: 0.0,
            runs: RunSizes::default(),
            pictures: 1,
            given_up: Vec::new(),
        }
    }

    /// Begins with the next picture, of the same size and samples: where the ladder stands is still true.
    pub(super) fn begin_again(&mut self, upscaler: &dyn Upscaler) -> Result<(), Stopped> {
        self.rows = RowWindow::new(self.image, self.source_layout);
        self.blend = None;
        self.next = 0;
        self.pictures += 1;
        self.plan_anew(0, upscaler)
            .map_err(|error| self.failed(InferenceError::OutOfMemory(error.to_string())))
    }

    /// The run that its windows come to: their size, and how many at once.
    pub(super) fn largest_run(&self) -> (Size, u32) {
        (self.plan.window(), self.plan.batch)
    }

    /// The next final rows, in `spent` or in a new buffer; `None` after the last. Runs on the thread that owns the
    /// session (I9).
    pub(super) fn next_rows(
        &mut self,
        spent: Vec<u8>,
        source: &mut dyn Supply,
        device: &mut Device<'_>,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        self.spare = spent;
        while let Some(band) = self.plan.bands().get(self.next).cloned() {
            self.ladder.try_window(self.plan.window());
            self.receive_rows(&band, source, device)?;
            let (window, batch) = device.largest_run.unwrap_or_else(|| self.largest_run());
            let device_bytes = self.ladder.rung().limits.device_bytes;
            let made = match device.upscaler.prepare(window, batch, device_bytes) {
                Ok(()) => self.make_band(device)?,
                Err(error @ InferenceError::OutOfMemory(_)) => BandOutcome::OutOfMemory(error),
                Err(error) => return Err(self.failed(error)),
            };
            match made {
                BandOutcome::Made(bytes) => {
                    let worked = self.runs.worked_pixels.max(Some(run_pixels(&self.plan)));
                    self.runs.worked_pixels = worked;
                    self.next = self.go_on(self.next, device)?;
                    return Ok(Some(bytes));
                }
                BandOutcome::OutOfMemory(error) => {
                    self.step_down(band.core_start, error, device)?;
                    // The others' windows may be the ones that were too much.
                    device.largest_run = None;
                    self.next = 0;
                }
            }
        }
        Ok(None)
    }

    /// What there is to tell, after the end.
    pub(super) fn told(&self, upscaler: &dyn Upscaler) -> RowsMade {
        let mut plan = told::plan_facts(&self.plan, upscaler);
        plan.seam_error = self.seam_error_levels;
        plan.why = self.why.clone();
        plan.tiles *= self.pictures;
        let pooled = upscaler.card().pools_globally && self.plan.tiles() > 1;
        RowsMade {
            plan,
            oom_retries: self.ladder.retries(),
            tile_history: self.ladder.tile_history(),
            inference_s: self.inference_s,
            runs: self.runs,
            computed_pixels: self.computed_pixels,
            due_pixels: self.image.pixels() * self.asked.len() as u64 * self.pictures,
            warnings: pooled
                .then(|| told::pooled_warning(upscaler))
                .into_iter()
                .chain(self.given_up.iter().cloned())
                .collect(),
        }
    }

    /// Takes rows from the decoder until the band's windows can be cut, and lets go of those above.
    fn receive_rows(
        &mut self,
        band: &Span,
        source: &mut dyn Supply,
        device: &mut Device<'_>,
    ) -> Result<(), Stopped> {
        let shown = rows_shown(band);
        self.rows.forget_before(shown.start);
        while self.rows.rows().end < shown.end {
            source.next(device, &mut |chunk| self.rows.push(chunk))?;
        }
        Ok(())
    }

    /// All tiles of one band. Where cores overlap, only its final rows come out; the rest waits for the next band.
    fn make_band(&mut self, device: &mut Device<'_>) -> Result<BandOutcome, Stopped> {
        let (index, render) = (self.next, device.render);
        let span = self.plan.bands()[index].clone();
        let mut assembly = self.begin_band(&span);
        let mut runs = BandRuns::new(BandWork {
            plan: &self.plan,
            index,
            rows: &self.rows,
            asked: &self.asked,
            assembly: &mut assembly,
            blend: self.blend.as_mut(),
            buffers: &mut self.buffers,
            render,
        });
        let begun = render.clock.monotonic();
        let outcome = runs.have_done_by(device.upscaler);
        let BandDone {
            advanced,
            computed_pixels,
            own_s,
        } = runs.done();
        self.inference_s += (seconds_between(begun, render.clock.monotonic()) - own_s).max(0.0);
        self.computed_pixels += computed_pixels;
        match outcome {
            Ok(()) => Ok(BandOutcome::Made(self.end_band(index, assembly))),
            Err(error @ InferenceError::OutOfMemory(_)) => {
                render.progress.take_back(advanced);
                if let Assembly::Direct(band) = assembly {
                    self.spare = band.abandon();
                }
                Ok(BandOutcome::OutOfMemory(error))
            }
            Err(InferenceError::Terminated) => Err(Stopped::Failed(PipelineError::Cancelled)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn begin_band(&mut self, span: &Span) -> Assembly {
        let waiting = self.blend.as_ref().is_some_and(Blend::is_waiting);
        if !self.plan.is_blended() && !waiting {
            self.blend = None;
            let buffer = std::mem::take(&mut self.spare);
            return Assembly::Direct(Band::new(
                self.result_layout,
                self.result_width,
                span.result_len,
                buffer,
            ));
        }
        let (layout, width) = (self.result_layout, self.result_width);
        let clamps = matches!(self.plan.joint, Joint::Comfy { .. });
        let blend = self
            .blend
            .get_or_insert_with(|| Blend::new(layout, width, span.result_start, clamps));
        blend.begin(span);
        Assembly::Blended
    }

    fn end_band(&mut self, index: usize, assembly: Assembly) -> Vec<u8> {
        match (assembly, &mut self.blend) {
            (Assembly::Direct(band), _) => band.finish(),
            (Assembly::Blended, Some(blend)) => {
                let mut bytes = std::mem::take(&mut self.spare);
                bytes.clear();
                blend.finish(self.plan.rows.final_until(index), &mut bytes);
                bytes
            }
            (Assembly::Blended, None) => unreachable!("a blended band was begun with its blend"),
        }
    }

    /// The next band's index. After clean bands on a lower rung the one above is tried, for what is left.
    fn go_on(&mut self, done: usize, device: &Device<'_>) -> Result<usize, Stopped> {
        let next = done + 1;
        let Some(band) = self.plan.bands().get(next) else {
            return Ok(next);
        };
        let from_row = band.core_start;
        if !self.ladder.band_done() {
            return Ok(next);
        }
        tracing::debug!(
            source = self.source_name,
            from_row,
            "larger windows are tried again"
        );
        self.ask_budget(device);
        // What fitted the device once is no promise; but a plan there was.
        self.plan_anew(from_row, device.upscaler)
            .map_err(|error| self.failed(InferenceError::OutOfMemory(error.to_string())))?;
        Ok(0)
    }

    /// The next step of the ladder: what is left of the picture is planned anew with smaller windows, or for the next
    /// provider.
    fn step_down(
        &mut self,
        from_row: u32,
        error: InferenceError,
        device: &mut Device<'_>,
    ) -> Result<(), Stopped> {
        let window = self.plan.window();
        let failed = run_pixels(&self.plan);
        self.runs = RunSizes {
            worked_pixels: None,
            failed_pixels: Some(self.runs.failed_pixels.map_or(failed, |least| least.min(failed))),
        };
        let known_bytes = self.ladder.rung().limits.device_bytes;
        self.ask_budget(device);
        let fits = self.ladder.step_down(&self.plan).is_some()
            && (self.plan_anew(from_row, device.upscaler).is_ok() || {
                // What is free now is an estimate, too; before the device is given up, less is tried all the same.
                self.ladder.set_budget(known_bytes);
                self.plan_anew(from_row, device.upscaler).is_ok()
            });
        if fits {
            tracing::warn!(
                source = self.source_name,
                %window,
                next_window = %self.plan.window(),
                batch = self.plan.batch,
                "{error}; the band is done again with less at once"
            );
            return Ok(());
        }
        let device_bytes = self.ladder.rung().limits.device_bytes;
        let before = device.upscaler.place().provider;
        let another = device
            .upscaler
            .fall_back(device_bytes)
            .map_err(|error| self.failed(error))?;
        self.ladder.start_over();
        self.runs = RunSizes::default();
        if another {
            self.ask_budget(device);
        }
        if !another || self.plan_anew(from_row, device.upscaler).is_err() {
            return Err(self.failed(at_the_foot(error, window, device_bytes)));
        }
        let told = told::given_up(before, &error, device.upscaler.place().provider);
        tracing::warn!(source = self.source_name, "{told}");
        self.given_up.push(told);
        Ok(())
    }

    /// Other programs take memory and give it back.
    fn ask_budget(&mut self, device: &Device<'_>) {
        let DeviceBudget(now) = device.render.budget;
        self.ladder.set_budget(now(device.upscaler));
    }

    fn plan_anew(&mut self, from_row: u32, upscaler: &dyn Upscaler) -> Result<(), tiling::PlanError> {
        let rung = self.ladder.rung();
        let windows = upscaler.windows();
        let demands = choice::demands(upscaler.card(), upscaler.profile(), windows);
        self.plan = tiling::plan(self.image, from_row, rung.joint, &demands, &rung.limits)?;
        if let Some(blend) = &mut self.blend {
            blend.change_plan();
        }
        Ok(())
    }

    fn failed(&self, error: InferenceError) -> Stopped {
        Stopped::Failed(PipelineError::Inference {
            source_name: self.source_name.clone(),
            error,
        })
    }
}

/// Input pixels of one run.
fn run_pixels(plan: &TilePlan) -> u64 {
    plan.window().pixels() * u64::from(plan.batch)
}

/// What is said when nothing smaller is left to try: the numbers.
fn at_the_foot(error: InferenceError, window: Size, device_bytes: u64) -> InferenceError {
    match error {
        InferenceError::OutOfMemory(text) => InferenceError::OutOfMemory(format!(
            "not even a window of {window} fits the {device_bytes} bytes that are allowed ({text}); allow more, or close \
             what else uses the device"
        )),
        other => other,
    }
}
