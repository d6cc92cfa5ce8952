//! Owns what is in `models/`: a model is put there under a name once it is known to be one, and taken out again with
//! what was found out about it. Never converts anything, and never touches a file that has no name.

use std::io;
use std::path::{Path, PathBuf};

use sha2::Digest;

use super::file::BroughtFile;
use super::{Catalogue, EXTENSION, ModelError, check_name, lock, shown};
use crate::error::plain;
use crate::fs::{place_file, replace_file};
use crate::inference::card::{Model, ModelCard};
use crate::report::hex;

/// Stands before the process and the name of a file that is being examined: no model's name begins with a dot.
const EXAMINED: &str = ".import-";

/// What became of a model that was brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Brought {
    /// What is known of it.
    pub card: ModelCard,
    /// Where it is now.
    pub path: PathBuf,
    /// Whether the very same file had that name already.
    pub was_there: bool,
}

impl Catalogue {
    /// Puts an ONNX file into `models/` of the first state directory, where the daemon looks, under this name, after it
    /// was examined. Nothing is left of one that is no upscaler.
    ///
    /// # Errors
    /// [`ModelError::BadName`], [`ModelError::Taken`] for the name of another model, [`ModelError::Unwritable`], and
    /// those of [`Catalogue::card`].
    pub fn bring(&self, name: &str, onnx: &[u8]) -> Result<Brought, ModelError> {
        check_name(name).map_err(|why| ModelError::BadName {
            name: name.to_owned(),
            why,
        })?;
        if Model::built_in(name).is_some() {
            return Err(taken(name, "the built-in model".to_owned()));
        }
        let Some(dir) = self.model_dirs().next() else {
            return Err(self.unknown(name, Vec::new()));
        };
        let path = dir.join(format!("{name}.{EXTENSION}"));
        let brought = |was_there| {
            Ok(Brought {
                card: self.card_of(name, &path)?,
                path: path.clone(),
                was_there,
            })
        };
        if path.symlink_metadata().is_ok() {
            let there = BroughtFile::read(&path).is_ok_and(|file| file.sha256 == sha256(onnx));
            return if there {
                brought(true)
            } else {
                Err(taken(name, shown(&path)))
            };
        }
        self.sweep(&dir);
        let examined = dir.join(format!("{EXAMINED}{}-{name}.{EXTENSION}", std::process::id()));
        replace_file(self.fs.as_ref(), &examined, onnx).map_err(|error| unwritable(&path, &error))?;
        let found = self.card_of(name, &examined);
        lock(&self.seen).remove(&examined);
        let placed = found.and_then(|_| {
            place_file(self.fs.as_ref(), &examined, &path).map_err(|error| match error.kind() {
                // By somebody who imported the same name meanwhile.
                io::ErrorKind::AlreadyExists => taken(name, shown(&path)),
                _ => unwritable(&path, &error),
            })
        });
        match placed {
            Ok(()) => brought(false),
            Err(error) => {
                let _ = self.fs.remove_file(&examined);
                Err(error)
            }
        }
    }

    /// Removes what imports left that were killed.
    fn sweep(&self, dir: &Path) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let process = name
                .to_str()
                .and_then(|name| name.strip_prefix(EXAMINED)?.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                let _ = self.fs.remove_file(&entry.path());
            }
        }
    }

    /// The file in `models/` that has this name, for whoever wants to remove it.
    ///
    /// # Errors
    /// [`ModelError::BuiltIn`], [`ModelError::Unknown`].
    pub fn file_of(&self, name: &str) -> Result<PathBuf, ModelError> {
        if Model::built_in(name).is_some() {
            return Err(ModelError::BuiltIn {
                name: name.to_owned(),
            });
        }
        let found = self.files().into_iter().find(|(other, _)| other == name);
        found
            .map(|(_, path)| path)
            .ok_or_else(|| self.unknown(name, Vec::new()))
    }

    /// Takes the model of that name out of `models/`, with what was found out about it, and returns where it was. It is
    /// read for that, and not examined: it may be one that hangs.
    ///
    /// # Errors
    /// As [`Catalogue::file_of`]; [`ModelError::Unwritable`].
    pub fn remove(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.file_of(name)?;
        let sha256 = |path: &Path| BroughtFile::read(path).ok().map(|file| file.sha256);
        let removed = sha256(&path);
        self.fs
            .remove_file(&path)
            .map_err(|error| unwritable(&path, &error))?;
        if let Some(dir) = path.parent() {
            let _ = self.fs.sync_dir(dir);
        }
        lock(&self.seen).remove(&path);
        let is_used = |wanted: &String| {
            let mut others = self.files().into_iter();
            others.any(|(_, path)| sha256(&path).as_ref() == Some(wanted))
        };
        if let Some(removed) = removed.filter(|removed| !is_used(removed)) {
            self.cards.forget(&removed);
        }
        Ok(path)
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn taken(name: &str, by: String) -> ModelError {
    ModelError::Taken {
        name: name.to_owned(),
        by,
    }
}

fn unwritable(path: &Path, error: &io::Error) -> ModelError {
    ModelError::Unwritable {
        path: shown(path),
        why: plain(error),
    }
}
