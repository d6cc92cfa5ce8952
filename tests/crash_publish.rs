//! The promise of publishing, step by step: wherever the process ends or the power is cut, after recovery there
//! is exactly one complete result or none and the work is done again; never half a file under a final name,
//! never a temporary one left over, never somebody else's file gone (I4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test are tests; the configured exemption sees only #[test] functions"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use upscaled::config::OnConflict;
use upscaled::fs::RealFilesystem;
use upscaled::fs_fault::{Fault, FaultFs};
use upscaled::publish::{Choice, Instance, PublishError, Publisher};
use upscaled::queue::{Publishing, Resolution};

const NEW: &[u8] = b"the new result, every byte of it";
const OLD: &[u8] = b"an earlier result";
const PLANNED: &str = "2024/trip/a_4x.png";

/// What the ledger would hold when the process ends.
#[derive(Default)]
struct Ledger {
    publishing: Option<Publishing>,
    done: Option<PathBuf>,
}

/// A worker's way from a rendered picture to `done`, as service does it.
fn publish(
    publisher: &Publisher,
    root: &Path,
    own_result: Option<&Path>,
    ledger: &mut Ledger,
) -> Result<(), PublishError> {
    let choice = publisher.choose_final(root, Path::new(PLANNED), own_result, OnConflict::Rename)?;
    let Choice::Write { path, replace } = choice else {
        panic!("nothing is skipped here")
    };
    let final_path = root.join(&path);
    let staged = publisher.stage(root, &final_path, "126-1")?;
    staged.file().unwrap().write_all(NEW).unwrap();
    let sealed = publisher.seal(staged)?;
    ledger.publishing = Some(Publishing {
        temp: sealed.temp.clone(),
        final_path: final_path.clone(),
        digest: sealed.digest,
    });
    publisher.commit(&sealed, &final_path, replace)?;
    ledger.publishing = None;
    ledger.done = Some(path);
    Ok(())
}

fn publisher(fs: Arc<FaultFs>, root: &Path) -> Publisher {
    Publisher::new(fs, Instance::of_state_dir(root))
}

fn restarted(root: &Path) -> Publisher {
    Publisher::new(RealFilesystem::shared(), Instance::of_state_dir(root))
}

/// Every file below `root` with its bytes.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What is in the output folder before the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    OwnResult,
    StrangersFile,
}

impl Before {
    fn prepare(self, root: &Path) {
        if self != Self::Nothing {
            put(root, PLANNED, OLD);
        }
    }

    fn own_result(self) -> Option<&'static Path> {
        (self == Self::OwnResult).then(|| Path::new(PLANNED))
    }

    /// The files after the job, whatever happened on the way.
    fn expected(self) -> Vec<(PathBuf, Vec<u8>)> {
        match self {
            Self::Nothing | Self::OwnResult => vec![(PLANNED.into(), NEW.to_vec())],
            Self::StrangersFile => vec![
                ("2024/trip/a_4x-1.png".into(), NEW.to_vec()),
                (PLANNED.into(), OLD.to_vec()),
            ],
        }
    }
}

/// The next start: recovery, sweep, and the work again where the ledger does not say done.
fn restart(root: &Path, before: Before, mut ledger: Ledger, tale: &str) {
    let publisher = restarted(root);
    if let Some(publishing) = &ledger.publishing {
        match publisher.recover(root, publishing).unwrap() {
            Resolution::Done { result } => {
                assert_eq!(fs::read(root.join(&result)).unwrap(), NEW, "{tale}");
                ledger.done = Some(result);
            }
            Resolution::Requeue => assert!(ledger.done.is_none(), "{tale}"),
        }
    }
    publisher.sweep(root).unwrap();
    for (path, bytes) in files(root) {
        assert!(
            !path.to_string_lossy().contains(".upscaled-"),
            "{tale}: {path:?} is left"
        );
        assert!(bytes == NEW || bytes == OLD, "{tale}: {path:?} is torn");
    }
    if ledger.done.is_none() {
        publish(&publisher, root, before.own_result(), &mut ledger).unwrap();
    }
    assert_eq!(files(root), before.expected(), "{tale}");
}

/// Steps of an undisturbed run.
fn steps(before: Before) -> u64 {
    let root = tempfile::tempdir().unwrap();
    before.prepare(root.path());
    let fs = Arc::new(FaultFs::new(Fault::Never));
    let publisher = publisher(fs.clone(), root.path());
    publish(
        &publisher,
        root.path(),
        before.own_result(),
        &mut Ledger::default(),
    )
    .unwrap();
    fs.log().len() as u64
}

