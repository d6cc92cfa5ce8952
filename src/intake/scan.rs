//! Owns the walk over an input folder, the truth about what lies there. Events are only hints. Blocking: to be
//! called off the async threads. Never follows a symlink below the folder, never opens a file, and never
//! creates anything: a folder that is missing may be a mount that is not there yet.

use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{one_line, plain};
use crate::fs::FileIdentity;

use super::filter::NameFilter;
use super::place::{self, Offline, RootId, network_kind};

/// Directories in each other at most. A tree of photos has five levels; a mount that contains itself has no end.
const MAX_DEPTH: usize = 64;

/// Mounts below an input folder that are told apart. Who has more notices a new one a little later.
const MAX_MOUNTS: usize = 256;

/// Problems that one scan reports. A share whose every directory is forbidden need not fill the log.
const MAX_PROBLEMS: usize = 100;

/// A regular, non-empty file with an accepted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path below the input folder.
    pub rel: PathBuf,
    /// What it was.
    pub identity: FileIdentity,
}

/// What a walk brought.
#[derive(Debug, Default)]
pub struct Scan {
    /// The wanted files, ordered by path.
    pub files: Vec<Found>,
    /// There were more than the limit; a later scan finds them.
    pub more: bool,
    /// One line for each directory or file that could not be looked at.
    pub problems: Vec<String>,
    /// The first directory found on a network file system that is mounted below the input folder, with its kind.
    pub network: Option<(PathBuf, &'static str)>,
    /// What is mounted below the input folder: directories, and by which mount they are seen. Ordered.
    pub mounts: Vec<(PathBuf, u64)>,
}

/// How a walk is told what to bring, and when to end.
pub struct Wanted<'a> {
    /// The input folder.
    pub input: &'a Path,
    /// Decides on names.
    pub filter: &'a NameFilter,
    /// Folders with results that are entered all the same: the configuration makes a chain of them.
    pub chained: &'a [PathBuf],
    /// Whether a file that passes the filter is worth keeping; asked before it counts against the limit.
    pub keep: &'a mut dyn FnMut(&Found) -> bool,
    /// Files to bring at most.
    pub limit: usize,
    /// Ends the walk early.
    pub halt: &'a AtomicBool,
}

/// Walks the directory `below` (relative; empty for the whole folder) and everything in it that the filter lets
/// in. A directory that vanished meanwhile is no problem.
///
/// # Errors
/// The input folder itself cannot be listed.
pub fn walk(wanted: &mut Wanted<'_>, below: &Path) -> Result<Scan, Offline> {
    let input = wanted.input;
    let mut scan = Scan::default();
    if !wanted.filter.accepts_dir(below) {
        return Ok(scan);
    }
    let mut open = vec![(below.to_owned(), RootId::read(input)?.mount())];
    while let Some((dir, above)) = open.pop() {
        if scan.more || wanted.halt.load(Ordering::Relaxed) {
            break;
        }
        let path = input.join(&dir);
        if is_result_folder(&path, input, wanted.chained) {
            scan.complain(format_args!(
                "{} holds results of upscaled and is not entered; make it the input of a folder of its own if they \
                 shall be upscaled again",
                path.display()
            ));
            continue;
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if dir.as_os_str().is_empty() => return Err(Offline::new(input, &error)),
            Err(error) => {
                scan.problem(&path, &error);
                continue;
            }
        };
        let mount = scan.enter(&dir, &path, above);
        for entry in entries {
            match entry.and_then(|entry| visit(&dir, &entry, wanted, &mut scan)) {
                Ok(Some(child)) => open.push((child, mount)),
                Ok(None) => {}
                Err(error) => scan.problem(&path, &error),
            }
            if scan.more {
                break;
            }
        }
    }
    scan.files.sort_unstable_by(|a, b| a.rel.cmp(&b.rel));
    scan.mounts.sort_unstable();
    Ok(scan)
}

/// Whether a directory below the input folder is some output folder and not entered for that: our own results are
/// never sources, unless the configuration says so.
pub(super) fn is_result_folder(path: &Path, input: &Path, chained: &[PathBuf]) -> bool {
    path != input && place::holds_results(path) && !chained.iter().any(|dir| dir == path)
}

