//! The ledger's rules once more, in plain memory: what [`super::random`] compares the ledger with. Written from
//! the rules, not from the SQL.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::*;
use crate::queue::State;
use crate::queue::retry::{ATTEMPTS_MAX, DEVICE_LOSSES_MAX, Draw, backoff};

/// Where a source lies and where its result is planned. The first two plan the same output.
pub(super) const PATHS: [(&str, &str, &str); 3] = [
    ("photos", "a.jpg", "a.png"),
    ("photos", "a.jpeg", "a.png"),
    ("scans", "b.jpg", "b.png"),
];

/// An index of [`PATHS`].
pub(super) type At = usize;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) at: At,
    pub(super) content: u8,
    pub(super) identity: FileIdentity,
    pub(super) priority: i32,
    pub(super) state: State,
    pub(super) attempts: u32,
    pub(super) device_losses: u32,
    pub(super) not_before: i64,
    pub(super) cancel: bool,
    pub(super) withdrawn: bool,
    pub(super) reason: Option<ReasonCode>,
    pub(super) result: Option<String>,
    pub(super) replaced_by: Option<JobId>,
    pub(super) queued_at: i64,
    pub(super) started_at: Option<i64>,
    /// Numbers and outcomes.
    pub(super) history: Vec<(u32, &'static str)>,
    /// Taken out of the ledger by a person.
    pub(super) removed: bool,
}

/// How a claim ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Failed(ReasonCode),
    Skipped,
    Cancelled,
    /// With the identity that the claim was made with.
    Withdrawn(FileIdentity),
    Released,
    DeviceLost,
    /// By the policy, without a wait of its own.
    Passing,
    Crashed,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: i64,
    /// By number, from 1.
    pub(super) jobs: Vec<Row>,
    pub(super) sources: BTreeMap<At, (JobId, FileIdentity)>,
    /// Since and until.
    pub(super) pause: Option<(i64, Option<i64>)>,
    /// Who claimed a job last.
    pub(super) owners: BTreeMap<JobId, String>,
}

fn id(index: usize) -> JobId {
    JobId(i64::try_from(index).unwrap() + 1)
}

impl Model {
    pub(super) fn row(&mut self, id: JobId) -> &mut Row {
        &mut self.jobs[usize::try_from(id.0).unwrap() - 1]
    }

    pub(super) fn admit(&mut self, at: At, content: u8, identity: FileIdentity, priority: i32) -> JobId {
        let output = PATHS[at].2;
        let found = self
            .jobs
            .iter()
            .position(|row| !row.removed && row.content == content && PATHS[row.at].2 == output);
        let id = match found {
            None => {
                self.jobs.push(Row {
                    at,
                    content,
                    identity,
                    priority,
                    state: State::Queued,
                    attempts: 0,
                    device_losses: 0,
                    not_before: 0,
                    cancel: false,
                    withdrawn: false,
                    reason: None,
                    result: None,
                    replaced_by: None,
                    queued_at: self.now,
                    started_at: None,
                    history: Vec::new(),
                    removed: false,
                });
                id(self.jobs.len() - 1)
            }
            Some(index) => {
                self.see_again(id(index), at, identity, priority);
                id(index)
            }
        };
        self.withdraw_others(at, id);
        self.sources.insert(at, (id, identity));
        id
    }

    fn see_again(&mut self, id: JobId, at: At, identity: FileIdentity, priority: i32) {
        let was_there = self.sources.get(&at).is_some_and(|(job, _)| *job == id);
        let row = self.row(id);
        let wanted = match row.state {
            State::Done => row.replaced_by.is_some() && !was_there,
            State::Failed => row.reason == Some(ReasonCode::Io) && row.identity != identity,
            State::Cancelled => row.withdrawn,
            _ => false,
        };
        let moves = wanted || row.at == at || row.state == State::Queued || row.withdrawn;
        if moves {
            (row.at, row.identity, row.priority) = (at, identity, priority);
        }
        if row.withdrawn {
            (row.withdrawn, row.cancel) = (false, false);
        }
        if wanted {
            self.requeue(id);
        }
    }

    fn withdraw_others(&mut self, at: At, keep: JobId) {
        for (index, row) in self.jobs.iter_mut().enumerate() {
            if row.removed || row.at != at || id(index) == keep {
                continue;
            }
            match row.state {
                State::Queued => {
                    (row.state, row.withdrawn, row.reason) = (State::Cancelled, true, Some(ReasonCode::Io));
                }
                State::Running if !row.cancel => (row.cancel, row.withdrawn) = (true, true),
                _ => {}
            }
        }
        self.forget_withdrawn();
    }

    /// Nobody counts on a job that was withdrawn.
    fn forget_withdrawn(&mut self) {
        let jobs = &self.jobs;
        self.sources
            .retain(|_, (job, _)| !jobs[usize::try_from(job.0).unwrap() - 1].withdrawn);
    }

    fn requeue(&mut self, id: JobId) {
        let now = self.now;
        let row = self.row(id);
        row.device_losses = 0;
        (row.state, row.attempts, row.not_before, row.queued_at) = (State::Queued, 0, 0, now);
        (row.cancel, row.withdrawn, row.reason, row.started_at) = (false, false, None, None);
    }

    pub(super) fn paused(&self) -> Option<(i64, Option<i64>)> {
        self.pause
            .filter(|(_, until)| until.is_none_or(|until| until > self.now))
    }

    pub(super) fn pause(&mut self, until: Option<i64>) {
        let since = self.paused().map_or(self.now, |(since, _)| since);
        self.pause = Some((since, until));
    }

