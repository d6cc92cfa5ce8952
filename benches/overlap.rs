//! What two runs in flight are worth: a card that exists only here, whose copies (half there, half back) take as long as
//! its compute, with one lane and with two, through the whole pipeline.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on says what it was doing"
)]
#![allow(dead_code, reason = "of the tests' nets only some are used")]

#[path = "../tests/engine/card.rs"]
mod card;
#[path = "../tests/engine/net.rs"]
mod net;
#[path = "support/verdict.rs"]
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use card::Card;
use net::{Net, Site, picture};
use upscaled::config::Tiling;
use upscaled::ratio::Ratio;
use verdict::{Verdicts, Wanted};

/// A window of 128 × 128: long beside what a processor needs to cut it and to put it together again.
const WINDOW_PX: u32 = 128;
const TIME: Duration = Duration::from_millis(30);

fn main() {
    let site = Site::new();
    let source = site.source(&picture(128 * 16, 128 * 4, 1));
    let seconds = |lanes: usize| {
        let pixels = u64::from(WINDOW_PX) * u64::from(WINDOW_PX);
        let card = Arc::new(Card::new(u64::MAX).taking(pixels, TIME, TIME));
        let mut lanes = card.run_in(&Net::nearest(Ratio::whole(1)), lanes);
        let image = site.render(&source, &mut lanes, |recipe| {
            recipe.tiling = Tiling::Exact;
            recipe.tile_px = Some(WINDOW_PX);
        });
        image.report.seconds.unwrap().total
    };
    let mut verdicts = Verdicts::default();
    let rounds: Vec<f64> = (0..3).map(|_| seconds(1) / seconds(2)).collect();
    println!("ratios of three rounds: {rounds:.2?}");
    let mut sorted = rounds;
    sorted.sort_by(f64::total_cmp);
    verdicts.check(
        "64 windows whose copies take as long as their compute: two lanes against one",
        sorted[1],
        "×",
        Wanted::AtLeast(1.8),
    );
    verdicts.finish();
}
