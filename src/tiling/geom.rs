//! Owns the one-dimensional cut: one axis of a picture into windows of one length whose cores partition it
//! (I7). A two-dimensional plan is the product of two axes. Never weighs costs.

/// One window and the core it answers for, along one axis, in pixels of the padded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First pixel of the window.
    pub window_start: u32,
    /// First pixel of the core, inside the window.
    pub core_start: u32,
    /// Pixels of the core; never zero.
    pub core_len: u32,
}

impl Span {
    /// The first pixel behind the core.
    pub fn core_end(self) -> u32 {
        self.core_start + self.core_len
    }
}

/// One axis, cut: every window has the same length, starts on a multiple of the model's alignment and lies
/// inside `padded_len`; the cores partition `from..len`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Pixels of the picture along this axis.
    pub len: u32,
    /// `len` extended (by reflection) to what the model needs: its alignment and its minimum size.
    pub padded_len: u32,
    /// Length of each window.
    pub window_len: u32,
    /// The windows, first to last.
    pub spans: Vec<Span>,
}

/// What the model asks of one axis, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisDemands {
    /// Context that a core needs on either side, unless the picture ends there.
    pub halo_px: u32,
    /// Windows start and end on multiples of it; at least 1.
    pub align_px: u32,
    /// Smallest length that the model takes.
    pub min_px: u32,
}

impl AxisDemands {
    /// `len` extended to the alignment and the minimum.
    pub fn padded(self, len: u32) -> u32 {
        len.max(self.min_px).next_multiple_of(self.align_px)
    }

    /// The shortest window with which `count` windows cover `padded` pixels, or `None` where so many would
    /// not each have a core of their own. One window covers everything.
    ///
    /// All but the outer ends lose a halo on both sides, so `count · w − 2 · halo · (count − 1) ≥ padded`.
    pub fn window_len(self, padded: u32, count: u32) -> Option<u32> {
        let unit = u64::from(self.align_px);
        let (len, halo) = (u64::from(padded) / unit, u64::from(self.halo_px).div_ceil(unit));
        let count = u64::from(count);
        let window = (len + 2 * halo * (count - 1))
            .div_ceil(count)
            .max(u64::from(self.min_px).div_ceil(unit));
        // Windows that lie less than a unit apart would leave a core empty.
        let fits = count == 1 || (window > 2 * halo && len >= window + (count - 1));
        fits.then(|| u32::try_from(window * unit).unwrap_or(u32::MAX))
    }
}

impl Axis {
    /// Cuts `from..len` into `count` windows. Rows before `from` are finished: they serve as context only.
    /// `None` where `count` windows cannot each have a core of their own.
    ///
    /// Windows are spread evenly, so no tail is thin and the last window slides inward instead of sticking
    /// out; neighbouring cores meet in the middle of the overlap, which is never shorter than two halos.
    pub fn cut(len: u32, from: u32, count: u32, demands: AxisDemands) -> Option<Self> {
        assert!(from < len && count > 0, "an empty axis cannot be cut");
        let unit = demands.align_px;
        let padded_len = demands.padded(len);
        // The remaining picture begins a halo before the first unfinished row, on an aligned row, and is not
        // shorter than the model's minimum.
        let first_px = from
            .saturating_sub(demands.halo_px)
            .min(padded_len - demands.min_px.min(padded_len));
        let first_px = first_px / unit * unit;
        let rest_len = padded_len - first_px;
        let window_len = demands.window_len(rest_len, count)?;
        let slack_units = u64::from((rest_len - window_len.min(rest_len)) / unit);
        let start = |index: u32| -> u32 {
            let units = match count {
                1 => 0,
                _ => slack_units * u64::from(index) / u64::from(count - 1),
            };
            first_px + u32::try_from(units).unwrap_or(u32::MAX) * unit
        };
        // Cores begin in the middle of the overlap with the window before.
        let core_start = |index: u32| match index {
            0 => from,
            _ => (start(index - 1) + window_len).midpoint(start(index)),
        };
        let spans: Vec<Span> = (0..count)
            .map(|index| {
                let begin = core_start(index);
                let end = if index + 1 == count {
                    len
                } else {
                    core_start(index + 1)
                };
                Span {
                    window_start: start(index),
                    core_start: begin,
                    core_len: end.saturating_sub(begin),
                }
            })
            .collect();
        let axis = Self {
            len,
            padded_len,
            window_len: window_len.min(rest_len),
            spans,
        };
        axis.is_sound(from, demands).then_some(axis)
    }

