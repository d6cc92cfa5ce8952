//! Job files and error texts: their keys, names and life.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{Room, at, read};
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::fs::RealFilesystem;
use crate::fs_fault::{self, FaultFs, Step};
use crate::report::{
    DOCUMENT_VERSION, InputFacts, JobDocument, JobState, ModelFacts, OutputFacts, PlanFacts, RenderReport,
    Seconds, path_text,
};
use crate::status::JobFiles;

fn job(source: &Path, state: JobState) -> JobDocument {
    let (source, source_hex) = path_text(source);
    JobDocument {
        version: DOCUMENT_VERSION,
        job: Some(126),
        folder: Some("photos".into()),
        source,
        source_hex,
        source_blake3: Some("ab".into()),
        recipe_blake3: None,
        state,
        attempts: 1,
        reason: None,
        result: None,
        report: RenderReport::default(),
        queued_at: Some(at("2026-11-23T08:00:00Z")),
        started_at: None,
        finished_at: None,
    }
}

pub(super) fn failed(source: &Path) -> JobDocument {
    JobDocument {
        reason: Some(Reason::new(
            ReasonCode::Truncated,
            "cannot read IMG_3.png: it ends after 12 of 640 rows",
        )),
        finished_at: Some(at("2026-11-23T08:00:02Z")),
        ..job(source, JobState::Failed)
    }
}

#[test]
fn a_job_file_has_the_keys_of_the_contract() {
    let room = Room::new();
    let doc = JobDocument {
        result: Some("IMG_1_4x.jpg".into()),
        report: RenderReport {
            input: Some(InputFacts {
                pictures: 1,
                width: 4000,
                height: 3000,
                format: "jpeg".into(),
                bit_depth: 8,
                channels: 3,
                icc: Some("Display P3".into()),
                orientation: 6,
            }),
            output: Some(OutputFacts {
                pictures: 1,
                width: 12000,
                height: 16000,
                format: "jpeg".into(),
                bytes: 31_337_000,
            }),
            model: Some(ModelFacts {
                name: "span-x4".into(),
                sha256: "cd".into(),
                scale: crate::ratio::Ratio::whole(4),
            }),
            plan: Some(PlanFacts {
                tiling: "exact".into(),
                tile: [256, 256],
                overlap: 24,
                tiles: 221,
                batch: 1,
                computed: Some(1.19),
                seam_error: None,
                why: "exact".to_owned(),
                provider: "cpu".into(),
                device: "cpu".into(),
                precision: "fp32".into(),
                estimated_device_bytes: 241_000_000,
            }),
            oom_retries: 0,
            tile_history: vec![256],
            device_peak_bytes: Some(238_000_000),
            host_peak_bytes: Some(310_000_000),
            warnings: Vec::new(),
            seconds: Some(Seconds {
                total: 44.1,
                decode: 0.3,
                inference: 42.8,
                encode: 1.9,
            }),
            runs: crate::report::RunSizes::default(),
        },
        started_at: Some(at("2026-11-23T08:00:01Z")),
        finished_at: Some(at("2026-11-23T08:00:45Z")),
        ..job(Path::new("IMG_1.jpg"), JobState::Done)
    };
    room.jobs().write(&doc, Path::new("IMG_1.jpg")).unwrap();
    assert_eq!(
        read(&room.at(".upscaled/jobs/IMG_1.jpg.json")),
        json!({
            "version": 1, "job": 126, "folder": "photos", "source": "IMG_1.jpg", "source_blake3": "ab",
            "state": "done", "attempts": 1, "reason": null, "result": "IMG_1_4x.jpg",
            "input": { "width": 4000, "height": 3000, "format": "jpeg", "bit_depth": 8, "channels": 3,
                       "icc": "Display P3", "orientation": 6, "pictures": 1 },
            "output": { "width": 12000, "height": 16000, "format": "jpeg", "pictures": 1, "bytes": 31337000 },
            "model": { "name": "span-x4", "sha256": "cd", "scale": 4 },
            "plan": { "tiling": "exact", "tile": [256, 256], "overlap": 24, "tiles": 221, "batch": 1,
                      "computed": 1.19, "seam_error": null, "why": "exact", "provider": "cpu", "device": "cpu", "precision": "fp32", "estimated_device_bytes": 241000000 },
            "oom_retries": 0, "tile_history": [256], "device_peak_bytes": 238000000,
            "host_peak_bytes": 310000000, "warnings": [], "queued_at": "2026-11-23T08:00:00Z",
            "started_at": "2026-11-23T08:00:01Z", "finished_at": "2026-11-23T08:00:45Z",
            "seconds": { "total": 44.1, "decode": 0.3, "inference": 42.8, "encode": 1.9 }
        })
    );
}

