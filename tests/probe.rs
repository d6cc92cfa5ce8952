//! Protects what is said of models that somebody brings: their cards are found by running them on the real ONNX
//! Runtime, what is no upscaler is refused with the reason, and a session speaks what the card says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::inference::card::{Element, Layout, built_in};
use upscaled::inference::probe::{ProbeError, ProbeInput, probe};
use upscaled::inference::{Model, ModelCard, OrtUpscaler, Planes, SessionSettings, Upscaler};
use upscaled::ratio::Ratio;
use upscaled::size::Size;

const BUDGET: u64 = 256 << 20;

/// The capped arena is the process's: sessions on the processor take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    std::fs::read(dir.join(format!("{name}.onnx"))).unwrap()
}

fn probed(name: &str) -> Result<ModelCard, ProbeError> {
    let onnx = read(name);
    let facts = ProbeInput {
        name: name.to_owned(),
        sha256: String::new(),
        weights_bytes: onnx.len() as u64,
        half_weights: false,
        licence: "none".to_owned(),
        source: "tests".to_owned(),
    };
    probe(&support::runtime(), &onnx, facts)
}

fn open(card: ModelCard, providers: &[Provider]) -> OrtUpscaler {
    let model = Model {
        onnx: read(&card.name).into(),
        half: None,
        card,
        cpu_profile: None,
    };
    let settings = SessionSettings {
        providers: providers.to_vec(),
        device_id: 0,
        threads: None,
        precision: Precision::Auto,
        engines_dir: PathBuf::from("/nonexistent"),
        choices: ProviderChoices::default(),
    };
    OrtUpscaler::open(&support::runtime(), model, settings, BUDGET)
        .unwrap()
        .0
}

/// The result for these tiles, checked to have the promised number and size.
fn run(upscaler: &mut OrtUpscaler, data: &[f32], size: Size, count: usize) -> Vec<f32> {
    let card = upscaler.card().clone();
    let side = |len: u32| card.scale.of(len - 2 * card.border_crop_px);
    let mut values = Vec::new();
    upscaler.prepare(size, count as u32, BUDGET).unwrap();
    upscaler
        .upscale(Planes::batch(data, size, count), &mut |result| {
            assert_eq!(result.count, count);
            assert_eq!(result.size, Size::new(side(size.width), side(size.height)));
            values = result.data.to_vec();
        })
        .unwrap();
    values
}

/// A photo as planes.
fn planes(size: Size) -> Vec<f32> {
    let picture = support::photo(size.width, size.height);
    (0..3)
        .flat_map(|plane| {
            picture
                .pixels()
                .map(move |pixel| f32::from(pixel.0[plane]) / 255.0)
        })
        .collect()
}

fn greatest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_built_in_cards_say_what_probing_finds() {
    let _turn = turn();
    for model in built_in() {
        let facts = ProbeInput {
            name: model.card.name.to_string(),
            sha256: model.card.sha256.to_string(),
            weights_bytes: model.card.weights_bytes,
            half_weights: false,
            licence: model.card.licence.to_string(),
            source: model.card.source.to_string(),
        };
        let card = probe(&support::runtime(), &model.onnx, facts).unwrap();
        assert_eq!(card, model.card);
    }
}

/// What a small network's card must say. The rest is as in [`PLAIN`].
struct Expected {
    name: &'static str,
    scale: [u32; 2],
    radius: Option<u32>,
    alignment: u32,
    minimum: u32,
    batches: bool,
}

/// As most are.
const PLAIN: Expected = Expected {
    name: "plain-x2",
    scale: [2, 1],
    radius: Some(1),
    alignment: 1,
    minimum: 1,
    batches: true,
};

fn check(expected: Expected) -> ModelCard {
    let name = expected.name;
    let card = probed(name).unwrap();
    let [output, input] = expected.scale;
    assert_eq!(card.scale, Ratio::new(output, input).unwrap(), "{name}");
    assert_eq!(card.receptive_radius_px, expected.radius, "{name}");
    assert_eq!(card.alignment_px, expected.alignment, "{name}");
    assert_eq!(card.minimum_px, expected.minimum, "{name}");
    assert_eq!(card.batches, expected.batches, "{name}");
    card
}

#[test]
fn layout_channels_type_and_range_are_found() {
    let _turn = turn();
    let plain = check(PLAIN);
    let kind = |card: &ModelCard| (card.layout, card.channels, card.input_type, card.value_range);
    assert_eq!(kind(&plain), (Layout::Nchw, 3, Element::Fp32, [0.0, 1.0]));
    let cases = [
        ("nhwc-x2", 1, (Layout::Nhwc, 3, Element::Fp32, [0.0, 1.0])),
        ("grey-x2", 2, (Layout::Nchw, 1, Element::Fp32, [0.0, 1.0])),
        ("range255-x2", 1, (Layout::Nchw, 3, Element::Fp32, [0.0, 255.0])),
        ("half-x2", 1, (Layout::Nchw, 3, Element::Fp16, [0.0, 1.0])),
    ];
    for (name, radius, wanted) in cases {
        let card = check(Expected {
            name,
            radius: Some(radius),
            ..PLAIN
        });
        assert_eq!(kind(&card), wanted, "{name}");
        assert!(!card.pools_globally && card.seam_errors.is_empty(), "{name}");
    }
}

