//! Owns the seam behind which rows of a result come about: rows of the source go in, rows of the result come out, in
//! order, once, without gaps (I6). Decoder, encoder, ledger and permits see nothing else, so another way than tiles
//! (bands that carry their convolutions' context along, say) can be put behind it.

use std::sync::mpsc::{Receiver, SyncSender};

use super::pool::Pool;
use super::{PipelineError, Render};
use crate::inference::Upscaler;
use crate::report::{PlanFacts, RunSizes};

/// Why no more rows come.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The decoder ended before the picture did; it knows why.
    Upstream,
    /// The encoder ended before the picture did; it knows why.
    Downstream,
    /// A failure of our own.
    Failed(PipelineError),
}

/// A way to make the rows of one result.
pub(super) trait RowMaker {
    /// Makes all rows. Runs on the thread that owns the session (I9).
    fn make(
        &mut self,
        source: &SourceRows<'_>,
        result: &ResultRows<'_>,
        upscaler: &mut dyn Upscaler,
        render: &Render<'_>,
    ) -> Result<(), Stopped>;

    /// What there is to tell, after the end.
    fn told(&self, upscaler: &dyn Upscaler) -> RowsMade;
}

/// What the making of the rows came to.
#[derive(Debug)]
pub(super) struct RowsMade {
    pub plan: PlanFacts,
    pub oom_retries: u32,
    pub tile_history: Vec<u32>,
    pub inference_s: f64,
    pub warnings: Vec<String>,
    pub runs: RunSizes,
}

/// The decoder's rows.
#[derive(Debug)]
pub(super) struct SourceRows<'a> {
    pub incoming: Receiver<Vec<u8>>,
    pub pool: &'a Pool,
}

impl SourceRows<'_> {
    /// Hands the next whole rows to `take`; waits for them.
    pub(super) fn next(&self, take: impl FnOnce(&[u8])) -> Result<(), Stopped> {
        let chunk = self.incoming.recv().map_err(|_| Stopped::Upstream)?;
        take(&chunk);
        self.pool.give(chunk);
        Ok(())
    }
}

/// The encoder's end.
#[derive(Debug)]
pub(super) struct ResultRows<'a> {
    pub outgoing: SyncSender<Vec<u8>>,
    pub pool: &'a Pool,
}

impl ResultRows<'_> {
    /// A buffer of any content and length, to be filled and sent.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.pool.take()
    }

    /// Takes back a buffer that is not sent after all.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        self.pool.give(buffer);
    }

    /// Hands on the next final rows; waits while the encoder is busy with earlier ones.
    pub(super) fn send(&self, rows: Vec<u8>) -> Result<(), Stopped> {
        self.outgoing.send(rows).map_err(|_| Stopped::Downstream)
    }
}
