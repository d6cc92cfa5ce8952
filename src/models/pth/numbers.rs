//! Owns the widening of stored numbers to single precision. Never knows where they are stored.

use half::{bf16, f16};

/// How a file stores one value. All are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::models) enum Number {
    /// Double precision, rounded to single.
    F64,
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Whole numbers: counters and tables of indices, which nothing computes with. Rounded to single precision.
    I64,
    /// As [`Number::I64`].
    I32,
    /// As [`Number::I64`].
    I16,
    /// As [`Number::I64`].
    I8,
    /// As [`Number::I64`]; also yes and no, as one and zero.
    U8,
}

impl Number {
    /// By the name of PyTorch's kind of storage: `FloatStorage`.
    pub fn of_storage(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" | "BoolStorage" => Self::U8,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// The values at these places, counted in values. The caller has checked that `bytes` has them all.
    pub fn widen(self, bytes: &[u8], places: impl Iterator<Item = usize>) -> Vec<f32> {
        match self {
            Self::F64 => pick(bytes, places, |value| f64::from_le_bytes(value) as f32),
            Self::F32 => pick(bytes, places, f32::from_le_bytes),
            Self::F16 => pick(bytes, places, |value| f16::from_le_bytes(value).to_f32()),
            Self::Bf16 => pick(bytes, places, |value| bf16::from_le_bytes(value).to_f32()),
            Self::I64 => pick(bytes, places, |value| i64::from_le_bytes(value) as f32),
            Self::I32 => pick(bytes, places, |value| i32::from_le_bytes(value) as f32),
            Self::I16 => pick(bytes, places, |value| f32::from(i16::from_le_bytes(value))),
            Self::I8 => pick(bytes, places, |value| f32::from(i8::from_le_bytes(value))),
            Self::U8 => pick(bytes, places, |value| f32::from(u8::from_le_bytes(value))),
        }
    }
}

fn pick<const SIZE: usize>(
    bytes: &[u8],
    places: impl Iterator<Item = usize>,
    value: impl Fn([u8; SIZE]) -> f32,
) -> Vec<f32> {
    let (stored, _) = bytes.as_chunks::<SIZE>();
    places
        .map(|place| stored.get(place).map_or(0.0, |bytes| value(*bytes)))
        .collect()
}
