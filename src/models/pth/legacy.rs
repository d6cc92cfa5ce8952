//! Owns the file that `torch.save` wrote before 1.6: pickles one after the other, then the storages without a directory.
//! Never reads storages that no tensor names: their lengths could not be known.

use std::collections::BTreeMap;

use super::super::error::ImportError;
use super::super::weights::TENSORS_MAX;
use super::pickle;
use super::value::{Heap, Value};

/// The first pickle of such a file: 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];

/// The only version there ever was.
const VERSION: i64 = 1001;

/// What is known of such a file: the value that was saved, and the bytes of each storage from its first value on.
pub(super) struct Legacy<'a> {
    pub value: Value<'a>,
    pub storages: BTreeMap<&'a str, &'a [u8]>,
}

fn damaged(what: &str) -> ImportError {
    ImportError::Damaged(what.to_owned())
}

/// Whether this can be the beginning of such a file: a pickle.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80)
}

/// Reads the whole file.
pub(super) fn read<'a>(bytes: &'a [u8], heap: &mut Heap<'a>) -> Result<Legacy<'a>, ImportError> {
    let mut at = 0;
    if pickle::read(bytes, &mut at, heap)? != Value::Long(&MAGIC) {
        return Err(ImportError::Format(
            "it is a pickle, but none that torch.save has written".to_owned(),
        ));
    }
    let version = pickle::read(bytes, &mut at, heap)?;
    if version != Value::Int(VERSION) {
        return Err(ImportError::Format(
            "it is of a version of torch.save that is not known".to_owned(),
        ));
    }
    let machine = pickle::read(bytes, &mut at, heap)?;
    if heap.entry(machine, "little_endian") == Some(Value::Bool(false)) {
        return Err(ImportError::Format(
            "it was saved on a big-endian machine".to_owned(),
        ));
    }
    let value = pickle::read(bytes, &mut at, heap)?;
    let keys = pickle::read(bytes, &mut at, heap)?;
    let storages = storages(bytes, at, keys, heap)?;
    Ok(Legacy { value, storages })
}

/// The storages: each a count of values and the values, in the order of `keys`.
fn storages<'a>(
    bytes: &'a [u8],
    at: usize,
    keys: Value<'a>,
    heap: &Heap<'a>,
) -> Result<BTreeMap<&'a str, &'a [u8]>, ImportError> {
    let sizes: BTreeMap<&str, usize> = heap
        .storages()
        .iter()
        .map(|storage| (storage.key, storage.number.size()))
        .collect();
    let keys = heap.items(keys);
    if keys.len() > TENSORS_MAX {
        return Err(ImportError::TooLarge(format!("it holds {} storages", keys.len())));
    }
    let mut rest = bytes.get(at..).unwrap_or_default();
    let mut storages = BTreeMap::new();
    for key in keys {
        let Value::Text(key) = *key else {
            return Err(damaged("the name of a storage is not text"));
        };
        let size = sizes
            .get(key)
            .ok_or_else(|| damaged("it has a storage that no tensor names"))?;
        let ends = || damaged("it ends in the middle of a storage, as of a download that broke off");
        let (count, values) = rest.split_first_chunk().ok_or_else(ends)?;
        let len = usize::try_from(u64::from_le_bytes(*count))
            .ok()
            .and_then(|count| count.checked_mul(*size));
        let (values, after) = len
            .and_then(|len| values.split_at_checked(len))
            .ok_or_else(ends)?;
        storages.insert(key, values);
        rest = after;
    }
    Ok(storages)
}
