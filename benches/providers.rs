//! What OpenVINO makes of the same processor: the speed of a bare session on it over that of one on the CPU provider, in
//! turns, because machines are shared and noisy. It was 1.0 for SPAN and 1.5 for the compact net of animevideov3.
//!
//! `cargo bench --bench providers -- [quick] [MODEL …] [ROUNDS]`; with OpenVINO's plug-in beside ONNX Runtime
//! (`scripts/fetch-runtime --openvino`), or `ORT_DYLIB_PATH` naming such a place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

mod support;

use std::time::Duration;

use support::bare::Bare;
use support::verdict::{Verdicts, Wanted};
use support::{Words, median, short};
use upscaled::config::Provider;
use upscaled::inference::Upscaler;
use upscaled::size::Size;

/// Enough for either at any of the windows.
const DEVICE_BYTES: u64 = 4 << 30;

/// The windows that pictures are mostly cut into here.
const WINDOWS: [Size; 2] = [Size::new(128, 128), Size::new(256, 256)];

/// Long enough for several runs.
const SAMPLE: Duration = Duration::from_secs(2);

/// Slower than the CPU provider it should not be at what it is recommended for.
const AS_FAST: Wanted = Wanted::AtLeast(0.9);

fn main() {
    let words = Words::read();
    let models = match words.models.as_slice() {
        [] => vec!["span-x4".to_owned()],
        named => named.to_vec(),
    };
    let rounds = words
        .numbers
        .first()
        .copied()
        .unwrap_or(if words.is_quick { 3 } else { 7 });
    let state = tempfile::tempdir().expect("a directory for cards");
    let mut verdicts = Verdicts::default();
    for model in &models {
        let mut other = match Bare::open_on(Provider::Openvino, model, state.path(), DEVICE_BYTES) {
            Ok(bare) => bare,
            Err(why) => {
                println!("nothing is compared for {}: {why}", short(model));
                continue;
            }
        };
        let mut cpu = Bare::open(model, state.path(), DEVICE_BYTES).expect("the processor is always there");
        println!(
            "\n{}: {} beside {}",
            short(model),
            other.session.place().device,
            cpu.session.place().device
        );
        let windows = if words.is_quick {
            &WINDOWS[1..]
        } else {
            &WINDOWS[..]
        };
        for window in windows {
            let ratio = compare(&mut other, &mut cpu, *window, rounds);
            let what = format!(
                "{} at {window}, speed on OpenVINO over the CPU provider's",
                short(model)
            );
            verdicts.check(what, ratio, "", AS_FAST);
        }
    }
    verdicts.finish();
}

/// The middle one of the ratios of some rounds.
fn compare(other: &mut Bare, cpu: &mut Bare, window: Size, rounds: usize) -> f64 {
    let mut ratios = Vec::new();
    for _ in 0..rounds.max(1) {
        let slow = cpu.seconds_per_pixel(window, 1, SAMPLE).expect("the window fits");
        let fast = other
            .seconds_per_pixel(window, 1, SAMPLE)
            .expect("the window fits");
        println!(
            "{:>10} {:.4} Mpx/s on OpenVINO, {:.4} on the CPU provider",
            window.to_string(),
            1e-6 / fast,
            1e-6 / slow
        );
        ratios.push(slow / fast);
    }
    median(ratios)
}
