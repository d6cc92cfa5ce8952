//! Owns the waiting: which candidates there are, since when each is quiet, and when to look at it next. Half of
//! I1 (no pixel is read before the file is stable). Pure: never reads a clock or a file and never sleeps.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::fs::FileIdentity;

/// Candidates of one folder that wait at the same time, about 20 MB of paths. What does not fit is found by a scan as
/// soon as half of them are through.
pub const MAX_CANDIDATES: usize = 65_536;

/// Shortest pause before a refused candidate is looked at again, for folders with a very short settle time.
const MIN_RECHECK: Duration = Duration::from_millis(100);

/// Longest pause before a refused candidate is looked at again: the time that a finished file may have to wait
/// where no event tells of its end.
const MAX_RECHECK: Duration = Duration::from_secs(60);

/// A file that passes the name filter and has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its path below the input folder.
    pub rel: Arc<Path>,
    /// What it was when it was seen last.
    pub identity: FileIdentity,
    /// When it was first seen like that.
    pub quiet_since: Monotonic,
}

/// What an observation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Not seen before: its quiet time begins.
    Started,
    /// It changed: its quiet time begins anew.
    Restarted,
    /// As before: it goes on being quiet.
    Unchanged,
    /// There is no room; nothing is remembered.
    Full,
}

#[derive(Debug)]
struct Entry {
    identity: FileIdentity,
    quiet_since: Monotonic,
    /// When the file has been quiet long enough.
    settled_at: Monotonic,
    refusals: u32,
    /// Its key in `timers`; `None` while it is being checked.
    timer: Option<(Monotonic, u64)>,
}

/// The candidates of one folder, each with a timer of its own.
#[derive(Debug)]
pub struct Settler {
    settle: Duration,
    capacity: usize,
    entries: HashMap<Arc<Path>, Entry>,
    timers: BTreeMap<(Monotonic, u64), Arc<Path>>,
    /// Tells timers of the same moment apart and keeps them in the order of arrival.
    sequence: u64,
}

impl Settler {
    /// Candidates are due after `settle` without a change; at most [`MAX_CANDIDATES`] wait at a time.
    pub fn new(settle: Duration) -> Self {
        Self::with_capacity(settle, MAX_CANDIDATES)
    }

