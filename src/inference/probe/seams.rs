//! Owns the measurement of what feathering costs: tiled against untiled, for rising overlaps. Never decides which
//! overlap is taken.
//!
//! Two windows share `overlap` input pixels of result and are blended with raised-cosine weights that sum to one, as
//! tiles are. The error is the 99.9th percentile of the difference over the pixels that the blend touches, in levels of
//! 255 and after clamping, because nobody sees what lies beyond black and white.
//!
//! The content is one picture of two halves: the natural patch, and below it the same under film grain of [`GRAIN`]; the
//! worse half counts. Plain white noise is left out on purpose: nets amplify it far beyond black and white, no photo
//! looks like it, and the overlap that it asks for would be paid for by every photo.

use std::f64::consts::PI;

use super::super::card::SeamError;
use super::content;
use super::net::{Net, Output};
use super::shape::Shape;
use crate::size::Size;

/// Overlaps that are tried, input pixels.
const OVERLAPS_PX: [u32; 6] = [16, 32, 48, 64, 96, 128];

/// Below this nobody can see the join, and after rounding hardly a program can: a larger overlap is not tried.
const GOOD_ENOUGH_LEVELS: f32 = 0.5;

/// The picture that is cut in two: as wide as the natural patch, with 48 of its rows in either half.
const PICTURE: Size = Size::new(256, 96);

/// Swing of the grain: ±10 levels, a photo at ISO 3200.
const GRAIN: f32 = 10.0 / 255.0;

/// The seam errors, for overlaps as far as the net's speed allows. Empty where the shape is fixed: there is no untiled
/// run to compare with.
pub(super) fn measure(net: &mut Net<'_>, shape: &Shape) -> Vec<SeamError> {
    let mut errors: Vec<SeamError> = Vec::new();
    if shape.fixed.is_some() {
        return errors;
    }
    let step = shape.alignment_px;
    let size = Size::new(
        shape.align_up(PICTURE.width + 2 * shape.crop_px),
        shape.align_up(PICTURE.height + 2 * shape.crop_px),
    );
    let picture = content::patch_and_grain(size, net.format.channels, GRAIN);
    if !net.affords(size.pixels()) {
        return errors;
    }
    let Ok(whole) = net.run(&picture, size) else {
        return errors;
    };
    for overlap in OVERLAPS_PX {
        // Windows begin and end on multiples of the alignment, so what they share is one.
        let shared = (overlap + 2 * shape.crop_px).next_multiple_of(step);
        let overlap_px = shared - 2 * shape.crop_px;
        let repeated = errors.last().is_some_and(|last| last.overlap_px == overlap_px);
        let pixels = u64::from(size.width + shared) * u64::from(size.height);
        if repeated || shared >= size.width || !net.affords(pixels) {
            continue;
        }
        let Some(levels) = seam(net, shape, &picture, size, shared, &whole) else {
            return errors;
        };
        errors.push(SeamError { overlap_px, levels });
        if levels < GOOD_ENOUGH_LEVELS {
            break;
        }
    }
    errors
}

/// The error of one picture, cut into two windows that share so many columns.
fn seam(
    net: &mut Net<'_>,
    shape: &Shape,
    picture: &[f32],
    size: Size,
    shared: u32,
    whole: &Output,
) -> Option<f32> {
    let left_end = ((size.width + shared) / 2) / shape.alignment_px * shape.alignment_px;
    let right_start = left_end - shared;
    let left = run_columns(net, picture, size, [0, left_end])?;
    let right = run_columns(net, picture, size, [right_start, size.width])?;
    let start = shape.scale.of(right_start) as usize;
    let end = left.size.width as usize;
    let width = whole.size.width as usize;
    let weights: Vec<f32> = (start..end)
        .map(|column| {
            let along = (column - start) as f64 + 0.5;
            (0.5 - 0.5 * (PI * along / (end - start) as f64).cos()) as f32
        })
        .collect();
    let rows = whole.data.chunks_exact(width);
    let parts = left
        .data
        .chunks_exact(end)
        .zip(right.data.chunks_exact(right.size.width as usize));
    let rows: Vec<Vec<f32>> = rows
        .zip(parts)
        .map(|(whole, (left, right))| {
            let blended = left[start..].iter().zip(right).zip(&weights);
            let both = blended.zip(&whole[start..end]);
            both.map(|(((left, right), weight), whole)| {
                let value = left + weight * (right - left);
                255.0 * (value.clamp(0.0, 1.0) - whole.clamp(0.0, 1.0)).abs()
            })
            .collect()
        })
        .collect();
    let height = whole.size.height as usize;
    let half = |below: bool| {
        let rows = rows.iter().enumerate();
        let rows = rows.filter(|(row, _)| (row % height >= height / 2) == below);
        let mut values: Vec<f32> = rows.flat_map(|(_, row)| row).copied().collect();
        percentile(&mut values, 0.999)
    };
    Some(half(false)?.max(half(true)?))
}

/// Runs a part of the picture, from one column to before another.
fn run_columns(net: &mut Net<'_>, picture: &[f32], size: Size, columns: [u32; 2]) -> Option<Output> {
    let [start, end] = columns.map(|column| column as usize);
    let rows = picture.chunks_exact(size.width as usize);
    let part: Vec<f32> = rows.flat_map(|row| &row[start..end]).copied().collect();
    net.run(&part, Size::new(columns[1] - columns[0], size.height))
        .ok()
}

/// The value that this share of the others does not exceed.
fn percentile(values: &mut [f32], share: f64) -> Option<f32> {
    let place = (values.len() as f64 * share).ceil() as usize;
    let index = place.checked_sub(1).filter(|index| *index < values.len())?;
    let (_, value, _) = values.select_nth_unstable_by(index, f32::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_leaves_out_one_in_a_thousand() {
        let mut values: Vec<f32> = (0..2000).map(|value| value as f32).rev().collect();
        assert_eq!(percentile(&mut values, 0.999), Some(1997.0));
        assert_eq!(percentile(&mut [], 0.999), None);
    }
}
