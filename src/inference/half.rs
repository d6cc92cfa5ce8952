//! Owns the half-precision variant of a model: made of the single-precision one, or brought, and held against it on a
//! natural patch. Never decides where it runs.

use std::borrow::Cow;
use std::sync::Arc;

use super::card::Model;
use super::library::Runtime;
use super::onnx::{self, OnnxError};
use super::reference::{self, Difference};
use super::{InferenceError, probe};

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

/// Makes the variant of a model, or takes the one that it was brought as, and measures it: on the processor, by a
/// single-precision network that rounds where the variant does, because the variant itself would run there nearly in
/// single precision. `None` where a network cannot be narrowed, or one that was brought cannot be measured.
///
/// # Errors
/// Those of the session.
pub(super) fn make(runtime: &Runtime, model: &Model) -> Result<Option<Half>, InferenceError> {
    let Some((onnx, rounded)) = variant(model) else {
        return Ok(None);
    };
    let window = reference::window(&model.card);
    let patch = probe::natural_patch(window);
    let (_, due) = reference::on_processor(runtime, model, window, &patch)?;
    let rounded = Model {
        onnx: Cow::Owned(rounded),
        half: None,
        ..model.clone()
    };
    let (_, values) = reference::on_processor(runtime, &rounded, window, &patch)?;
    let decibels = Difference::between(&values, &due).decibels;
    Ok(Some(Half { onnx, decibels }))
}

/// The file of the variant, and the one that is measured in its place.
fn variant(model: &Model) -> Option<(Arc<[u8]>, Vec<u8>)> {
    let made = || {
        let half = match &model.half {
            Some(half) => Arc::clone(half),
            None => Arc::from(onnx::narrow(&model.onnx)?),
        };
        let rounded = onnx::rounded(&half)?;
        Ok::<_, OnnxError>((half, rounded))
    };
    let explain = |error: OnnxError| {
        tracing::debug!(model = %model.card.name, "no half-precision variant: {error}");
    };
    made().map_err(explain).ok()
}
