//! Owns `upscaled status`: what the daemon is doing, or what it left behind. Never changes anything.

mod devices;

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::out::{Out, ago, shown, span};
use crate::clock::SystemClock;
use crate::config::{Config, Folder};
use crate::error::one_line;
use crate::queue::{Counts, InstanceLock, Job, Pause, QueueError, Store, aside};
use crate::report::{DOCUMENT_VERSION, path_text};
use crate::status::{
    CountsDocument, DeviceDocument, FolderDocument, FolderReport, IntakeReport, MemoryDocument,
    PausedDocument, RecentDocument, ServiceSnapshot, ServiceState, WatchMode, clock_time,
};

/// Finished jobs of each folder: as many as the daemon's own status.json has.
const RECENT: u32 = 10;

/// A scan below this is over before anybody could wait for it.
const SCAN_WORTH_TELLING_MS: u64 = 1000;

/// `status --json`, key by key.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    service: ServiceState,
    blocked_reason: Option<String>,
    paused: Option<PausedDocument>,
    counts: CountsDocument,
    folders: Vec<FolderReport>,
    device: DeviceDocument,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<DeviceDocument>,
    memory: MemoryDocument,
    /// What a person should look at.
    warnings: Vec<String>,
}

/// What stands only in the text for people.
struct Aside {
    pid: Option<u32>,
    started_at: Option<Timestamp>,
    now: Timestamp,
}

