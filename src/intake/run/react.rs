//! Owns what the loop of a folder makes of what came back: surveys, looks, checks. Never starts anything itself; it
//! says when.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::one_line;
use crate::queue::QueueError;

use super::super::Timing;
use super::super::admit::{Checked, NotYet, Outcome};
use super::super::scan::{Found, Scan};
use super::super::settle::{Candidate, Observed};
use super::super::survey::{Looked, Survey};
use super::super::watch::Watch;
use super::{Done, Loop, SCAN_PAUSE_TIMES, SECOND_LOOK};

/// Longest pause before a missing input folder is looked for again.
const OFFLINE_PROBE: Duration = Duration::from_secs(30);

/// New directories that wait for their second look; with more, a whole scan is cheaper.
const MAX_SECOND_LOOKS: usize = 1024;

/// Complaints remembered so that each is logged once.
const MAX_COMPLAINTS: usize = 1024;

/// What is mounted below the folder, by directory.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<(PathBuf, u64)>);

impl Mounts {
    /// Whether a scan found others than the one before it.
    fn have_changed(&mut self, scan: &Scan) -> bool {
        // A walk that ended early has not seen them all.
        if scan.more || scan.mounts == self.0 {
            return false;
        }
        self.0.clone_from(&scan.mounts);
        true
    }
}

