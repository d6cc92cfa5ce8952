//! Owns the way of the pixels: header → plan → rows → tiles → session → bands → encoder, in three threads
//! that overlap (`decode`, the caller's, `encode`), joined by bounded channels. Never touches the ledger and
//! never gives a result its name.

pub mod alpha;
pub mod assemble;
mod band_runs;
pub mod bands;
pub mod blend;
pub mod choice;
pub mod degrade;
pub mod executor;
pub mod extract;
pub mod host;
mod passes;
pub mod pool;
mod resample;
mod rows;
pub mod target;
mod threads;
mod told;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::budget::{Budget, OverBudget};
use crate::clock::{Clock, seconds_between};
use crate::codec::{
    self, CodecError, DecodeLimits, Encoded, ImageHeader, Page, ResultFormat, RowSource, Sequence, SinkSpec,
};
use crate::config::{MetadataPolicy, Recipe};
use crate::error::{Fault, ReasonCode};
use crate::inference::{InferenceError, ModelCard, Upscaler};
use crate::progress::{Cancel, Progress};
use crate::report::{ModelFacts, OutputFacts, RenderReport, Seconds};

use choice::{ChoiceError, Choices, may_blend};
use host::HostNeed;
use target::{Course, Target, TargetError};
use threads::Work;

/// One picture to be rendered.
#[derive(Debug)]
pub struct Render<'a> {
    /// The source.
    pub source: &'a Path,
    /// What decides the pixels.
    pub recipe: &'a Recipe,
    /// Limits of decoders.
    pub decode_limits: &'a DecodeLimits,
    /// Where the result is written: empty, readable and writable.
    pub out: File,
    /// What the data plane may hold on the host.
    pub host: &'a Arc<Budget>,
    /// What inference may hold on the device, in bytes.
    pub device_bytes: u64,
    /// What it may hold by then, asked where memory ran out.
    pub budget: DeviceBudget<'a>,
    /// The largest run, in input pixels, that is known to fit; `None`: as far as the model's measured need tells.
    pub window_pixels_ceiling: Option<u64>,
    /// How far it is.
    pub progress: &'a Progress,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Time.
    pub clock: &'a dyn Clock,
}

/// Who says what inference may hold on the device now, beside what the session holds already.
#[derive(Clone, Copy)]
pub struct DeviceBudget<'a>(pub &'a (dyn Fn(&dyn Upscaler) -> u64 + Sync));

impl std::fmt::Debug for DeviceBudget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceBudget")
    }
}

