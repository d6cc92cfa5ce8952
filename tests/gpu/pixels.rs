//! The card's pixels beside the processor's, in every arithmetic that can be configured.

use upscaled::config::{Precision, Provider};
use upscaled::inference::Upscaler;

use super::report::Seen;
use super::rig::{ENOUGH_BYTES, Rig, run};

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
