//! Protects the daemon on its worst days: a day of simulated time with everything that goes wrong in years. Files
//! dropped, overwritten, renamed and removed; disks that fill and fail, folders that go away; tiles that hang, devices
//! that are lost, pictures that kill the process; crashes, power cuts, restarts; people who pause, cancel and retry.
//! After a calm hour every picture has exactly one result, or one reason that a person can read, and nothing is left.
//!
//! The real service and the real ledger on paused time; doubles stand behind the seams for time, durable steps and the
//! network. `UPSCALED_TEST_SEED` repeats a day as far as threads allow; `fresh` makes a new one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[path = "simulation/dice.rs"]
mod dice;
mod support;
#[path = "simulation/world.rs"]
mod world;

use std::time::Duration;

use world::{Fate, World};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The calm at the end: a long queue, several scans, the longest wait before a third attempt.
const CALM: Duration = Duration::from_secs(2 * 3600);

#[test]
fn a_day_of_faults_loses_nothing_doubles_nothing_and_leaves_nothing() {
    let mut world = World::new();
    while world.elapsed() < DAY {
        let length = Duration::from_secs(world.dice.between(20 * 60, 4 * 3600));
        let fate = match world.dice.below(5) {
            0 | 1 => Fate::Stop,
            2 | 3 => Fate::Crash,
            _ => Fate::PowerCut,
        };
        world.live(length.min(DAY - world.elapsed()), fate);
    }
    world.make_peace();
    calm(&mut world);
    world.retry_everything();
    calm(&mut world);
    world.check();
}

/// Pictures that kill the process still do, so that it may take several lives.
fn calm(world: &mut World) {
    let end = world.elapsed() + CALM;
    while world.elapsed() < end {
        world.live(end - world.elapsed(), Fate::Stop);
    }
}
