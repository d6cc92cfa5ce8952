//! Owns a model's file as somebody brought it: reading it under a limit, its sha256, what [`super::super::onnx`]
//! says of it, and what probing finds. Never looks a name up and never keeps a card.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest;

use super::{ModelError, shown};
use crate::error::plain;
use crate::fs::FileIdentity;
use crate::inference::card::{Model, ModelCard};
use crate::inference::library::Runtime;
use crate::inference::onnx::{self, Adapt, OnnxError};
use crate::inference::probe::{ProbeInput, probe};
use crate::report::hex;

/// What is known of the licence of a file that does not tell it: whoever put it there knows, we do not.
const LICENCE: &str = "not known";

/// Largest model file. Protocol buffers end at 2 GiB; nothing that upscales comes near.
pub const FILE_MAX_BYTES: u64 = 2 << 30;

/// Every file that a model is made of, in the state in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities(Vec<(PathBuf, Option<FileIdentity>)>);

impl Identities {
    fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let states = paths.into_iter().map(|path| {
            let state = state(&path);
            (path, state)
        });
        Self(states.collect())
    }

    fn extend(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.0.extend(Self::of(paths).0);
    }

    /// Whether the files are still in that state.
    pub fn are_current(&self) -> bool {
        self.0
            .iter()
            .all(|(path, then)| then.is_some() && state(path) == *then)
    }
}

/// Links are followed: a model may be one.
fn state(path: &Path) -> Option<FileIdentity> {
    path.metadata().ok().map(|meta| FileIdentity::of(&meta))
}

/// A model's file in memory, as it is loaded.
#[derive(Debug)]
pub struct BroughtFile {
    /// sha256 of the file, hexadecimal.
    pub sha256: String,
    /// What it was made of.
    pub identities: Identities,
    /// Its licence, where the file tells one.
    licence: Option<String>,
    /// Where its weights come from: what it tells, else where it lies.
    pub source: String,
    /// Bytes of its weights, as they were brought.
    weights_bytes: u64,
    /// As the processor wants it.
    onnx: Vec<u8>,
    /// With its half-precision weights, if it has such.
    half: Option<Arc<[u8]>>,
}

impl BroughtFile {
    /// Reads it and brings it into one piece: weights in files of their own are put into it, weights in half precision
    /// are widened, because the processor computes with those at half the speed.
    ///
    /// # Errors
    /// [`ModelError::Unreadable`], [`ModelError::Unusable`] for a file that is no model, or none that can be used.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        // Before the bytes: a write in between makes the state an old one, and the file is read again.
        let mut identities = Identities::of([path.to_owned()]);
        let mut bytes = read(path)?;
        let refused = |error: OnnxError| unusable(path, error);
        // A link leads to where the model's other files lie.
        let directory = path
            .canonicalize()
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned));
        bytes = onnx::adapt(&bytes, &Adapt::default()).map_err(refused)?;
        let told = onnx::inspect(&bytes, directory.as_deref()).map_err(refused)?;
        if let Some(directory) = directory.filter(|_| !told.external_files.is_empty()) {
            identities.extend(told.external_files);
            bytes = onnx::embed(&bytes, &directory).map_err(refused)?;
        }
        // Of all that is computed with: other weights are another model.
        let sha256 = hex(&sha2::Sha256::digest(&bytes));
        let (onnx, half) = if told.half_weights {
            let widened = onnx::widen(&bytes).map_err(refused)?;
            (widened, Some(Arc::from(bytes)))
        } else {
            (bytes, None)
        };
        Ok(Self {
            sha256,
            identities,
            licence: told.licence,
            source: told.source.unwrap_or_else(|| shown(path)),
            weights_bytes: told.weights_bytes,
            onnx,
            half,
        })
    }

    /// What it is found to be when it runs.
    ///
    /// # Errors
    /// [`ModelError::Unusable`] for what is no upscaler.
    pub fn examine(&self, runtime: &Runtime, name: String, path: &Path) -> Result<ModelCard, ModelError> {
        let facts = ProbeInput {
            name,
            sha256: self.sha256.clone(),
            weights_bytes: self.weights_bytes,
            half_weights: self.half.is_some(),
            licence: self.licence.clone().unwrap_or_else(|| LICENCE.to_owned()),
            source: self.source.clone(),
        };
        probe(runtime, &self.onnx, facts).map_err(|error| unusable(path, error.refusal))
    }

    /// The model, ready to be loaded.
    pub fn into_model(self, card: ModelCard) -> Model {
        Model {
            card,
            onnx: self.onnx.into(),
            half: self.half,
            cpu_profile: None,
        }
    }
}

/// A card that was kept or found elsewhere, under the name and the place of now.
pub fn named(card: ModelCard, name: String, source: String) -> ModelCard {
    ModelCard {
        name: name.into(),
        source: source.into(),
        ..card
    }
}

/// That the file is no model, and why.
pub fn unusable(path: &Path, why: impl ToString) -> ModelError {
    ModelError::Unusable {
        path: shown(path),
        why: why.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let unreadable = |error: &io::Error| ModelError::Unreadable {
        path: shown(path),
        why: plain(error),
        next: match error.kind() {
            io::ErrorKind::NotFound => "check the path, or name one that `upscaled models list` shows",
            io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "check the path and the disk",
        },
    };
    let meta = path.metadata().map_err(|error| unreadable(&error))?;
    // A FIFO would never end, and opening one would wait for its writer.
    if !meta.is_file() {
        return Err(unusable(path, "it is not a regular file"));
    }
    if meta.len() > FILE_MAX_BYTES {
        return Err(unusable(path, "it is larger than 2 GiB"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    Ok(bytes)
}
