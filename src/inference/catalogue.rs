//! Owns which model a name means: one inside the binary, a file in `models/` of a state directory, or a file named
//! by path; and what is known of files that somebody brings. Never runs a picture.
//!
//! A file is examined once (see [`super::probe`]) and its card is kept by the file's sha256, so that the same file
//! under another name or in another place is known. Whoever only needs the card pays a `stat` for it; the weights
//! are read when a session is opened and belong to that session.

pub mod apart;
mod bring;
mod cards;
mod error;
mod file;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::bring::Brought;
use self::cards::CardCache;
pub use self::error::ModelError;
use self::file::{BroughtFile, Identities};
use super::InferenceError;
use super::card::{self, Model, ModelCard};
use super::half;
use super::library::Runtime;
use super::onnx;
use super::reference::{REFERENCE_MAX_BYTES, Reference};
use crate::error::one_line;
use crate::fs::SharedFilesystem;

/// The directory of brought models below a state directory.
pub const MODELS_DIR: &str = "models";

/// Its file name's end.
const EXTENSION: &str = "onnx";

/// Longest name, bytes: with its extension it is a file name.
const NAME_MAX_BYTES: usize = 200;

/// The file name's end of a reference beside its card.
const REFERENCE: &str = "reference";

/// That of its half-precision variant.
const HALF: &str = "half";

/// How often a file that changes while it is read is tried before that is called an error.
const READS_MAX: usize = 3;

/// A model as `models list` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name that gives it; for a file that is hidden by another model of its name, the path.
    pub name: String,
    /// Its file; `None` for one inside the binary.
    pub path: Option<PathBuf>,
    /// What is known of it, or why it cannot be used.
    pub card: Result<ModelCard, ModelError>,
    /// What takes its name away from it: the built-in one, or a file in a place before.
    pub hidden_by: Option<String>,
}

/// Told once for each file that has to be examined first, because that may take a minute.
type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// Finds models. One per process: it remembers what it examined.
pub struct Catalogue {
    state_dirs: Vec<PathBuf>,
    library: Option<PathBuf>,
    fs: SharedFilesystem,
    cards: CardCache,
    notice: Notice,
    /// Who examines; `None`: this process.
    program: Option<PathBuf>,
    /// What is known of each file, by its path. The inner lock is held while a file is examined: whoever asks
    /// meanwhile for the same one waits for the answer instead of examining it too.
    seen: Mutex<HashMap<PathBuf, Arc<Mutex<Option<Seen>>>>>,
}

/// What one state of a file was found to be.
struct Seen {
    identities: Identities,
    found: Result<ModelCard, ModelError>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue")
            .field("state_dirs", &self.state_dirs)
            .field("library", &self.library)
            .finish_non_exhaustive()
    }
}

/// Two that look at the same places find the same.
impl PartialEq for Catalogue {
    fn eq(&self, other: &Self) -> bool {
        (&self.state_dirs, &self.library) == (&other.state_dirs, &other.library)
    }
}

/// Where a name leads.
enum Lead {
    BuiltIn(Box<Model>),
    File(PathBuf),
}

impl Catalogue {
    /// Looks for files in `models/` of these directories, in this order, and keeps cards in the first of them that
    /// can be written. `library`: the ONNX Runtime that examines, as for [`Runtime::load`]; loaded only if a file
    /// has to be examined.
    pub fn new(state_dirs: Vec<PathBuf>, library: Option<PathBuf>, fs: SharedFilesystem) -> Self {
        Self {
            cards: CardCache::new(state_dirs.clone(), Arc::clone(&fs)),
            fs,
            state_dirs,
            library,
            notice: Box::new(|text| tracing::info!("{text}")),
            program: None,
            seen: Mutex::default(),
        }
    }

