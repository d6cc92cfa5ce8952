//! Owns the choice of a final name and the rename to it. Never overwrites what is not ours to replace.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::Publisher;
use super::error::{PublishError, shown};
use super::stage::{SealedFile, is_plain, kind_of, require_root};
use crate::config::OnConflict;
use crate::fs::Filesystem;
use crate::queue::Digest;

/// Numbered names tried beside a taken one. More would mean that something fills the folder by mistake.
pub(super) const NUMBERS_MAX: u32 = 9999;

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// To this path below the output folder.
    Write {
        /// Below the output folder.
        path: PathBuf,
        /// Whether what is there may be replaced.
        replace: bool,
    },
    /// Nowhere: the name is taken and `on_conflict = "skip"`.
    Skip,
}

/// A result under its final name, durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The final path, as it was given to [`Publisher::commit`].
    pub path: PathBuf,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
}

impl Publisher {
    /// Chooses the name of a result. `own_result` is what this source published for this planned path before
    /// (below `root`, perhaps numbered): it is replaced in its place. A free name is taken; what else is at
    /// the planned name, be it a link, a FIFO or a folder, is never followed and falls to `on_conflict`.
    ///
    /// # Errors
    /// [`PublishError::RootMissing`]; [`PublishError::Outside`] for a path that climbs;
    /// [`PublishError::NoFreeName`]; [`PublishError::InTheWay`] for a folder that should be overwritten; those
    /// of the system.
    pub fn choose_final(
        &self,
        root: &Path,
        planned: &Path,
        own_result: Option<&Path>,
        on_conflict: OnConflict,
    ) -> Result<Choice, PublishError> {
        let full = root.join(planned);
        let doing = || format!("publish {}", shown(&full));
        require_root(root, doing)?;
        if !is_plain(planned) || planned.file_name().is_none() {
            return Err(PublishError::Outside {
                doing: doing(),
                root: root.to_owned(),
            });
        }
        let kind_at = |path: &Path| kind_at(path).map_err(|error| PublishError::io(doing(), error));
        if let Some(own) = own_result.filter(|own| is_plain(own))
            && kind_at(&root.join(own))?.is_some_and(|kind| kind.is_file())
        {
            return Ok(write(own, true));
        }
        let Some(kind) = kind_at(&full)? else {
            return Ok(write(planned, false));
        };
        match on_conflict {
            OnConflict::Skip => Ok(Choice::Skip),
            OnConflict::Overwrite if kind.is_dir() => Err(PublishError::InTheWay {
                doing: doing(),
                what: kind_of(kind),
                obstacle: full.clone(),
            }),
            OnConflict::Overwrite => Ok(write(planned, true)),
            OnConflict::Rename => {
                for path in numbered(planned) {
                    if kind_at(&root.join(&path))?.is_none() {
                        return Ok(write(&path, false));
                    }
                }
                Err(PublishError::NoFreeName { path: full.clone() })
            }
        }
    }

    /// Gives a sealed file its final name, in one step, and makes the name durable, along with the directories
    /// that lead to it: one that another job made a moment ago may not be on disk yet. The file's mode is what
    /// the umask made it.
    ///
    /// # Errors
    /// [`PublishError::Taken`] where the name is no longer free and `replace` is not set: choose again.
    /// [`PublishError::InTheWay`] for a folder. [`PublishError::Unsure`] where only recovery can tell: the intent to
    /// publish must then stay recorded. Those of the system: the result is then not there, or, where it
    /// replaced an earlier one, perhaps not durable.
    pub fn commit(
        &self,
        sealed: &SealedFile,
        final_path: &Path,
        replace: bool,
    ) -> Result<Published, PublishError> {
        let fs = &*self.fs;
        let doing = || format!("publish {}", shown(final_path));
        let renamed = if replace {
            fs.rename_replace(&sealed.temp, final_path)
        } else {
            fs.rename_noreplace(&sealed.temp, final_path)
        };
        renamed.map_err(|error| match kind_at(final_path) {
            Ok(Some(kind)) if replace && kind.is_dir() => PublishError::InTheWay {
                doing: doing(),
                what: kind_of(kind),
                obstacle: final_path.to_owned(),
            },
            _ if error.kind() == io::ErrorKind::AlreadyExists => PublishError::Taken {
                path: final_path.to_owned(),
            },
            _ => PublishError::io(doing(), error),
        })?;
        if let Err(error) = sync_chain(fs, &sealed.root, final_path) {
            // Nobody has recorded the result yet. Left there, the next attempt would take it for a stranger's
            // file and publish beside it. A replaced result has no such trouble and its predecessor is gone.
            if !replace && fs.rename_noreplace(final_path, &sealed.temp).is_err() {
                return Err(PublishError::Unsure {
                    path: final_path.to_owned(),
                    source: error,
                });
            }
            return Err(PublishError::io(doing(), error));
        }
        sealed.guard.disarm();
        Ok(Published {
            path: final_path.to_owned(),
            digest: sealed.digest,
            bytes: sealed.bytes,
        })
    }
}

fn write(path: &Path, replace: bool) -> Choice {
    Choice::Write {
        path: path.to_owned(),
        replace,
    }
}

/// What is at a path, links not followed; `None`: nothing.
pub(super) fn kind_at(path: &Path) -> io::Result<Option<std::fs::FileType>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta.file_type())),
        // A file where a directory should be: `stage` says so in better words.
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

/// `a.png` → `a-1.png`, `a-2.png`, …
pub(super) fn numbered(path: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=NUMBERS_MAX).map(move |number| {
        let mut name = OsString::from(path.file_stem().unwrap_or_default());
        name.push(format!("-{number}"));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    })
}

/// Makes a name below `root` durable: its directory and those above it, up to and with `root`.
pub(super) fn sync_chain(fs: &dyn Filesystem, root: &Path, path: &Path) -> io::Result<()> {
    for dir in path.ancestors().skip(1) {
        fs.sync_dir(dir)?;
        if dir == root {
            break;
        }
    }
    Ok(())
}
