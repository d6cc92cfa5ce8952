//! Owns the exit codes and which failure means which (CONTRACT §1). Never prints.

use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::error::{Disposition, Fault, Reason, ReasonCode, plain};
use crate::inference::{InferenceError, LibraryError, ModelError};
use crate::queue::QueueError;
use crate::service::ServiceError;

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Some inputs failed, the rest are done.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// No input could be read as an image.
    NoInput = 65,
    /// No usable ONNX Runtime, model or device.
    Unavailable = 69,
    /// Reading or writing failed.
    Io = 74,
    /// Another instance holds the state directory, or try again.
    Temporary = 75,
    /// The device was lost; a new process gets it clean. Taken from sysexits' EX_PROTOCOL, which nothing here can mean.
    DeviceLost = 76,
    /// The configuration is wrong or missing.
    Config = 78,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// With something to say: a line for each problem.
    #[error("{message}")]
    Told {
        /// The code.
        exit: Exit,
        /// What, which, why, what next.
        message: String,
    },
    /// Nobody reads our output any more (`| head`): that is the reader's right, not a failure.
    #[error("nobody reads the output")]
    Unread,
}

impl Failure {
    /// A failure with this code and line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Told {
            exit,
            message: message.into(),
        }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failed write to stdout.
    pub fn from_stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::new(
                Exit::Io,
                format!("cannot write to stdout: {}; see where it leads", plain(error)),
            ),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let exit = match error {
            ModelError::Taken { .. } | ModelError::Unwritable { .. } => Exit::Io,
            ModelError::BuiltIn { .. } => Exit::Usage,
            _ => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Self::new(Exit::Unavailable, error.to_string())
    }
}

impl From<InferenceError> for Failure {
    fn from(error: InferenceError) -> Self {
        let exit = match error {
            InferenceError::DeviceLost(_) => Exit::DeviceLost,
            _ => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::new(of_queue(&error), error.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let exit = match &error {
            ServiceError::Queue(error) => of_queue(error),
            ServiceError::Library(_) | ServiceError::Model { .. } => Exit::Unavailable,
            ServiceError::DeviceLost(_) => Exit::DeviceLost,
            ServiceError::Publish(_) => Exit::Io,
            ServiceError::NoFolder(_) => Exit::Config,
            ServiceError::UnknownFolder { .. } => Exit::Usage,
            ServiceError::System(_) | ServiceError::Hung { .. } | ServiceError::OutOfReach { .. } => {
                Exit::Temporary
            }
        };
        Self::new(exit, error.to_string())
    }
}

fn of_queue(error: &QueueError) -> Exit {
    match error {
        QueueError::AlreadyRunning { .. } | QueueError::Busy { .. } => Exit::Temporary,
        QueueError::NetworkFilesystem { .. } => Exit::Config,
        _ => Exit::Io,
    }
}

/// What one input's failure means.
///
/// `header_read`: whether the file was recognised as a picture before it failed.
pub fn of_reason(reason: &Reason, header_read: bool) -> Exit {
    match reason.code {
        ReasonCode::Unreadable | ReasonCode::Truncated => Exit::NoInput,
        ReasonCode::TooLarge | ReasonCode::Unsupported if !header_read => Exit::NoInput,
        ReasonCode::Io => Exit::Io,
        _ => Exit::Failed,
    }
}

/// As [`of_reason`]; a runtime, model or device that nobody could have used is no fault of the input's.
pub fn of_fault(fault: &Fault, header_read: bool) -> Exit {
    match (fault.disposition, fault.reason.code) {
        (Disposition::Block, ReasonCode::Model) => Exit::Unavailable,
        _ => of_reason(&fault.reason, header_read),
    }
}

/// The exit of a command that works through several inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    done: usize,
    failures: Vec<Exit>,
}

impl Tally {
    /// One more is done.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// One more failed, for this cause.
    pub fn failed(&mut self, cause: Exit) {
        if !self.failures.contains(&cause) {
            self.failures.push(cause);
        }
    }

    /// One cause for all that failed and nothing done: that cause. Otherwise "some failed".
    pub fn exit(&self) -> Exit {
        match self.failures.as_slice() {
            [] => Exit::Done,
            [only] if self.done == 0 => *only,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(done: usize, failures: &[Exit]) -> Exit {
        let mut tally = Tally::default();
        (0..done).for_each(|_| tally.done());
        failures.iter().for_each(|cause| tally.failed(*cause));
        tally.exit()
    }

    #[test]
    fn a_common_cause_is_told_only_when_nothing_was_done() {
        assert_eq!(tally(0, &[]), Exit::Done);
        assert_eq!(tally(3, &[]), Exit::Done);
        assert_eq!(tally(0, &[Exit::NoInput, Exit::NoInput]), Exit::NoInput);
        assert_eq!(tally(1, &[Exit::NoInput]), Exit::Failed);
        assert_eq!(tally(0, &[Exit::NoInput, Exit::Io]), Exit::Failed);
    }

    #[test]
    fn a_result_that_would_be_too_large_is_no_unreadable_input() {
        let reason = Reason::new(ReasonCode::TooLarge, "too large");
        assert_eq!(of_reason(&reason, true), Exit::Failed);
        assert_eq!(of_reason(&reason, false), Exit::NoInput);
    }

    #[test]
    fn a_missing_device_is_told_from_a_model_that_fails_on_one_picture() {
        let missing = Fault::block(ReasonCode::Model, "no device");
        let failing = Fault::quarantine(ReasonCode::Model, "bad shape");
        assert_eq!(of_fault(&missing, true), Exit::Unavailable);
        assert_eq!(of_fault(&failing, true), Exit::Failed);
    }

    /// systemd, Docker and scripts tell it from a device that is not there (69) by this.
    #[test]
    fn a_lost_device_has_a_code_of_its_own_from_every_command() {
        let lost = Reason::new(ReasonCode::Model, "the device was lost: CUDA failure 700");
        let service = Failure::from(ServiceError::DeviceLost(lost));
        let command = Failure::from(InferenceError::DeviceLost("CUDA failure 700".to_owned()));
        for failure in [service, command] {
            let Failure::Told { exit, message } = failure else {
                panic!("{failure}")
            };
            assert_eq!(exit as u8, 76);
            assert_eq!(message.lines().count(), 1);
        }
    }
}
