//! Owns the event: what is told of a job that ended and of a queue that ran empty, as a document, as variables of an
//! environment, and as a line. Never sends anything.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Happening, Word};
use crate::report::{DOCUMENT_VERSION, JobDocument, JobState, path_text};

/// What came to an end since the queue ran empty last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Jobs that are done.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Jobs that were left alone.
    pub skipped: u64,
    /// Jobs that were called off.
    pub cancelled: u64,
}

impl Tally {
    /// Counts a job that ended.
    pub fn count(&mut self, state: JobState) {
        match state {
            JobState::Done => self.done += 1,
            JobState::Failed => self.failed += 1,
            JobState::Skipped => self.skipped += 1,
            JobState::Cancelled => self.cancelled += 1,
            JobState::Queued | JobState::Running => {}
        }
    }

    /// Whether nothing ended.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that happened; as JSON the body of a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// What.
    pub event: Happening,
    /// When.
    pub at: Timestamp,
    /// One line for a person.
    pub text: String,
    /// The source's absolute path, lossily decoded; null for `idle`.
    pub source_path: Option<String>,
    /// The exact bytes of `source_path` in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_path_hex: Option<String>,
    /// The result's absolute path, lossily decoded; null without one.
    pub result_path: Option<String>,
    /// The exact bytes of `result_path` in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result_path_hex: Option<String>,
    /// The job's document; null for `idle`.
    pub job: Option<JobDocument>,
    /// What ended since the queue ran empty last; null but for `idle`.
    pub ended: Option<Tally>,
}

impl Event {
    /// A job is done or failed for good; `None` for every other end, which nobody asked to hear of.
    pub fn of_job(at: Timestamp, job: JobDocument, source: &Path, result: Option<&Path>) -> Option<Self> {
        let (event, text) = match job.state {
            JobState::Done => (Happening::Done, done_text(&job)),
            JobState::Failed => {
                let reason = job.reason.as_ref().map(|reason| reason.message.as_str());
                (Happening::Failed, reason.unwrap_or("failed").to_owned())
            }
            _ => return None,
        };
        let (source_path, source_path_hex) = path_text(source);
        let (result_path, result_path_hex) = result.map(path_text).unzip();
        Some(Self {
            version: DOCUMENT_VERSION,
            event,
            at,
            text: crate::error::one_line(&text),
            source_path: Some(source_path),
            source_path_hex,
            result_path,
            result_path_hex: result_path_hex.flatten(),
            job: Some(job),
            ended: None,
        })
    }

    /// The queue ran empty.
    pub fn idle(at: Timestamp, ended: Tally) -> Self {
        Self {
            version: DOCUMENT_VERSION,
            event: Happening::Idle,
            at,
            text: format!("the queue is empty: {} done, {} failed", ended.done, ended.failed),
            source_path: None,
            source_path_hex: None,
            result_path: None,
            result_path_hex: None,
            job: None,
            ended: Some(ended),
        }
    }

    /// The variables that a command finds in its environment. Those that mean nothing for an event are not set.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut set = vec![
            ("UPSCALED_EVENT", self.event.word().into()),
            ("UPSCALED_AT", self.at.to_string().into()),
            ("UPSCALED_TEXT", OsString::from(&self.text)),
        ];
        let path = |text: &Option<String>, hex: &Option<String>| {
            let exact = hex.as_deref().and_then(bytes).map(OsString::from_vec);
            exact.or_else(|| text.clone().map(OsString::from))
        };
        let source = path(&self.source_path, &self.source_path_hex);
        let result = path(&self.result_path, &self.result_path_hex);
        set.extend(source.map(|path| ("UPSCALED_SOURCE", path)));
        set.extend(result.map(|path| ("UPSCALED_RESULT", path)));
        if let Some(job) = &self.job {
            set.extend(
                job_variables(job)
                    .into_iter()
                    .map(|(name, text)| (name, text.into())),
            );
        }
        if let Some(ended) = &self.ended {
            for (name, n) in [
                ("UPSCALED_DONE", ended.done),
                ("UPSCALED_FAILED", ended.failed),
                ("UPSCALED_SKIPPED", ended.skipped),
                ("UPSCALED_CANCELLED", ended.cancelled),
            ] {
                set.push((name, n.to_string().into()));
            }
        }
        // No environment can hold a NUL, and no path either; a text could.
        set.retain(|(_, value)| !value.as_encoded_bytes().contains(&0));
        set
    }
}

fn job_variables(job: &JobDocument) -> Vec<(&'static str, String)> {
    let mut set = vec![
        ("UPSCALED_STATE", job.state.as_str().to_owned()),
        ("UPSCALED_ATTEMPTS", job.attempts.to_string()),
    ];
    let mut add = |name, value: Option<String>| set.extend(value.map(|value| (name, value)));
    let report = &job.report;
    add("UPSCALED_JOB", job.job.map(|job| job.to_string()));
    add("UPSCALED_FOLDER", job.folder.clone());
    add(
        "UPSCALED_REASON_CODE",
        job.reason.as_ref().map(|reason| reason.code.as_str().to_owned()),
    );
    add(
        "UPSCALED_REASON",
        job.reason.as_ref().map(|reason| reason.message.clone()),
    );
    add(
        "UPSCALED_SECONDS",
        report.seconds.map(|seconds| format!("{:.3}", seconds.total)),
    );
    add(
        "UPSCALED_MODEL",
        report.model.as_ref().map(|model| model.name.clone()),
    );
    if job.state == JobState::Done {
        let output = report.output.as_ref();
        add("UPSCALED_WIDTH", output.map(|output| output.width.to_string()));
        add("UPSCALED_HEIGHT", output.map(|output| output.height.to_string()));
        add("UPSCALED_BYTES", output.map(|output| output.bytes.to_string()));
    }
    set
}

fn done_text(job: &JobDocument) -> String {
    let mut text = format!("{} is done", job.source);
    if let Some(result) = &job.result {
        text.push_str(&format!(": {result}"));
    }
    if let Some(output) = &job.report.output {
        text.push_str(&format!(", {} × {}", output.width, output.height));
    }
    if let Some(seconds) = job.report.seconds {
        text.push_str(&format!(", {:.1} s", seconds.total));
    }
    text
}

/// The bytes of small hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
