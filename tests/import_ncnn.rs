//! Protects what is translated of ncnn networks: for each network of tests/fixtures/models/ncnn-* (which
//! scripts/make-test-ncnn.py makes), ONNX Runtime must make of our graph what ncnn itself made of the network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};

use upscaled::config::{Precision, Provider};
use upscaled::inference::{Model, OrtUpscaler, Planes, Runtime, SessionSettings, Upscaler, onnx};
use upscaled::models::{Tensor, ncnn, safetensors};
use upscaled::ratio::Ratio;
use upscaled::size::Size;

const BUDGET: u64 = 256 << 20;

/// Between ncnn and ONNX Runtime, whose sums differ in their order. Outputs are about one, at most twenty.
const TOLERANCE: f32 = 1e-4;

/// A file beside each network with an `input` and the `output` of ncnn.
const PICTURES: &str = ".pictures.safetensors";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models")
}

fn nets() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(PICTURES).map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Rows and columns of a picture.
fn size(picture: &Tensor) -> Size {
    let [1, 3, rows, columns] = picture.shape() else {
        panic!("not a picture: {:?}", picture.shape())
    };
    Size::new(*columns as u32, *rows as u32)
}

/// A model of this network. What probing would find is read off the two sizes: random weights look like no upscaler.
fn model(name: &str, from: Size, to: Size) -> Model {
    let [param, bin] =
        ["param", "bin"].map(|end| std::fs::read(folder().join(format!("{name}.{end}"))).unwrap());
    let imported = ncnn::read(&param, &bin).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(imported.details.starts_with("ncnn, "), "{}", imported.details);
    let mut model = Model::built_in("span-x4").unwrap();
    model.onnx = onnx::encode(&imported.model).into();
    model.cpu_profile = None;
    let scale = to.width.abs_diff(to.height) / from.width.abs_diff(from.height);
    let card = &mut model.card;
    card.name = name.to_owned().into();
    card.sha256 = "".into();
    card.scale = Ratio::whole(scale);
    card.channels = 3;
    card.border_crop_px = (from.width - to.width / scale) / 2;
    card.receptive_radius_px = None;
    card.weights_bytes = model.onnx.len() as u64;
    model
}

/// The greatest difference to what ncnn made; two tiles at once, because a graph may have the number built in.
fn difference(runtime: &Runtime, name: &str) -> f32 {
    let pictures = std::fs::read(folder().join(format!("{name}{PICTURES}"))).unwrap();
    let pictures = safetensors::read(&pictures).unwrap();
    let [input, output] = ["input", "output"].map(|which| pictures.get(which).unwrap());
    let (from, to) = (size(input), size(output));
    let settings = SessionSettings {
        providers: vec![Provider::Cpu],
        device_id: 0,
        threads: None,
        precision: Precision::Auto,
        engines_dir: PathBuf::from("/nonexistent"),
    };
    let (mut upscaler, _) = OrtUpscaler::open(runtime, model(name, from, to), settings, BUDGET)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let tiles = input.values().repeat(2);
    let wanted = output.values().repeat(2);
    let mut worst = f32::NAN;
    upscaler.prepare(from, 2, BUDGET).unwrap();
    let run = upscaler.upscale(Planes::batch(&tiles, from, 2), &mut |result| {
        assert_eq!((result.size, result.count), (to, 2), "{name}");
        let differences = result.data.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
        // `max` would pass over NaN.
        worst = differences.fold(0.0, |worst, next| {
            if next > worst || next.is_nan() {
                next
            } else {
                worst
            }
        });
    });
    run.unwrap_or_else(|error| panic!("{name}: {error}"));
    worst
}

/// One test, because the capped arena is the process's: sessions of two tests would share it.
#[test]
fn every_layer_computes_what_ncnn_does() {
    let runtime = support::runtime();
    let nets = nets();
    assert!(nets.len() >= 12, "{nets:?}");
    for name in nets {
        let worst = difference(&runtime, &name);
        assert!(worst <= TOLERANCE, "{name}: {worst} apart");
    }
}
