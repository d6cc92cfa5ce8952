//! Owns the vocabulary in which a job's facts are told: the job document of CONTRACT §3, key by key.
//! Plain data; the pipeline fills it, the ledger stores it, status and the command line print it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::ratio::Ratio;

/// Version of the documents' shape; grows only when a key changes its meaning.
pub const DOCUMENT_VERSION: u32 = 1;

/// What was found in the source's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFacts {
    /// Columns as stored, before orientation.
    pub width: u32,
    /// Rows as stored, before orientation.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `tiff`, `bmp`.
    pub format: String,
    /// Bits per sample: 8 or 16 (fewer are expanded to 8).
    pub bit_depth: u8,
    /// Samples per pixel: 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha.
    pub channels: u8,
    /// The embedded profile's description, if there is a profile.
    pub icc: Option<String>,
    /// EXIF orientation, 1 to 8; 1 where the file says nothing.
    pub orientation: u8,
    /// Pictures in the file: frames of an animation, pages of a document.
    #[serde(default = "one_picture")]
    pub pictures: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFacts {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// As `format` in the configuration spells it.
    pub format: String,
    /// Pictures in the file: frames of an animation, pages of a document.
    #[serde(default = "one_picture")]
    pub pictures: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Which model did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The name it goes by.
    pub name: String,
    /// sha256 of the .onnx file, hexadecimal.
    pub sha256: String,
    /// Output pixels per input pixel and side.
    pub scale: Ratio,
}

/// How the picture was cut and where it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// `exact`, `feather`, `comfy` or `none`.
    pub tiling: String,
    /// Window (core plus halo): columns, rows.
    pub tile: [u32; 2],
    /// Pixels shared by two neighbouring windows.
    pub overlap: u32,
    /// Number of tiles.
    pub tiles: u64,
    /// Tiles of one run.
    #[serde(default = "one")]
    pub batch: u32,
    /// Pixels that the session computed, halos and repeated bands included, for each pixel of the source; null before
    /// the end.
    #[serde(default)]
    pub computed: Option<f64>,
    /// What feathering was measured to change: the 99.9th percentile of the difference to untiled, in levels of 255;
    /// null where nothing is blended or nothing was measured.
    #[serde(default)]
    pub seam_error: Option<f32>,
    /// Why it was cut so, in a line.
    #[serde(default)]
    pub why: String,
    /// Execution provider: `cpu`, `cuda`, `tensorrt`.
    pub provider: String,
    /// The device's name as the provider gives it: `cpu`, `cuda:0`.
    pub device: String,
    /// `fp32` or `fp16`.
    pub precision: String,
    /// What the plan expected inference to hold on the device.
    pub estimated_device_bytes: u64,
}

fn one() -> u32 {
    1
}

fn one_picture() -> u64 {
    1
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From claim to staged file.
    pub total: f64,
    /// Spent decoding (overlaps the others).
    pub decode: f64,
    /// Spent in the session (overlaps the others).
    pub inference: f64,
    /// Spent encoding (overlaps the others).
    pub encode: f64,
}

/// What rendering one source came to: everything of a job document that the pipeline knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RenderReport {
    /// The source's header; `None` if it could not be read.
    pub input: Option<InputFacts>,
    /// The result; `None` without one.
    pub output: Option<OutputFacts>,
    /// The model; `None` if it was not reached.
    pub model: Option<ModelFacts>,
    /// The plan; `None` if it was not reached.
    pub plan: Option<PlanFacts>,
    /// Steps down the out-of-memory ladder.
    pub oom_retries: u32,
    /// Window sides tried, in order.
    pub tile_history: Vec<u32>,
    /// Most that inference held on the device, where it can be measured.
    pub device_peak_bytes: Option<u64>,
    /// Most that the data plane's permits held on the host.
    pub host_peak_bytes: Option<u64>,
    /// What a person should know about the result, one line each.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub seconds: Option<Seconds>,
    /// What fitted and what did not: for the next plan, told in no document.
    #[serde(skip)]
    pub runs: RunSizes,
}

/// Which runs of the session fitted the device, in input pixels (window times batch).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunSizes {
    /// The largest that worked after the last one that did not.
    pub worked_pixels: Option<u64>,
    /// The smallest that did not.
    pub failed_pixels: Option<u64>,
}

/// States of a job in documents: the ledger's, and `settling` before there is a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Claimed; its attempt is spent.
    Running,
    /// Published and recorded.
    Done,
    /// Quarantined.
    Failed,
    /// Deliberately not processed (`on_conflict = "skip"`).
    Skipped,
    /// Called off by a person.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The spelling used in JSON, in the ledger and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// The inverse of [`JobState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more happens to the job by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The job document: `.upscaled/jobs/….json`, `jobs show --json`, and the lines of `upscale --json`
/// (where `job` and `folder` are null: there is no ledger).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The ledger's number.
    pub job: Option<i64>,
    /// The folder's name.
    pub folder: Option<String>,
    /// Path below the input folder (for `upscale`: as given), lossily decoded.
    pub source: String,
    /// The exact bytes of `source` in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_hex: Option<String>,
    /// BLAKE3 of the source's content, hexadecimal.
    pub source_blake3: Option<String>,
    /// Hash of everything else that decided the result, hexadecimal: what a lost ledger is rebuilt with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recipe_blake3: Option<String>,
    /// Where the job is.
    pub state: JobState,
    /// Attempts spent.
    pub attempts: u32,
    /// Why it is there; null for a job that simply waits, runs or is done.
    pub reason: Option<Reason>,
    /// Path of the result below the output folder.
    pub result: Option<String>,
    /// The pipeline's part.
    #[serde(flatten)]
    pub report: RenderReport,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
}

/// A path as documents show it: `source` lossily, and its bytes in hexadecimal where that loses something.
pub fn path_text(path: &std::path::Path) -> (String, Option<String>) {
    use std::os::unix::ffi::OsStrExt;
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => (
            path.to_string_lossy().into_owned(),
            Some(hex(path.as_os_str().as_bytes())),
        ),
    }
}

/// Bytes in small hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The inverse of [`hex`], in digits of either size; `None` for text that is not made of pairs of them.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(byte).collect()
}
