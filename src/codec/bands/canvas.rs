//! Owns the canvas on which the frames of an animation are laid over one another: what a viewer shows, not what
//! changed. Never decodes and never holds more than two canvases.

use crate::codec::layout::{Depth, PixelLayout};
use crate::size::Size;

/// Where a frame lies; it may reach beyond the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) size: Size,
}

/// How a frame goes onto what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blend {
    /// In its place, transparent pixels too.
    Replace,
    /// What is there shows through.
    Over,
}

/// What becomes of a frame before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    /// It stays.
    Keep,
    /// Its place becomes transparent.
    Clear,
    /// What was there before it comes back.
    Restore,
}

/// Pixels that are shown.
pub(super) struct Canvas {
    size: Size,
    layout: PixelLayout,
    pixels: Vec<u8>,
    /// As it was before the last frame; empty where nobody wants it back.
    before: Vec<u8>,
    /// What the last frame leaves to be done.
    pending: Option<(Place, Disposal)>,
}

impl Canvas {
    /// A transparent canvas, black where there is no alpha.
    pub(super) fn new(size: Size, layout: PixelLayout) -> Self {
        Self {
            size,
            layout,
            pixels: vec![0; layout.row_bytes(size.width) * size.height as usize],
            before: Vec::new(),
            pending: None,
        }
    }

    /// Lays a frame, whose samples are like the canvas', onto it.
    pub(super) fn lay(&mut self, frame: &[u8], place: Place, blend: Blend, disposal: Disposal) {
        self.dispose();
        if disposal == Disposal::Restore {
            self.before.clear();
            self.before.extend_from_slice(&self.pixels);
        }
        let pixel = self.layout.bytes_per_pixel();
        let has_alpha = self.layout.channels.has_alpha();
        for (row, (begin, bytes)) in self.rows(place).into_iter().enumerate() {
            let stored = &frame[row * self.layout.row_bytes(place.size.width)..][..bytes];
            let shown = &mut self.pixels[begin..begin + bytes];
            if blend == Blend::Replace || !has_alpha {
                shown.copy_from_slice(stored);
                continue;
            }
            for (below, above) in shown.chunks_exact_mut(pixel).zip(stored.chunks_exact(pixel)) {
                match self.layout.depth {
                    Depth::Eight => over_8(below, above),
                    Depth::Sixteen => over_16(below, above),
                }
            }
        }
        self.pending = Some((place, disposal));
    }

    /// Writes what is shown; without alpha where `layout` has none.
    pub(super) fn write(&self, rows: &mut [u8], layout: PixelLayout) {
        if layout == self.layout {
            rows.copy_from_slice(&self.pixels);
            return;
        }
        let (shown, written) = (self.layout.bytes_per_pixel(), layout.bytes_per_pixel());
        let pixels = self.pixels.chunks_exact(shown);
        for (pixel, shown) in rows.chunks_exact_mut(written).zip(pixels) {
            pixel.copy_from_slice(&shown[..written]);
        }
    }

    fn dispose(&mut self) {
        let Some((place, disposal)) = self.pending.take() else {
            return;
        };
        match disposal {
            Disposal::Keep => {}
            Disposal::Clear => {
                for (begin, bytes) in self.rows(place) {
                    self.pixels[begin..begin + bytes].fill(0);
                }
            }
            Disposal::Restore => self.pixels.copy_from_slice(&self.before),
        }
    }

    /// Where the visible part of each row of a frame begins on the canvas, and its length.
    fn rows(&self, place: Place) -> Vec<(usize, usize)> {
        let wide = place.size.width.min(self.size.width.saturating_sub(place.left));
        let high = place.size.height.min(self.size.height.saturating_sub(place.top));
        if wide == 0 {
            return Vec::new();
        }
        let begin = |row| {
            self.layout.row_bytes(self.size.width) * (place.top + row) as usize
                + self.layout.row_bytes(place.left)
        };
        (0..high)
            .map(|row| (begin(row), self.layout.row_bytes(wide)))
            .collect()
    }
}

fn over_8(below: &mut [u8], above: &[u8]) {
    let most = u64::from(u8::MAX);
    let Some((&alpha, _)) = above.split_last() else {
        return;
    };
    match alpha {
        0 => {}
        u8::MAX => below.copy_from_slice(above),
        alpha => {
            let Some((below_alpha, colors)) = below.split_last_mut() else {
                return;
            };
            let mix = Mix::new(alpha.into(), (*below_alpha).into(), most);
            for (color, above) in colors.iter_mut().zip(above) {
                *color = mix.color((*above).into(), (*color).into()) as u8;
            }
            *below_alpha = mix.alpha() as u8;
        }
    }
}

