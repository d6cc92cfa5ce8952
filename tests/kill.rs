//! Protects the ledger's promise against power failures, seen from outside: whenever the process dies, every source
//! ends with exactly one complete result, nothing temporary is left, and attempts are bounded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use support::site::Site;

/// How many of something: `UPSCALED_TEST_IMAGES=100 UPSCALED_TEST_KILLS=200` for a thorough run, some minutes long.
fn many(name: &str, usually: u32) -> u32 {
    let wished = std::env::var(name).ok().and_then(|text| text.parse().ok());
    wished.unwrap_or(usually)
}

/// The longest life of a process that is killed: some die before the ledger is open, most in the middle of work.
const LIFE_MAX: Duration = Duration::from_millis(1500);

/// Moments from a seed (splitmix64, Steele et al. 2014), so that a failing schedule can be run again.
struct Moments(u64);

impl Moments {
    /// `UPSCALED_TEST_SEED`, or one that is new each time; printed, and shown when the test fails.
    fn new() -> Self {
        let fresh = || u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seed = std::env::var("UPSCALED_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(fresh);
        println!("UPSCALED_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        LIFE_MAX.mul_f64((bits ^ bits >> 31) as f64 / u64::MAX as f64)
    }
}

#[test]
fn kills_leave_exactly_one_complete_result_for_each_source() {
    let (images, kills) = (many("UPSCALED_TEST_IMAGES", 30), many("UPSCALED_TEST_KILLS", 20));
    let site = Site::new("");
    let mut moments = Moments::new();
    let mut dropped = 0;
    for kill in 1..=kills {
        // A few at a time, so that there is work at every kill.
        for index in dropped..images * kill / kills {
            site.drop_photo(format!("{index:03}.png"), 64 + index, 48);
        }
        dropped = images * kill / kills;
        let daemon = site.daemon();
        std::thread::sleep(moments.next());
        daemon.kill();
    }
    // Jobs that a kill met wait a little before they are tried again; `once` says when one is left waiting.
    site.wait_for("everything is processed", || {
        (site.run(["once"]).status.code() == Some(0)).then_some(())
    });

    let wanted: Vec<PathBuf> = (0..images)
        .map(|index| PathBuf::from(format!("{index:03}_2x.png")))
        .collect();
    assert_eq!(site.results(), wanted, "one result for each, and nothing else");
    for (index, result) in (0..images).zip(&wanted) {
        let picture = image::open(site.path("out").join(result)).unwrap();
        assert_eq!((picture.width(), picture.height()), ((64 + index) * 2, 96));
    }
    let jobs = site.json(["jobs", "list", "--limit", "1000", "--json"]);
    let jobs = jobs.as_array().unwrap();
    assert_eq!(jobs.len(), images as usize);
    for job in jobs {
        assert_eq!(job["state"], "done", "{job}");
        assert!(job["attempts"].as_u64().unwrap() <= 3, "{job}");
    }
}
