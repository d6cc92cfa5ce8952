//! A card that somebody else fills: what a session says, and what it costs a picture.

use std::time::Duration;

use upscaled::config::{Precision, Provider};
use upscaled::inference::InferenceError;
use upscaled::machine::nvidia;

use super::hog::{Hog, free_bytes};
use super::report::Seen;
use super::rig::{ENOUGH_BYTES, Rig, mib, run};

/// What others leave: room for a small window and what CUDA takes beside it, none for a large one.
const LEFT_BYTES: u64 = 900 << 20;

/// Windows that a budget allows and a full card does not.
const LARGE_PX: u32 = 4096;
const SMALL_PX: u32 = 128;

/// A budget that has no idea.
const HOPEFUL_BYTES: u64 = 16 << 30;

/// Looks at the card, and how long between two of them: an executor that has nothing to do for three seconds gives back what
/// only runs need.
const LOOKS_MAX: u32 = 600;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the executor has given back what it does not need.
fn await_shrinking() {
    let before = free_bytes();
    for _ in 0..LOOKS_MAX {
        if free_bytes() > before {
            return;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    panic!("the executor keeps its arena");
}

pub fn out_of_memory(rig: &Rig) -> Seen {
    // CUDA's library comes with its provider.
    drop(rig.open(rig.cuda(), Precision::Fp32, "span-x4", ENOUGH_BYTES));
    // A budget that is too small is the same to a session as a card that is too full.
    let (hog, budget) = if rig.is_rehearsal {
        (None, 96 << 20)
    } else {
        (Some(Hog::leaving(LEFT_BYTES)), HOPEFUL_BYTES)
    };
    let mut upscaler = rig.open(rig.cuda(), Precision::Fp32, "span-x4", budget).unwrap();
    let error = run(&mut upscaler, LARGE_PX, budget).expect_err("there is no room for it");
    assert!(
        matches!(error, InferenceError::OutOfMemory(_)),
        "not understood: {error}"
    );
    run(&mut upscaler, SMALL_PX, budget).expect("a small window runs after that");
    let held = hog.map_or(0, |hog| hog.bytes);
    vec![
        format!(
            "{} held by somebody else; a window of {LARGE_PX} px says:",
            mib(held)
        ),
        format!("> {error}"),
        format!("A window of {SMALL_PX} px then runs in the same session."),
    ]
}

pub fn ladder(rig: &Rig) -> Seen {
    let source = rig.photo(1600, 1200);
    let (expected, _) = rig.render(&rig.executor(&[Provider::Cpu], ENOUGH_BYTES), &source, 512);
    if rig.is_rehearsal {
        return vec!["Only a card can be filled.".to_owned()];
    }
    // What a card of 8 GB has room for, twice.
    let total = nvidia::survey().map_or(0, |survey| {
        survey.devices.first().map_or(0, |gpu| gpu.total_bytes)
    });
    let tile_px = if total < 12 << 30 { 768 } else { 1024 };
    let executor = rig.executor(&[Provider::Cuda, Provider::Cpu], HOPEFUL_BYTES);
    let mut seen = vec![
        "| | out of memory | tiles tried, px | provider | greatest difference, levels |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    let mut picture = |what: &str| {
        let (found, report) = rig.render(&executor, &source, tile_px);
        let worst = found
            .iter()
            .zip(expected.iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        let plan = report.plan.as_ref().unwrap();
        seen.push(format!(
            "| {what} | {} times | {:?} | {} | {} |",
            report.oom_retries,
            report.tile_history,
            plan.provider,
            worst.unwrap()
        ));
        assert!(worst.unwrap() <= 1, "{seen:#?}");
        assert_eq!(plan.provider, "cuda", "{seen:#?}");
        report.oom_retries
    };
    // The session is open when the others come, as it is in a service, and has given back what it does not need.
    assert_eq!(picture("nobody else on the card"), 0);
    await_shrinking();
    let hog = Hog::leaving(LEFT_BYTES);
    assert!(picture("others fill it") > 0, "it was not full");
    assert_eq!(picture("and stay: what worked was learned"), 0);
    drop(hog);
    assert_eq!(picture("they are gone"), 0);
    seen
}
