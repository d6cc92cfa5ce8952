//! Owns the checks of directories: the state directory, the ledger in it, the folders. What it writes to see whether
//! it can, it removes.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::super::exit::Failure;
use super::super::out::{bytes, shown};
use super::{Check, Verdict};
use crate::clock::SystemClock;
use crate::config::{Config, Folder};
use crate::error::{one_line, plain};
use crate::fs::{Filesystem, RealFilesystem};
use crate::publish::{Instance, Publisher};
use crate::queue::{InstanceLock, QueueError, Store, aside};

/// A folder, as the checks need it.
pub struct Subject<'a> {
    folder: &'a Folder,
    min_free_bytes: u64,
}

impl<'a> Subject<'a> {
    /// The folder under this limit of free space.
    pub fn of(folder: &'a Folder, min_free_bytes: u64) -> Self {
        Self {
            folder,
            min_free_bytes,
        }
    }
}

/// Whether the state directory can be used, by whoever runs this.
pub fn state_dir(config: &Config) -> Check {
    const NAME: &str = "state_dir";
    let dir = &config.state_dir;
    let text = shown(dir);
    if let Some(pid) = InstanceLock::holder(dir) {
        return Check::ok(
            NAME,
            format!("{text} is held by the running service, process {pid}"),
        );
    }
    if dir.exists() {
        return match try_writing(dir) {
            Ok(()) => Check::ok(NAME, format!("{text} can be written")),
            Err(why) => Check::fail(
                NAME,
                format!("{text}: {why}"),
                "run as the service's user, or correct its owner",
            ),
        };
    }
    // Nothing is created here: made by root, it would keep the service's user out.
    let ancestor = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    if accessat(
        CWD,
        ancestor,
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )
    .is_ok()
    {
        return Check::ok(NAME, format!("{text} will be created by the first run"));
    }
    let detail = format!("{text} is missing and cannot be created in {}", shown(ancestor));
    Check::fail(
        NAME,
        detail,
        "create it for the service's user, or choose another state_dir",
    )
}

/// Whether the ledger is sound, where there is one.
pub async fn ledger(config: &Config) -> Result<Option<Check>, Failure> {
    const NAME: &str = "ledger";
    let opened = Store::open_read_only(&config.state_dir, SystemClock::shared()).await;
    let checked = match opened {
        Ok(store) => {
            let checked = store.check().await.map(|()| shown(store.path()));
            store.close().await;
            checked
        }
        Err(error) => Err(error),
    };
    Ok(match checked {
        Ok(path) => Some(Check::ok(NAME, format!("{path} is sound"))),
        Err(QueueError::Missing { .. }) => None,
        Err(error) => Some(Check::from_error(NAME, &error.to_string(), "see the log")),
    })
}

/// Ledgers that were found damaged, for as long as they lie there.
pub fn damaged_ledgers(config: &Config) -> Vec<Check> {
    let warn = |path: &PathBuf| Check::from_error("ledger:damaged", &one_line(&aside::reminder(path)), "");
    let damaged = aside::set_aside_before(&config.state_dir);
    damaged
        .iter()
        .map(|path| Check {
            result: Verdict::Warn,
            ..warn(path)
        })
        .collect()
}

/// Whether a folder's input can be read and its output written.
pub fn folder(subject: &Subject<'_>) -> Vec<Check> {
    let folder = subject.folder;
    let check = |what: &str| format!("folder:{}:{what}", folder.name);
    let mut checks = vec![input(check("input"), &folder.input)];
    let output = output(check("output"), &folder.output);
    checks.push(output);
    if folder.output.is_dir() {
        checks.push(space(check("space"), &folder.output, subject.min_free_bytes));
    }
    checks
}

fn input(name: String, dir: &Path) -> Check {
    let text = shown(dir);
    match std::fs::read_dir(dir) {
        Ok(_) => Check::ok(name, format!("{text} can be read")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::fail(
            name,
            format!("{text} is missing"),
            "create it or mount it; the service never creates it",
        ),
        Err(error) => Check::fail(
            name,
            format!("{text}: {}", plain(&error)),
            "let the service's user read it and enter it",
        ),
    }
}

fn output(name: String, dir: &Path) -> Check {
    let text = shown(dir);
    if dir.exists() {
        return match try_writing(dir) {
            Ok(()) => Check::ok(name, format!("{text} can be written")),
            Err(why) => Check::fail(
                name,
                format!("{text}: {why}"),
                "let the service's user write there",
            ),
        };
    }
    // Only the last part is created by the service: the rest may be a disk that is not mounted.
    let parent = dir.parent().unwrap_or(Path::new("/"));
    if accessat(CWD, parent, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok() {
        return Check::ok(name, format!("{text} will be created by the first run"));
    }
    let detail = format!("{text} is missing and cannot be created in {}", shown(parent));
    Check::fail(name, detail, "create it or mount it, for the service's user")
}

fn space(name: String, dir: &Path, min_free_bytes: u64) -> Check {
    match RealFilesystem.free_bytes(dir) {
        Ok(free) if free >= min_free_bytes => Check::ok(name, format!("{} free", bytes(free))),
        Ok(free) => Check::fail(
            name,
            format!("{} free, min_free is {}", bytes(free), bytes(min_free_bytes)),
            "free some space, or lower min_free",
        ),
        Err(error) => Check::fail(
            name,
            format!("{}: {}", shown(dir), plain(&error)),
            "check the disk",
        ),
    }
}

/// Writes a file as results are written, and removes it.
fn try_writing(dir: &Path) -> Result<(), String> {
    let publisher = Publisher::new(RealFilesystem::shared(), Instance::of_command());
    let absolute = std::path::absolute(dir).map_err(|error| plain(&error))?;
    // Dropped, the staged file is gone.
    publisher
        .stage(&absolute, &absolute.join("doctor"), "doctor")
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_input_fails_and_an_output_that_can_be_created_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("photos", dir.path().join("in"), dir.path().join("out"));
        let checks = super::folder(&Subject::of(&folder, 1));
        let results: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.result))
            .collect();
        assert_eq!(
            results,
            [
                ("folder:photos:input", Verdict::Fail),
                ("folder:photos:output", Verdict::Ok)
            ]
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing was created"
        );
    }

    #[test]
    fn too_little_space_fails_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let check = space("x".to_owned(), dir.path(), u64::MAX);
        assert_eq!(check.result, Verdict::Fail);
        assert!(check.detail.contains("min_free"));
    }
}