/// What can go wrong with a picture.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Reading or writing an image.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// There can be no such result.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// In the session.
    #[error("cannot upscale {source_name}: {error}")]
    Inference {
        /// The source.
        source_name: String,
        /// What happened.
        error: InferenceError,
    },
    /// No window is small enough.
    #[error("cannot upscale {source_name}: {error}; raise [memory] device{}", error.alternative())]
    DeviceMemory {
        /// The source.
        source_name: String,
        /// The numbers.
        error: ChoiceError,
    },
    /// The host budget is too small for this picture.
    #[error(
        "cannot upscale {source_name}: decoding and encoding it {error} on the host; raise [memory] host{}",
        or_format(*fits)
    )]
    HostMemory {
        /// The source.
        source_name: String,
        /// The numbers.
        error: OverBudget,
        /// A format that would fit, where the one that was asked for is held whole.
        fits: Option<ResultFormat>,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

impl PipelineError {
    /// Whether no later picture can be rendered by this process.
    pub fn is_device_lost(&self) -> bool {
        matches!(
            self,
            Self::Inference {
                error: InferenceError::DeviceLost(_),
                ..
            }
        )
    }
}

impl From<PipelineError> for Fault {
    fn from(error: PipelineError) -> Self {
        let message = error.to_string();
        match error {
            PipelineError::Codec(error) => error.into(),
            PipelineError::Target(TargetError::Pages { .. }) => {
                Self::quarantine(ReasonCode::Unsupported, message)
            }
            PipelineError::Target(_) => Self::quarantine(ReasonCode::TooLarge, message),
            PipelineError::Inference { error, .. } => {
                let mut fault = Self::from(error);
                fault.reason.message = message;
                fault
            }
            PipelineError::DeviceMemory { .. } | PipelineError::HostMemory { .. } => {
                Self::quarantine(ReasonCode::OutOfMemory, message)
            }
            PipelineError::Cancelled => Self::release(message),
        }
    }
}

/// The end of a sentence: what else would help.
fn or_format(fits: Option<ResultFormat>) -> String {
    fits.map_or_else(String::new, |format| {
        format!(
            ", or use format = \"{}\", which is written row by row",
            format.as_str()
        )
    })
}

/// Renders one picture into `render.out`. `report` is filled as facts become known, so that a failed job can
/// tell what was found. Runs on the thread that owns the session (I9); stops before the next tile when asked, or in the
/// middle of one.
///
/// # Errors
/// [`PipelineError`]; what is in `render.out` is then worthless.
pub fn render(
    render: Render<'_>,
    upscaler: &mut dyn Upscaler,
    report: &mut RenderReport,
) -> Result<(), PipelineError> {
    let started = render.clock.monotonic();
    let source_name = render.source.display().to_string();
    let header = codec::probe(render.source, render.decode_limits)?;
    report.input = Some(header.facts());
    report.warnings.extend(header.warnings.iter().cloned());
    let card = upscaler.card().clone();
    report.model = Some(ModelFacts {
        name: card.name.to_string(),
        sha256: card.sha256.to_string(),
        scale: card.scale,
    });
    let target = Target::of(render.source, &header, render.recipe, &card)?;
    report.warnings.extend(target.warnings.iter().cloned());
    let mut sink = sink(&render, &header, &target, report);
    let host_need = HostNeed {
        header: &header,
        sink: &sink,
        target: &target,
        scale: card.scale,
        lanes: upscaler.lanes(),
    };
    let choices =
        choose(&render, &host_need, &card, upscaler).map_err(|error| PipelineError::DeviceMemory {
            source_name: source_name.clone(),
            error,
        })?;
    if let Some(choice) = choices.last().and_then(|passes| passes.last()) {
        report.plan = Some(told::plan_facts(&choice.plan, upscaler));
        report.warnings.extend(choice.warnings.iter().cloned());
    }
    // Other executors' pictures hold parts of the same budget.
    let is_wanted = || {
        render.progress.wait();
        !render.cancel.is_cancelled()
    };
    let permit = host_need
        .acquire(render.host, &choices, is_wanted)
        .map_err(|error| PipelineError::HostMemory {
            source_name: source_name.clone(),
            error,
            fits: host_need.streamed_format(render.host.total_bytes(), &choices),
        })?
        .ok_or(PipelineError::Cancelled)?;
    report.host_peak_bytes = Some(permit.bytes());
    if render.recipe.metadata != MetadataPolicy::Strip
        && let Some(provenance) = codec::Provenance::of(report, sink.size)
    {
        sink.metadata.sign(&provenance);
    }

    let work = Work {
        target: &target,
        choices: &choices,
        sink: &sink,
        source_name: &source_name,
    };
    let rows = codec::open(render.source, &header, render.decode_limits)?;
    let mut seconds = Seconds::default();
    let encoded = run(&render, work, rows, upscaler, report, &mut seconds)?;
    report.warnings.extend(encoded.warnings);
    report.output = Some(OutputFacts {
        width: sink.size.width,
        height: sink.size.height,
        format: target.format.as_str().to_owned(),
        pictures: target.pictures as u64,
        bytes: encoded.bytes,
    });
    seconds.total = seconds_between(started, render.clock.monotonic());
    report.seconds = Some(seconds);
    Ok(())
}

/// What is to be written, with what of the source's metadata it can hold.
fn sink(render: &Render<'_>, header: &ImageHeader, target: &Target, report: &mut RenderReport) -> SinkSpec {
    let first = target.course(0);
    let (carried, warnings) = codec::carry(header, target.format, first.size, render.recipe.metadata);
    report.warnings.extend(warnings);
    SinkSpec {
        size: first.size,
        layout: first.layout,
        format: target.format,
        quality: render.recipe.quality,
        settings: render.recipe.encoding,
        metadata: carried,
        sequence: result_sequence(&header.sequence, target, render.recipe.metadata),
    }
}

/// Makes and encodes all pictures. What was found out by then is told also where that fails.
fn run(
    render: &Render<'_>,
    work: Work<'_>,
    rows: Box<dyn RowSource>,
    upscaler: &mut dyn Upscaler,
    report: &mut RenderReport,
    seconds: &mut Seconds,
) -> Result<Encoded, PipelineError> {
    let target = work.target;
    let scale = upscaler.card().scale;
    let pixels: u64 = target
        .courses
        .iter()
        .map(|course| course.given_pixels(scale))
        .sum();
    render.progress.begin(pixels * target.frames() as u64);
    render.cancel.set_terminator(upscaler.terminator());
    let outcome = threads::run(work, render, rows, upscaler);
    render.cancel.set_terminator(None);
    seconds.decode = outcome.decode_s;
    seconds.encode = outcome.encode_s;
    if let Some(made) = outcome.made {
        seconds.inference = made.inference_s;
        made.tell(report);
    }
    report.device_peak_bytes = upscaler.device_peak_bytes();
    let encoded = outcome.result?;
    if outcome.background_shows {
        report.warnings.push(format!(
            "{} holds no transparency: the picture was put on {} (background)",
            target.format.as_str(),
            render.recipe.background
        ));
    }
    Ok(encoded)
}

/// The windows of each course's passes.
fn choose(
    render: &Render<'_>,
    host_need: &HostNeed<'_>,
    card: &ModelCard,
    upscaler: &dyn Upscaler,
) -> Result<Vec<Choices>, ChoiceError> {
    let profile = upscaler.profile();
    let window_rows = host_need.window_rows(render.host.total_bytes(), may_blend(render.recipe, card));
    let windows = upscaler.windows();
    let limits = choice::limits(
        render.recipe,
        profile,
        windows,
        render.device_bytes,
        render.window_pixels_ceiling,
        window_rows,
    );
    let demands = choice::demands(card, profile, windows);
    let courses = &host_need.target.courses;
    let mut all: Vec<Choices> = Vec::with_capacity(courses.len());
    for (index, course) in courses.iter().enumerate() {
        // A document has many pages of one size, and a choice lists every window.
        if let Some(same) = all
            .last()
            .filter(|_| courses.get(index.wrapping_sub(1)) == Some(course))
        {
            all.push(Arc::clone(same));
            continue;
        }
        let of_pass = |pass| {
            let (given, _) = course.given(pass, card.scale);
            choice::choose(given, render.recipe, card, &demands, limits)
        };
        all.push((0..course.passes).map(of_pass).collect::<Result<_, _>>()?);
    }
    Ok(all)
}

/// What the result holds beside its first picture: as many as the source.
fn result_sequence(source: &Sequence, target: &Target, policy: MetadataPolicy) -> Sequence {
    match source {
        Sequence::Single => Sequence::Single,
        Sequence::Animation(animation) => Sequence::Animation(animation.clone()),
        Sequence::Pages(pages) => {
            let page = |(page, course): (&Page, &Course)| Page {
                size: course.size,
                layout: course.layout,
                orientation: 1,
                icc: page.icc.clone(),
                density: page.carried_density(policy),
            };
            Sequence::Pages(pages.iter().zip(&target.courses[1..]).map(page).collect())
        }
    }
}
