//! Protects the processor in a process that has loaded a provider as a library. A file of its own, and one test: a process
//! has one ONNX Runtime, and what it has loaded stays loaded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::PathBuf;

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::{Model, OrtUpscaler, Planes, Runtime, SessionSettings, Upscaler};
use upscaled::size::Size;

/// A session that names no provider is given one by ONNX Runtime, of whatever plug-in the process has loaded.
#[test]
#[ignore = "needs OpenVINO: make test-providers"]
fn the_processor_stays_the_processor_in_a_process_that_has_loaded_a_plug_in() {
    let runtimes = std::env::var_os("UPSCALED_TEST_RUNTIMES").map(PathBuf::from);
    let runtimes =
        runtimes.expect("UPSCALED_TEST_RUNTIMES names the fetched runtimes: run `make test-providers`");
    let runtime = Runtime::load(Some(&runtimes.join("openvino/libonnxruntime.so"))).unwrap();
    let size = Size::new(64, 64);
    let photo = support::photo(64, 64);
    let plane = |channel: usize| photo.pixels().map(move |pixel| f32::from(pixel[channel]) / 255.0);
    let planes: Vec<f32> = (0..3).flat_map(plane).collect();
    let result_on = |provider| {
        let settings = SessionSettings {
            providers: vec![provider],
            device_id: 0,
            threads: Some(2),
            precision: Precision::Auto,
            engines_dir: PathBuf::from("/nonexistent"),
            choices: ProviderChoices::default(),
        };
        let model = Model::built_in("span-x2").unwrap();
        let (mut upscaler, _) = OrtUpscaler::open(&runtime, model, settings, 1 << 30).unwrap();
        let mut result = Vec::new();
        upscaler.prepare(size, 1, 1 << 30).unwrap();
        let tile = Planes::new(&planes, size);
        upscaler
            .upscale(tile, &mut |planes| result.extend_from_slice(planes.data))
            .unwrap();
        result
    };
    let before = result_on(Provider::Cpu);
    assert_ne!(before, result_on(Provider::Openvino), "another one's arithmetic");
    assert!(
        before == result_on(Provider::Cpu),
        "the processor is another one now"
    );
}
