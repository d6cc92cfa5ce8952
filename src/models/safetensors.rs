//! Owns the reading of `.safetensors` files: a header that tells where the tensors are, then their values. Never copies
//! the file but for the values, and reads no header that is longer than any upscaler's.

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::error::ImportError;
use super::pth::{Number, Room, check_name, count, plain, wrappers};
use super::weights::{Tensor, Weights};

/// Bytes of the header: 100 for each of the most tensors that a file may have, as a tensor's name, shape and place take.
/// Parsing can take thirty times as much memory.
const HEADER_MAX: usize = 6 << 20;

/// The tensors of a `.safetensors` file under the network's own names: prefixes around them are taken off. Whole numbers
/// are widened too.
///
/// # Errors
/// [`ImportError::Format`] where the file is something else, holds no tensors, or ones of a kind that is not read,
/// [`ImportError::Damaged`] and [`ImportError::TooLarge`].
pub fn read(bytes: &[u8]) -> Result<Weights, ImportError> {
    let (metadata, data) = parse(bytes)?;
    let mut room = Room::of(bytes.len());
    let mut weights = Weights::default();
    let tensors = metadata.tensors();
    let prefix = wrappers::prefix(tensors.keys().map(String::as_str));
    for (name, info) in &tensors {
        let Some(name) = name.strip_prefix(prefix.as_str()) else {
            continue;
        };
        check_name(name)?;
        room.take(count(&info.shape)?)?;
        let tensor = tensor(name, info, data)?;
        weights.insert(name, tensor);
    }
    if weights.is_empty() {
        return Err(ImportError::Format("it holds no tensors".to_owned()));
    }
    Ok(weights)
}

/// The header, and what follows it.
///
/// The frame is read here and not by the library, which would parse headers of 100 MB and adds the lengths that a file
/// claims without looking for an overflow.
fn parse(bytes: &[u8]) -> Result<(Metadata, &[u8]), ImportError> {
    let foreign = || ImportError::Format("it is no safetensors file".to_owned());
    let (len, rest) = bytes.split_first_chunk().ok_or_else(foreign)?;
    if rest.first() != Some(&b'{') {
        return Err(foreign());
    }
    let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if len > HEADER_MAX {
        return Err(ImportError::TooLarge(format!("its header has {len} bytes")));
    }
    let ends = || ImportError::Damaged("it ends too early, as of a download that broke off".to_owned());
    let (header, data) = rest.split_at_checked(len).ok_or_else(ends)?;
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| ImportError::Damaged(format!("its header: {}", plain(&error.to_string()))))?;
    match data.len().cmp(&metadata.data_len()) {
        std::cmp::Ordering::Less => Err(ends()),
        std::cmp::Ordering::Equal => Ok((metadata, data)),
        std::cmp::Ordering::Greater => Err(ImportError::Damaged(
            "it has bytes that belong to no tensor".to_owned(),
        )),
    }
}

fn tensor(name: &str, info: &TensorInfo, data: &[u8]) -> Result<Tensor, ImportError> {
    let number = match info.dtype {
        Dtype::F64 => Number::F64,
        Dtype::F32 => Number::F32,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::I64 => Number::I64,
        Dtype::I32 => Number::I32,
        Dtype::I16 => Number::I16,
        Dtype::I8 => Number::I8,
        Dtype::U8 | Dtype::BOOL => Number::U8,
        other => {
            return Err(ImportError::Format(format!(
                "its tensor {name} is stored as {other}, which is not read; save it in single or half precision"
            )));
        }
    };
    let count = count(&info.shape)?;
    let (start, end) = info.data_offsets;
    let bytes = data
        .get(start..end)
        .filter(|bytes| Some(bytes.len()) == count.checked_mul(number.size()));
    let bytes =
        bytes.ok_or_else(|| ImportError::Damaged(format!("the values of {name} are not all there")))?;
    Ok(Tensor::new(info.shape.clone(), number.widen(bytes, 0..count)))
}
