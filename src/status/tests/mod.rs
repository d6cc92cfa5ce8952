//! The documents' keys are the product's (CONTRACT §3): programs read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::fs::{RealFilesystem, SharedFilesystem};
use crate::fs_fault::{self, FaultFs, Step};
use crate::report::{DOCUMENT_VERSION, JobDocument, JobState};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn folder_document() -> FolderDocument {
    FolderDocument {
        version: DOCUMENT_VERSION,
        folder: "photos".into(),
        updated_at: at("2026-11-23T08:00:00Z"),
        service: ServiceState::Running,
        blocked_reason: None,
        paused: None,
        waits_until: None,
        counts: CountsDocument {
            settling: 1,
            queued: 4,
            running: 1,
            done: 120,
            failed: 2,
            skipped: 0,
        },
        current: vec![CurrentDocument::new(
            127,
            Path::new("2024/trip/IMG_2.png"),
            0.429,
            Some(Duration::from_millis(30_200)),
            Some("cpu".into()),
        )],
        recent: vec![RecentDocument {
            job: 126,
            source: "IMG_1.jpg".into(),
            source_hex: None,
            state: JobState::Done,
            result: Some("IMG_1_4x.jpg".into()),
            finished_at: Some(at("2026-11-23T07:59:00Z")),
        }],
    }
}

mod jobs;

/// An output folder and a clock.
struct Room {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Room {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn jobs(&self) -> JobFiles {
        JobFiles::new(RealFilesystem::shared(), self.root())
    }

    fn status(&self) -> StatusWriter {
        self.status_on(RealFilesystem::shared())
    }

    fn status_on(&self, fs: SharedFilesystem) -> StatusWriter {
        StatusWriter::new(fs, self.clock.clone(), self.root())
    }
}

#[test]
fn status_json_has_the_keys_of_the_contract() {
    let room = Room::new();
    room.status().write_now(&folder_document()).unwrap();
    assert_eq!(
        read(&room.at("status.json")),
        json!({
            "version": 1, "folder": "photos", "updated_at": "2026-11-23T08:00:00Z", "service": "running",
            "paused": null,
            "counts": { "settling": 1, "queued": 4, "running": 1, "done": 120, "failed": 2, "skipped": 0 },
            "current": [ { "job": 127, "source": "2024/trip/IMG_2.png", "progress": 0.42, "eta_s": 31,
                           "device": "cpu" } ],
            "recent": [ { "job": 126, "source": "IMG_1.jpg", "state": "done", "result": "IMG_1_4x.jpg",
                          "finished_at": "2026-11-23T07:59:00Z" } ]
        })
    );
    let spelled: Vec<_> = [
        ServiceState::Starting,
        ServiceState::Running,
        ServiceState::Paused,
        ServiceState::Stopping,
        ServiceState::Stopped,
        ServiceState::Blocked,
    ]
    .iter()
    .map(|state| {
        assert_eq!(json!(state), json!(state.as_str()));
        state.as_str()
    })
    .collect();
    assert_eq!(
        spelled,
        ["starting", "running", "paused", "stopping", "stopped", "blocked"]
    );
}

#[test]
fn a_block_and_a_pause_say_why_and_until_when() {
    let doc = FolderDocument {
        service: ServiceState::Blocked,
        blocked_reason: Some("disk full".into()),
        paused: Some(PausedDocument {
            since: at("2026-11-23T08:00:00Z"),
            until: None,
        }),
        ..folder_document()
    };
    let value = json!(doc);
    assert_eq!(value["service"], "blocked");
    assert_eq!(value["blocked_reason"], "disk full");
    assert_eq!(
        value["paused"],
        json!({ "since": "2026-11-23T08:00:00Z", "until": null })
    );
}

#[test]
fn the_report_adds_how_the_folder_is_watched() {
    let report = FolderReport {
        document: folder_document(),
        intake: IntakeReport {
            watch: Some(WatchMode::Events),
            last_event_at: Some(at("2026-11-23T08:00:00Z")),
            ..IntakeReport::default()
        },
    };
    let value = json!(report);
    assert_eq!(value["watch"], "events");
    assert_eq!(value["last_event_at"], "2026-11-23T08:00:00Z");
    for unknown in ["watch_reason", "last_scan_at", "last_scan_ms", "problem"] {
        assert_eq!(value[unknown], Value::Null);
    }
    assert_eq!(value["folder"], "photos");
    assert_eq!(serde_json::from_value::<FolderReport>(value).unwrap(), report);
}

#[test]
fn status_json_is_written_at_most_once_a_second_and_only_with_news() {
    let room = Room::new();
    let mut writer = room.status();
    let path = room.at("status.json");
    let mut doc = folder_document();
    assert!(writer.offer(&doc).unwrap());

    doc.counts.done += 1;
    room.clock.advance(Duration::from_millis(999));
    assert!(!writer.offer(&doc).unwrap(), "too early");
    room.clock.advance(Duration::from_millis(1));
    assert!(writer.offer(&doc).unwrap(), "held back, not forgotten");
    assert_eq!(read(&path)["counts"]["done"], 121);

    room.clock.advance(Duration::from_secs(60));
    doc.updated_at = room.clock.wall();
    assert!(!writer.offer(&doc).unwrap(), "nothing new but the time");

    doc.service = ServiceState::Stopped;
    writer.write_now(&doc).unwrap();
    assert_eq!(read(&path)["service"], "stopped");
}

#[test]
fn a_version_that_could_not_be_written_is_offered_again_and_the_old_one_stays() {
    let room = Room::new();
    room.status().write_now(&folder_document()).unwrap();
    let fs = Arc::new(FaultFs::new(fs_fault::Fault::AtStep {
        step: Step::RenameReplace,
        nth: 0,
        errno: libc::ENOSPC,
    }));
    let mut writer = room.status_on(fs);
    let doc = FolderDocument {
        service: ServiceState::Blocked,
        ..folder_document()
    };
    let error = writer.offer(&doc).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write {}: no space left on device",
            room.at("status.json").display()
        )
    );
    assert_eq!(read(&room.at("status.json"))["service"], "running");
    assert!(writer.offer(&doc).unwrap());
    assert_eq!(read(&room.at("status.json"))["service"], "blocked");
    assert_eq!(
        fs::read_dir(room.dir.path()).unwrap().count(),
        1,
        "a temporary file is left"
    );
}

