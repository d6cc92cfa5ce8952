//! Owns the reading of `.pth` files as `torch.save` writes them: the zip archive of today and the row of pickles of before
//! 1.6. Never runs what a pickle asks for, and sets memory aside only for values that were found to be there.

mod archive;
mod layout;
mod legacy;
mod numbers;
mod pickle;
mod value;
pub(in crate::models) mod wrappers;

pub(in crate::models) use layout::count;
pub(in crate::models) use numbers::Number;

use super::error::ImportError;
use super::weights::{TENSORS_MAX, Tensor, VALUES_MAX, Weights};
use archive::Archive;
pub(in crate::models) use value::plain;
use value::{Heap, Storage, StoredTensor, Value};

/// Letters of a tensor's name. The longest of known networks have 70.
pub(in crate::models) const NAME_MAX: usize = 256;

/// Values that a file may have beyond one for each of its bytes. Tensors may share a storage or repeat a part of it, as
/// ones that were expanded do, but a small file must not become gigabytes.
const REPEATED_MAX: usize = 1 << 16;

/// The tensors of a `.pth` file under the network's own names: dictionaries and prefixes around it are taken off. Whole
/// numbers are widened too. The file's bytes are not copied but for the values.
///
/// # Errors
/// [`ImportError::Format`] where the file is something else or holds no tensors by name, [`ImportError::Damaged`],
/// [`ImportError::TooLarge`], and [`ImportError::Forbidden`] where it is more than tensors.
pub fn read(bytes: &[u8]) -> Result<Weights, ImportError> {
    let mut heap = Heap::default();
    if Archive::begins(bytes) {
        let archive = Archive::open(bytes)?;
        let root = root(&archive)?;
        let pickle = archive.get(&format!("{root}data.pkl"))?.unwrap_or_default();
        let value = pickle::read(pickle, &mut 0, &mut heap)?;
        collect(bytes.len(), &heap, value, |key| {
            archive.get(&format!("{root}data/{key}"))
        })
    } else if legacy::begins(bytes) {
        let legacy = legacy::read(bytes, &mut heap)?;
        collect(bytes.len(), &heap, legacy.value, |key| {
            Ok(legacy.storages.get(key).copied())
        })
    } else {
        Err(ImportError::Format(foreign(bytes).to_owned()))
    }
}

/// What a file is that is no `.pth`.
fn foreign(bytes: &[u8]) -> &'static str {
    let start = bytes.trim_ascii_start();
    if start.is_empty() {
        "it is empty"
    } else if start.starts_with(b"<") {
        "it is a web page and not weights; download it again"
    } else if start.starts_with(b"version https://git-lfs") {
        "it only points to weights in Git LFS; fetch them with git lfs pull"
    } else {
        "it is no file that torch.save has written"
    }
}

/// The folder of the archive that all is in, with its slash.
fn root<'a>(archive: &Archive<'a>) -> Result<&'a str, ImportError> {
    let roots = archive.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let roots = roots.filter(|root| root.is_empty() || root.ends_with('/'));
    let Some(root) = roots.min_by_key(|root| root.len()) else {
        return Err(ImportError::Format(
            "it is an archive, but none that torch.save has written".to_owned(),
        ));
    };
    // TorchScript: a program, whose tensors are attributes of its objects.
    if archive.get(&format!("{root}constants.pkl"))?.is_some() {
        let what = "it is a TorchScript program; save the network's state_dict() instead";
        return Err(ImportError::Format(what.to_owned()));
    }
    match archive.get(&format!("{root}byteorder"))? {
        None | Some(b"little") => Ok(root),
        Some(_) => Err(ImportError::Format(
            "it was saved on a big-endian machine".to_owned(),
        )),
    }
}

/// What stands beside tensors and tells one network from another, some say as a tensor and some as a number: Real-CUGAN's
/// "pro" nets compute in another range. Everything else that is no tensor is left aside: steps, rates, dates.
const FLAGS: [&str; 1] = ["pro"];

