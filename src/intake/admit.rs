//! Owns the way of settled candidates into the ledger, many in one transaction. Never tells of an admission that
//! is not durable, and never touches a file itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::one_line;
use crate::fs::FileIdentity;
use crate::queue::{Admission, Digest, NewJob, QueueError};

use super::read::Reader;
use super::settle::Candidate;
use super::{Admitted, FolderIntake};

/// Files checked together at most. They share one transaction, so one wait for the disk; a few hundredths of a
/// second, for which whoever else writes to the ledger waits too.
pub(super) const BATCH_FILES: usize = 128;

/// No file is added to a batch that has so much: of many large photos the first must not wait for the last.
pub(super) const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// How long one batch waits for the others to have read. Longer, and somebody reads from a share that does not
/// answer, which must not hold up the folders that do.
const PERMIT_PATIENCE: Duration = Duration::from_secs(60);

/// A candidate to check.
#[derive(Debug)]
pub(super) struct Check {
    /// Settled.
    pub(super) candidate: Candidate,
    /// One that ends too early is taken too, so that its job can fail with a reason that a person reads (I10).
    pub(super) accept_incomplete: bool,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Of each candidate.
    pub(super) outcomes: Vec<(Candidate, Outcome)>,
    /// Why there are [`Outcome::Unrecorded`] ones.
    pub(super) ledger: Option<QueueError>,
}

/// What became of a candidate whose quiet time is over.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the ledger.
    Admitted(Admission),
    /// The ledger has this very file already; it was not read.
    Known,
    /// It is another file now, or changed while it was read: it goes on waiting.
    Changed(FileIdentity),
    /// Not stable yet, to be looked at again.
    NotYet(NotYet),
    /// It is not there any more, or no regular file with content.
    Gone,
    /// The ledger did not answer; nothing is known to have happened.
    Unrecorded,
}

/// Why a quiet file is not stable yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotYet {
    /// A process has it open for writing.
    Written,
    /// It ends before its picture does.
    Incomplete,
    /// It cannot be read or has no place to go; the line says why.
    Problem(String),
    /// Intake is stopping.
    Halted,
}

/// Takes those candidates of a batch into the ledger that are ready.
///
/// May be dropped at any await: the jobs are then in the ledger or not, and the next scan finds out.
pub(super) async fn admit(ctx: &Arc<FolderIntake>, batch: Vec<Check>, halt: &Arc<AtomicBool>) -> Checked {
    let mut checked = Checked::default();
    let mut planned = Vec::with_capacity(batch.len());
    for check in batch {
        match plan(ctx, &check.candidate, &mut checked.ledger).await {
            Ok(output) => planned.push((check, output)),
            Err(outcome) => checked.outcomes.push((check.candidate, outcome)),
        }
    }
    if planned.is_empty() {
        return checked;
    }
    let mut candidates = Vec::with_capacity(planned.len());
    let mut new = Vec::with_capacity(planned.len());
    for (candidate, output, content) in read(ctx, planned, halt).await {
        match content {
            Ok(content) => {
                new.push(NewJob {
                    folder: ctx.folder.name.clone(),
                    source: candidate.rel.to_path_buf(),
                    output_root: ctx.folder.output.clone(),
                    output,
                    content,
                    recipe: ctx.recipe,
                    identity: candidate.identity,
                    priority: ctx.folder.priority,
                });
                candidates.push(candidate);
            }
            Err(outcome) => checked.outcomes.push((candidate, outcome)),
        }
    }
    let recorded = record(ctx, new, &mut checked.ledger).await;
    checked.outcomes.extend(candidates.into_iter().zip(recorded));
    checked
}

/// Where the result of a candidate shall lie, if it is to be read at all.
async fn plan(
    ctx: &FolderIntake,
    candidate: &Candidate,
    ledger: &mut Option<QueueError>,
) -> Result<PathBuf, Outcome> {
    if ledger.is_some() {
        return Err(Outcome::Unrecorded);
    }
    match ctx.store.known(&ctx.folder.name, &candidate.rel).await {
        Ok(Some(known)) if ctx.has(&known, &candidate.identity) => return Err(Outcome::Known),
        Ok(_) => {}
        Err(error) => {
            *ledger = Some(error);
            return Err(Outcome::Unrecorded);
        }
    }
    (ctx.plan_output)(&candidate.rel).map_err(|message| Outcome::NotYet(NotYet::Problem(one_line(&message))))
}

type Read = (Candidate, PathBuf, Result<Digest, Outcome>);

/// Examines and hashes the files off the async threads, as many batches at a time as the shared permits allow.
async fn read(ctx: &Arc<FolderIntake>, planned: Vec<(Check, PathBuf)>, halt: &Arc<AtomicBool>) -> Vec<Read> {
    let permit = Arc::clone(&ctx.hashing).acquire_owned();
    // Without one, reading is still right: it only makes the disk seek.
    let permit = tokio::time::timeout(PERMIT_PATIENCE, permit).await;
    let candidates: Vec<Candidate> = planned.iter().map(|(check, _)| check.candidate.clone()).collect();
    let (ctx, halt) = (Arc::clone(ctx), Arc::clone(halt));
    let reading = tokio::task::spawn_blocking(move || {
        // Moved in: dropped futures leave the thread running, and it counts until it ends.
        let _permit = permit;
        let mut reader = Reader::new(ctx.looks_complete, &halt);
        let read = |(check, output): (Check, PathBuf)| {
            let candidate = check.candidate;
            let path = ctx.folder.input.join(&candidate.rel);
            let content = reader.read(&path, candidate.identity, check.accept_incomplete);
            (candidate, output, content)
        };
        planned.into_iter().map(read).collect()
    });
    reading.await.unwrap_or_else(|error| {
        // A defect of ours, or the runtime is being torn down. The next scan finds them again.
        tracing::error!("the reading of new files ended unexpectedly ({error}); please report it");
        let unread = |candidate| (candidate, PathBuf::new(), Err(Outcome::Unrecorded));
        candidates.into_iter().map(unread).collect()
    })
}

/// Records all in one transaction, tells of them, and says what became of each, in their order.
async fn record(ctx: &FolderIntake, new: Vec<NewJob>, ledger: &mut Option<QueueError>) -> Vec<Outcome> {
    if new.is_empty() {
        return Vec::new();
    }
    let error = match ctx.store.admit_many(&new).await {
        Ok(admissions) => {
            let tell = |(new, admission)| tell(ctx, new, admission);
            return new.into_iter().zip(admissions).map(tell).collect();
        }
        Err(error) => error,
    };
    // One row that the ledger cannot live with must not keep the others out for ever.
    let is_about_one = matches!(error, QueueError::Corrupt { .. } | QueueError::Database { .. });
    if !is_about_one || new.len() == 1 {
        *ledger = Some(error);
        return new.iter().map(|_| Outcome::Unrecorded).collect();
    }
    let mut outcomes = Vec::with_capacity(new.len());
    for new in new {
        outcomes.push(match ctx.store.admit(&new).await {
            Ok(admission) => tell(ctx, new, admission),
            Err(error) => {
                *ledger = Some(error);
                Outcome::Unrecorded
            }
        });
    }
    outcomes
}

fn tell(ctx: &FolderIntake, new: NewJob, admission: Admission) -> Outcome {
    tracing::info!(job = admission.id().0, folder = new.folder, source = %new.source.display(), admission = admission.as_str(), "admitted");
    (ctx.on_admitted)(&Admitted {
        folder: new.folder,
        source: new.source,
        admission,
    });
    Outcome::Admitted(admission)
}