#[test]
fn folders_that_share_an_output_do_not_write_over_each_other() {
    let room = Room::new();
    let fs = RealFilesystem::shared();
    let source = Path::new("a.png");
    for (name, tenancy) in [
        ("photos", Tenancy::Host),
        ("scans", Tenancy::Guest("scans".into())),
    ] {
        let doc = FolderDocument {
            folder: name.into(),
            ..folder_document()
        };
        StatusWriter::for_tenant(fs.clone(), room.clock.clone(), room.root(), &tenancy)
            .write_now(&doc)
            .unwrap();
        let doc = JobDocument {
            folder: Some(name.into()),
            ..jobs::failed(source)
        };
        JobFiles::for_tenant(fs.clone(), room.root(), &tenancy)
            .write(&doc, source)
            .unwrap();
    }
    assert_eq!(read(&room.at("status.json"))["folder"], "photos");
    assert_eq!(read(&room.at("status.scans.json"))["folder"], "scans");
    assert_eq!(read(&room.at(".upscaled/jobs/a.png.json"))["folder"], "photos");
    assert_eq!(
        read(&room.at(".upscaled/jobs.scans/a.png.json"))["folder"],
        "scans"
    );
    assert!(room.at("failed/a.png.error.txt").exists() && room.at("failed.scans/a.png.error.txt").exists());
}

#[test]
fn the_snapshot_survives_the_way_to_the_command_line() {
    let room = Room::new();
    let state_dir = room.root();
    assert_eq!(ServiceSnapshot::read(&state_dir).unwrap(), None);
    let snapshot = ServiceSnapshot {
        version: DOCUMENT_VERSION,
        pid: 4711,
        started_at: at("2026-11-23T07:00:00Z"),
        updated_at: at("2026-11-23T08:00:00Z"),
        sandbox: Some("off by the configuration".to_owned()),
        service: ServiceState::Running,
        blocked_reason: None,
        device: DeviceDocument {
            device: Some("cpu".into()),
            provider: Some("cpu".into()),
            model: Some("span-x4".into()),
            skipped: vec!["cuda is not available: no driver".into()],
            ..DeviceDocument::default()
        },
        devices: vec![DeviceDocument {
            device_id: Some(1),
            budget_bytes: Some(1 << 30),
            out_of_use: Some("the device was lost".into()),
            ..DeviceDocument::default()
        }],
        memory: MemoryDocument {
            host_budget_bytes: Some(1 << 30),
            device_budget_bytes: None,
            resident_bytes: Some(40 << 20),
        },
        folders: vec![FolderReport {
            document: folder_document(),
            intake: IntakeReport {
                watch: Some(WatchMode::Scan),
                watch_reason: Some("a network share".into()),
                last_scan_at: Some(at("2026-11-23T07:59:30Z")),
                last_scan_ms: Some(17),
                ..IntakeReport::default()
            },
        }],
    };
    snapshot.write(&RealFilesystem::shared(), &state_dir).unwrap();
    assert_eq!(ServiceSnapshot::read(&state_dir).unwrap(), Some(snapshot));
    fs::write(ServiceSnapshot::path(&state_dir), "{").unwrap();
    let error = ServiceSnapshot::read(&state_dir).unwrap_err().to_string();
    assert!(error.contains("service.json") && !error.contains('\n'), "{error}");
}

#[test]
fn a_time_to_come_is_told_as_briefly_as_it_is_clear() {
    // A Monday.
    let now = at("2026-11-23T21:00:00Z").to_zoned_datetime(jiff::tz::TimeZone::UTC);
    for (to_come, told) in [
        ("2026-11-23T22:00:00Z", "22:00"),
        ("2026-11-24T20:59:00Z", "20:59"),
        ("2026-11-24T21:00:00Z", "Tue 21:00"),
        ("2026-11-28T07:30:00Z", "Sat 07:30"),
        ("2026-12-24T18:00:00Z", "2026-12-24 18:00"),
    ] {
        assert_eq!(clock_time(at(to_come), &now), told);
    }
}
