//! Owns the arithmetic of memory: how many bytes a window needs, how large a window a budget pays for.
//! Never measures; the numbers come from a model's card.

/// What inference holds on the device: `fixed + per_pixel · pixels of the window`.
///
/// Peak activations of a convolutional network are proportional to the window's area; weights, the runtime's
/// own buffers and workspaces are not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryNeed {
    /// Bytes that do not depend on the window: weights and workspace.
    pub fixed_bytes: u64,
    /// Bytes for each pixel of the input window.
    pub bytes_per_pixel: f64,
}

impl MemoryNeed {
    /// Bytes that a window of so many input pixels needs.
    pub fn of_window(&self, pixels: u64) -> u64 {
        self.fixed_bytes
            .saturating_add((self.bytes_per_pixel * pixels as f64).ceil() as u64)
    }

    /// The most input pixels whose window needs at most `budget_bytes`; zero if not even the weights fit.
    pub fn largest_window(&self, budget_bytes: u64) -> u64 {
        (budget_bytes.saturating_sub(self.fixed_bytes) as f64 / self.bytes_per_pixel).floor() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_window_fits_and_a_larger_one_does_not(
            fixed_bytes in 0u64..1 << 30, per_pixel in 1.0f64..10_000.0, budget in 0u64..1 << 36,
        ) {
            let need = MemoryNeed { fixed_bytes, bytes_per_pixel: per_pixel };
            let pixels = need.largest_window(budget);
            prop_assert!(pixels == 0 || need.of_window(pixels) <= budget + 1);
            prop_assert!(need.of_window(pixels + 1) >= budget.saturating_sub(1));
        }
    }
}
