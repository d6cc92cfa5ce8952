//! Owns temporary files: their names, their lock, their end. Never touches a final name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::error::{PublishError, shown};
use super::{Instance, Publisher};
use crate::fs::{Filesystem, SharedFilesystem};
use crate::queue::Digest;

const PREFIX: &str = ".upscaled-";
const SUFFIX: &str = ".tmp";

/// Longest token in a name: with prefix, instance and suffix far below the 143 bytes that encrypting file
/// systems allow.
const TOKEN_CHARS_MAX: usize = 64;

/// Read at once while hashing: large enough that system calls do not show, small enough for any budget.
const HASH_BUFFER_BYTES: usize = 256 * 1024;

impl Publisher {
    /// Creates the hidden file that the result is written into: `.upscaled-<instance>-<token>.tmp` beside
    /// `final_path`, because only within one directory is a rename sure to stay on one file system. Missing
    /// directories below `root` are made; they become durable with [`Publisher::commit`]. A leftover of the
    /// same name is replaced unless somebody still writes it.
    ///
    /// # Errors
    /// [`PublishError::RootMissing`] where `root` is not there; [`PublishError::InTheWay`] where a file or a
    /// symlink stands in for a directory (results never follow a link out of the folder);
    /// [`PublishError::NameTooLong`] already now, before the work; those of the system.
    pub fn stage(&self, root: &Path, final_path: &Path, token: &str) -> Result<StagedFile, PublishError> {
        let doing = || format!("publish {}", shown(final_path));
        let dir = parent_below(root, final_path, doing)?;
        ensure_dirs(&*self.fs, root, dir, doing)?;
        if let Err(error) = final_path.symlink_metadata()
            && error.kind() == io::ErrorKind::InvalidFilename
        {
            return Err(PublishError::io(doing(), error));
        }
        let temp = Temp::create(&self.fs, temp_path(dir, &self.instance, token))
            .map_err(|error| PublishError::io(doing(), error))?;
        Ok(StagedFile {
            root: root.to_owned(),
            temp,
        })
    }

    /// Makes the staged bytes durable and hashes them. Only a sealed file can be published (I4).
    ///
    /// # Errors
    /// Those of the system; the staged file is removed then. A failed sync is final: the kernel may have
    /// dropped the pages and would report success the next time.
    pub fn seal(&self, staged: StagedFile) -> Result<SealedFile, PublishError> {
        let StagedFile { root, temp } = staged;
        let failed = |error| PublishError::io(format!("write {}", shown(&temp.path)), error);
        self.fs.sync_file(&temp.file).map_err(failed)?;
        let (digest, bytes) = digest_of(&temp.file).map_err(failed)?;
        Ok(SealedFile {
            temp: temp.path.clone(),
            digest,
            bytes,
            root,
            guard: temp,
        })
    }

    /// Removes a staged or sealed file, or one of that path; nothing there is fine.
    ///
    /// # Errors
    /// [`PublishError::Outside`] for a path that is no temporary name of ours; those of the system.
    pub fn discard(&self, temp: impl AsRef<Path>) -> Result<(), PublishError> {
        let path = temp.as_ref();
        let doing = || format!("remove {}", shown(path));
        if owner_of(path).is_none() {
            return Err(PublishError::Outside {
                doing: doing(),
                root: path.parent().unwrap_or(path).to_owned(),
            });
        }
        ignore_missing(self.fs.remove_file(path)).map_err(|error| PublishError::io(doing(), error))
    }
}

/// A file under its temporary name, being written. Dropped, it is gone.
#[derive(Debug)]
pub struct StagedFile {
    root: PathBuf,
    temp: Temp,
}

impl StagedFile {
    /// The temporary path.
    pub fn path(&self) -> &Path {
        &self.temp.path
    }

    /// A handle to write through. All handles share one position.
    ///
    /// # Errors
    /// As `dup`.
    pub fn file(&self) -> io::Result<File> {
        self.temp.file.try_clone()
    }
}

impl StagedFile {
    /// Gives the result the time of its source, so that pictures stay in their order. To be called when all is
    /// written. A file system without times keeps its own.
    pub fn set_modified(&self, time: SystemTime) {
        if let Err(error) = self.temp.file.set_modified(time) {
            tracing::debug!(path = %shown(&self.temp.path), %error, "the source's time was not copied");
        }
    }
}

