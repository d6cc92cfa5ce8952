//! Owns the way of one input to its result: stage, render, seal, commit, with a progress bar while it lasts and an
//! end at the next tile when somebody presses Ctrl-C. Never leaves a temporary file behind.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Timestamp;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::super::exit::{Exit, Failure};
use super::super::out::{cut, shown};
use super::plan::Planned;
use super::words;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Recipe;
use crate::error::{Fault, ReasonCode, plain};
use crate::fs::RealFilesystem;
use crate::pipeline::PipelineError;
use crate::pipeline::executor::{Executor, ExecutorSettings, Order, Rendered};
use crate::progress::{Cancel, Progress};
use crate::publish::{Instance, PublishError, Publisher};
use crate::report::RenderReport;
use crate::service::{Companion, carry_sidecars};

/// Between two looks at the progress: smooth to the eye, nothing to the processor.
const REDRAW: Duration = Duration::from_millis(100);

/// Columns of a name before the bar: the whole line fits the narrowest terminal in use, 80.
const NAME_COLUMNS: usize = 24;

/// How one input ended.
#[derive(Debug)]
pub enum Ended {
    /// Its result is there.
    Done,
    /// It failed.
    Failed(Fault),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// What all inputs share.
#[derive(Debug)]
pub struct Workshop {
    executor: Executor,
    publisher: Publisher,
    clock: SharedClock,
    cancel: Cancel,
    overwrite: bool,
    device_lost: Cell<bool>,
}

impl Workshop {
    /// Starts the executor, which loads nothing yet, and listens for Ctrl-C.
    pub fn open(settings: ExecutorSettings, overwrite: bool) -> Result<Self, Failure> {
        let clock = SystemClock::shared();
        let cancel = Cancel::default();
        let host = settings.host_budget();
        let started = listen(cancel.clone()).and_then(|()| Executor::start(settings, host, clock.clone()));
        let executor = started.map_err(|error| {
            Failure::new(
                Exit::Temporary,
                format!("cannot start: {}; try again", plain(&error)),
            )
        })?;
        let publisher = Publisher::new(RealFilesystem::shared(), Instance::of_command());
        Ok(Self {
            executor,
            publisher,
            clock,
            cancel,
            overwrite,
            device_lost: Cell::new(false),
        })
    }

    /// Whether somebody pressed Ctrl-C.
    pub fn is_interrupted(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether nothing more can be rendered by this process.
    pub fn is_device_lost(&self) -> bool {
        self.device_lost.get()
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Upscales one input; `index` tells its temporary file from the others'.
    pub fn render(&self, planned: &Planned, recipe: &Recipe, index: usize) -> (RenderReport, Ended) {
        let known = || RenderReport {
            input: Some(planned.input.clone()),
            ..RenderReport::default()
        };
        if self.is_interrupted() {
            return (known(), Ended::Interrupted);
        }
        let failed = |error: &PublishError| Ended::Failed(words::publish(error));
        let final_path = planned.final_path.as_path();
        let Some(root) = final_path.parent() else {
            let message = format!("{} is no file name; use another -o", shown(&planned.result));
            return (known(), Ended::Failed(Fault::quarantine(ReasonCode::Io, message)));
        };
        let staged = match self.publisher.stage(root, final_path, &index.to_string()) {
            Ok(staged) => staged,
            Err(error) => return (known(), failed(&error)),
        };
        let out = match staged.file() {
            Ok(out) => out,
            Err(error) => {
                let message = format!(
                    "cannot write {}: {}; try again",
                    shown(&planned.result),
                    plain(&error)
                );
                return (known(), Ended::Failed(Fault::quarantine(ReasonCode::Io, message)));
            }
        };
        let progress = Arc::new(Progress::default());
        let order = Order {
            source: planned.source.clone(),
            recipe: recipe.clone(),
            out,
            progress: Arc::clone(&progress),
            cancel: self.cancel.clone(),
        };
        let Some((mut report, result)) = self.wait(order, planned, &progress) else {
            let message = format!(
                "cannot upscale {}: the executor ended unexpectedly, which is a mistake of this program; report it",
                shown(&planned.source)
            );
            return (
                known(),
                Ended::Failed(Fault::quarantine(ReasonCode::Model, message)),
            );
        };
        let ended = match result {
            Err(PipelineError::Cancelled) => Ended::Interrupted,
            Err(error) => {
                self.device_lost.set(error.is_device_lost());
                Ended::Failed(words::pipeline(error))
            }
            Ok(()) => {
                if let Ok(time) = planned.source.metadata().and_then(|meta| meta.modified()) {
                    staged.set_modified(time);
                }
                let published = self
                    .publisher
                    .seal(staged)
                    .and_then(|sealed| self.publisher.commit(&sealed, final_path, self.overwrite));
                match published {
                    Ok(_) => {
                        let companion = Companion {
                            source: &planned.source,
                            root,
                            result: final_path,
                            policy: recipe.metadata,
                            report: &report,
                        };
                        let warnings = carry_sidecars(&self.publisher, companion, &index.to_string());
                        report.warnings.extend(warnings);
                        Ended::Done
                    }
                    Err(error) => failed(&error),
                }
            }
        };
        (report, ended)
    }

    /// Waits for the executor and shows how far it is. `None`: its thread is gone.
    fn wait(&self, order: Order, planned: &Planned, progress: &Progress) -> Option<Rendered> {
        let pixels = u64::from(planned.input.width) * u64::from(planned.input.height);
        let bar = bar(pixels, &planned.source);
        let (send, receive) = channel();
        self.executor
            .submit(order, move |rendered| drop(send.send(rendered)));
        let rendered = loop {
            match receive.recv_timeout(REDRAW) {
                Ok(rendered) => break Some(rendered),
                Err(RecvTimeoutError::Timeout) => {
                    bar.set_position((progress.fraction() * pixels as f64) as u64)
                }
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        bar.finish_and_clear();
        rendered
    }
}

/// A bar on a terminal, nothing anywhere else.
fn bar(pixels: u64, source: &Path) -> ProgressBar {
    const TEMPLATE: &str = "{prefix} {bar:30} {percent:>3} %  {speed}  {left}";
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style
        .with_key(
            "speed",
            |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{:.2} MP/s", state.per_sec() / 1e6);
            },
        )
        .with_key("left", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            if state.pos() > 0 {
                let _ = write!(text, "{} left", super::super::out::span(state.eta()));
            }
        });
    let bar = ProgressBar::with_draw_target(Some(pixels), ProgressDrawTarget::stderr());
    let name = source.file_name().map(Path::new).unwrap_or(source);
    bar.with_style(style)
        .with_prefix(cut(&shown(name), Some(NAME_COLUMNS)))
}

/// Turns Ctrl-C into a wish to stop; a second one ends the process at once, as if it had never been caught.
fn listen(cancel: Cancel) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if cancel.is_cancelled() {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                cancel.cancel();
            }
        })?;
    Ok(())
}
