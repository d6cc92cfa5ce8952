//! Owns the one-dimensional cut: one axis of a picture into windows whose cores cover it (I7). A two-dimensional plan
//! is the product of two axes. Never weighs costs.
//!
//! A net that crops its border answers for less than its window. Where windows lie is therefore counted by their
//! **footprint**: the pixels of the picture that the net's output shows, `window − 2 · crop` of them. The first
//! footprint begins at the picture's first pixel, and its window a crop before it, extended by reflection.

use std::sync::Arc;

use crate::ratio::Ratio;

/// One window and the core it answers for, along one axis, in pixels of the picture unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// First pixel of the window; negative where it is extended by reflection.
    pub window_start: i64,
    /// Pixels of the window.
    pub window_len: u32,
    /// What the window may show: beyond it lies its mirror image. The picture; in the reference's arithmetic the tile.
    pub shown: (u32, u32),
    /// First pixel of the core, inside the footprint.
    pub core_start: u32,
    /// Pixels of the core; never zero. Cores overlap where neighbours are blended.
    pub core_len: u32,
    /// First pixel of the core in the result.
    pub result_start: u32,
    /// Pixels of the core in the result.
    pub result_len: u32,
    /// First pixel of the core in the net's output.
    pub output_start: u32,
    /// Weight of each of the core's result pixels; `None`: one, it answers alone.
    pub weights: Option<Arc<[f32]>>,
}

impl Span {
    /// The first pixel behind the core.
    pub fn core_end(&self) -> u32 {
        self.core_start + self.core_len
    }

    /// The first result pixel behind the core.
    pub fn result_end(&self) -> u32 {
        self.result_start + self.result_len
    }
}

/// One axis, cut. Cores cover `from..len`; at every pixel the weights of all cores sum to one.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Pixels of the picture along this axis.
    pub len: u32,
    /// Length of the longest window; all have it, but for the reference's ragged tails.
    pub window_len: u32,
    /// The windows, first to last.
    pub spans: Vec<Span>,
}

impl Axis {
    /// Whether neighbours are blended.
    pub fn is_blended(&self) -> bool {
        self.spans.iter().any(|span| span.weights.is_some())
    }

    /// Result pixels that no window after the one with this index touches: those before it are final with it.
    pub fn final_until(&self, index: usize) -> u32 {
        match self.spans.get(index + 1) {
            Some(next) => next.result_start,
            None => self.spans[index].result_end(),
        }
    }
}

/// Pixels that a window answers for at least, between two neighbours.
const LEAST_CORE_PX: u32 = 16;

/// What is asked of one axis, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisDemands {
    /// Context inside the footprint that a core needs on either side, unless the picture ends there.
    pub halo_px: u32,
    /// Pixels over which two neighbours are blended; zero: they are not.
    pub blend_px: u32,
    /// Pixels of the window that the net's output lacks on each side.
    pub crop_px: u32,
    /// Windows start and end on multiples of it; at least 1.
    pub align_px: u32,
    /// Smallest window that the net takes; says nothing where it takes only one.
    pub min_px: u32,
    /// The only window that the net takes, if there is but one.
    pub fixed_px: Option<u32>,
    /// The net's scale.
    pub scale: Ratio,
}

impl AxisDemands {
    /// Window positions: multiples of the net's alignment that fall on whole pixels of the result.
    fn unit(&self) -> u32 {
        let (align, step) = (self.align_px.max(1), self.scale.input_step());
        if align.is_multiple_of(step) {
            align
        } else {
            align * step
        }
    }

    /// Pixels that the footprints of two neighbours share at least. Seams are moved onto whole pixels of the result.
    fn shared_px(&self) -> u32 {
        let slack = self.scale.input_step() - 1;
        (2 * (self.halo_px + slack)).max(self.blend_px + slack)
    }

    /// The smallest window; the only one where there is but one.
    fn least_px(&self) -> u32 {
        self.fixed_px.unwrap_or(self.min_px)
    }

    /// The window that holds `len` pixels in one piece.
    pub fn padded(&self, len: u32) -> u32 {
        let least = len.saturating_add(2 * self.crop_px).max(self.least_px());
        if self.fixed_px == Some(least) {
            return least;
        }
        least.next_multiple_of(self.unit())
    }

