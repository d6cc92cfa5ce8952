//! Owns `upscaled jobs`: looking at the ledger and steering it, whether or not a daemon runs. Never works on a
//! picture.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::args::{JobsCommand, JobsListArgs};
use super::exit::{Exit, Failure};
use super::out::{Out, ago, bytes, complain, shown};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::{Reason, one_line};
use crate::fs::RealFilesystem;
use crate::queue::{Attempt, Filter, InstanceLock, Job, JobId, QueueError, Steered, Store};
use crate::report::{JobDocument, JobState, path_text};
use crate::status::{JobFiles, Tenancy};

/// A line of `jobs list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    job: i64,
    folder: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_hex: Option<String>,
    state: JobState,
    attempts: u32,
    reason: Option<Reason>,
    queued_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl From<&Job> for Listed {
    fn from(job: &Job) -> Self {
        let (source, source_hex) = path_text(&job.source);
        Self {
            job: job.id.0,
            folder: job.folder.clone(),
            source,
            source_hex,
            state: job.state.shown(),
            attempts: job.attempts,
            reason: job.reason.clone(),
            queued_at: job.queued_at,
            finished_at: job.finished_at,
        }
    }
}

/// What `retry`, `cancel` and `remove` did to one job.
#[derive(Debug, Serialize)]
struct Done {
    job: i64,
    /// `null`: there is no such job, or no more.
    state: Option<JobState>,
    changed: bool,
    #[serde(skip)]
    words: String,
}

/// Lists, shows, retries, cancels, removes.
pub fn jobs(named: Option<&Path>, command: JobsCommand) -> Result<Exit, Failure> {
    let (_, config) = super::load(named)?;
    match command {
        JobsCommand::List(args) => list(&config, args),
        JobsCommand::Show { id, json } => show(&config, id, json.json),
        JobsCommand::Retry {
            ids,
            all_failed,
            json,
        } => {
            let done = super::block_on(retry(&config, &ids, all_failed))?;
            if done.is_empty() && !json.json {
                let mut out = Out::stdout();
                out.line("no job has failed")?;
                out.flush()?;
                return Ok(Exit::Done);
            }
            tell_steered(&done, json.json)
        }
        JobsCommand::Cancel { ids, json } => {
            tell_steered(&super::block_on(cancel(&config, &ids))?, json.json)
        }
        JobsCommand::Remove { ids, json } => {
            tell_steered(&super::block_on(remove(&config, &ids))?, json.json)
        }
    }
}

