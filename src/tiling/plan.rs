//! Owns the choice of windows: of all cuts that fit, the one that takes the least time. Pure.

use super::cost::{MemoryNeed, Speed, seconds_of_window};
use super::geom::{Axis, AxisDemands, Span};
use crate::ratio::Ratio;
use crate::size::Size;

/// Windows have no side below this, however small the budget: smaller ones are nearly all halo.
pub const MIN_WINDOW_PX: u32 = 64;

/// How tiles become one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// In one piece.
    Whole,
    /// Halos are cut off: equal to untiled where the halo covers what the net sees.
    Exact {
        /// Context around a core, pixels.
        halo_px: u32,
    },
    /// Neighbours are blended.
    Feather {
        /// Pixels over which two are.
        overlap_px: u32,
    },
    /// The reference node's arithmetic.
    Comfy {
        /// Side of a tile; its tails are shorter.
        tile_px: u32,
        /// Pixels that two tiles share.
        overlap_px: u32,
    },
}

/// What the model asks of every window.
#[derive(Debug, Clone, PartialEq)]
pub struct Demands {
    /// Sides are multiples of it.
    pub align_px: u32,
    /// Smallest side.
    pub min_px: u32,
    /// Pixels of the window that the net's output lacks on each side.
    pub crop_px: u32,
    /// The only window that the net takes, if there is but one.
    pub fixed: Option<Size>,
    /// The net's scale.
    pub scale: Ratio,
    /// Whether several tiles may be run at once.
    pub batches: bool,
    /// What a window costs.
    pub memory: MemoryNeed,
    /// How long windows take, as far as that was measured.
    pub speeds: Vec<Speed>,
}

impl Demands {
    fn axis(&self, joint: Joint, fixed_px: Option<u32>) -> AxisDemands {
        let (halo_px, blend_px) = match joint {
            // A net that crops its border has seen that much context already.
            Joint::Exact { halo_px } => (halo_px.saturating_sub(self.crop_px), 0),
            Joint::Feather { overlap_px } => (0, overlap_px),
            Joint::Whole | Joint::Comfy { .. } => (0, 0),
        };
        AxisDemands {
            halo_px,
            blend_px,
            crop_px: self.crop_px,
            align_px: self.align_px.max(1),
            min_px: self.min_px.max(1),
            fixed_px,
            scale: self.scale,
        }
    }

    fn columns(&self, joint: Joint) -> AxisDemands {
        self.axis(joint, self.fixed.map(|window| window.width))
    }

    fn rows(&self, joint: Joint) -> AxisDemands {
        self.axis(joint, self.fixed.map(|window| window.height))
    }
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes that inference may hold on the device.
    pub device_bytes: u64,
    /// Ceiling of a window's side, pixels.
    pub window_side_px: u32,
    /// Ceiling of a window's area, pixels.
    pub window_pixels: u64,
    /// Ceiling of the area that one run works on, all its tiles together, pixels.
    pub run_pixels: u64,
    /// Ceiling of a window's rows: what the host can hold of bands. No window is refused for it that is as low as a
    /// window can be.
    pub window_rows: u32,
    /// Tiles of one run at most.
    pub batch: u32,
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

/// A picture (or what is left of it), cut into tiles: rows of tiles are bands.
#[derive(Debug, Clone, PartialEq)]
pub struct TilePlan {
    /// The cut from left to right.
    pub columns: Axis,
    /// The cut from top to bottom: one span is one band.
    pub rows: Axis,
    /// How tiles become one picture.
    pub joint: Joint,
    /// Tiles of one run.
    pub batch: u32,
    /// What one run needs on the device.
    pub run_bytes: u64,
}

impl TilePlan {
    /// Columns × rows of the largest window; but for the reference's ragged tails all have its shape.
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
        let along = |axis: &Axis| {
            axis.spans
                .iter()
                .map(|span| u64::from(span.window_len))
                .sum::<u64>()
        };
        along(&self.columns) * along(&self.rows)
    }

