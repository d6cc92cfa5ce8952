//! Protects what is built of weights: for each network of tests/fixtures/models/, ONNX Runtime must make of our graph
//! what PyTorch (scripts/make-test-nets.py), or ncnn itself (scripts/make-test-ncnn.py), made of the network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::onnx::proto::ModelProto;
use upscaled::inference::{Model, OrtUpscaler, Planes, Runtime, SessionSettings, Upscaler, onnx};
use upscaled::models::{Tensor, Weights, arch, ncnn, pth, safetensors};
use upscaled::ratio::Ratio;
use upscaled::size::Size;

const BUDGET: u64 = 256 << 20;

/// Between runtimes whose sums differ in their order. The networks' outputs are about one, at most twenty.
const TOLERANCE: f32 = 1e-4;

/// A file beside each network with an `input` and the `output` of PyTorch.
const EXPECTED: &str = ".expected.safetensors";

/// The same beside an ncnn network, with the output of ncnn.
const NCNN_EXPECTED: &str = ".pictures.safetensors";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models")
}

/// The networks that have something of this kind to compare with.
fn nets(expected: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(expected).map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

fn read_safetensors(path: &Path) -> Weights {
    safetensors::read(&std::fs::read(path).unwrap()).unwrap()
}

fn weights(name: &str) -> Weights {
    let path = folder().join(format!("{name}.safetensors"));
    if path.is_file() {
        return read_safetensors(&path);
    }
    pth::read(&std::fs::read(folder().join(format!("{name}.pth"))).unwrap()).unwrap()
}

fn built_of_tensors(name: &str) -> ModelProto {
    let built = arch::build(weights(name));
    built.unwrap_or_else(|error| panic!("{name}: {error}")).model
}

fn translated_from_ncnn(name: &str) -> ModelProto {
    let [param, bin] =
        ["param", "bin"].map(|end| std::fs::read(folder().join(format!("{name}.{end}"))).unwrap());
    let read = ncnn::read(&param, &bin).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read.details.starts_with("ncnn, "), "{}", read.details);
    read.model
}

/// Rows and columns of a picture.
fn size(picture: &Tensor) -> Size {
    let [_, _, rows, columns] = picture.shape() else {
        panic!("not a picture: {:?}", picture.shape())
    };
    Size::new(*columns as u32, *rows as u32)
}

/// A model of this network. What probing would find is read off the two sizes: random weights look like no upscaler.
fn model(name: &str, graph: &ModelProto, input: &Tensor, output: &Tensor) -> Model {
    let mut model = Model::built_in("span-x4").unwrap();
    model.onnx = onnx::encode(graph).into();
    model.cpu_profile = None;
    let (from, to) = (size(input), size(output));
    assert_ne!(
        from.width, from.height,
        "the sides of {name} tell scale and crop apart"
    );
    let scale = to.width.abs_diff(to.height) / from.width.abs_diff(from.height);
    let card = &mut model.card;
    card.name = name.to_owned().into();
    card.sha256 = "".into();
    card.scale = Ratio::whole(scale);
    card.channels = input.shape()[1] as u32;
    card.border_crop_px = (from.width - to.width / scale) / 2;
    card.receptive_radius_px = None;
    card.weights_bytes = model.onnx.len() as u64;
    model
}

/// What a net of one channel is run for three times.
fn three_planes(picture: &Tensor) -> Vec<f32> {
    let values = picture.values();
    values.repeat(3 / picture.shape()[1])
}

/// The greatest difference to what is due; two tiles at once, because a graph may have the number built in.
fn difference(runtime: &Runtime, name: &str, graph: &ModelProto, expected: &str) -> f32 {
    let expected = read_safetensors(&folder().join(format!("{name}{expected}")));
    let [input, output] = ["input", "output"].map(|which| expected.get(which).unwrap());
    let settings = SessionSettings {
        providers: vec![Provider::Cpu],
        device_id: 0,
        threads: None,
        precision: Precision::Auto,
        engines_dir: PathBuf::from("/nonexistent"),
        choices: ProviderChoices::default(),
    };
    let model = model(name, graph, input, output);
    let (mut upscaler, _) =
        OrtUpscaler::open(runtime, model, settings, BUDGET).unwrap_or_else(|error| panic!("{name}: {error}"));
    let tiles = three_planes(input).repeat(2);
    let wanted = three_planes(output).repeat(2);
    let mut worst = f32::NAN;
    upscaler.prepare(size(input), 2, BUDGET).unwrap();
    let run = upscaler.upscale(Planes::batch(&tiles, size(input), 2), &mut |result| {
        assert_eq!((result.size, result.count), (size(output), 2), "{name}");
        let differences = result.data.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
        // `max` passes over NaN.
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
fn every_network_computes_what_pytorch_and_ncnn_do() {
    type Read = fn(&str) -> ModelProto;
    let kinds: [(&str, Read, usize); 2] = [
        (EXPECTED, built_of_tensors, 33),
        (NCNN_EXPECTED, translated_from_ncnn, 12),
    ];
    let runtime = support::runtime();
    for (expected, read, least) in kinds {
        let nets = nets(expected);
        assert!(nets.len() >= least, "networks are missing: {nets:?}");
        for name in nets {
            let worst = difference(&runtime, &name, &read(&name), expected);
            assert!(worst <= TOLERANCE, "{name}: {worst} apart");
        }
    }
}
