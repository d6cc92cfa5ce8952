//! Owns the seam behind which rows of a picture come about: rows go in, more and larger ones come out, in order, once,
//! without gaps (I6). Decoder, encoder, ledger and permits see nothing else, so another way than tiles (bands that
//! carry their convolutions' context along, say) can be put behind it.

use std::sync::mpsc::Receiver;

use super::pool::Pool;
use super::{PipelineError, Render};
use crate::inference::Upscaler;
use crate::size::Size;

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

/// What rows are made with.
pub(super) struct Device<'a> {
    pub upscaler: &'a mut dyn Upscaler,
    pub render: &'a Render<'a>,
    /// The largest run of all passes that take turns: the session is opened for it, so that it need not be opened anew
    /// at every turn.
    pub largest_run: Option<(Size, u32)>,
}

/// Whole rows, as they are asked for.
pub(super) trait Supply {
    /// Hands the next ones to `take`; may make them first, or wait for them.
    fn next(&mut self, device: &mut Device<'_>, take: &mut dyn FnMut(&[u8])) -> Result<(), Stopped>;
}

/// The decoder's rows.
#[derive(Debug)]
pub(super) struct SourceRows<'a> {
    pub incoming: Receiver<Vec<u8>>,
    pub pool: &'a Pool,
}

impl Supply for SourceRows<'_> {
    fn next(&mut self, _: &mut Device<'_>, take: &mut dyn FnMut(&[u8])) -> Result<(), Stopped> {
        let chunk = self.incoming.recv().map_err(|_| Stopped::Upstream)?;
        take(&chunk);
        self.pool.give(chunk);
        Ok(())
    }
}
