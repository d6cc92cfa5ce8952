//! A picture through an executor and the whole pipeline, without a service around it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use upscaled::config::{Format, Recipe};
use upscaled::pipeline::executor::{Executor, Order};
use upscaled::progress::{Cancel, Progress};
use upscaled::report::RenderReport;

/// Renders a source by this recipe into a PNG of its own, and reads that.
///
/// # Panics
/// If it cannot be rendered, with what is known of it.
pub fn render(executor: &Executor, source: &Path, recipe: Recipe) -> (RgbImage, RenderReport) {
    let result = tempfile::NamedTempFile::with_suffix(".png").unwrap();
    let order = Order {
        source: source.to_owned(),
        recipe: Recipe {
            format: Format::Png,
            ..recipe
        },
        out: result.reopen().unwrap(),
        progress: Arc::new(Progress::default()),
        cancel: Cancel::default(),
    };
    let (report, rendered) = executor.render_blocking(order).expect("the executor lives");
    rendered.unwrap_or_else(|error| panic!("{error}; {report:#?}"));
    (image::open(result.path()).unwrap().to_rgb8(), report)
}
