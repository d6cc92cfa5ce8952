//! What the product costs on top of the model: `upscaled upscale` as a whole process against a bare session, for a
//! small and a large photo, as JPEG and PNG. Speeds are told as ratios of times that were taken in turns, because
//! machines are shared and noisy: one bare measurement before each run of the product and one after it.
//!
//! `cargo bench --bench overhead -- [quick] [MODEL …] [RUNS [LARGE_RUNS]]`; `quick` leaves out the large photo.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::bare::Bare;
use support::product::{Product, Run};
use support::verdict::{Verdicts, Wanted};
use support::{BUILT_IN, Words, median, pictures, waits};
use upscaled::config::Format;
use upscaled::size::Size;

const SMALL: (u32, u32) = (1536, 1024);
const LARGE: (u32, u32) = (6000, 4000);
const FORMATS: [(&str, Format); 2] = [("jpeg", Format::Jpeg), ("png", Format::Png)];

/// What the product is given.
const DEVICE: (&str, u64) = ("1GiB", 1 << 30);

/// What the bare session is given: enough for any of the shapes, since it is the measure and not what is measured.
const BARE_DEVICE_BYTES: u64 = 4 << 30;

/// Shapes that a session might be fastest at.
const SHAPES: [(u32, u32); 8] = [
    (128, 128),
    (192, 192),
    (256, 256),
    (384, 384),
    (512, 512),
    (1024, 256),
    (1536, 192),
    (1536, 320),
];

/// Long enough for a rate, short beside a run of the product.
const BARE_SAMPLE: Duration = Duration::from_secs(3);

/// Of the large photo, as many rows tell how the threads wait for one another; a whole one would take minutes more.
const WAITS_ROWS: u32 = 1024;

const SAME_WINDOWS: Wanted = Wanted::AtLeast(0.90);
const NO_HALO: Wanted = Wanted::AtLeast(0.80);
const COMPUTED: Wanted = Wanted::AtMost(1.20);
/// Of the whole time. Not zero: handing over a band takes a moment, and another process may have the processor.
const WAITED: Wanted = Wanted::AtMost(0.01);

fn main() {
    let words = Words::read();
    let models = if words.models.is_empty() {
        BUILT_IN.map(ToOwned::to_owned).to_vec()
    } else {
        words.models.clone()
    };
    let runs = words.numbers.first().copied().unwrap_or(3).max(1);
    let large_runs = words.numbers.get(1).copied().unwrap_or(1).max(1);
    let product = Product::new();
    let mut verdicts = Verdicts::default();
    for model in &models {
        compare(&product, model, SMALL, runs, &mut verdicts);
        if !words.is_quick {
            compare(&product, model, LARGE, large_runs, &mut verdicts);
        }
    }
    verdicts.finish();
}

/// Seconds per pixel of a bare session, measured at one moment.
#[derive(Debug, Clone, Copy)]
struct BareRates {
    /// At the product's own windows.
    same: f64,
    /// At the shape that is best.
    best: f64,
}

/// What a bare session was measured at before or after some run, and at which windows.
type Known = Option<(Size, BareRates)>;

/// The product's speed over the bare session's, of each run.
#[derive(Debug, Default)]
struct Ratios {
    same: Vec<f64>,
    best: Vec<f64>,
}

fn compare(product: &Product, model: &str, size: (u32, u32), runs: usize, verdicts: &mut Verdicts) {
    let source = pictures::write_photo(product.dir(), size, "jpg");
    let mut bare = Bare::open(model, &product.state_dir(), BARE_DEVICE_BYTES).expect("the model can be used");
    let best = best_shape(&mut bare, model);
    println!(
        "\n{model} {}×{}, {runs} runs; speed over a bare session's, median (least to most), at",
        size.0, size.1
    );
    println!(
        "{:>6} {:>10} {:>6} {:>9} {:>22} {:>22} {:>8} {:>8} {:>8} {:>8}",
        "format",
        "window",
        "tiles",
        "computed",
        "the same windows",
        best.to_string(),
        "total s",
        "decode",
        "infer",
        "encode"
    );
    let mut known = None;
    for (word, format) in FORMATS {
        let (ratios, run) = in_turns(
            product,
            &mut bare,
            (model, &source, word),
            (size, runs, best),
            &mut known,
        );
        let (plan, report) = (run.plan(), &run.document().report);
        let seconds = report.seconds.expect("a picture that is done took time");
        let computed = plan.computed.expect("a picture that is done was computed");
        println!(
            "{word:>6} {:>10} {:>6} {computed:>9.3} {:>22} {:>22} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            Size::new(plan.tile[0], plan.tile[1]).to_string(),
            plan.tiles,
            spread(&ratios.same),
            spread(&ratios.best),
            seconds.total,
            seconds.decode,
            seconds.inference,
            seconds.encode,
        );
        if report.oom_retries > 0 {
            println!(
                "       {} steps down for want of memory, by way of {:?}",
                report.oom_retries, report.tile_history
            );
        }
        let what = format!("{model} {}×{} {word}", size.0, size.1);
        let same = format!("{what}, speed over a bare session's on the same windows");
        verdicts.check(same, median(ratios.same), "", SAME_WINDOWS);
        let no_halo = format!("{what}, speed over a bare session's without halo at {best}");
        verdicts.check(no_halo, median(ratios.best), "", NO_HALO);
        verdicts.check(
            format!("{what}, pixels computed for each of the source"),
            computed,
            "",
            COMPUTED,
        );
        waited(product, &mut bare, size, (&what, format), verdicts);
    }
}

