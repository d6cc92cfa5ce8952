//! Owns the checks of how new files are noticed: by events or by scans, and why. From the running service where there
//! is one, else by trying. Leaves no watch behind.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::super::out::{shown, span};
use super::super::status::{intake_line, snapshot_of};
use super::Check;
use crate::config::{Config, Folder};
use crate::intake::{NotifySource, WatchSource as _, network_kind};
use crate::queue::InstanceLock;
use crate::status::{IntakeReport, WatchMode};

/// A last scan that is longer ago than so many pauses between scans is not late but stuck.
const LATE_PAUSES: u32 = 10;

/// Where the configuration leaves the pause open, the longer of what it may be.
const PAUSE: Duration = Duration::from_secs(60);

/// How each folder is watched. A missing input folder is told by its own check.
pub fn folders(config: &Config, now: Timestamp) -> Vec<Check> {
    let snapshot =
        InstanceLock::holder(&config.state_dir).and_then(|pid| snapshot_of(&config.state_dir, pid));
    let told = |folder: &Folder| {
        let mut reports = snapshot.as_ref()?.folders.iter();
        let report = reports.find(|report| report.document.folder == folder.name)?;
        told(folder, &report.intake, now)
    };
    let check = |folder: &Folder| told(folder).or_else(|| tried(folder));
    config.folders.iter().filter_map(check).collect()
}

fn name(folder: &Folder) -> String {
    format!("folder:{}:watch", folder.name)
}

/// What the running service says of it.
fn told(folder: &Folder, intake: &IntakeReport, now: Timestamp) -> Option<Check> {
    let detail = intake_line(intake, now)?;
    if let Some(late) = late(folder, intake, now) {
        return Some(Check::warn(
            name(folder),
            format!("{detail}; no scan for {}", span(late)),
            "look whether the disk or share answers, and into the service's log",
        ));
    }
    let reason = match (intake.watch, &intake.watch_reason) {
        // A share is watched by scans and cannot be otherwise.
        (Some(WatchMode::Scan), Some(reason)) if network_kind(&folder.input).is_none() => reason,
        _ => return Some(Check::ok(name(folder), detail)),
    };
    let (why, remedy) = parts(reason);
    Some(Check::warn(
        name(folder),
        detail.replace(reason.as_str(), why),
        remedy,
    ))
}

/// For how long there was no scan, where that is too long.
fn late(folder: &Folder, intake: &IntakeReport, now: Timestamp) -> Option<Duration> {
    let since = Duration::try_from(now.duration_since(intake.last_scan_at?)).ok()?;
    let scan = Duration::from_millis(intake.last_scan_ms.unwrap_or_default());
    let pause = folder.rescan.unwrap_or(PAUSE).max(scan);
    (since > pause * LATE_PAUSES).then_some(since)
}

/// A reason, and what can be done about it, as those end that know.
fn parts(reason: &str) -> (&str, &str) {
    const NOTHING: &str = "new files are found all the same, as soon as the next scan";
    match reason.rsplit_once("; ") {
        Some((why, "found by scans")) => (why, NOTHING),
        Some(parts) => parts,
        None => (reason, NOTHING),
    }
}

/// Whether the kernel would tell of new files. Every directory is watched for a moment.
fn tried(folder: &Folder) -> Option<Check> {
    if !folder.input.is_dir() {
        return None;
    }
    let input = shown(&folder.input);
    if let Some(kind) = network_kind(&folder.input) {
        let detail = format!("{input} is on a share ({kind}), which gives no events; it is watched by scans");
        return Some(Check::ok(name(folder), detail));
    }
    Some(match NotifySource.watch(&folder.input, folder.recursive) {
        Ok(_) => Check::ok(name(folder), format!("{input} can be watched by events")),
        Err(error) => {
            let reason = error.to_string();
            let (why, remedy) = parts(&reason);
            Check::warn(name(folder), format!("{input}: {why}"), remedy)
        }
    })
}

/// Directories counted at most: beyond every limit of inotify in use, and a second's work.
const COUNTED_MAX: u64 = 200_000;

