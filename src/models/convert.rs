//! Owns which kind of file weights came in, and the way of each to an ONNX file. Never opens files.

use super::error::ImportError;
use super::{arch, ncnn, pth, safetensors};
use crate::inference::onnx;
use crate::inference::onnx::proto::ModelProto;

/// A kind of file that holds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network with its weights.
    Onnx,
    /// PyTorch's own.
    Torch,
    /// Tensors by name, nothing else.
    Safetensors,
    /// A network as text, with its weights in a `.bin` file of the same name beside it.
    Ncnn,
}

/// First bytes that tell the kind: no more are looked at.
pub const HEAD_BYTES: usize = 16;

/// `PK`, and the mark of a pickle of protocol 2 and later.
const ZIP: &[u8] = b"PK";
const PICKLE: u8 = 0x80;
/// The first line of ncnn's text.
const NCNN: &[u8] = b"7767517";

impl Kind {
    /// By the file's name where that says it, else by its first bytes. What nothing is known of may be ONNX, whose
    /// files begin with anything.
    pub fn of(extension: Option<&str>, head: &[u8]) -> Self {
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("onnx") => Self::Onnx,
            Some("safetensors") => Self::Safetensors,
            Some("param") => Self::Ncnn,
            _ if head.starts_with(NCNN) => Self::Ncnn,
            _ if head.starts_with(ZIP) || head.first() == Some(&PICKLE) => Self::Torch,
            // The length of the header, and the header, which is JSON.
            _ if head.get(8) == Some(&b'{') => Self::Safetensors,
            Some("pth" | "pt" | "ckpt") => Self::Torch,
            _ => Self::Onnx,
        }
    }
}

/// A network as an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub onnx: Vec<u8>,
    /// What it was recognised as, for people: `SPAN, 6 blocks of 48 features, ×4`. Of an ONNX file nothing is known.
    pub network: Option<String>,
}

/// Makes an ONNX file of a file of another kind, which it takes, so that its bytes and its tensors are not held longer
/// than needed. `beside`: the bytes of ncnn's `.bin`.
///
/// # Errors
/// [`ImportError`].
pub fn convert(kind: Kind, bytes: Vec<u8>, beside: Option<Vec<u8>>) -> Result<Converted, ImportError> {
    let weights = match kind {
        Kind::Onnx => {
            return Ok(Converted {
                onnx: bytes,
                network: None,
            });
        }
        Kind::Ncnn => {
            let read = ncnn::read(&bytes, &beside.unwrap_or_default())?;
            return encoded(&read.model, read.details);
        }
        Kind::Torch => pth::read(&bytes)?,
        Kind::Safetensors => safetensors::read(&bytes)?,
    };
    drop(bytes);
    let built = arch::build(weights)?;
    encoded(&built.model, format!("{}, {}", built.network, built.details))
}

fn encoded(model: &ModelProto, network: String) -> Result<Converted, ImportError> {
    let onnx = onnx::encode(model);
    if onnx.len() as u64 > onnx::FILE_BYTES_MAX {
        return Err(ImportError::TooLarge(
            "as ONNX it exceeds what a file can be".to_owned(),
        ));
    }
    Ok(Converted {
        onnx,
        network: Some(network),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_kind_and_else_the_first_bytes() {
        let head = |bytes: &[u8]| Kind::of(Some("bin"), bytes);
        assert_eq!(Kind::of(Some("ONNX"), b"PK"), Kind::Onnx);
        assert_eq!(Kind::of(Some("pth"), b"{"), Kind::Torch);
        assert_eq!(Kind::of(Some("param"), b""), Kind::Ncnn);
        assert_eq!(head(b"PK\x03\x04"), Kind::Torch);
        assert_eq!(head(b"\x80\x02\x8a"), Kind::Torch);
        assert_eq!(head(b"\x40\0\0\0\0\0\0\0{\"a\""), Kind::Safetensors);
        assert_eq!(head(b"7767517\n3 3"), Kind::Ncnn);
        assert_eq!(head(b"\x08\x08"), Kind::Onnx);
        // Renamed by a browser: what it is counts.
        assert_eq!(
            Kind::of(Some("pth"), b"\x40\0\0\0\0\0\0\0{\"a\""),
            Kind::Safetensors
        );
    }
}
