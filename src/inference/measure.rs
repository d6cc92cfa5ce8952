//! Owns the measuring of a model at a place: what windows need on the device, and how long they take. Runs noise
//! through the seam; never decides anything from what it finds.

use super::{InferenceError, PLANES, Planes, Upscaler, Windows};
use crate::clock::{Clock, seconds_between};
use crate::progress::Cancel;
use crate::size::Size;
use crate::tiling::{MemoryNeed, Speed};

/// Sides of the probe windows. The need is a straight line, and two points far apart tell it well enough for windows of
/// four times the largest side; the third guards a slow model's patience.
const PROBE_SIDES: [u32; 3] = [64, 128, 256];

/// A probe window that would take longer is left out: a model of 0.008 megapixels a second is measured in seconds too.
const PROBE_SECONDS_MAX: f64 = 5.0;

/// How far an arena may have to be larger than what is in use: tried in this order under a cap, the last one taken
/// untried. Nets were seen to need 1.0 to 1.3.
const HOLES: [f64; 6] = [1.05, 1.1, 1.2, 1.3, 1.5, 2.0];

/// What is added to that: shapes differ, and so do runs of one shape, which was seen to fit under 1.14 and then not under
/// 1.24 of what it uses.
const HOLES_MARGIN: f64 = 1.1;

/// So often a cap has to do.
const HOLES_RUNS: u32 = 2;

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

/// So often all shapes are gone through: a machine that becomes busy half-way would otherwise make one half of them look
/// slow, as was seen.
const ROUNDS: u32 = 3;

/// Runs of one shape in one round: at least one, then on until so much time has gone, so that short ones are not measured
/// by chance.
const ROUND_SECONDS_MIN: f64 = 0.35;

/// The first run of a shape takes memory and chooses algorithms; where a run takes longer than this, that is lost in it.
const LONG_RUN_S: f64 = 1.0;

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
    let mut probes: Vec<Held> = Vec::new();
    let mut rate = f64::INFINITY;
    for side in PROBE_SIDES {
        let window = allowed(upscaler, Size::new(side, side));
        let pixels = window.pixels();
        if probes.iter().any(|seen| seen.window == window) {
            continue;
        }
        if probes.len() > 1 && pixels as f64 / rate > PROBE_SECONDS_MAX {
            break;
        }
        match run(upscaler, window, 1, device_bytes, clock) {
            Ok(seconds) => rate = pixels as f64 / seconds,
            Err(InferenceError::OutOfMemory(_)) if !probes.is_empty() => break,
            Err(error) => return Err(error),
        }
        match upscaler.device_peak_bytes() {
            Some(bytes) => probes.push(Held { window, bytes }),
            None => return Ok(upscaler.profile().memory),
        }
    }
    let card = upscaler.card();
    let need = if card.border_crop_px > 0 {
        square_through(&probes, card.weights_bytes)
    } else {
        None
    };
    let need = need.or_else(|| line_through(&probes, card.weights_bytes));
    match (need, probes.last()) {
        (Some(need), Some(largest)) => with_holes(upscaler, need, largest.window, device_bytes, clock),
        _ => Ok(upscaler.profile().memory),
    }
}

