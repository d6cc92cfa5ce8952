//! Protects the cut of one axis (I7): it covers, its weights sum to one, and nobody is left with a thin tail.

use proptest::prelude::*;

use super::*;

fn demands() -> impl Strategy<Value = AxisDemands> {
    (
        prop_oneof![
            (0u32..100).prop_map(|halo| (halo, 0)),
            (1u32..150).prop_map(|blend| (0, blend))
        ],
        prop_oneof![Just(0u32), Just(18)],
        prop_oneof![Just(1u32), Just(2), Just(4), Just(16)],
        1u32..64,
        prop_oneof![Just(None), (64u32..300).prop_map(Some)],
        prop_oneof![
            Just(Ratio::whole(1)),
            Just(Ratio::whole(4)),
            Just(Ratio::new(3, 2).unwrap())
        ],
    )
        .prop_map(
            |((halo_px, blend_px), crop_px, align_px, min_px, fixed_px, scale)| AxisDemands {
                halo_px,
                blend_px,
                crop_px,
                align_px,
                min_px: min_px + 2 * crop_px,
                fixed_px,
                scale,
            },
        )
}

/// At every result pixel the weights of all cores sum to one.
fn sums_to_one(axis: &Axis, from: u32, scale: Ratio) -> bool {
    let (first, end) = (scale.of(from), scale.of(axis.len));
    let mut sums = vec![0.0f32; (end - first) as usize];
    for span in &axis.spans {
        for at in 0..span.result_len {
            let weight = span.weights.as_ref().map_or(1.0, |weights| weights[at as usize]);
            sums[(span.result_start - first + at) as usize] += weight;
        }
    }
    sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5)
}

proptest! {
    /// Cores cover the axis and every window lies inside the extended picture, from whichever row on.
    #[test]
    fn i7_an_axis_is_covered(len in 1u32..5000, from_part in 0.0f64..1.0, count in 1u32..40, demands in demands()) {
        let step = demands.scale.input_step();
        let from = ((f64::from(len) * from_part) as u32).min(len - 1) / step * step;
        if let Some(axis) = Axis::cut(len, from, count, &demands) {
            prop_assert!(axis.is_sound(from, &demands));
            prop_assert!(sums_to_one(&axis, from, demands.scale));
            prop_assert!(axis.window_len >= demands.least_px());
            for span in &axis.spans {
                let footprint = u32::try_from(span.window_start + i64::from(demands.crop_px)).unwrap();
                prop_assert_eq!(footprint % demands.align_px, 0);
                if demands.fixed_px.is_none() {
                    prop_assert_eq!(span.window_len % demands.align_px, 0);
                }
            }
        }
    }

    /// One window always works, so there is always a plan when memory is no object (and the shape not fixed).
    #[test]
    fn one_window_always_covers(len in 1u32..5000, from_part in 0.0f64..1.0, demands in demands()) {
        let demands = AxisDemands { fixed_px: None, ..demands };
        let step = demands.scale.input_step();
        let from = ((f64::from(len) * from_part) as u32).min(len - 1) / step * step;
        prop_assert!(Axis::cut(len, from, 1, &demands).is_some());
    }

    /// The arithmetic finds the number that trying one after the other finds.
    #[test]
    fn the_fewest_windows_are_the_fewest(padded in 1u32..20_000, limit_px in 1u32..700, demands in demands()) {
        let tried = (1..=padded).find(|count| {
            demands.window_len(padded, *count).is_some_and(|window| window <= limit_px)
        });
        prop_assert_eq!(demands.fewest_windows(padded, limit_px), tried);
    }

    /// Without a thin tail: no core is less than a third of the longest.
    #[test]
    fn cores_are_balanced(len in 500u32..20_000, count in 2u32..20, halo_px in 0u32..40) {
        let demands = AxisDemands { halo_px, ..PLAIN };
        if let Some(axis) = Axis::cut(len, 0, count, &demands) {
            let longest = axis.spans.iter().map(|span| span.core_len).max().unwrap_or(0);
            let shortest = axis.spans.iter().map(|span| span.core_len).min().unwrap_or(0);
            prop_assert!(shortest * 3 + 2 * halo_px + 3 >= longest, "{shortest} beside {longest}");
        }
    }

    /// The reference's tiles cover the axis too, and its ramps, divided by their sum, sum to one.
    #[test]
    fn the_references_tiles_cover(len in 1u32..3000, scale in 1u32..5, tile in 40u32..600) {
        let scale = Ratio::whole(scale);
        let axis = Axis::reference(len, 0, (tile, 32), true, &AxisDemands { scale, ..PLAIN });
        prop_assert!(sums_to_one(&axis, 0, scale));
        prop_assert!(axis.spans.iter().all(|span| span.core_len <= tile && (axis.spans.len() == 1 || span.core_len > 32)));
    }
}

const PLAIN: AxisDemands = AxisDemands {
    halo_px: 21,
    blend_px: 0,
    crop_px: 0,
    align_px: 1,
    min_px: 1,
    fixed_px: None,
    scale: Ratio::whole(4),
};

#[test]
fn the_last_window_slides_inward() {
    let axis = Axis::cut(1536, 0, 3, &PLAIN).unwrap();
    assert_eq!(axis.window_len, 540);
    assert_eq!(axis.spans[2].window_start + 540, 1536);
}

#[test]
fn the_references_ragged_tails_are_where_it_has_them() {
    let tiles = |len| -> Vec<(u32, u32)> {
        Axis::reference(len, 0, (512, 32), true, &PLAIN)
            .spans
            .iter()
            .map(|span| (span.core_start, span.core_len))
            .collect()
    };
    assert_eq!(tiles(512), [(0, 512)]);
    assert_eq!(tiles(513), [(0, 512), (480, 33)]);
    assert_eq!(tiles(993), [(0, 512), (480, 512), (960, 33)]);
    assert_eq!(tiles(1024), [(0, 512), (480, 512), (960, 64)]);
}

#[test]
fn a_net_that_crops_gets_its_border_from_beyond_the_picture() {
    let demands = AxisDemands {
        halo_px: 0,
        crop_px: 18,
        align_px: 2,
        min_px: 40,
        ..PLAIN
    };
    let axis = Axis::cut(97, 0, 1, &demands).unwrap();
    assert_eq!(axis.spans[0].window_start, -18);
    assert_eq!(axis.window_len, 134);
    assert_eq!(axis.spans[0].output_start, 0);
}
