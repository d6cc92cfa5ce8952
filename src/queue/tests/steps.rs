//! What can happen to a ledger, for [`super::random`].

use proptest::prelude::*;

use super::model::PATHS;

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Path, content, whether its identity is new, priority.
    Admit(usize, u8, bool, i32),
    /// With these folders left out: blocked, or of another configuration.
    Claim(u8),
    /// With those left out whose hours are not now.
    ClaimByHours,
    /// The n-th held claim.
    Publish(usize),
    /// Published; over a stranger's result where that lies in the way.
    Done(usize, bool),
    /// Recorded as done without a word of its publishing.
    DoneTooEarly(usize),
    /// Claimed and published at once: lives that get somewhere.
    Work(bool),
    Fault(usize, u8),
    Skip(usize),
    Withdraw(usize),
    StopOnRequest(usize),
    Release(usize),
    LoseDevice(usize),
    /// The n-th job.
    Retry(usize),
    RetryAllFailed,
    Cancel(usize),
    Remove(usize),
    /// Seconds.
    Pause(Option<i64>),
    Resume,
    /// And whether interrupted results are found.
    Crash(bool),
    /// Seconds; clocks are put back, too.
    Jump(i64),
}

/// Steps in the proportion that gets lives somewhere.
pub(super) fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (claim, job) = (0..4_usize, 0..4_usize);
    prop_oneof![
        10 => (0..PATHS.len(), 0..2_u8, any::<bool>(), 0..2_i32).prop_map(|(at, c, t, p)| Admit(at, c, t, p)),
        6 => any::<bool>().prop_map(Work),
        4 => prop_oneof![4 => Just(0), 1 => 1..4_u8].prop_map(Claim),
        2 => Just(ClaimByHours),
        3 => claim.clone().prop_map(Publish),
        4 => (claim.clone(), any::<bool>()).prop_map(|(n, over)| Done(n, over)),
        1 => claim.clone().prop_map(DoneTooEarly),
        3 => (claim.clone(), 0..5_u8).prop_map(|(n, kind)| Fault(n, kind)),
        1 => claim.clone().prop_map(Skip),
        2 => claim.clone().prop_map(Withdraw),
        2 => claim.clone().prop_map(StopOnRequest),
        1 => claim.clone().prop_map(Release),
        2 => claim.prop_map(LoseDevice),
        2 => job.clone().prop_map(Retry),
        1 => Just(RetryAllFailed),
        3 => job.clone().prop_map(Cancel),
        1 => job.prop_map(Remove),
        1 => prop::option::of(-5..60_i64).prop_map(Pause),
        2 => Just(Resume),
        1 => any::<bool>().prop_map(Crash),
        3 => (-40..300_i64).prop_map(Jump),
        1 => (-100_000..100_000_i64).prop_map(Jump),
    ]
}