/// Under which cap a window that needs so much runs: found by trying, since an arena tells what is in use and not what
/// lies between.
fn with_holes(
    upscaler: &mut dyn Upscaler,
    need: MemoryNeed,
    window: Size,
    device_bytes: u64,
    clock: &dyn Clock,
) -> Result<MemoryNeed, InferenceError> {
    let [tried @ .., untried] = HOLES;
    let mut found = untried;
    for holes in tried {
        let budget = MemoryNeed { holes, ..need }.budget_of_window(window.pixels());
        let mut runs = (0..HOLES_RUNS).map(|_| run(upscaler, window, 1, budget.min(device_bytes), clock));
        match runs.try_for_each(|ran| ran.map(drop)) {
            Ok(()) => {
                found = holes;
                break;
            }
            Err(InferenceError::OutOfMemory(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(MemoryNeed {
        holes: found * HOLES_MARGIN,
        ..need
    })
}

/// What a window held on the device at most.
#[derive(Debug, Clone, Copy)]
struct Held {
    window: Size,
    bytes: u64,
}

impl Held {
    fn pixels(&self) -> u64 {
        self.window.pixels()
    }

    fn side(&self) -> f64 {
        (self.pixels() as f64).sqrt()
    }
}

/// The line through the two largest windows: the larger a window, the less a constant matters, and plans are made of
/// large ones. With one window only, weights are what does not grow.
fn line_through(probes: &[Held], weights_bytes: u64) -> Option<MemoryNeed> {
    let (before, last) = last_two(probes)?;
    let (fixed_bytes, bytes_per_pixel) = match before {
        Some(before) => {
            let slope = (last.bytes - before.bytes) as f64 / (last.pixels() - before.pixels()) as f64;
            let fixed = (last.bytes as f64 - slope * last.pixels() as f64).max(0.0);
            (fixed as u64, slope)
        }
        None => {
            let fixed = weights_bytes.min(last.bytes.saturating_sub(1));
            (fixed, (last.bytes - fixed) as f64 / last.pixels() as f64)
        }
    };
    (bytes_per_pixel > 0.0).then_some(MemoryNeed::proportional(fixed_bytes, bytes_per_pixel))
}

/// For a net that crops its border: a square through the two largest windows. `None` if they do not tell of a border.
fn square_through(probes: &[Held], weights_bytes: u64) -> Option<MemoryNeed> {
    let (before, last) = last_two(probes)?;
    let before = before?;
    let fixed_bytes = weights_bytes.min(before.bytes.saturating_sub(1));
    let root = |held: &Held| ((held.bytes - fixed_bytes) as f64).sqrt();
    let slope = (root(last) - root(before)) / (last.side() - before.side());
    let border_px = last.side() - root(last) / slope;
    (slope > 0.0 && border_px > 0.0 && border_px < before.side() / 2.0).then_some(MemoryNeed {
        border_px,
        ..MemoryNeed::proportional(fixed_bytes, slope * slope)
    })
}

/// The two largest windows, or the only one; `None` for the smaller one also where it does not tell of growth.
fn last_two(probes: &[Held]) -> Option<(Option<&Held>, &Held)> {
    let last = probes.last()?;
    let before = probes.len().checked_sub(2).map(|index| &probes[index]);
    Some((
        before.filter(|before| before.pixels() < last.pixels() && before.bytes < last.bytes),
        last,
    ))
}

/// How long windows of many shapes take, as far as the budget allows them; `told` hears of each as it is measured, in
/// each round again.
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
    let mut shapes = candidates(upscaler);
    for _ in 0..ROUNDS {
        let mut next = Vec::new();
        for (window, batch) in shapes {
            if cancel.is_cancelled() {
                return Ok(speeds);
            }
            let pixels = window.pixels() * u64::from(batch);
            let fastest = speeds.iter().map(Speed::pixels_per_second).fold(0.0, f64::max);
            let too_long = fastest > 0.0 && pixels as f64 / fastest > RUN_SECONDS_MAX;
            if too_long || upscaler.profile().memory.budget_of_window(pixels) > device_bytes {
                continue;
            }
            let seconds = match fastest_run(upscaler, window, batch, device_bytes, clock) {
                Ok(seconds) => seconds,
                Err(InferenceError::OutOfMemory(_)) => {
                    // What fits only sometimes is no choice.
                    speeds.retain(|speed| speed.window() != window || speed.batch != batch);
                    continue;
                }
                Err(error) => return Err(error),
            };
            next.push((window, batch));
            told(&keep_fastest(&mut speeds, window, batch, seconds));
        }
        shapes = next;
    }
    Ok(speeds)
}

/// What disturbs a machine makes runs longer, never shorter.
fn keep_fastest(speeds: &mut Vec<Speed>, window: Size, batch: u32, seconds: f64) -> Speed {
    let of_shape = |speed: &&mut Speed| speed.window() == window && speed.batch == batch;
    if let Some(speed) = speeds.iter_mut().find(of_shape) {
        speed.seconds = speed.seconds.min(seconds);
        return *speed;
    }
    let speed = Speed {
        width: window.width,
        height: window.height,
        batch,
        seconds,
    };
    speeds.push(speed);
    speed
}

/// The shapes that the model takes, each once, with the batches that it takes of them.
fn candidates(upscaler: &dyn Upscaler) -> Vec<(Size, u32)> {
    let mut found = Vec::new();
    // What is built for a range of windows is built for one at once.
    let batches = upscaler.card().batches && upscaler.windows() == Windows::Any;
    for (width, height) in SHAPES {
        let window = allowed(upscaler, Size::new(width, height));
        let batches = BATCHES
            .iter()
            .filter(|_| batches && window.pixels() <= BATCHED_PIXELS_MAX);
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
    let first = run(upscaler, window, batch, device_bytes, clock)?;
    let (mut fastest, mut spent) = if first < LONG_RUN_S {
        (f64::INFINITY, 0.0)
    } else {
        (first, first)
    };
    while spent < ROUND_SECONDS_MIN {
        let seconds = run(upscaler, window, batch, device_bytes, clock)?;
        fastest = fastest.min(seconds);
        spent += seconds;
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

/// The nearest window that the model takes where it runs.
fn allowed(upscaler: &dyn Upscaler, window: Size) -> Size {
    let window = match upscaler.windows() {
        Windows::Any => window,
        Windows::Within(least_px, most_px) => Size::new(
            window.width.clamp(least_px, most_px),
            window.height.clamp(least_px, most_px),
        ),
        Windows::Only(window) => window,
    };
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

    /// What square windows of these sides held.
    fn held(points: &[(u32, u64)]) -> Vec<Held> {
        points
            .iter()
            .map(|(side, bytes)| Held {
                window: Size::new(*side, *side),
                bytes: *bytes,
            })
            .collect()
    }

    #[test]
    fn two_windows_tell_the_line_and_one_the_slope() {
        let probes = held(&[(64, 900), (128, 1_700_000), (256, 6_500_000)]);
        let need = line_through(&probes, 0).unwrap();
        assert!((need.bytes_per_pixel - 97.66).abs() < 0.01, "{need:?}");
        assert_eq!(need.of_window(65_536).abs_diff(6_500_000) / 100, 0);
        let one = line_through(&held(&[(100, 41_000)]), 1000).unwrap();
        assert_eq!((one.fixed_bytes, one.bytes_per_pixel), (1000, 4.0));
        assert_eq!(line_through(&[], 1000), None);
    }

    #[test]
    fn of_a_net_that_crops_two_windows_tell_the_border() {
        let truth = MemoryNeed {
            border_px: 24.0,
            ..MemoryNeed::proportional(1 << 20, 3000.0)
        };
        let probes = held(&[64, 128, 256].map(|side| (side, truth.of_window(u64::from(side * side)))));
        let need = square_through(&probes, 1 << 20).unwrap();
        assert!((need.border_px - 24.0).abs() < 0.1, "{need:?}");
        for side in [64u64, 512, 1024] {
            let ratio = need.of_window(side * side) as f64 / truth.of_window(side * side) as f64;
            assert!((ratio - 1.0).abs() < 0.01, "{side}: {ratio}");
        }
        assert_eq!(
            square_through(&probes[..1], 0),
            None,
            "one window tells of no border"
        );
        let straight = held(&[(64, 4_096_000), (128, 16_384_000)]);
        assert_eq!(square_through(&straight, 0), None, "no border, no square");
    }
}
