//! Owns `upscaled once`: one pass over the watched folders, told job by job.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::args::OnceArgs;
use super::exit::{Exit, Failure, Tally, of_reason};
use super::out::{Out, complain, shown};
use crate::config::{Happening, Word};
use crate::error::ReasonCode;
use crate::queue::Job;
use crate::report::JobState;
use crate::service::{self, Pass};

/// Scans, processes what is ready, tells.
pub fn once(named: Option<&Path>, log_level: Option<&str>, args: &OnceArgs) -> Result<Exit, Failure> {
    let (path, config) = super::load_to_watch(named)?;
    let is_told = !config.webhooks.is_empty()
        || Happening::WORDS
            .iter()
            .any(|(_, happening)| config.hooks.command(*happening).is_some());
    let messenger = is_told
        .then(|| super::messenger::start(&path, log_level, true))
        .transpose()?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let on_end = {
        let (tally, json) = (Arc::clone(&tally), args.json.json);
        move |job: &Job| {
            count(&mut tally.lock().unwrap_or_else(PoisonError::into_inner), job);
            // Nobody reading on is no reason to leave the rest undone.
            let _ = tell(job, json);
        }
    };
    let catalogue = Arc::new(super::daemon_catalogue(&config).with_notice(|text| complain(text)));
    super::confine::confine(&config, &path);
    let pass = super::block_on(async {
        Ok(service::once(
            config,
            path,
            catalogue,
            args.folder.as_deref(),
            messenger,
            Box::new(on_end),
        )
        .await?)
    })?;
    for (folder, reason) in &pass.blocked {
        complain(format!("folder {folder}: {reason}"));
    }
    if pass.waiting > 0 {
        let why = match pass.is_paused {
            true => "wait: the queue is paused; `upscaled resume` ends that",
            false => "wait for another attempt; run it again later",
        };
        complain(format!("{} {why}", jobs(pass.waiting)));
    }
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(exit(&pass, &mut tally))
}

fn count(tally: &mut Tally, job: &Job) {
    match (job.state.shown(), &job.reason) {
        (JobState::Failed, Some(reason)) => tally.failed(of_reason(reason, job.report.input.is_some())),
        (JobState::Failed, None) => tally.failed(Exit::Failed),
        _ => tally.done(),
    }
}

/// What a whole pass tells its caller.
fn exit(pass: &Pass, tally: &mut Tally) -> Exit {
    if pass.interrupted {
        return Exit::Interrupted;
    }
    for (_, reason) in &pass.blocked {
        tally.failed(if reason.code == ReasonCode::Model {
            Exit::Unavailable
        } else {
            Exit::Io
        });
    }
    match tally.exit() {
        Exit::Done if pass.waiting > 0 => Exit::Temporary,
        exit => exit,
    }
}

fn jobs(n: u64) -> String {
    if n == 1 {
        "1 job has to".to_owned()
    } else {
        format!("{n} jobs have to")
    }
}

fn tell(job: &Job, json: bool) -> Result<(), Failure> {
    let mut out = Out::stdout();
    if json {
        return out.json_line(&job.document());
    }
    let source = shown(&job.source);
    match (job.state.shown(), &job.reason) {
        (JobState::Done, _) => {
            let result = job.result.as_deref().map(shown).unwrap_or_default();
            out.line(super::upscale::result_line(&source, &result, &job.report))?;
            for warning in &job.report.warnings {
                complain(format!("{source}: {warning}"));
            }
        }
        (JobState::Failed, Some(reason)) => complain(reason),
        (state, Some(reason)) => out.line(format_args!("{source}: {state}: {reason}"))?,
        (state, None) => out.line(format_args!("{source}: {state}"))?,
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn a_blocked_folder_and_a_second_attempt_are_told_apart() {
        let blocked = |code| Pass {
            blocked: vec![("a".to_owned(), Reason::new(code, "x"))],
            ..Pass::default()
        };
        assert_eq!(exit(&blocked(ReasonCode::Io), &mut Tally::default()), Exit::Io);
        assert_eq!(
            exit(&blocked(ReasonCode::Model), &mut Tally::default()),
            Exit::Unavailable
        );
        let mut some = Tally::default();
        some.done();
        assert_eq!(exit(&blocked(ReasonCode::Io), &mut some), Exit::Failed);
        let waiting = Pass {
            waiting: 1,
            ..Pass::default()
        };
        assert_eq!(exit(&waiting, &mut Tally::default()), Exit::Temporary);
        let interrupted = Pass {
            interrupted: true,
            ..blocked(ReasonCode::Io)
        };
        assert_eq!(exit(&interrupted, &mut Tally::default()), Exit::Interrupted);
    }
}
