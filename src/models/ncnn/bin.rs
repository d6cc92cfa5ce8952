//! Owns the reading of a `.bin`: the weights of one layer after the other, without names, as full or half precision or
//! as indices into a table. Never knows which layer they are for, and sets memory aside only for bytes that are there.

use half::f16;

use super::super::weights::VALUES_MAX;

/// Weights follow in half precision, filled up to four bytes.
const HALF: u32 = 0x0130_6B47;

/// Weights follow as eight-bit integers, which only mean something with the scales of a quantised network.
const INT8: u32 = 0x000D_4B38;

/// Weights follow in full precision, as after a zero.
const FULL: u32 = 0x0002_C056;

/// Values of the table that any other number announces.
const TABLE: usize = 256;

/// Why weights cannot be read; the caller knows whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BinError {
    /// So many bytes were wanted and so many are left.
    Short { wanted: u64, left: usize },
    /// They are eight-bit integers.
    Int8,
    /// More values than any upscaler has.
    TooMany,
    /// The file stores none where there must be some.
    None,
}

/// What is left of a `.bin`.
#[derive(Debug, Clone)]
pub(super) struct Bin<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Bin<'a> {
    /// A whole file.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            values: 0,
        }
    }

    /// The next weights, behind a number that says how they are stored.
    pub fn tagged(&mut self, count: usize) -> Result<Vec<f32>, BinError> {
        self.account(count)?;
        let tag = self.take(4, 1)?;
        let tag = u32::from_le_bytes(tag.try_into().unwrap_or_default());
        match tag {
            HALF => {
                // Padding is there even after the last weights of a file.
                let bytes = self.take(count.next_multiple_of(2), 2)?;
                let halves = bytes.as_chunks::<2>().0.iter().take(count);
                Ok(halves.map(|half| f16::from_le_bytes(*half).to_f32()).collect())
            }
            INT8 => Err(BinError::Int8),
            0 | FULL => self.floats(count),
            _ => {
                let table = self.floats(TABLE)?;
                let indices = self.take(count.next_multiple_of(4), 1)?;
                Ok(indices
                    .iter()
                    .take(count)
                    .filter_map(|index| table.get(usize::from(*index)).copied())
                    .collect())
            }
        }
    }

    /// The next weights in full precision, as biases and slopes always are.
    pub fn plain(&mut self, count: usize) -> Result<Vec<f32>, BinError> {
        self.account(count)?;
        self.floats(count)
    }

    /// Bytes that no layer has asked for.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn account(&mut self, count: usize) -> Result<(), BinError> {
        if count == 0 {
            return Err(BinError::None);
        }
        self.values = self.values.saturating_add(count);
        if self.values > VALUES_MAX {
            return Err(BinError::TooMany);
        }
        Ok(())
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, BinError> {
        let bytes = self.take(count, 4)?;
        Ok(bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect())
    }

    /// So many items of so many bytes each.
    fn take(&mut self, items: usize, each: u64) -> Result<&'a [u8], BinError> {
        let wanted = (items as u64).saturating_mul(each);
        let left = self.rest.len();
        let split = usize::try_from(wanted)
            .ok()
            .and_then(|at| self.rest.split_at_checked(at));
        let (taken, rest) = split.ok_or(BinError::Short { wanted, left })?;
        self.rest = rest;
        Ok(taken)
    }
}
