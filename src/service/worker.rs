//! Owns the crash order of a job: claim → render → seal → record publishing → rename → record done → dispose.
//! The only place where the two planes meet. Never decides whose fault a failure is (the error knows), never
//! renames (publish does) and never writes SQL (the ledger does).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::attempt::{Stopped, check_recipe, check_unchanged, failed, preflight, stopped_by};
use super::dispose::dispose;
use super::drive::drive;
use super::error::ServiceError;
use super::shared::{Current, Shared, blocking, lock};
use super::sidecar::{Companion, carry_sidecars};
use crate::codec;
use crate::config::{Config, Folder, with_actual_format};
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::pipeline::PipelineError;
use crate::pipeline::executor::{Executor, ExecutorSettings, Order};
use crate::progress::{Cancel, Progress};
use crate::publish::{Choice, PublishError, SealedFile, StagedFile};
use crate::queue::{Claim, Job, JobOutcome, Publishing, QueueError};
use crate::report::RenderReport;
use crate::size::Size;

/// A name can be taken again and again while we publish; whoever does that a hundred times does it for ever.
const NAMES_TRIED_MAX: u32 = 100;

/// A worker: brings jobs to their ends, one by one, on the executor of one device.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    /// What its executor was made from.
    settings: ExecutorSettings,
    /// `None` once it hung: joining its thread would hang too.
    executor: Option<Executor>,
    stop: watch::Receiver<bool>,
}

/// What a worker comes back with from a job.
#[derive(Debug)]
pub enum Worked {
    /// The job is at an end, or waits for another attempt.
    Done,
    /// There is no device for this folder's model: the job waits, and nothing was charged.
    NoDevice { folder: String, reason: Reason },
}

/// What an attempt made: published and durable, not yet recorded.
#[derive(Debug)]
struct Made {
    /// Below the output folder.
    result: PathBuf,
    report: RenderReport,
}

