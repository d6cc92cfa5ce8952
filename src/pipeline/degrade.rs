//! Owns the out-of-memory ladder: what is tried after a tile did not fit. Never runs a tile.
//!
//! Finished rows are final; only the current band is done again, with windows half as high and half as wide.
//! A window of another shape makes the session start anew (`Upscaler::prepare`), so what its arena held of
//! the larger one is given back.

use crate::size::Size;
use crate::tiling::Limits;
use crate::tiling::plan::MIN_WINDOW_PX;

/// The steps taken for one picture.
#[derive(Debug, Default)]
pub struct Ladder {
    history: Vec<Size>,
}

impl Ladder {
    /// Notes that windows of this shape are about to be tried.
    pub fn try_window(&mut self, window: Size) {
        if self.history.last() != Some(&window) {
            self.history.push(window);
        }
    }

    /// Limits for the step below `window`, or `None` at the foot of the ladder.
    pub fn step_down(&mut self, window: Size, limits: &Limits) -> Option<Limits> {
        let side_px = (window.width.max(window.height) / 2).max(MIN_WINDOW_PX);
        let pixels = (window.pixels() / 4).max(u64::from(MIN_WINDOW_PX).pow(2));
        (pixels < window.pixels() && limits.may_cut).then(|| Limits {
            window_pixels: pixels.min(limits.window_pixels),
            window_side_px: side_px.min(limits.window_side_px),
            ..*limits
        })
    }

    /// Steps down so far.
    pub fn retries(&self) -> u32 {
        u32::try_from(self.history.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The longer sides of the windows tried, in order.
    pub fn tile_history(&self) -> Vec<u32> {
        self.history
            .iter()
            .map(|window| window.width.max(window.height))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_smaller_and_the_ladder_ends() {
        let mut limits = Limits {
            device_bytes: 1 << 30,
            window_side_px: u32::MAX,
            window_pixels: 1 << 18,
            may_cut: true,
        };
        let mut ladder = Ladder::default();
        let mut window = Size::new(700, 300);
        let mut steps = 0;
        ladder.try_window(window);
        while let Some(next) = ladder.step_down(window, &limits) {
            assert!(next.window_pixels < window.pixels());
            limits = next;
            let side = u32::try_from(limits.window_pixels.isqrt()).unwrap();
            window = Size::new(side, side);
            ladder.try_window(window);
            steps += 1;
        }
        assert_eq!(window, Size::new(64, 64));
        assert_eq!(ladder.retries(), steps);
    }
}