impl Loop {
    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Surveyed(survey) => {
                self.surveying = false;
                let took = self
                    .scan_started
                    .map_or(Duration::ZERO, |at| self.now().since(at));
                self.next_loss_scan = Some(self.now() + took * SCAN_PAUSE_TIMES);
                self.on_survey(survey, took);
                // Counted from the end, so that a scan that takes longer than the pause leaves one.
                self.scan_by(self.now() + self.timing.rescan);
            }
            Done::Looked { looked, second } => {
                self.looking = false;
                self.on_looked(looked, second);
            }
            Done::Checked(checked) => {
                self.checking -= 1;
                self.on_checked(checked);
            }
        }
    }

    fn on_survey(&mut self, survey: Survey, took: Duration) {
        match survey {
            Survey::Offline(offline) => {
                let message = offline.to_string();
                if self.status.offline.as_ref() != Some(&message) {
                    tracing::warn!(folder = self.ctx.folder.name, "{message}");
                }
                self.status.offline = Some(message);
                (self.watch, self.root) = (None, None);
                self.scan_by(self.now() + OFFLINE_PROBE);
            }
            Survey::Ledger(error) => self.on_ledger_error(&error),
            Survey::Broken(problem) => self.complain(problem),
            Survey::Done {
                root,
                watch,
                on_network,
                scan,
            } => {
                if self.status.offline.take().is_some() {
                    tracing::info!(folder = self.ctx.folder.name, "the input folder is there again");
                }
                self.root = Some(root);
                self.on_mounts(&scan, watch.is_some());
                if let Some(watch) = watch {
                    self.on_watch(watch);
                }
                if self.lacks_watch() {
                    // The folder went away after this survey had found it unchanged.
                    self.rescan_after_loss();
                }
                self.retime(Timing::of(&self.ctx.folder, on_network));
                self.ledger_down = false;
                self.status.last_scan_at = Some(self.ctx.clock.wall());
                self.status.last_scan_took = Some(took);
                self.left_out = scan.more;
                self.observe(scan.files);
                scan.problems
                    .into_iter()
                    .for_each(|problem| self.complain(problem));
                self.status.problem = self.fresh_problem.take();
            }
        }
    }

    /// What came to be mounted below the folder after the watch had begun gives no events before it is watched too.
    fn on_mounts(&mut self, scan: &Scan, is_watch_new: bool) {
        self.status.unwatched = scan.network.as_ref().map(|(dir, kind)| {
            let dir = one_line(&dir.to_string_lossy());
            format!("{dir} is on a share ({kind}), which gives no events; found by scans")
        });
        if self.mounts.have_changed(scan) && !is_watch_new && self.watch.is_some() {
            tracing::info!(
                folder = self.ctx.folder.name,
                "what is mounted below the folder changed; it is watched anew"
            );
            self.watch_again = true;
            self.rescan_after_loss();
        }
    }

    fn on_watch(&mut self, watch: Result<Watch, String>) {
        match watch {
            Ok(watch) => {
                self.watch = Some(watch);
                self.status.why = None;
            }
            Err(why) => {
                if self.status.why.as_ref() != Some(&why) {
                    tracing::warn!(
                        folder = self.ctx.folder.name,
                        why,
                        "no events; the folder is scanned"
                    );
                }
                self.watch = None;
                self.status.why = Some(why);
            }
        }
    }

    fn retime(&mut self, timing: Timing) {
        if timing != self.timing {
            self.timing = timing;
            self.settler.set_settle(timing.settle);
        }
    }

    fn on_looked(&mut self, looked: Looked, second: bool) {
        for rel in &looked.gone {
            self.settler.forget(rel);
        }
        self.observe(looked.found);
        looked
            .problems
            .into_iter()
            .for_each(|problem| self.complain(problem));
        if !second && !looked.directories.is_empty() {
            self.second_looks.extend(looked.directories);
            self.second_look_at
                .get_or_insert(self.ctx.clock.monotonic() + SECOND_LOOK);
        }
        if looked.rescan || self.second_looks.len() > MAX_SECOND_LOOKS {
            self.second_looks.clear();
            self.second_look_at = None;
            self.rescan_after_loss();
        }
    }

    fn observe(&mut self, found: Vec<Found>) {
        let now = self.now();
        for Found { rel, identity } in found {
            if self.settler.observe(&rel, identity, now) == Observed::Full {
                // No loss: as soon as there is room, a scan finds the rest.
                self.left_out = true;
                tracing::debug!(
                    folder = self.ctx.folder.name,
                    "more new files than fit; the rest waits"
                );
                break;
            }
        }
    }

    fn on_checked(&mut self, checked: Checked) {
        for (candidate, outcome) in checked.outcomes {
            self.conclude(&candidate, outcome);
        }
        if let Some(error) = &checked.ledger {
            self.on_ledger_error(error);
        }
        // At the half: the quiet time of the next ones begins while the rest is read.
        if self.left_out && self.settler.len() <= self.ctx.candidates / 2 {
            self.left_out = false;
            self.rescan_after_loss();
        }
    }

    fn conclude(&mut self, candidate: &Candidate, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::Admitted(_) | Outcome::Known => {
                self.ledger_down = false;
                self.settler.settled(candidate);
            }
            Outcome::Changed(identity) => {
                self.settler.observe(&candidate.rel, identity, now);
                self.settler.refuse(candidate, now);
            }
            Outcome::NotYet(NotYet::Problem(problem)) => {
                self.complain(problem);
                self.settler.refuse(candidate, now);
            }
            Outcome::NotYet(why) => {
                tracing::debug!(folder = self.ctx.folder.name, source = %candidate.rel.display(), ?why, "not stable yet");
                self.settler.refuse(candidate, now);
            }
            // The next scan finds what is not recorded.
            Outcome::Gone | Outcome::Unrecorded => self.settler.settled(candidate),
        }
    }

    fn on_ledger_error(&mut self, error: &QueueError) {
        let message = error.to_string();
        if !std::mem::replace(&mut self.ledger_down, true) {
            tracing::error!(
                folder = self.ctx.folder.name,
                "{message}; the next scan tries again"
            );
        }
        self.status.problem = Some(message);
    }

    /// Shows a problem, and logs it the first time.
    fn complain(&mut self, problem: String) {
        if self.complaints.len() >= MAX_COMPLAINTS {
            self.complaints.clear();
        }
        if self.complaints.insert(problem.clone()) {
            tracing::warn!(folder = self.ctx.folder.name, "{problem}");
        }
        self.fresh_problem = Some(problem.clone());
        self.status.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_comes_goes_or_is_another_one_is_noticed_once() {
        let mut mounts = Mounts::default();
        let scan = |found: &[(&str, u64)], more| Scan {
            mounts: found.iter().map(|(dir, id)| (PathBuf::from(dir), *id)).collect(),
            more,
            ..Scan::default()
        };
        assert!(!mounts.have_changed(&scan(&[], false)));
        assert!(mounts.have_changed(&scan(&[("stick", 7)], false)), "it came");
        assert!(!mounts.have_changed(&scan(&[("stick", 7)], false)));
        assert!(mounts.have_changed(&scan(&[("stick", 8)], false)), "another one");
        assert!(
            !mounts.have_changed(&scan(&[], true)),
            "the walk did not get there"
        );
        assert!(mounts.have_changed(&scan(&[], false)), "it went");
    }
}
