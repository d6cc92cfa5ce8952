//! Owns the rounding of weights and constants to half precision. Never decides whether they are to be rounded.

use half::f16;

use super::super::error::{OnnxError, quoted};
use super::super::proto::{DataType, TensorProto};
use super::super::tensor::{inline_bytes, is_external};

/// A float32 weight or constant, rounded.
pub(super) struct Constant {
    /// Until somebody wants it.
    pub(super) half: Option<TensorProto>,
    /// The name under which it is among the weights.
    pub(super) name: Option<String>,
    /// Whether all its values are within the range of half precision.
    pub(super) fits: bool,
}

impl Constant {
    /// Rounds the values of a tensor.
    ///
    /// # Errors
    /// [`OnnxError::NotEmbedded`] and [`OnnxError::Weights`].
    pub(super) fn of(tensor: &TensorProto) -> Result<Self, OnnxError> {
        if is_external(tensor) {
            let name = tensor.name.as_deref().unwrap_or_default();
            return Err(OnnxError::NotEmbedded(quoted(name)));
        }
        inline_bytes(tensor)?;
        let (halves, fits) = match tensor.raw_data.as_deref().filter(|raw| !raw.is_empty()) {
            Some(raw) => rounded(raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            None => rounded(tensor.float_data.iter().copied()),
        };
        let half = TensorProto {
            dims: tensor.dims.clone(),
            data_type: Some(DataType::Float16.into()),
            raw_data: Some(halves),
            ..Default::default()
        };
        Ok(Self {
            half: Some(half),
            name: None,
            fits,
        })
    }
}

/// Little-endian half-precision numbers nearest to these, and whether all are within range.
fn rounded(numbers: impl ExactSizeIterator<Item = f32>) -> (Vec<u8>, bool) {
    // A lone number may be there to keep a divisor from zero.
    let lone = numbers.len() == 1;
    let mut bytes = Vec::with_capacity(2 * numbers.len());
    let mut fits = true;
    for number in numbers {
        let mut half = f16::from_f32(number);
        if lone && number != 0.0 && half == f16::ZERO {
            half = f16::MIN_POSITIVE_SUBNORMAL.copysign(half);
        }
        fits &= half.is_infinite() == number.is_infinite();
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    (bytes, fits)
}
