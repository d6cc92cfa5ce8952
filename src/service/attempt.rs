//! Owns the ways an attempt ends without a result, and the looks at the source before and after the work. Never
//! records anything.

use std::path::Path;

use super::drive::Why;
use super::environment;
use super::shared::{Shared, recipe_hash};
use crate::config::{Config, Folder};
use crate::error::{Fault, Reason, ReasonCode};
use crate::fs::FileIdentity;
use crate::inference::InferenceError;
use crate::pipeline::PipelineError;
use crate::publish::PublishError;
use crate::queue::{Job, QueueError};
use crate::report::RenderReport;

/// Why an attempt ended without a result.
#[derive(Debug)]
pub(super) enum Stopped {
    Fault(Fault, Box<RenderReport>),
    /// There is no device for the folder's model, not even a processor.
    NoDevice(Fault, Box<RenderReport>),
    /// Nothing works on the device any more.
    DeviceLost(Reason, Box<RenderReport>),
    Withdrawn(Reason),
    Skipped(Reason),
    CancelRequested,
    ShuttingDown,
    /// The result has its name and may not be durable.
    Unsure(Fault),
    /// Somebody else answers for the job now.
    Lost,
    /// The executor does not come back.
    Hung,
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault, Box::default())
    }
}

impl From<PublishError> for Stopped {
    fn from(error: PublishError) -> Self {
        Fault::from(error).into()
    }
}

impl From<QueueError> for Stopped {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::LeaseLost { .. } => Self::Lost,
            error => Fault::from(error).into(),
        }
    }
}

/// What must hold before any work: the folder's surroundings, the recipe, and the file that was hashed.
pub(super) async fn preflight(
    shared: &Shared,
    job: &Job,
    config: &Config,
    folder: &Folder,
    source: &Path,
) -> Result<(), Stopped> {
    environment::check(shared.fs.as_ref(), folder, config.min_free_bytes)?;
    let model = shared.model(folder).await.map_err(Fault::from)?;
    check_recipe(shared, job, folder, &model.sha256)?;
    check_unchanged(job, source)
}

/// Whether the job is what its folder asks for with this model. Asked again with the one that made the pixels: its
/// file may have been replaced while they were.
pub(super) fn check_recipe(
    shared: &Shared,
    job: &Job,
    folder: &Folder,
    model_sha256: &str,
) -> Result<(), Stopped> {
    if recipe_hash(folder, model_sha256) == job.recipe && job.output_root == folder.output {
        return Ok(());
    }
    // The folder's intake may still take the model for the one before.
    shared.model_changed.notify_waiters();
    let text = format!(
        "{}: the folder's settings or its model changed; it is queued anew with them",
        job.source.display()
    );
    Err(Stopped::Withdrawn(Reason::new(ReasonCode::Io, text)))
}

/// Whether the source is still the file that was hashed (I1).
pub(super) fn check_unchanged(job: &Job, source: &Path) -> Result<(), Stopped> {
    let withdrawn = |why: &str| {
        let text = format!("{}: {why}", job.source.display());
        Err(Stopped::Withdrawn(Reason::new(ReasonCode::Io, text)))
    };
    match FileIdentity::read(source) {
        Ok(identity) if identity == job.identity => Ok(()),
        Ok(_) => withdrawn("the file changed since it was queued; it is queued anew when it is stable"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            withdrawn("the file is gone; drop it again to process it")
        }
        Err(error) => Err(Fault::from_read(format_args!("cannot read {}", source.display()), &error).into()),
    }
}

/// What a picture that failed means for its job.
pub(super) fn failed(error: PipelineError, report: RenderReport) -> Stopped {
    let of_session = match &error {
        PipelineError::Inference { error, .. } => Some(error.clone()),
        _ => None,
    };
    let (fault, report) = (Fault::from(error), Box::new(report));
    match of_session {
        Some(InferenceError::DeviceLost(_)) => Stopped::DeviceLost(fault.reason, report),
        Some(InferenceError::NoProvider(_)) => Stopped::NoDevice(fault, report),
        _ => Stopped::Fault(fault, report),
    }
}

/// What a picture that was asked to stop means for its job.
pub(super) fn stopped_by(why: Why, job: &Job, config: &Config, report: RenderReport) -> Stopped {
    match why {
        Why::CancelRequested => Stopped::CancelRequested,
        Why::Lost => Stopped::Lost,
        Why::ShuttingDown => Stopped::ShuttingDown,
        Why::Timeout => {
            let text = format!(
                "{}: no progress for {} s; raise job_timeout if the machine is that slow",
                job.source.display(),
                config.job_timeout.as_secs()
            );
            Stopped::Fault(
                Fault::retry(std::time::Duration::ZERO, ReasonCode::Timeout, text),
                Box::new(report),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Disposition;

    fn stopped(error: InferenceError) -> Stopped {
        let source_name = "a.png".to_owned();
        failed(
            PipelineError::Inference { source_name, error },
            RenderReport::default(),
        )
    }

    #[test]
    fn a_lost_device_and_a_missing_one_are_more_than_the_jobs_own_affair() {
        let Stopped::DeviceLost(reason, _) =
            stopped(InferenceError::DeviceLost("CUDA failure 700".to_owned()))
        else {
            panic!("a job that keeps the service running on a broken context");
        };
        assert_eq!(
            (reason.code, reason.message.as_str()),
            (
                ReasonCode::Model,
                "cannot upscale a.png: the device was lost: CUDA failure 700"
            )
        );
        for error in [
            InferenceError::OutOfMemory("2 GiB".to_owned()),
            InferenceError::Model("bad shape".to_owned()),
        ] {
            assert!(matches!(stopped(error), Stopped::Fault(..)));
        }
        let Stopped::NoDevice(fault, _) = stopped(InferenceError::NoProvider(Vec::new())) else {
            panic!("a folder that is blocked although another device could go on");
        };
        assert_eq!(fault.disposition, Disposition::Block, "the job is not charged");
    }
}
