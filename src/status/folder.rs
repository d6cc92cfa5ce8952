//! Owns `status.json`: its keys, and how often it is written. Never asks the ledger; it is told.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use serde::{Deserialize, Serialize};

use super::{StatusError, Tenancy};
use crate::clock::{Monotonic, SharedClock};
use crate::fs::SharedFilesystem;
use crate::publish::replace_document;
use crate::report::JobState;

/// Least time between two versions (CONTRACT §3).
const INTERVAL: Duration = Duration::from_secs(1);

/// What the service is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Recovery and the first scan.
    #[default]
    Starting,
    /// At work, or ready for it.
    Running,
    /// A person paused it.
    Paused,
    /// It finishes the running job and ends.
    Stopping,
    /// It is not there.
    Stopped,
    /// It waits for something that it cannot mend: see `blocked_reason`.
    Blocked,
}

impl ServiceState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Blocked,
    ];

    /// The spelling used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Blocked => "blocked",
        }
    }
}

impl std::fmt::Display for ServiceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedDocument {
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself; null: when a person resumes.
    pub until: Option<Timestamp>,
}

/// A folder's files by state. Jobs that were called off are in the ledger only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsDocument {
    /// Seen, not yet quiet for long enough.
    pub settling: u64,
    /// Waiting.
    pub queued: u64,
    /// In work.
    pub running: u64,
    /// Published.
    pub done: u64,
    /// Quarantined.
    pub failed: u64,
    /// Deliberately not processed.
    pub skipped: u64,
}

/// A job in work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurrentDocument {
    /// The ledger's number.
    pub job: i64,
    /// Path below the input folder, lossily decoded.
    pub source: String,
    /// The exact bytes of `source` in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_hex: Option<String>,
    /// Finished part, 0 to 1, two digits: more would only make the file change more often.
    pub progress: f64,
    /// Seconds left at the speed so far; null before there is a speed.
    pub eta_s: Option<u64>,
    /// The device's name: `cpu`, `cuda:0`; null until the job has one.
    pub device: Option<String>,
}

impl CurrentDocument {
    /// Rounds `fraction` and `eta` to what people read.
    pub fn new(
        job: i64,
        source: &std::path::Path,
        fraction: f64,
        eta: Option<Duration>,
        device: Option<String>,
    ) -> Self {
        let (source, source_hex) = crate::report::path_text(source);
        Self {
            job,
            source,
            source_hex,
            // Down: 1 is for jobs that are finished, and those are not in work.
            progress: (fraction.clamp(0.0, 1.0) * 100.0).floor() / 100.0,
            eta_s: eta.map(|eta| eta.as_secs_f64().ceil() as u64),
            device,
        }
    }
}

/// A job that ended lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentDocument {
    /// The ledger's number.
    pub job: i64,
    /// Path below the input folder, lossily decoded.
    pub source: String,
    /// The exact bytes of `source` in hexadecimal, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_hex: Option<String>,
    /// How it ended.
    pub state: JobState,
    /// Path of the result below the output folder; null without one.
    pub result: Option<String>,
    /// When.
    pub finished_at: Option<Timestamp>,
}

/// `status.json`, key by key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FolderDocument {
    /// [`crate::report::DOCUMENT_VERSION`].
    pub version: u32,
    /// The folder's name.
    pub folder: String,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// What the service is about.
    pub service: ServiceState,
    /// Why it is blocked; absent unless it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocked_reason: Option<String>,
    /// Since when and until when it is paused; null unless it is.
    pub paused: Option<PausedDocument>,
    /// When its hours (`schedule`) begin; absent while they are now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_until: Option<Timestamp>,
    /// Files by state.
    pub counts: CountsDocument,
    /// In work now.
    pub current: Vec<CurrentDocument>,
    /// Ended lately, newest first.
    pub recent: Vec<RecentDocument>,
}

/// How a folder notices new files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchMode {
    /// The kernel tells, and scans make sure.
    Events,
    /// Scans alone: a network share, or too many folders to watch.
    Scan,
}

