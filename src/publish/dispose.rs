//! Owns what becomes of a source after its result is recorded (I5). Never touches a file that is not, by its
//! identity, the one that was upscaled.

use std::io;
use std::path::{Path, PathBuf};

use super::Publisher;
use super::commit::numbered;
use super::error::{PublishError, shown};
use super::stage::{ensure_dirs, parent_below};
use crate::config::OnSuccess;
use crate::fs::FileIdentity;

/// Where `on_success = "move"` puts sources, below the input folder.
const DONE: &str = "done";

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposal {
    /// It stays where it is.
    Kept,
    /// It moved.
    Moved {
        /// Its new path below the input folder.
        to: PathBuf,
    },
    /// It is in the desktop's trash.
    Trashed,
    /// It is removed.
    Deleted,
    /// It is gone or no longer the file that was upscaled: left alone. New content is a new job.
    Changed,
}

impl Publisher {
    /// Does to a source what the folder wants. To be called only after the result is published *and* recorded.
    ///
    /// Between the last look at the identity and the step itself lies a moment in which a program could
    /// replace the file. Moving the source aside first would close it, but a crash in between would leave a
    /// person's file under a hidden name, which is worse.
    ///
    /// # Errors
    /// [`PublishError::Trash`]; [`PublishError::RootMissing`] and those of the system. The source is still
    /// there then.
    pub fn dispose(
        &self,
        input_root: &Path,
        source_rel: &Path,
        identity: &FileIdentity,
        how: OnSuccess,
    ) -> Result<Disposal, PublishError> {
        if how == OnSuccess::Keep {
            return Ok(Disposal::Kept);
        }
        let source = input_root.join(source_rel);
        let verb = match how {
            OnSuccess::Keep | OnSuccess::Move => "move",
            OnSuccess::Trash | OnSuccess::Delete => "remove",
        };
        let doing = || format!("{verb} {}", shown(&source));
        parent_below(input_root, &source, doing)?;
        match FileIdentity::read(&source) {
            Ok(now) if now == *identity => {}
            Ok(_) => return Ok(Disposal::Changed),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Disposal::Changed);
            }
            Err(error) => return Err(PublishError::io(doing(), error)),
        }
        match how {
            OnSuccess::Keep => Ok(Disposal::Kept),
            OnSuccess::Move => self.move_to_done(input_root, source_rel, doing),
            OnSuccess::Trash => match trash::delete(&source) {
                Ok(()) => Ok(Disposal::Trashed),
                Err(error) => Err(PublishError::Trash {
                    path: source.clone(),
                    why: words_of(&error),
                }),
            },
            OnSuccess::Delete => {
                self.fs
                    .remove_file(&source)
                    .map_err(|error| PublishError::io(doing(), error))?;
                Ok(Disposal::Deleted)
            }
        }
    }

    /// Within the input folder, so a rename; a number is added where the name is taken.
    fn move_to_done(
        &self,
        input_root: &Path,
        source_rel: &Path,
        doing: impl Fn() -> String,
    ) -> Result<Disposal, PublishError> {
        let source = input_root.join(source_rel);
        let wanted = Path::new(DONE).join(source_rel);
        let dir = parent_below(input_root, &input_root.join(&wanted), &doing)?.to_owned();
        ensure_dirs(&*self.fs, input_root, &dir, &doing)?;
        for to in std::iter::once(wanted.clone()).chain(numbered(&wanted)) {
            match self.fs.rename_noreplace(&source, &input_root.join(&to)) {
                // Not synced: a power cut puts the source back where it was, and the ledger knows it as done.
                Ok(()) => return Ok(Disposal::Moved { to }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PublishError::io(doing(), error)),
            }
        }
        Err(PublishError::NoFreeName {
            path: input_root.join(wanted),
        })
    }
}

/// The trash's errors in plain words; its own texts name Rust types.
fn words_of(error: &trash::Error) -> String {
    match error {
        trash::Error::FileSystem { path, source } => {
            format!("{}: {}", shown(path), crate::error::plain(source))
        }
        trash::Error::Unknown { description } | trash::Error::Os { description, .. } => {
            crate::error::one_line(description)
        }
        trash::Error::CouldNotAccess { .. } | trash::Error::CanonicalizePath { .. } => {
            "the file cannot be reached".to_owned()
        }
        _ => "the trash refused it".to_owned(),
    }
}