/// Runs the product so many times, the bare session before and after each. The last run comes back too.
fn in_turns(
    product: &Product,
    bare: &mut Bare,
    (model, source, format): (&str, &Path, &str),
    (size, runs, best): ((u32, u32), usize, Size),
    known: &mut Known,
) -> (Ratios, Run) {
    let mut last = product_run(product, model, source, format);
    let plan = last.plan().clone();
    let window = Size::new(plan.tile[0], plan.tile[1]);
    let window_pixels = window.pixels() * plan.tiles;
    let picture_pixels = u64::from(size.0) * u64::from(size.1);
    // The first run of a small photo was to learn its windows; of a large one it is too dear to be thrown away, and
    // what was measured after the one before it stands for what would have been measured before it.
    let mut is_first_kept = size == LARGE;
    let before = known.filter(|(of, _)| is_first_kept && *of == window);
    let mut before = before.map_or_else(|| rates(bare, window, plan.batch, best), |(_, rates)| rates);
    let mut ratios = Ratios::default();
    for _ in 0..runs {
        if !std::mem::take(&mut is_first_kept) {
            last = product_run(product, model, source, format);
        }
        let after = rates(bare, window, plan.batch, best);
        let wall = last.wall.as_secs_f64();
        ratios
            .same
            .push((before.same + after.same) / 2.0 * window_pixels as f64 / wall);
        ratios
            .best
            .push((before.best + after.best) / 2.0 * picture_pixels as f64 / wall);
        before = after;
    }
    *known = Some((window, before));
    (ratios, last)
}

/// How far runs were apart tells how much the machine was at rest.
fn spread(ratios: &[f64]) -> String {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({least:.3}–{most:.3})", median(ratios.to_vec()))
}

fn product_run(product: &Product, model: &str, source: &Path, format: &str) -> Run {
    product
        .upscale(model, &[source], format, &["--device-memory", DEVICE.0])
        .expect("the photo is upscaled")
}

/// The fastest of the shapes. Found beforehand and measured anew with each run: the luckiest of many measurements
/// would make the bare session faster than it is.
fn best_shape(bare: &mut Bare, model: &str) -> Size {
    const ROUNDS: usize = 3;
    const SAMPLE: Duration = Duration::from_millis(700);
    let mut samples = vec![Vec::new(); SHAPES.len()];
    for _ in 0..ROUNDS {
        for (shape, samples) in SHAPES.iter().zip(&mut samples) {
            let window = Size::new(shape.0, shape.1);
            samples.push(bare.seconds_per_pixel(window, 1, SAMPLE).expect("the shape fits"));
        }
    }
    let rates = samples.into_iter().map(|samples| 1e-6 / median(samples));
    let measured: Vec<(Size, f64)> = SHAPES
        .iter()
        .map(|shape| Size::new(shape.0, shape.1))
        .zip(rates)
        .collect();
    println!("\n{model}: a bare session at (megapixels per second, median of {ROUNDS})");
    for (window, rate) in &measured {
        println!("{:>10} {rate:.4}", window.to_string());
    }
    let best = measured.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.expect("there are shapes").0
}

fn rates(bare: &mut Bare, window: Size, batch: u32, best: Size) -> BareRates {
    let mut rate = |window, batch| {
        bare.seconds_per_pixel(window, batch, BARE_SAMPLE)
            .expect("the windows fit")
    };
    BareRates {
        same: rate(window, batch),
        best: rate(best, 1),
    }
}

/// How much of the time the executor stood still for the encoder (or the decoder) between two bands.
fn waited(
    product: &Product,
    bare: &mut Bare,
    size: (u32, u32),
    (what, format): (&str, Format),
    verdicts: &mut Verdicts,
) {
    let source = pictures::write_photo(product.dir(), (size.0, size.1.min(WAITS_ROWS)), "jpg");
    let waits = waits::watch(bare, &source, format, DEVICE.1, product.clock());
    let share = waits.between_bands.as_secs_f64() / waits.seconds.total;
    println!(
        "       {} bands: {:.3} s between them, {:.3} s after the last; session {:.2} s, encoder {:.2} s of {:.2} s",
        waits.bands,
        waits.between_bands.as_secs_f64(),
        waits.after_the_last.as_secs_f64(),
        waits.seconds.inference,
        waits.seconds.encode,
        waits.seconds.total,
    );
    verdicts.check(
        format!("{what}, share of the time waited between bands"),
        share,
        "",
        WAITED,
    );
}