    /// Tells that a file is being examined to somebody who waits for it, instead of the log.
    #[must_use]
    pub fn with_notice(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// Lets `program` examine files, which is this one under its [`apart::COMMAND`]: see [`apart`].
    #[must_use]
    pub fn examined_by(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// What is known of the model that `name` means: a built-in one, else `NAME.onnx` in `models/` of a state
    /// directory, else a path if it holds a `/` or ends in `.onnx`. A `stat` for a file that was examined before; up
    /// to a minute for one that was not.
    ///
    /// # Errors
    /// [`ModelError`], and the same one again without another look until the file changes.
    pub fn card(&self, name: &str) -> Result<ModelCard, ModelError> {
        match self.lead(name)? {
            Lead::BuiltIn(model) => Ok(model.card),
            Lead::File(path) => self.card_of(name, &path),
        }
    }

    /// What is known of the model in this file, whatever its name is.
    ///
    /// # Errors
    /// As [`Catalogue::card`].
    pub fn card_at(&self, path: &Path) -> Result<ModelCard, ModelError> {
        let stem = path.file_stem().unwrap_or_default();
        self.card_of(&one_line(&stem.to_string_lossy()), path)
    }

    /// The model that `name` means, with its weights in memory.
    ///
    /// # Errors
    /// As [`Catalogue::card`].
    pub fn find(&self, name: &str) -> Result<Model, ModelError> {
        let path = match self.lead(name)? {
            Lead::BuiltIn(model) => return Ok(*model),
            Lead::File(path) => path,
        };
        for _ in 0..READS_MAX {
            let card = self.card_of(name, &path)?;
            let file = BroughtFile::read(&path)?;
            // The card is of one state of the file and the weights of another if it was replaced in between.
            if file.sha256 == card.sha256 {
                return Ok(file.into_model(card));
            }
        }
        Err(changing(&path))
    }

    /// What the processor makes of the model's patch. Kept beside its card; made now where that could not be.
    ///
    /// # Errors
    /// Those of the session that makes it.
    pub fn reference(&self, runtime: &Runtime, model: &Model) -> Result<Reference, InferenceError> {
        let sha256 = &model.card.sha256;
        let in_binary = card::built_in_reference(&model.card.name);
        let kept = match in_binary {
            Some(bytes) => Some(bytes.to_vec()),
            None => self.cards.get_beside(sha256, REFERENCE, REFERENCE_MAX_BYTES),
        };
        match kept.and_then(|bytes| Reference::from_bytes(&bytes, &model.card)) {
            Some(reference) => Ok(reference),
            None => {
                let reference = Reference::make(runtime, model)?;
                self.cards.keep(sha256, REFERENCE, &reference.to_bytes());
                Ok(reference)
            }
        }
    }

    /// The model's half-precision variant, which GPUs are faster with, if it has one that is near enough.
    pub fn half(&self, model: &Model) -> Option<Arc<[u8]>> {
        let near_enough = |decibels| decibels >= half::DECIBELS_MIN;
        if !model.card.half_decibels.is_some_and(near_enough) {
            return None;
        }
        let sha256 = &model.card.sha256;
        let kept = || self.cards.get_beside(sha256, HALF, file::FILE_MAX_BYTES);
        // It was near enough when it was measured, and is always made alike.
        let made = || {
            let narrowed = onnx::narrow(&model.onnx).ok()?;
            self.cards.keep(sha256, HALF, &narrowed);
            Some(narrowed)
        };
        let half = || kept().or_else(made).map(Arc::from);
        model.half.clone().or_else(half)
    }

    /// Every model that has a name, the built-in ones first, then the files by name, each with what is known of it.
    /// Files that were never examined are examined now.
    pub fn list(&self) -> Vec<Listed> {
        let mut listed: Vec<Listed> = card::built_in()
            .into_iter()
            .map(|model| Listed {
                name: model.card.name.to_string(),
                path: None,
                card: Ok(model.card),
                hidden_by: None,
            })
            .collect();
        for (name, path) in self.files() {
            let holder = listed.iter().find(|other| other.name == name);
            let hidden_by = holder.map(|holder| match &holder.path {
                None => format!("the built-in model {name}"),
                Some(path) => shown(path),
            });
            let name = match hidden_by {
                None => name,
                Some(_) => path.to_string_lossy().into_owned(),
            };
            listed.push(Listed {
                card: self.card_of(&name, &path),
                name,
                path: Some(path),
                hidden_by,
            });
        }
        listed
    }

    /// The directories that may hold `models/`, the first before the second.
    pub fn state_dirs(&self) -> &[PathBuf] {
        &self.state_dirs
    }

    fn lead(&self, name: &str) -> Result<Lead, ModelError> {
        if let Some(model) = Model::built_in(name) {
            return Ok(Lead::BuiltIn(Box::new(model)));
        }
        if is_path(name) {
            return Ok(Lead::File(PathBuf::from(name)));
        }
        if let Err(why) = check_name(name) {
            return Err(ModelError::BadName {
                name: name.to_owned(),
                why,
            });
        }
        self.model_dirs()
            .map(|dir| dir.join(format!("{name}.{EXTENSION}")))
            // A link that leads nowhere is there too: saying so helps more than "unknown".
            .find(|path| path.symlink_metadata().is_ok())
            .map(Lead::File)
            .ok_or_else(|| self.unknown(name, self.model_dirs().map(|dir| shown(&dir)).collect()))
    }

    /// `places`: where a file of that name would be found.
    fn unknown(&self, name: &str, places: Vec<String>) -> ModelError {
        let mut known: Vec<String> = card::built_in()
            .iter()
            .map(|model| model.card.name.to_string())
            .collect();
        for (name, _) in self.files() {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        ModelError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
            places,
        }
    }

    fn model_dirs(&self) -> impl Iterator<Item = PathBuf> {
        self.state_dirs.iter().map(|dir| dir.join(MODELS_DIR))
    }

    /// The files that have a name, place by place, sorted. A place that cannot be read has none.
    fn files(&self) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for dir in self.model_dirs() {
            let Ok(entries) = std::fs::read_dir(dir) else {
                continue;
            };
            let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
            let mut here: Vec<(String, PathBuf)> = paths
                .filter_map(|path| {
                    let name = path.file_stem()?.to_str()?.to_owned();
                    let fits = path.extension()? == EXTENSION && check_name(&name).is_ok();
                    fits.then_some((name, path))
                })
                .collect();
            here.sort();
            found.extend(here);
        }
        found
    }

    fn card_of(&self, name: &str, path: &Path) -> Result<ModelCard, ModelError> {
        let slot = Arc::clone(lock(&self.seen).entry(path.to_owned()).or_default());
        let mut slot = lock(&slot);
        if let Some(seen) = slot.as_ref()
            && seen.identities.are_current()
        {
            return seen.found.clone();
        }
        *slot = None;
        let file = BroughtFile::read(path)?;
        let identities = file.identities.clone();
        let found = self.known_or_examined(name, path, file);
        // A missing ONNX Runtime says nothing about the file.
        if !matches!(found, Err(ModelError::Library(_))) {
            *slot = Some(Seen {
                identities,
                found: found.clone(),
            });
        }
        found
    }

    fn known_or_examined(&self, name: &str, path: &Path, file: BroughtFile) -> Result<ModelCard, ModelError> {
        let name = card_name(name, path);
        if let Some(card) = self.cards.get(&file.sha256) {
            return Ok(file::named(card, name, file.source));
        }
        (self.notice)(&format!("examining the model {name}; once, it may take a minute"));
        let Some(program) = &self.program else {
            return self.examined_here(file, name, path);
        };
        let library = Runtime::locate(self.library.as_deref())?;
        let (sha256, source) = (file.sha256.clone(), file.source.clone());
        // Not in memory twice while it is examined.
        drop(file);
        let card = apart::examine(program, &library, &self.state_dirs, path)?;
        if card.sha256 != sha256 {
            return Err(changing(path));
        }
        Ok(file::named(card, name, source))
    }

    fn examined_here(&self, file: BroughtFile, name: String, path: &Path) -> Result<ModelCard, ModelError> {
        let runtime = Runtime::load(self.library.as_deref())?;
        let card = file.examine(&runtime, name, path)?;
        let mut model = file.into_model(card);
        match half::make(&runtime, &model) {
            Ok(Some(half)) => {
                model.card.half_decibels = Some(half.decibels);
                if half.decibels >= half::DECIBELS_MIN && model.half.is_none() {
                    self.cards.keep(&model.card.sha256, HALF, &half.onnx);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("no half-precision variant of {}: {error}", shown(path)),
        }
        self.cards.put(&model.card);
        // Now, while it is known to run, and not at the first `verify`, whose result it would be.
        if let Err(error) = self.reference(&runtime, &model) {
            tracing::warn!("no reference could be made of {}: {error}", shown(path));
        }
        Ok(model.card)
    }
}

fn changing(path: &Path) -> ModelError {
    ModelError::Unreadable {
        path: shown(path),
        why: "it changes while it is read".to_owned(),
        next: "wait until it is written",
    }
}

/// Whether the name is a path, by its letters.
fn is_path(name: &str) -> bool {
    name.contains('/') || Path::new(name).extension().is_some_and(|ext| ext == EXTENSION)
}

/// The name that documents tell: a file's is its stem, wherever it lies.
fn card_name(name: &str, path: &Path) -> String {
    if is_path(name) {
        let stem = path.file_stem().unwrap_or_default();
        one_line(&stem.to_string_lossy())
    } else {
        name.to_owned()
    }
}

/// Whether something could have that name: it becomes a file name and stands in messages.
///
/// # Errors
/// What is wrong with it, to be put behind "it is no name, because".
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if is_path(name) {
        Err("it reads like a path")
    } else if name.is_empty() {
        Err("it is empty")
    } else if name.len() > NAME_MAX_BYTES {
        Err("it is too long")
    } else if name.starts_with('.') || name.starts_with('-') {
        Err("it begins with a dot or a dash")
    } else if name.contains(['/', '\\']) || name.contains("..") {
        Err("it holds a separator or \"..\"")
    } else if name.chars().any(char::is_control) || name.trim() != name {
        Err("it holds a control character, or a space at its end")
    } else {
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
