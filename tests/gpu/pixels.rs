//! The card's pixels beside the processor's, in every arithmetic that can be configured.

use upscaled::config::{Precision, Provider};
use upscaled::inference::Upscaler;

use super::report::Seen;
use super::rig::{ENOUGH_BYTES, Rig, planes, run, run_planes};

const SIDE_PX: u32 = 256;

/// Most levels of 255 that a pixel may differ by: summation in another order; TF32 and TensorRT's own choice of kernels
/// round products to ten bits; half precision rounds everything to ten.
fn tolerance(provider: Provider, precision: Precision) -> f32 {
    match (provider, precision) {
        (Provider::Cuda | Provider::Cpu, Precision::Fp32) => 0.5,
        (_, Precision::Fp16) => 3.0,
        _ => 1.5,
    }
}

pub fn check(rig: &Rig) -> Seen {
    let mut seen = vec![
        "| model | provider | precision | runs in | greatest difference, levels | mean |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut worst = Vec::new();
    for model in ["span-x2", "span-x4"] {
        let mut cpu = rig
            .open(Provider::Cpu, Precision::Fp32, model, ENOUGH_BYTES)
            .unwrap();
        let expected = run(&mut cpu, SIDE_PX, ENOUGH_BYTES).unwrap();
        drop(cpu);
        for provider in rig.providers() {
            for precision in [Precision::Fp32, Precision::Auto, Precision::Fp16] {
                let mut upscaler = rig.open(provider, precision, model, ENOUGH_BYTES).unwrap();
                let found = run(&mut upscaler, SIDE_PX, ENOUGH_BYTES).unwrap();
                assert_eq!(found.len(), expected.len());
                let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() * 255.0);
                let greatest = differences.clone().fold(0.0, f32::max);
                let mean = differences.map(f64::from).sum::<f64>() / expected.len() as f64;
                seen.push(format!(
                    "| {model} | {} | {precision:?} | {} | {greatest:.3} | {mean:.4} |",
                    provider.as_str(),
                    upscaler.place().precision
                ));
                if greatest > tolerance(provider, precision) {
                    worst.push(seen.last().unwrap().clone());
                }
            }
        }
    }
    assert!(worst.is_empty(), "too far off: {worst:#?}; all: {seen:#?}");
    seen
}

/// Runs that CUDA records and repeats, beside the same runs done anew, with pixels that change.
pub fn check_graphs(rig: &Rig) -> Seen {
    let mut seen = Vec::new();
    for precision in [Precision::Fp32, Precision::Fp16] {
        let open = |graphs| {
            rig.open_with(rig.cuda(), precision, "span-x4", ENOUGH_BYTES, graphs)
                .unwrap()
        };
        let mut worst = 0.0_f32;
        let tiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|weight| {
            let mix = |value: f32| weight * value + (1.0 - weight) * (1.0 - value);
            planes(SIDE_PX).into_iter().map(mix).collect::<Vec<f32>>()
        });
        let mut anew = open(false);
        let expected: Vec<_> = tiles
            .iter()
            .map(|tile| run_planes(&mut anew, tile, SIDE_PX, ENOUGH_BYTES).unwrap())
            .collect();
        drop(anew);
        let mut repeated = open(true);
        for (tile, expected) in tiles.iter().zip(&expected) {
            let found = run_planes(&mut repeated, tile, SIDE_PX, ENOUGH_BYTES).unwrap();
            let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs() * 255.0);
            worst = differences.fold(worst, f32::max);
        }
        let is_recorded = repeated.repeats_runs();
        seen.push(format!(
            "{precision:?}: greatest difference {worst:.3} levels over {} tiles; recorded: {}.",
            tiles.len(),
            if is_recorded {
                "yes"
            } else {
                "**no** (the log says why)"
            }
        ));
        assert!(worst <= tolerance(rig.cuda(), precision), "{seen:#?}");
    }
    seen
}
