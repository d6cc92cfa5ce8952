//! Whether memory is what was promised: what a window is estimated to need on the device against the arena's real peak,
//! and what whole processes have resident at most on pictures that are far larger than their budgets.
//!
//! `cargo bench --bench memory -- [quick] [MODEL …]`; `quick` leaves out the large pictures, which take minutes each.

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
use support::product::Product;
use support::verdict::{Verdicts, Wanted};
use support::{Words, pictures, short};
use upscaled::inference::{InferenceError, Upscaler};
use upscaled::size::Size;

const SIDES: [u32; 5] = [128, 192, 256, 384, 512];

/// Most that the arena may hold; what needs more is left out.
const DEVICE_BYTES: u64 = 2 << 30;

/// A run that would take longer is left out.
const LONGEST_RUN: Duration = Duration::from_secs(30);

/// Percent of the real peak.
const ESTIMATE: Wanted = Wanted::Within(15.0);

/// Each under `--host-memory 512MiB --device-memory 512MiB`. Weights, libraries, thread stacks and what allocators keep
/// come on top of both budgets.
const RESIDENT_GIB: Wanted = Wanted::AtMost(1.2);

struct Large {
    what: &'static str,
    model: &'static str,
    size: (u32, u32),
}

/// The first is small, and is done when the others are left out.
const PICTURES: [Large; 4] = [
    Large {
        what: "1.5 MP → 25 MP",
        model: "span-x4",
        size: (1536, 1024),
    },
    Large {
        what: "a strip of 30000×400",
        model: "span-x4",
        size: (30_000, 400),
    },
    Large {
        what: "24 MP → 384 MP",
        model: "span-x4",
        size: (6000, 4000),
    },
    Large {
        what: "100 MP → 400 MP",
        model: "span-x2",
        size: (10_000, 10_000),
    },
];

fn main() {
    let words = Words::read();
    let product = Product::new();
    let mut verdicts = Verdicts::default();
    for model in words.with_built_in() {
        if let Err(why) = estimates(&product, &model, &mut verdicts) {
            verdicts.require(format!("{}: {why}", short(&model)), false);
        }
    }
    let pictures = if words.is_quick {
        &PICTURES[..1]
    } else {
        &PICTURES[..]
    };
    for large in pictures {
        resident(&product, large, &mut verdicts);
    }
    verdicts.finish();
}

/// The table of one model: estimate and peak for square windows.
fn estimates(product: &Product, model: &str, verdicts: &mut Verdicts) -> Result<(), String> {
    let mut bare = Bare::open(model, &product.state_dir(), DEVICE_BYTES)?;
    let card = bare.session.card().clone();
    let mut speed = None;
    let mut worst: Option<f64> = None;
    println!(
        "\n{}\n{:>8} {:>14} {:>14} {:>8} {:>8}",
        short(model),
        "window",
        "estimate",
        "peak",
        "off",
        "seconds"
    );
    for side in SIDES.map(|side| side.next_multiple_of(card.alignment_px.max(1))) {
        let window = Size::new(side, side);
        if card.fixed_shape.is_some_and(|fixed| fixed != [side, side]) {
            continue;
        }
        let estimate = bare.session.profile().memory.of_window(window.pixels());
        let expected = speed.map(|per_pixel: f64| per_pixel * window.pixels() as f64);
        if expected.is_some_and(|seconds| seconds > LONGEST_RUN.as_secs_f64()) {
            println!(
                "{side:>8} {estimate:>14} left out: a run would take {:.0} s",
                expected.unwrap_or_default()
            );
            continue;
        }
        let took = match bare
            .prepare(window, 1)
            .and_then(|planes| bare.once(&planes, window, 1))
        {
            Ok(took) => took.as_secs_f64(),
            Err(InferenceError::OutOfMemory(_)) => {
                println!("{side:>8} {estimate:>14} left out: needs more than {DEVICE_BYTES}");
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        speed = Some(took / window.pixels() as f64);
        let peak = bare
            .session
            .device_peak_bytes()
            .ok_or("the device does not tell its peak")?;
        let off = (estimate as f64 / peak as f64 - 1.0) * 100.0;
        println!("{side:>8} {estimate:>14} {peak:>14} {off:>+7.1}% {took:>8.2}");
        worst = worst
            .map(|worst| if off.abs() > worst.abs() { off } else { worst })
            .or(Some(off));
    }
    let worst = worst.ok_or("no window could be measured")?;
    verdicts.check(
        format!("{}, estimate over the arena's peak", short(model)),
        worst,
        " %",
        ESTIMATE,
    );
    Ok(())
}

/// A whole process on one picture, JPEG to PNG.
fn resident(product: &Product, large: &Large, verdicts: &mut Verdicts) {
    const BUDGETS: [&str; 4] = ["--host-memory", "512MiB", "--device-memory", "512MiB"];
    let Large { what, model, size } = large;
    let source = pictures::write_photo(product.dir(), *size, "jpg");
    println!("\n{model}, {what} …");
    match product.upscale_watched(model, &source, "png", &BUDGETS) {
        Ok(run) => {
            let report = &run.document().report;
            let mebibytes =
                |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| (bytes >> 20).to_string());
            println!(
                "  {:.0} s, {} windows of {}×{}, {:.3} × the pixels, {} steps down; permits {} MiB, arena {} MiB",
                run.wall.as_secs_f64(),
                run.plan().tiles,
                run.plan().tile[0],
                run.plan().tile[1],
                run.plan().computed.unwrap_or_default(),
                report.oom_retries,
                mebibytes(report.host_peak_bytes),
                mebibytes(report.device_peak_bytes)
            );
            let gibibytes = run.peak_resident_bytes as f64 / f64::from(1 << 30);
            verdicts.check(
                format!("{model}, {what}, resident at most"),
                gibibytes,
                " GiB",
                RESIDENT_GIB,
            );
            std::fs::remove_file(&run.result).expect("the result is removed");
        }
        Err(why) => verdicts.require(format!("{model}, {what}: {why}"), false),
    }
    std::fs::remove_file(&source).expect("the source is removed");
}
