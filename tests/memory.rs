//! Protects the promise of the device budget, with the real ONNX Runtime and its capped arena: what a window needs is
//! known, what does not fit costs steps down and no pixels, and the next picture starts where the last one ended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider, ProviderChoices, Recipe, Tiling};
use upscaled::fs::RealFilesystem;
use upscaled::inference::{Catalogue, Model, OrtUpscaler, Planes, SessionSettings, Upscaler, measure};
use upscaled::pipeline::executor::{Executor, ExecutorSettings};
use upscaled::report::RenderReport;
use upscaled::size::Size;

/// One arena for the process: the tests of this file take turns.
static ARENA: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn session() -> SessionSettings {
    SessionSettings {
        providers: vec![Provider::Cpu],
        device_id: 0,
        threads: None,
        precision: Precision::Auto,
        engines_dir: PathBuf::from("/nonexistent"),
        choices: ProviderChoices::default(),
    }
}

fn open(name: &str) -> OrtUpscaler {
    let model = Model::built_in(name).unwrap();
    OrtUpscaler::open(&support::runtime(), model, session(), 2 << 30)
        .unwrap()
        .0
}

/// A plan takes windows whose budget is what the device has: the real arena has to agree, capped at just that, for
/// shapes that were not measured as well.
#[test]
fn a_window_runs_under_the_budget_that_it_is_planned_with() {
    let _turn = ARENA.lock();
    let measured = measure::need(&mut open("span-x4"), 2 << 30, &*SystemClock::shared()).unwrap();
    let mut upscaler = open("span-x4");
    for (width, height) in [(540, 533), (1024, 128), (97, 640), (256, 256), (128, 128)] {
        let window = Size::new(width, height);
        let planes = vec![0.5; window.pixels() as usize * 3];
        for need in [upscaler.profile().memory, measured] {
            let budget = need.budget_of_window(window.pixels());
            upscaler.prepare(window, 1, budget).unwrap();
            let result = upscaler.upscale(Planes::new(&planes, window), &mut |_| {});
            assert_eq!(result, Ok(()), "{window} in {budget} bytes, {need:?}");
        }
    }
}

/// Within 15 % of the arena's real peak for squares and wide windows: what is built in, and what measuring finds.
#[test]
fn the_need_of_a_window_is_known_before_it_runs() {
    let _turn = ARENA.lock();
    for name in ["span-x2", "span-x4"] {
        let measured = measure::need(&mut open(name), 2 << 30, &*SystemClock::shared()).unwrap();
        let mut upscaler = open(name);
        // Rising, so that each gets a session of its own.
        for (width, height) in [(128, 128), (256, 256), (1024, 128), (512, 512)] {
            let window = Size::new(width, height);
            upscaler.prepare(window, 1, 2 << 30).unwrap();
            let planes = vec![0.5; window.pixels() as usize * 3];
            upscaler
                .upscale(Planes::new(&planes, window), &mut |_| {})
                .unwrap();
            let peak = upscaler.device_peak_bytes().unwrap() as f64;
            for estimate in [upscaler.profile().memory, measured] {
                let ratio = estimate.of_window(window.pixels()) as f64 / peak;
                assert!(
                    (0.85..=1.15).contains(&ratio),
                    "{name} {window}: {ratio:.3} of the peak"
                );
            }
        }
    }
}

struct Workshop {
    dir: tempfile::TempDir,
    source: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("photo.png");
        support::photo(700, 560).save(&source).unwrap();
        Self { dir, source }
    }

    fn executor(&self, device_bytes: u64) -> Executor {
        let state = vec![self.dir.path().join("state")];
        let library = Some(support::runtime_library());
        let settings = ExecutorSettings {
            catalogue: Arc::new(Catalogue::new(state, library.clone(), RealFilesystem::shared())),
            library,
            session: session(),
            warn_skipped: false,
            device_bytes: Some(device_bytes),
            host_bytes: Some(1 << 30),
            engine_builder: None,
            begins_on_cpu: true,
            unload_after: None,
        };
        let host = settings.host_budget();
        Executor::start(settings, host, SystemClock::shared()).unwrap()
    }

    fn render(&self, executor: &Executor, tiling: Tiling) -> (Vec<u8>, RenderReport) {
        let recipe = Recipe {
            model: "span-x2".to_owned(),
            tiling,
            tile_px: Some(512),
            ..Recipe::default()
        };
        let (image, report) = support::render::render(executor, &self.source, recipe);
        (image.into_raw(), report)
    }
}

/// A fifth of what a tile of 512 needs, and then a profile that promises too much: done, the same pixels, and the next
/// picture, in another process even, starts where the first one ended.
#[test]
fn a_budget_that_is_too_small_costs_steps_and_no_pixels_and_only_once() {
    let _turn = ARENA.lock();
    let workshop = Workshop::new();
    let (plenty, _) = workshop.render(&workshop.executor(2 << 30), Tiling::Exact);
    let fifth = open("span-x2").profile().memory.of_window(512 * 512) / 5;
    let executor = workshop.executor(fifth);
    for _ in 0..2 {
        let (tight, report) = workshop.render(&executor, Tiling::Exact);
        let worst = plenty.iter().zip(&tight).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{worst:?} levels");
        assert!(report.device_peak_bytes.unwrap() <= fifth);
    }
    drop(executor);

    promise_too_much(workshop.dir.path());
    let (tight, first) = workshop.render(&workshop.executor(fifth), Tiling::Exact);
    let worst = plenty.iter().zip(&tight).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(1), "{worst:?} levels");
    assert!(first.oom_retries > 0, "the arena let it pass: {first:?}");
    let (_, second) = workshop.render(&workshop.executor(fifth), Tiling::Exact);
    assert_eq!(second.oom_retries, 0, "{:?}", second.tile_history);
    assert_eq!(second.tile_history.first(), first.tile_history.last());
}

/// Writes into the kept profile that windows need a tenth of what they do.
fn promise_too_much(dir: &Path) {
    let entry = std::fs::read_dir(dir.join("state/profiles"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
    let need = &mut document["profile"]["memory"]["bytes_per_pixel"];
    *need = (need.as_f64().unwrap() / 10.0).into();
    std::fs::write(entry.path(), document.to_string()).unwrap();
}
