//! Owns the measuring of a model at a place: what windows need on the device, and how long they take. Runs noise
//! through the seam; never decides anything from what it finds.

use super::{InferenceError, PLANES, Planes, Upscaler};
use crate::clock::{Clock, seconds_between};
use crate::progress::Cancel;
use crate::size::Size;
use crate::tiling::{MemoryNeed, Speed};

/// Sides of the probe windows. The need is a straight line, and two points far apart tell it well enough for windows of
/// four times the largest side; the third guards a slow model's patience.
const PROBE_SIDES: [u32; 3] = [64, 128, 256];

/// A probe window that would take longer is left out: a model of 0.008 megapixels a second is measured in seconds too.
const PROBE_SECONDS_MAX: f64 = 5.0;

/// What is added to the holes that were seen.
const HOLES_MARGIN: f64 = 1.05;

/// Shapes that are tried for speed: squares, because caches like them, and wide ones, because their halo is small.
const SHAPES: [(u32, u32); 12] = [
    (96, 96),
    (128, 128),
    (192, 192),
    (256, 256),
    (384, 384),
    (512, 512),
    (768, 192),
    (1024, 128),
    (1024, 256),
    (1536, 192),
    (1536, 320),
    (768, 768),
];

/// Batches that are tried at small windows, which leave a large device idle.
const BATCHES: [u32; 2] = [2, 4];

/// Windows of at most so many pixels are tried in batches.
const BATCHED_PIXELS_MAX: u64 = 256 * 256;

/// Runs of one shape: at least so many, then on until a second has gone, so that short ones are not measured by chance.
const RUNS_MIN: u32 = 3;
const SHAPE_SECONDS_MIN: f64 = 1.0;

/// A shape whose single run would take longer is left out: no plan takes it either.
const RUN_SECONDS_MAX: f64 = 15.0;

/// What windows need on the device, by probe runs under this budget. Where the device does not tell what it held, what
/// was assumed before stays.
///
/// # Errors
/// [`InferenceError`], if not even the smallest probe runs; out of memory at a larger one only ends the probing.
pub fn need(
    upscaler: &mut dyn Upscaler,
    device_bytes: u64,
    clock: &dyn Clock,
) -> Result<MemoryNeed, InferenceError> {
    let mut points: Vec<(u64, u64)> = Vec::new();
    let mut holes: f64 = 1.0;
    let mut rate = f64::INFINITY;
    for side in PROBE_SIDES {
        let window = allowed(upscaler, Size::new(side, side));
        let pixels = window.pixels();
        if points.iter().any(|(seen, _)| *seen == pixels) {
            continue;
        }
        if points.len() > 1 && pixels as f64 / rate > PROBE_SECONDS_MAX {
            break;
        }
        match run(upscaler, window, 1, device_bytes, clock) {
            Ok(seconds) => rate = pixels as f64 / seconds,
            Err(InferenceError::OutOfMemory(_)) if !points.is_empty() => break,
            Err(error) => return Err(error),
        }
        match upscaler.device_peak_bytes() {
            Some(bytes) => {
                let held = upscaler.device_held_bytes().unwrap_or(bytes);
                holes = holes.max(held as f64 / bytes.max(1) as f64);
                points.push((pixels, bytes));
            }
            None => return Ok(upscaler.profile().memory),
        }
    }
    let line = line_through(&points, upscaler.card().weights_bytes);
    Ok(line.map_or(upscaler.profile().memory, |need| MemoryNeed {
        // Threads make the order of allocations differ a little from run to run.
        holes: holes * HOLES_MARGIN,
        ..need
    }))
}

/// The line through the two largest windows: the larger a window, the less a constant matters, and plans are made of
/// large ones. With one window only, weights are what does not grow.
fn line_through(points: &[(u64, u64)], weights_bytes: u64) -> Option<MemoryNeed> {
    let (pixels, bytes) = *points.last()?;
    let (fixed_bytes, bytes_per_pixel) = match points.len().checked_sub(2).map(|index| points[index]) {
        Some((smaller, less)) if smaller < pixels && less < bytes => {
            let slope = (bytes - less) as f64 / (pixels - smaller) as f64;
            ((bytes as f64 - slope * pixels as f64).max(0.0) as u64, slope)
        }
        _ => {
            let fixed = weights_bytes.min(bytes.saturating_sub(1));
            (fixed, (bytes - fixed) as f64 / pixels as f64)
        }
    };
    (bytes_per_pixel > 0.0).then_some(MemoryNeed {
        fixed_bytes,
        bytes_per_pixel,
        holes: 1.0,
    })
}