/// Takes in a file, or names a directory to enter.
fn visit(
    dir: &Path,
    entry: &DirEntry,
    wanted: &mut Wanted<'_>,
    scan: &mut Scan,
) -> io::Result<Option<PathBuf>> {
    let rel = dir.join(entry.file_name());
    let kind = match entry.file_type() {
        Ok(kind) => kind,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        if !wanted.filter.accepts_dir(&rel) {
            return Ok(None);
        }
        if rel.components().count() > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "more than {MAX_DEPTH} directories in each other"
            )));
        }
        return Ok(Some(rel));
    }
    if kind.is_file() && wanted.filter.accepts_file(&rel) {
        match look(&entry.path()) {
            Ok(Some(identity)) => {
                let found = Found { rel, identity };
                if (wanted.keep)(&found) {
                    if scan.files.len() < wanted.limit {
                        scan.files.push(found);
                    } else {
                        scan.more = true;
                    }
                }
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The identity of a regular, non-empty file; `None` for everything else, also for what is not there.
///
/// # Errors
/// As `lstat`.
pub fn look(path: &Path) -> io::Result<Option<FileIdentity>> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() && meta.len() > 0 => Ok(Some(FileIdentity::of(&meta))),
        Ok(_) => Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Scan {
    /// Takes note of what is mounted here. The mount by which the directory is seen.
    fn enter(&mut self, dir: &Path, path: &Path, above: Option<u64>) -> Option<u64> {
        let mount = place::mount(path).or(above);
        if let Some(mount) = mount.filter(|_| mount != above && !dir.as_os_str().is_empty()) {
            if self.mounts.len() < MAX_MOUNTS {
                self.mounts.push((dir.to_owned(), mount));
            }
            if self.network.is_none() {
                self.network = network_kind(path).map(|kind| (dir.to_owned(), kind));
            }
        }
        mount
    }

    fn problem(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            let path = path.to_string_lossy();
            let detail = plain(error);
            self.complain(format_args!(
                "cannot look into {path}: {detail}; what lies there is not processed"
            ));
        }
    }

    fn complain(&mut self, problem: std::fmt::Arguments<'_>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(one_line(&problem.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::intake::tests::folder_at;

    fn scan(input: &Path, below: &str, limit: usize) -> Result<Scan, Offline> {
        walk(
            &mut Wanted {
                input,
                filter: &NameFilter::new(&folder_at(input)).unwrap(),
                chained: &[input.join("chained")],
                keep: &mut |_| true,
                limit,
                halt: &AtomicBool::new(false),
            },
            Path::new(below),
        )
    }

    fn names(scan: &Scan) -> Vec<&Path> {
        scan.files.iter().map(|found| found.rel.as_path()).collect()
    }

    #[test]
    fn a_scan_brings_regular_files_with_wanted_names_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for sub in ["b/c", ".hidden", "@eaDir", "directory.jpg"] {
            std::fs::create_dir_all(at(sub)).unwrap();
        }
        for file in [
            "a.jpg",
            "b/c/d.PNG",
            "b/x\ny.jpg",
            ".hidden/a.jpg",
            "@eaDir/a.jpg",
            "a.txt",
            "b/.e.jpg",
        ] {
            std::fs::write(at(file), "x").unwrap();
        }
        let odd = dir.path().join(OsStr::from_bytes(b"\xff.jpg"));
        std::fs::write(odd, "x").unwrap();
        std::fs::write(at("empty.jpg"), "").unwrap();
        std::os::unix::fs::symlink(at("a.jpg"), at("link.jpg")).unwrap();
        std::os::unix::fs::symlink(dir.path(), at("b/loop")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo.jpg"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let found = scan(dir.path(), "", 100).unwrap();
        let odd = Path::new(OsStr::from_bytes(b"\xff.jpg"));
        let expected = ["a.jpg", "b/c/d.PNG", "b/x\ny.jpg"].map(Path::new);
        assert_eq!(names(&found), [&expected[..], &[odd]].concat());
        assert!(found.problems.is_empty() && !found.more && found.network.is_none());
        assert_eq!(
            names(&scan(dir.path(), "b/c", 100).unwrap()),
            [Path::new("b/c/d.PNG")]
        );
        assert!(scan(dir.path(), ".hidden", 100).unwrap().files.is_empty());
        assert!(scan(dir.path(), "gone", 100).unwrap().problems.is_empty());
    }

    #[test]
    fn more_files_than_fit_are_announced_and_not_silently_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jpg", "b.jpg", "c.jpg"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let found = scan(dir.path(), "", 2).unwrap();
        assert!(found.more);
        assert_eq!(found.files.len(), 2);
        assert!(!scan(dir.path(), "", 3).unwrap().more);
    }

    #[test]
    fn a_bottomless_tree_is_reported_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().to_owned();
        deep.extend(std::iter::repeat_n("d", MAX_DEPTH + 2));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("a.jpg"), "x").unwrap();
        let found = scan(dir.path(), "", 9).unwrap();
        assert!(found.files.is_empty());
        assert!(
            found.problems[0].contains("more than 64 directories"),
            "{:?}",
            found.problems
        );
    }

    #[test]
    fn results_are_no_sources_whoever_made_them_unless_the_configuration_makes_a_chain() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["", "theirs", "chained", "chained/theirs"] {
            std::fs::create_dir_all(dir.path().join(folder).join(".upscaled/jobs")).unwrap();
            std::fs::write(dir.path().join(folder).join("a.jpg"), "x").unwrap();
        }
        let found = scan(dir.path(), "", 9).unwrap();
        assert_eq!(names(&found), ["a.jpg", "chained/a.jpg"].map(Path::new));
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
        assert!(
            found
                .problems
                .iter()
                .all(|problem| problem.contains("holds results of upscaled"))
        );
        assert!(scan(dir.path(), "theirs", 9).unwrap().files.is_empty());
    }

    #[test]
    fn a_forbidden_directory_is_a_problem_and_the_rest_is_still_found() {
        let dir = tempfile::tempdir().unwrap();
        let forbidden = dir.path().join("forbidden");
        std::fs::create_dir(&forbidden).unwrap();
        std::fs::write(dir.path().join("a.jpg"), "x").unwrap();
        std::fs::set_permissions(&forbidden, std::fs::Permissions::from_mode(0o000)).unwrap();
        let found = scan(dir.path(), "", 9).unwrap();
        // Root may look everywhere.
        let allowed = std::fs::read_dir(&forbidden).is_ok();
        std::fs::set_permissions(&forbidden, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(names(&found), [Path::new("a.jpg")]);
        assert_eq!(found.problems.is_empty(), allowed, "{:?}", found.problems);
    }

    #[test]
    fn a_missing_folder_is_offline_and_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("in");
        let error = scan(&missing, "", 9).unwrap_err();
        assert!(
            error.to_string().contains("/in is missing; mount or create it"),
            "{error}"
        );
        assert!(!missing.exists());
        std::fs::write(&missing, "x").unwrap();
        assert!(
            scan(&missing, "", 9)
                .unwrap_err()
                .to_string()
                .contains("is not a directory")
        );
    }
}