    /// Whether cores are blended, so that rows are put together in floating point.
    pub fn is_blended(&self) -> bool {
        self.columns.is_blended() || self.rows.is_blended()
    }

    /// Pixels that two neighbouring windows share at least; zero without neighbours.
    pub fn overlap_px(&self) -> u32 {
        match self.joint {
            _ if self.tiles() == 1 => 0,
            Joint::Whole => 0,
            Joint::Exact { halo_px } => 2 * halo_px,
            Joint::Feather { overlap_px } | Joint::Comfy { overlap_px, .. } => overlap_px,
        }
    }
}

/// The plan for rows `from_row..` of `image` that takes the least time within `limits`.
///
/// `from_row` is zero or where an earlier plan's band begins.
///
/// # Errors
/// [`PlanError`] if not even the smallest window fits into `limits.device_bytes`.
pub fn plan(
    image: Size,
    from_row: u32,
    joint: Joint,
    demands: &Demands,
    limits: &Limits,
) -> Result<TilePlan, PlanError> {
    match joint {
        Joint::Whole => whole(image, from_row, demands, limits),
        Joint::Comfy { tile_px, overlap_px } => Ok(reference(image, from_row, tile_px, overlap_px, demands)),
        Joint::Exact { .. } | Joint::Feather { .. } => cut(image, from_row, joint, demands, limits),
    }
}

fn whole(image: Size, from_row: u32, demands: &Demands, limits: &Limits) -> Result<TilePlan, PlanError> {
    let joint = Joint::Whole;
    let (across, down) = (demands.columns(joint), demands.rows(joint));
    let window = Size::new(across.padded(image.width), down.padded(image.height));
    let needed_bytes = demands.memory.budget_of_window(window.pixels());
    let refused = PlanError {
        smallest: window,
        needed_bytes,
        available_bytes: limits.device_bytes,
    };
    let too_large = needed_bytes > limits.device_bytes
        || demands
            .fixed
            .is_some_and(|fixed| fixed.width < window.width || fixed.height < window.height);
    let axes = Axis::cut(image.width, 0, 1, &across).zip(Axis::cut(image.height, from_row, 1, &down));
    match axes {
        Some((columns, rows)) if !too_large => Ok(TilePlan {
            columns,
            rows,
            joint,
            batch: 1,
            run_bytes: demands.memory.of_window(window.pixels()),
        }),
        _ => Err(refused),
    }
}

/// The reference's tiles are what they are; whether they fit, the ladder finds out.
fn reference(image: Size, from_row: u32, tile_px: u32, overlap_px: u32, demands: &Demands) -> TilePlan {
    let joint = Joint::Comfy { tile_px, overlap_px };
    let blended = from_row > 0 || image.width > tile_px || image.height > tile_px;
    let tile = (tile_px, overlap_px);
    let columns = Axis::reference(image.width, 0, tile, blended, &demands.columns(joint));
    let rows = Axis::reference(image.height, from_row, tile, blended, &demands.rows(joint));
    let pixels = u64::from(columns.window_len) * u64::from(rows.window_len);
    TilePlan {
        columns,
        rows,
        joint,
        batch: 1,
        run_bytes: demands.memory.of_window(pixels),
    }
}

