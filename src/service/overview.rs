//! Owns what the service tells about itself: status.json of every folder, the snapshot for `upscaled status`,
//! systemd's status line, the watchdog's pings. Never changes a job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::intakes::Views;
use super::metrics::Seen;
use super::shared::{Current, Shared, blocking};
use super::watchdog;
use crate::clock::Monotonic;
use crate::config::Folder;
use crate::intake::{IntakeStatus, Mode};
use crate::pipeline::executor::DeviceFacts;
use crate::queue::{Counts, Job, Pause, QueueError};
use crate::report::DOCUMENT_VERSION;
use crate::sandbox;
use crate::status::{
    BuildingDocument, CountsDocument, CurrentDocument, DeviceDocument, FolderDocument, FolderReport,
    IntakeReport, MemoryDocument, PausedDocument, RecentDocument, ServiceSnapshot, ServiceState,
    StatusWriter, Tenancy, WatchMode, clock_time,
};

/// The contract's "at most once a second".
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How often an idle service looks whether a command changed the ledger. What has not changed is not written:
/// the disks of a home server want to sleep.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// Finished jobs in a status: what fits on a screen.
const RECENT: u32 = 10;

/// Tells what is going on.
#[derive(Debug)]
pub struct Overview {
    shared: Arc<Shared>,
    views: Views,
    stopping: watch::Receiver<bool>,
    writers: BTreeMap<String, StatusWriter>,
    line: String,
    started_at: Timestamp,
}

impl Overview {
    /// `stopping` turns true when nothing new is taken.
    pub fn new(shared: Arc<Shared>, views: Views, stopping: watch::Receiver<bool>) -> Self {
        let started_at = shared.clock.wall();
        Self {
            shared,
            views,
            stopping,
            writers: BTreeMap::new(),
            line: String::new(),
            started_at,
        }
    }

