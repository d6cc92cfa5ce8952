//! Owns the translation between rows and types. A row that does not translate is a damaged ledger, never a panic.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::job::{Attempt, Digest, Interrupted, Job, JobId, Known, Publishing, State};
use crate::error::{Reason, ReasonCode};
use crate::fs::FileIdentity;
use crate::report::RenderReport;

/// The bytes of a path, as they are stored.
pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A report as it is stored.
pub(super) fn report_json(report: &RenderReport) -> Result<String, sqlx::Error> {
    serde_json::to_string(report).map_err(|error| sqlx::Error::Encode(error.into()))
}

pub(super) fn path(row: &SqliteRow, column: &str) -> Result<PathBuf, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

fn optional_path(row: &SqliteRow, column: &str) -> Result<Option<PathBuf>, sqlx::Error> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    Ok(bytes.map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes))))
}

fn digest(row: &SqliteRow, column: &str) -> Result<Digest, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|_| damaged(format!("{column} is not a hash")))
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    timestamp(row.try_get(column)?)
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    let ms: Option<i64> = row.try_get(column)?;
    ms.map(timestamp).transpose()
}

/// A stored time.
pub(super) fn timestamp(ms: i64) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_millisecond(ms).map_err(|_| damaged(format!("{ms} is not a time")))
}

/// A stored state.
pub(super) fn state(text: &str) -> Result<State, sqlx::Error> {
    State::parse(text).ok_or_else(|| damaged(format!("`{text}` is not a state")))
}

fn identity(row: &SqliteRow) -> Result<FileIdentity, sqlx::Error> {
    let unsigned = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    Ok(FileIdentity {
        dev: unsigned("dev")?,
        ino: unsigned("ino")?,
        size: unsigned("size")?,
        mtime_ns: row.try_get("mtime_ns")?,
        ctime_ns: row.try_get("ctime_ns")?,
    })
}

fn reason(row: &SqliteRow) -> Result<Option<Reason>, sqlx::Error> {
    let code: Option<String> = row.try_get("reason_code")?;
    let message: Option<String> = row.try_get("reason_message")?;
    let (Some(code), Some(message)) = (code, message) else {
        return Ok(None);
    };
    let code = ReasonCode::parse(&code).ok_or_else(|| damaged(format!("`{code}` is not a reason code")))?;
    Ok(Some(Reason { code, message }))
}

fn count(row: &SqliteRow, column: &str) -> Result<u32, sqlx::Error> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| damaged(format!("{column} is {value}")))
}

fn damaged(what: String) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

impl FromRow<'_, SqliteRow> for Job {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let report: Option<String> = row.try_get("report")?;
        let priority: i64 = row.try_get("priority")?;
        Ok(Self {
            id: JobId(row.try_get("id")?),
            folder: row.try_get("folder")?,
            source: path(row, "source")?,
            output_root: path(row, "output_root")?,
            output: path(row, "output")?,
            content: digest(row, "content")?,
            recipe: digest(row, "recipe")?,
            identity: identity(row)?,
            priority: i32::try_from(priority).map_err(|_| damaged(format!("priority is {priority}")))?,
            state: state(row.try_get("state")?)?,
            attempts: count(row, "attempts")?,
            device_losses: count(row, "device_losses")?,
            not_before: time(row, "not_before_ms")?,
            cancel_requested: row.try_get("cancel_requested")?,
            withdrawn: row.try_get("withdrawn")?,
            reason: reason(row)?,
            result: optional_path(row, "result")?,
            replaced_by: row.try_get::<Option<i64>, _>("replaced_by")?.map(JobId),
            report: match report {
                Some(json) => serde_json::from_str(&json).map_err(|error| damaged(error.to_string()))?,
                None => RenderReport::default(),
            },
            queued_at: time(row, "queued_at_ms")?,
            started_at: optional_time(row, "started_at_ms")?,
            finished_at: optional_time(row, "finished_at_ms")?,
        })
    }
}

/// A row that somebody holds: the job, its open attempt, and who.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) job: Job,
    pub(super) attempt: i64,
    pub(super) owner: String,
}

impl FromRow<'_, SqliteRow> for Held {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            job: Job::from_row(row)?,
            attempt: row.try_get("attempt")?,
            owner: row.try_get("lease_owner")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for Interrupted {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            job: Job::from_row(row)?,
            publishing: Publishing {
                temp: path(row, "publish_temp")?,
                final_path: path(row, "publish_final")?,
                digest: digest(row, "publish_digest")?,
            },
        })
    }
}

/// A row of `sources` joined with its job: `sources.*, content, recipe, state`.
#[derive(Debug)]
pub(super) struct KnownSource {
    pub(super) source: PathBuf,
    pub(super) known: Known,
}

impl FromRow<'_, SqliteRow> for KnownSource {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            source: path(row, "source")?,
            known: Known {
                job: JobId(row.try_get("job")?),
                identity: identity(row)?,
                content: digest(row, "content")?,
                recipe: digest(row, "recipe")?,
                state: state(row.try_get("state")?)?.shown(),
            },
        })
    }
}

impl FromRow<'_, SqliteRow> for Attempt {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: count(row, "number")?,
            owner: row.try_get("owner")?,
            started_at: time(row, "started_at_ms")?,
            finished_at: optional_time(row, "finished_at_ms")?,
            outcome: row.try_get("outcome")?,
            reason: reason(row)?,
        })
    }
}
