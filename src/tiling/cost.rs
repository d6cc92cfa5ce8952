//! Owns the arithmetic of costs: how many bytes a window needs and how long it takes. Never measures; the numbers
//! come from a model's profile.

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// What inference holds on the device for one run: `fixed + per_pixel · (side − border)²`, the side being that of a
/// square window with as many pixels.
///
/// Peak activations of a convolutional network are proportional to the window's area; weights, the runtime's own
/// buffers and workspaces are not. Only a net that crops its border is not proportional: its convolutions are not
/// padded, so that most of its maps are smaller than the window by a constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryNeed {
    /// Bytes that do not depend on the window: weights and workspace.
    pub fixed_bytes: u64,
    /// Bytes for each pixel of the input window.
    pub bytes_per_pixel: f64,
    /// What the maps that count are smaller than the window, along each axis, pixels.
    #[serde(default)]
    pub border_px: f64,
    /// How far an arena has to be larger than what is in use, at least 1: blocks of many sizes leave holes between them.
    /// A budget bounds the arena, so it has to pay for them.
    #[serde(default = "no_holes")]
    pub holes: f64,
}

fn no_holes() -> f64 {
    1.0
}

impl MemoryNeed {
    /// A need that is proportional to the pixels, in an arena without holes.
    pub const fn proportional(fixed_bytes: u64, bytes_per_pixel: f64) -> Self {
        Self {
            fixed_bytes,
            bytes_per_pixel,
            border_px: 0.0,
            holes: 1.0,
        }
    }

    /// Bytes that a run of so many input pixels needs.
    pub fn of_window(&self, pixels: u64) -> u64 {
        self.fixed_bytes
            .saturating_add(self.activations(pixels).ceil() as u64)
    }

    /// Bytes of budget that a run of so many input pixels takes: its need, and the holes of an arena.
    pub fn budget_of_window(&self, pixels: u64) -> u64 {
        self.fixed_bytes
            .saturating_add((self.activations(pixels) * self.holes).ceil() as u64)
    }

    /// The most input pixels whose run takes at most `budget_bytes`; zero if not even the weights fit.
    pub fn largest_window(&self, budget_bytes: u64) -> u64 {
        let activations = budget_bytes.saturating_sub(self.fixed_bytes) as f64 / self.holes;
        let inner = (activations / self.bytes_per_pixel).sqrt();
        let side = (inner + self.border_px).min(inner * 2.0);
        (side * side).floor() as u64
    }

    fn activations(&self, pixels: u64) -> f64 {
        let side = (pixels as f64).sqrt();
        // A border larger than half of the window would be an artefact of the fit.
        let inner = (side - self.border_px).max(side / 2.0);
        self.bytes_per_pixel * inner * inner
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
            fixed_bytes in 0u64..1 << 30, bytes_per_pixel in 1.0f64..10_000.0, border_px in 0.0f64..40.0,
            holes in 1.0f64..2.5, budget in 0u64..1 << 36,
        ) {
            let need = MemoryNeed { fixed_bytes, bytes_per_pixel, border_px, holes };
            let pixels = need.largest_window(budget);
            // Rounding of squares and roots.
            let near = 4 + budget / 1_000_000_000;
            prop_assert!(pixels == 0 || need.budget_of_window(pixels) <= budget + near);
            prop_assert!(need.budget_of_window(pixels + 2) >= budget.saturating_sub(near));
        }
    }

    /// Measured: a net that crops 18 pixels of its input's border.
    #[test]
    fn a_net_that_crops_its_border_is_no_straight_line() {
        let need = MemoryNeed {
            border_px: 24.7,
            ..MemoryNeed::proportional(0, 3265.6)
        };
        for (pixels, peak_bytes) in [
            (128 * 128, 34_836_924u64),
            (256 * 256, 174_724_540),
            (1024 * 128, 333_551_036),
        ] {
            let ratio = need.of_window(pixels) as f64 / peak_bytes as f64;
            assert!((0.97..1.15).contains(&ratio), "{pixels}: {ratio}");
        }
    }
}