    /// Tells what is new, at most once a second, until `end` turns true; then that the service stopped.
    pub async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut ticks = interval(TELL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watchdog = watchdog::interval();
        let mut told_at = None::<Monotonic>;
        let mut pinged_at = None::<Monotonic>;
        let mut is_news = true;
        while !*end.borrow() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shared.news.notified() => { is_news = true; continue }
                _ = end.changed() => break,
            }
            let now = self.shared.clock.monotonic();
            let is_due = |last: Option<Monotonic>, every| last.is_none_or(|last| now.since(last) >= every);
            if watchdog.is_some_and(|every| is_due(pinged_at, every)) {
                watchdog::ping(
                    &self.shared.pulse,
                    self.shared.clock.as_ref(),
                    self.shared.config().job_timeout,
                );
                pinged_at = Some(now);
            }
            if is_news || !self.shared.current().is_empty() || is_due(told_at, IDLE_INTERVAL) {
                is_news = false;
                told_at = Some(now);
                self.tell(None).await;
            }
        }
        self.tell(Some(ServiceState::Stopped)).await;
    }

    /// Tells once. `last` overrules the state, and is written however short the last telling is ago.
    async fn tell(&mut self, last: Option<ServiceState>) {
        match self.look(last).await {
            Ok(seen) => {
                self.shared.seen.send_replace(Some(seen.clone()));
                self.write(seen.snapshot, last.is_some()).await;
            }
            Err(error) => tracing::warn!("cannot tell the status: {error}"),
        }
    }

    /// Everything that is told, at one moment.
    async fn look(&self, last: Option<ServiceState>) -> Result<Seen, QueueError> {
        let config = self.shared.config();
        let mut counts = self.shared.store.counts().await?;
        let paused = self.shared.store.paused().await?;
        let mut folders = Vec::new();
        for folder in &config.folders {
            let counts = counts.remove(&folder.name).unwrap_or_default();
            let recent = self.shared.store.recent(&folder.name, RECENT).await?;
            folders.push(self.folder_report(folder, counts, &recent, paused, last));
        }
        let blocked_reason = folders
            .iter()
            .find_map(|folder| folder.document.blocked_reason.clone());
        let devices = self.shared.devices();
        let device = devices.values().find(|facts| facts.out_of_use.is_none());
        let first = device.or(devices.values().next()).cloned().unwrap_or_default();
        let snapshot = ServiceSnapshot {
            version: DOCUMENT_VERSION,
            pid: std::process::id(),
            started_at: self.started_at,
            updated_at: self.shared.clock.wall(),
            sandbox: sandbox::state().map(ToString::to_string),
            service: self.state(last, paused, blocked_reason.is_some()),
            blocked_reason,
            device: device_document(None, &first),
            devices: several(&devices),
            memory: memory_document(&first),
            folders,
        };
        let oldest_queued_at = match config.metrics.listen {
            Some(_) => self.shared.store.oldest_queued_at().await?,
            None => None,
        };
        Ok(Seen {
            snapshot,
            oldest_queued_at,
        })
    }

    fn state(&self, last: Option<ServiceState>, paused: Option<Pause>, is_blocked: bool) -> ServiceState {
        match last {
            Some(state) => state,
            None if *self.stopping.borrow() => ServiceState::Stopping,
            None if paused.is_some() => ServiceState::Paused,
            None if is_blocked => ServiceState::Blocked,
            None => ServiceState::Running,
        }
    }

    fn folder_report(
        &self,
        folder: &Folder,
        counts: Counts,
        recent: &[Job],
        paused: Option<Pause>,
        last: Option<ServiceState>,
    ) -> FolderReport {
        let intake = self.intake(&folder.name);
        let block = self
            .shared
            .blocks
            .reason(&folder.name)
            .map(|reason| reason.message);
        let blocked_reason = block.or_else(|| intake.as_ref().and_then(|intake| intake.offline.clone()));
        let document = FolderDocument {
            version: DOCUMENT_VERSION,
            folder: folder.name.clone(),
            updated_at: self.shared.clock.wall(),
            service: self.state(last, paused, blocked_reason.is_some()),
            blocked_reason,
            paused: paused.map(|pause| PausedDocument {
                since: pause.since,
                until: pause.until,
            }),
            waits_until: self.shared.quiet_until(&folder.name).filter(|_| last.is_none()),
            counts: CountsDocument {
                settling: intake.as_ref().map_or(0, |intake| intake.settling),
                queued: counts.queued,
                running: counts.running,
                done: counts.done,
                failed: counts.failed,
                skipped: counts.skipped,
            },
            current: self.current(&folder.name),
            recent: recent.iter().map(recent_document).collect(),
        };
        FolderReport {
            document,
            intake: intake.as_ref().map(intake_report).unwrap_or_default(),
        }
    }

    fn intake(&self, folder: &str) -> Option<IntakeStatus> {
        let views = self.views.borrow();
        let view = views.iter().find(|view| view.folder == folder)?;
        Some(view.status.borrow().clone())
    }

    fn current(&self, folder: &str) -> Vec<CurrentDocument> {
        let (devices, now) = (self.shared.devices(), self.shared.clock.monotonic());
        let document = |(device_id, current): (u32, Current)| {
            let place = devices.get(&device_id).and_then(|facts| facts.place.as_ref());
            CurrentDocument::new(
                current.job.0,
                &current.source,
                current.progress.fraction(),
                current.left(now),
                place.map(|place| place.device.clone()),
            )
        };
        let all = self.shared.current().into_iter();
        all.filter(|(_, current)| current.folder == folder)
            .map(document)
            .collect()
    }

    async fn write(&mut self, snapshot: ServiceSnapshot, is_last: bool) {
        let line = status_line(&snapshot, &self.shared.clock.local());
        if line != self.line {
            watchdog::status(&line);
            self.line = line;
        }
        let config = self.shared.config();
        self.writers.retain(|name, _| config.folder(name).is_some());
        let mut writers = std::mem::take(&mut self.writers);
        let (shared, config) = (Arc::clone(&self.shared), config);
        self.writers = blocking(move || {
            for (index, folder) in config.folders.iter().enumerate() {
                let Some(report) = snapshot
                    .folders
                    .iter()
                    .find(|report| report.document.folder == folder.name)
                else {
                    continue;
                };
                let writer = writers.entry(folder.name.clone()).or_insert_with(|| {
                    let tenancy = Tenancy::of(&config.folders, index);
                    StatusWriter::for_tenant(
                        Arc::clone(&shared.fs),
                        shared.clock.clone(),
                        folder.output.clone(),
                        &tenancy,
                    )
                });
                let written = match is_last {
                    true => writer.write_now(&report.document),
                    false => writer.offer(&report.document).map(drop),
                };
                // An output folder that is gone is told by its block; once more every second says nothing new.
                if let Err(error) = written {
                    tracing::debug!(folder = folder.name, "{error}");
                }
            }
            if let Err(error) = snapshot.write(&shared.fs, &config.state_dir) {
                tracing::debug!("{error}");
            }
            writers
        })
        .await;
    }
}