    /// The shortest window with which `count` windows cover a `padded` length, or `None` where so many would not each
    /// have a core of their own. One window covers everything.
    pub fn window_len(&self, padded: u32, count: u32) -> Option<u32> {
        let (unit, many) = (u64::from(self.unit()), u64::from(count));
        let (padded, shared) = (u64::from(padded), u64::from(2 * self.crop_px + self.shared_px()));
        if let Some(fixed) = self.fixed_px.map(u64::from) {
            let covers = fixed * many >= padded + shared * (many - 1);
            let spread = count == 1 || padded >= fixed + (many - 1) * unit;
            return (covers && spread).then_some(fixed as u32);
        }
        // All but the outer ends share, so `count · w − shared · (count − 1) ≥ padded`, in whole units.
        let (len, shared) = (padded.div_ceil(unit), shared.div_ceil(unit));
        let window = (len + shared * (many - 1))
            .div_ceil(many)
            .max(u64::from(self.min_px).div_ceil(unit));
        // Windows that lie less than a unit apart would leave a core empty.
        let fits = count == 1 || (window > shared && len >= window + (many - 1));
        fits.then(|| u32::try_from(window * unit).unwrap_or(u32::MAX))
    }

    /// The fewest windows that cover a `padded` length with none longer than `limit_px`; `None` where windows so short
    /// are all shared.
    pub fn fewest_windows(&self, padded: u32, limit_px: u32) -> Option<u32> {
        let shared = 2 * self.crop_px + self.shared_px();
        // As in `window_len`: whole units, except for a window of one length.
        let (len, longest, shared) = match self.fixed_px {
            Some(fixed) => (padded, fixed, shared),
            None => (
                padded.div_ceil(self.unit()),
                limit_px / self.unit(),
                shared.div_ceil(self.unit()),
            ),
        };
        let fewest = if longest >= len {
            1
        } else {
            (len - shared.min(len)).div_ceil(longest.checked_sub(shared).filter(|own| *own > 0)?)
        };
        let window = self.window_len(padded, fewest)?;
        (window <= limit_px).then_some(fewest)
    }

    /// The shortest window that still has a core worth what it shares with its neighbours, and no side below `least_px`.
    pub fn shortest_window(&self, least_px: u32) -> u32 {
        let unit = self.unit();
        // A blended core belongs in part to the neighbour before it and in part to the one behind.
        let shared = 2 * self.crop_px + self.shared_px() + self.blend_px;
        self.fixed_px.unwrap_or_else(|| {
            (shared.next_multiple_of(unit) + LEAST_CORE_PX)
                .max(least_px)
                .max(self.min_px)
                .next_multiple_of(unit)
        })
    }

    /// Where the first footprint begins if rows before `from` are finished: a halo before it, on a whole unit, and
    /// not so late that less than the smallest window is left.
    fn first(&self, len: u32, from: u32) -> u32 {
        let padded = self.padded(len);
        from.saturating_sub(self.halo_px)
            .min(padded.saturating_sub(self.least_px()))
            / self.unit()
            * self.unit()
    }

    /// The length that is left to cut from `from` on, as a window would have to hold it.
    pub fn rest(&self, len: u32, from: u32) -> u32 {
        self.padded(len) - self.first(len, from)
    }
}

impl Axis {
    /// Cuts `from..len` into `count` windows of one length. Pixels before `from` are finished: they serve as context
    /// only. `None` where `count` windows cannot each have a core of their own.
    ///
    /// Windows are spread evenly, so no tail is thin and the last window slides inward instead of sticking out; the
    /// seam of two neighbours is in the middle of what they share.
    pub fn cut(len: u32, from: u32, count: u32, demands: &AxisDemands) -> Option<Self> {
        assert!(from < len && count > 0, "an empty axis cannot be cut");
        let unit = demands.unit();
        let first = demands.first(len, from);
        let rest = demands.rest(len, from);
        let window_len = demands.window_len(rest, count)?;
        let slack_units = u64::from(rest.saturating_sub(window_len) / unit);
        let footprint = window_len - 2 * demands.crop_px;
        let starts: Vec<u32> = (0..count)
            .map(|index| {
                let units = slack_units * u64::from(index) / u64::from((count - 1).max(1));
                first + u32::try_from(units).unwrap_or(u32::MAX) * unit
            })
            .collect();
        let step = demands.scale.input_step();
        // Where the blending of two neighbours begins: half of it lies before the middle of what they share.
        let seam = |index: usize| {
            let middle = (starts[index - 1] + footprint).midpoint(starts[index]);
            middle.saturating_sub(demands.blend_px / 2) / step * step
        };
        let spans: Vec<Span> = (0..count as usize)
            .map(|index| {
                let begin = if index == 0 { from } else { seam(index) };
                let end = match index + 1 {
                    next if next == count as usize => len,
                    next => seam(next) + demands.blend_px,
                };
                demands.span(starts[index], window_len, begin..end.max(begin), len)
            })
            .collect();
        let mut axis = Self {
            len,
            window_len,
            spans,
        };
        if !axis.is_sound(from, demands) {
            return None;
        }
        if demands.blend_px > 0 {
            super::weights::raised_cosine(&mut axis.spans);
        }
        Some(axis)
    }

