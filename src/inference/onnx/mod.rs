//! Owns the reading and rewriting of ONNX files without ONNX Runtime: what a model takes and gives ([`inspect`]),
//! weights from beside it ([`embed`]), half precision made single ([`widen`]) and single made half ([`narrow`]) or
//! rounded as if it were ([`rounded`]), interfaces made ones that are fed here ([`adapt`]), what is told about it
//! ([`note`]), and the format itself ([`proto`]).
//! Never runs a model, and never trusts one: files come from strangers.

pub mod proto;

mod adapt;
mod check;
mod edit;
mod error;
mod external;
mod narrow;
mod scan;
mod tensor;
mod walk;
mod widen;

pub use adapt::{Adapt, adapt, note};
pub use check::{ElementType, ModelFile, inspect};
pub use error::OnnxError;
pub use external::embed;
pub use narrow::{narrow, rounded};
pub use scan::FILE_BYTES_MAX;
pub use widen::widen;

use prost::Message as _;

use self::proto::ModelProto;

/// Decodes a model from bytes that nobody vouches for.
///
/// # Errors
/// If the bytes are no ONNX file, incomplete, damaged, larger than [`FILE_BYTES_MAX`], or would take far more
/// memory than they have bytes.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    scan::scan(bytes)?;
    ModelProto::decode(bytes).map_err(|error| {
        // The decoder names messages and fields of the schema first and says at the end what is wrong.
        let text = error.to_string();
        let why = text.rsplit(": ").next().unwrap_or(&text);
        OnnxError::Damaged(why.to_owned())
    })
}

/// Encodes a model.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

#[cfg(test)]
mod tests;
