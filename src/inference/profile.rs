//! Owns what a model was measured to cost at one place (provider, device, precision): memory, speed, and the window
//! that worked. Plain data; never measures and never writes files.

use serde::{Deserialize, Serialize};

use crate::tiling::{MemoryNeed, Speed};

/// What one model costs at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Bytes on the device: a fit through probe runs.
    pub memory: MemoryNeed,
    /// What was measured of its speed, one entry per window shape and batch; empty before any measurement.
    #[serde(default)]
    pub speeds: Vec<Speed>,
    /// What the out-of-memory ladder learned; `None` while nothing ever failed.
    #[serde(default)]
    pub learned: Option<Learned>,
}

impl Profile {
    /// Whether the numbers can be: files may hold anything.
    pub fn is_sound(&self) -> bool {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        positive(self.memory.bytes_per_pixel)
            && self.memory.holes.is_finite()
            && self.memory.holes >= 1.0
            && self.memory.border_px.is_finite()
            && self.memory.border_px >= 0.0
            && self
                .speeds
                .iter()
                .all(|speed| positive(speed.seconds) && speed.batch > 0 && speed.window().pixels() > 0)
            && self.learned.is_none_or(|learned| learned.window_pixels > 0)
    }
}

/// A window that worked after a larger one had not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The largest window, in input pixels of one run (window times batch), to plan with.
    pub window_pixels: u64,
    /// The device budget under which it was learned, bytes.
    pub device_bytes: u64,
    /// Pictures done at it without a step down since.
    pub clean_pictures: u32,
}
