//! Owns examining a file in a process of its own. ONNX Runtime was not written for files of strangers: what crashes it,
//! or takes all memory, must not take the service along; and its arena for the processor is one for each process, which
//! the session of the running job has.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ModelError, file};
use crate::error::plain;
use crate::inference::apart;
use crate::inference::card::ModelCard;
use crate::inference::library::LibraryError;
use crate::progress::Cancel;

/// The command that answers.
pub const COMMAND: &str = "examine";

/// Whoever is not done by then hangs: probing bounds itself to a minute or so on two slow cores.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What the other process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is an upscaler.
    Card(Box<ModelCard>),
    /// It is none, or none that can be used.
    Refused(String),
    /// There was nothing to run it with.
    NoRuntime {
        /// The library.
        path: String,
        /// The loader's words.
        why: String,
    },
}

impl From<Result<ModelCard, ModelError>> for Answer {
    fn from(found: Result<ModelCard, ModelError>) -> Self {
        match found {
            Ok(card) => Self::Card(Box::new(card)),
            Err(ModelError::Unusable { why, .. } | ModelError::Unreadable { why, .. }) => Self::Refused(why),
            Err(ModelError::Library(LibraryError::Unusable { path, why })) => Self::NoRuntime { path, why },
            Err(other) => Self::Refused(other.to_string()),
        }
    }
}

/// Asks `program` about the file.
///
/// # Errors
/// What it says, or that it came to no end.
pub fn examine(
    program: &Path,
    library: &Path,
    state_dirs: &[PathBuf],
    path: &Path,
) -> Result<ModelCard, ModelError> {
    let mut command = apart::command(program, COMMAND);
    command
        .arg("--library")
        .arg(library)
        .args(
            state_dirs
                .iter()
                .flat_map(|dir| ["--state-dir".as_ref(), dir.as_os_str()]),
        )
        .arg("--")
        .arg(path);
    let (status, answer) = apart::answer(&mut command, PATIENCE, &Cancel::default()).map_err(|error| {
        file::unusable(
            path,
            format!(
                "it could not be examined in a process of its own ({})",
                plain(&error)
            ),
        )
    })?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Card(card)) => Ok(*card),
        Ok(Answer::Refused(why)) => Err(file::unusable(path, why)),
        Ok(Answer::NoRuntime { path, why }) => Err(LibraryError::Unusable { path, why }.into()),
        Err(_) => Err(file::unusable(path, no_answer(status))),
    }
}

fn no_answer(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGKILL) => "examining it took all memory or came to no end".to_owned(),
        Some(signal) => format!("ONNX Runtime crashed on it (signal {signal})"),
        None => format!("examining it ended without an answer ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ask(script: &str) -> Result<ModelCard, ModelError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        examine(&program, Path::new("lib.so"), &[], Path::new("mine.onnx"))
    }

    #[test]
    fn a_crash_over_a_file_is_the_files_fault_and_nobody_elses() {
        let said = |script| ask(script).unwrap_err().to_string();
        assert!(said("kill -SEGV $$").contains("mine.onnx: ONNX Runtime crashed on it (signal 11)"));
        assert!(said("kill -KILL $$").contains("took all memory or came to no end"));
        assert!(said("echo nonsense").contains("without an answer"));
        assert!(said("echo '{\"refused\":\"it is a classifier\"}'").contains("it is a classifier"));
    }

    #[test]
    fn the_answer_crosses_the_border_as_it_is() {
        let card = crate::inference::Model::built_in("span-x2").unwrap().card;
        let answer = serde_json::to_string(&Answer::from(Ok(card.clone()))).unwrap();
        assert_eq!(ask(&format!("echo '{answer}'")), Ok(card));
    }
}
