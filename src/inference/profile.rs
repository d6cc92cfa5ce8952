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
