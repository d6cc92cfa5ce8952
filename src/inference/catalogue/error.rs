//! Owns the reasons why a name gives no model, in the words that people read.

use super::EXTENSION;
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::inference::library::LibraryError;

/// Why a name gives no model. The same words wherever a model is named: at the start, by `doctor`, on the command
/// line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The name means nothing.
    #[error("unknown model {name:?}; use one of: {known}{}", or_put(name, places))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
        /// Where a file of that name would be found, if anywhere.
        places: Vec<String>,
    },
    /// No model could have such a name.
    #[error("{name:?} is no name of a model: {why}; `upscaled models list` shows the names")]
    BadName {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the model {path}: {why}; {next}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
        /// What to do.
        next: &'static str,
    },
    /// The file is no upscaler, or none that can be run.
    #[error("cannot use the model {path}: {why}; use another, `upscaled models list` shows them")]
    Unusable {
        /// The file.
        path: String,
        /// What was found.
        why: String,
    },
    /// Another model has the name.
    #[error(
        "the name {name:?} is taken by {by}; give another with --name, or remove that one with `upscaled models remove`"
    )]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        by: String,
    },
    /// It cannot be removed.
    #[error(
        "{name} is inside the program and cannot be removed; a folder that does not name it does not use it"
    )]
    BuiltIn {
        /// The name.
        name: String,
    },
    /// The directory of models, or a file in it, cannot be changed.
    #[error("cannot write {path}: {why}; let this user write there, or name another state_dir")]
    Unwritable {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },
    /// It has to be examined, and there is nothing to run it with.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

impl From<ModelError> for Fault {
    /// Whoever put the file there has to correct it; no picture is at fault.
    fn from(error: ModelError) -> Self {
        Self {
            disposition: Disposition::Block,
            reason: Reason::new(ReasonCode::Model, error.to_string()),
        }
    }
}

/// The other way to a model of that name.
fn or_put(name: &str, places: &[String]) -> String {
    match places {
        [] => String::new(),
        places => format!("; or put {name}.{EXTENSION} into {}", places.join(" or ")),
    }
}
