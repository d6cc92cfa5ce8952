//! Protects the tiling engine behind the `Upscaler` seam, with nets whose behaviour is known exactly: tiles cannot be
//! seen, the reference's arithmetic is met to the letter, and memory that runs out costs one band and no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[path = "engine/card.rs"]
mod card;
#[path = "engine/lanes.rs"]
mod lanes;
#[path = "engine/net.rs"]
mod net;
#[path = "engine/reference.rs"]
mod reference;
#[path = "engine/scale.rs"]
mod scale;

use net::{Net, Site, picture};
use upscaled::config::{Format, Tiling};
use upscaled::error::{Fault, ReasonCode};
use upscaled::inference::Windows;
use upscaled::ratio::Ratio;
use upscaled::size::Size;

/// Any two legal plans of an exact model give the same pixels, whatever their tiles, their budget and their batch.
#[test]
fn exact_tiles_equal_untiled_for_every_plan() {
    let site = Site::new();
    for (width, height) in [(300, 200), (131, 97), (64, 301), (7, 5)] {
        let source = site.source(&picture(width, height, 7));
        let whole = site.render(&source, &mut Net::blur(2, 5), |recipe| {
            recipe.tiling = Tiling::None
        });
        for tile_px in [64, 77, 128, 250] {
            for batch in [1, 3] {
                let mut net = Net::blur(2, 5).batching(batch);
                let tiled = site.render(&source, &mut net, |recipe| {
                    recipe.tiling = Tiling::Exact;
                    recipe.tile_px = Some(tile_px);
                });
                assert_eq!(
                    tiled.pixels, whole.pixels,
                    "{width}×{height} in tiles of {tile_px}"
                );
            }
        }
    }
}

/// Alignment, a minimum, one fixed shape, a cropped border and a broken scale are the planner's to satisfy.
#[test]
fn nets_with_demands_of_their_own_give_the_right_size_and_no_shift() {
    let site = Site::new();
    let nets: [fn() -> Net; 5] = [
        || Net::blur(2, 3).aligned(4).at_least(40),
        || Net::blur(4, 3).of_fixed_shape(96, 80),
        || Net::cropping(2, 9).aligned(2).at_least(40),
        || Net::cropping(1, 4),
        || Net::nearest(Ratio::new(3, 2).unwrap()).aligned(2),
    ];
    for (width, height) in [(64, 42), (97, 89), (33, 200)] {
        let source = site.source(&picture(width, height, 3));
        for net in nets {
            let wanted = net().in_one_piece(&picture(width, height, 3));
            for tile_px in [64, 100] {
                let tiled = site.render(&source, &mut net(), |recipe| {
                    recipe.tiling = Tiling::Exact;
                    recipe.tile_px = Some(tile_px).filter(|_| net().takes_any_shape());
                });
                assert_eq!((tiled.width, tiled.height), (wanted.width, wanted.height));
                assert!(
                    tiled.differs_by(&wanted) <= 1.0 / 65535.0,
                    "{width}×{height} in tiles of {tile_px}"
                );
            }
        }
    }
}

/// What is built for shapes beforehand gets no others: the net of these tests refuses them.
#[test]
fn a_place_gets_the_windows_that_it_takes_and_no_others() {
    let site = Site::new();
    for (width, height) in [(300, 200), (97, 700), (33, 20)] {
        let source = site.source(&picture(width, height, 3));
        let whole = site.render(&source, &mut Net::blur(2, 3), |recipe| {
            recipe.tiling = Tiling::None
        });
        let few = [
            (64, Windows::Within(64, 128)),
            (128, Windows::Only(Size::new(128, 128))),
        ];
        for (least_px, windows) in few {
            for tiling in [Tiling::Auto, Tiling::Exact, Tiling::Feather] {
                let mut net = Net::blur(2, 3).batching(3).taking(windows);
                let tiled = site.render(&source, &mut net, |recipe| recipe.tiling = tiling);
                assert_eq!((tiled.width, tiled.height), (whole.width, whole.height));
                // A smaller picture is extended, and the net sees that instead of an edge.
                if tiling == Tiling::Exact && width.min(height) >= least_px {
                    assert!(tiled.pixels == whole.pixels, "{width}×{height}, {windows:?}");
                }
            }
        }
    }
}