/// How long windows of many shapes take, as far as the budget allows them; `told` hears of each as it is measured.
///
/// # Errors
/// [`InferenceError`]; out of memory only leaves a shape out. What was measured before a cancel is returned.
pub fn tune(
    upscaler: &mut dyn Upscaler,
    device_bytes: u64,
    clock: &dyn Clock,
    cancel: &Cancel,
    told: &mut dyn FnMut(&Speed),
) -> Result<Vec<Speed>, InferenceError> {
    let mut speeds: Vec<Speed> = Vec::new();
    for (window, batch) in candidates(upscaler) {
        if cancel.is_cancelled() {
            break;
        }
        let pixels = window.pixels() * u64::from(batch);
        let fastest = speeds.iter().map(Speed::pixels_per_second).fold(0.0, f64::max);
        let too_long = fastest > 0.0 && pixels as f64 / fastest > RUN_SECONDS_MAX;
        if too_long || upscaler.profile().memory.budget_of_window(pixels) > device_bytes {
            continue;
        }
        match fastest_run(upscaler, window, batch, device_bytes, clock) {
            Ok(seconds) => {
                let speed = Speed {
                    width: window.width,
                    height: window.height,
                    batch,
                    seconds,
                };
                told(&speed);
                speeds.push(speed);
            }
            Err(InferenceError::OutOfMemory(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(speeds)
}

/// The shapes that the model takes, each once, with the batches that it takes of them.
fn candidates(upscaler: &dyn Upscaler) -> Vec<(Size, u32)> {
    let mut found = Vec::new();
    for (width, height) in SHAPES {
        let window = allowed(upscaler, Size::new(width, height));
        let batches = BATCHES
            .iter()
            .filter(|_| upscaler.card().batches && window.pixels() <= BATCHED_PIXELS_MAX);
        for batch in std::iter::once(&1).chain(batches) {
            if !found.contains(&(window, *batch)) {
                found.push((window, *batch));
            }
        }
    }
    found
}

/// The fastest of several runs: what disturbs a machine makes runs longer, never shorter.
fn fastest_run(
    upscaler: &mut dyn Upscaler,
    window: Size,
    batch: u32,
    device_bytes: u64,
    clock: &dyn Clock,
) -> Result<f64, InferenceError> {
    // The first run takes memory and chooses algorithms; it is not the pace of the others.
    run(upscaler, window, batch, device_bytes, clock)?;
    let (mut fastest, mut spent, mut runs) = (f64::INFINITY, 0.0, 0);
    while runs < RUNS_MIN || spent < SHAPE_SECONDS_MIN {
        let seconds = run(upscaler, window, batch, device_bytes, clock)?;
        fastest = fastest.min(seconds);
        spent += seconds;
        runs += 1;
    }
    Ok(fastest)
}

/// Seconds of one run of noise.
fn run(
    upscaler: &mut dyn Upscaler,
    window: Size,
    batch: u32,
    device_bytes: u64,
    clock: &dyn Clock,
) -> Result<f64, InferenceError> {
    upscaler.prepare(window, batch, device_bytes)?;
    let noise = noise(window.pixels() as usize * PLANES * batch as usize);
    let started = clock.monotonic();
    upscaler.upscale(Planes::batch(&noise, window, batch as usize), &mut |_| {})?;
    Ok(seconds_between(started, clock.monotonic()).max(1e-6))
}

/// Soft noise around grey, the same each time: nets that scale wide inside stay in their range.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            0.4 + (state >> 8) as f32 / 16_777_216.0 * 0.2
        })
        .collect()
}

/// The nearest window that the model takes.
fn allowed(upscaler: &dyn Upscaler, window: Size) -> Size {
    let card = upscaler.card();
    if let Some([width, height]) = card.fixed_shape {
        return Size::new(width, height);
    }
    let side = |len: u32| {
        len.max(card.minimum_px)
            .next_multiple_of(card.alignment_px.max(1))
    };
    Size::new(side(window.width), side(window.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_windows_tell_the_line_and_one_the_slope() {
        let need = line_through(&[(4096, 900), (16_384, 1_700_000), (65_536, 6_500_000)], 0).unwrap();
        assert!((need.bytes_per_pixel - 97.66).abs() < 0.01, "{need:?}");
        assert_eq!(need.of_window(65_536).abs_diff(6_500_000) / 100, 0);
        let one = line_through(&[(1000, 5000)], 1000).unwrap();
        assert_eq!((one.fixed_bytes, one.bytes_per_pixel), (1000, 4.0));
        assert_eq!(line_through(&[], 1000), None);
    }
}