#[test]
fn wherever_the_process_ends_there_is_one_complete_result_after_the_next_start() {
    for before in [Before::Nothing, Before::OwnResult, Before::StrangersFile] {
        for step in 0..steps(before) {
            for fault in [Fault::CrashBefore(step), Fault::CrashAfter(step)] {
                for power_cut in [false, true] {
                    let tale = format!("{before:?}, {fault:?}, power cut: {power_cut}");
                    let root = tempfile::tempdir().unwrap();
                    before.prepare(root.path());
                    let fs = Arc::new(FaultFs::new(fault));
                    let mut ledger = Ledger::default();
                    let dying = publisher(fs.clone(), root.path());
                    publish(&dying, root.path(), before.own_result(), &mut ledger).unwrap_err();
                    assert!(fs.crashed(), "{tale}");
                    if power_cut {
                        fs.cut_power().unwrap();
                    }
                    restart(root.path(), before, ledger, &tale);
                }
            }
        }
    }
}

#[test]
fn a_recorded_result_outlives_a_power_cut_together_with_the_folders_that_lead_to_it() {
    let root = tempfile::tempdir().unwrap();
    let fs = Arc::new(FaultFs::new(Fault::Never));
    let mut ledger = Ledger::default();
    publish(
        &publisher(fs.clone(), root.path()),
        root.path(),
        None,
        &mut ledger,
    )
    .unwrap();
    assert_eq!(ledger.done.as_deref(), Some(Path::new(PLANNED)));
    fs.cut_power().unwrap();
    assert_eq!(files(root.path()), Before::Nothing.expected());
}

#[test]
fn recovery_may_be_cut_short_too() {
    for crash_at in 0..8 {
        for power_cut in [false, true] {
            let tale = format!("recovery ends at {crash_at}, power cut: {power_cut}");
            let root = tempfile::tempdir().unwrap();
            // The file is sealed and recorded; the rename does not happen.
            let rename = steps(Before::Nothing) - 4;
            let fs = Arc::new(FaultFs::new(Fault::CrashBefore(rename)));
            let mut ledger = Ledger::default();
            publish(&publisher(fs, root.path()), root.path(), None, &mut ledger).unwrap_err();
            let publishing = ledger.publishing.clone().expect("recorded before the rename");

            let fs = Arc::new(FaultFs::new(Fault::CrashAfter(crash_at)));
            let first = publisher(fs.clone(), root.path()).recover(root.path(), &publishing);
            if power_cut && first.is_err() {
                fs.cut_power().unwrap();
            }
            restart(root.path(), Before::Nothing, ledger, &tale);
        }
    }
}

#[test]
fn an_error_at_any_step_leaves_neither_half_a_result_nor_a_temporary_file() {
    for before in [Before::Nothing, Before::OwnResult, Before::StrangersFile] {
        for nth in 0..steps(before) {
            for errno in [libc::ENOSPC, libc::EIO] {
                let tale = format!("{before:?}, step {nth} fails with errno {errno}");
                let root = tempfile::tempdir().unwrap();
                before.prepare(root.path());
                let fs = Arc::new(FaultFs::new(Fault::At { nth, errno }));
                let publisher = publisher(fs.clone(), root.path());
                let error = publish(
                    &publisher,
                    root.path(),
                    before.own_result(),
                    &mut Ledger::default(),
                )
                .unwrap_err();
                let fault = upscaled::error::Fault::from(&error);
                assert_eq!(
                    fault.disposition,
                    upscaled::error::Disposition::Block,
                    "{tale}: {fault}"
                );
                // The process lives: no recovery, no sweep, the same publisher tries again.
                publish(
                    &publisher,
                    root.path(),
                    before.own_result(),
                    &mut Ledger::default(),
                )
                .unwrap();
                assert_eq!(files(root.path()), before.expected(), "{tale}");
            }
        }
    }
}

#[test]
fn a_storm_of_errors_never_costs_a_strangers_file() {
    for seed in 0..200 {
        let root = tempfile::tempdir().unwrap();
        Before::StrangersFile.prepare(root.path());
        let fs = Arc::new(FaultFs::new(Fault::Drawn { seed, one_in: 4 }));
        let publisher = publisher(fs.clone(), root.path());
        for _ in 0..6 {
            let _ = publish(&publisher, root.path(), None, &mut Ledger::default());
        }
        drop(publisher);
        restarted(root.path()).sweep(root.path()).unwrap();
        for (path, bytes) in files(root.path()) {
            let expected = if path == Path::new(PLANNED) { OLD } else { NEW };
            assert_eq!(bytes, expected, "seed {seed}: {path:?}");
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let fs = Arc::new(FaultFs::new(Fault::FullDisk));
    let publisher = publisher(fs, root.path());
    let staged = publisher
        .stage(root.path(), &root.path().join("a.png"), "1-1")
        .unwrap();
    let error = staged.file().unwrap().write_all(NEW).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(staged);
    assert_eq!(files(root.path()), Vec::new());
}
