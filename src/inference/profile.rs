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
    /// How far the estimate may lie beside what was seen before it is corrected: what differs from shape to shape is
    /// below it.
    const TOLERANCE: f64 = 0.10;

    /// The part of the way that the estimate goes down when less was held than estimated. Too high costs speed, too
    /// low costs a band, so it is raised at once and lowered slowly.
    const LOWERING: f64 = 0.25;

    /// Corrects the estimate by what a run of so many pixels was seen to hold on the device. Both terms are scaled,
    /// since one observation cannot tell which of them was wrong.
    pub fn observe(&mut self, pixels: u64, peak_bytes: u64) {
        let estimate = self.memory.of_window(pixels) as f64;
        if estimate <= 0.0 || peak_bytes == 0 {
            return;
        }
        let ratio = peak_bytes as f64 / estimate;
        let scale = if ratio > 1.0 + Self::TOLERANCE {
            ratio
        } else if ratio < 1.0 - Self::TOLERANCE {
            1.0 + (ratio - 1.0) * Self::LOWERING
        } else {
            return;
        };
        self.memory.fixed_bytes = (self.memory.fixed_bytes as f64 * scale).ceil() as u64;
        self.memory.bytes_per_pixel *= scale;
    }

    /// Whether the numbers can be: files may hold anything.
    pub fn is_sound(&self) -> bool {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        positive(self.memory.bytes_per_pixel)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile(fixed_bytes: u64, bytes_per_pixel: f64) -> Profile {
        Profile {
            memory: MemoryNeed {
                fixed_bytes,
                bytes_per_pixel,
            },
            speeds: Vec::new(),
            learned: None,
        }
    }

    #[test]
    fn an_estimate_within_its_tolerance_is_left_alone() {
        let mut near = profile(1 << 20, 1000.0);
        let peak = near.memory.of_window(65_536) / 100 * 108;
        near.observe(65_536, peak);
        assert_eq!(near, profile(1 << 20, 1000.0));
    }

    proptest! {
        /// Too low is corrected at once, too high within a dozen pictures, and neither swings to the other side.
        #[test]
        fn estimates_end_near_what_was_seen(
            fixed_bytes in 0u64..1 << 26, bytes_per_pixel in 100.0f64..10_000.0,
            pixels in 4_096u64..1 << 20, peak_bytes in 1u64 << 20..1 << 34,
        ) {
            let mut profile = profile(fixed_bytes, bytes_per_pixel);
            let was_low = profile.memory.of_window(pixels) < peak_bytes;
            profile.observe(pixels, peak_bytes);
            let ratio = |profile: &Profile| profile.memory.of_window(pixels) as f64 / peak_bytes as f64;
            if was_low {
                prop_assert!(ratio(&profile) > 0.9, "{}", ratio(&profile));
            }
            for _ in 0..40 {
                profile.observe(pixels, peak_bytes);
                prop_assert!(was_low || ratio(&profile) > 0.9);
            }
            prop_assert!((0.88..1.13).contains(&ratio(&profile)), "{}", ratio(&profile));
            prop_assert!(profile.is_sound());
        }
    }
}
