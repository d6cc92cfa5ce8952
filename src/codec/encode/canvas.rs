//! Owns what changes from one frame of an animation to the next: most of a picture that moves stands still. Never
//! encodes a pixel.

use std::borrow::Cow;

use crate::size::Size;

/// A part of a canvas; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns × rows.
    pub size: Size,
}

impl Area {
    /// All of a canvas.
    pub fn whole(size: Size) -> Self {
        Self { x: 0, y: 0, size }
    }

    /// Where two canvases of this size differ, as the smallest rectangle; one pixel where they do not, because every
    /// format wants one.
    pub fn changed(before: &[u8], now: &[u8], size: Size) -> Self {
        let row_bytes = now.len() / size.height.max(1) as usize;
        let pixel_bytes = row_bytes / size.width.max(1) as usize;
        let rows = || before.chunks_exact(row_bytes).zip(now.chunks_exact(row_bytes));
        let differs = |(a, b): (&[u8], &[u8])| a != b;
        let (Some(top), Some(bottom)) = (rows().position(differs), rows().rposition(differs)) else {
            return Self::whole(Size::new(1, 1));
        };
        let (mut left, mut right) = (row_bytes, 0);
        for (a, b) in rows().take(bottom + 1).skip(top) {
            let bytes = || a.iter().zip(b);
            left = bytes().take(left).position(|(a, b)| a != b).unwrap_or(left);
            right = bytes()
                .rposition(|(a, b)| a != b)
                .map_or(right, |at| right.max(at));
        }
        let (left, right) = (left / pixel_bytes, right / pixel_bytes);
        // All within the canvas, whose sides are u32.
        Self {
            x: left as u32,
            y: top as u32,
            size: Size::new((right - left + 1) as u32, (bottom - top + 1) as u32),
        }
    }

    /// The same, begun at even places.
    pub fn even(self) -> Self {
        let (x, y) = (self.x % 2, self.y % 2);
        Self {
            x: self.x - x,
            y: self.y - y,
            size: Size::new(self.size.width + x, self.size.height + y),
        }
    }

    /// Its pixels out of a canvas of this width.
    pub fn cut<'a>(&self, canvas: &'a [u8], width: u32, pixel_bytes: usize) -> Cow<'a, [u8]> {
        let row_bytes = width as usize * pixel_bytes;
        let (from, to) = (self.y as usize, (self.y + self.size.height) as usize);
        let rows = &canvas[from * row_bytes..to * row_bytes];
        if self.size.width == width {
            return Cow::Borrowed(rows);
        }
        let from = self.x as usize * pixel_bytes;
        let length = self.size.width as usize * pixel_bytes;
        let mut pixels = Vec::with_capacity(length * self.size.height as usize);
        for row in rows.chunks_exact(row_bytes) {
            pixels.extend_from_slice(&row[from..from + length]);
        }
        Cow::Owned(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_the_smallest_rectangle_and_one_pixel_where_nothing_did() {
        let size = Size::new(5, 4);
        let before = vec![0; 5 * 4 * 3];
        assert_eq!(
            Area::changed(&before, &before, size),
            Area::whole(Size::new(1, 1))
        );
        let mut now = before.clone();
        now[(5 + 3) * 3 + 2] = 1;
        now[(2 * 5 + 1) * 3] = 1;
        let area = Area::changed(&before, &now, size);
        assert_eq!(
            area,
            Area {
                x: 1,
                y: 1,
                size: Size::new(3, 2)
            }
        );
        assert_eq!(area.even().size, Size::new(4, 3));
        let pixels = area.cut(&now, 5, 3);
        assert_eq!(pixels.len(), 3 * 2 * 3);
        assert_eq!(pixels.iter().filter(|byte| **byte == 1).count(), 2);
    }
}
