//! What becomes of colours, against values that were computed by hand.

use moxcms::{ColorProfile, ToneReprCurve, curve_from_gamma};
use proptest::prelude::*;

use super::profile::{described, encoded, inverse, times};
use super::*;
use crate::codec::layout::Channels;
use crate::codec::raw::{Alpha, Ink};

fn raw(model: Model, sample: Sample) -> RawLayout {
    RawLayout {
        model,
        alpha: Alpha::None,
        sample,
    }
}

fn with_curve(mut profile: ColorProfile, curve: ToneReprCurve) -> Vec<u8> {
    profile.cicp = None;
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    encoded(&profile).unwrap()
}

fn linear() -> ToneReprCurve {
    ToneReprCurve::Lut(Vec::new())
}

/// Converts a row, and tells the layout and the profile of what came out: 0.0 to 1.0.
fn converted(raw: RawLayout, icc: Option<Vec<u8>>, bytes: &[u8]) -> (PixelLayout, Option<Vec<u8>>, Vec<f64>) {
    let plan = Plan::new(raw, icc);
    let width = (bytes.len() / raw.bytes_per_pixel()) as u32;
    let (layout, icc) = (plan.layout, plan.icc.clone());
    let mut row = vec![0; layout.row_bytes(width)];
    Converter::new(plan, width)
        .unwrap()
        .convert(bytes, &mut row)
        .unwrap();
    let values = match layout.depth {
        Depth::Eight => row.iter().map(|byte| f64::from(*byte) / 255.0).collect(),
        Depth::Sixteen => row
            .as_chunks()
            .0
            .iter()
            .map(|pair| f64::from(u16::from_ne_bytes(*pair)) / 65_535.0)
            .collect(),
    };
    (layout, icc, values)
}

