//! Owns the way of the pixels: header → plan → rows → tiles → session → bands → encoder, in three threads
//! that overlap (`decode`, the caller's, `encode`), joined by bounded channels. Never touches the ledger and
//! never gives a result its name.

pub mod assemble;
pub mod bands;
pub mod blend;
pub mod choice;
pub mod degrade;
pub mod executor;
pub mod extract;
pub mod host;
pub mod pool;
mod rows;
pub mod target;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread;

use crate::budget::{Budget, OverBudget};
use crate::clock::{Clock, seconds_between};
use crate::codec::{
    self, CodecError, DecodeLimits, Encoded, FeedStopped, ResultFormat, RowFeed, RowSource, SinkSpec,
};
use crate::config::{MetadataPolicy, Recipe};
use crate::error::{Fault, ReasonCode};
use crate::inference::{InferenceError, Upscaler};
use crate::progress::{Cancel, Progress};
use crate::report::{ModelFacts, OutputFacts, RenderReport, Seconds};

use bands::{Commission, Tiles};
use choice::{ChoiceError, may_blend};
use host::HostNeed;
use pool::Pool;
use rows::{ResultRows, RowMaker, SourceRows, Stopped};
use target::{Target, TargetError};

/// Rows that travel together from the decoder: large enough that handing over costs nothing.
const ROWS_PER_CHUNK: u32 = 64;

/// Two: one being cut, one ready. More only hides a slow decoder.
const CHUNKS_IN_FLIGHT: usize = 2;

/// None waits: while a band is encoded the next is inferred. A band is large, and more only hides a slow encoder.
const BANDS_IN_FLIGHT: usize = 0;

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
    /// The largest run, in input pixels, that is known to fit; `None`: as far as the model's measured need tells.
    pub window_pixels_ceiling: Option<u64>,
    /// How far it is.
    pub progress: &'a Progress,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Time.
    pub clock: &'a dyn Clock,
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
            PipelineError::Target(TargetError::Scale { .. }) => {
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
    report.warnings.extend(target::losses(header.layout, &target));

    let (carried, warnings) = codec::carry(&header, target.format, target.size, render.recipe.metadata);
    report.warnings.extend(warnings);
    let mut sink = SinkSpec {
        size: target.size,
        layout: target.layout,
        format: target.format,
        quality: render.recipe.quality,
        metadata: carried,
        sequence: codec::Sequence::Single,
    };
    let profile = upscaler.profile().clone();
    let host_need = HostNeed {
        header: &header,
        sink: &sink,
    };
    let window_rows = host_need.window_rows(render.host.total_bytes(), may_blend(render.recipe, &card));
    let limits = choice::limits(
        render.recipe,
        &profile,
        render.device_bytes,
        render.window_pixels_ceiling,
        window_rows,
    );
    let demands = choice::demands(&card, &profile);
    let choice =
        choice::choose(header.upright(), render.recipe, &card, &demands, limits).map_err(|error| {
            PipelineError::DeviceMemory {
                source_name: source_name.clone(),
                error,
            }
        })?;
    report.plan = Some(bands::plan_facts(&choice.plan, upscaler));
    report.warnings.extend(choice.warnings.iter().cloned());
    let permit = host_need
        .acquire(render.host, &choice.plan)
        .map_err(|error| PipelineError::HostMemory {
            source_name: source_name.clone(),
            error,
            fits: host_need.streamed_format(render.host.total_bytes(), &choice.plan),
        })?;
    report.host_peak_bytes = Some(permit.bytes());
    if render.recipe.metadata != MetadataPolicy::Strip
        && let Some(provenance) = codec::Provenance::of(report, target.size)
    {
        sink.metadata.sign(&provenance);
    }

    render.progress.begin(header.upright().pixels());
    let rows = codec::open(render.source, &header, render.decode_limits)?;
    let mut maker = Tiles::new(Commission {
        image: rows.size(),
        source_layout: rows.layout(),
        result_layout: target.layout,
        result_width: target.size.width,
        choice,
        source_name,
    });
    render.cancel.set_terminator(upscaler.terminator());
    let outcome = run_threads(&render, rows, &mut maker, upscaler, &sink);
    render.cancel.set_terminator(None);
    let made = maker.told(upscaler);
    report.oom_retries = made.oom_retries;
    report.tile_history = made.tile_history;
    report.device_peak_bytes = upscaler.device_peak_bytes();
    report.plan = Some(made.plan);
    report.warnings.extend(made.warnings);
    report.runs = made.runs;
    let encoded = outcome.result?;
    report.warnings.extend(encoded.warnings);
    report.output = Some(OutputFacts {
        width: target.size.width,
        height: target.size.height,
        format: target.format.as_str().to_owned(),
        bytes: encoded.bytes,
    });
    report.seconds = Some(Seconds {
        total: seconds_between(started, render.clock.monotonic()),
        decode: outcome.decode_s,
        inference: made.inference_s,
        encode: outcome.encode_s,
    });
    Ok(())
}

