//! Owns what the kernel says about files and the durable steps on them: identity, sync, rename, free space.
//! Never decides *when* a step happens (publish and status do) and never reads pixels.

use std::fmt::Debug;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, RenameFlags};

/// What tells one state of a file from another: any write, replacement or touch changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since the epoch; cannot be set by programs.
    pub ctime_ns: i64,
}

impl FileIdentity {
    /// Reads the identity off metadata that were obtained without following symlinks.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime_ns: meta
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(meta.mtime_nsec()),
            ctime_ns: meta
                .ctime()
                .saturating_mul(1_000_000_000)
                .saturating_add(meta.ctime_nsec()),
        }
    }

    /// When the file was last written.
    pub fn modified(&self) -> SystemTime {
        let since = Duration::from_nanos(self.mtime_ns.unsigned_abs());
        if self.mtime_ns < 0 {
            SystemTime::UNIX_EPOCH - since
        } else {
            SystemTime::UNIX_EPOCH + since
        }
    }

    /// The identity of the file at `path`, symlinks not followed.
    ///
    /// # Errors
    /// As `lstat`.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&path.symlink_metadata()?))
    }
}

/// The seam through which everything durable is written: the real one below, and in tests one that runs out
/// of space, fails, or stops between any two steps. Reads are not part of it.
pub trait Filesystem: Debug + Send + Sync {
    /// Creates a file that must not exist yet, readable and writable, mode 0666 less the umask and never
    /// writable by others, in the group of its directory.
    ///
    /// # Errors
    /// As `open` with `O_CREAT | O_EXCL`.
    fn create_new(&self, path: &Path) -> io::Result<File>;
    /// Makes the content and size of an open file durable.
    ///
    /// # Errors
    /// As `fsync`.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a directory durable. File systems that cannot sync directories are forgiven.
    ///
    /// # Errors
    /// As `open` and `fsync`.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames; fails with `AlreadyExists` where `to` exists.
    ///
    /// # Errors
    /// As `renameat2` with `RENAME_NOREPLACE`.
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames; replaces `to` in one step.
    ///
    /// # Errors
    /// As `rename`.
    fn rename_replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As `unlink`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents, never writable by others, each in the group of the one above it; durable
    /// with the next `sync_dir` of the parent.
    ///
    /// # Errors
    /// As `mkdir`.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Bytes that this user may still write below `dir`.
    ///
    /// # Errors
    /// As `statvfs`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// How the file system is handed around.
pub type SharedFilesystem = Arc<dyn Filesystem>;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFilesystem;

impl RealFilesystem {
    /// As a shared handle.
    pub fn shared() -> SharedFilesystem {
        Arc::new(Self)
    }
}

impl RealFilesystem {
    /// Creates one directory, never writable by others, in the group of the one above it.
    ///
    /// # Errors
    /// As `mkdir`.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o775).create(path)?;
        if let Ok(dir) = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
        {
            follow_group(&dir, path);
        }
        Ok(())
    }
}

/// Gives what was made at `path` to the group of its directory, as the set-group-ID bit would: who shares a folder
/// through its group shares what appears in it. Where this user may not, it stays the user's.
fn follow_group(made: &File, path: &Path) {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let (Ok(made_meta), Ok(dir_meta)) = (made.metadata(), dir.metadata()) else {
        return;
    };
    if made_meta.gid() != dir_meta.gid() {
        let group = rustix::fs::Gid::from_raw(dir_meta.gid());
        // Refused: not a member of the group, or a file system without owners.
        let _ = rustix::fs::fchown(made, None, Some(group));
    }
}

/// The umask that the process was started with.
static INHERITED: OnceLock<Mode> = OnceLock::new();

/// Makes new files of this process lack these mode bits; `None`: those that it was started with.
pub fn set_umask(bits: Option<u16>) {
    let inherited = *INHERITED.get_or_init(|| {
        // There is no other way to ask.
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(before);
        before
    });
    let wanted = bits.map_or(inherited, |bits| Mode::from_raw_mode(u32::from(bits)));
    rustix::process::umask(wanted);
}

impl Filesystem for RealFilesystem {
    fn create_new(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o664)
            .open(path)?;
        follow_group(&file, path);
        Ok(file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match File::open(dir)?.sync_all() {
            // Some network and FUSE file systems have no fsync on directories; their rename is as durable
            // as it will ever be.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOTSUP | libc::EBADF)
                ) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // File systems without the flag (NFS, some FUSE): a hard link refuses an existing name just as
            // atomically; where there are no hard links either, a check and a rename must do.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                match std::fs::hard_link(from, to) {
                    Ok(()) => std::fs::remove_file(from),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                    Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => self.rename_replace(from, to),
                }
            }
            other => other.map_err(io::Error::from),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    fn rename_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        match self.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                self.create_dir_all(parent.ok_or(error)?)?;
                self.create_dir_all(path)
            }
            // Whoever made it: another thread, or a link to it that a person made.
            Err(_) if path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Replaces a small file of the state directory in one step, durably; missing directories above it are made. Whoever
