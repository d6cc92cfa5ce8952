//! Owns where a place of the source is in the result: turned upright, then scaled. Pure.

use crate::size::Size;

/// From the stored picture to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    orientation: u8,
    stored: Size,
    result: Size,
}

impl Turn {
    /// A picture of `stored` columns × rows with this EXIF orientation that becomes an upright one of `result`.
    pub fn new(orientation: u8, stored: Size, result: Size) -> Self {
        Self {
            orientation,
            // No picture is empty; whoever divides by a side need not ask.
            stored: Size::new(stored.width.max(1), stored.height.max(1)),
            result,
        }
    }

    /// Columns × rows of the result.
    pub(super) fn result(self) -> Size {
        self.result
    }

    /// Whether rows and columns change places.
    pub(super) fn swaps(self) -> bool {
        matches!(self.orientation, 5..=8)
    }

    /// Whether the pixels stay in their order.
    pub(super) fn is_none(self) -> bool {
        !matches!(self.orientation, 2..=8)
    }

    /// The source's columns × rows, upright.
    fn upright(self) -> Size {
        if self.swaps() {
            Size::new(self.stored.height, self.stored.width)
        } else {
            self.stored
        }
    }

    /// Columns of the result, and of the upright source.
    pub(super) fn across(self) -> (u32, u32) {
        (self.result.width, self.upright().width)
    }

    /// Rows of the result, and of the upright source.
    pub(super) fn down(self) -> (u32, u32) {
        (self.result.height, self.upright().height)
    }

    /// The middle of what a stored pixel became.
    pub(super) fn point(self, x: u32, y: u32) -> (u32, u32) {
        let (from_right, from_bottom) = (
            (self.stored.width - 1).saturating_sub(x),
            (self.stored.height - 1).saturating_sub(y),
        );
        let (x, y) = match self.orientation {
            2 => (from_right, y),
            3 => (from_right, from_bottom),
            4 => (x, from_bottom),
            5 => (y, x),
            6 => (from_bottom, x),
            7 => (from_bottom, from_right),
            8 => (y, from_right),
            _ => (x, y),
        };
        (middle(x, self.across()), middle(y, self.down()))
    }

    /// Columns × rows of what a stored rectangle became.
    pub(super) fn extent(self, width: u32, height: u32) -> (u32, u32) {
        let (width, height) = if self.swaps() {
            (height, width)
        } else {
            (width, height)
        };
        (scaled(width, self.across()), scaled(height, self.down()))
    }
}

/// A length, rounded.
pub(super) fn scaled(length: u32, (to, from): (u32, u32)) -> u32 {
    let (length, to, from) = (u64::from(length), u64::from(to), u64::from(from.max(1)));
    u32::try_from((2 * length * to + from) / (2 * from)).unwrap_or(u32::MAX)
}

/// Where the middle of a pixel comes to lie, inside the picture.
fn middle(at: u32, (to, from): (u32, u32)) -> u32 {
    let (at, wide, from) = (u64::from(at), u64::from(to), u64::from(from.max(1)));
    let scaled = (2 * at + 1) * wide / (2 * from);
    u32::try_from(scaled)
        .unwrap_or(u32::MAX)
        .min(to.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_found_where_the_turned_rows_put_it() {
        // 3 × 2, doubled: the stored pixel at (2, 0), the last of the first row.
        for (orientation, x, y) in [
            (1, 5, 1),
            (2, 1, 1),
            (3, 1, 3),
            (4, 5, 3),
            (5, 1, 5),
            (6, 3, 5),
            (7, 3, 1),
            (8, 1, 1),
        ] {
            let upright = if orientation > 4 {
                Size::new(4, 6)
            } else {
                Size::new(6, 4)
            };
            let turn = Turn::new(orientation, Size::new(3, 2), upright);
            assert_eq!(turn.point(2, 0), (x, y), "{orientation}");
            let (width, height) = turn.extent(3, 2);
            assert_eq!(Size::new(width, height), upright, "{orientation}");
        }
    }

    #[test]
    fn what_lies_outside_of_the_picture_is_moved_to_its_edge() {
        let turn = Turn::new(3, Size::new(10, 10), Size::new(40, 40));
        assert_eq!(turn.point(u32::MAX, 0), (2, 38));
        let turn = Turn::new(1, Size::new(0, 0), Size::new(4, 4));
        assert_eq!(turn.point(u32::MAX, u32::MAX), (3, 3));
    }
}