    /// I7 along one axis: windows lie inside the extended picture, each core has its context or ends at the border,
    /// and cores meet (or overlap by what is blended, and by that only with their neighbours).
    pub fn is_sound(&self, from: u32, demands: &AxisDemands) -> bool {
        let edge = i64::from(demands.padded(self.len)) - i64::from(demands.crop_px);
        let mut next = from;
        for (index, span) in self.spans.iter().enumerate() {
            let footprint_start = span.window_start + i64::from(demands.crop_px);
            let window_end = span.window_start + i64::from(span.window_len);
            let footprint_end = window_end - i64::from(demands.crop_px);
            let (halo, begin, end) = (
                i64::from(demands.halo_px),
                i64::from(span.core_start),
                i64::from(span.core_end()),
            );
            let left_ok = footprint_start == 0 || begin >= footprint_start + halo;
            let right_ok = window_end == edge || end + halo <= footprint_end;
            let inside = window_end <= edge
                && footprint_start >= 0
                && begin >= footprint_start
                && end <= footprint_end;
            let last = index + 1 == self.spans.len();
            // Blended pixels belong to two windows and never to three.
            let blended = demands.blend_px * (u32::from(index > 0) + u32::from(!last));
            let own = span.core_len >= blended.max(1);
            if span.core_start != next || !own || !left_ok || !right_ok || !inside {
                return false;
            }
            next = span.core_end() - if last { 0 } else { demands.blend_px };
        }
        next == self.len
    }
}

impl Axis {
    /// Cuts `from..len` as the reference node does: a tile every `tile_px − overlap_px` pixels, the last one short and
    /// not moved back. Each tile is a picture of its own: what a net needs beyond it is its own mirror image. Without
    /// `blended` (a picture that fits one tile both ways) there are no ramps.
    ///
    /// # Panics
    /// If the overlap is not below the tile.
    pub fn reference(
        len: u32,
        from: u32,
        (tile_px, overlap_px): (u32, u32),
        blended: bool,
        demands: &AxisDemands,
    ) -> Self {
        assert!(
            from < len && overlap_px < tile_px,
            "an empty axis or tile cannot be cut"
        );
        let (rest, step) = (len - from, (tile_px - overlap_px) as usize);
        let last = if rest > tile_px { rest - overlap_px } else { 1 };
        let result = |pixel: u32| demands.scale.of(pixel);
        let mut spans: Vec<Span> = (0..last)
            .step_by(step)
            .map(|position| {
                let (start, tile) = (from + position, tile_px.min(rest - position));
                Span {
                    window_start: i64::from(start) - i64::from(demands.crop_px),
                    window_len: demands.padded(tile),
                    shown: (start, start + tile),
                    core_start: start,
                    core_len: tile,
                    result_start: result(start),
                    result_len: result(tile).min(result(len) - result(start)),
                    output_start: 0,
                    weights: None,
                }
            })
            .collect();
        if blended {
            super::weights::reference_ramps(&mut spans, result(from), result(overlap_px));
        }
        Self {
            len,
            window_len: spans.iter().map(|span| span.window_len).max().unwrap_or(0),
            spans,
        }
    }
}

impl AxisDemands {
    /// The window whose footprint begins at `footprint_start`, with its core.
    fn span(&self, footprint_start: u32, window_len: u32, core: std::ops::Range<u32>, len: u32) -> Span {
        let result = |pixel: u32| self.scale.of(pixel);
        Span {
            window_start: i64::from(footprint_start) - i64::from(self.crop_px),
            window_len,
            shown: (0, len),
            core_start: core.start,
            core_len: core.end - core.start,
            result_start: result(core.start),
            result_len: result(core.end) - result(core.start),
            // Where a seam would lie outside the footprint; such a cut is not sound, and refused.
            output_start: result(core.start).saturating_sub(result(footprint_start)),
            weights: None,
        }
    }
}

#[cfg(test)]
mod tests;