impl AsRef<Path> for StagedFile {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

/// A complete, durable file under its temporary name. Dropped without [`Publisher::commit`], it is gone.
#[derive(Debug)]
pub struct SealedFile {
    /// The temporary path, absolute.
    pub temp: PathBuf,
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
    pub(super) root: PathBuf,
    pub(super) guard: Temp,
}

impl AsRef<Path> for SealedFile {
    fn as_ref(&self) -> &Path {
        &self.temp
    }
}

/// A file of ours that ends with its value. It is locked while it lives: whoever sweeps can tell somebody's
/// work from a leftover, across process and container borders and even when two machines share a folder.
#[derive(Debug)]
pub(super) struct Temp {
    fs: SharedFilesystem,
    pub(super) path: PathBuf,
    pub(super) file: File,
    armed: AtomicBool,
}

impl Temp {
    pub(super) fn create(fs: &SharedFilesystem, path: PathBuf) -> io::Result<Self> {
        let file = match fs.create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_abandoned(&path) => {
                fs.remove_file(&path)?;
                fs.create_new(&path)
            }
            other => other,
        }?;
        // A file system without locks: the sweep then goes by the owner alone.
        let _ = file.try_lock();
        Ok(Self {
            fs: fs.clone(),
            path,
            file,
            armed: AtomicBool::new(true),
        })
    }

    /// The file lives under another name now.
    pub(super) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Relaxed)
            && let Err(error) = ignore_missing(self.fs.remove_file(&self.path))
        {
            tracing::debug!(path = %shown(&self.path), %error, "temporary file left to the next sweep");
        }
    }
}

/// The temporary name of this instance and token in `dir`.
pub(super) fn temp_path(dir: &Path, instance: &Instance, token: &str) -> PathBuf {
    let token: String = token
        .chars()
        .take(TOKEN_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    dir.join(format!("{PREFIX}{instance}-{token}{SUFFIX}"))
}

/// The part of a temporary name behind the prefix, `<instance>-<token>`; `None` for any other name.
pub(super) fn owner_of(path: &Path) -> Option<&str> {
    path.file_name()?
        .to_str()?
        .strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)
}

/// Whether nobody holds this temporary file open. In doubt it is somebody's.
pub(super) fn is_abandoned(path: &Path) -> bool {
    let opened = OpenOptions::new()
        .read(true)
        // Network file systems grant an exclusive lock only on a file that is open for writing.
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => {
            !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
        }
        _ => false,
    }
}

/// The directory of `path`, which must lie below `root` and not climb.
pub(super) fn parent_below<'a>(
    root: &Path,
    path: &'a Path,
    doing: impl Fn() -> String,
) -> Result<&'a Path, PublishError> {
    let inside = path
        .strip_prefix(root)
        .is_ok_and(|below| is_plain(below) && below.file_name().is_some());
    match path.parent() {
        Some(parent) if inside => Ok(parent),
        _ => Err(PublishError::Outside {
            doing: doing(),
            root: root.to_owned(),
        }),
    }
}

/// Whether a relative path consists of names only.
pub(super) fn is_plain(below: &Path) -> bool {
    below
        .components()
        .all(|component| matches!(component, Component::Normal(_)))
}

/// Makes the directories from `root`, which must be there, down to `dir`. Links are not followed below
/// `root`: the sweep does not follow them either, and nobody can plant a way out of the folder.
pub(super) fn ensure_dirs(
    fs: &dyn Filesystem,
    root: &Path,
    dir: &Path,
    doing: impl Fn() -> String,
) -> Result<(), PublishError> {
    require_root(root, &doing)?;
    let below = dir.strip_prefix(root).unwrap_or(Path::new(""));
    let mut path = root.to_owned();
    for component in below.components() {
        path.push(component);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(meta) => {
                return Err(PublishError::InTheWay {
                    doing: doing(),
                    what: kind_of(meta.file_type()),
                    obstacle: path,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs
                .create_dir_all(&path)
                .map_err(|error| PublishError::io(doing(), error))?,
            Err(error) => return Err(PublishError::io(doing(), error)),
        }
    }
    Ok(())
}

/// Fails unless `root` is a directory (or a link to one: a person set it up).
pub(super) fn require_root(root: &Path, doing: impl Fn() -> String) -> Result<(), PublishError> {
    match root.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(meta) => Err(PublishError::InTheWay {
            doing: doing(),
            what: kind_of(meta.file_type()),
            obstacle: root.to_owned(),
        }),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(PublishError::RootMissing {
                doing: doing(),
                root: root.to_owned(),
            })
        }
        Err(error) => Err(PublishError::io(doing(), error)),
    }
}

/// What a thing is, in words.
pub(super) fn kind_of(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a symlink"
    } else if kind.is_file() {
        "a file"
    } else {
        "a special file"
    }
}

/// BLAKE3 and length of an open file, read from its beginning whatever its position.
pub(super) fn digest_of(file: &File) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok((*hasher.finalize().as_bytes(), offset)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removing what is not there has succeeded.
pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