/// Whether the kernel grants a watch for each watched directory.
pub fn watches(config: &Config) -> Option<Check> {
    const NAME: &str = "watches";
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";
    if config.folders.is_empty() {
        return None;
    }
    let limit: u64 = std::fs::read_to_string(LIMIT).ok()?.trim().parse().ok()?;
    let needed: u64 = config
        .folders
        .iter()
        .map(|folder| {
            if folder.recursive {
                directories(&folder.input)
            } else {
                1
            }
        })
        .sum();
    let detail = format!("{needed} directories to watch, the system's limit for this user is {limit}");
    if needed <= limit / 10 * 8 {
        return Some(Check::ok(NAME, detail));
    }
    let wanted = (needed * 2).next_power_of_two();
    let remedy =
        format!("sysctl fs.inotify.max_user_watches={wanted}; without it the scans find new files later");
    Some(Check::warn(NAME, detail, remedy))
}

/// Directories in a tree, itself included; links are not followed.
fn directories(root: &Path) -> u64 {
    let mut pending = vec![root.to_owned()];
    let mut count = 0;
    while let Some(dir) = pending.pop() {
        count += 1;
        if count >= COUNTED_MAX {
            break;
        }
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        pending.extend(entries.flatten().filter(is_dir).map(|entry| entry.path()));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const NOW: &str = "2026-11-23T08:00:00Z";

    fn told(input: &Path, intake: &IntakeReport) -> Check {
        let folder = Folder::new("photos", input, "/out");
        super::told(&folder, intake, NOW.parse().unwrap()).unwrap()
    }

    fn by_scans(reason: &str) -> IntakeReport {
        IntakeReport {
            watch: Some(WatchMode::Scan),
            watch_reason: Some(reason.to_owned()),
            last_scan_at: Some("2026-11-23T07:59:00Z".parse().unwrap()),
            ..IntakeReport::default()
        }
    }

    #[test]
    fn the_running_service_is_believed_and_its_remedy_told() {
        let dir = tempfile::tempdir().unwrap();
        let check = told(
            dir.path(),
            &by_scans("the limit is reached (8); found by scans: sysctl -w x=9"),
        );
        assert_eq!(
            (check.name.as_str(), check.result),
            ("folder:photos:watch", Verdict::Warn)
        );
        assert_eq!(check.remedy.as_deref(), Some("found by scans: sysctl -w x=9"));
        assert_eq!(
            check.detail,
            "watched by scans: the limit is reached (8); last scan 60 s ago"
        );
        let events = IntakeReport {
            watch: Some(WatchMode::Events),
            ..by_scans("a/b is on a share (nfs)")
        };
        assert_eq!(told(dir.path(), &events).result, Verdict::Ok);
    }

    #[test]
    fn a_scan_that_does_not_come_back_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let stuck = IntakeReport {
            watch: Some(WatchMode::Events),
            watch_reason: None,
            last_scan_at: Some("2026-11-23T05:00:00Z".parse().unwrap()),
            ..by_scans("")
        };
        let check = told(dir.path(), &stuck);
        assert_eq!(check.result, Verdict::Warn);
        assert!(check.detail.ends_with("no scan for 3 h"), "{}", check.detail);
        let slow = IntakeReport {
            last_scan_ms: Some(3_600_000),
            ..stuck
        };
        assert_eq!(
            told(dir.path(), &slow).result,
            Verdict::Ok,
            "its scans take an hour"
        );
    }

    #[test]
    fn without_a_service_it_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().join("state"),
            folders: vec![
                Folder::new("photos", dir.path(), "/out"),
                Folder::new("missing", dir.path().join("missing"), "/out"),
            ],
            ..Config::default()
        };
        let checks = folders(&config, NOW.parse().unwrap());
        assert_eq!(checks.len(), 1, "{checks:?}");
        assert_eq!(checks[0].name, "folder:photos:watch");
        assert!(checks[0].result != Verdict::Fail && checks[0].detail.contains("watched by"));
    }

    #[test]
    fn a_tree_is_counted_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(directories(dir.path()), 3);
    }
}
