//! How fast it is: megapixels of input a second, with one run in flight and with two.

use std::sync::Arc;
use std::time::Duration;

use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider};
use upscaled::inference::lanes::OpenLane;
use upscaled::inference::{InferenceError, Lanes, OrtUpscaler, Planes, Run, Runs, Upscaler};
use upscaled::size::Size;

use super::report::Seen;
use super::rig::{ENOUGH_BYTES, Rig, mib, planes};

const SIDE_PX: u32 = 512;

/// Long enough that the first runs do not count.
const SAMPLE: Duration = Duration::from_secs(4);

pub fn measure(rig: &Rig) -> Seen {
    let side_px = if rig.is_rehearsal { 64 } else { SIDE_PX };
    let lanes = if rig.is_rehearsal { 1 } else { 2 };
    let mut seen = vec![
        format!("Windows of {side_px} px, megapixels of input a second."),
        String::new(),
        "| model | provider | runs in | one run in flight | two | overlap | held on the device |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for model in ["span-x2", "span-x4"] {
        for provider in rig.providers() {
            for way in ways(provider) {
                let both = [1, lanes].map(|count| speed(rig, model, way, count, side_px));
                let [Ok((one, place, held)), Ok((two, _, _))] = both else {
                    let why = both
                        .into_iter()
                        .find_map(Result::err)
                        .map_or(String::new(), |error| error.to_string());
                    seen.push(format!("| {model} | {} | **{why}** | | | | |", way.name()));
                    continue;
                };
                seen.push(format!(
                    "| {model} | {} | {place} | {one:.2} | {two:.2} | {:.2}× | {} |",
                    way.name(),
                    two / one,
                    held.map_or_else(|| "?".to_owned(), mib)
                ));
            }
        }
    }
    seen
}

/// A way to run a model.
#[derive(Clone, Copy)]
struct Way {
    provider: Provider,
    precision: Precision,
    channels_last: Option<bool>,
}

impl Way {
    fn name(self) -> String {
        let order = match self.channels_last {
            None => "",
            Some(true) => ", channels last",
            Some(false) => ", planes",
        };
        format!("{} ({:?}{order})", self.provider.as_str(), self.precision)
    }
}

/// Single precision, with TF32 (`Auto`), and half; CUDA also with the other order of a pixel's channels than it takes by
/// itself, so that the figures say whether it is right.
fn ways(provider: Provider) -> Vec<Way> {
    let mut ways = Vec::new();
    for (precision, other) in [
        (Precision::Fp32, true),
        (Precision::Auto, true),
        (Precision::Fp16, false),
    ] {
        let is_cuda = provider == Provider::Cuda;
        for channels_last in [None, is_cuda.then_some(other)] {
            let way = Way {
                provider,
                precision,
                channels_last,
            };
            if channels_last.is_some() || ways.last().is_none_or(|last: &Way| last.precision != precision) {
                ways.push(way);
            }
        }
    }
    ways
}

/// Megapixels a second with so many runs in flight, the arithmetic that it took, bytes on the device.
fn speed(
    rig: &Rig,
    model: &str,
    way: Way,
    count: usize,
    side_px: u32,
) -> Result<(f64, &'static str, Option<u64>), InferenceError> {
    let (runtime, model) = (rig.runtime.clone(), rig.model(model, way.precision));
    let settings = rig.session(&[way.provider], way.precision, way.channels_last);
    let share = ENOUGH_BYTES / count as u64;
    let open: OpenLane = Arc::new(move || {
        let (upscaler, _) =
            OrtUpscaler::open_beside(&runtime, model.clone(), settings.clone(), share, ENOUGH_BYTES)?;
        Ok(Box::new(upscaler) as Box<dyn Upscaler>)
    });
    let mut lanes = Lanes::open(count, &open)?;
    let size = Size::new(side_px, side_px);
    lanes.prepare(size, 1, ENOUGH_BYTES)?;
    let clock = SystemClock::shared();
    let mut runs = Windows {
        tile: planes(side_px),
        size,
        left: 4 * count,
        spare: Vec::new(),
        done: 0,
    };
    // Kernels are chosen in the first runs.
    lanes.upscale_all(&mut runs)?;
    let begun = clock.monotonic();
    runs.done = 0;
    while clock.monotonic().since(begun) < SAMPLE {
        runs.left = 16;
        lanes.upscale_all(&mut runs)?;
    }
    let seconds = clock.monotonic().since(begun).as_secs_f64();
    let megapixels = (runs.done as u64 * size.pixels()) as f64 / 1e6;
    Ok((
        megapixels / seconds,
        lanes.place().precision,
        lanes.device_peak_bytes(),
    ))
}

/// The same window, over and over.
struct Windows {
    tile: Vec<f32>,
    size: Size,
    left: usize,
    spare: Vec<Vec<f32>>,
    done: usize,
}

impl Runs for Windows {
    fn next(&mut self) -> Option<Run> {
        self.left = self.left.checked_sub(1)?;
        let mut planes = self.spare.pop().unwrap_or_default();
        planes.clear();
        planes.extend_from_slice(&self.tile);
        Some(Run {
            planes,
            window: self.size,
            count: 1,
        })
    }

    fn take(&mut self, _: Planes<'_>) {
        self.done += 1;
    }

    fn give_back(&mut self, planes: Vec<f32>) {
        self.spare.push(planes);
    }
}
