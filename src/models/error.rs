//! Owns the reasons why weights cannot be brought. Each is the end of a sentence that begins with "cannot import FILE: ".

/// Why weights cannot be brought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file is of none of the formats that are read.
    #[error("{0}")]
    Format(String),
    /// The file contradicts itself or ends too early.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// More of something than any upscaler has.
    #[error("it is too large: {0}")]
    TooLarge(String),
    /// A pickle that is more than tensors. It is read and never run, so nothing has happened.
    #[error("its pickle asks for {0}, which tensors do not need; it was read and not run")]
    Forbidden(String),
    /// Tensors of no network that is known here.
    #[error("its tensors are of no network that can be imported: {0}")]
    UnknownNetwork(String),
    /// The network was recognised, and a tensor of it is not there.
    #[error("it looks like {network}, but the tensor {name} is missing")]
    Missing {
        /// The network.
        network: &'static str,
        /// The tensor's name.
        name: String,
    },
    /// The network was recognised, and a tensor of it has a shape that does not fit the others.
    #[error("it looks like {network}, but the tensor {name} has the shape {found:?} where {expected:?} fits")]
    Shape {
        /// The network.
        network: &'static str,
        /// The tensor's name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The one that fits the others.
        expected: Vec<usize>,
    },
    /// An ncnn layer, or a setting of one, that is not translated.
    #[error("its layer {name} is {what}, which is not translated")]
    Layer {
        /// The layer's name.
        name: String,
        /// Its type, or what about it.
        what: String,
    },
}