/// Tells how things are.
pub fn status(named: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let (_, config) = super::load(named)?;
    let (report, aside) = super::block_on(look(&config))?;
    let mut out = Out::stdout();
    if json {
        out.json(&report)?;
    } else {
        tell(&mut out, &config, &report, &aside)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Ledger and snapshot put together: counts and pauses from the ledger, which is never behind; what runs and how
/// far it is from the snapshot, which only a running service keeps.
async fn look(config: &Config) -> Result<(Report, Aside), Failure> {
    let clock = SystemClock::shared();
    let now = clock.wall();
    let pid = InstanceLock::holder(&config.state_dir);
    let snapshot = pid.and_then(|pid| snapshot_of(&config.state_dir, pid));
    let ledger = match Store::open_read_only(&config.state_dir, clock).await {
        Ok(store) => {
            let ledger = read_ledger(&store, config).await;
            store.close().await;
            ledger?
        }
        // No service was ever started here; that is an answer too.
        Err(QueueError::Missing { .. }) => Ledger::default(),
        Err(error) => return Err(error.into()),
    };
    let service = match (&snapshot, pid) {
        (Some(snapshot), _) => snapshot.service,
        // It holds the lock and has not told anything yet.
        (None, Some(_)) => ServiceState::Starting,
        (None, None) => ServiceState::Stopped,
    };
    let aside = Aside {
        pid,
        started_at: snapshot.as_ref().map(|snapshot| snapshot.started_at),
        now,
    };
    let folders: Vec<FolderReport> = config
        .folders
        .iter()
        .map(|folder| folder_report(folder, &ledger, snapshot.as_ref(), service, now))
        .collect();
    let snapshot = snapshot.as_ref();
    let report = Report {
        version: DOCUMENT_VERSION,
        service,
        blocked_reason: snapshot.and_then(|snapshot| snapshot.blocked_reason.clone()),
        paused: ledger.paused,
        counts: total(&folders),
        folders,
        device: snapshot
            .map(|snapshot| snapshot.device.clone())
            .unwrap_or_default(),
        devices: snapshot
            .map(|snapshot| snapshot.devices.clone())
            .unwrap_or_default(),
        memory: snapshot.map(|snapshot| snapshot.memory).unwrap_or_default(),
        warnings: aside::set_aside_before(&config.state_dir)
            .iter()
            .map(|aside| one_line(&aside::reminder(aside)))
            .collect(),
    };
    Ok((report, aside))
}

/// The snapshot of the process that holds the lock; one that another process left behind, or that a power cut
/// spoiled, says nothing about now.
pub(super) fn snapshot_of(state_dir: &Path, pid: u32) -> Option<ServiceSnapshot> {
    match ServiceSnapshot::read(state_dir) {
        Ok(snapshot) => snapshot.filter(|snapshot| snapshot.pid == pid),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

/// What the ledger knows.
#[derive(Default)]
struct Ledger {
    counts: std::collections::BTreeMap<String, Counts>,
    recent: std::collections::BTreeMap<String, Vec<RecentDocument>>,
    paused: Option<PausedDocument>,
}

async fn read_ledger(store: &Store, config: &Config) -> Result<Ledger, QueueError> {
    let mut recent = std::collections::BTreeMap::new();
    for folder in &config.folders {
        let jobs = store.recent(&folder.name, RECENT).await?;
        recent.insert(folder.name.clone(), jobs.iter().map(recent_document).collect());
    }
    let paused = store
        .paused()
        .await?
        .map(|Pause { since, until }| PausedDocument { since, until });
    Ok(Ledger {
        counts: store.counts().await?,
        recent,
        paused,
    })
}

fn recent_document(job: &Job) -> RecentDocument {
    let (source, source_hex) = path_text(&job.source);
    RecentDocument {
        job: job.id.0,
        source,
        source_hex,
        state: job.state.shown(),
        result: job.document().result,
        finished_at: job.finished_at,
    }
}

fn folder_report(
    folder: &Folder,
    ledger: &Ledger,
    snapshot: Option<&ServiceSnapshot>,
    service: ServiceState,
    now: Timestamp,
) -> FolderReport {
    let told = snapshot.and_then(|snapshot| {
        snapshot
            .folders
            .iter()
            .find(|report| report.document.folder == folder.name)
            .cloned()
    });
    let counts = ledger.counts.get(&folder.name).copied().unwrap_or_default();
    let mut report = told.unwrap_or_else(|| unwatched(folder, service, now));
    let document = &mut report.document;
    document.counts = CountsDocument {
        settling: document.counts.settling,
        queued: counts.queued,
        running: counts.running,
        done: counts.done,
        failed: counts.failed,
        skipped: counts.skipped,
    };
    document.recent = ledger.recent.get(&folder.name).cloned().unwrap_or_default();
    document.paused = ledger.paused;
    report
}

/// A folder that no service tells about.
fn unwatched(folder: &Folder, service: ServiceState, now: Timestamp) -> FolderReport {
    FolderReport {
        document: FolderDocument {
            version: DOCUMENT_VERSION,
            folder: folder.name.clone(),
            updated_at: now,
            service,
            blocked_reason: None,
            paused: None,
            waits_until: None,
            counts: CountsDocument::default(),
            current: Vec::new(),
            recent: Vec::new(),
        },
        intake: IntakeReport::default(),
    }
}

fn total(folders: &[FolderReport]) -> CountsDocument {
    folders
        .iter()
        .map(|report| report.document.counts)
        .fold(CountsDocument::default(), |sum, counts| CountsDocument {
            settling: sum.settling + counts.settling,
            queued: sum.queued + counts.queued,
            running: sum.running + counts.running,
            done: sum.done + counts.done,
            failed: sum.failed + counts.failed,
            skipped: sum.skipped + counts.skipped,
        })
}

fn tell(out: &mut Out, config: &Config, report: &Report, aside: &Aside) -> Result<(), Failure> {
    out.line(headline(report, aside))?;
    for warning in &report.warnings {
        out.line(format_args!("warning: {warning}"))?;
    }
    if let Some(reason) = &report.blocked_reason {
        out.line(format_args!("blocked: {reason}"))?;
    }
    if let Some(pause) = &report.paused {
        out.line(format_args!(
            "paused {}, {}",
            ago(pause.since, aside.now),
            until(pause, aside.now)
        ))?;
    }
    out.line(counts_line(&report.counts))?;
    for line in devices::lines(&report.device, &report.devices, &report.memory, aside.now) {
        out.line(line)?;
    }
    for (folder, told) in config.folders.iter().zip(&report.folders) {
        tell_folder(out, folder, told, aside.now)?;
    }
    Ok(())
}

fn headline(report: &Report, aside: &Aside) -> String {
    let mut line = format!("upscaled {}: {}", env!("CARGO_PKG_VERSION"), report.service);
    if let Some(pid) = aside.pid.filter(|pid| *pid > 0) {
        line += &format!(", process {pid}");
    }
    if let Some(started_at) = aside.started_at {
        line += &format!(", started {}", ago(started_at, aside.now));
    }
    line
}

/// The clock on the wall, as far as it is this one.
fn local(now: Timestamp) -> ZonedDateTime {
    now.to_zoned_datetime(TimeZone::system())
}

fn until(pause: &PausedDocument, now: Timestamp) -> String {
    pause.until.map_or_else(
        || "until somebody resumes it".to_owned(),
        |until| format!("until {}", clock_time(until, &local(now))),
    )
}

/// The states that hold something; all of them would be a line of zeros.
fn counts_line(counts: &CountsDocument) -> String {
    let parts = [
        ("settling", counts.settling),
        ("queued", counts.queued),
        ("running", counts.running),
        ("done", counts.done),
        ("failed", counts.failed),
        ("skipped", counts.skipped),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    if parts.is_empty() {
        "no jobs".to_owned()
    } else {
        parts.join(", ")
    }
}

fn tell_folder(out: &mut Out, folder: &Folder, told: &FolderReport, now: Timestamp) -> Result<(), Failure> {
    let document = &told.document;
    out.line("")?;
    out.line(format_args!(
        "{}: {} → {}",
        folder.name,
        shown(&folder.input),
        shown(&folder.output)
    ))?;
    if let Some(reason) = &document.blocked_reason {
        out.line(format_args!("  blocked: {reason}"))?;
    }
    if let Some(at) = document.waits_until {
        let local = now.to_zoned_datetime(TimeZone::system());
        out.line(format_args!(
            "  waits until {} (schedule)",
            clock_time(at, &local)
        ))?;
    }
    out.line(format_args!("  {}", counts_line(&document.counts)))?;
    if let Some(line) = intake_line(&told.intake, now) {
        out.line(format_args!("  {line}"))?;
    }
    if let Some(problem) = &told.intake.problem {
        out.line(format_args!("  look: {problem}"))?;
    }
    for current in &document.current {
        let left = current
            .eta_s
            .map(|s| format!(", {} left", span(Duration::from_secs(s))))
            .unwrap_or_default();
        let percent = (current.progress * 100.0).floor();
        let source = shown(Path::new(&current.source));
        out.line(format_args!("  #{} {source}: {percent:.0} %{left}", current.job))?;
    }
    Ok(())
}

/// How a folder notices new files: by what, why, and when it last did. `None` while no service watches it.
pub(super) fn intake_line(intake: &IntakeReport, now: Timestamp) -> Option<String> {
    let mut line = match (intake.watch?, &intake.watch_reason) {
        (WatchMode::Events, None) => "watched by events".to_owned(),
        (WatchMode::Events, Some(reason)) => format!("watched by events, but {reason}"),
        (WatchMode::Scan, None) => "watched by scans".to_owned(),
        (WatchMode::Scan, Some(reason)) => format!("watched by scans: {reason}"),
    };
    let when = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
    if intake.watch == Some(WatchMode::Events) {
        line += &format!("; last event {}", when(intake.last_event_at));
    }
    line += &format!("; last scan {}", when(intake.last_scan_at));
    if let Some(took) = intake.last_scan_ms.filter(|took| *took >= SCAN_WORTH_TELLING_MS) {
        line += &format!(", which took {:.1} s", took as f64 / 1000.0);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_without_a_ledger_is_a_service_that_never_ran() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            folders: vec![Folder::new("photos", "/in", "/out")],
            ..Config::default()
        };
        let (report, aside) = super::super::block_on(look(&config)).unwrap();
        assert_eq!(report.service, ServiceState::Stopped);
        assert_eq!(report.folders[0].document.folder, "photos");
        assert_eq!(aside.pid, None);
        assert_eq!(counts_line(&report.counts), "no jobs");
    }

    #[test]
    fn a_process_that_holds_the_lock_and_said_nothing_yet_is_starting() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = InstanceLock::acquire(dir.path()).unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let (report, aside) = super::super::block_on(look(&config)).unwrap();
        assert_eq!(report.service, ServiceState::Starting);
        assert_eq!(aside.pid, Some(std::process::id()));
    }

    #[test]
    fn a_folder_says_how_it_is_watched_and_why_and_when_it_last_was() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let now = "2026-11-23T08:00:00Z".parse().unwrap();
        let by_events = IntakeReport {
            watch: Some(WatchMode::Events),
            last_event_at: at("2026-11-23T07:55:00Z"),
            last_scan_at: at("2026-11-23T07:59:30Z"),
            last_scan_ms: Some(2340),
            ..IntakeReport::default()
        };
        assert_eq!(
            intake_line(&by_events, now).unwrap(),
            "watched by events; last event 5 min ago; last scan 30 s ago, which took 2.3 s"
        );
        let by_scans = IntakeReport {
            watch: Some(WatchMode::Scan),
            watch_reason: Some("the folder is on a share (nfs)".into()),
            ..IntakeReport::default()
        };
        assert_eq!(
            intake_line(&by_scans, now).unwrap(),
            "watched by scans: the folder is on a share (nfs); last scan never"
        );
        assert_eq!(intake_line(&IntakeReport::default(), now), None);
    }

    #[test]
    fn the_document_has_the_keys_of_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let (report, _) = super::super::block_on(look(&config)).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut contract = [
            "version",
            "service",
            "blocked_reason",
            "paused",
            "counts",
            "folders",
            "device",
            "memory",
            "warnings",
        ];
        let mut found = keys.clone();
        found.sort_unstable();
        contract.sort_unstable();
        assert_eq!(found, contract);
    }
}
