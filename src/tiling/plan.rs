//! Owns the choice of a plan: of all cuts that fit, the one that computes the fewest pixels. Pure.

use super::cost::MemoryNeed;
use super::geom::{Axis, AxisDemands, Span};
use crate::size::Size;

/// Windows have no side below this, however small the budget: smaller ones are nearly all halo.
pub const MIN_WINDOW_PX: u32 = 64;

/// What the model asks of every window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demands {
    /// Context around a core, pixels; the receptive radius for exact tiles.
    pub halo_px: u32,
    /// Sides are multiples of it.
    pub align_px: u32,
    /// Smallest side.
    pub min_px: u32,
    /// What a window costs.
    pub memory: MemoryNeed,
}

impl Demands {
    fn axis(&self) -> AxisDemands {
        AxisDemands {
            halo_px: self.halo_px,
            align_px: self.align_px.max(1),
            min_px: self.min_px.max(1),
        }
    }
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes that inference may hold on the device.
    pub device_bytes: u64,
    /// Ceiling of a window's side, pixels.
    pub window_side_px: u32,
    /// Ceiling of a window's area, pixels: beyond it nothing gets faster, and progress gets coarse.
    pub window_pixels: u64,
    /// Whether the picture may be cut at all (`tiling = "none"` says no).
    pub may_cut: bool,
}

/// No plan fits; says what would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the smallest window ({smallest}) needs {needed_bytes} bytes on the device, {available_bytes} are allowed"
)]
pub struct PlanError {
    /// The smallest window that the model and the tiling allow.
    pub smallest: Size,
    /// Bytes that it needs.
    pub needed_bytes: u64,
    /// Bytes that were allowed.
    pub available_bytes: u64,
}

/// A picture (or what is left of it), cut into tiles of one shape: rows of tiles are bands.
#[derive(Debug, Clone, PartialEq)]
pub struct TilePlan {
    /// The cut from left to right.
    pub columns: Axis,
    /// The cut from top to bottom: one span is one band.
    pub rows: Axis,
    /// Context around cores.
    pub halo_px: u32,
    /// What a window needs on the device.
    pub window_bytes: u64,
}

impl TilePlan {
    /// Columns × rows of every window.
    pub fn window(&self) -> Size {
        Size::new(self.columns.window_len, self.rows.window_len)
    }

    /// Number of tiles.
    pub fn tiles(&self) -> u64 {
        self.columns.spans.len() as u64 * self.rows.spans.len() as u64
    }

    /// The bands, top to bottom.
    pub fn bands(&self) -> &[Span] {
        &self.rows.spans
    }

    /// Pixels that the session computes, halos included.
    pub fn computed_pixels(&self) -> u64 {
        self.tiles() * self.window().pixels()
    }

    /// Pixels that two neighbouring windows share; zero without neighbours.
    pub fn overlap_px(&self) -> u32 {
        if self.tiles() > 1 { 2 * self.halo_px } else { 0 }
    }
}

/// The plan for rows `from_row..` of `image` that computes the fewest pixels within `limits`.
///
/// The smallest count of columns and rows is not always the cheapest, because a window's area is what is
/// limited: a few wide windows carry less halo than many square ones. So every number of columns is tried
/// with the fewest rows that then fit; that is at most `width / 1` cheap integer steps, in practice dozens.
///
/// # Errors
/// [`PlanError`] if not even the smallest window fits into `limits.device_bytes`.
pub fn plan(image: Size, from_row: u32, demands: &Demands, limits: &Limits) -> Result<TilePlan, PlanError> {
    let axis = demands.axis();
    let allowed = demands.memory.largest_window(limits.device_bytes);
    let area = limits.window_pixels.min(allowed);
    let mut best: Option<(u64, TilePlan)> = None;
    let most_columns = if limits.may_cut {
        most_windows(image.width, axis)
    } else {
        1
    };
    for count in 1..=most_columns {
        let Some(width_px) = axis.window_len(axis.padded(image.width), count) else {
            continue;
        };
        if width_px > limits.window_side_px && limits.may_cut {
            continue;
        }
        // Windows only get narrower from here on; one that computes more than the best whole plan even
        // without any halo above and below cannot win.
        let least = u64::from(width_px) * u64::from(count) * u64::from(image.height - from_row);
        if best.as_ref().is_some_and(|(pixels, _)| least > *pixels) {
            break;
        }
        let height_limit = if limits.may_cut {
            u32::try_from(area / u64::from(width_px))
                .unwrap_or(u32::MAX)
                .min(limits.window_side_px)
        } else {
            u32::MAX
        };
        let Some(rows) = fewest_rows(image.height, from_row, axis, height_limit) else {
            continue;
        };
        let Some(columns) = Axis::cut(image.width, 0, count, axis) else {
            continue;
        };
        let window = Size::new(columns.window_len, rows.window_len);
        let window_bytes = demands.memory.of_window(window.pixels());
        if window.pixels() > allowed {
            continue;
        }
        let plan = TilePlan {
            columns,
            rows,
            halo_px: demands.halo_px,
            window_bytes,
        };
        if best
            .as_ref()
            .is_none_or(|(pixels, _)| plan.computed_pixels() < *pixels)
        {
            best = Some((plan.computed_pixels(), plan));
        }
    }
    best.map(|(_, plan)| plan).ok_or_else(|| {
        let side = |len: u32| axis.padded(len).min(smallest_window(axis));
        let smallest = if limits.may_cut {
            Size::new(side(image.width), side(image.height))
        } else {
            Size::new(axis.padded(image.width), axis.padded(image.height))
        };
        PlanError {
            smallest,
            needed_bytes: demands.memory.of_window(smallest.pixels()),
            available_bytes: limits.device_bytes,
        }
    })
}