fn intake_report(intake: &IntakeStatus) -> IntakeReport {
    let (watch, without_reason) = match (intake.mode, &intake.offline) {
        (Mode::Events, _) => (WatchMode::Events, None),
        (Mode::Scan, Some(offline)) => (WatchMode::Scan, Some(offline.clone())),
        (Mode::Scan, None) => (
            WatchMode::Scan,
            Some("the first scan has not ended yet".to_owned()),
        ),
    };
    IntakeReport {
        watch: Some(watch),
        watch_reason: intake
            .why
            .clone()
            .or_else(|| intake.unwatched.clone())
            .or(without_reason),
        last_event_at: intake.last_event_at,
        last_scan_at: intake.last_scan_at,
        last_scan_ms: intake
            .last_scan_took
            .map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        problem: intake.problem.clone(),
    }
}

/// Each device, where there are several.
fn several(devices: &BTreeMap<u32, DeviceFacts>) -> Vec<DeviceDocument> {
    if devices.len() < 2 {
        return Vec::new();
    }
    let document = |(device_id, facts): (&u32, &DeviceFacts)| device_document(Some(*device_id), facts);
    devices.iter().map(document).collect()
}

fn device_document(device_id: Option<u32>, facts: &DeviceFacts) -> DeviceDocument {
    let place = facts.place.as_ref();
    DeviceDocument {
        device_id,
        budget_bytes: facts.device_bytes.filter(|_| device_id.is_some()),
        out_of_use: facts.out_of_use.clone(),
        building: facts.building.as_ref().map(|build| BuildingDocument {
            model: build.model.clone(),
            since: build.since,
        }),
        device: place.map(|place| place.device.clone()),
        provider: place.map(|place| place.provider.as_str().to_owned()),
        model: facts.model.clone(),
        skipped: facts
            .skipped
            .iter()
            .map(ToString::to_string)
            .chain(facts.notes.iter().cloned())
            .collect(),
    }
}

fn memory_document(facts: &DeviceFacts) -> MemoryDocument {
    MemoryDocument {
        host_budget_bytes: Some(facts.host_bytes).filter(|bytes| *bytes > 0),
        device_budget_bytes: facts.device_bytes,
        resident_bytes: crate::machine::resident_bytes(),
    }
}

fn recent_document(job: &Job) -> RecentDocument {
    let document = job.document();
    RecentDocument {
        job: job.id.0,
        source: document.source,
        source_hex: document.source_hex,
        state: document.state,
        result: document.result,
        finished_at: job.finished_at,
    }
}

/// What `systemctl status` shows.
fn status_line(snapshot: &ServiceSnapshot, now: &ZonedDateTime) -> String {
    if let Some(reason) = &snapshot.blocked_reason {
        if snapshot.service == ServiceState::Stopped {
            return reason.clone();
        }
        return format!("waiting: {reason}");
    }
    let sum = |count: fn(&CountsDocument) -> u64| {
        snapshot
            .folders
            .iter()
            .map(|folder| count(&folder.document.counts))
            .sum::<u64>()
    };
    let counts = format!(
        "{} queued, {} done, {} failed",
        sum(|c| c.queued),
        sum(|c| c.done),
        sum(|c| c.failed)
    );
    let mut current = snapshot
        .folders
        .iter()
        .flat_map(|folder| &folder.document.current);
    match current.next() {
        Some(first) => {
            let others = match current.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            format!(
                "upscaling {} ({:.0} %){others}, {counts}",
                first.source,
                first.progress * 100.0
            )
        }
        None if snapshot.service == ServiceState::Paused => format!("paused, {counts}"),
        None => match waits_until(snapshot) {
            Some(at) => format!("waits until {} (schedule), {counts}", clock_time(at, now)),
            None => format!("watching, {counts}"),
        },
    }
}

/// When the first folder's hours begin, while none's are now.
fn waits_until(snapshot: &ServiceSnapshot) -> Option<Timestamp> {
    let until = snapshot.folders.iter().map(|folder| folder.document.waits_until);
    until.collect::<Option<Vec<_>>>()?.into_iter().min()
}