#[test]
fn a_name_that_is_not_utf_8_is_kept_byte_for_byte() {
    let room = Room::new();
    let source = Path::new(OsStr::from_bytes(b"caf\xe9\n/a.png"));
    room.jobs().write(&failed(source), source).unwrap();
    let path = room
        .root()
        .join(".upscaled/jobs")
        .join(OsStr::from_bytes(b"caf\xe9\n/a.png.json"));
    assert_eq!(room.jobs().job_path(source), path);
    let value = read(&path);
    assert_eq!(value["source"], "caf\u{fffd}\n/a.png");
    assert_eq!(value["source_hex"], "636166e90a2f612e706e67");
    let text = room
        .root()
        .join("failed")
        .join(OsStr::from_bytes(b"caf\xe9\n/a.png.error.txt"));
    let text = fs::read_to_string(text).unwrap();
    assert!(
        text.starts_with("caf\u{fffd}\\n/a.png could not be upscaled.\n"),
        "{text}"
    );
}

#[test]
fn a_name_that_is_too_long_is_the_hash_of_the_path() {
    let room = Room::new();
    let source = Path::new("2024").join("n".repeat(251) + ".png");
    let hash = &blake3::hash(source.as_os_str().as_bytes()).to_hex()[..32];
    room.jobs().write(&failed(&source), &source).unwrap();
    assert_eq!(read(&room.at(&format!(".upscaled/jobs/{hash}.json")))["job"], 126);
    assert!(room.at(&format!("failed/{hash}.error.txt")).exists());
    room.jobs()
        .write(&job(&source, JobState::Queued), &source)
        .unwrap();
    assert!(!room.at(&format!("failed/{hash}.error.txt")).exists());

    // Each name fits, the whole path does not.
    let deep: PathBuf = (0..20)
        .map(|_| "d".repeat(200))
        .chain(["a.png".to_owned()])
        .collect();
    room.jobs().write(&job(&deep, JobState::Queued), &deep).unwrap();
    assert_eq!(
        room.jobs().job_path(&deep).parent(),
        Some(room.at(".upscaled/jobs").as_path())
    );
    assert!(room.jobs().job_path(&deep).exists());
}

#[test]
fn the_error_text_says_what_why_and_what_to_do_and_goes_when_the_job_is_tried_again() {
    let room = Room::new();
    let source = Path::new("2024/trip/IMG_3.png");
    let path = room.at("failed/2024/trip/IMG_3.png.error.txt");
    room.jobs().write(&failed(source), source).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "2024/trip/IMG_3.png could not be upscaled.\n\
         \n\
         Why:         cannot read IMG_3.png: it ends after 12 of 640 rows\n\
         What to do:  the copy ended early: copy the whole file here again, it is then taken by itself\n\
         Try again:   upscaled jobs retry 126\n\
         \n\
         Job:         126\n\
         Folder:      photos\n\
         Code:        truncated\n\
         When:        2026-11-23 08:00:02 UTC\n\
         Attempts:    1\n\
         \n\
         The source is where it was, unchanged. This file goes away when the job is tried again.\n"
    );
    for state in [
        JobState::Queued,
        JobState::Running,
        JobState::Done,
        JobState::Cancelled,
    ] {
        room.jobs().write(&failed(source), source).unwrap();
        room.jobs().write(&job(source, state), source).unwrap();
        assert!(!path.exists(), "{state}");
    }
    room.jobs().write(&failed(source), source).unwrap();
    room.jobs().forget(source).unwrap();
    room.jobs().forget(source).unwrap();
    assert!(!path.exists() && !room.jobs().job_path(source).exists());
}

#[test]
fn only_a_final_state_costs_a_sync() {
    let room = Room::new();
    for state in JobState::ALL {
        let fs = Arc::new(FaultFs::new(fs_fault::Fault::Never));
        let source = Path::new("a.png");
        JobFiles::new(fs.clone(), room.root())
            .write(&job(source, state), source)
            .unwrap();
        let synced = fs.log().iter().any(|op| op.step == Step::SyncFile);
        assert_eq!(synced, state.is_final(), "{state}");
    }
}

#[test]
fn a_missing_output_folder_is_told_and_not_made() {
    let room = Room::new();
    let jobs = JobFiles::new(RealFilesystem::shared(), room.at("out"));
    let source = Path::new("a.png");
    let fault = Fault::from(jobs.write(&job(source, JobState::Queued), source).unwrap_err());
    assert_eq!(fault.disposition, Disposition::Block);
    assert!(!room.at("out").exists());
}
