//! Owns what of a HEIF's picture is to be seen. Never crops anything.

use crate::codec::outline::boxes::Cursor;
use crate::size::Size;

/// A clean aperture: what of a picture is to be seen, in fractions.
pub(super) struct Crop {
    width: (u32, u32),
    height: (u32, u32),
    /// Of the middle, from the middle of the whole.
    across: (i32, u32),
    down: (i32, u32),
}

impl Crop {
    pub(super) fn read(mut content: Cursor<'_>) -> Option<Self> {
        let mut pair = || Some((content.u32()?, content.u32()?));
        let (width, height, across, down) = (pair()?, pair()?, pair()?, pair()?);
        Some(Self {
            width,
            height,
            across: (across.0.cast_signed(), across.1),
            down: (down.0.cast_signed(), down.1),
        })
    }

    /// Left, top and size, if they are whole pixels inside.
    pub(super) fn within(&self, whole: Size) -> Option<(u32, u32, Size)> {
        let side = |(kept, below): (u32, u32), (shift, shift_below): (i32, u32), whole: u32| {
            if below == 0 || shift_below == 0 || kept % below != 0 {
                return None;
            }
            let kept = kept / below;
            // Twice the distance, which is a whole number where the distance is.
            let shift = i64::from(shift) * 2;
            (shift % i64::from(shift_below) == 0).then_some(())?;
            let twice = i64::from(whole) - i64::from(kept) + shift / i64::from(shift_below);
            let begin = (twice >= 0 && twice % 2 == 0).then_some(twice / 2)?;
            let inside = kept > 0 && begin + i64::from(kept) <= i64::from(whole);
            inside.then_some((u32::try_from(begin).ok()?, kept))
        };
        let (left, width) = side(self.width, self.across, whole.width)?;
        let (top, height) = side(self.height, self.down, whole.height)?;
        Some((left, top, Size::new(width, height)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_is_taken_where_it_is_whole_pixels_inside() {
        let crop = |width, across| Crop {
            width: (width, 1),
            height: (4, 1),
            across,
            down: (0, 1),
        };
        assert_eq!(
            crop(6, (0, 1)).within(Size::new(8, 4)),
            Some((1, 0, Size::new(6, 4)))
        );
        assert_eq!(
            crop(5, (-3, 2)).within(Size::new(8, 4)),
            Some((0, 0, Size::new(5, 4)))
        );
        assert_eq!(crop(5, (0, 1)).within(Size::new(8, 4)), None);
        assert_eq!(crop(6, (2, 1)).within(Size::new(8, 4)), None);
        assert_eq!(crop(9, (0, 1)).within(Size::new(8, 4)), None);
    }
}