#[test]
fn scale_crop_alignment_and_fixed_shapes_are_found() {
    let _turn = turn();
    let crop = check(Expected {
        name: "crop4-even-x2",
        radius: Some(5),
        alignment: 2,
        minimum: 10,
        ..PLAIN
    });
    assert_eq!(crop.border_crop_px, 4);
    let fixed = |name| Expected {
        name,
        minimum: 64,
        batches: false,
        ..PLAIN
    };
    for name in ["fixed64-x2", "one-by-one-x2"] {
        assert_eq!(check(fixed(name)).fixed_shape, Some([64, 64]), "{name}");
    }
    // A net that pads by itself and forgets to cut runs at every size; only its multiples come out right.
    check(Expected {
        name: "silent4-x2",
        radius: Some(5),
        alignment: 4,
        minimum: 4,
        ..PLAIN
    });
    check(Expected {
        name: "times1.5",
        scale: [3, 2],
        radius: Some(3),
        alignment: 2,
        minimum: 2,
        ..PLAIN
    });
    check(Expected {
        name: "times1.33",
        scale: [4, 3],
        radius: Some(4),
        alignment: 3,
        minimum: 3,
        ..PLAIN
    });
}

#[test]
fn what_no_halo_can_contain_gets_its_seams_measured() {
    let _turn = turn();
    let pooling = check(Expected {
        name: "squeeze-x2",
        radius: None,
        ..PLAIN
    });
    assert!(pooling.pools_globally);
    assert!(!pooling.seam_errors.is_empty());
    let wide = check(Expected {
        name: "wide60-x2",
        radius: Some(60),
        ..PLAIN
    });
    assert!(!wide.pools_globally);
    let errors: Vec<(u32, f32)> = wide
        .seam_errors
        .iter()
        .map(|seam| (seam.overlap_px, seam.levels))
        .collect();
    let overlaps: Vec<u32> = errors.iter().map(|(overlap, _)| *overlap).collect();
    assert_eq!(overlaps, [16, 32, 48, 64, 96, 128], "{errors:?}");
    assert!(
        errors.is_sorted_by(|a, b| a.1 > b.1),
        "more overlap, less seam: {errors:?}"
    );
}

