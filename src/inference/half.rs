//! Owns the half-precision variant of a model: made of the single-precision one, or brought, and held against it on a
//! natural patch. Never decides where it runs.

use std::borrow::Cow;
use std::sync::Arc;

use super::card::Model;
use super::library::Runtime;
use super::reference::{self, Difference};
use super::{InferenceError, onnx, probe};

/// Nearer than this to single precision, half precision is taken: PSNR in decibels. Judged by all pixels together,
/// since a single one may round far.
pub const DECIBELS_MIN: f64 = 50.0;

/// A half-precision variant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Half {
    /// The file.
    pub onnx: Arc<[u8]>,
    /// How near it comes, PSNR in decibels.
    pub decibels: f64,
}

/// Makes the variant of a model, or takes the one that it was brought as, and measures it. On the processor, which
/// computes it operator by operator and rounds after each to half precision, as a GPU does. `None` where a network cannot
/// be narrowed.
///
/// # Errors
/// Those of the session.
pub(super) fn make(runtime: &Runtime, model: &Model) -> Result<Option<Half>, InferenceError> {
    let onnx = match &model.half {
        Some(half) => Arc::clone(half),
        None => match onnx::narrow(&model.onnx) {
            Ok(narrowed) => Arc::from(narrowed),
            Err(error) => {
                tracing::debug!(model = %model.card.name, "not narrowed: {error}");
                return Ok(None);
            }
        },
    };
    let window = reference::window(&model.card);
    let patch = probe::natural_patch(window);
    let (_, due) = reference::on_processor(runtime, model, window, &patch)?;
    let variant = Model {
        onnx: Cow::Owned(onnx.to_vec()),
        half: None,
        ..model.clone()
    };
    let (_, values) = reference::on_processor(runtime, &variant, window, &patch)?;
    let decibels = Difference::between(&values, &due).decibels;
    Ok(Some(Half { onnx, decibels }))
}