fn over_16(below: &mut [u8], above: &[u8]) {
    let (above, _) = above.as_chunks::<2>();
    let (below, _) = below.as_chunks_mut::<2>();
    let value = |sample: [u8; 2]| u64::from(u16::from_ne_bytes(sample));
    let (Some((alpha, colors_above)), Some((below_alpha, colors))) =
        (above.split_last(), below.split_last_mut())
    else {
        return;
    };
    if value(*alpha) == 0 {
        return;
    }
    let mix = Mix::new(value(*alpha), value(*below_alpha), u16::MAX.into());
    for (color, above) in colors.iter_mut().zip(colors_above) {
        *color = (mix.color(value(*above), value(*color)) as u16).to_ne_bytes();
    }
    *below_alpha = (mix.alpha() as u16).to_ne_bytes();
}

/// Two pixels whose colours are not multiplied by alpha, one over the other.
struct Mix {
    /// Share of each in the sum, which is `total`.
    above: u64,
    below: u64,
    total: u64,
    most: u64,
}

impl Mix {
    /// Of an alpha above 0.
    fn new(above: u64, below: u64, most: u64) -> Self {
        let (above, below) = (above * most, below * (most - above));
        Self {
            above,
            below,
            total: above + below,
            most,
        }
    }

    fn color(&self, above: u64, below: u64) -> u64 {
        (above * self.above + below * self.below + self.total / 2) / self.total
    }

    fn alpha(&self) -> u64 {
        (self.total + self.most / 2) / self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::layout::Channels;

    const GREY_ALPHA: PixelLayout = PixelLayout {
        channels: Channels::GreyAlpha,
        depth: Depth::Eight,
    };

    fn place(left: u32, top: u32, width: u32, height: u32) -> Place {
        Place {
            left,
            top,
            size: Size::new(width, height),
        }
    }

    #[test]
    fn frames_reach_beyond_the_canvas_and_give_way_as_they_say() {
        let mut canvas = Canvas::new(Size::new(3, 2), GREY_ALPHA);
        let shown = |canvas: &Canvas| {
            let mut rows = vec![0; 12];
            canvas.write(&mut rows, GREY_ALPHA);
            rows
        };
        canvas.lay(
            &[9, 255].repeat(6),
            place(0, 0, 3, 2),
            Blend::Over,
            Disposal::Keep,
        );
        // Its right column and its lower row are not seen.
        canvas.lay(
            &[1, 255, 2, 255, 3, 255, 4, 255],
            place(2, 1, 2, 2),
            Blend::Over,
            Disposal::Restore,
        );
        assert_eq!(shown(&canvas), [9, 255, 9, 255, 9, 255, 9, 255, 9, 255, 1, 255]);
        canvas.lay(&[5, 0], place(0, 0, 1, 1), Blend::Replace, Disposal::Clear);
        assert_eq!(shown(&canvas), [5, 0, 9, 255, 9, 255, 9, 255, 9, 255, 9, 255]);
        canvas.lay(&[7, 255], place(1, 0, 1, 1), Blend::Over, Disposal::Keep);
        assert_eq!(shown(&canvas), [0, 0, 7, 255, 9, 255, 9, 255, 9, 255, 9, 255]);
        // Nothing of it is seen at all.
        canvas.lay(&[7, 255], place(9, 9, 1, 1), Blend::Over, Disposal::Clear);
        canvas.lay(&[8, 255], place(0, 0, 1, 1), Blend::Over, Disposal::Keep);
        assert_eq!(shown(&canvas)[..4], [8, 255, 7, 255]);
    }

    /// Against floating-point arithmetic on multiplied colours.
    #[test]
    fn half_transparent_pixels_mix_as_light_does() {
        for (above, below) in [
            ([200u8, 128], [40u8, 255]),
            ([10, 1], [250, 3]),
            ([77, 254], [3, 0]),
        ] {
            let (a, b) = (f64::from(above[1]) / 255.0, f64::from(below[1]) / 255.0);
            let alpha = a + b * (1.0 - a);
            let color = (f64::from(above[0]) * a + f64::from(below[0]) * b * (1.0 - a)) / alpha;
            let mut mixed = below;
            over_8(&mut mixed, &above);
            assert!((f64::from(mixed[0]) - color).abs() <= 0.5001, "{mixed:?} {color}");
            assert!((f64::from(mixed[1]) - alpha * 255.0).abs() <= 0.5001, "{mixed:?}");

            let wide = |pixel: [u8; 2]| pixel.map(|sample| (u16::from(sample) * 257).to_ne_bytes());
            let (mut wide_below, wide_above) = (wide(below), wide(above));
            over_16(wide_below.as_flattened_mut(), wide_above.as_flattened());
            let mixed = f64::from(u16::from_ne_bytes(wide_below[0])) / 257.0;
            assert!((mixed - color).abs() < 0.01, "{mixed} {color}");
        }
    }
}