    /// As [`Settler::new`] with another limit.
    pub fn with_capacity(settle: Duration, capacity: usize) -> Self {
        Self {
            settle,
            capacity,
            entries: HashMap::new(),
            timers: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// How long a file must be quiet.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// Changes the quiet time for what is observed from now on.
    pub fn set_settle(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// Candidates that wait or are being checked.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The file was seen with that identity. An identity that differs starts the quiet time anew.
    pub fn observe(&mut self, rel: &Path, identity: FileIdentity, now: Monotonic) -> Observed {
        self.observe_aged(rel, identity, Duration::ZERO, now)
    }

    /// As [`Settler::observe`], for a file whose times say that it has been quiet for `age` already.
    pub fn observe_aged(
        &mut self,
        rel: &Path,
        identity: FileIdentity,
        age: Duration,
        now: Monotonic,
    ) -> Observed {
        let settled_at = now + self.settle.saturating_sub(age);
        let Some(entry) = self.entries.get_mut(rel) else {
            if self.entries.len() >= self.capacity {
                return Observed::Full;
            }
            let rel: Arc<Path> = rel.into();
            let entry = Entry {
                identity,
                quiet_since: now,
                settled_at,
                refusals: 0,
                timer: None,
            };
            self.entries.insert(Arc::clone(&rel), entry);
            self.arm(&rel, settled_at);
            return Observed::Started;
        };
        if entry.identity == identity {
            // A writer that closes its file changes nothing about it, but its event is worth another look.
            if entry.refusals > 0 && entry.timer.is_some() {
                let at = entry.settled_at.max(now);
                self.arm(rel, at);
            }
            return Observed::Unchanged;
        }
        entry.identity = identity;
        entry.quiet_since = now;
        entry.settled_at = settled_at;
        entry.refusals = 0;
        // A check that is under way ends first: the same file is never read twice at once.
        if entry.timer.is_some() {
            self.arm(rel, settled_at);
        }
        Observed::Restarted
    }

    /// The file is gone, or is nothing that is wanted any more.
    pub fn forget(&mut self, rel: &Path) {
        if let Some(timer) = self.entries.remove(rel).and_then(|entry| entry.timer) {
            self.timers.remove(&timer);
        }
    }

    /// Hands out candidates whose time has come, the longest waiting first: at most `at_most`, and none more once
    /// they come to `bytes`. Each must be given back by [`Settler::settled`] or [`Settler::refuse`] and is not
    /// handed out again before.
    pub fn due(&mut self, now: Monotonic, at_most: usize, bytes: u64) -> Vec<Candidate> {
        let mut due = Vec::new();
        let mut size: u64 = 0;
        while due.len() < at_most && size < bytes {
            let Some(first) = self.timers.first_entry().filter(|first| first.key().0 <= now) else {
                break;
            };
            let rel = first.remove();
            if let Some(entry) = self.entries.get_mut(&rel) {
                entry.timer = None;
                size = size.saturating_add(entry.identity.size);
                due.push(Candidate {
                    rel,
                    identity: entry.identity,
                    quiet_since: entry.quiet_since,
                });
            }
        }
        due
    }

    /// When [`Settler::due`] has something to hand out, at the earliest.
    pub fn next_due(&self) -> Option<Monotonic> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// The check of a candidate came to an end: it is a job now, or needs none. If the file changed meanwhile,
    /// what it is now goes on waiting.
    pub fn settled(&mut self, candidate: &Candidate) {
        match self.entries.get(&candidate.rel) {
            Some(entry) if entry.identity == candidate.identity => self.forget(&candidate.rel),
            Some(entry) => self.rearm(&candidate.rel, entry.settled_at),
            None => {}
        }
    }

    /// The check found that the candidate is not stable yet: it is due again after a pause that doubles each
    /// time, up to a minute.
    pub fn refuse(&mut self, candidate: &Candidate, now: Monotonic) {
        let Some(entry) = self.entries.get_mut(&candidate.rel) else {
            return;
        };
        let at = if entry.identity == candidate.identity {
            let pause = self.settle.max(MIN_RECHECK) * 2_u32.saturating_pow(entry.refusals.min(16));
            entry.refusals = entry.refusals.saturating_add(1);
            now + pause.min(MAX_RECHECK.max(self.settle))
        } else {
            entry.settled_at
        };
        self.rearm(&candidate.rel, at);
    }

    /// As [`Settler::arm`], unless a timer runs already: the candidate was forgotten and found again while the
    /// check of its predecessor was under way.
    fn rearm(&mut self, rel: &Path, at: Monotonic) {
        if self.entries.get(rel).is_some_and(|entry| entry.timer.is_none()) {
            self.arm(rel, at);
        }
    }

    fn arm(&mut self, rel: &Path, at: Monotonic) {
        let Some((key, _)) = self.entries.get_key_value(rel) else {
            return;
        };
        let key = Arc::clone(key);
        self.sequence += 1;
        let timer = (at, self.sequence);
        if let Some(entry) = self.entries.get_mut(rel)
            && let Some(old) = entry.timer.replace(timer)
        {
            self.timers.remove(&old);
        }
        self.timers.insert(timer, key);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn version(n: u64) -> FileIdentity {
        FileIdentity {
            dev: 1,
            ino: 1,
            size: n,
            mtime_ns: 0,
            ctime_ns: 0,
        }
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_change_starts_the_quiet_time_anew_and_timers_run_side_by_side() {
        let mut settler = Settler::new(SETTLE);
        let (a, b) = (Path::new("a"), Path::new("b"));
        assert_eq!(settler.observe(a, version(1), at(0)), Observed::Started);
        assert_eq!(settler.observe(b, version(1), at(1)), Observed::Started);
        assert_eq!(settler.observe(a, version(1), at(5)), Observed::Unchanged);
        assert_eq!(settler.observe(a, version(2), at(9)), Observed::Restarted);
        assert_eq!(settler.next_due(), Some(at(11)));
        assert_eq!(&*settler.due(at(18), 9, u64::MAX)[0].rel, b);
        assert!(settler.due(at(18), 9, u64::MAX).is_empty());
        let due = settler.due(at(19), 9, u64::MAX);
        assert_eq!((&*due[0].rel, due[0].identity), (a, version(2)));
    }

    #[test]
    fn a_file_that_changes_during_its_check_waits_again_and_is_not_lost() {
        let mut settler = Settler::new(SETTLE);
        settler.observe(Path::new("a"), version(1), at(0));
        let checked = settler.due(at(10), 1, u64::MAX).remove(0);
        settler.observe(Path::new("a"), version(2), at(12));
        assert!(
            settler.due(at(60), 1, u64::MAX).is_empty(),
            "never checked twice at once"
        );
        settler.settled(&checked);
        assert_eq!(settler.next_due(), Some(at(22)));
    }

    #[test]
    fn a_file_that_was_forgotten_and_found_again_during_its_check_keeps_one_timer() {
        let mut settler = Settler::new(SETTLE);
        settler.observe(Path::new("a"), version(1), at(0));
        let checked = settler.due(at(10), 1, u64::MAX).remove(0);
        settler.forget(Path::new("a"));
        settler.observe(Path::new("a"), version(2), at(12));
        settler.refuse(&checked, at(13));
        assert_eq!(settler.due(at(22), 9, u64::MAX).len(), 1);
        assert_eq!(settler.due(at(99), 9, u64::MAX).len(), 0);
    }

    #[test]
    fn patience_with_a_refused_file_grows_to_a_minute_and_an_event_cuts_it_short() {
        let mut settler = Settler::new(SETTLE);
        settler.observe(Path::new("a"), version(1), at(0));
        let mut now = 10;
        for pause in [10, 20, 40, 60, 60] {
            let refused = settler.due(at(now), 1, u64::MAX).remove(0);
            assert_eq!(refused.quiet_since, at(0));
            settler.refuse(&refused, at(now));
            now += pause;
            assert_eq!(settler.next_due(), Some(at(now)));
        }
        settler.observe(Path::new("a"), version(1), at(now - 50));
        assert_eq!(settler.next_due(), Some(at(now - 50)));
    }

    #[test]
    fn a_batch_ends_with_the_file_that_makes_it_large() {
        let mut settler = Settler::new(SETTLE);
        for (name, size) in [("a", 5), ("b", 9), ("c", 1), ("d", 1)] {
            settler.observe(Path::new(name), version(size), at(0));
        }
        let batches = [9, 9, 9].map(|_| settler.due(at(10), 9, 10).len());
        assert_eq!(batches, [2, 2, 0]);
        settler.observe(Path::new("huge"), version(u64::MAX), at(10));
        assert_eq!(settler.due(at(20), 9, 10).len(), 1, "one is always handed out");
    }

    #[test]
    fn an_aged_file_waits_only_for_the_rest() {
        let mut settler = Settler::new(SETTLE);
        settler.observe_aged(Path::new("old"), version(1), Duration::from_secs(99), at(5));
        settler.observe_aged(Path::new("young"), version(1), Duration::from_secs(4), at(5));
        assert_eq!(settler.due(at(5), 9, u64::MAX).len(), 1);
        assert_eq!(settler.next_due(), Some(at(11)));
    }

    #[test]
    fn no_more_candidates_are_taken_than_fit() {
        let mut settler = Settler::with_capacity(SETTLE, 1);
        settler.observe(Path::new("a"), version(1), at(0));
        assert_eq!(settler.observe(Path::new("b"), version(1), at(0)), Observed::Full);
        assert_eq!(
            settler.observe(Path::new("a"), version(2), at(0)),
            Observed::Restarted
        );
        settler.forget(Path::new("a"));
        assert!(settler.is_empty() && settler.next_due().is_none());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Observe(u8, u64),
        Forget(u8),
        Wait(u64),
        Due(usize),
        Settle(usize),
        Refuse(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..4_u8, 0..3_u64).prop_map(|(file, n)| Step::Observe(file, n)),
            1 => (0..4_u8).prop_map(Step::Forget),
            4 => (0..15_u64).prop_map(Step::Wait),
            3 => (0..3_usize).prop_map(Step::Due),
            1 => any::<usize>().prop_map(Step::Settle),
            1 => any::<usize>().prop_map(Step::Refuse),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        #[test]
        fn i1_nothing_is_due_before_it_was_quiet_for_the_settle_time(steps in steps()) {
            let mut settler = Settler::new(SETTLE);
            let mut now = 0;
            // What is known of each file, and since when.
            let mut model: HashMap<String, (u64, u64)> = HashMap::new();
            let mut checking: Vec<Candidate> = Vec::new();
            for step in steps {
                match step {
                    Step::Observe(file, n) => {
                        settler.observe(Path::new(&file.to_string()), version(n), at(now));
                        let known = model.entry(file.to_string()).or_insert((n, now));
                        if known.0 != n {
                            *known = (n, now);
                        }
                    }
                    Step::Forget(file) => {
                        settler.forget(Path::new(&file.to_string()));
                        model.remove(&file.to_string());
                        // As the loop does: what comes back of its check is of no account.
                        checking.retain(|candidate| *candidate.rel != *Path::new(&file.to_string()));
                    }
                    Step::Wait(seconds) => now += seconds,
                    Step::Due(at_most) => {
                        let due = settler.due(at(now), at_most, u64::MAX);
                        prop_assert!(due.len() <= at_most);
                        for candidate in due {
                            let (n, since) = model[&candidate.rel.display().to_string()];
                            prop_assert_eq!(candidate.identity, version(n));
                            prop_assert!(now - since >= SETTLE.as_secs());
                            prop_assert!(checking.iter().all(|other| other.rel != candidate.rel));
                            checking.push(candidate);
                        }
                    }
                    Step::Settle(n) if !checking.is_empty() => {
                        let candidate = checking.remove(n % checking.len());
                        settler.settled(&candidate);
                        let name = candidate.rel.display().to_string();
                        if version(model[&name].0) == candidate.identity {
                            model.remove(&name);
                        }
                    }
                    Step::Refuse(n) if !checking.is_empty() => {
                        let candidate = checking.remove(n % checking.len());
                        settler.refuse(&candidate, at(now));
                    }
                    Step::Settle(_) | Step::Refuse(_) => {}
                }
                prop_assert_eq!(settler.len(), model.len());
            }
            // Nothing is lost either: all that is left comes due.
            let left = settler.due(at(now + 100), usize::MAX, u64::MAX).len();
            prop_assert_eq!(left + checking.len(), model.len());
        }
    }
}
