//! Owns weights that a model keeps in other files: where they may be, and taking them into the model. Never reads
//! outside the model's own directory: a model comes from strangers, and `location` is theirs to write.
//!
//! A check of the path and the reading of the file are two steps. Whoever can exchange files in the models'
//! directory in between can also write there what he likes, so this holds against files, not against a local user.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use super::error::{OnnxError, quoted};
use super::proto::TensorProto;
use super::scan::FILE_BYTES_MAX;
use super::tensor::{damaged, is_external, needed_bytes};
use super::{decode, encode, walk};
use crate::error::plain;

/// With this location ONNX Runtime takes the offset for an address in memory.
const ADDRESS_MARK: &str = "_ORT_MEM_ADDR_";

/// How often a byte of the other files is used, on average and at most. Tied weights are used twice; a small file
/// behind thousands of tensors is there to fill the memory.
const SHARING_MAX: u64 = 4;

/// Takes the weights of other files, which lie in `directory` or below it, into the model, so that a session can be
/// opened from memory. A model without such weights comes back as it is.
///
/// # Errors
/// As [`super::decode`]; [`OnnxError::ExternalRefused`], [`OnnxError::ExternalUnreadable`],
/// [`OnnxError::Weights`] for a tensor whose values do not fit its shape, and [`OnnxError::TooLarge`] if the whole
/// exceeds [`FILE_BYTES_MAX`].
pub fn embed(bytes: &[u8], directory: &Path) -> Result<Vec<u8>, OnnxError> {
    let mut model = decode(bytes)?;
    let mut outside: Vec<_> = walk::tensors_mut(&mut model)
        .into_iter()
        .filter(|tensor| is_external(tensor))
        .collect();
    if outside.is_empty() {
        return Ok(bytes.to_vec());
    }
    let mut files = Files::below(Some(directory));
    let mut places = Vec::with_capacity(outside.len());
    let mut total = bytes.len() as u64;
    for tensor in &outside {
        let place = files.find(tensor)?;
        total = total.saturating_add(place.length);
        if total > FILE_BYTES_MAX {
            return Err(OnnxError::TooLarge);
        }
        places.push(place);
    }
    for (tensor, place) in outside.iter_mut().zip(places) {
        tensor.raw_data = Some(place.read()?);
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(encode(&model))
}

/// Where the values of a tensor are.
pub(super) struct Place {
    location: String,
    path: PathBuf,
    offset: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl Place {
    fn read(&self) -> Result<Vec<u8>, OnnxError> {
        let length = usize::try_from(self.length).map_err(|_| OnnxError::TooLarge)?;
        let mut values = vec![0; length];
        File::open(&self.path)
            .and_then(|file| file.read_exact_at(&mut values, self.offset))
            .map_err(|error| unreadable(&self.location, plain(&error)))?;
        Ok(values)
    }
}

/// The files beside a model, looked at once each.
pub(super) struct Files<'a> {
    directory: Option<&'a Path>,
    /// By location: the file behind it and its size in bytes.
    known: BTreeMap<String, (PathBuf, u64)>,
    /// Bytes of all known files, and of all values that were found in them.
    held: u64,
    claimed: u64,
}

impl<'a> Files<'a> {
    /// Files in `directory` and below; with `None`, every weight in another file is refused.
    pub(super) fn below(directory: Option<&'a Path>) -> Self {
        Self {
            directory,
            known: BTreeMap::new(),
            held: 0,
            claimed: 0,
        }
    }

    /// Finds the values of an external tensor and sees to it that they are all there.
    ///
    /// # Errors
    /// As [`embed`].
    pub(super) fn find(&mut self, tensor: &TensorProto) -> Result<Place, OnnxError> {
        // The last of several entries counts, as it does for ONNX Runtime.
        let entry = |key: &str| {
            let mut found = tensor
                .external_data
                .iter()
                .rev()
                .filter(|entry| entry.key.as_deref() == Some(key));
            found.next().map(|entry| entry.value.clone().unwrap_or_default())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text
                .trim()
                .parse::<u64>()
                .map(Some)
                .map_err(|_| damaged(tensor, format!("{key} {} is no number", quoted(&text)))),
        };
        let location = entry("location").unwrap_or_default();
        let offset = number("offset")?.unwrap_or(0);
        let needed = needed_bytes(tensor)?;
        if let Some(length) = number("length")?.filter(|length| *length != needed) {
            return Err(damaged(
                tensor,
                format!("{length} bytes where its shape needs {needed}"),
            ));
        }
        let (path, size) = self.locate(&location)?;
        if offset.checked_add(needed).is_none_or(|end| end > size) {
            return Err(unreadable(&location, format!("the file ends after {size} bytes")));
        }
        self.claimed = self.claimed.saturating_add(needed);
        if self.claimed > SHARING_MAX.saturating_mul(self.held) {
            return Err(OnnxError::Absurd(
                "its weights share their bytes in the files beside it many times over",
            ));
        }
        Ok(Place {
            location,
            path,
            offset,
            length: needed,
        })
    }

    /// All files that were found, sorted.
    pub(super) fn paths(self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.known.into_values().map(|(path, _)| path).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn locate(&mut self, location: &str) -> Result<(PathBuf, u64), OnnxError> {
        if let Some(known) = self.known.get(location) {
            return Ok(known.clone());
        }
        let refused = |why| OnnxError::ExternalRefused {
            location: quoted(location),
            why,
        };
        let leaves = || refused("outside its own directory; only files in it and below it are read");
        let relative = Path::new(location);
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || location.contains(ADDRESS_MARK) {
            return Err(refused("which is no file; export the model again"));
        }
        if !relative.components().all(inside) {
            return Err(leaves());
        }
        let directory = self
            .directory
            .ok_or_else(|| refused("and only the model itself was given"))?;
        let missing = |error: std::io::Error| unreadable(location, plain(&error));
        let root = directory.canonicalize().map_err(missing)?;
        let path = root.join(relative).canonicalize().map_err(missing)?;
        if !path.starts_with(&root) {
            return Err(leaves());
        }
        // Before it is opened: opening a pipe would wait for a writer.
        let meta = path.metadata().map_err(missing)?;
        if !meta.is_file() {
            return Err(refused("which is no regular file; put the weights there"));
        }
        let found = (path, meta.len());
        self.held = self.held.saturating_add(found.1);
        self.known.insert(location.to_owned(), found.clone());
        Ok(found)
    }
}

fn unreadable(location: &str, why: String) -> OnnxError {
    OnnxError::ExternalUnreadable {
        location: quoted(location),
        why,
    }
}
