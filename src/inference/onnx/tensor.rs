//! Owns how many values a tensor has and how many bytes they take. Never changes a tensor.

use super::error::{OnnxError, quoted};
use super::proto::{DataLocation, DataType, TensorProto};

/// The type's name as people write it, and for one that the schema does not know its number.
pub(super) fn type_name(data_type: i32) -> String {
    match DataType::try_from(data_type) {
        Ok(DataType::Float) => "float32".to_owned(),
        Ok(DataType::Double) => "float64".to_owned(),
        Ok(DataType::Undefined) => "no stated type".to_owned(),
        Ok(known) => format!("{known:?}").to_lowercase(),
        Err(_) => format!("the unknown type {data_type}"),
    }
}

/// Whether the values are in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

pub(super) fn is_half(tensor: &TensorProto) -> bool {
    tensor.data_type == Some(DataType::Float16 as i32)
}

/// Number of values that the shape asks for; `None` for a negative axis or more than 2⁶³ values.
pub(super) fn elements(dims: &[i64]) -> Option<u64> {
    let product = dims.iter().try_fold(1_u64, |product, dim| {
        product.checked_mul(u64::try_from(*dim).ok()?)
    })?;
    (product <= i64::MAX as u64).then_some(product)
}

/// Bits of one value; `None` where values have no fixed size.
fn bits(data_type: DataType) -> Option<u64> {
    use DataType as T;
    Some(match data_type {
        T::Undefined | T::String => return None,
        T::Uint2 | T::Int2 => 2,
        T::Uint4 | T::Int4 | T::Float4e2m1 => 4,
        T::Float6e2m3 | T::Float6e3m2 => 6,
        T::Uint8 | T::Int8 | T::Bool => 8,
        T::Float8e4m3fn | T::Float8e4m3fnuz | T::Float8e5m2 | T::Float8e5m2fnuz | T::Float8e8m0 => 8,
        T::Uint16 | T::Int16 | T::Float16 | T::Bfloat16 => 16,
        T::Float | T::Int32 | T::Uint32 => 32,
        T::Int64 | T::Uint64 | T::Double | T::Complex64 => 64,
        T::Complex128 => 128,
    })
}

/// Bytes that the values take by type and shape.
///
/// # Errors
/// [`OnnxError::Weights`] if the type or shape makes no sense.
pub(super) fn needed_bytes(tensor: &TensorProto) -> Result<u64, OnnxError> {
    let number = tensor.data_type.unwrap_or_default();
    let per_value = DataType::try_from(number)
        .ok()
        .and_then(bits)
        .ok_or_else(|| damaged(tensor, format!("elements of {}", type_name(number))))?;
    elements(&tensor.dims)
        .and_then(|count| count.checked_mul(per_value))
        .map(|bits| bits.div_ceil(8))
        .ok_or_else(|| damaged(tensor, format!("the impossible shape {:?}", tensor.dims)))
}

/// Bytes that the values of a tensor inside the file take, after a look whether they fit its type and shape.
///
/// # Errors
/// [`OnnxError::Weights`].
pub(super) fn inline_bytes(tensor: &TensorProto) -> Result<u64, OnnxError> {
    if tensor.data_type == Some(DataType::String as i32) {
        return Ok(tensor.string_data.iter().map(|text| text.len() as u64).sum());
    }
    let needed = needed_bytes(tensor)?;
    if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
        return match raw.len() as u64 == needed {
            true => Ok(needed),
            false => Err(damaged(
                tensor,
                format!("{} bytes where its shape needs {needed}", raw.len()),
            )),
        };
    }
    let Some((stored, wanted)) = listed_values(tensor) else {
        return Ok(needed);
    };
    if stored as u64 != wanted {
        return Err(damaged(
            tensor,
            format!("{stored} values where its shape needs {wanted}"),
        ));
    }
    Ok(needed)
}

/// Values in the typed list that goes with the type, and how many there should be; `None` for types narrower than
/// a byte, whose packing into lists differs between writers.
fn listed_values(tensor: &TensorProto) -> Option<(usize, u64)> {
    use DataType as T;
    let data_type = DataType::try_from(tensor.data_type?).ok()?;
    if bits(data_type)? < 8 {
        return None;
    }
    let (stored, per_value) = match data_type {
        T::Float => (tensor.float_data.len(), 1),
        T::Complex64 => (tensor.float_data.len(), 2),
        T::Double => (tensor.double_data.len(), 1),
        T::Complex128 => (tensor.double_data.len(), 2),
        T::Int64 => (tensor.int64_data.len(), 1),
        T::Uint32 | T::Uint64 => (tensor.uint64_data.len(), 1),
        _ => (tensor.int32_data.len(), 1),
    };
    Some((stored, elements(&tensor.dims)?.checked_mul(per_value)?))
}

pub(super) fn damaged(tensor: &TensorProto, why: String) -> OnnxError {
    OnnxError::Weights {
        name: quoted(tensor.name.as_deref().unwrap_or_default()),
        why,
    }
}
