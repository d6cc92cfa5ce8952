//! Owns what the service stands on: time, durable steps, what computes, who asks for things. The real ones, but in
//! tests of the whole, which put doubles behind the same seams. Never decides anything.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::budget::Budget;
use crate::clock::{SharedClock, SystemClock};
use crate::fs::{RealFilesystem, SharedFilesystem};
use crate::pipeline::executor::{Executor, ExecutorSettings};

/// Starts an executor for these settings, which shares this budget of the host with others.
pub type MakeExecutor =
    Arc<dyn Fn(ExecutorSettings, Arc<Budget>, SharedClock) -> io::Result<Executor> + Send + Sync>;

/// What the service stands on.
#[derive(Clone)]
pub struct Ground {
    /// Time.
    pub clock: SharedClock,
    /// Durable steps.
    pub fs: SharedFilesystem,
    /// Computes.
    pub make_executor: MakeExecutor,
}

impl Ground {
    /// The system's clocks, its files, ONNX Runtime.
    pub fn real() -> Self {
        Self {
            clock: SystemClock::shared(),
            fs: RealFilesystem::shared(),
            make_executor: Arc::new(Executor::start),
        }
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground")
            .field("clock", &self.clock)
            .field("fs", &self.fs)
            .finish_non_exhaustive()
    }
}