/// Every number of columns is tried with several numbers of rows that then fit, from the fewest up: large windows carry
/// less halo, small ones are faster on some processors, and wide ones serve both. Only counts are searched, never
/// tiles, so a gigapixel takes a blink.
fn cut(
    image: Size,
    from_row: u32,
    joint: Joint,
    demands: &Demands,
    limits: &Limits,
) -> Result<TilePlan, PlanError> {
    let (across, down) = (demands.columns(joint), demands.rows(joint));
    let allowed = demands.memory.largest_window(limits.device_bytes);
    let area = limits.window_pixels.min(limits.run_pixels).min(allowed);
    let rest = down.rest(image.height, from_row);
    let floor = down.shortest_window(MIN_WINDOW_PX).min(down.padded(image.height));
    let seconds =
        |width: u32, height: u32| seconds_of_window(&demands.speeds, u64::from(width) * u64::from(height));
    let mut candidates: Vec<(f64, u32, u32)> = Vec::new();
    let padded = across.padded(image.width);
    // More columns than of the shortest windows would make windows shorter still.
    let most_columns = across
        .fewest_windows(padded, across.shortest_window(MIN_WINDOW_PX))
        .unwrap_or(0);
    for columns in 1..=most_columns {
        let Some(width) = across.window_len(padded, columns) else {
            continue;
        };
        let highest = u32::try_from(area / u64::from(width))
            .unwrap_or(u32::MAX)
            .min(limits.window_side_px)
            .min(limits.window_rows.max(floor));
        if width > limits.window_side_px || highest < floor {
            continue;
        }
        let mut count = down.fewest_windows(rest, highest);
        for tried in 0..ROW_COUNTS_TRIED {
            let Some((rows, height)) = count.and_then(|rows| Some((rows, down.window_len(rest, rows)?)))
            else {
                break;
            };
            if tried > 0 && height < floor {
                break;
            }
            if height <= highest {
                let total = f64::from(columns) * f64::from(rows) * seconds(width, height);
                candidates.push((total, columns, rows));
            }
            // One more at first, then by a quarter: the neighbours of the fewest matter most.
            count = Some(rows + (rows / 4).max(1));
        }
    }
    candidates.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    // Some cuts cannot be spread so that each window keeps a core of its own: the next best then.
    let cut = candidates.iter().take(CUTS_TRIED).find_map(|(_, columns, rows)| {
        let columns = Axis::cut(image.width, 0, *columns, &across)?;
        let rows = Axis::cut(image.height, from_row, *rows, &down)?;
        Some((columns, rows))
    });
    cut.map(|(columns, rows)| {
        let window = Size::new(columns.window_len, rows.window_len);
        let batch = fastest_batch(window, columns.spans.len(), demands, limits);
        TilePlan {
            columns,
            rows,
            joint,
            batch,
            run_bytes: demands.memory.of_window(window.pixels() * u64::from(batch)),
        }
    })
    .ok_or_else(|| {
        let side = |axis: &AxisDemands, len: u32| axis.padded(len).min(axis.shortest_window(MIN_WINDOW_PX));
        let smallest = Size::new(side(&across, image.width), side(&down, image.height));
        PlanError {
            smallest,
            needed_bytes: demands.memory.budget_of_window(smallest.pixels()),
            available_bytes: limits.device_bytes,
        }
    })
}

/// Row counts tried for each number of columns.
const ROW_COUNTS_TRIED: u32 = 10;

/// The best cuts that are tried to be spread before none is said to fit.
const CUTS_TRIED: usize = 64;

/// How many tiles of this shape to run at once: one, unless more were measured to be faster, memory allows them and a
/// band has so many.
fn fastest_batch(window: Size, columns: usize, demands: &Demands, limits: &Limits) -> u32 {
    /// Measurements of windows up to this many times larger or smaller speak for this one.
    const SIMILAR: f64 = 1.5;
    /// Less is noise.
    const WORTH: f64 = 1.05;
    if !demands.batches {
        return 1;
    }
    let similar = |speed: &&Speed| {
        let ratio = speed.window().pixels() as f64 / window.pixels() as f64;
        (1.0 / SIMILAR..SIMILAR).contains(&ratio)
    };
    let single = window.pixels() as f64 / seconds_of_window(&demands.speeds, window.pixels());
    demands
        .speeds
        .iter()
        .filter(similar)
        .filter(|speed| {
            let pixels = window.pixels() * u64::from(speed.batch);
            (2..=limits.batch).contains(&speed.batch)
                && speed.batch as usize <= columns
                && pixels <= limits.run_pixels
                && demands.memory.budget_of_window(pixels) <= limits.device_bytes
                && speed.pixels_per_second() > WORTH * single
        })
        .max_by(|a, b| a.pixels_per_second().total_cmp(&b.pixels_per_second()))
        .map_or(1, |speed| speed.batch)
}

#[cfg(test)]
mod tests;
