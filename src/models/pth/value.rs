//! Owns what a pickle holds once it is read: a heap of lists, dictionaries, storages and tensors that refer to each other by
//! number, so that what is shared or contains itself costs nothing and nothing is dropped recursively. Never holds the
//! values of a tensor, only where they are.

use super::super::error::ImportError;
use super::super::weights::TENSORS_MAX;
use super::layout::Layout;
use super::numbers::Number;

/// Values in all lists and dictionaries of one file. A tensor of a checkpoint takes about twenty; this is for fifty
/// thousand of them, in some 100 MB.
const HELD_MAX: usize = 1 << 20;

/// One value. Text and bytes are those of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number that does not fit, as little-endian bytes.
    Long(&'a [u8]),
    Text(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    List(usize),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    /// Something that says nothing about tensors.
    Other,
}

/// A name from Python's modules that a pickle of tensors may use. Nothing of it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// A tensor from a storage, an offset, lengths and strides.
    Tensor,
    /// A tensor that is learned: the tensor that it is given.
    Parameter,
    /// The lengths of axes: the tuple that it is given.
    Size,
    Storage(Number),
    /// Makes something that says nothing about tensors: a number of NumPy's, the name of a device or kind.
    Harmless,
}

impl Global {
    /// By its module and name.
    ///
    /// # Errors
    /// [`ImportError::Forbidden`] for all that tensors do not need.
    pub fn find(module: &str, name: &str) -> Result<Self, ImportError> {
        let storage = Number::of_storage(name);
        Ok(match (module, name, storage) {
            ("torch" | "torch.cuda", _, Some(number)) => Self::Storage(number),
            ("collections", "OrderedDict", _) => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", _) => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", _) => Self::Parameter,
            ("torch", "Size", _) => Self::Size,
            ("torch", "device", _)
            | ("torch", "float16" | "float32" | "float64" | "bfloat16", _)
            | ("torch", "int8" | "int16" | "int32" | "int64" | "uint8" | "bool", _)
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar", _)
            | ("numpy", "dtype", _)
            | ("numpy.dtypes", "Float64DType" | "Float32DType" | "Int64DType" | "Int32DType", _)
            | ("_codecs", "encode", _) => Self::Harmless,
            _ => {
                return Err(ImportError::Forbidden(format!(
                    "{}.{}",
                    plain(module),
                    plain(name)
                )));
            }
        })
    }
}

/// A stranger's text for a message of one line.
pub(in crate::models) fn plain(text: &str) -> String {
    /// Enough for every honest name.
    const CHARS_MAX: usize = 80;

    let shown = text.chars().take(CHARS_MAX);
    let mut plain: String = shown
        .map(|char| if char.is_control() { '?' } else { char })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        plain.push('…');
    }
    plain
}

/// A run of numbers that is kept outside the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub number: Number,
    /// The values of it that are there, from the first on.
    pub first: usize,
    pub len: usize,
}

/// A tensor: some values of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTensor {
    pub storage: usize,
    pub layout: Layout,
}

/// All that pickles of one file hold.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    lists: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<StoredTensor>,
    held: usize,
}

impl<'a> Heap<'a> {
    /// Makes room for so many values more, held or walked.
    pub fn hold(&mut self, count: usize) -> Result<(), ImportError> {
        self.held = self.held.saturating_add(count);
        if self.held > HELD_MAX {
            return Err(ImportError::TooLarge(
                "its pickle holds more values than any upscaler's".to_owned(),
            ));
        }
        Ok(())
    }

    /// A list.
    pub fn list(&mut self, items: Vec<Value<'a>>) -> Result<Value<'a>, ImportError> {
        self.hold(items.len() + 1)?;
        self.lists.push(items);
        Ok(Value::List(self.lists.len() - 1))
    }

    /// A tuple.
    pub fn tuple(&mut self, items: Vec<Value<'a>>) -> Result<Value<'a>, ImportError> {
        self.hold(items.len() + 1)?;
        self.lists.push(items);
        Ok(Value::Tuple(self.lists.len() - 1))
    }

    /// An empty dictionary.
    pub fn dict(&mut self) -> Result<Value<'a>, ImportError> {
        self.hold(1)?;
        self.dicts.push(Vec::new());
        Ok(Value::Dict(self.dicts.len() - 1))
    }

    /// Adds to a list. Nothing happens to what is none.
    pub fn append(&mut self, list: Value<'a>, items: &[Value<'a>]) -> Result<(), ImportError> {
        self.hold(items.len())?;
        if let Value::List(list) = list
            && let Some(list) = self.lists.get_mut(list)
        {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    /// Adds keys, each before its value, to a dictionary. Nothing happens to what is none.
    pub fn set(&mut self, dict: Value<'a>, items: &[Value<'a>]) -> Result<(), ImportError> {
        self.hold(items.len())?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(ImportError::Damaged(
                "its pickle has a key without a value".to_owned(),
            ));
        }
        if let Value::Dict(dict) = dict
            && let Some(dict) = self.dicts.get_mut(dict)
        {
            dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    /// A storage.
    pub fn storage(&mut self, storage: Storage<'a>) -> Result<Value<'a>, ImportError> {
        self.hold(1)?;
        self.storages.push(storage);
        Ok(Value::Storage(self.storages.len() - 1))
    }

    /// A tensor.
    pub fn tensor(&mut self, tensor: StoredTensor) -> Result<Value<'a>, ImportError> {
        if self.tensors.len() >= TENSORS_MAX {
            return Err(ImportError::TooLarge(format!(
                "it holds more than {TENSORS_MAX} tensors"
            )));
        }
        self.tensors.push(tensor);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    /// The items of a list or tuple; empty for all else.
    pub fn items(&self, value: Value<'_>) -> &[Value<'a>] {
        match value {
            Value::List(list) | Value::Tuple(list) => self.lists.get(list).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// The entries of a dictionary; empty for all else.
    pub fn entries(&self, value: Value<'_>) -> &[(Value<'a>, Value<'a>)] {
        match value {
            Value::Dict(dict) => self.dicts.get(dict).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// The value of the last entry with this key.
    pub fn entry(&self, dict: Value<'_>, key: &str) -> Option<Value<'a>> {
        let entries = self.entries(dict).iter().rev();
        entries
            .clone()
            .find(|(found, _)| *found == Value::Text(key))
            .map(|(_, value)| *value)
    }

    /// All storages.
    pub fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }

    /// The tensor with its storage, if it is one.
    pub fn stored(&self, value: Value<'_>) -> Option<(&StoredTensor, &Storage<'a>)> {
        let Value::Tensor(tensor) = value else {
            return None;
        };
        let tensor = self.tensors.get(tensor)?;
        Some((tensor, self.storages.get(tensor.storage)?))
    }
}
