//! Owns what is in `models/`: a model is put there under a name once it is known to be one, and taken out again with
//! what was found out about it. Never converts anything, and never touches a file that has no name.

use std::io;
use std::path::PathBuf;

use sha2::Digest;

use super::file::unusable;
use super::{Catalogue, EXTENSION, MODELS_DIR, ModelError, check_name, lock, shown};
use crate::error::plain;
use crate::fs::replace_file;
use crate::inference::card::{Model, ModelCard};
use crate::report::hex;

/// Stands before the name of a file that is being examined: no model's name begins with a dot.
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
    /// Puts an ONNX file into `models/` of the first state directory that can be written, under this name, after it was
    /// examined. Nothing is left of one that is no upscaler.
    ///
    /// # Errors
    /// [`ModelError::BadName`], [`ModelError::Taken`] for the name of another model, [`ModelError::Unwritable`], and
    /// those of [`Catalogue::card`].
    pub fn bring(&self, name: &str, onnx: &[u8]) -> Result<Brought, ModelError> {
        check_name(name).map_err(|why| ModelError::BadName {
            name: name.to_owned(),
            why,
        })?;
        if let Some(brought) = self.is_there(name, onnx)? {
            return Ok(brought);
        }
        let mut refused = None;
        for dir in self.model_dirs() {
            let examined = dir.join(format!("{EXAMINED}{name}.{EXTENSION}"));
            if let Err(error) = replace_file(self.fs.as_ref(), &examined, onnx) {
                refused = refused.or(Some(unwritable(&dir.join(name), &error)));
                continue;
            }
            let found = self.card_of(name, &examined);
            lock(&self.seen).remove(&examined);
            let path = dir.join(format!("{name}.{EXTENSION}"));
            let _ = self.fs.remove_file(&examined);
            let kept = found.and_then(|_| {
                replace_file(self.fs.as_ref(), &path, onnx).map_err(|error| unwritable(&path, &error))
            });
            if let Err(error) = kept {
                return Err(match error {
                    // Of the file that was brought, not of the one that it was written to.
                    ModelError::Unusable { why, .. } => unusable(name.as_ref(), why),
                    other => other,
                });
            }
            return Ok(Brought {
                card: self.card(name)?,
                path,
                was_there: false,
            });
        }
        Err(refused.unwrap_or_else(|| self.unknown(name)))
    }

    /// Whether a model of that name is this one.
    fn is_there(&self, name: &str, onnx: &[u8]) -> Result<Option<Brought>, ModelError> {
        if Model::built_in(name).is_some() {
            return Err(taken(name, "the built-in model".to_owned()));
        }
        let Some((_, path)) = self.files().into_iter().find(|(other, _)| other == name) else {
            return Ok(None);
        };
        let card = self.card(name).map_err(|_| taken(name, shown(&path)))?;
        if card.sha256 == hex(&sha2::Sha256::digest(onnx)) {
            return Ok(Some(Brought {
                card,
                path,
                was_there: true,
            }));
        }
        Err(taken(name, shown(&path)))
    }

    /// Takes the model of that name out of `models/`, with its card and its reference, and returns what it was.
    ///
    /// # Errors
    /// [`ModelError::BuiltIn`], [`ModelError::Unknown`], [`ModelError::Unwritable`].
    pub fn remove(&self, name: &str) -> Result<PathBuf, ModelError> {
        if Model::built_in(name).is_some() {
            return Err(ModelError::BuiltIn {
                name: name.to_owned(),
            });
        }
        let found = self.files().into_iter().find(|(other, _)| other == name);
        let Some((_, path)) = found else {
            return Err(self.unknown(name));
        };
        // By what it holds, if it can be read: what was found out about it is of no use without it.
        let card = self.card(name).ok();
        self.fs
            .remove_file(&path)
            .map_err(|error| unwritable(&path, &error))?;
        if let Some(dir) = path.parent() {
            let _ = self.fs.sync_dir(dir);
        }
        lock(&self.seen).remove(&path);
        let still_used = |card: &ModelCard| {
            let mut others = self.files().into_iter();
            others.any(|(_, path)| self.card_at(&path).is_ok_and(|other| other.sha256 == card.sha256))
        };
        if let Some(card) = card.filter(|card| !still_used(card)) {
            self.cards.forget(&card.sha256);
        }
        Ok(path)
    }

    /// Where [`Catalogue::bring`] puts models: for messages.
    pub fn models_dir(&self) -> Option<PathBuf> {
        self.state_dirs.first().map(|dir| dir.join(MODELS_DIR))
    }
}

fn taken(name: &str, by: String) -> ModelError {
    ModelError::Taken {
        name: name.to_owned(),
        by,
    }
}

fn unwritable(path: &std::path::Path, error: &io::Error) -> ModelError {
    ModelError::Unwritable {
        path: shown(path),
        why: plain(error),
    }
}