/// The cut of `from..len` with the fewest windows none of which is longer than `limit_px`.
fn fewest_rows(len: u32, from: u32, demands: AxisDemands, limit_px: u32) -> Option<Axis> {
    let floor = smallest_window(demands).min(demands.padded(len));
    if limit_px < floor {
        return None;
    }
    let rest = demands.padded(len) - from.saturating_sub(demands.halo_px);
    // count · w − 2 · halo · (count − 1) ≥ rest, solved for count with w = limit.
    let useful = u64::from(limit_px)
        .saturating_sub(2 * u64::from(demands.halo_px))
        .max(1);
    let estimate = u64::from(rest.saturating_sub(2 * demands.halo_px))
        .div_ceil(useful)
        .max(1);
    let first = u32::try_from(estimate)
        .unwrap_or(u32::MAX)
        .saturating_sub(1)
        .max(1);
    // Alignment can push the length over the limit by a unit; one or two windows more always bring it back.
    (first..first.saturating_add(8))
        .find_map(|count| Axis::cut(len, from, count, demands).filter(|axis| axis.window_len <= limit_px))
}

/// The most windows that are worth considering along one axis.
fn most_windows(len: u32, demands: AxisDemands) -> u32 {
    let core = smallest_window(demands)
        .saturating_sub(2 * demands.halo_px)
        .max(1);
    demands.padded(len).div_ceil(core).max(1)
}

/// The smallest window that still has a core worth its halo.
fn smallest_window(demands: AxisDemands) -> u32 {
    MIN_WINDOW_PX
        .max(demands.min_px)
        .max(2 * demands.halo_px + 16)
        .next_multiple_of(demands.align_px)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Demands = Demands {
        halo_px: 21,
        align_px: 1,
        min_px: 1,
        memory: MemoryNeed {
            fixed_bytes: 4_000_000,
            bytes_per_pixel: 1536.0,
        },
    };

    fn limits(device_bytes: u64) -> Limits {
        Limits {
            device_bytes,
            window_side_px: u32::MAX,
            window_pixels: 512 * 512,
            may_cut: true,
        }
    }

    proptest! {
        /// Cores partition the picture, windows lie inside it, and no window exceeds what was allowed.
        #[test]
        fn i7_a_plan_partitions_the_picture_within_its_limits(
            width in 1u32..4000, height in 1u32..4000, from_part in 0.0f64..1.0,
            device_mb in 14u64..2000, side in 64u32..1024, halo_px in 0u32..24,
        ) {
            let from = ((f64::from(height) * from_part) as u32).min(height - 1);
            let demands = Demands { halo_px, ..SPAN };
            let limits = Limits { window_side_px: side, ..limits(device_mb << 20) };
            let plan = plan(Size::new(width, height), from, &demands, &limits).unwrap();
            prop_assert!(plan.columns.is_sound(0, demands.axis()));
            prop_assert!(plan.rows.is_sound(from, demands.axis()));
            prop_assert!(plan.window_bytes <= limits.device_bytes);
            prop_assert!(plan.window().pixels() <= limits.window_pixels);
            prop_assert!(plan.window().width <= side && plan.window().height <= side);
        }
    }

    #[test]
    fn little_is_computed_twice_where_memory_allows() {
        let plan = plan(Size::new(1536, 1024), 0, &SPAN, &limits(1 << 30)).unwrap();
        let factor = plan.computed_pixels() as f64 / (1536.0 * 1024.0);
        assert!(factor < 1.20, "{factor}");
    }

    #[test]
    fn without_cutting_one_window_holds_the_picture_or_nothing_fits() {
        let whole = Limits {
            may_cut: false,
            window_side_px: 512,
            ..limits(8 << 30)
        };
        assert_eq!(plan(Size::new(1536, 1024), 0, &SPAN, &whole).unwrap().tiles(), 1);
        let error = plan(
            Size::new(1536, 1024),
            0,
            &SPAN,
            &Limits {
                device_bytes: 1 << 30,
                ..whole
            },
        )
        .unwrap_err();
        assert_eq!(error.smallest, Size::new(1536, 1024));
    }

    #[test]
    fn a_budget_below_the_smallest_window_is_refused_with_what_it_would_take() {
        let error = plan(Size::new(600, 400), 0, &SPAN, &limits(5_000_000)).unwrap_err();
        assert_eq!(error.smallest, Size::new(64, 64));
        assert!(error.needed_bytes > error.available_bytes);
    }

    /// A gigapixel is planned in a blink: the search is over counts, never over tiles.
    #[test]
    fn a_gigapixel_is_no_trouble() {
        let plan = plan(Size::new(40_000, 25_000), 0, &SPAN, &limits(1 << 30)).unwrap();
        assert!(plan.tiles() > 1000);
    }
}
