//! Owns the table of networks that are known by the names and shapes of their tensors, one file each. Never knows which
//! kind of file the tensors came from, and sees names without what trainers put around them.

mod attention;
mod compact;
mod dat;
mod ends;
mod guess;
mod hat;
mod layers;
mod omnisr;
mod rrdb;
mod span;
mod swinir;
mod upcunet;
mod waifu2x;
mod windows;

use super::error::ImportError;
use super::weights::Weights;
use crate::inference::onnx::proto::ModelProto;

pub use layers::Layers;

/// A network that was recognised, as ONNX.
#[derive(Debug, Clone)]
pub struct Built {
    /// The graph: red, green, blue in 0..1 as tiles × channels × rows × columns; what it gives is not clamped.
    pub model: ModelProto,
    /// The network's name.
    pub network: &'static str,
    /// Its sizes: `23 blocks of 64 features, ×4`.
    pub details: String,
}

/// A network that can be recognised and built.
struct Architecture {
    name: &'static str,
    recognises: fn(&Weights) -> bool,
    build: fn(Weights) -> Result<Built, ImportError>,
}

/// A line of the table.
macro_rules! architecture {
    ($module:ident) => {
        Architecture {
            name: $module::NAME,
            recognises: $module::recognises,
            build: $module::build,
        }
    };
}

/// All of them; the first that recognises the tensors builds them, so the ones with telling names come first.
const ARCHITECTURES: &[Architecture] = &[
    architecture!(rrdb),
    architecture!(span),
    architecture!(compact),
    architecture!(upcunet),
    architecture!(waifu2x),
    architecture!(omnisr),
    architecture!(dat),
    architecture!(hat),
    architecture!(swinir),
];

/// The names of all networks that can be built.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name)
}

/// Recognises the network that these tensors are of, and builds its graph.
///
/// # Errors
/// [`ImportError::UnknownNetwork`] with the best guess; [`ImportError::Missing`] and [`ImportError::Shape`] where a
/// network was recognised and a tensor of it is not as it should be.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    match ARCHITECTURES.iter().find(|known| (known.recognises)(&weights)) {
        Some(found) => (found.build)(weights),
        None => Err(guess::unknown(&weights)),
    }
}

/// `1 block`, `6 blocks`
fn counted(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

/// `×4`, or `×2, 2 × 2 pixels as channels` where the input is unshuffled.
fn scale_text(factor: usize, unshuffle: usize) -> String {
    match unshuffle {
        1 => format!("×{factor}"),
        side if factor.is_multiple_of(side) => {
            format!("×{}, {side} × {side} pixels as channels", factor / side)
        }
        side => format!("×{factor}/{side}, {side} × {side} pixels as channels"),
    }
}

#[cfg(test)]
mod tests;
