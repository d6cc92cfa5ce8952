//! What the product costs on top of the model: `upscaled upscale` on a 1536×1024 photo to JPEG, as a whole process,
//! against a bare session that runs the same windows (halo included) with the same threads. Medians of alternating
//! runs, because machines are shared and noisy: only the ratio means something.
//!
//! `make bench`, or `cargo bench --bench overhead -- span-x2 7` for another model and number of runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use upscaled::clock::{Clock, SystemClock};
use upscaled::config::{Precision, Provider};
use upscaled::inference::{Model, OrtUpscaler, Planes, SessionSettings, Upscaler};
use upscaled::size::Size;

const SIZE: (u32, u32) = (1536, 1024);

/// Enough for the windows that `upscale` chooses by itself on any machine.
const DEVICE_BYTES: u64 = 2 << 30;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let models = args
        .first()
        .map_or_else(|| vec!["span-x4", "span-x2"], |model| vec![model.as_str()]);
    let runs = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let source = dir.path().join("photo.jpg");
    support::photo(SIZE.0, SIZE.1)
        .save(&source)
        .expect("the photo is written");
    for model in models {
        compare(model, runs, &source);
    }
}

fn compare(model: &str, runs: usize, source: &Path) {
    let clock = SystemClock::shared();
    let windows = upscale(model, source, &*clock).1;
    let mut session = Bare::open(model, windows);
    session.run(&*clock);
    let (mut products, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        products.push(upscale(model, source, &*clock).0);
        bare.push(session.run(&*clock));
    }
    let (product, bare) = (median(products), median(bare));
    println!(
        "{model}: upscale {product:.2?}, bare session {bare:.2?} for {} windows of {}: ratio {:.3} (medians of {runs})",
        windows.count,
        windows.size,
        product.as_secs_f64() / bare.as_secs_f64()
    );
}

#[derive(Debug, Clone, Copy)]
struct Windows {
    size: Size,
    count: u64,
}

/// The whole process: start, model, decode, tiles, encode, sync, rename.
fn upscale(model: &str, source: &Path, clock: &dyn Clock) -> (Duration, Windows) {
    let out = source.with_file_name("result.jpg");
    let started = clock.monotonic();
    let output = Command::new(env!("CARGO_BIN_EXE_upscaled"))
        .args([
            "upscale",
            "--json",
            "--overwrite",
            "--ep",
            "cpu",
            "--model",
            model,
        ])
        .args(["--device-memory", "2GiB"])
        .arg(source)
        .arg("-o")
        .arg(&out)
        .env("ORT_DYLIB_PATH", support::runtime_library())
        .output()
        .expect("the binary runs");
    let took = clock.monotonic().since(started);
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a job document");
    let side = |index: usize| {
        document["plan"]["tile"][index]
            .as_u64()
            .and_then(|side| u32::try_from(side).ok())
    };
    let size = Size::new(side(0).expect("a width"), side(1).expect("a height"));
    (
        took,
        Windows {
            size,
            count: document["plan"]["tiles"].as_u64().expect("tiles"),
        },
    )
}

struct Bare {
    session: OrtUpscaler,
    windows: Windows,
    planes: Vec<f32>,
}

impl Bare {
    fn open(model: &str, windows: Windows) -> Self {
        let settings = SessionSettings {
            providers: vec![Provider::Cpu],
            device_id: 0,
            threads: None,
            precision: Precision::Auto,
            engines_dir: PathBuf::new(),
        };
        let model = Model::built_in(model).expect("a built-in model");
        let (mut session, _) =
            OrtUpscaler::open(&support::runtime(), model, settings, DEVICE_BYTES).expect("a session");
        session
            .prepare(windows.size, 1, DEVICE_BYTES)
            .expect("the windows fit");
        let picture = support::photo(windows.size.width, windows.size.height);
        let planes = (0..3)
            .flat_map(|plane| {
                picture
                    .pixels()
                    .map(move |pixel| f32::from(pixel.0[plane]) / 255.0)
            })
            .collect();
        Self {
            session,
            windows,
            planes,
        }
    }

    fn run(&mut self, clock: &dyn Clock) -> Duration {
        let started = clock.monotonic();
        for _ in 0..self.windows.count {
            let tile = Planes::new(&self.planes, self.windows.size);
            self.session
                .upscale(tile, &mut |result| {
                    std::hint::black_box(result.data[0]);
                })
                .expect("a result");
        }
        clock.monotonic().since(started)
    }
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations[durations.len() / 2]
}
