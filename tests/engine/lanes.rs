//! Several runs in flight on a card that exists only here: the same picture, within the same memory, and no lane left
//! behind when something fails.

use std::sync::Arc;

use upscaled::config::{Recipe, Tiling};
use upscaled::inference::{InferenceError, Planes, Run, Runs, Upscaler};
use upscaled::pipeline::PipelineError;
use upscaled::size::Size;

use super::card::Card;
use super::net::{Net, Site, picture};

fn tiles_of(tiling: Tiling, tile_px: u32) -> impl Fn(&mut Recipe) {
    move |recipe| {
        recipe.tiling = tiling;
        recipe.tile_px = Some(tile_px);
        recipe.overlap_px = (tiling != Tiling::Exact).then_some(16);
    }
}

#[test]
fn two_runs_are_in_flight_and_the_picture_is_the_same() {
    let site = Site::new();
    let source = site.source(&picture(420, 300, 4));
    for (tiling, radius) in [(Tiling::Exact, 5), (Tiling::Feather, 5), (Tiling::Comfy, 5)] {
        let net = Net::blur(2, radius);
        let alone = site.render(&source, &mut net.clone(), tiles_of(tiling, 100));
        let card = Arc::new(Card::new(u64::MAX).where_runs_meet(2));
        let together = site.render(&source, &mut card.run_in(&net, 2), tiles_of(tiling, 100));
        assert_eq!(together.pixels, alone.pixels, "{tiling:?}");
    }
}

/// The budget is one for all lanes: what is planned fits, also where both hold their most at once.
#[test]
fn lanes_share_the_budget() {
    let mut site = Site::new();
    let source = site.source(&picture(900, 500, 4));
    let net = Net::blur(2, 5);
    for memory_bytes in [2_000_000, 8_000_000] {
        site.device_bytes = memory_bytes;
        let card = Arc::new(Card::new(memory_bytes).where_runs_meet(2));
        let result = site.render(&source, &mut card.run_in(&net, 2), |recipe| {
            recipe.tiling = Tiling::Exact
        });
        assert_eq!(card.refused(), 0, "a plan that does not fit");
        assert!(
            card.most_bytes() > memory_bytes / 3,
            "a plan that leaves memory idle"
        );
        let alone = site.render(&source, &mut net.clone(), |recipe| recipe.tiling = Tiling::Exact);
        assert_eq!(result.pixels, alone.pixels);
    }
}

#[test]
fn another_program_that_takes_the_cards_memory_for_a_while_costs_time_and_nothing_else() {
    let site = Site::new();
    let source = site.source(&picture(270, 1900, 9));
    let net = Net::blur(2, 5);
    let alone = site.render(&source, &mut net.clone(), tiles_of(Tiling::Exact, 130));
    // Room for two windows; between the sixth run and the thirtieth for two of a quarter, and little more.
    let window = 130 * 130 * 100 + 1000;
    let card = Arc::new(Card::new(2 * window).shared_with(6..30, 2 * window - window * 3 / 5));
    let result = site.render(&source, &mut card.run_in(&net, 2), tiles_of(Tiling::Exact, 130));
    assert_eq!(result.pixels, alone.pixels);
    assert!(card.refused() > 0);
    let history = &result.report.tile_history;
    assert!(result.report.oom_retries > 0);
    assert!(
        history.last() > history.iter().min(),
        "it never went up again: {history:?}"
    );
}

/// One step is enough where the card says what is left; halving would need two.
#[test]
fn after_memory_ran_out_the_budget_is_read_again() {
    let mut site = Site::new();
    let source = site.source(&picture(520, 900, 9));
    let net = Net::blur(2, 5);
    let memory_bytes = 4_000_000;
    let card = Arc::new(Card::new(memory_bytes).shared_with(4..1000, memory_bytes - memory_bytes / 8));
    site.device_bytes = memory_bytes;
    let asked = Arc::clone(&card);
    site.budget = Some(Box::new(move || asked.free_bytes()));
    let result = site.render(&source, &mut card.run_in(&net, 1), |recipe| {
        recipe.tiling = Tiling::Exact
    });
    assert_eq!(result.report.oom_retries, 1, "{:?}", result.report.tile_history);
    let alone = site.render(&source, &mut net.clone(), |recipe| recipe.tiling = Tiling::Exact);
    assert_eq!(result.pixels, alone.pixels);
}

#[test]
fn a_card_that_is_lost_in_the_middle_fails_the_picture_as_lost() {
    let site = Site::new();
    let source = site.source(&picture(420, 300, 4));
    let card = Arc::new(Card::new(u64::MAX).lost_from(7));
    let mut lanes = card.run_in(&Net::blur(2, 5), 2);
    let lost = site
        .try_render(&source, &mut lanes, tiles_of(Tiling::Exact, 100))
        .unwrap_err();
    assert!(lost.is_device_lost(), "{lost}");
    assert!(matches!(lost, PipelineError::Inference { .. }));
}

/// Runs of these sides, and the order in which results came.
struct Sides {
    ahead: Vec<u32>,
    came: Vec<u32>,
    returned: usize,
}

impl Runs for Sides {
    fn next(&mut self) -> Option<Run> {
        let side = self.ahead.pop()?;
        Some(Run {
            planes: vec![0.5; (side * side * 3) as usize],
            window: Size::new(side, side),
            count: 1,
        })
    }

    fn take(&mut self, results: Planes<'_>) {
        self.came.push(results.size.width / 2);
    }

    fn give_back(&mut self, _: Vec<f32>) {
        self.returned += 1;
    }
}

#[test]
fn results_come_in_order_up_to_the_first_that_fails_and_the_lanes_go_on() {
    let window = |side: u64| side * side * 100 + 1000;
    let card = Arc::new(Card::new(2 * window(60)));
    let mut lanes = card.run_in(&Net::nearest(upscaled::ratio::Ratio::whole(2)), 3);
    assert_eq!(lanes.lanes(), 3);
    lanes.prepare(Size::new(60, 60), 1, 3 * window(60)).unwrap();
    let mut sides = Sides {
        // The last one first.
        ahead: vec![24, 20, 200, 16, 60, 12, 40],
        came: Vec::new(),
        returned: 0,
    };
    let failed = lanes.upscale_all(&mut sides).unwrap_err();
    assert!(matches!(failed, InferenceError::OutOfMemory(_)));
    assert_eq!((&sides.came[..], sides.returned), (&[40, 12, 60, 16][..], 4));

    sides.ahead = vec![8, 10, 12];
    lanes.upscale_all(&mut sides).unwrap();
    assert_eq!(sides.came[4..], [12, 10, 8]);
    assert!(sides.ahead.is_empty());
}

#[test]
fn the_next_provider_is_used_alone() {
    let card = Arc::new(Card::new(u64::MAX));
    let mut lanes = card.run_in(&Net::blur(2, 1).with_another_provider(), 2);
    assert!(lanes.fall_back(1 << 20).unwrap());
    assert_eq!((lanes.lanes(), lanes.place().device.as_str()), (1, "cpu"));
    assert!(!lanes.fall_back(1 << 20).unwrap());
}
