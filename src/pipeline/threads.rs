//! Owns the three threads of a render (`decode`, the caller's, `encode`) and the bounded channels between them. Never
//! decides what is made.

use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread;

use super::alpha::Prepared;
use super::choice::Choices;
use super::passes::Passes;
use super::pool::Pool;
use super::resample::Resized;
use super::rows::{Device, SourceRows, Stopped};
use super::target::Target;
use super::told::RowsMade;
use super::{PipelineError, Render};
use crate::clock::{Clock, seconds_between};
use crate::codec::{self, CodecError, Encoded, FeedStopped, RowFeed, RowSource, SinkSpec};
use crate::inference::Upscaler;

/// Rows that travel together from the decoder: large enough that handing over costs nothing.
pub(super) const ROWS_PER_CHUNK: u32 = 64;

/// Two: one being cut, one ready. More only hides a slow decoder.
pub(super) const CHUNKS_IN_FLIGHT: usize = 2;

/// None waits: while a band is encoded the next is inferred. A band is large, and more only hides a slow encoder.
pub(super) const BANDS_IN_FLIGHT: usize = 0;

/// What is done, in one piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub target: &'a Target,
    /// Windows of each course's passes.
    pub choices: &'a [Choices],
    pub sink: &'a SinkSpec,
    pub source_name: &'a str,
}

/// How it ended.
pub(super) struct Outcome {
    pub result: Result<Encoded, PipelineError>,
    /// What was made before the end, well or not; `None` if nothing was begun.
    pub made: Option<RowsMade>,
    /// Whether a background shows behind something transparent.
    pub background_shows: bool,
    pub decode_s: f64,
    pub encode_s: f64,
}

/// Runs the three threads to their end. The first cause wins: a thread that merely noticed that another had
/// gone reports nothing of its own.
pub(super) fn run(
    work: Work<'_>,
    render: &Render<'_>,
    mut rows: Box<dyn RowSource>,
    upscaler: &mut dyn Upscaler,
) -> Outcome {
    // Of each: in the channel, and one in either thread's hands.
    let (chunk_pool, band_pool) = (Pool::new(CHUNKS_IN_FLIGHT + 2), Pool::new(BANDS_IN_FLIGHT + 2));
    thread::scope(|scope| {
        let (chunks, incoming) = sync_channel(CHUNKS_IN_FLIGHT);
        let (bands, outgoing) = sync_channel(BANDS_IN_FLIGHT);
        let decoder = spawn(scope, "decode", || {
            decode(work.target, rows.as_mut(), chunks, &chunk_pool, render.clock)
        });
        let encoder = spawn(scope, "encode", || encode(work, outgoing, &band_pool, render));
        let source = SourceRows {
            incoming,
            pool: &chunk_pool,
        };
        let device = Device {
            upscaler,
            render,
            largest_run: None,
        };
        let (made, ended) = make(work, source, bands, &band_pool, device);
        // Both see their channel closed now, so neither is waited for in vain.
        let decoded = join(decoder);
        let (encoded, encode_s) = join(encoder);
        let result = match (ended, decoded.result) {
            (Err(Stopped::Failed(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Err(Stopped::Downstream | Stopped::Upstream) | Ok(()), Ok(())) => {
                encoded.map_err(PipelineError::from)
            }
        };
        Outcome {
            result,
            made,
            background_shows: decoded.background_shows,
            decode_s: decoded.busy_s,
            encode_s,
        }
    })
}

/// Makes the rows of all pictures, one after the other, on the thread that owns the session (I9). While the last bands
/// of one are encoded the next is decoded.
fn make(
    work: Work<'_>,
    mut source: SourceRows<'_>,
    bands: SyncSender<Vec<u8>>,
    pool: &Pool,
    mut device: Device<'_>,
) -> (Option<RowsMade>, Result<(), Stopped>) {
    let mut made: Option<RowsMade> = None;
    let mut ended = Ok(());
    // Frames of an animation go on where the last one ended; pages are begun with their own windows.
    for (index, course) in work.target.courses.iter().enumerate() {
        let mut passes = Passes::new(course, &work.choices[index], work.source_name, device.upscaler);
        ended = make_pictures(
            work.target.frames(),
            &mut passes,
            &mut source,
            &bands,
            pool,
            &mut device,
        );
        let told = passes.told(device.upscaler);
        match (&mut made, told) {
            (Some(made), Some(told)) => made.add(told),
            (made, told) => *made = told,
        }
        if ended.is_err() {
            break;
        }
    }
    (made, ended)
}

/// So many pictures of the same course.
fn make_pictures(
    count: usize,
    passes: &mut Passes,
    source: &mut SourceRows<'_>,
    bands: &SyncSender<Vec<u8>>,
    pool: &Pool,
    device: &mut Device<'_>,
) -> Result<(), Stopped> {
    for index in 0..count {
        if index > 0 {
            passes.begin_again(device.upscaler)?;
        }
        while let Some(rows) = passes.next_rows(pool.take(), source, device)? {
            // Waits while the encoder is busy with earlier ones.
            bands.send(rows).map_err(|_| Stopped::Downstream)?;
        }
    }
    Ok(())
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

/// What the decoder's thread came to.
struct Decoded {
    result: Result<(), CodecError>,
    background_shows: bool,
    busy_s: f64,
}

/// Reads all rows of all pictures in order, as the model is to see them, and hands them on in chunks (I6). Ends early
/// when nobody takes them.
fn decode(
    target: &Target,
    rows: &mut dyn RowSource,
    chunks: SyncSender<Vec<u8>>,
    pool: &Pool,
    clock: &dyn Clock,
) -> Decoded {
    let mut decoded = Decoded {
        result: Ok(()),
        background_shows: false,
        busy_s: 0.0,
    };
    for index in 0..target.pictures {
        let course = target.course(index);
        let size = course.source;
        let row_bytes = course.shown_layout().row_bytes(size.width);
        let mut prepared = Prepared::new(course.transparency, size, course.source_layout);
        for first in (0..size.height).step_by(ROWS_PER_CHUNK as usize) {
            let started = clock.monotonic();
            let count = ROWS_PER_CHUNK.min(size.height - first) as usize;
            let mut chunk = pool.take();
            chunk.resize(count * row_bytes, 0);
            decoded.result = chunk
                .chunks_exact_mut(row_bytes)
                .try_for_each(|row| prepared.read_row(rows, row));
            decoded.background_shows |= prepared.background_shows();
            decoded.busy_s += seconds_between(started, clock.monotonic());
            if decoded.result.is_err() || chunks.send(chunk).is_err() {
                return decoded;
            }
        }
    }
    decoded
}

/// Encodes bands as they come.
fn encode(
    work: Work<'_>,
    bands: Receiver<Vec<u8>>,
    pool: &Pool,
    render: &Render<'_>,
) -> (Result<Encoded, CodecError>, f64) {
    let started = render.clock.monotonic();
    let bands = BandFeed {
        bands,
        pool,
        waited_s: 0.0,
        clock: render.clock,
    };
    let mut feed = Resized::new(bands, work.target);
    let result = render
        .out
        .try_clone()
        .map_err(CodecError::output)
        .and_then(|out| codec::encode(work.sink, &mut feed, out));
    let busy_s = seconds_between(started, render.clock.monotonic()) - feed.inner().waited_s;
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
