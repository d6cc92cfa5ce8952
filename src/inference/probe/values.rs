//! Owns the question whether an output shows what its input shows, and in which range of values. Never judges quality.

use super::net::{Net, Output};
use super::shape::Growth;
use super::{Refusal, content};
use crate::size::Size;

/// Ranges that nets are made for, the commonest first.
const RANGES: [[f32; 2]; 3] = [[0.0, 1.0], [0.0, 255.0], [-1.0, 1.0]];

/// Another range than 0..1 must fit this much better. A net that is nearly linear fits in any, and then it does not
/// matter.
const BETTER: f64 = 0.5;

/// Less alike than this is something else than the picture. Upscalers are beyond 0.95 on the patch.
const LEAST_CORRELATION: f64 = 0.5;

/// Side of the cells whose means are compared, input pixels: finer detail is the model's own business, and so is a
/// shift by half a pixel.
const CELL_PX: u32 = 4;

/// How alike two pictures are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likeness {
    /// Of the cells' means, −1 to 1.
    pub(super) correlation: f64,
    /// Root of the mean square of their differences, 1 from black to white.
    pub(super) error: f64,
}

/// Finds the range in which the output looks like the input, and leaves it in the net's format.
///
/// # Errors
/// A [`Refusal`] if it looks like it in none.
pub(super) fn find_range(net: &mut Net<'_>, size: Size, growth: Growth) -> Result<(), Refusal> {
    let channels = net.format.channels;
    let picture = content::patch(size, channels);
    let mut best: Option<(Likeness, [f32; 2])> = None;
    let mut refusal = Refusal::NotFinite;
    for range in RANGES {
        net.format.range = range;
        let Ok(output) = net.run(&picture, size) else {
            continue;
        };
        if output.data.iter().any(|value| !value.is_finite()) {
            continue;
        }
        match likeness(&picture, size, &output, growth, channels) {
            Some(likeness) if best.is_none_or(|(best, _)| likeness.error < BETTER * best.error) => {
                best = Some((likeness, range));
            }
            Some(_) => {}
            None => refusal = Refusal::Constant,
        }
    }
    let Some((likeness, range)) = best else {
        return Err(refusal);
    };
    if likeness.correlation < LEAST_CORRELATION {
        return Err(Refusal::Unlike(format!("{:.2}", likeness.correlation)));
    }
    net.format.range = range;
    Ok(())
}

/// Compares the means of cells; `None` where the output is the same everywhere.
pub(super) fn likeness(
    picture: &[f32],
    size: Size,
    output: &Output,
    growth: Growth,
    channels: usize,
) -> Option<Likeness> {
    let last = |len: u32| len.saturating_sub(growth.crop_px) / CELL_PX;
    let first = growth.crop_px.div_ceil(CELL_PX);
    let mut pairs = Vec::new();
    for channel in 0..channels {
        for row in first..last(size.height) {
            for column in first..last(size.width) {
                let input = Area::cell(column, row, 0, 1.0);
                let grown = Area::cell(column, row, growth.crop_px, growth.scale.as_f64());
                pairs.push((
                    input.mean(picture, size, channel)?,
                    grown.mean(&output.data, output.size, channel)?,
                ));
            }
        }
    }
    let count = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (mean_in, mean_out) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut both, mut input, mut outcome, mut error) = (0.0, 0.0, 0.0, 0.0);
    for (a, b) in &pairs {
        both += (a - mean_in) * (b - mean_out);
        input += (a - mean_in).powi(2);
        outcome += (b - mean_out).powi(2);
        error += (a - b).powi(2);
    }
    // Relative to its level: a constant of 255 is rounded more coarsely than one of 1.
    let flat = outcome / count <= (1e-6 * mean_out.abs().max(1e-3)).powi(2);
    (!flat && input > 0.0).then(|| Likeness {
        correlation: both / (input * outcome).sqrt(),
        error: (error / count).sqrt(),
    })
}

/// A rectangle of pixels, ends excluded.
struct Area {
    columns: [usize; 2],
    rows: [usize; 2],
}

impl Area {
    /// Where a cell of the input lies in a picture that lacks `crop_px` and is `scale` times as large.
    fn cell(column: u32, row: u32, crop_px: u32, scale: f64) -> Self {
        let place = |cell: u32| (f64::from(cell * CELL_PX - crop_px) * scale).round() as usize;
        Self {
            columns: [place(column), place(column + 1)],
            rows: [place(row), place(row + 1)],
        }
    }

    /// The mean of a plane in it; `None` where it is not inside.
    fn mean(&self, planes: &[f32], size: Size, channel: usize) -> Option<f64> {
        let width = size.width as usize;
        let plane = planes.chunks_exact(size.pixels() as usize).nth(channel)?;
        let [left, right] = self.columns;
        let mut sum = 0.0;
        for row in plane.chunks_exact(width).take(self.rows[1]).skip(self.rows[0]) {
            sum += row.get(left..right)?.iter().copied().map(f64::from).sum::<f64>();
        }
        let pixels = (right - left) * (self.rows[1] - self.rows[0]);
        (pixels > 0).then_some(sum / pixels as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Ratio;

    const SIZE: Size = Size::new(64, 64);

    fn like(data: Vec<f32>, growth: Growth) -> Option<Likeness> {
        let side = (data.len() as f64).sqrt() as u32;
        let output = Output {
            data,
            size: Size::new(side, side),
        };
        likeness(&content::patch(SIZE, 1), SIZE, &output, growth, 1)
    }

    #[test]
    fn a_shift_is_told_from_a_fit() {
        let growth = |crop_px| Growth {
            scale: Ratio::whole(1),
            crop_px,
            fixed: None,
        };
        let patch = content::patch(SIZE, 1);
        let exact = like(patch.clone(), growth(0)).unwrap();
        assert!(exact.error < 1e-6 && exact.correlation > 0.999_999, "{exact:?}");
        // The middle 48 × 48.
        let cropped: Vec<f32> = (8..56)
            .flat_map(|row| patch[row * 64 + 8..row * 64 + 56].to_vec())
            .collect();
        let exact = like(cropped, growth(8)).unwrap();
        assert!(exact.error < 1e-6, "{exact:?}");
        let inverted = like(patch.iter().map(|value| 1.0 - value).collect(), growth(0)).unwrap();
        assert!(inverted.correlation < -0.99, "{inverted:?}");
        assert_eq!(like(vec![0.5; 64 * 64], growth(0)), None);
    }
}
