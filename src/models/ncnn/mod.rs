//! Owns the import of ncnn networks: a `.param` text and its `.bin` of weights become an ONNX model that computes the
//! same. Never knows the scale, the crop or the range of a network: the card's probing finds them.
//!
//! What each layer means follows ncnn's own sources (its `src/layer`, BSD-3-Clause), read and not copied.
//! `tests/import_nets.rs` compares with what ncnn itself computes.

mod bin;
mod conv;
mod elementwise;
mod memory;
mod param;
mod pooling;
mod resample;
mod shaping;
#[cfg(test)]
mod tests;
mod translate;

use std::collections::BTreeSet;

use super::error::ImportError;
use crate::inference::onnx::proto::ModelProto;
use param::{Layer, shown};
use translate::Translation;

/// Names that exporters give a network's result, where several blobs are taken by nobody.
const OUTPUT_NAMES: [&str; 3] = ["output", "out0", "out"];

/// Channels of a network's input. More than any: SRMD has 19.
const INPUT_CHANNELS_MAX: usize = 256;

/// An ncnn network as ONNX.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The network: one input, `input`, and one output, `output`, both tiles × channels × rows × columns.
    pub model: ModelProto,
    /// What it was, for people: `ncnn, 57 layers`.
    pub details: String,
}

/// Translates a network. `param` is the text form, `bin` the weights.
///
/// # Errors
/// [`ImportError::Format`] if it is not the text of a network from one image to one image, [`ImportError::Damaged`] if
/// text and weights contradict themselves or each other, [`ImportError::TooLarge`], and [`ImportError::Layer`], naming
/// the first layer or setting that is not translated.
pub fn read(param: &[u8], bin: &[u8]) -> Result<Imported, ImportError> {
    let layers = param::parse(param)?;
    let (input, output) = ends(&layers)?;
    let details = format!("ncnn, {} layers", layers.len());
    let mut first_error = None;
    for channels in channels(&layers) {
        let mut translation = Translation::new(&input, channels, bin);
        match translate(&mut translation, &layers) {
            Ok(()) => {
                let model = translation.finish(&output, &[("format", "ncnn"), ("details", &details)])?;
                return Ok(Imported { model, details });
            }
            // Weights have confirmed the channels: other ones would not help.
            Err(error) if translation.settled => return Err(error),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| ImportError::Format("it has no layers".to_owned())))
}

fn translate(translation: &mut Translation<'_>, layers: &[Layer]) -> Result<(), ImportError> {
    layers
        .iter()
        .filter(|layer| layer.kind != "Input")
        .try_for_each(|layer| translation.layer(layer))
}

/// The names of the blob that the network takes and of the one that it makes.
fn ends(layers: &[Layer]) -> Result<(String, String), ImportError> {
    let made: BTreeSet<&str> = names(layers, |layer| &layer.outputs);
    let taken: BTreeSet<&str> = names(layers, |layer| &layer.inputs);
    let inputs: Vec<&str> = if layers.iter().any(|layer| layer.kind == "Input") {
        let inputs = layers.iter().filter(|layer| layer.kind == "Input");
        inputs
            .flat_map(|layer| &layer.outputs)
            .map(String::as_str)
            .collect()
    } else {
        taken.difference(&made).copied().collect()
    };
    let outputs: Vec<&str> = made.difference(&taken).copied().collect();
    let preferred = OUTPUT_NAMES.iter().find(|name| outputs.contains(name));
    let output = match (outputs.as_slice(), preferred) {
        ([only], _) => only,
        (_, Some(preferred)) => preferred,
        (several, None) => return Err(not_one("result", several)),
    };
    match inputs.as_slice() {
        [only] => Ok(((*only).to_owned(), (*output).to_owned())),
        several => Err(not_one("input", several)),
    }
}

fn names<'a>(layers: &'a [Layer], of: impl Fn(&'a Layer) -> &'a Vec<String>) -> BTreeSet<&'a str> {
    layers.iter().flat_map(of).map(String::as_str).collect()
}

fn not_one(what: &str, names: &[&str]) -> ImportError {
    /// Enough to recognise the network by.
    const SHOWN: usize = 4;
    let some: Vec<String> = names.iter().take(SHOWN).map(|name| shown(name)).collect();
    let some = if some.is_empty() {
        String::new()
    } else {
        format!(
            " ({}{})",
            some.join(", "),
            if names.len() > SHOWN { ", …" } else { "" }
        )
    };
    ImportError::Format(format!(
        "its network has {} {what}s{some}, where an upscaler has 1",
        names.len()
    ))
}

/// How many channels the input may have, the likeliest first: what the first convolution's weights ask for, what the
/// input says itself, colours, grey.
fn channels(layers: &[Layer]) -> Vec<usize> {
    let declared = layers
        .iter()
        .find(|layer| layer.kind == "Input")
        .and_then(|layer| layer.int(2, 0).ok());
    let declared = declared.and_then(|channels| usize::try_from(channels).ok());
    let mut candidates = Vec::new();
    for candidate in [first_convolution(layers), declared, Some(3), Some(1)] {
        let candidate = candidate.filter(|channels| (1..=INPUT_CHANNELS_MAX).contains(channels));
        candidates.extend(candidate.filter(|channels| !candidates.contains(channels)));
    }
    candidates
}

fn first_convolution(layers: &[Layer]) -> Option<usize> {
    let at = layers
        .iter()
        .position(|layer| matches!(layer.kind.as_str(), "Convolution" | "ConvolutionDepthWise"))?;
    // A `Reorg` before it gives it more channels than the input has.
    let mut gathered = 1_usize;
    for reorg in layers.iter().take(at).filter(|layer| layer.kind == "Reorg") {
        let stride = reorg.count(0, 1, 1, translate::EXTENT_MAX).ok()?;
        gathered = gathered.checked_mul(stride)?.checked_mul(stride)?;
    }
    Some(conv::channels_taken(layers.get(at)?)? / gathered)
}
