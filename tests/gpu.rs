//! Protects what only a machine with an NVIDIA GPU can show: CUDA gives the processor's pixels, and keeps its
//! budget. `make test-gpu` runs it, with a GPU build of ONNX Runtime and CUDA's libraries that it fetches; everywhere else
//! it is compiled, so that it does not rot.

mod support;

use std::path::PathBuf;

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::{InferenceError, Model, OrtUpscaler, Planes, Runtime, SessionSettings, Upscaler};
use upscaled::size::Size;

const SIDE: u32 = 128;

/// Half a level of 255: what rounding can tell apart, with summation in another order allowed for.
const TOLERANCE: f32 = 0.5 / 255.0;

/// Enough for weights, a small window and what CUDA takes beside them.
const ENOUGH_BYTES: u64 = 1 << 30;

fn open(runtime: &Runtime, provider: Provider, device_bytes: u64) -> OrtUpscaler {
    let settings = SessionSettings {
        providers: vec![provider],
        device_id: 0,
        threads: None,
        // TF32 would round products to ten bits.
        precision: Precision::Fp32,
        engines_dir: PathBuf::from("/nonexistent"),
        choices: ProviderChoices::default(),
    };
    let model = Model::built_in("span-x4").expect("a built-in model");
    let (upscaler, skipped) =
        OrtUpscaler::open(runtime, model, settings, device_bytes).expect("the provider works");
    assert_eq!(upscaler.place().provider, provider, "{skipped:?}");
    upscaler
}

fn run(upscaler: &mut OrtUpscaler, side_px: u32, budget: u64) -> Result<Vec<f32>, InferenceError> {
    let size = Size::new(side_px, side_px);
    let photo = support::photo(side_px, side_px);
    let plane = |channel: usize| photo.pixels().map(move |pixel| f32::from(pixel[channel]) / 255.0);
    let tile: Vec<f32> = (0..3).flat_map(plane).collect();
    let mut result = Vec::new();
    upscaler.prepare(size, 1, budget)?;
    upscaler.upscale(Planes::new(&tile, size), &mut |planes| {
        for channel in 0..3 {
            for y in 0..planes.size.height as usize {
                result.extend_from_slice(planes.row(channel, y));
            }
        }
    })?;
    Ok(result)
}

#[test]
#[ignore = "needs an NVIDIA GPU: make test-gpu"]
fn cuda_gives_the_processors_pixels() {
    let runtime = support::runtime();
    let on_gpu = run(
        &mut open(&runtime, Provider::Cuda, ENOUGH_BYTES),
        SIDE,
        ENOUGH_BYTES,
    )
    .unwrap();
    let on_cpu = run(
        &mut open(&runtime, Provider::Cpu, ENOUGH_BYTES),
        SIDE,
        ENOUGH_BYTES,
    )
    .unwrap();
    assert_eq!(on_gpu.len(), on_cpu.len());
    let worst = on_gpu
        .iter()
        .zip(&on_cpu)
        .map(|(gpu, cpu)| (gpu - cpu).abs())
        .fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "greatest difference {worst}");
}

#[test]
#[ignore = "needs an NVIDIA GPU: make test-gpu"]
fn cuda_says_that_it_is_out_of_memory_and_goes_on_with_a_smaller_window() {
    let runtime = support::runtime();
    let budget = 96 << 20;
    let mut upscaler = open(&runtime, Provider::Cuda, budget);
    let error = run(&mut upscaler, 1024, budget).unwrap_err();
    assert!(matches!(error, InferenceError::OutOfMemory(_)), "{error}");
    run(&mut upscaler, SIDE, budget).unwrap();
}