/// The tensors of the network that is somewhere in `value`. `data` gives the bytes of a storage.
fn collect<'a>(
    file_len: usize,
    heap: &Heap<'a>,
    value: Value<'a>,
    data: impl Fn(&str) -> Result<Option<&'a [u8]>, ImportError>,
) -> Result<Weights, ImportError> {
    let dict = state_dict(heap, value);
    let tensors = heap.entries(dict).iter();
    let tensors = tensors.filter_map(|(name, value)| match name {
        Value::Text(name) => Some((*name, heap.stored(*value)?)),
        _ => None,
    });
    let prefix = wrappers::prefix(tensors.clone().map(|(name, _)| name));
    let mut room = Room::of(file_len);
    let mut weights = Weights::default();
    for (name, (tensor, storage)) in tensors {
        let Some(name) = name.strip_prefix(prefix.as_str()) else {
            continue;
        };
        check_name(name)?;
        room.take(tensor.layout.count())?;
        let bytes = data(storage.key)?;
        let tensor = bytes.and_then(|bytes| tensor_of(tensor, storage, bytes));
        let outside = || ImportError::Damaged(format!("the values of {name} are not all there"));
        weights.insert(name, tensor.ok_or_else(outside)?);
    }
    if weights.is_empty() {
        return Err(ImportError::Format("it holds no tensors by name".to_owned()));
    }
    for name in FLAGS {
        let stated = heap.entry(dict, &format!("{prefix}{name}"));
        if matches!(stated, Some(Value::Bool(true) | Value::Int(1..))) {
            weights.insert(name, Tensor::new(Vec::new(), vec![1.0]));
        }
    }
    Ok(weights)
}

/// The dictionary of the network's tensors.
fn state_dict<'a>(heap: &Heap<'a>, value: Value<'a>) -> Value<'a> {
    let holds = |value: Value<'a>, wanted: fn(&Value<'a>) -> bool| {
        heap.entries(value)
            .iter()
            .filter(|(_, value)| wanted(value))
            .count()
    };
    let tensors = |value| holds(value, |value| matches!(value, Value::Tensor(_)));
    let dicts = |value| holds(value, |value| matches!(value, Value::Dict(_)));
    let mut chosen = value;
    for _ in 0..wrappers::DEPTH_MAX {
        let known = wrappers::HOLDERS
            .iter()
            .filter_map(|name| heap.entry(chosen, name));
        let known = known.filter(|value| matches!(value, Value::Dict(_)));
        let full = known.clone().find(|inner| tensors(*inner) > 0);
        if let Some(inner) = full.or_else(|| known.clone().find(|inner| dicts(*inner) > 0)) {
            chosen = inner;
            continue;
        }
        if tensors(chosen) > 0 {
            break;
        }
        // A name that nobody else uses: the dictionary with the most tensors.
        let inner = heap
            .entries(chosen)
            .iter()
            .map(|(_, inner)| *inner)
            .take(UNKNOWN_MAX);
        match inner.max_by_key(|inner| tensors(*inner)) {
            Some(inner) if tensors(inner) > 0 => chosen = inner,
            _ => break,
        }
    }
    chosen
}

/// Dictionaries of unknown names that are looked into, so that one that holds itself a million times costs little.
const UNKNOWN_MAX: usize = 64;

/// The tensor with its values; none if the storage does not have them all.
fn tensor_of(tensor: &StoredTensor, storage: &Storage<'_>, bytes: &[u8]) -> Option<Tensor> {
    let size = storage.number.size();
    let from = storage.first.checked_mul(size)?;
    let bytes = bytes.get(from..from.checked_add(storage.len.checked_mul(size)?)?)?;
    let layout = &tensor.layout;
    if layout.end()? > storage.len {
        return None;
    }
    let values = match layout.contiguous_from() {
        // An offset beyond the end means nothing where there are no values.
        Some(first) => storage
            .number
            .widen(bytes, first..first.checked_add(layout.count())?),
        None => storage.number.widen(bytes, layout.places()),
    };
    Some(Tensor::new(layout.shape().to_vec(), values))
}

/// Tensors and values that a file may still have.
#[derive(Debug)]
pub(in crate::models) struct Room {
    tensors: usize,
    values: usize,
}

impl Room {
    /// For a file of so many bytes.
    pub fn of(file_len: usize) -> Self {
        Self {
            tensors: TENSORS_MAX,
            values: VALUES_MAX.min(file_len.saturating_add(REPEATED_MAX)),
        }
    }

    /// Takes the room for one tensor of so many values, before memory is set aside for it.
    ///
    /// # Errors
    /// [`ImportError::TooLarge`] where there is no more.
    pub fn take(&mut self, values: usize) -> Result<(), ImportError> {
        let tensors = self.tensors.checked_sub(1);
        self.tensors = tensors
            .ok_or_else(|| ImportError::TooLarge(format!("it holds more than {TENSORS_MAX} tensors")))?;
        let values = self.values.checked_sub(values);
        self.values = values.ok_or_else(|| {
            ImportError::TooLarge("its tensors have more values than it has bytes".to_owned())
        })?;
        Ok(())
    }
}

/// # Errors
/// Where a name is not one that a message of one line could tell.
pub(in crate::models) fn check_name(name: &str) -> Result<(), ImportError> {
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(ImportError::Damaged(format!(
            "a tensor is called {}",
            plain(name)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
