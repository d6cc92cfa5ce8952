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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was written by `scripts/make-test-weights.py`.
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!(
                "../../tests/fixtures/models/st-",
                $name,
                ".safetensors"
            ))
            .as_slice()
        };
    }

    const SAME: [&[u8]; 4] = [file!("plain"), file!("half"), file!("bfloat"), file!("both")];

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn error(header: &str, data: &[u8]) -> String {
        read(&file(header, data)).unwrap_err().to_string()
    }

    /// In every precision, and with the average beside the last step of training.
    #[test]
    fn what_the_official_library_writes_is_read() {
        for bytes in SAME {
            let weights = read(bytes).unwrap();
            assert_eq!(weights.names().collect::<Vec<_>>(), ["a.bias", "a.weight", "n"]);
            let tensor = |name| weights.get(name).unwrap();
            assert_eq!(tensor("a.weight").shape(), [2, 3, 1, 1]);
            assert_eq!(tensor("a.weight").values(), [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]);
            assert_eq!(tensor("a.bias").values(), [0.5, -1.25]);
            assert_eq!(tensor("n"), &Tensor::new(vec![], vec![7.0]));
        }
    }

    #[test]
    fn a_truncated_file_is_refused_wherever_it_ends_and_no_changed_byte_does_harm() {
        for bytes in SAME {
            let mut changed = bytes.to_vec();
            for at in 0..bytes.len() {
                assert!(read(&bytes[..at]).is_err());
                for bit in 0..8 {
                    changed[at] = bytes[at] ^ (1 << bit);
                    if let Err(error) = read(&changed) {
                        let line = error.to_string();
                        assert!(
                            line.chars().count() < 400 && !line.chars().any(char::is_control),
                            "{line:?}"
                        );
                    }
                }
                changed[at] = bytes[at];
            }
        }
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        assert!(read(&[0xFF; 64]).is_err());
        assert!(
            read(&[&[0xFF; 8][..], b"{}"].concat())
                .unwrap_err()
                .to_string()
                .contains("header has")
        );
        let max = u64::MAX;
        let shape = format!(r#"{{"a":{{"dtype":"F32","shape":[{max},{max}],"data_offsets":[0,4]}}}}"#);
        assert!(error(&shape, &[0; 4]).contains("damaged"));
        // Nothing is added up to more than can be counted: 2⁶⁴ − 1 bytes in nine tensors.
        let most = (1_u128 << 61) - 1;
        let place = |index: u128| [index * most, ((index + 1) * most).min(u128::from(max))];
        let tensors = (0..9).map(|index| {
            let [start, end] = place(index);
            let len = end - start;
            format!(r#""{index}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{start},{end}]}}"#)
        });
        let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
        assert!(
            error(&header, b"").contains("ends too early"),
            "{}",
            error(&header, b"")
        );
    }

    #[test]
    fn other_things_are_told_apart() {
        assert!(read(b"").unwrap_err().to_string().contains("no safetensors"));
        assert!(
            read(b"PK\x03\x04 an archive")
                .unwrap_err()
                .to_string()
                .contains("no safetensors")
        );
        assert!(error("{}", b"").contains("no tensors"));
        assert!(error("{}", b"more").contains("no tensor"));
        let eight = r#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(error(eight, &[0]).contains("stored as F8_E4M3"));
        let deep = format!(r#"{{"a":{}"#, "[".repeat(100_000));
        assert!(
            error(&deep, b"").contains("recursion limit"),
            "{}",
            error(&deep, b"")
        );
        let line = r#"{"a\nb":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(error(line, &[0]).contains("called a?b"));
    }
}
