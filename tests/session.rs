//! Protects the promises of a session on the real ONNX Runtime: right shapes, a device budget that is kept,
//! and life after running out of memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::PathBuf;

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::{InferenceError, Model, OrtUpscaler, Planes, SessionSettings, Upscaler};
use upscaled::size::Size;

fn settings(providers: &[Provider]) -> SessionSettings {
    SessionSettings {
        providers: providers.to_vec(),
        device_id: 0,
        threads: None,
        precision: Precision::Auto,
        engines_dir: PathBuf::from("/nonexistent"),
        choices: ProviderChoices::default(),
    }
}

fn run(upscaler: &mut OrtUpscaler, side: u32) -> Result<Size, InferenceError> {
    let size = Size::new(side, side);
    let tile = vec![0.5; 3 * size.pixels() as usize];
    let mut seen = None;
    upscaler.upscale(Planes::new(&tile, size), &mut |result| seen = Some(result.size))?;
    Ok(seen.expect("the result was taken"))
}

/// What a hung picture is ended with, and a shutdown whose grace is over. The window takes seconds here.
fn ends_in_the_middle_of_a_run_and_goes_on(upscaler: &mut OrtUpscaler, budget: u64) {
    let size = Size::new(160, 160);
    upscaler.prepare(size, 1, budget).unwrap();
    let terminate = upscaler
        .terminator()
        .expect("ONNX Runtime can be told to end a run");
    let (started, begun) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        begun.recv().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        terminate();
    });
    started.send(()).unwrap();
    let ended = (0..1000).find_map(|_| run(upscaler, size.width).err());
    assert_eq!(ended, Some(InferenceError::Terminated));
    other.join().unwrap();
    assert_eq!(
        run(upscaler, size.width),
        Err(InferenceError::Terminated),
        "it stays ended for this picture"
    );
    upscaler.terminator();
    assert!(run(upscaler, size.width).is_ok(), "and not for the next one");
}

/// One test, because the capped arena is the process's: sessions of two tests would share it.
#[test]
fn a_session_keeps_its_budget_and_survives_running_out_of_memory() {
    let runtime = support::runtime();
    let budget = 96 << 20;
    let model = Model::built_in("span-x4").unwrap();
    let (mut upscaler, skipped) = OrtUpscaler::open(
        &runtime,
        model,
        settings(&[Provider::Tensorrt, Provider::Cuda, Provider::Cpu]),
        budget,
    )
    .unwrap();
    let reasons: Vec<_> = skipped.iter().map(|skipped| skipped.provider).collect();
    assert_eq!(reasons, [Provider::Tensorrt, Provider::Cuda], "{skipped:?}");
    assert_eq!(upscaler.place().provider, Provider::Cpu);

    upscaler.prepare(Size::new(512, 512), 1, budget).unwrap();
    let error = run(&mut upscaler, 512).unwrap_err();
    assert!(matches!(error, InferenceError::OutOfMemory(_)), "{error}");

    upscaler.prepare(Size::new(128, 128), 1, budget).unwrap();
    assert_eq!(run(&mut upscaler, 128).unwrap(), Size::new(512, 512));
    let peak = upscaler.device_peak_bytes().expect("the arena tells");
    let estimate = upscaler.profile().memory.of_window(128 * 128);
    assert!(peak <= budget);
    let ratio = estimate as f64 / peak as f64;
    assert!((0.85..1.15).contains(&ratio), "estimated {estimate}, was {peak}");

    ends_in_the_middle_of_a_run_and_goes_on(&mut upscaler, budget);

    drop(upscaler);
    // What an idle service does; what is run next is read from the file again.
    upscaled::machine::let_go_of_code(&runtime.path);
    let small = Model::built_in("span-x2").unwrap();
    let (mut upscaler, _) = OrtUpscaler::open(&runtime, small, settings(&[Provider::Cpu]), budget).unwrap();
    upscaler.prepare(Size::new(128, 128), 1, budget).unwrap();
    assert_eq!(run(&mut upscaler, 128).unwrap(), Size::new(256, 256));
    let peak = upscaler.device_peak_bytes().expect("the arena tells");
    let estimate = upscaler.profile().memory.of_window(128 * 128);
    let ratio = estimate as f64 / peak as f64;
    assert!((0.85..1.15).contains(&ratio), "estimated {estimate}, was {peak}");
}