struct Outcome {
    result: Result<Encoded, PipelineError>,
    decode_s: f64,
    encode_s: f64,
}

/// Runs the three threads to their end. The first cause wins: a thread that merely noticed that another had
/// gone reports nothing of its own.
fn run_threads(
    render: &Render<'_>,
    mut rows: Box<dyn RowSource>,
    maker: &mut dyn RowMaker,
    upscaler: &mut dyn Upscaler,
    sink: &SinkSpec,
) -> Outcome {
    // Of each: in the channel, and one in either thread's hands.
    let (chunk_pool, band_pool) = (Pool::new(CHUNKS_IN_FLIGHT + 2), Pool::new(BANDS_IN_FLIGHT + 2));
    thread::scope(|scope| {
        let (chunks, incoming) = sync_channel(CHUNKS_IN_FLIGHT);
        let (bands, outgoing) = sync_channel(BANDS_IN_FLIGHT);
        let decoder = spawn(scope, "decode", || {
            decode(rows.as_mut(), chunks, &chunk_pool, render.clock)
        });
        let encoder = spawn(scope, "encode", || encode(sink, outgoing, &band_pool, render));
        let source = SourceRows {
            incoming,
            pool: &chunk_pool,
        };
        let result = ResultRows {
            outgoing: bands,
            pool: &band_pool,
        };
        let made = maker.make(&source, &result, upscaler, render);
        drop((source, result));
        // Both see their channel closed now, so neither is waited for in vain.
        let (decoded, decode_s) = join(decoder);
        let (encoded, encode_s) = join(encoder);
        let result = match (made, decoded) {
            (Err(Stopped::Failed(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Err(Stopped::Downstream | Stopped::Upstream) | Ok(()), Ok(())) => {
                encoded.map_err(PipelineError::from)
            }
        };
        Outcome {
            result,
            decode_s,
            encode_s,
        }
    })
}

/// A thread with a name that shows in `top` and in stack traces.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    #[expect(
        clippy::expect_used,
        reason = "without threads there is no service; nothing better can be done"
    )]
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .expect("a thread can be started")
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Reads all rows in order and hands them on in chunks (I6). Ends early when nobody takes them.
fn decode(
    rows: &mut dyn RowSource,
    chunks: SyncSender<Vec<u8>>,
    pool: &Pool,
    clock: &dyn Clock,
) -> (Result<(), CodecError>, f64) {
    let (size, row_bytes) = (rows.size(), rows.layout().row_bytes(rows.size().width));
    let mut busy_s = 0.0;
    for first in (0..size.height).step_by(ROWS_PER_CHUNK as usize) {
        let started = clock.monotonic();
        let count = ROWS_PER_CHUNK.min(size.height - first) as usize;
        let mut chunk = pool.take();
        chunk.resize(count * row_bytes, 0);
        let read = chunk
            .chunks_exact_mut(row_bytes)
            .try_for_each(|row| rows.read_row(row));
        busy_s += seconds_between(started, clock.monotonic());
        if let Err(error) = read {
            return (Err(error), busy_s);
        }
        if chunks.send(chunk).is_err() {
            break;
        }
    }
    (Ok(()), busy_s)
}

/// Encodes bands as they come.
fn encode(
    sink: &SinkSpec,
    bands: Receiver<Vec<u8>>,
    pool: &Pool,
    render: &Render<'_>,
) -> (Result<Encoded, CodecError>, f64) {
    let started = render.clock.monotonic();
    let mut feed = BandFeed {
        bands,
        pool,
        waited_s: 0.0,
        clock: render.clock,
    };
    let result = render
        .out
        .try_clone()
        .map_err(CodecError::output)
        .and_then(|out| codec::encode(sink, &mut feed, out));
    let busy_s = seconds_between(started, render.clock.monotonic()) - feed.waited_s;
    (result, busy_s.max(0.0))
}

/// The encoder's end of the band channel.
struct BandFeed<'a> {
    bands: Receiver<Vec<u8>>,
    pool: &'a Pool,
    waited_s: f64,
    clock: &'a dyn Clock,
}

impl RowFeed for BandFeed<'_> {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        self.pool.give(spent);
        let started = self.clock.monotonic();
        let rows = self.bands.recv().map_err(|RecvError| FeedStopped);
        self.waited_s += seconds_between(started, self.clock.monotonic());
        rows
    }
}
