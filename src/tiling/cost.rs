//! Owns the arithmetic of costs: how many bytes a window needs and how long it takes. Never measures; the numbers
//! come from a model's profile.

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// What inference holds on the device: `fixed + per_pixel · pixels of the window`.
///
/// Peak activations of a convolutional network are proportional to the window's area; weights, the runtime's
/// own buffers and workspaces are not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryNeed {
    /// Bytes that do not depend on the window: weights and workspace.
    pub fixed_bytes: u64,
    /// Bytes for each pixel of the input window.
    pub bytes_per_pixel: f64,
    /// What an arena takes from the device over what is in use, at least 1: blocks are as large as what they were first
    /// taken for, and leave holes. A budget bounds the arena, so it has to pay for them.
    #[serde(default = "no_holes")]
    pub holes: f64,
}

fn no_holes() -> f64 {
    1.0
}

impl MemoryNeed {
    /// Bytes that a window of so many input pixels needs.
    pub fn of_window(&self, pixels: u64) -> u64 {
        self.fixed_bytes
            .saturating_add((self.bytes_per_pixel * pixels as f64).ceil() as u64)
    }

    /// Bytes of budget that a window of so many input pixels takes: its need, and the holes of an arena.
    pub fn budget_of_window(&self, pixels: u64) -> u64 {
        self.fixed_bytes
            .saturating_add((self.bytes_per_pixel * pixels as f64 * self.holes).ceil() as u64)
    }

    /// The most input pixels whose window takes at most `budget_bytes`; zero if not even the weights fit.
    pub fn largest_window(&self, budget_bytes: u64) -> u64 {
        let per_pixel = self.bytes_per_pixel * self.holes;
        (budget_bytes.saturating_sub(self.fixed_bytes) as f64 / per_pixel).floor() as u64
    }
}

/// How long windows of one shape were seen to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Columns of the window.
    pub width: u32,
    /// Rows of the window.
    pub height: u32,
    /// Tiles of one run.
    pub batch: u32,
    /// Seconds of one run.
    pub seconds: f64,
}

impl Speed {
    /// The window's shape.
    pub fn window(&self) -> Size {
        Size::new(self.width, self.height)
    }

    /// Input pixels per second.
    pub fn pixels_per_second(&self) -> f64 {
        self.window().pixels() as f64 * f64::from(self.batch) / self.seconds
    }
}

/// Seconds for one window of so many pixels, by what was measured: input pixels per second are interpolated between
/// the nearest measured areas, and constant beyond them. Without any measurement one pixel counts as one second,
/// which orders plans by the pixels they compute.
pub fn seconds_of_window(speeds: &[Speed], pixels: u64) -> f64 {
    let area = |speed: &Speed| speed.window().pixels();
    let single = || {
        speeds
            .iter()
            .filter(|speed| speed.batch == 1 && speed.seconds > 0.0)
    };
    let below = single()
        .filter(|speed| area(speed) <= pixels)
        .max_by_key(|speed| area(speed));
    let above = single()
        .filter(|speed| area(speed) >= pixels)
        .min_by_key(|speed| area(speed));
    let rate = match (below, above) {
        (None, None) => 1.0,
        (Some(one), None) | (None, Some(one)) => one.pixels_per_second(),
        (Some(low), Some(high)) if area(low) == area(high) => high.pixels_per_second(),
        (Some(low), Some(high)) => {
            let share = (pixels as f64 / area(low) as f64).ln() / (area(high) as f64 / area(low) as f64).ln();
            low.pixels_per_second() + share * (high.pixels_per_second() - low.pixels_per_second())
        }
    };
    pixels as f64 / rate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_window_fits_and_a_larger_one_does_not(
            fixed_bytes in 0u64..1 << 30, per_pixel in 1.0f64..10_000.0, holes in 1.0f64..2.0, budget in 0u64..1 << 36,
        ) {
            let need = MemoryNeed { fixed_bytes, bytes_per_pixel: per_pixel, holes };
            let pixels = need.largest_window(budget);
            prop_assert!(pixels == 0 || need.budget_of_window(pixels) <= budget + 1);
            prop_assert!(need.budget_of_window(pixels + 1) >= budget.saturating_sub(1));
        }
    }
}
