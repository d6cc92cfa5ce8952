//! Owns the building of SPAN.

use super::super::error::ImportError;
use super::super::weights::Weights;
use super::Built;

/// The network's name.
pub const NAME: &str = "SPAN";

/// Whether these are its tensors.
pub fn recognises(_weights: &Weights) -> bool {
    false
}

/// Builds its graph.
///
/// # Errors
/// As [].
pub fn build(_weights: Weights) -> Result<Built, ImportError> {
    Err(ImportError::UnknownNetwork(NAME.to_owned()))
}
