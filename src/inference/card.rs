//! Owns what is known of a model before it runs: its card, and the weights that are built into the binary.
//! Never opens a session.

use std::borrow::Cow;

use serde::Serialize;

use crate::tiling::{Demands, MemoryNeed};

/// What a plan needs to know of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelCard {
    /// The name it goes by.
    pub name: Cow<'static, str>,
    /// sha256 of the .onnx file, hexadecimal.
    pub sha256: Cow<'static, str>,
    /// Output pixels per input pixel and side.
    pub scale: u32,
    /// Colour channels that it takes and gives.
    pub channels: u32,
    /// Layout of its tensors.
    pub layout: &'static str,
    /// Range of its values.
    pub value_range: [f32; 2],
    /// Arithmetic of its weights.
    pub precision: &'static str,
    /// How far a change of one input pixel reaches: the halo that makes tiles exact.
    pub receptive_radius_px: u32,
    /// Sides of a window are multiples of it.
    pub alignment_px: u32,
    /// Smallest side of a window.
    pub minimum_px: u32,
    /// Pixels that the net cuts off each side of the input.
    pub border_crop_px: u32,
    /// Whether it may be cut at all (a net that pools globally may not).
    pub tileable: bool,
    /// Bytes that inference holds besides the window's: weights.
    pub weights_bytes: u64,
    /// Bytes of activations per pixel of the window, measured on the CPU provider at fp32.
    pub bytes_per_pixel: u32,
    /// Licence of the weights.
    pub licence: Cow<'static, str>,
    /// Where the weights come from.
    pub source: Cow<'static, str>,
}

impl ModelCard {
    /// What exact tiling asks of every window.
    pub fn demands(&self) -> Demands {
        Demands {
            halo_px: self.receptive_radius_px,
            align_px: self.alignment_px,
            min_px: self.minimum_px,
            memory: MemoryNeed {
                fixed_bytes: self.weights_bytes,
                bytes_per_pixel: f64::from(self.bytes_per_pixel),
            },
        }
    }
}

/// A model ready to be loaded.
#[derive(Debug, Clone)]
pub struct Model {
    /// What is known of it.
    pub card: ModelCard,
    /// The .onnx file.
    pub onnx: Cow<'static, [u8]>,
}

/// No model of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model {name:?}; use one of: {known}")]
pub struct UnknownModel {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

impl Model {
    /// The model of that name.
    ///
    /// # Errors
    /// [`UnknownModel`], which lists those there are.
    pub fn find(name: &str) -> Result<Self, UnknownModel> {
        built_in()
            .into_iter()
            .find(|model| model.card.name == name)
            .ok_or_else(|| UnknownModel {
                name: name.to_owned(),
                known: built_in()
                    .iter()
                    .map(|model| model.card.name.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// The models inside the binary (models/README.md tells where they come from).
pub fn built_in() -> Vec<Model> {
    let span =
        |name: &'static str, sha256: &'static str, scale: u32, bytes_per_pixel: u32, onnx: &'static [u8]| {
            Model {
                card: ModelCard {
                    name: name.into(),
                    sha256: sha256.into(),
                    scale,
                    channels: 3,
                    layout: "nchw",
                    value_range: [0.0, 1.0],
                    precision: "fp32",
                    receptive_radius_px: 21,
                    alignment_px: 1,
                    minimum_px: 1,
                    border_crop_px: 0,
                    tileable: true,
                    weights_bytes: onnx.len() as u64,
                    bytes_per_pixel,
                    licence: "Apache-2.0".into(),
                    source: "SPAN (Swift Parameter-free Attention Network), 48 channels".into(),
                },
                onnx: onnx.into(),
            }
        };
    vec![
        span(
            "span-x2",
            "2e6327ec9ee05d07bae201ff12f70dc33662e1685e5415122bfaf82d8f5e849c",
            2,
            SPAN_BYTES_PER_PIXEL,
            include_bytes!("../../models/span-x2.onnx"),
        ),
        span(
            "span-x4",
            "1b2c38245ef053e7f7307cfa11d2cc0fcbcb2e6aa944a50dc305c9aa2973ce9b",
            4,
            SPAN_BYTES_PER_PIXEL,
            include_bytes!("../../models/span-x4.onnx"),
        ),
    ]
}

/// Peak of the CPU arena over the window's pixels: 8 feature maps of 48 channels in single precision are
/// alive at once. Measured from 128 to 512 pixels square; exactly proportional.
const SPAN_BYTES_PER_PIXEL: u32 = 1536;

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    #[test]
    fn the_cards_carry_the_checksums_of_the_weights_that_were_built_in() {
        for model in built_in() {
            let digest = sha2::Sha256::digest(&model.onnx);
            assert_eq!(
                crate::report::hex(&digest),
                model.card.sha256,
                "{}",
                model.card.name
            );
        }
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_known_ones() {
        let error = Model::find("span-x8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown model \"span-x8\"; use one of: span-x2, span-x4"
        );
    }
}
