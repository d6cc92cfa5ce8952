//! Protects the promise that tiles cannot be seen: the result equals the whole-image output of ONNX Runtime
//! within one level of 255 at every pixel, for every built-in model and awkward sizes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::render;
use support::whole::Whole;
use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider, ProviderChoices, Recipe};
use upscaled::fs::RealFilesystem;
use upscaled::inference::{Catalogue, SessionSettings};
use upscaled::pipeline::executor::{Executor, ExecutorSettings};
use upscaled::report::RenderReport;
use upscaled::size::Size;

const SIZES: [(u32, u32); 5] = [(640, 427), (513, 300), (33, 600), (97, 89), (7, 5)];

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

fn executor(device_bytes: u64) -> Executor {
    let settings = ExecutorSettings {
        catalogue: Arc::new(Catalogue::new(Vec::new(), None, RealFilesystem::shared())),
        library: Some(support::runtime_library()),
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

/// The result of `source`.
fn render(executor: &Executor, source: &Path, model: &str, tile_px: u32) -> (image::RgbImage, RenderReport) {
    let recipe = Recipe {
        model: model.to_owned(),
        tile_px: Some(tile_px),
        ..Recipe::default()
    };
    render::render(executor, source, recipe)
}

/// The same picture in one run of a session, quantised as plainly as can be.
fn whole(session: &mut Whole, picture: &image::RgbImage) -> Vec<u8> {
    let size = Size::new(picture.width(), picture.height());
    let planes: Vec<f32> = (0..3)
        .flat_map(|plane| {
            picture
                .pixels()
                .map(move |pixel| f32::from(pixel.0[plane]) / 255.0)
        })
        .collect();
    let values = session.run(&planes, size);
    let pixels = values.len() / 3;
    (0..pixels * 3)
        .map(|index| (values[index % 3 * pixels + index / 3].clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect()
}

/// The capped arena is the process's, so the untiled results are made first and kept.
#[test]
fn tiled_equals_untiled_at_every_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for model in ["span-x2", "span-x4"] {
        let mut session = Whole::open(model);
        for (width, height) in SIZES {
            let picture = support::photo(width, height);
            let path = dir.path().join(format!("{model}-{width}x{height}.png"));
            picture.save(&path).unwrap();
            wanted.push((model, path, whole(&mut session, &picture)));
        }
    }
    let executor = executor(1 << 30);
    for (model, path, whole) in wanted {
        for tile_px in [128, 200] {
            let (result, report) = render(&executor, &path, model, tile_px);
            let worst = result
                .as_raw()
                .iter()
                .zip(&whole)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert_eq!(result.as_raw().len(), whole.len(), "{}", path.display());
            assert!(
                worst <= Some(1),
                "{} with tiles of {tile_px}: {worst:?} levels",
                path.display()
            );
            assert_eq!(report.oom_retries, 0);
        }
    }
}