/// Equal to the reference within 1e-5 in float: the result has 16 bits, whose rounding is below that.
#[test]
fn comfy_is_the_reference_nodes_arithmetic() {
    let site = Site::new();
    // Thin tails, sizes of exactly one tile, one dimension that is not split, and pictures smaller than a tile.
    let sizes = [(64, 64), (65, 40), (113, 97), (200, 33), (161, 64), (20, 30)];
    for scale in 1..=4 {
        for (width, height) in sizes {
            let picture = picture(width, height, scale);
            let source = site.source(&picture);
            // Returns values below 0 and above 1, so that clamping before the blend shows.
            let net = || Net::blur(scale, 6).overshooting(1.6);
            let wanted = reference::tiled_scale(&mut net(), &picture, 64, 16);
            let result = site.render(&source, &mut net(), |recipe| {
                recipe.tiling = Tiling::Comfy;
                recipe.tile_px = Some(64);
                recipe.overlap_px = Some(16);
            });
            assert!(
                result.differs_by(&wanted) < 1e-5,
                "×{scale} {width}×{height}: {}",
                result.differs_by(&wanted)
            );
        }
    }
}

/// The tile and the overlap are the reference's where nobody names others.
#[test]
fn comfy_takes_tiles_of_512_and_an_overlap_of_32() {
    let site = Site::new();
    let picture = picture(993, 34, 1);
    let source = site.source(&picture);
    let wanted = reference::tiled_scale(&mut Net::blur(2, 6), &picture, 512, 32);
    let result = site.render(&source, &mut Net::blur(2, 6), |recipe| {
        recipe.tiling = Tiling::Comfy
    });
    assert!(result.differs_by(&wanted) < 1e-5);
    let plan = result.report.plan.unwrap();
    assert_eq!(
        (plan.tiling.as_str(), plan.tile, plan.overlap, plan.tiles),
        ("comfy", [512, 34], 32, 3)
    );
}

#[test]
fn feathered_tiles_of_a_net_without_context_equal_untiled() {
    let site = Site::new();
    let source = site.source(&picture(260, 190, 5));
    let whole = site.render(&source, &mut Net::blur(2, 0), |recipe| {
        recipe.tiling = Tiling::None
    });
    let feathered = site.render(&source, &mut Net::blur(2, 0), |recipe| {
        recipe.tiling = Tiling::Feather;
        recipe.tile_px = Some(80);
        recipe.overlap_px = Some(16);
    });
    assert_eq!(feathered.report.plan.as_ref().unwrap().tiling, "feather");
    assert!(
        feathered.differs_by(&whole) < 1.5 / 65535.0,
        "{}",
        feathered.differs_by(&whole)
    );
}

/// Another program takes memory in the middle of a picture and gives it back: the same pixels, at most one band of
/// work repeated for each step down, and larger windows again afterwards.
#[test]
fn memory_that_goes_and_comes_costs_one_band_for_each_step() {
    let site = Site::new();
    // Without context every way of cutting gives the same, so that what is handed from plan to plan shows.
    for (tiling, radius) in [(Tiling::Exact, 4), (Tiling::Feather, 0), (Tiling::Comfy, 0)] {
        let source = site.source(&picture(270, 1900, 9));
        let settings = |recipe: &mut upscaled::config::Recipe| {
            recipe.tiling = tiling;
            recipe.tile_px = Some(260);
            recipe.overlap_px = Some(40);
        };
        let calm = site.render(&source, &mut Net::blur(2, radius), settings);
        let mut net = Net::blur(2, radius).failing_above(140 * 140, 5..40);
        let result = site.render(&source, &mut net, settings);
        let plan = calm.report.plan.as_ref().unwrap();
        match tiling {
            Tiling::Exact => assert_eq!(result.pixels, calm.pixels),
            _ => assert!(
                result.differs_by(&calm) < 1.5 / 65535.0,
                "{}",
                result.differs_by(&calm)
            ),
        }
        let history = &result.report.tile_history;
        assert!(result.report.oom_retries > 0);
        let smallest = history.iter().min().unwrap();
        assert!(
            history.last() > Some(smallest),
            "it never went up again: {history:?}"
        );
        // Finished rows are final: what failed runs had computed of their band is all that was done twice.
        let bands_lost = u64::from(result.report.oom_retries) + 2;
        let band = 270 * u64::from(plan.tile[1]);
        assert!(
            net.wasted_pixels() <= bands_lost * band,
            "{} pixels were computed in vain",
            net.wasted_pixels()
        );
    }
}

#[test]
fn a_batch_that_does_not_fit_is_halved_before_the_window() {
    let site = Site::new();
    let source = site.source(&picture(600, 90, 2));
    let mut net = Net::blur(2, 4)
        .batching(4)
        .failing_above(2 * 110 * 110, 0..usize::MAX);
    let result = site.render(&source, &mut net, |recipe| {
        recipe.tiling = Tiling::Exact;
        recipe.tile_px = Some(110);
    });
    let plan = result.report.plan.unwrap();
    assert_eq!(result.report.oom_retries, 1);
    assert_eq!(plan.batch, 2);
}

