//! Owns the writing of small documents that other programs read while they change: whole or not at all.
//! Never decides what is in them.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Instance;
use super::error::{PublishError, shown};
use super::stage::{Temp, ensure_dirs, ignore_missing, parent_below, temp_path};
use crate::fs::SharedFilesystem;

/// Replaces the document at `path`, which lies below `root`, in one step; missing directories between them are
/// made. `durable` outlives a power cut, at the price of two syncs; without it, a cut may leave an older
/// version or an empty file.
///
/// # Errors
/// [`PublishError::RootMissing`], [`PublishError::InTheWay`], [`PublishError::NameTooLong`]; those of the
/// system. The old version is still there then.
pub fn replace_document(
    fs: &SharedFilesystem,
    root: &Path,
    path: &Path,
    bytes: &[u8],
    durable: bool,
) -> Result<(), PublishError> {
    /// Tells documents apart that are written at the same time.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let doing = || format!("write {}", shown(path));
    let failed = |error| PublishError::io(doing(), error);
    let dir = parent_below(root, path, doing)?;
    ensure_dirs(&**fs, root, dir, doing)?;
    let token = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    let mut temp = Temp::create(fs, temp_path(dir, &Instance::of_documents(), &token)).map_err(failed)?;
    temp.file.write_all(bytes).map_err(failed)?;
    if durable {
        fs.sync_file(&temp.file).map_err(failed)?;
    }
    fs.rename_replace(&temp.path, path).map_err(failed)?;
    temp.disarm();
    if durable {
        fs.sync_dir(dir).map_err(failed)?;
    }
    Ok(())
}

/// Removes a document; nothing there is fine.
///
/// # Errors
/// Those of the system.
pub fn remove_document(fs: &SharedFilesystem, path: &Path) -> Result<(), PublishError> {
    match ignore_missing(fs.remove_file(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(()),
        other => other.map_err(|error| PublishError::io(format!("remove {}", shown(path)), error)),
    }
}