/// reads meanwhile sees the old content or the new one.
///
/// # Errors
/// As the steps; the old content is still there then.
pub fn replace_file(fs: &dyn Filesystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    /// Tells files apart that are written at the same time.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs.create_dir_all(dir)?;
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // Named like the temporary files of publish, so that its sweep removes what a crash leaves.
    let temp = dir.join(format!(".upscaled-doc-{process}-state{number}.tmp"));
    let mut file = match fs.create_new(&temp) {
        // Left by a process of the same number that was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.remove_file(&temp)?;
            fs.create_new(&temp)?
        }
        other => other?,
    };
    let replaced = file
        .write_all(bytes)
        .and_then(|()| fs.sync_file(&file))
        .and_then(|()| fs.rename_replace(&temp, path));
    if replaced.is_err() {
        let _ = fs.remove_file(&temp);
    }
    replaced?;
    fs.sync_dir(dir)
}

/// Gives a file that is durable under one name another one in the same directory, durably, unless that is taken.
///
/// # Errors
/// As [`Filesystem::rename_noreplace`] and [`Filesystem::sync_dir`].
pub fn place_file(fs: &dyn Filesystem, from: &Path, to: &Path) -> io::Result<()> {
    fs.rename_noreplace(from, to)?;
    to.parent().map_or(Ok(()), |dir| fs.sync_dir(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cards/a.json");
        replace_file(&RealFilesystem, &path, b"one").unwrap();
        replace_file(&RealFilesystem, &path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
        // A directory in the place of the file: the rename fails, the temporary file goes.
        let taken = dir.path().join("cards/b.json");
        std::fs::create_dir_all(taken.join("x")).unwrap();
        replace_file(&RealFilesystem, &taken, b"one").unwrap_err();
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    fn mode_and_group(path: &Path) -> (u32, u32) {
        let meta = path.metadata().unwrap();
        (meta.mode() & 0o7777, meta.gid())
    }

    /// A group other than the process's that this user may give: any for root, a further one of their own else.
    fn another_group() -> Option<u32> {
        let own = rustix::process::getegid();
        if rustix::process::geteuid().is_root() {
            return Some(own.as_raw() + 4711);
        }
        let groups = rustix::process::getgroups().unwrap();
        groups
            .iter()
            .find(|group| **group != own)
            .map(|group| group.as_raw())
    }

    #[test]
    fn what_is_made_belongs_to_the_folders_group_where_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let own = rustix::process::getegid().as_raw();
        let group = another_group();
        if let Some(group) = group {
            std::os::unix::fs::chown(dir.path(), None, Some(group)).unwrap();
        }
        let (file, below) = (dir.path().join("a"), dir.path().join("x/y"));
        RealFilesystem.create_new(&file).unwrap();
        RealFilesystem.create_dir_all(&below).unwrap();
        RealFilesystem.create_new(&below.join("b")).unwrap();
        for made in [file, dir.path().join("x"), below.join("b"), below] {
            assert_eq!(
                mode_and_group(&made).1,
                group.unwrap_or(own),
                "{}",
                made.display()
            );
        }
    }

    #[test]
    fn making_a_path_again_is_fine_and_a_file_in_the_way_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        RealFilesystem.create_dir_all(&path).unwrap();
        RealFilesystem.create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        let error = RealFilesystem.create_dir_all(&path.join("file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        RealFilesystem.create_dir_all(&path.join("file/c")).unwrap_err();
    }

    #[test]
    fn rename_noreplace_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "new").unwrap();
        std::fs::write(&b, "old").unwrap();
        let error = RealFilesystem.rename_noreplace(&a, &b).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&b).unwrap(), "old");
    }

    #[test]
    fn identity_changes_when_content_of_the_same_size_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let before = FileIdentity::read(&path).unwrap();
        assert_eq!(before, FileIdentity::read(&path).unwrap());
        let other = dir.path().join("b");
        std::fs::write(&other, "two").unwrap();
        RealFilesystem.rename_replace(&other, &path).unwrap();
        assert_ne!(before, FileIdentity::read(&path).unwrap());
    }
}