#[test]
fn below_the_last_rung_is_the_next_provider_and_then_an_answer() {
    let site = Site::new();
    let source = site.source(&picture(300, 300, 2));
    let calm = site.render(&source, &mut Net::blur(2, 4), |recipe| {
        recipe.tiling = Tiling::Exact
    });
    let mut net = Net::blur(2, 4)
        .failing_above(0, 0..usize::MAX)
        .with_another_provider();
    let result = site.render(&source, &mut net, |recipe| recipe.tiling = Tiling::Exact);
    assert_eq!(result.pixels, calm.pixels);
    assert_eq!(result.report.plan.unwrap().provider, "cpu");
    let [told] = &result.report.warnings[..] else {
        panic!("{:?}", result.report.warnings);
    };
    assert!(
        told.starts_with("cuda could not finish the picture (out of device memory")
            && told.ends_with("; cpu does the rest"),
        "{told}"
    );

    let mut net = Net::blur(2, 4).failing_above(0, 0..usize::MAX);
    let error = site
        .try_render(&source, &mut net, |recipe| recipe.tiling = Tiling::Exact)
        .unwrap_err();
    let fault = Fault::from(error);
    assert_eq!(fault.reason.code, ReasonCode::OutOfMemory);
    assert!(
        fault.reason.message.contains("window"),
        "{}",
        fault.reason.message
    );
}

#[test]
fn a_net_that_pools_globally_runs_in_one_piece_or_says_that_it_did_not() {
    let site = Site::new();
    let source = site.source(&picture(300, 200, 2));
    let whole = site.render(&source, &mut Net::pooling(2), |recipe| {
        recipe.tiling = Tiling::Auto
    });
    assert_eq!(whole.report.plan.as_ref().unwrap().tiles, 1);
    assert!(whole.report.warnings.is_empty());

    // By the estimate, and by what the device then says.
    for mut net in [
        Net::pooling(2).costing(100_000.0),
        Net::pooling(2).failing_above(100 * 100, 0..usize::MAX),
    ] {
        let cut = site.render(&source, &mut net, |recipe| recipe.tiling = Tiling::Auto);
        assert!(cut.report.plan.as_ref().unwrap().tiles > 1);
        assert!(
            cut.report.warnings[0].contains("whole picture"),
            "{:?}",
            cut.report.warnings
        );
    }
    let mut net = Net::pooling(2).costing(100_000.0);
    let error = site
        .try_render(&source, &mut net, |recipe| recipe.tiling = Tiling::Exact)
        .unwrap_err();
    assert!(
        error.to_string().contains("sees the whole picture at once"),
        "{error}"
    );
}

/// The result is never held whole: a small budget makes lower bands, and the same pixels. A format that has to be held
/// whole is refused with the one that would work.
#[test]
fn bands_are_as_low_as_the_host_needs_them() {
    let mut site = Site::new();
    let source = site.source(&picture(500, 700, 4));
    let exact = |recipe: &mut upscaled::config::Recipe| recipe.tiling = Tiling::Exact;
    let roomy = site.render(&source, &mut Net::blur(4, 4), exact);
    site.host_bytes = 14 << 20;
    let tight = site.render(&source, &mut Net::blur(4, 4), exact);
    let (roomy_plan, tight_plan) = (roomy.report.plan.unwrap(), tight.report.plan.unwrap());
    assert!(tight_plan.tile[1] < roomy_plan.tile[1], "{:?}", tight_plan.tile);
    assert!(tight.report.host_peak_bytes.unwrap() <= site.host_bytes);
    assert_eq!(tight.pixels, roomy.pixels);

    let error = site
        .try_render(&source, &mut Net::blur(4, 4), |recipe| {
            recipe.format = Format::Webp
        })
        .unwrap_err();
    let fault = Fault::from(error);
    assert_eq!(fault.reason.code, ReasonCode::OutOfMemory);
    assert!(
        fault.reason.message.contains("format = \"png\""),
        "{}",
        fault.reason.message
    );
}

#[test]
fn what_is_not_a_number_fails_the_picture_in_every_way_of_tiling() {
    let site = Site::new();
    let source = site.source(&picture(200, 200, 2));
    for tiling in [Tiling::None, Tiling::Exact, Tiling::Feather, Tiling::Comfy] {
        let error = site
            .try_render(&source, &mut Net::blur(2, 4).returning_nan(), |recipe| {
                recipe.tiling = tiling;
                recipe.tile_px = Some(100).filter(|_| tiling != Tiling::None);
            })
            .unwrap_err();
        assert!(error.to_string().contains("not numbers"), "{error}");
    }
}
