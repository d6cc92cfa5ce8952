//! Protects sizes other than the model's own: applied as often as it takes, resampled to what was asked for, shrunk to
//! what is allowed, and none of it to be seen in how the picture was cut.

use super::net::{Image, Net, Picture, Site, picture};
use upscaled::config::{OnTooBig, Recipe, Scale, Tiling};
use upscaled::error::{Fault, ReasonCode};

/// A result as what the next application of a net is given.
fn picture_of(image: &Image) -> Picture {
    let plane = |plane: usize| {
        let samples = image.pixels.iter().skip(plane).step_by(3);
        samples.map(|sample| f32::from(*sample) / 65535.0).collect()
    };
    Picture {
        width: image.width,
        height: image.height,
        planes: [plane(0), plane(1), plane(2)],
    }
}

fn times(scale: f64) -> impl Fn(&mut Recipe) {
    move |recipe| recipe.scale = Scale::Times(scale)
}

#[test]
fn a_model_is_applied_as_often_as_it_takes_without_a_stop_at_eight_bits() {
    let site = Site::new();
    let start = picture(70, 53, 4);
    let source = site.source(&start);
    let once = Net::blur(2, 3).in_one_piece(&start);
    let wanted = Net::blur(2, 3).in_one_piece(&picture_of(&once));
    for (tiling, tile_px) in [
        (Tiling::None, None),
        (Tiling::Exact, Some(64)),
        (Tiling::Exact, Some(90)),
    ] {
        let result = site.render(&source, &mut Net::blur(2, 3), |recipe| {
            times(4.0)(recipe);
            recipe.tiling = tiling;
            recipe.tile_px = tile_px;
        });
        assert!(
            result.differs_by(&wanted) <= 1.0 / 65535.0,
            "{tiling:?} {tile_px:?}: {}",
            result.differs_by(&wanted)
        );
    }
}

#[test]
fn memory_that_runs_out_in_a_later_pass_costs_bands_and_no_pixel() {
    let site = Site::new();
    let source = site.source(&picture(150, 220, 4));
    let settings = |recipe: &mut Recipe| {
        times(4.0)(recipe);
        recipe.tiling = Tiling::Exact;
        recipe.tile_px = Some(128);
    };
    let calm = site.render(&source, &mut Net::blur(2, 3), settings);
    let mut net = Net::blur(2, 3).failing_above(100 * 100, 2..12);
    let result = site.render(&source, &mut net, settings);
    assert!(result.report.oom_retries > 0);
    assert_eq!(result.pixels, calm.pixels);
}

#[test]
fn every_scale_has_its_size_and_its_place() {
    let site = Site::new();
    let start = picture(97, 61, 2);
    let source = site.source(&start);
    for scale in [1.0, 1.5, 2.0, 3.0, 3.7, 5.0] {
        let whole = site.render(&source, &mut Net::blur(2, 3), |recipe| {
            times(scale)(recipe);
            recipe.tiling = Tiling::None;
        });
        let side = |side: f64| (side * scale).round() as usize;
        assert_eq!((whole.width, whole.height), (side(97.0), side(61.0)), "×{scale}");
        let tiled = site.render(&source, &mut Net::blur(2, 3), |recipe| {
            times(scale)(recipe);
            recipe.tiling = Tiling::Exact;
            recipe.tile_px = Some(64);
        });
        assert_eq!(tiled.pixels, whole.pixels, "×{scale}");
        // Nothing is shifted: the mean of each quarter is that of the source, as the net changes it.
        let model = site.render(&source, &mut Net::blur(2, 3), |recipe| {
            recipe.tiling = Tiling::None
        });
        if scale <= 2.0 {
            for (a, b) in quarters(&whole).into_iter().zip(quarters(&model)) {
                assert!((a - b).abs() < 0.01, "×{scale}: {a} and {b}");
            }
        }
    }
}

fn quarters(image: &Image) -> [f64; 4] {
    let mut sums = [(0.0, 0.0); 4];
    for (at, sample) in image.pixels.iter().enumerate() {
        let (x, y) = (at / 3 % image.width, at / 3 / image.width);
        let quarter = usize::from(2 * x >= image.width) + 2 * usize::from(2 * y >= image.height);
        sums[quarter].0 += f64::from(*sample) / 65535.0;
        sums[quarter].1 += 1.0;
    }
    sums.map(|(sum, count)| sum / count)
}

#[test]
fn a_result_that_would_be_too_big_is_made_to_fit_or_refused() {
    let site = Site::new();
    let source = site.source(&picture(120, 80, 2));
    let result = site.render(&source, &mut Net::blur(2, 3), |recipe| recipe.max_pixels = 20_000);
    let pixels = result.width * result.height;
    assert!(
        (19_000..=20_000).contains(&pixels),
        "{}×{}",
        result.width,
        result.height
    );
    assert!((result.width as f64 / result.height as f64 - 1.5).abs() < 0.02);
    let [warning] = &result.report.warnings[..] else {
        panic!("{:?}", result.report.warnings)
    };
    assert!(
        warning.contains("240×160") && warning.contains("max_pixels"),
        "{warning}"
    );

    let error = site
        .try_render(&source, &mut Net::blur(2, 3), |recipe| {
            recipe.max_pixels = 20_000;
            recipe.on_too_big = OnTooBig::Refuse;
        })
        .unwrap_err();
    let fault = Fault::from(error);
    assert_eq!(fault.reason.code, ReasonCode::TooLarge);
    assert!(
        fault.reason.message.contains("max_pixels"),
        "{}",
        fault.reason.message
    );
}

#[test]
fn a_model_that_does_not_enlarge_is_helped_out_and_that_is_told() {
    let site = Site::new();
    let source = site.source(&picture(64, 48, 2));
    let result = site.render(&source, &mut Net::blur(1, 3), times(2.0));
    assert_eq!((result.width, result.height), (128, 96));
    assert!(
        result.report.warnings[0].contains("interpolated"),
        "{:?}",
        result.report.warnings
    );
}

#[test]
fn what_passes_and_resampling_hold_is_part_of_the_host_budget() {
    let mut site = Site::new();
    let source = site.source(&picture(900, 300, 2));
    let settings = |recipe: &mut Recipe| {
        times(3.0)(recipe);
        recipe.tiling = Tiling::Exact;
    };
    let calm = site.render(&source, &mut Net::blur(2, 3), settings);
    site.host_bytes = calm.report.host_peak_bytes.unwrap() * 6 / 10;
    let tight = site.render(&source, &mut Net::blur(2, 3), settings);
    assert!(tight.report.host_peak_bytes.unwrap() <= site.host_bytes);
    assert_eq!(tight.pixels, calm.pixels);
}