    pub(super) fn claim(&mut self, owner: &str, excluded: &[String]) -> Option<JobId> {
        if self.paused().is_some() {
            return None;
        }
        let due = |row: &&(usize, &Row)| {
            row.1.state == State::Queued
                && row.1.not_before <= self.now
                && !excluded.iter().any(|folder| folder == PATHS[row.1.at].0)
        };
        let (index, _) = self
            .jobs
            .iter()
            .enumerate()
            .collect::<Vec<_>>()
            .iter()
            .filter(due)
            .min_by_key(|(index, row)| (Reverse(row.priority), row.queued_at, *index))
            .copied()?;
        let now = self.now;
        let row = self.row(id(index));
        (row.state, row.reason, row.started_at) = (State::Running, None, Some(now));
        row.attempts += 1;
        row.history.push((row.attempts, "open"));
        self.owners.insert(id(index), owner.to_owned());
        Some(id(index))
    }

    pub(super) fn own_result(&self, id: JobId) -> Option<&str> {
        let job = &self.jobs[usize::try_from(id.0).unwrap() - 1];
        let counts_elsewhere = |index| {
            let mut others = self.sources.iter().filter(|(at, _)| **at != job.at);
            others.any(|(_, (id, _))| *id == self::id(index))
        };
        self.jobs
            .iter()
            .enumerate()
            .filter(|(index, row)| row.at == job.at && row.replaced_by.is_none() && !counts_elsewhere(*index))
            .filter(|(_, row)| !row.removed && row.result.is_some())
            .max_by_key(|(index, row)| (row.started_at, *index))
            .and_then(|(_, row)| row.result.as_deref())
    }

    pub(super) fn done(&mut self, id: JobId, result: &str) {
        let row = self.row(id);
        (row.state, row.cancel, row.withdrawn, row.reason) = (State::Done, false, false, None);
        (row.result, row.replaced_by) = (Some(result.to_owned()), None);
        let at = row.at;
        if let Some(last) = row.history.last_mut() {
            last.1 = "done";
        }
        let there = self.sources.get(&at).map(|(job, _)| *job);
        for index in 0..self.jobs.len() {
            let (other, row) = (self::id(index), &mut self.jobs[index]);
            if row.removed
                || other == id
                || row.result.as_deref() != Some(result)
                || row.replaced_by.is_some()
            {
                continue;
            }
            row.replaced_by = Some(id);
            if row.state == State::Done && there == Some(other) {
                self.requeue(other);
            }
        }
    }

    pub(super) fn end(&mut self, id: JobId, end: End) {
        let now = self.now;
        let owner = self.owners.get(&id).cloned().unwrap_or_default();
        let later = |attempts| {
            let wait = backoff(attempts, Draw::of(&owner, id, attempts));
            now + i64::try_from(wait.as_millis()).unwrap()
        };
        let row = self.row(id);
        let asked = row.cancel && !matches!(end, End::Failed(_) | End::Skipped);
        let last_try = row.attempts >= ATTEMPTS_MAX;
        let (state, reason, outcome) = match end {
            End::Failed(code) => (State::Failed, Some(code), "failed"),
            End::Skipped => (State::Skipped, Some(ReasonCode::Io), "skipped"),
            // The policy comes first: a job that failed for good is told so.
            End::Passing if last_try => (State::Failed, Some(ReasonCode::Timeout), "failed"),
            End::Crashed if asked => (State::Cancelled, Some(ReasonCode::Io), "crashed"),
            _ if asked => (State::Cancelled, Some(ReasonCode::Io), "cancelled"),
            End::Withdrawn(claimed) if claimed == row.identity => {
                row.withdrawn = true;
                (State::Cancelled, Some(ReasonCode::Io), "cancelled")
            }
            End::DeviceLost if row.device_losses + 1 == DEVICE_LOSSES_MAX => {
                row.device_losses += 1;
                (State::Failed, Some(ReasonCode::Model), "failed")
            }
            End::DeviceLost => {
                row.device_losses += 1;
                row.not_before = later(row.attempts);
                (State::Queued, None, "released")
            }
            End::Cancelled | End::Withdrawn(_) | End::Released => (State::Queued, None, "released"),
            End::Passing => {
                row.not_before = later(row.attempts);
                (State::Queued, Some(ReasonCode::Timeout), "retrying")
            }
            End::Crashed if last_try => (State::Failed, Some(ReasonCode::CrashedService), "crashed"),
            End::Crashed => {
                row.not_before = later(row.attempts);
                (State::Queued, None, "crashed")
            }
        };
        if outcome == "released" {
            row.attempts -= 1;
        }
        row.withdrawn &= state == State::Cancelled;
        (row.state, row.reason, row.cancel) = (state, reason, false);
        if let Some(last) = row.history.last_mut() {
            last.1 = outcome;
        }
        self.forget_withdrawn();
    }

    pub(super) fn remove(&mut self, id: JobId) {
        let row = self.row(id);
        if row.state.shown().is_final() {
            row.removed = true;
            self.sources.retain(|_, (job, _)| *job != id);
        }
    }

    pub(super) fn retry(&mut self, id: JobId) {
        let Row { state, removed, .. } = *self.row(id);
        if !removed && matches!(state, State::Failed | State::Skipped | State::Cancelled) {
            self.requeue(id);
        }
    }

    pub(super) fn cancel(&mut self, id: JobId) {
        let row = self.row(id);
        match row.state {
            State::Queued => (row.state, row.reason) = (State::Cancelled, Some(ReasonCode::Io)),
            State::Running => (row.cancel, row.withdrawn) = (true, false),
            _ => {}
        }
    }
}
