//! Owns the weights with which cores that overlap are blended: along one axis, summing to one, so that neither a
//! second buffer nor a division is needed while the picture is put together. Pure.

use std::f64::consts::PI;
use std::sync::Arc;

use super::geom::Span;

/// Gives the spans of an axis raised-cosine weights where neighbours overlap, and one elsewhere.
///
/// A raised cosine rather than a line: a window's outermost pixels, which saw the least context, count least.
pub(super) fn raised_cosine(spans: &mut [Span]) {
    let zones: Vec<u32> = spans
        .windows(2)
        .map(|pair| pair[0].result_end() - pair[1].result_start)
        .collect();
    if zones.is_empty() {
        return;
    }
    let rise = |at: u32, zone: u32| (0.5 - 0.5 * (PI * (f64::from(at) + 0.5) / f64::from(zone)).cos()) as f32;
    for (index, span) in spans.iter_mut().enumerate() {
        let mut weights = vec![1.0; span.result_len as usize];
        if let Some(&zone) = index.checked_sub(1).and_then(|before| zones.get(before)) {
            for (at, weight) in (0..zone).zip(&mut weights) {
                *weight = rise(at, zone);
            }
        }
        if let Some(&zone) = zones.get(index) {
            let begin = weights.len() - zone as usize;
            for (at, weight) in (0..zone).zip(&mut weights[begin..]) {
                *weight = 1.0 - rise(at, zone);
            }
        }
        span.weights = Some(Arc::from(weights));
    }
}

/// Gives the spans of an axis the reference node's weights: ramps `(t + 1) / feather` at both ends of each tile,
/// borders included, multiplied where they meet, left out where the tile is no longer than the ramp; divided by their
/// sum over all tiles. `feather` in result pixels.
pub(super) fn reference_ramps(spans: &mut [Span], from: u32, feather: u32) {
    let mask = |span: &Span| -> Vec<f32> {
        let len = span.result_len;
        let mut mask = vec![1.0f32; len as usize];
        if feather < len {
            for t in 0..feather {
                let factor = (t + 1) as f32 / feather as f32;
                mask[t as usize] *= factor;
                mask[(len - 1 - t) as usize] *= factor;
            }
        }
        mask
    };
    let masks: Vec<Vec<f32>> = spans.iter().map(mask).collect();
    let end = spans.iter().map(Span::result_end).max().unwrap_or(from);
    let mut sums = vec![0.0f32; (end - from) as usize];
    for (span, mask) in spans.iter().zip(&masks) {
        for (sum, value) in sums[(span.result_start - from) as usize..].iter_mut().zip(mask) {
            *sum += value;
        }
    }
    for (span, mask) in spans.iter_mut().zip(masks) {
        let sums = &sums[(span.result_start - from) as usize..];
        span.weights = Some(mask.iter().zip(sums).map(|(value, sum)| value / sum).collect());
    }
}
