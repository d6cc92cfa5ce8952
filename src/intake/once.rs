//! Owns the single pass of `upscaled once`: one scan, then every file of it settles and goes into the ledger, or is
//! named with the reason why not. Files that appear meanwhile are left to the next run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::fs::FileIdentity;
use crate::queue::Admission;

use super::admit::{BATCH_BYTES, BATCH_FILES, Check, Checked, NotYet, Outcome, admit};
use super::place::{RootId, network_kind, refuse_own_output};
use super::scan::{Found, Scan, Wanted, walk};
use super::settle::{Candidate, Settler};
use super::{FolderIntake, HASHERS, Halt, IntakeError, Timing};

/// How long a file that is quiet but held open for writing is waited for. A copy that hangs longer is not going
/// to end while a person looks at the terminal.
const HELD_PATIENCE: Duration = Duration::from_secs(60);

/// What one pass did. Every file of the scan is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnceSummary {
    /// Files that went into the ledger, with their job, in the order of admission.
    pub admitted: Vec<(PathBuf, Admission)>,
    /// Files that the ledger knew as they are.
    pub known: u64,
    /// Files that a process kept open for writing, left to a later run.
    pub held: Vec<PathBuf>,
    /// Files that vanished before they were read.
    pub gone: u64,
    /// One line for each file or directory that could not be read, each with its reason.
    pub problems: Vec<String>,
}

/// Scans the folder once and takes in what it finds: at once what has not been touched for the settle time,
/// the rest when it has been quiet that long. Files that end too early are taken in too, their jobs say so.
///
/// May be dropped at any await: what was admitted stays admitted.
///
/// # Errors
/// The folder cannot be looked at, or the ledger does not answer.
pub async fn scan_once(ctx: FolderIntake) -> Result<OnceSummary, IntakeError> {
    let ctx = Arc::new(ctx);
    let halt = Halt::default();
    let (scan, timing, known) = look_around(&ctx, &halt).await?;
    let mut summary = OnceSummary {
        known,
        problems: scan.problems,
        ..OnceSummary::default()
    };
    // Bounded by the scan, which is taken in once and never added to.
    let mut settler = Settler::with_capacity(timing.settle, usize::MAX);
    for Found { rel, identity } in scan.files {
        let age = quiet_for(&identity, ctx.clock.wall());
        settler.observe_aged(&rel, identity, age, ctx.clock.monotonic());
    }
    let mut checks: JoinSet<Checked> = JoinSet::new();
    while !settler.is_empty() {
        let now = ctx.clock.monotonic();
        while checks.len() < HASHERS {
            let due = settler.due(now, BATCH_FILES, BATCH_BYTES);
            if due.is_empty() {
                break;
            }
            let check = |candidate| Check {
                candidate,
                accept_incomplete: true,
            };
            let batch = due.into_iter().map(check).collect();
            let (ctx, halt) = (Arc::clone(&ctx), halt.flag());
            checks.spawn(async move { admit(&ctx, batch, &halt).await });
        }
        let pause = settler
            .next_due()
            .filter(|_| checks.len() < HASHERS)
            .map(|at| at.since(now));
        tokio::select! {
            Some(done) = checks.join_next() => {
                let checked = done.map_err(|error| broken(&ctx, &error))?;
                for (candidate, outcome) in checked.outcomes {
                    conclude(&ctx, &mut settler, &mut summary, &candidate, outcome);
                }
                if let Some(error) = checked.ledger {
                    return Err(error.into());
                }
            }
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            // Unreachable while a candidate either waits or is checked; a loop that spins would hide it.
            else => break,
        }
    }
    Ok(summary)
}