#[test]
fn what_is_no_upscaler_is_refused_with_the_reason() {
    let _turn = turn();
    let cases = [
        ("classifier", "its output of the shape [?, 3] is no picture"),
        ("rank3", "its input has 3 dimensions"),
        (
            "four-channels",
            "its input of the shape [?, 4, ?, ?] has neither 1 nor 3 channels",
        ),
        (
            "grey-out",
            "its output of the shape [1, 1, 64, 64] is no picture of as many channels",
        ),
        ("two-inputs", "it takes 2 inputs (x, z)"),
        ("bytes", "it takes u8 values"),
        ("quarter", "it makes 16×16 pixels of 64×64"),
        ("aspect", "it makes 256×128 pixels of 64×64"),
        ("nan", "its output holds values that are no numbers"),
        ("constant", "its output is the same everywhere"),
        (
            "unlike",
            "its output does not look like its input (correlation -1.00)",
        ),
        ("never", "it ran at none of the sizes that were tried (64, 128,"),
    ];
    for (name, why) in cases {
        let text = probed(name).unwrap_err().to_string();
        let wanted = format!("cannot use the model {name:?}: {why}");
        assert!(text.starts_with(&wanted), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    let facts = ProbeInput {
        name: "text".to_owned(),
        sha256: String::new(),
        weights_bytes: 0,
        half_weights: false,
        licence: String::new(),
        source: String::new(),
    };
    let error = probe(&support::runtime(), b"not a model", facts).unwrap_err();
    assert!(
        error.to_string().contains("ONNX Runtime cannot load it: "),
        "{error}"
    );
}

#[test]
fn whatever_a_model_speaks_the_session_gives_the_same_pixels() {
    let _turn = turn();
    let size = Size::new(48, 33);
    let tiles = [
        planes(size),
        planes(size).iter().map(|value| 1.0 - value).collect(),
    ]
    .concat();
    let wanted = run(
        &mut open(probed("plain-x2").unwrap(), &[Provider::Cpu]),
        &tiles,
        size,
        2,
    );
    // Half precision has 11 bits, and the net for 0..255 rounds to whole levels.
    let cases = [
        ("nhwc-x2", 1e-6),
        ("half-x2", 2e-3),
        ("range255-x2", 0.51 / 255.0),
    ];
    for (name, tolerance) in cases {
        let card = probed(name).unwrap();
        let got = run(&mut open(card, &[Provider::Cpu]), &tiles, size, 2);
        let worst = greatest_difference(&got, &wanted);
        assert!(worst <= tolerance, "{name}: {worst}");
    }
}

#[test]
fn a_model_of_one_channel_runs_each_colour_and_grey_only_once() {
    let _turn = turn();
    let size = Size::new(40, 24);
    let colour = planes(size);
    let mut upscaler = open(probed("grey-x2").unwrap(), &[Provider::Cpu]);
    let coloured = run(&mut upscaler, &colour, size, 1);
    let plane_len = size.pixels() as usize;
    let mut separate = Vec::new();
    for plane in colour.chunks_exact(plane_len) {
        let grey = [plane, plane, plane].concat();
        let result = run(&mut upscaler, &grey, size, 1);
        let (first, rest) = result.split_at(4 * plane_len);
        assert_eq!([first, first].concat(), rest, "grey stays grey");
        separate.extend_from_slice(first);
    }
    assert!(greatest_difference(&coloured, &separate) < 1e-6);
    // Two grey tiles at once.
    let (one, two) = (&colour[..plane_len], &colour[plane_len..2 * plane_len]);
    let both = run(&mut upscaler, &[one, one, one, two, two, two].concat(), size, 2);
    assert!(greatest_difference(&both[..4 * plane_len], &separate[..4 * plane_len]) < 1e-6);
    let second = &both[12 * plane_len..16 * plane_len];
    assert!(greatest_difference(second, &separate[4 * plane_len..8 * plane_len]) < 1e-6);
}

#[test]
fn tiles_of_a_model_that_does_not_batch_run_one_after_another() {
    let _turn = turn();
    let size = Size::new(64, 64);
    let tile = planes(size);
    let turned: Vec<f32> = tile.iter().rev().copied().collect();
    let mut upscaler = open(probed("fixed64-x2").unwrap(), &[Provider::Cpu]);
    let apart = [
        run(&mut upscaler, &tile, size, 1),
        run(&mut upscaler, &turned, size, 1),
    ]
    .concat();
    let together = run(&mut upscaler, &[tile, turned].concat(), size, 2);
    assert_eq!(together, apart);
}

#[test]
fn border_crops_come_out_as_the_card_says() {
    let _turn = turn();
    let size = Size::new(50, 34);
    let result = run(
        &mut open(probed("crop4-even-x2").unwrap(), &[Provider::Cpu]),
        &planes(size),
        size,
        1,
    );
    assert_eq!(result.len(), 3 * 84 * 52);
}

#[test]
fn a_session_stays_open_for_windows_that_are_a_little_smaller() {
    let _turn = turn();
    let mut upscaler = open(probed("plain-x2").unwrap(), &[Provider::Cpu]);
    let side = |side: u32| Size::new(side, side);
    run(&mut upscaler, &planes(side(128)), side(128), 1);
    let peak = upscaler.device_peak_bytes().expect("the arena tells");
    upscaler.prepare(side(96), 1, BUDGET).unwrap();
    assert_eq!(upscaler.device_peak_bytes(), Some(peak), "the same session");
    let reopened = |upscaler: &OrtUpscaler| upscaler.device_peak_bytes().is_none_or(|bytes| bytes < peak / 2);
    upscaler.prepare(side(64), 1, BUDGET).unwrap();
    assert!(reopened(&upscaler), "much smaller");
    for (window, batch, budget) in [
        (side(136), 1, BUDGET),
        (side(128), 2, BUDGET),
        (side(128), 1, BUDGET / 2),
    ] {
        upscaler.prepare(side(128), 1, BUDGET).unwrap();
        run(&mut upscaler, &planes(side(128)), side(128), 1);
        upscaler.prepare(window, batch, budget).unwrap();
        assert!(reopened(&upscaler), "{window} × {batch} under {budget}");
    }
}

#[test]
fn falling_back_goes_down_the_list_once_and_never_loses_the_session() {
    let _turn = turn();
    let size = Size::new(32, 32);
    let card = probed("plain-x2").unwrap();
    let mut upscaler = open(card.clone(), &[Provider::Cpu, Provider::Cuda, Provider::Cpu]);
    assert_eq!(
        upscaler.fall_back(BUDGET),
        Ok(true),
        "CUDA is not there, the processor is"
    );
    assert_eq!(upscaler.place().provider, Provider::Cpu);
    run(&mut upscaler, &planes(size), size, 1);
    assert_eq!(upscaler.fall_back(BUDGET), Ok(false), "nothing is left");
    drop(upscaler);
    let mut upscaler = open(card, &[Provider::Cpu, Provider::Cuda]);
    assert_eq!(upscaler.fall_back(BUDGET), Ok(false), "the next is not there");
    assert_eq!(upscaler.place().provider, Provider::Cpu);
    run(&mut upscaler, &planes(size), size, 1);
}