impl Worker {
    /// A worker on this executor, which was made from these settings; `stop` turns true when the job in work is to come
    /// to an end.
    pub fn new(
        shared: Arc<Shared>,
        settings: ExecutorSettings,
        executor: Executor,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            shared,
            settings,
            executor: Some(executor),
            stop,
        }
    }

    /// What its executor was made from.
    pub fn settings(&self) -> &ExecutorSettings {
        &self.settings
    }

    /// The number of its device.
    pub fn device_id(&self) -> u32 {
        self.settings.session.device_id
    }

    /// The executor, for probes between two jobs.
    pub fn executor(&self) -> Option<&Executor> {
        self.executor.as_ref()
    }

    /// Brings a claimed job to its end. Runs to that end; dropped in the middle it leaves what a crash leaves.
    ///
    /// # Errors
    /// The ledger cannot be used, the device is lost, or the executor hangs.
    pub async fn work(&mut self, claim: Claim) -> Result<Worked, ServiceError> {
        let config = self.shared.config();
        let Some(folder) = config.folder(&claim.job().folder) else {
            // The folder left the configuration between the list of exclusions and the claim. Nothing was done:
            // the next look comes with a new list.
            self.shared.store.release(claim).await?;
            return Ok(Worked::Done);
        };
        let progress = self.begin(claim.job()).await;
        let ended = self.attempt(&claim, &config, folder, progress).await;
        let id = claim.job().id;
        let recorded = self.record(claim, folder, ended).await;
        lock(&self.shared.current).remove(&self.device_id());
        match recorded {
            Err(ServiceError::Queue(error @ QueueError::LeaseLost { .. })) => {
                tracing::warn!(job = id.0, "{error}");
                Ok(Worked::Done)
            }
            recorded => recorded,
        }
    }

    /// Shows the job as the one in work.
    async fn begin(&self, job: &Job) -> Arc<Progress> {
        let source = job.source.display();
        tracing::info!(job = job.id.0, attempt = job.attempts, folder = job.folder, %source, "begun");
        let progress = Arc::new(Progress::default());
        let current = Current {
            job: job.id,
            folder: job.folder.clone(),
            source: job.source.clone(),
            progress: Arc::clone(&progress),
            started: self.shared.clock.monotonic(),
        };
        lock(&self.shared.current).insert(self.device_id(), current);
        self.shared.announce(job).await;
        progress
    }

    /// Everything up to the rename. Each `?` leaves either a temporary file, which goes with its owner, or a
    /// recorded intent that recovery can finish.
    async fn attempt(
        &mut self,
        claim: &Claim,
        config: &Config,
        folder: &Folder,
        progress: Arc<Progress>,
    ) -> Result<Made, Stopped> {
        let job = claim.job();
        let source = folder.input.join(&job.source);
        self.heartbeat(preflight(&self.shared, job, config, folder, &source))
            .await?;
        let own_result = self.shared.store.own_result(job).await?;
        self.choose(job, folder, &job.output, own_result.as_deref())
            .await?;

        let staged = self.stage(job).await?;
        let mut report = self
            .render(claim, config, folder, &source, &staged, progress)
            .await?;
        staged.set_modified(job.identity.modified());
        let sealed = self
            .seal(staged, &report)
            .await
            .map_err(|fault| Stopped::Fault(fault, Box::new(report.clone())))?;
        // The pixels were read while anybody could write: only if the file is still the one that was hashed is
        // this a result of it.
        check_unchanged(job, &source)?;
        if let Some(model) = &report.model {
            check_recipe(&self.shared, job, folder, &model.sha256)?;
        }

        let planned = named_by_content(&job.output, &report);
        let result = self
            .publish(claim, folder, &planned, own_result.as_deref(), &sealed, &report)
            .await?;
        report
            .warnings
            .extend(sidecars(&self.shared, job, folder, &result, &report).await);
        Ok(Made { result, report })
    }

    /// Where the result goes, by the folder's policy and what lies there now.
    async fn choose(
        &self,
        job: &Job,
        folder: &Folder,
        planned: &Path,
        own_result: Option<&Path>,
    ) -> Result<(PathBuf, bool), Stopped> {
        let publisher = self.shared.publisher.clone();
        let (root, planned) = (job.output_root.clone(), planned.to_owned());
        let (own, on_conflict) = (own_result.map(Path::to_owned), folder.on_conflict);
        let wanted = planned.clone();
        let choice =
            blocking(move || publisher.choose_final(&root, &wanted, own.as_deref(), on_conflict)).await?;
        match choice {
            Choice::Write { path, replace } => Ok((path, replace)),
            Choice::Skip => Err(Stopped::Skipped(Reason::new(
                ReasonCode::Io,
                format!(
                    "skipped {}: {} is there already and on_conflict is \"skip\"; \
                     move that file away, then `upscaled jobs retry {}`",
                    job.source.display(),
                    job.output_root.join(planned).display(),
                    job.id
                ),
            ))),
        }
    }

    async fn stage(&self, job: &Job) -> Result<StagedFile, Stopped> {
        let publisher = self.shared.publisher.clone();
        let (root, output) = (job.output_root.clone(), job.output_root.join(&job.output));
        let token = format!("{}-{}", job.id, job.attempts);
        Ok(blocking(move || publisher.stage(&root, &output, &token)).await?)
    }

    /// Renders into the staged file, on the executor's thread.
    async fn render(
        &mut self,
        claim: &Claim,
        config: &Config,
        folder: &Folder,
        source: &Path,
        staged: &StagedFile,
        progress: Arc<Progress>,
    ) -> Result<RenderReport, Stopped> {
        let out = staged
            .file()
            .map_err(|error| Fault::from_write("cannot write the result", &error))?;
        let order = Order {
            source: source.to_owned(),
            recipe: folder.recipe.clone(),
            out,
            progress,
            cancel: Cancel::default(),
        };
        let Some(executor) = &self.executor else {
            return Err(Stopped::Hung);
        };
        let (rendered, why) = drive(&self.shared, config, claim, executor, order, self.stop.clone()).await;
        if let Some((report, _)) = &rendered {
            self.shared.metrics.rendered(report);
        }
        match (rendered, why) {
            (None, _) => {
                // Its thread cannot be joined. The process ends soon, and the thread with it.
                std::mem::forget(self.executor.take());
                Err(Stopped::Hung)
            }
            (Some((report, Ok(()))), _) => Ok(report),
            (Some((report, Err(PipelineError::Cancelled))), Some(why)) => {
                Err(stopped_by(why, claim.job(), config, report))
            }
            (Some((report, Err(error))), _) => Err(failed(error, report)),
        }
    }

    /// Makes the staged file durable and looks at it as a reader would.
    async fn seal(&self, staged: StagedFile, report: &RenderReport) -> Result<SealedFile, Fault> {
        let publisher = self.shared.publisher.clone();
        let expected = report.output.as_ref().and_then(|output| {
            let format = codec::ResultFormat::parse(&output.format)?;
            Some((Size::new(output.width, output.height), output.pictures, format))
        });
        self.heartbeat(blocking(move || {
            let sealed = publisher.seal(staged)?;
            if let Some((size, pictures, format)) = expected {
                codec::verify(&sealed.temp, size, pictures, format)?;
            }
            Ok(sealed)
        }))
        .await
    }

    /// Records the intent, renames, and tries another name if somebody took this one in between.
    async fn publish(
        &self,
        claim: &Claim,
        folder: &Folder,
        planned: &Path,
        own_result: Option<&Path>,
        sealed: &SealedFile,
        report: &RenderReport,
    ) -> Result<PathBuf, Stopped> {
        let job = claim.job();
        for _ in 0..NAMES_TRIED_MAX {
            let (result, replace) = self.choose(job, folder, planned, own_result).await?;
            let publishing = Publishing {
                temp: sealed.temp.clone(),
                final_path: job.output_root.join(&result),
                digest: sealed.digest,
            };
            self.shared
                .store
                .record_publishing(claim, &publishing, report)
                .await?;
            match self
                .shared
                .publisher
                .commit(sealed, &publishing.final_path, replace)
            {
                Ok(_) => return Ok(result),
                Err(PublishError::Taken { .. }) => {}
                Err(error @ PublishError::Unsure { .. }) => return Err(Stopped::Unsure(error.into())),
                Err(error) => return Err(Stopped::Fault(error.into(), Box::new(report.clone()))),
            }
        }
        let text = format!(
            "cannot publish {}: its name is taken again and again",
            planned.display()
        );
        Err(Stopped::Fault(
            Fault::quarantine(ReasonCode::Io, text),
            Box::new(report.clone()),
        ))
    }

    /// Ends the claim by how the attempt ended, tells it, and disposes of the source where that is asked for.
    async fn record(
        &mut self,
        claim: Claim,
        folder: &Folder,
        ended: Result<Made, Stopped>,
    ) -> Result<Worked, ServiceError> {
        let store = &self.shared.store;
        let id = claim.job().id;
        let job = match ended {
            Ok(Made { result, report }) => {
                let job = store.record_done(claim, &result, &report).await?;
                log_done(&job, &result, &report);
                self.shared.announce(&job).await;
                dispose(&self.shared, &job, folder).await;
                return Ok(Worked::Done);
            }
            Err(Stopped::Fault(fault, report)) => {
                let job = self.record_fault(claim, &fault, &report).await?;
                if fault.disposition == Disposition::Block {
                    self.shared.block(&folder.name, &fault.reason);
                }
                job
            }
            Err(Stopped::NoDevice(fault, report)) => {
                let job = self.record_fault(claim, &fault, &report).await?;
                self.shared.announce(&job).await;
                return Ok(Worked::NoDevice {
                    folder: folder.name.clone(),
                    reason: fault.reason,
                });
            }
            Err(Stopped::DeviceLost(reason, report)) => {
                return Err(self.record_device_lost(claim, reason, &report).await);
            }
            Err(Stopped::Withdrawn(reason)) => {
                tracing::info!(job = id.0, "{reason}");
                store.record_withdrawn(claim, reason).await?
            }
            Err(Stopped::Skipped(reason)) => {
                tracing::info!(job = id.0, "{reason}");
                store.record_skipped(claim, reason).await?
            }
            Err(Stopped::CancelRequested) => store.record_cancelled(claim).await?,
            Err(Stopped::ShuttingDown) => store.release(claim).await?,
            Err(Stopped::Lost) => {
                tracing::warn!(job = id.0, "the job was taken over; its work is dropped");
                return Ok(Worked::Done);
            }
            // The intent to publish stays recorded. When the folder works again, recovery finds the result, or not.
            Err(Stopped::Unsure(fault)) => {
                store.leave_publishing(claim).await?;
                self.shared.block(&folder.name, &fault.reason);
                return Ok(Worked::Done);
            }
            // The claim stays as it is: the next start finds it, and counts the attempt.
            Err(Stopped::Hung) => return Err(ServiceError::Hung { job: id }),
        };
        self.shared.announce(&job).await;
        Ok(Worked::Done)
    }

    async fn record_fault(
        &self,
        claim: Claim,
        fault: &Fault,
        report: &RenderReport,
    ) -> Result<Job, ServiceError> {
        let (job, outcome) = self.shared.store.record_fault(claim, fault, Some(report)).await?;
        log_outcome(&job, &outcome);
        if matches!(outcome, JobOutcome::Retrying { .. }) {
            self.shared.metrics.retried();
        }
        Ok(job)
    }

    /// Counts the loss, durably, before the service ends for it. It ends also where the job is somebody else's by now.
    async fn record_device_lost(&self, claim: Claim, reason: Reason, report: &RenderReport) -> ServiceError {
        let store = &self.shared.store;
        match store
            .record_device_lost(claim, reason.clone(), Some(report))
            .await
        {
            Ok((job, outcome)) => {
                log_outcome(&job, &outcome);
                self.shared.announce(&job).await;
            }
            Err(error @ QueueError::LeaseLost { job }) => tracing::warn!(job = job.0, "{error}"),
            Err(error) => return error.into(),
        }
        ServiceError::DeviceLost(reason)
    }

    /// Lets work that reports no progress of its own count as a turning loop.
    async fn heartbeat<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut beats = tokio::time::interval(super::BEAT);
        loop {
            tokio::select! {
                value = &mut work => return value,
                _ = beats.tick() => {
                    let now = self.shared.clock.monotonic();
                    self.shared.pulse.turned(now);
                    self.shared.pulse.progressed(now);
                }
            }
        }
    }
}