async fn look_around(ctx: &Arc<FolderIntake>, halt: &Halt) -> Result<(Scan, Timing, u64), IntakeError> {
    let known = ctx.store.known_files(&ctx.folder.name, &ctx.recipe).await?;
    let (shared, halt) = (Arc::clone(ctx), halt.flag());
    let walked = tokio::task::spawn_blocking(move || {
        let ctx = shared;
        RootId::read(&ctx.folder.input)?;
        refuse_own_output(&ctx.folder.input, &ctx.folder.output)?;
        let mut unchanged = 0;
        let mut wanted = Wanted {
            input: &ctx.folder.input,
            filter: &ctx.filter,
            chained: &ctx.chained,
            keep: &mut |found| {
                let same = known.contains(&found.rel, &found.identity);
                unchanged += u64::from(same);
                !same
            },
            limit: usize::MAX,
            halt: &halt,
        };
        let scan = walk(&mut wanted, "".as_ref())?;
        let on_network = scan.network.is_some() || network_kind(&ctx.folder.input).is_some();
        Ok((scan, Timing::of(&ctx.folder, on_network), unchanged))
    });
    walked.await.map_err(|error| broken(ctx, &error))?
}

fn conclude(
    ctx: &FolderIntake,
    settler: &mut Settler,
    summary: &mut OnceSummary,
    candidate: &Candidate,
    outcome: Outcome,
) {
    let now = ctx.clock.monotonic();
    match outcome {
        Outcome::Admitted(admission) => summary.admitted.push((candidate.rel.to_path_buf(), admission)),
        Outcome::Known => summary.known += 1,
        Outcome::Gone => summary.gone += 1,
        Outcome::Changed(identity) => {
            let age = quiet_for(&identity, ctx.clock.wall());
            settler.observe_aged(&candidate.rel, identity, age, now);
            settler.refuse(candidate, now);
            return;
        }
        Outcome::NotYet(NotYet::Written) => {
            if now.since(candidate.quiet_since) < HELD_PATIENCE {
                settler.refuse(candidate, now);
                return;
            }
            summary.held.push(candidate.rel.to_path_buf());
        }
        // Incomplete files are accepted, and the halt comes only with the end of this future.
        Outcome::NotYet(NotYet::Incomplete | NotYet::Halted) => {
            settler.refuse(candidate, now);
            return;
        }
        Outcome::NotYet(NotYet::Problem(problem)) => summary.problems.push(problem),
        // The error that ends the pass comes with it.
        Outcome::Unrecorded => {}
    }
    settler.forget(&candidate.rel);
}

fn broken(ctx: &FolderIntake, error: &tokio::task::JoinError) -> IntakeError {
    IntakeError::Broken {
        folder: ctx.folder.name.clone(),
        detail: crate::error::one_line(&error.to_string()),
    }
}

/// For how long the file's own times say that nobody touched it. A time that lies ahead proves nothing: a copied
/// modification time is ignored then, but with a change time ahead (a clock that was set back, a server with
/// another clock) the file must be watched for the whole settle time.
fn quiet_for(identity: &FileIdentity, wall: Timestamp) -> Duration {
    let now_ns = wall.as_nanosecond();
    let (changed, modified) = (i128::from(identity.ctime_ns), i128::from(identity.mtime_ns));
    let touched = if modified <= now_ns {
        changed.max(modified)
    } else {
        changed
    };
    u64::try_from(now_ns - touched).map_or(Duration::ZERO, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_future_never_makes_a_file_old() {
        let wall = Timestamp::from_second(1_000_000).unwrap();
        let age = |mtime_s: i64, ctime_s: i64| {
            let identity = FileIdentity {
                dev: 1,
                ino: 1,
                size: 1,
                mtime_ns: mtime_s * 1_000_000_000,
                ctime_ns: ctime_s * 1_000_000_000,
            };
            quiet_for(&identity, wall).as_secs()
        };
        assert_eq!(age(999_000, 999_990), 10, "the later of both counts");
        assert_eq!(age(5, 999_970), 30, "an old photo that was just copied is young");
        assert_eq!(
            age(2_000_000, 999_980),
            20,
            "a camera with a wrong date does not wait for ever"
        );
        assert_eq!(age(999_000, 1_000_050), 0, "a change time ahead proves nothing");
    }
}