fn list(config: &Config, args: JobsListArgs) -> Result<Exit, Failure> {
    if let Some(name) = args
        .folder
        .as_deref()
        .filter(|name| config.folder(name).is_none())
    {
        // Jobs of a folder that left the configuration are still in the ledger, so this is no error.
        tracing::warn!("the configuration has no folder {name:?}");
    }
    let filter = Filter {
        state: args.state,
        folder: args.folder,
        limit: Some(args.limit),
    };
    let jobs = super::block_on(async {
        match Store::open_read_only(&config.state_dir, SystemClock::shared()).await {
            Ok(store) => {
                let jobs = store.list(&filter).await;
                store.close().await;
                Ok(jobs?)
            }
            // Nothing ran yet, so there are no jobs.
            Err(QueueError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    })?;
    let mut out = Out::stdout();
    if args.json.json {
        out.json(&jobs.iter().map(Listed::from).collect::<Vec<_>>())?;
    } else if jobs.is_empty() {
        out.line("no jobs")?;
    } else {
        let now = SystemClock::shared().wall();
        let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, now)).collect();
        out.table(
            &["JOB", "STATE", "FOLDER", "TRIES", "WHEN", "SOURCE", "REASON"],
            &rows,
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn row(job: &Job, now: Timestamp) -> Vec<String> {
    vec![
        job.id.to_string(),
        job.state.shown().to_string(),
        one_line(&job.folder),
        job.attempts.to_string(),
        ago(job.finished_at.or(job.started_at).unwrap_or(job.queued_at), now),
        shown(&job.source),
        job.reason
            .as_ref()
            .map(|reason| reason.code.to_string())
            .unwrap_or_default(),
    ]
}

fn show(config: &Config, id: JobId, json: bool) -> Result<Exit, Failure> {
    let found = super::block_on(async {
        let store = Store::open_read_only(&config.state_dir, SystemClock::shared()).await?;
        let job = store.get(id).await?;
        let attempts = store.attempts(id).await?;
        store.close().await;
        Ok(job.map(|job| (job, attempts)))
    })?;
    let Some((job, attempts)) = found else {
        return Err(Failure::new(Exit::Failed, unknown(id)));
    };
    let mut out = Out::stdout();
    if json {
        out.json(&job.document())?;
    } else {
        for (key, value) in facts(&job) {
            out.line(format_args!("{key:<10} {value}"))?;
        }
        for attempt in &attempts {
            out.line(attempt_line(attempt))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn unknown(id: JobId) -> String {
    format!("there is no job {id}; `upscaled jobs list` shows those there are")
}

fn when(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The job's facts as far as there are any.
fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let document = job.document();
    let JobDocument { report, .. } = &document;
    let mut facts = vec![
        ("job", job.id.to_string()),
        ("state", job.state.shown().to_string()),
        ("folder", one_line(&job.folder)),
        ("source", shown(&job.source)),
    ];
    let mut fact = |key, value: Option<String>| facts.extend(value.map(|value| (key, value)));
    fact(
        "reason",
        job.reason
            .as_ref()
            .map(|reason| format!("{}: {}", reason.code, reason.message)),
    );
    fact("result", document.result.as_deref().map(one_line));
    fact(
        "input",
        report.input.as_ref().map(|input| {
            let icc = input
                .icc
                .as_deref()
                .map(|icc| format!(", {}", one_line(icc)))
                .unwrap_or_default();
            format!(
                "{}×{} {}, {} bit{icc}",
                input.width, input.height, input.format, input.bit_depth
            )
        }),
    );
    fact(
        "output",
        report.output.as_ref().map(|output| {
            format!(
                "{}×{} {}, {}",
                output.width,
                output.height,
                output.format,
                bytes(output.bytes)
            )
        }),
    );
    fact(
        "model",
        report
            .model
            .as_ref()
            .map(|model| format!("{}, ×{}", model.name, model.scale)),
    );
    fact(
        "plan",
        report.plan.as_ref().map(|plan| {
            let [width, height] = plan.tile;
            let pieces = match plan.tiles {
                1 => "one piece".to_owned(),
                n => format!("{}, {n} tiles of {width}×{height}", plan.tiling),
            };
            format!("{pieces}, {} on {}", plan.precision, plan.device)
        }),
    );
    fact(
        "seconds",
        report.seconds.map(|seconds| format!("{:.1}", seconds.total)),
    );
    fact("queued", Some(when(job.queued_at)));
    fact("started", job.started_at.map(when));
    fact("finished", job.finished_at.map(when));
    facts.extend(
        report
            .warnings
            .iter()
            .map(|warning| ("warning", one_line(warning))),
    );
    facts
}

fn attempt_line(attempt: &Attempt) -> String {
    let outcome = attempt.outcome.as_deref().unwrap_or("running");
    let reason = attempt
        .reason
        .as_ref()
        .map(|reason| format!(": {}", reason.message))
        .unwrap_or_default();
    format!(
        "attempt {:<2} {}  {outcome}{reason}",
        attempt.number,
        when(attempt.started_at)
    )
}

/// Opens the ledger for steering. It must be there: a typing error in `state_dir` must not make a new one.
pub(super) async fn open(config: &Config) -> Result<Store, QueueError> {
    let clock = SystemClock::shared();
    Store::open_read_only(&config.state_dir, clock.clone())
        .await?
        .close()
        .await;
    Store::open(&config.state_dir, clock).await
}

async fn retry(config: &Config, ids: &[JobId], all_failed: bool) -> Result<Vec<Done>, Failure> {
    let store = open(config).await?;
    let steered = if all_failed {
        let jobs = store.retry_all_failed().await?;
        jobs.into_iter()
            .map(|job| (job.id, Steered::Changed(Box::new(job))))
            .collect()
    } else {
        store.retry(ids).await?
    };
    let mut done = Vec::with_capacity(steered.len());
    for (id, steered) in steered {
        done.push(match steered {
            Steered::Changed(job) | Steered::Requested(job) => {
                let words = format!("job {id}, {}: queued again", shown(&job.source));
                write_job_file(&store, config, &job).await;
                Done {
                    job: id.0,
                    state: Some(job.state.shown()),
                    changed: true,
                    words,
                }
            }
            Steered::Unchanged(state) => {
                unchanged(id, state, "only failed, skipped and cancelled jobs are retried")
            }
            Steered::Unknown => missing(id),
        });
    }
    store.close().await;
    Ok(done)
}

async fn cancel(config: &Config, ids: &[JobId]) -> Result<Vec<Done>, Failure> {
    let store = open(config).await?;
    let mut done = Vec::with_capacity(ids.len());
    for (id, steered) in store.cancel(ids).await? {
        done.push(match steered {
            Steered::Changed(job) => {
                let words = format!("job {id}, {}: cancelled", shown(&job.source));
                write_job_file(&store, config, &job).await;
                Done {
                    job: id.0,
                    state: Some(job.state.shown()),
                    changed: true,
                    words,
                }
            }
            Steered::Requested(job) => {
                // A row that a dead service left behind.
                let when = match InstanceLock::holder(&config.state_dir) {
                    Some(_) => "stops at its next tile",
                    None => "no service runs, its next start cancels it",
                };
                let words = format!("job {id}, {}: {when}", shown(&job.source));
                Done {
                    job: id.0,
                    state: Some(job.state.shown()),
                    changed: true,
                    words,
                }
            }
            Steered::Unchanged(state) => unchanged(id, state, "only queued and running jobs are cancelled"),
            Steered::Unknown => missing(id),
        });
    }
    store.close().await;
    Ok(done)
}

async fn remove(config: &Config, ids: &[JobId]) -> Result<Vec<Done>, Failure> {
    let store = open(config).await?;
    let mut done = Vec::with_capacity(ids.len());
    for (id, steered) in store.remove(ids).await? {
        done.push(match steered {
            Steered::Changed(job) | Steered::Requested(job) => {
                if !store.has_job_of(&job.folder, &job.source).await? {
                    forget_files(config, &job);
                }
                let folder = config.folder(&job.folder);
                let is_there = folder.is_some_and(|folder| folder.input.join(&job.source).is_file());
                let next = match is_there {
                    true => "; the file still lies there, so the next scan takes it as a new one",
                    false => "",
                };
                Done {
                    job: id.0,
                    state: None,
                    changed: true,
                    words: format!("job {id}, {}: removed{next}", shown(&job.source)),
                }
            }
            Steered::Unchanged(state) => unchanged(
                id,
                state,
                "only finished jobs are removed, `upscaled jobs cancel` finishes it",
            ),
            Steered::Unknown => missing(id),
        });
    }
    store.close().await;
    Ok(done)
}

fn unchanged(id: JobId, state: JobState, why: &str) -> Done {
    Done {
        job: id.0,
        state: Some(state),
        changed: false,
        words: format!("job {id} is {state}, left as it is: {why}"),
    }
}

fn missing(id: JobId) -> Done {
    Done {
        job: id.0,
        state: None,
        changed: false,
        words: unknown(id),
    }
}

/// A job file is written at every change of state, by whoever makes the change. A daemon may go on with the job
/// at once and write its file too; whoever comes last must write the latest, so this looks again afterwards.
async fn write_job_file(store: &Store, config: &Config, job: &Job) {
    let Some(files) = job_files(config, job) else {
        return;
    };
    let mut job = job.clone();
    loop {
        if let Err(error) = files.write(&job.document(), &job.source) {
            complain(format!("the ledger is changed, the job file is not: {error}"));
            return;
        }
        match store.get(job.id).await {
            Ok(Some(now)) if now.document() != job.document() => job = now,
            _ => return,
        }
    }
}

/// Nobody else writes them: the ledger has no job of that source any more.
fn forget_files(config: &Config, job: &Job) {
    if let Some(files) = job_files(config, job)
        && let Err(error) = files.forget(&job.source)
    {
        complain(format!("the ledger is changed, the job file is not: {error}"));
    }
}

/// Where the job's files are; `None` for a folder that the configuration does not have.
fn job_files(config: &Config, job: &Job) -> Option<JobFiles> {
    let index = config
        .folders
        .iter()
        .position(|folder| folder.name == job.folder)?;
    let tenancy = Tenancy::of(&config.folders, index);
    Some(JobFiles::for_tenant(
        RealFilesystem::shared(),
        job.output_root.clone(),
        &tenancy,
    ))
}

fn tell_steered(done: &[Done], json: bool) -> Result<Exit, Failure> {
    let mut out = Out::stdout();
    if json {
        out.json(&done)?;
    } else {
        for done in done {
            if done.changed {
                out.line(&done.words)?;
            } else {
                complain(&done.words);
            }
        }
    }
    out.flush()?;
    let all = done.iter().all(|done| done.changed);
    Ok(if all { Exit::Done } else { Exit::Failed })
}
