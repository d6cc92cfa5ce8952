//! Owns what a crash left behind in an output folder: a publishing cut short, and stale temporary files.
//! Never removes a file that it cannot prove to be ours and abandoned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::commit::{kind_at, sync_chain};
use super::error::{PublishError, shown};
use super::stage::{digest_of, ignore_missing, is_abandoned, owner_of, require_root};
use super::{Instance, Publisher};
use crate::queue::{Digest, Publishing, Resolution};

impl Publisher {
    /// Finishes or undoes a publishing that the end of a process cut short. `root` is the job's output folder.
    ///
    /// - the final name holds the recorded bytes: made durable, done;
    /// - the temporary one does and the final name is free: renamed, made durable, done;
    /// - the temporary one does, but the final name holds something else: the work is done again. Whether that
    ///   is the source's own earlier result or a stranger's file is the ledger's knowledge, and
    ///   [`Publisher::choose_final`] asks it;
    /// - neither: done again.
    ///
    /// Afterwards the temporary file is gone in every case. Running it twice does no harm.
    ///
    /// # Errors
    /// [`PublishError::RootMissing`]: a share that is not mounted is no reason to do the work again. Those of
    /// the system.
    pub fn recover(&self, root: &Path, publishing: &Publishing) -> Result<Resolution, PublishError> {
        let Publishing { temp, final_path, .. } = publishing;
        let failed = |error| PublishError::io(format!("finish publishing {}", shown(final_path)), error);
        require_root(root, || format!("finish publishing {}", shown(final_path)))?;
        let Ok(result) = final_path.strip_prefix(root) else {
            return Ok(Resolution::Requeue);
        };
        let published = holds(final_path, &publishing.digest).map_err(failed)?
            || (holds(temp, &publishing.digest).map_err(failed)?
                && self.finish_rename(temp, final_path).map_err(failed)?);
        if published {
            sync_chain(&*self.fs, root, final_path).map_err(failed)?;
        }
        // Behind a hard link instead of a rename both names may be there.
        self.discard(temp)?;
        Ok(if published {
            Resolution::Done {
                result: result.to_owned(),
            }
        } else {
            Resolution::Requeue
        })
    }

    /// Whether the rename went through; not where somebody was faster.
    fn finish_rename(&self, temp: &Path, final_path: &Path) -> io::Result<bool> {
        match self.fs.rename_noreplace(temp, final_path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the temporary files below `root` that this instance left behind, and those of commands that are
    /// no more; returns how many. To be called after [`Publisher::recover`], which still needs them. A file
    /// that somebody holds open is never touched, nor another instance's. Folders that cannot be read are
    /// passed over with a warning; links are not followed.
    ///
    /// # Errors
    /// [`PublishError::RootMissing`]; a leftover that cannot be removed.
    pub fn sweep(&self, root: &Path) -> Result<u64, PublishError> {
        require_root(root, || format!("clean up {}", shown(root)))?;
        let mut removed = 0;
        let mut pending: Vec<PathBuf> = vec![root.to_owned()];
        while let Some(dir) = pending.pop() {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(dir = %shown(&dir), %error, "not swept");
                    continue;
                }
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let path = entry.path();
                if kind.is_dir() {
                    pending.push(path);
                } else if kind.is_file() && self.is_leftover(&path) {
                    ignore_missing(self.fs.remove_file(&path))
                        .map_err(|error| PublishError::io(format!("remove {}", shown(&path)), error))?;
                    tracing::info!(path = %shown(&path), "leftover removed");
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn is_leftover(&self, path: &Path) -> bool {
        let Some(owner) = owner_of(path) else { return false };
        let ours = owner
            .strip_prefix(&self.instance.0)
            .is_some_and(|rest| rest.starts_with('-'));
        (ours || process_of(owner).is_some_and(is_dead)) && is_abandoned(path)
    }
}

/// The process in `cli-<pid>-<token>` or `doc-<pid>-<token>`.
fn process_of(owner: &str) -> Option<u32> {
    let rest = Instance::PROCESS_KINDS
        .iter()
        .find_map(|kind| owner.strip_prefix(kind)?.strip_prefix('-'))?;
    rest.split_once('-')?.0.parse().ok()
}

/// Whether a process is no more. Our own number belonged to somebody else before us: in a container the
/// service has the same one after every start, and what is ours now is locked.
fn is_dead(pid: u32) -> bool {
    if pid == std::process::id() {
        return true;
    }
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => test_kill_process(pid) == Err(rustix::io::Errno::SRCH),
        None => true,
    }
}

/// Whether a regular file with these bytes is there. Links are not followed and a FIFO does not stall us.
fn holds(path: &Path, digest: &Digest) -> io::Result<bool> {
    match open_regular(path)? {
        Some(file) => Ok(digest_of(&file)?.0 == *digest),
        None => Ok(false),
    }
}

pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    if !kind_at(path)?.is_some_and(|kind| kind.is_file()) {
        return Ok(None);
    }
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
