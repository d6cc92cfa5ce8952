//! Owns the options of a picture's runs, with which another thread ends them. Never runs anything.

use ort::session::RunOptions;

use super::super::replay;

/// Options of a picture's runs, with which they can be ended.
pub(super) struct PictureOptions {
    /// Of those that are done anew.
    pub(super) anew: RunOptions,
    /// Of those that the card repeats.
    pub(super) repeated: RunOptions,
}

impl PictureOptions {
    /// For runs to their ends.
    ///
    /// # Errors
    /// ONNX Runtime's.
    pub(super) fn new() -> ort::Result<Self> {
        let (mut anew, mut repeated) = (RunOptions::new()?, RunOptions::new()?);
        anew.set(replay::GRAPH_KEY, replay::NO_GRAPH)?;
        repeated.set(replay::GRAPH_KEY, replay::GRAPH)?;
        Ok(Self { anew, repeated })
    }

    /// For a run after which the arena gives back what it does not need. (onnxruntime_run_options_config_keys.h)
    ///
    /// # Errors
    /// ONNX Runtime's.
    pub(super) fn shrinking(device_id: u32) -> ort::Result<Self> {
        let mut options = Self::new()?;
        let device = format!("gpu:{device_id}");
        options.anew.set("memory.enable_memory_arena_shrinkage", device)?;
        Ok(options)
    }

    /// Ends those in work, and all that follow.
    ///
    /// # Errors
    /// ONNX Runtime's, for a null pointer only.
    pub(super) fn terminate(&self) -> ort::Result<()> {
        self.anew.terminate().and(self.repeated.terminate())
    }
}
