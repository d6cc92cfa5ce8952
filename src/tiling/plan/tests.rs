//! Protects the promises of a plan: it covers, it fits, and it is the fastest of those that do.

use proptest::prelude::*;

use super::*;

const EXACT: Joint = Joint::Exact { halo_px: 21 };

fn span() -> Demands {
    Demands {
        align_px: 1,
        min_px: 1,
        crop_px: 0,
        fixed: None,
        scale: Ratio::whole(4),
        batches: true,
        memory: MemoryNeed::proportional(4_000_000, 1536.0),
        speeds: Vec::new(),
    }
}

fn limits(device_bytes: u64) -> Limits {
    Limits {
        device_bytes,
        window_side_px: u32::MAX,
        window_pixels: 512 * 512,
        run_pixels: u64::MAX,
        window_rows: u32::MAX,
        batch: 8,
    }
}

proptest! {
    /// Cores cover the picture, windows lie inside it, and no window exceeds what was allowed.
    #[test]
    fn i7_a_plan_covers_the_picture_within_its_limits(
        width in prop_oneof![1u32..4000, 4000u32..60_000], height in 1u32..4000, from_part in 0.0f64..1.0,
        device_mb in 14u64..2000, side in 64u32..1024,
        joint in prop_oneof![(0u32..24).prop_map(|halo_px| Joint::Exact { halo_px }),
                             (1u32..24).prop_map(|overlap_px| Joint::Feather { overlap_px })],
        align_px in prop_oneof![Just(1u32), Just(4), Just(16)],
        scale in prop_oneof![Just(Ratio::whole(4)), Just(Ratio::new(3, 2).unwrap())],
    ) {
        let step = scale.input_step();
        let from = ((f64::from(height) * from_part) as u32).min(height - 1) / step * step;
        let demands = Demands { align_px, scale, ..span() };
        let limits = Limits { window_side_px: side, ..limits(device_mb << 20) };
        let plan = plan(Size::new(width, height), from, joint, &demands, &limits).unwrap();
        prop_assert!(plan.columns.is_sound(0, &demands.columns(joint)));
        prop_assert!(plan.rows.is_sound(from, &demands.rows(joint)));
        prop_assert!(plan.run_bytes <= limits.device_bytes);
        prop_assert!(plan.window().pixels() <= limits.window_pixels);
        prop_assert!(plan.window().width <= side && plan.window().height <= side);
    }

    /// Nets of one fixed shape, and nets that crop: every picture can be covered.
    #[test]
    fn odd_nets_have_plans(width in 1u32..3000, height in 1u32..3000, crop_px in 0u32..20) {
        let fixed = Demands { fixed: Some(Size::new(256, 192)), ..span() };
        let plan_fixed = plan(Size::new(width, height), 0, EXACT, &fixed, &limits(1 << 30)).unwrap();
        prop_assert_eq!(plan_fixed.window(), Size::new(256, 192));
        let crops = Demands { crop_px, align_px: 2, min_px: 2 * crop_px + 2, ..span() };
        for joint in [EXACT, Joint::Feather { overlap_px: 16 }] {
            let plan = plan(Size::new(width, height), 0, joint, &crops, &limits(1 << 30)).unwrap();
            prop_assert!(plan.columns.is_sound(0, &crops.columns(joint)));
        }
    }
}

#[test]
fn little_is_computed_twice_where_memory_allows() {
    for size in [Size::new(1536, 1024), Size::new(6000, 4000)] {
        let plan = plan(size, 0, EXACT, &span(), &limits(1 << 30)).unwrap();
        let factor = plan.computed_pixels() as f64 / size.pixels() as f64;
        assert!(factor < 1.20, "{factor}");
    }
}

/// Small windows that were measured to be faster win, as far as their halo does not eat it up.
#[test]
fn the_fastest_measured_windows_win() {
    let speed = |side: u32, rate: f64| Speed {
        width: side,
        height: side,
        batch: 1,
        seconds: f64::from(side).powi(2) / rate,
    };
    let image = Size::new(4000, 3000);
    let even = plan(image, 0, EXACT, &span(), &limits(1 << 30)).unwrap();
    let demands = Demands {
        speeds: vec![speed(128, 1e6), speed(256, 1e6), speed(512, 0.5e6)],
        ..span()
    };
    let measured = plan(image, 0, EXACT, &demands, &limits(1 << 30)).unwrap();
    assert!(
        measured.window().pixels() < even.window().pixels() / 2,
        "{}",
        measured.window()
    );
    assert!(measured.window().pixels() > 128 * 128);
}

#[test]
fn tiles_are_batched_only_where_that_was_measured_to_be_faster() {
    let speed = |batch: u32, seconds: f64| Speed {
        width: 256,
        height: 256,
        batch,
        seconds,
    };
    let small = Limits {
        window_side_px: 256,
        ..limits(4 << 30)
    };
    let image = Size::new(2000, 1000);
    let batch = |speeds: Vec<Speed>| {
        plan(image, 0, EXACT, &Demands { speeds, ..span() }, &small)
            .unwrap()
            .batch
    };
    assert_eq!(batch(vec![speed(1, 1.0)]), 1);
    assert_eq!(batch(vec![speed(1, 1.0), speed(4, 3.0)]), 4);
    assert_eq!(batch(vec![speed(1, 1.0), speed(4, 4.0)]), 1);
}

#[test]
fn without_cutting_one_window_holds_the_picture_or_nothing_fits() {
    let image = Size::new(1536, 1024);
    assert_eq!(
        plan(image, 0, Joint::Whole, &span(), &limits(8 << 30))
            .unwrap()
            .tiles(),
        1
    );
    let error = plan(image, 0, Joint::Whole, &span(), &limits(1 << 30)).unwrap_err();
    assert_eq!(error.smallest, image);
}

#[test]
fn a_budget_below_the_smallest_window_is_refused_with_what_it_would_take() {
    let error = plan(Size::new(600, 400), 0, EXACT, &span(), &limits(5_000_000)).unwrap_err();
    assert_eq!(error.smallest, Size::new(64, 64));
    assert!(error.needed_bytes > error.available_bytes);
}

#[test]
fn bands_are_no_higher_than_the_host_can_hold() {
    let limits = Limits {
        window_rows: 100,
        ..limits(1 << 30)
    };
    let plan = plan(Size::new(30_000, 400), 0, EXACT, &span(), &limits).unwrap();
    assert!(plan.window().height <= 100);
}

/// The search is over counts, never over tiles (`make bench` prints how long it takes).
#[test]
fn a_gigapixel_is_no_trouble() {
    let plan = plan(Size::new(40_000, 25_000), 0, EXACT, &span(), &limits(1 << 30)).unwrap();
    assert!(plan.tiles() > 1000);
}