    /// I7 along one axis: cores partition `from..len`, windows lie inside the padded picture, each core has
    /// its halo or ends at the border.
    pub fn is_sound(&self, from: u32, demands: AxisDemands) -> bool {
        let mut next = from;
        for span in &self.spans {
            let window_end = span.window_start + self.window_len;
            let left_ok = span.window_start == 0 || span.core_start >= span.window_start + demands.halo_px;
            let right_ok = window_end == self.padded_len || span.core_end() + demands.halo_px <= window_end;
            let inside = window_end <= self.padded_len
                && span.core_start >= span.window_start
                && span.core_end() <= window_end;
            if span.core_start != next || span.core_len == 0 || !left_ok || !right_ok || !inside {
                return false;
            }
            next = span.core_end();
        }
        next == self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demands() -> impl Strategy<Value = AxisDemands> {
        (
            0u32..100,
            prop_oneof![Just(1u32), Just(2), Just(4), Just(16)],
            1u32..64,
        )
            .prop_map(|(halo_px, align_px, min_px)| AxisDemands {
                halo_px,
                align_px,
                min_px,
            })
    }

    proptest! {
        /// The cores partition the axis and every window lies inside the picture, from whichever row on.
        #[test]
        fn i7_an_axis_is_partitioned(len in 1u32..5000, from_part in 0.0f64..1.0, count in 1u32..40, demands in demands()) {
            let from = ((f64::from(len) * from_part) as u32).min(len - 1);
            if let Some(axis) = Axis::cut(len, from, count, demands) {
                prop_assert!(axis.is_sound(from, demands));
                prop_assert!(axis.spans.iter().all(|span| span.window_start % demands.align_px == 0));
                prop_assert_eq!(axis.window_len % demands.align_px, 0);
                prop_assert!(axis.window_len >= demands.min_px);
            }
        }

        /// One window always works, so there is always a plan when memory is no object.
        #[test]
        fn one_window_always_covers(len in 1u32..5000, from_part in 0.0f64..1.0, demands in demands()) {
            let from = ((f64::from(len) * from_part) as u32).min(len - 1);
            prop_assert!(Axis::cut(len, from, 1, demands).is_some());
        }

        /// Without a thin tail: no core is less than a third of the longest.
        #[test]
        fn cores_are_balanced(len in 500u32..20_000, count in 2u32..20, halo_px in 0u32..40) {
            let demands = AxisDemands { halo_px, align_px: 1, min_px: 1 };
            if let Some(axis) = Axis::cut(len, 0, count, demands) {
                let longest = axis.spans.iter().map(|span| span.core_len).max().unwrap_or(0);
                let shortest = axis.spans.iter().map(|span| span.core_len).min().unwrap_or(0);
                prop_assert!(shortest * 3 + 2 * halo_px + 3 >= longest, "{shortest} beside {longest}");
            }
        }
    }

    #[test]
    fn a_window_longer_than_the_picture_is_never_asked_for_when_it_is_cut() {
        let demands = AxisDemands {
            halo_px: 21,
            align_px: 1,
            min_px: 1,
        };
        let axis = Axis::cut(1536, 0, 3, demands).unwrap();
        assert_eq!(axis.window_len, 540);
        assert_eq!(axis.spans[2].window_start + 540, 1536);
    }
}
