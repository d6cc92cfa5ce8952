//! Owns the walk over an input folder, the truth about what lies there. Events are only hints. Blocking: to be
//! called off the async threads. Never follows a symlink below the folder, never opens a file, and never
//! creates anything: a folder that is missing may be a mount that is not there yet.

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::error::{one_line, plain};
use crate::fs::FileIdentity;

use super::filter::NameFilter;

/// Directories in each other at most. A tree of photos has five levels; a mount that contains itself has no end.
const MAX_DEPTH: usize = 64;

/// Problems that one scan reports. A share whose every directory is forbidden need not fill the log.
const MAX_PROBLEMS: usize = 100;

/// What tells an input folder from another one that was put in its place: a deleted and recreated directory, or
/// a mount that came or went. Device and inode alone do not do: an inode number is free again at once, and a stick
/// that was pulled and plugged has the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootId {
    dev: u64,
    ino: u64,
    /// When it was made, and by which mount it is seen, where the system tells.
    born: Option<SystemTime>,
    mount: Option<u64>,
}

/// Why an input folder cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input folder {} {detail}", one_line(&input.to_string_lossy()))]
pub struct Offline {
    /// The input folder.
    pub input: PathBuf,
    /// What is wrong and what to do, in words that continue the sentence.
    pub detail: String,
}

impl Offline {
    fn new(input: &Path, error: &io::Error) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::NotFound => "is missing; mount or create it, every scan looks for it".to_owned(),
            io::ErrorKind::NotADirectory => "is not a directory; put a directory there".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "cannot be read: permission denied; let the service's user list it".to_owned()
            }
            _ => format!("cannot be read: {}; every scan tries again", plain(error)),
        };
        Self {
            input: input.to_owned(),
            detail,
        }
    }
}

impl RootId {
    /// Looks at the input folder itself, which may be a symlink to a directory.
    ///
    /// # Errors
    /// It is missing, forbidden or no directory.
    pub fn read(input: &Path) -> Result<Self, Offline> {
        let meta = input.metadata().map_err(|error| Offline::new(input, &error))?;
        if !meta.is_dir() {
            return Err(Offline::new(input, &io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born: meta.created().ok(),
            mount: rustix::fs::statx(CWD, input, AtFlags::empty(), StatxFlags::MNT_ID)
                .ok()
                .map(|stat| stat.stx_mnt_id),
        })
    }
}

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
}

/// How a walk is told what to bring, and when to end.
pub struct Wanted<'a> {
    /// The input folder.
    pub input: &'a Path,
    /// Decides on names.
    pub filter: &'a NameFilter,
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
    let root_dev = RootId::read(input)?.dev;
    let mut open = vec![below.to_owned()];
    while let Some(dir) = open.pop() {
        if scan.more || wanted.halt.load(Ordering::Relaxed) {
            break;
        }
        let path = input.join(&dir);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if dir.as_os_str().is_empty() => return Err(Offline::new(input, &error)),
            Err(error) => {
                scan.problem(&path, &error);
                continue;
            }
        };
        if scan.network.is_none() && path.metadata().is_ok_and(|meta| meta.dev() != root_dev) {
            scan.network = network_kind(&path).map(|kind| (dir.clone(), kind));
        }
        for entry in entries {
            match entry.and_then(|entry| visit(&dir, &entry, wanted, &mut scan)) {
                Ok(Some(child)) => open.push(child),
                Ok(None) => {}
                Err(error) => scan.problem(&path, &error),
            }
            if scan.more {
                break;
            }
        }
    }
    scan.files.sort_unstable_by(|a, b| a.rel.cmp(&b.rel));
    Ok(scan)
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
    fn problem(&mut self, path: &Path, error: &io::Error) {
        if self.problems.len() < MAX_PROBLEMS && error.kind() != io::ErrorKind::NotFound {
            let path = path.to_string_lossy();
            let detail = plain(error);
            self.problems.push(one_line(&format!(
                "cannot look into {path}: {detail}; what lies there is not processed"
            )));
        }
    }
}

/// The kind of file system `dir` lies on, if it is one on which other hosts or a user-space process change files
/// without an event: such folders are scanned. `None` for local ones, and where the system does not say.
///
/// FUSE counts, though mergerfs and ntfs-3g are local: changes beside the mount give no event, and virtiofs
/// calls itself FUSE.
pub fn network_kind(dir: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(dir).ok()?;
    // The type's width and sign depend on the architecture; the numbers are 32 bits.
    kind_of(stat.f_type as u64 & 0xffff_ffff)
}

fn kind_of(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517B => "smb",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x00C3_6400 => "ceph",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x7375_7245 => "coda",
        0x786F_4256 => "vboxsf",
        0x0BD0_0BD0 => "lustre",
        0x7461_636F => "ocfs2",
        0x0116_1970 => "gfs2",
        _ => return None,
    })
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
    fn a_folder_made_anew_is_another_one_even_under_the_same_inode_number() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        let mut seen = Vec::new();
        for _ in 0..3 {
            std::fs::create_dir(&input).unwrap();
            let id = RootId::read(&input).unwrap();
            assert_eq!(RootId::read(&input).unwrap(), id);
            assert!(!seen.contains(&id), "{id:?} was seen before");
            seen.push(id);
            std::fs::remove_dir(&input).unwrap();
        }
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

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(kind_of(0xFE53_4D42), Some("smb2"));
        assert_eq!(kind_of(0x6573_5546), Some("fuse"));
        for local in [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E, 0x794C_7630] {
            assert_eq!(kind_of(local), None);
        }
    }
}