fn sixteen(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// The curve of sRGB, in double precision.
fn encode(light: f64) -> f64 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

fn decode(value: f64) -> f64 {
    if value <= 0.04045 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

/// L*a*b* of light in the primaries of a profile.
fn lab(profile: &ColorProfile, light: [f64; 3]) -> [f64; 3] {
    let xyz = times(&profile.colorant_matrix(), light);
    let [x, y, z] = [xyz[0] / 0.9642, xyz[1], xyz[2] / 0.8249].map(|value| {
        if value > 216.0 / 24_389.0 {
            value.cbrt()
        } else {
            (24_389.0 / 27.0 * value + 16.0) / 116.0
        }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// A picture with smooth colours and noise: 16-bit values, one pixel after the other.
fn photo() -> Vec<u16> {
    (0..64 * 64u32)
        .flat_map(|at| {
            let (x, y) = (at % 64, at / 64);
            let noise = at.wrapping_mul(2_654_435_761) >> 20;
            [
                x * 1000 + noise / 4,
                y * 1000 + noise / 3,
                (x + y) * 480 + noise / 2,
            ]
        })
        .map(|value| value.min(65_535) as u16)
        .collect()
}

#[test]
fn profiles_of_displays_stay_to_the_byte_and_so_do_their_pixels() {
    let srgb = ColorProfile::new_srgb;
    for icc in [
        encoded(&srgb()).unwrap(),
        encoded(&ColorProfile::new_display_p3()).unwrap(),
        encoded(&ColorProfile::new_adobe_rgb()).unwrap(),
        encoded(&ColorProfile::new_pro_photo_rgb()).unwrap(),
        encoded(&ColorProfile::new_bt2020()).unwrap(),
        with_curve(srgb(), curve_from_gamma(1.8)),
        with_curve(srgb(), curve_from_gamma(2.6)),
    ] {
        let plan = Plan::new(raw(Model::Rgb, Sample::Eight), Some(icc.clone()));
        assert!(
            plan.keeps() && plan.work_bytes(1000) == 0,
            "{:?}",
            color::description(&icc)
        );
        assert_eq!(plan.icc, Some(icc));
        assert!(plan.warnings.is_empty());
    }
}

/// libpng ignores a profile whose length is no multiple of four, and says that its white must be this one.
#[test]
fn profiles_that_are_written_here_are_such_as_other_readers_take() {
    for profile in [
        ColorProfile::new_display_p3(),
        ColorProfile::new_bt2020(),
        ColorProfile::new_gray_with_gamma(2.2),
    ] {
        for name in ["a", "bc", "def"] {
            let icc = encoded(&described(profile.clone(), name)).unwrap();
            assert_eq!(icc.len() % 4, 0);
            assert_eq!(icc[..4], (icc.len() as u32).to_be_bytes());
            assert_eq!(icc[68..80], *b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d");
            let read = ColorProfile::new_from_slice(&icc).unwrap();
            let white = read.media_white_point.unwrap();
            assert!((white.x - 0.9642).abs() < 1e-4 && (white.z - 0.8249).abs() < 1e-4);
            // What adapts makes of daylight the white of the connection space.
            if let Some(adaptation) = read.chromatic_adaptation {
                let white = times(&adaptation, [0.95046, 1.0, 1.08906]);
                for (found, wanted) in white.iter().zip([0.9642, 1.0, 0.8249]) {
                    assert!((found - wanted).abs() < 1e-3, "{white:?}");
                }
            }
        }
    }
}

#[test]
fn linear_light_gets_the_curve_of_srgb_within_its_primaries_and_sixteen_bits() {
    let source = ColorProfile::new_display_p3();
    let icc = with_curve(source.clone(), linear());
    let values = photo();
    let (layout, fitting, found) = converted(raw(Model::Rgb, Sample::Sixteen), Some(icc), &sixteen(&values));
    assert_eq!((layout.channels, layout.depth), (Channels::Rgb, Depth::Sixteen));
    for (found, stored) in found.iter().zip(&values) {
        let wanted = encode(f64::from(*stored) / 65_535.0);
        assert!(
            (found - wanted).abs() < 1.0 / 100_000.0,
            "{stored}: {found} {wanted}"
        );
    }
    // And the profile that goes along says so: nobody sees a difference.
    let fitting = ColorProfile::new_from_slice(&fitting.unwrap()).unwrap();
    let difference = |(found, stored): (&[f64], &[u16])| {
        let before = lab(&source, [0, 1, 2].map(|at| f64::from(stored[at]) / 65_535.0));
        let after = lab(&fitting, [0, 1, 2].map(|at| decode(found[at])));
        (0..3)
            .map(|at| (before[at] - after[at]).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let pixels = found.chunks_exact(3).zip(values.chunks_exact(3));
    let mean = pixels.map(difference).sum::<f64>() / (values.len() / 3) as f64;
    assert!(mean < 0.02, "{mean}");
}

#[test]
fn eight_linear_bits_and_floating_point_lose_nothing_either() {
    let icc = with_curve(ColorProfile::new_srgb(), linear());
    let bytes: Vec<u8> = (0..=255).collect();
    let (layout, fitting, found) =
        converted(raw(Model::Rgb, Sample::Eight), Some(icc.clone()), &bytes[..255]);
    assert_eq!((layout.depth, fitting), (Depth::Sixteen, None));
    for (found, stored) in found.iter().zip(bytes) {
        assert!((found - encode(f64::from(stored) / 255.0)).abs() < 1.0 / 100_000.0);
    }
    let floats = [0.0f32, 1e-5, 0.002, 0.25, 1.0, 7.0, -3.0, f32::NAN, f32::INFINITY];
    let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let (layout, _, found) = converted(raw(Model::Rgb, Sample::Float), Some(icc), &bytes);
    assert_eq!(layout.depth, Depth::Sixteen);
    let wanted = [0.0, 1e-5, 0.002, 0.25, 1.0, 1.0, 0.0, 0.0, 1.0].map(encode);
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1.0 / 100_000.0, "{found} {wanted}");
    }
}

#[test]
fn a_profile_whose_channels_are_swapped_is_converted_to_what_it_means() {
    let mut swapped = ColorProfile::new_srgb();
    swapped.cicp = None;
    let (red, green, blue) = (
        swapped.red_colorant,
        swapped.green_colorant,
        swapped.blue_colorant,
    );
    (
        swapped.red_colorant,
        swapped.green_colorant,
        swapped.blue_colorant,
    ) = (green, blue, red);
    let icc = encoded(&described(swapped, "GBR")).unwrap();
    let (layout, fitting, found) = converted(
        raw(Model::Rgb, Sample::Eight),
        Some(icc),
        &[250, 20, 100, 128, 128, 128],
    );
    assert_eq!((layout.depth, fitting), (Depth::Eight, None));
    for (found, wanted) in found.iter().zip([100.0, 250.0, 20.0, 128.0, 128.0, 128.0]) {
        assert!((found * 255.0 - wanted).abs() <= 1.0, "{found} {wanted}");
    }
}

#[test]
fn what_exceeds_srgb_becomes_the_smallest_gamut_that_holds_it() {
    for (wide, wanted) in [
        (ColorProfile::new_display_p3(), Some("Display P3")),
        (ColorProfile::new_bt2020(), Some("BT.2020 with the sRGB curve")),
        (
            ColorProfile::new_pro_photo_rgb(),
            Some("ProPhoto with the sRGB curve"),
        ),
    ] {
        let mut swapped = wide.clone();
        swapped.cicp = None;
        (swapped.red_colorant, swapped.green_colorant) = (wide.green_colorant, wide.red_colorant);
        let plan = Plan::new(raw(Model::Rgb, Sample::Sixteen), encoded(&swapped));
        assert_eq!(
            plan.icc.as_deref().and_then(color::description).as_deref(),
            wanted
        );
    }
}

#[test]
fn linear_grey_stays_grey() {
    let icc = encoded(&ColorProfile::new_gray_with_gamma(1.0)).unwrap();
    let (layout, fitting, found) = converted(raw(Model::Grey, Sample::Eight), Some(icc), &[0, 10, 128, 255]);
    assert_eq!((layout.channels, layout.depth), (Channels::Grey, Depth::Sixteen));
    for (found, stored) in found.iter().zip([0.0, 10.0, 128.0, 255.0]) {
        assert!((found - encode(stored / 255.0)).abs() < 1.0 / 50_000.0);
    }
    let fitting = fitting.unwrap();
    assert!(color::fits(&fitting, Channels::Grey));
    assert!(Plan::new(raw(Model::Grey, Sample::Eight), Some(fitting)).keeps());
}

/// A printer whose every ink takes its part of the light away, as a table of two steps: Lab in eight bits.
fn printer() -> Vec<u8> {
    let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for at in 0..9 {
        table.extend(if at % 4 == 0 { 65_536i32 } else { 0 }.to_be_bytes());
    }
    (0..4).for_each(|_| table.extend(0..=255u8));
    for corner in 0..16u8 {
        let [c, m, y, k] = [8, 4, 2, 1].map(|bit| corner & bit != 0);
        let light = if k {
            0
        } else {
            255 - 60 * u8::from(c) - 80 * u8::from(m) - 20 * u8::from(y)
        };
        let shift = |plus: bool, minus: bool| 128 + 40 * u8::from(plus && !k) - 40 * u8::from(minus && !k);
        table.extend([light, shift(m, c), shift(y, c)]);
    }
    (0..3).for_each(|_| table.extend(0..=255u8));
    let mut icc = vec![0u8; 128];
    icc[8] = 2;
    icc[12..16].copy_from_slice(b"prtr");
    icc[16..20].copy_from_slice(b"CMYK");
    icc[20..24].copy_from_slice(b"Lab ");
    icc[36..40].copy_from_slice(b"acsp");
    for (at, value) in [(68, 0xF6D6u32), (72, 0x1_0000), (76, 0xD32D)] {
        icc[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    icc.extend(1u32.to_be_bytes());
    icc.extend(b"A2B0");
    icc.extend(144u32.to_be_bytes());
    icc.extend((table.len() as u32).to_be_bytes());
    icc.extend(table);
    let length = icc.len() as u32;
    icc[..4].copy_from_slice(&length.to_be_bytes());
    icc
}

#[test]
fn ink_with_a_profile_looks_as_the_profile_says_in_all_its_orders() {
    let wanted = |l: f64, a: f64, b: f64| {
        let y = (l + 16.0) / 116.0;
        let xyz =
            [(y + a / 500.0, 0.9642), (y, 1.0), (y - b / 200.0, 0.8249)].map(|(value, white): (f64, f64)| {
                white
                    * if value > 6.0 / 29.0 {
                        value.powi(3)
                    } else {
                        3.0 * (6.0f64 / 29.0).powi(2) * (value - 4.0 / 29.0)
                    }
            });
        times(&inverse(ColorProfile::new_srgb().colorant_matrix()), xyz)
            .map(|light| 255.0 * encode(light.clamp(0.0, 1.0)))
    };
    let inks = [
        [0u8, 0, 0, 0],
        [255, 0, 0, 0],
        [0, 255, 0, 0],
        [0, 0, 255, 0],
        [255, 255, 255, 255],
    ];
    let colors = [
        wanted(100.0, 0.0, 0.0),
        wanted(195.0 / 2.55, -40.0, -40.0),
        wanted(175.0 / 2.55, 40.0, 0.0),
        wanted(235.0 / 2.55, 0.0, 40.0),
        [0.0; 3],
    ];
    let full = inks.concat();
    let none: Vec<u8> = full.iter().map(|ink| 255 - ink).collect();
    for (model, bytes) in [(Model::Cmyk(Ink::Full), full), (Model::Cmyk(Ink::None), none)] {
        let (layout, icc, found) = converted(raw(model, Sample::Eight), Some(printer()), &bytes);
        assert_eq!((layout.channels, icc), (Channels::Rgb, None));
        for (found, wanted) in found.iter().zip(colors.concat()) {
            assert!(
                // moxcms reads eight-bit tables of Lab as if they were of sixteen: 0.4 % too light.
                (found * 255.0 - wanted).abs() <= 3.0,
                "{} {wanted}",
                found * 255.0
            );
        }
    }
}

#[test]
fn ink_without_a_usable_profile_is_estimated_and_says_so() {
    let plan = Plan::new(raw(Model::Cmyk(Ink::Full), Sample::Eight), None);
    assert!(plan.warnings[0].contains("estimated"), "{:?}", plan.warnings);
    let icc = color::test_profile(b"CMYK", "Coated FOGRA39");
    let plan = Plan::new(raw(Model::Ycck, Sample::Eight), Some(icc));
    assert!(plan.warnings[0].contains("Coated FOGRA39"), "{:?}", plan.warnings);
    assert_eq!(plan.icc, None);
    let (_, _, found) = converted(
        raw(Model::Cmyk(Ink::Full), Sample::Sixteen),
        None,
        &sixteen(&[0, 13_107, 65_535, 32_768]),
    );
    let black = 1.0 - 32_768.0 / 65_535.0;
    for (found, wanted) in found.iter().zip([black, 0.8 * black, 0.0]) {
        assert!((found - wanted).abs() < 1.0 / 65_535.0);
    }
}

#[test]
fn lab_becomes_display_p3_in_all_its_codings() {
    // Red of sRGB, seen from white of D50: its place in Display P3 is known.
    let (l, a, b) = (54.29, 80.81, 69.89);
    let at = |value: f64| value.round() as u16;
    let cases = [
        (
            Sample::Eight,
            false,
            vec![at(l * 2.55) as u8, at(a + 128.0) as u8, at(b + 128.0) as u8],
            0.02,
        ),
        (
            Sample::Sixteen,
            false,
            sixteen(&[at(l * 655.35), at(a * 256.0 + 32_768.0), at(b * 256.0 + 32_768.0)]),
            0.002,
        ),
        (
            Sample::Sixteen,
            true,
            sixteen(&[at(l * 652.80), at(a * 256.0 + 32_768.0), at(b * 256.0 + 32_768.0)]),
            0.002,
        ),
    ];
    for (sample, icc, bytes, tolerance) in cases {
        let (_, profile, found) = converted(raw(Model::Lab { icc }, sample), None, &bytes);
        assert_eq!(
            profile.as_deref().and_then(color::description).as_deref(),
            Some("Display P3")
        );
        for (found, wanted) in found.iter().zip([0.9175, 0.2003, 0.1387]) {
            assert!(
                (found - wanted).abs() < tolerance,
                "{sample:?} {icc}: {found} {wanted}"
            );
        }
    }
}

#[test]
fn premultiplied_floating_point_is_divided_before_it_is_rounded() {
    let layout = RawLayout {
        model: Model::Rgb,
        alpha: Alpha::Premultiplied,
        sample: Sample::Float,
    };
    let floats = [0.001f32, 0.0005, 0.0, 0.001, 0.3, 0.3, 0.3, 0.0];
    let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let (layout, _, found) = converted(layout, None, &bytes);
    assert_eq!(layout.channels, Channels::Rgba);
    for (found, wanted) in found.iter().zip([1.0, 0.5, 0.0, 0.001, 0.3, 0.3, 0.3, 0.0]) {
        assert!((found - wanted).abs() < 1.0 / 60_000.0, "{found} {wanted}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_pixel_becomes_the_same_in_whichever_row_it_lies(
        model in prop::sample::select(vec![
            Model::Grey, Model::Rgb, Model::Cmyk(Ink::Full), Model::Cmyk(Ink::None), Model::Ycck,
            Model::YCbCr { red: 0.299, blue: 0.114 }, Model::Lab { icc: false },
        ]),
        alpha in prop::sample::select(vec![Alpha::None, Alpha::Straight, Alpha::Premultiplied]),
        sample in prop::sample::select(vec![Sample::Eight, Sample::Sixteen]),
        with_profile: bool,
        (width, height) in (1..9usize, 1..7usize),
        seed in prop::collection::vec(any::<u8>(), 9 * 7 * 10),
    ) {
        let raw = RawLayout { model, alpha, sample };
        let icc = with_profile.then(|| match model {
            Model::Grey => encoded(&ColorProfile::new_gray_with_gamma(1.0)).unwrap(),
            Model::Cmyk(_) | Model::Ycck => printer(),
            _ => with_curve(ColorProfile::new_adobe_rgb(), linear()),
        });
        let bytes = &seed[..width * height * raw.bytes_per_pixel()];
        let (_, _, whole) = converted(raw, icc.clone(), bytes);
        let rows: Vec<f64> = bytes
            .chunks_exact(width * raw.bytes_per_pixel())
            .flat_map(|row| converted(raw, icc.clone(), row).2)
            .collect();
        prop_assert_eq!(whole, rows);
    }

    #[test]
    fn a_damaged_profile_never_keeps_a_picture_from_being_read(
        at in 0..2000usize, byte: u8, cut in 130..4000usize
    ) {
        for (model, mut icc) in [
            (Model::Cmyk(Ink::Full), printer()),
            (Model::Rgb, with_curve(ColorProfile::new_adobe_rgb(), linear())),
        ] {
            let at = at % icc.len();
            icc[at] = byte;
            icc.truncate(cut);
            let plan = Plan::new(raw(model, Sample::Eight), Some(icc));
            prop_assert_eq!(plan.layout.channels, Channels::Rgb);
        }
    }
}
