//! Owns the bringing of weights: `.pth`, `.safetensors` and ncnn files become ONNX graphs that compute the same. Pure:
//! bytes in, bytes out. Never runs a network, and never trusts a file: they come from strangers.

pub mod arch;
pub mod convert;
pub mod error;
pub mod graph;
pub mod ncnn;
pub mod pth;
pub mod safetensors;
pub mod weights;

pub use convert::{Converted, HEAD_BYTES, Kind, convert};
pub use error::ImportError;
pub use graph::{Graph, Value};
pub use weights::{Tensor, Weights};