/// Carries the sidecars of a job's source to its published result; gives warnings.
pub(super) async fn sidecars(
    shared: &Shared,
    job: &Job,
    folder: &Folder,
    result: &Path,
    report: &RenderReport,
) -> Vec<String> {
    let publisher = shared.publisher.clone();
    let (source, root) = (folder.input.join(&job.source), job.output_root.clone());
    let (result, report) = (root.join(result), report.clone());
    let (policy, token) = (folder.recipe.metadata, format!("{}-{}", job.id, job.attempts));
    blocking(move || {
        let companion = Companion {
            source: &source,
            root: &root,
            result: &result,
            policy,
            report: &report,
        };
        carry_sidecars(&publisher, companion, &token)
    })
    .await
}

/// A file may lie about its format in its name; the result's name tells the truth.
fn named_by_content(planned: &Path, report: &RenderReport) -> PathBuf {
    let format = report
        .output
        .as_ref()
        .and_then(|output| codec::ResultFormat::parse(&output.format));
    match format.map(codec::ResultFormat::extensions) {
        Some(extensions @ [usual, ..]) => with_actual_format(planned, usual, extensions),
        _ => planned.to_owned(),
    }
}

fn log_outcome(job: &Job, outcome: &JobOutcome) {
    match outcome {
        JobOutcome::Failed(reason) => {
            tracing::warn!(job = job.id.0, code = reason.code.as_str(), "failed: {reason}");
        }
        JobOutcome::Retrying { reason, not_before } => {
            let code = reason.code.as_str();
            tracing::warn!(job = job.id.0, code, %not_before, "tried again later: {reason}");
        }
        _ => {}
    }
}

fn log_done(job: &Job, result: &Path, report: &RenderReport) {
    let plan = report.plan.as_ref();
    tracing::info!(
        job = job.id.0,
        attempt = job.attempts,
        folder = job.folder,
        result = %result.display(),
        tiles = plan.map(|plan| plan.tiles),
        provider = plan.map(|plan| plan.provider.as_str()),
        peak_bytes = report.device_peak_bytes,
        seconds = report.seconds.map(|seconds| seconds.total),
        "published"
    );
    for warning in &report.warnings {
        tracing::warn!(job = job.id.0, source = %job.source.display(), "{warning}");
    }
}
