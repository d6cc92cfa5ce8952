//! Owns what can be typed behind `upscaled jobs`.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::{JsonArg, refuse};
use crate::queue::JobId;
use crate::report::JobState;

/// `jobs …`
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first
    #[command(after_help = "Example:\n  upscaled jobs list --state failed --json | jq -r '.[].source'")]
    List(JobsListArgs),
    /// Tell everything about a job
    #[command(after_help = "Example:\n  upscaled jobs show 126")]
    Show {
        /// The job's number
        #[arg(value_name = "ID")]
        id: JobId,
        /// A job document.
        #[command(flatten)]
        json: JsonArg,
    },
    /// Queue failed, skipped or cancelled jobs again
    #[command(after_help = "Examples:\n  upscaled jobs retry 126 127\n  upscaled jobs retry --all-failed")]
    Retry {
        /// The jobs' numbers
        #[arg(value_name = "ID", required_unless_present = "all_failed")]
        ids: Vec<JobId>,
        /// Every job that failed
        #[arg(long, conflicts_with = "ids")]
        all_failed: bool,
        /// What became of each.
        #[command(flatten)]
        json: JsonArg,
    },
    /// Call jobs off; a running one stops at its next tile
    #[command(after_help = "Example:\n  upscaled jobs cancel 126")]
    Cancel {
        /// The jobs' numbers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<JobId>,
        /// What became of each.
        #[command(flatten)]
        json: JsonArg,
    },
    /// Remove finished jobs from the ledger, with their files in `.upscaled` and `failed`
    ///
    /// Sources and results stay. A source that still lies in the input folder is new to the ledger then, and the next
    /// scan queues it.
    #[command(after_help = "Example:\n  upscaled jobs remove 126")]
    Remove {
        /// The jobs' numbers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<JobId>,
        /// What became of each.
        #[command(flatten)]
        json: JsonArg,
    },
}

/// `jobs list`
#[derive(Debug, Args)]
pub struct JobsListArgs {
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = StateParser)]
    pub state: Option<JobState>,
    /// Only jobs of this folder
    #[arg(long, value_name = "NAME")]
    pub folder: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// An array.
    #[command(flatten)]
    pub json: JsonArg,
}

/// Reads a job's state.
#[derive(Debug, Clone, Copy)]
struct StateParser;

impl TypedValueParser for StateParser {
    type Value = JobState;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<JobState, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        JobState::parse(&text).ok_or_else(|| {
            let words = JobState::ALL.map(JobState::as_str).join(", ");
            refuse(command, arg, &format!("must be one of {words}, not {text:?}"))
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            JobState::ALL
                .into_iter()
                .map(|state| PossibleValue::new(state.as_str())),
        ))
    }
}
