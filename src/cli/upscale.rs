//! Owns `upscaled upscale`: these files, now, without daemon and ledger. Never leaves half a result and never
//! touches an input.

mod plan;
mod words;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use self::plan::{Planned, Refused, Step};
use self::work::{Ended, Workshop};
use super::args::UpscaleArgs;
use super::exit::{Exit, Failure, Tally, of_fault};
use super::out::{Out, complain, shown};
use crate::config::{AnimationFormat, Config, Contradiction, Format, Recipe, check_tiling};
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::inference::Catalogue;
use crate::pipeline::executor::ExecutorSettings;
use crate::report::{DOCUMENT_VERSION, JobDocument, JobState, RenderReport, hex, path_text};
use crate::service::executor_settings;

/// What became of one input.
#[derive(Debug)]
struct Ending {
    source: PathBuf,
    result: Option<PathBuf>,
    state: JobState,
    reason: Option<Reason>,
    report: RenderReport,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

/// Upscales the inputs one after the other.
pub fn upscale(named: Option<&Path>, args: &UpscaleArgs) -> Result<Exit, Failure> {
    let config = super::load_or_default(named)?;
    let destination = plan::destination(args)?;
    let recipe = recipe(args, &destination)?;
    check_tiling(&recipe).map_err(|Contradiction { key, why }| Failure::usage(format!("--{key} {why}")))?;
    let catalogue = super::catalogue(&config);
    let card = catalogue.card(&args.model)?;
    let steps = plan::steps(args, &recipe, &card, &destination)?;
    let workshop = Workshop::open(settings(config, args, &catalogue), args.overwrite)?;
    if steps.iter().any(|step| matches!(step, Step::Render(_))) {
        plan::make_directory(&destination)?;
    }
    let mut tally = Tally::default();
    let mut hopeless = None::<Fault>;
    for (index, step) in steps.into_iter().enumerate() {
        let (ending, fault) = match step {
            Step::Refuse(refused) => refuse(*refused),
            Step::Render(planned) => match &hopeless {
                Some(fault) => unrendered(&planned, fault.clone()),
                None => render(&workshop, &planned, &recipe, index),
            },
        };
        match &fault {
            Some(fault) => tally.failed(of_fault(fault, ending.report.input.is_some())),
            None => tally.done(),
        }
        // No runtime, model or device for this one: none for the next either.
        hopeless = hopeless.or(fault.filter(|fault| of_fault(fault, true) == Exit::Unavailable));
        match tell(ending, args.json.json) {
            // Nobody reading on is no reason to leave the rest undone.
            Ok(()) | Err(Failure::Unread) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(if workshop.is_interrupted() {
        Exit::Interrupted
    } else if workshop.is_device_lost() {
        Exit::DeviceLost
    } else {
        tally.exit()
    })
}

fn recipe(args: &UpscaleArgs, destination: &plan::Destination) -> Result<Recipe, Failure> {
    let format = plan::format(args, destination)?;
    Ok(Recipe {
        model: args.model.clone(),
        scale: args.scale,
        tiling: args.tiling,
        tile_px: args.tile.chosen(),
        overlap_px: args.overlap.chosen(),
        format,
        quality: args.quality,
        // Who names a format that holds frames means it for frames too.
        animation: match (args.animation, format) {
            (AnimationFormat::Same, Format::Webp) => AnimationFormat::Webp,
            (AnimationFormat::Same, Format::Png) => AnimationFormat::Png,
            (animation, _) => animation,
        },
        metadata: args.metadata,
        ..Recipe::default()
    })
}

/// The configuration's runtime and memory, where the command line says nothing else.
fn settings(mut config: Config, args: &UpscaleArgs, catalogue: &Arc<Catalogue>) -> ExecutorSettings {
    if !args.ep.is_empty() {
        config.runtime.providers.clone_from(&args.ep);
        config.runtime.providers_chosen = true;
    }
    config.memory.device_bytes = args.device_memory.or(config.memory.device_bytes);
    config.memory.host_bytes = args.host_memory.or(config.memory.host_bytes);
    executor_settings(&config, catalogue)
}

fn refuse(refused: Refused) -> (Ending, Option<Fault>) {
    let report = RenderReport {
        input: refused.input,
        ..RenderReport::default()
    };
    let ending = Ending {
        source: refused.source,
        result: None,
        state: JobState::Failed,
        reason: Some(refused.fault.reason.clone()),
        report,
        started_at: None,
        finished_at: None,
    };
    (ending, Some(refused.fault))
}

fn unrendered(planned: &Planned, fault: Fault) -> (Ending, Option<Fault>) {
    let input = Some(planned.input.clone());
    refuse(Refused {
        source: planned.source.clone(),
        input,
        fault,
    })
}

fn render(workshop: &Workshop, planned: &Planned, recipe: &Recipe, index: usize) -> (Ending, Option<Fault>) {
    let started_at = workshop.now();
    let (report, ended) = workshop.render(planned, recipe, index);
    let (state, fault) = match ended {
        Ended::Done => (JobState::Done, None),
        Ended::Failed(fault) => (JobState::Failed, Some(fault)),
        Ended::Interrupted => (JobState::Cancelled, Some(interrupted(planned))),
    };
    let ending = Ending {
        source: planned.source.clone(),
        result: (state == JobState::Done).then(|| planned.result.clone()),
        state,
        reason: fault.as_ref().map(|fault| fault.reason.clone()),
        report,
        started_at: Some(started_at),
        finished_at: Some(workshop.now()),
    };
    (ending, fault)
}

fn interrupted(planned: &Planned) -> Fault {
    let message = format!(
        "{} was interrupted; nothing is left of it",
        shown(&planned.source)
    );
    Fault {
        disposition: Disposition::Release,
        reason: Reason::new(ReasonCode::Io, message),
    }
}

fn tell(ending: Ending, json: bool) -> Result<(), Failure> {
    if json {
        return Out::stdout().json_line(&document(ending));
    }
    match (&ending.result, ending.reason) {
        (Some(result), _) => {
            let source = shown(&ending.source);
            for warning in &ending.report.warnings {
                complain(format!("{source}: warning: {warning}"));
            }
            let mut out = Out::stdout();
            out.line(result_line(&source, &shown(result), &ending.report))?;
            out.flush()?;
        }
        // Who pressed Ctrl-C knows.
        (None, _) if ending.state == JobState::Cancelled => {}
        (None, Some(reason)) => complain(reason),
        (None, None) => complain(format!("{} failed", shown(&ending.source))),
    }
    Ok(())
}

fn document(ending: Ending) -> JobDocument {
    let (source, source_hex) = path_text(&ending.source);
    JobDocument {
        version: DOCUMENT_VERSION,
        job: None,
        folder: None,
        source,
        source_hex,
        source_blake3: content_hash(&ending.source),
        recipe_blake3: None,
        state: ending.state,
        attempts: u32::from(ending.started_at.is_some()),
        reason: ending.reason,
        result: ending.result.map(|path| path.to_string_lossy().into_owned()),
        report: ending.report,
        queued_at: None,
        started_at: ending.started_at,
        finished_at: ending.finished_at,
    }
}

/// BLAKE3 of a regular file; `None` for what cannot be read to its end (a FIFO would never end).
fn content_hash(path: &Path) -> Option<String> {
    let is_file = path.metadata().is_ok_and(|meta| meta.is_file());
    let file = is_file.then(|| std::fs::File::open(path).ok()).flatten()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).ok()?;
    Some(hex(hasher.finalize().as_bytes()))
}

/// `in.jpg → in_4x.jpg  4096×2732  12.3 s`
pub fn result_line(source: &str, result: &str, report: &RenderReport) -> String {
    let mut line = format!("{source} → {result}");
    if let Some(output) = &report.output {
        line += &format!("  {}×{}", output.width, output.height);
    }
    if let Some(seconds) = report.seconds {
        line += &format!("  {:.1} s", seconds.total);
    }
    line
}