/// A folder as `upscaled status --json` shows it: `status.json` and how intake fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FolderReport {
    /// The keys of `status.json`.
    #[serde(flatten)]
    pub document: FolderDocument,
    /// How intake fares.
    #[serde(flatten)]
    pub intake: IntakeReport,
}

/// How a folder notices new files, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntakeReport {
    /// How it notices new files; null while no service runs.
    pub watch: Option<WatchMode>,
    /// Why by scans alone, or which part of it is.
    pub watch_reason: Option<String>,
    /// When the kernel last told of a change.
    pub last_event_at: Option<Timestamp>,
    /// When the last full scan ended.
    pub last_scan_at: Option<Timestamp>,
    /// How long it took, milliseconds.
    pub last_scan_ms: Option<u64>,
    /// What a person should look at: a file or directory that cannot be read, a name without a place for its result.
    /// Null once a scan found no more of it.
    pub problem: Option<String>,
}

/// A time to come as a person in the room says it: `22:00`, `Mon 22:00` for another day of the week, else the date.
pub fn clock_time(at: Timestamp, now: &ZonedDateTime) -> String {
    /// A day is named as long as its name says which one.
    const NAMED: Duration = Duration::from_secs(6 * 24 * 3600);
    let local = at.to_zoned_datetime(now.time_zone().clone());
    let ahead = at.as_second().saturating_sub(now.timestamp().as_second());
    let format = match Duration::from_secs(ahead.max(0).unsigned_abs()) {
        ahead if ahead < Duration::from_secs(24 * 3600) => "%H:%M",
        ahead if ahead < NAMED => "%a %H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    local.strftime(format).to_string()
}

/// Keeps one folder's `status.json` up to date without wearing out the disk.
#[derive(Debug)]
pub struct StatusWriter {
    fs: SharedFilesystem,
    clock: SharedClock,
    output_root: PathBuf,
    path: PathBuf,
    written: Option<(Monotonic, FolderDocument)>,
}

impl StatusWriter {
    /// For a folder that has its output folder to itself.
    pub fn new(fs: SharedFilesystem, clock: SharedClock, output_root: PathBuf) -> Self {
        Self::for_tenant(fs, clock, output_root, &Tenancy::Host)
    }

    /// For a folder that may share its output folder.
    pub fn for_tenant(
        fs: SharedFilesystem,
        clock: SharedClock,
        output_root: PathBuf,
        tenancy: &Tenancy,
    ) -> Self {
        let path = output_root.join(match tenancy {
            Tenancy::Host => "status.json".to_owned(),
            Tenancy::Guest(name) => format!("status.{name}.json"),
        });
        Self {
            fs,
            clock,
            output_root,
            path,
            written: None,
        }
    }

    /// Writes `doc` unless nothing but `updated_at` is new or the last version is younger than a second; to be
    /// called at every tick, so that what is held back comes with the next. Returns whether it was written.
    ///
    /// # Errors
    /// [`StatusError::Write`]; the next offer tries again.
    pub fn offer(&mut self, doc: &FolderDocument) -> Result<bool, StatusError> {
        if let Some((at, written)) = &self.written {
            let early = self.clock.monotonic().since(*at) < INTERVAL;
            if early || same_but_for_time(written, doc) {
                return Ok(false);
            }
        }
        self.put(doc, false)?;
        Ok(true)
    }

    /// Writes `doc` now and makes it durable: at start and at stop.
    ///
    /// # Errors
    /// [`StatusError::Write`].
    pub fn write_now(&mut self, doc: &FolderDocument) -> Result<(), StatusError> {
        self.put(doc, true)
    }

    fn put(&mut self, doc: &FolderDocument, durable: bool) -> Result<(), StatusError> {
        let json = super::json(&self.path, doc)?;
        replace_document(&self.fs, &self.output_root, &self.path, &json, durable)?;
        self.written = Some((self.clock.monotonic(), doc.clone()));
        Ok(())
    }
}

fn same_but_for_time(a: &FolderDocument, b: &FolderDocument) -> bool {
    let b = FolderDocument {
        updated_at: a.updated_at,
        ..b.clone()
    };
    *a == b
}
