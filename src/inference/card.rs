//! Owns what is known of a model before it runs: its card, and the weights that are built into the binary.
//! Never opens a session.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::profile::Profile;
use crate::ratio::Ratio;
use crate::tiling::MemoryNeed;

/// What is known of a model wherever it runs. Found by probing for a model that somebody brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The name it goes by.
    pub name: Cow<'static, str>,
    /// sha256 of the .onnx file, hexadecimal.
    pub sha256: Cow<'static, str>,
    /// Output pixels per input pixel and side.
    pub scale: Ratio,
    /// Colour channels that it takes and gives: 3, or 1 (it is then run once for each colour).
    pub channels: u32,
    /// Layout of its tensors.
    pub layout: Layout,
    /// Element type of its input: `fp32` or `fp16`.
    pub input_type: Element,
    /// Range of its values.
    pub value_range: [f32; 2],
    /// Arithmetic of its weights: `fp32` or `fp16`.
    pub precision: Element,
    /// How far a change of one input pixel was seen to reach, pixels: the halo that makes tiles exact. `None` where
    /// the end was not found.
    pub receptive_radius_px: Option<u32>,
    /// Sides of a window are multiples of it.
    pub alignment_px: u32,
    /// Smallest side of a window.
    pub minimum_px: u32,
    /// Input pixels that the net's output lacks on each side: it returns `scale · (side − 2 · border_crop_px)`.
    pub border_crop_px: u32,
    /// Columns and rows of the only window that it takes, where its shape is fixed; alignment and smallest side say
    /// nothing then.
    pub fixed_shape: Option<[u32; 2]>,
    /// Whether every output pixel depends on all input pixels (squeeze-excite): tiles of it differ from the whole.
    pub pools_globally: bool,
    /// Whether several tiles may be run at once.
    pub batches: bool,
    /// What feathering was measured to cost, for rising overlaps up to the first below half a level. Empty where exact
    /// tiles are affordable anyway, and where the shape is fixed: nothing untiled is there to compare with.
    pub seam_errors: Vec<SeamError>,
    /// How near its half-precision variant comes to it on a natural patch, decibels; `None` where there is no such
    /// variant. GPUs are given one from 50 dB on.
    #[serde(default)]
    pub half_decibels: Option<f64>,
    /// Bytes of the weights.
    pub weights_bytes: u64,
    /// Licence of the weights.
    pub licence: Cow<'static, str>,
    /// Where the weights come from.
    pub source: Cow<'static, str>,
}

/// Layout of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Tiles × channels × rows × columns.
    Nchw,
    /// Tiles × rows × columns × channels.
    Nhwc,
}

/// Type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// float32
    Fp32,
    /// float16
    Fp16,
}

impl Element {
    /// The spelling used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
        }
    }
}

impl Layout {
    /// The spelling used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }
}

/// What feathering with one overlap was measured to change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeamError {
    /// Input pixels whose results two windows both return: what they share less twice the border crop.
    pub overlap_px: u32,
    /// 99.9th percentile of the difference to untiled, in levels of 255.
    pub levels: f32,
}

/// A model ready to be loaded.
#[derive(Debug, Clone)]
pub struct Model {
    /// What is known of it.
    pub card: ModelCard,
    /// The .onnx file as the processor wants it: everything in one piece, half-precision weights widened (they run
    /// at half speed there).
    pub onnx: Cow<'static, [u8]>,
    /// Its half-precision variant, for devices that want it: as it was brought, or made of it. `None` where there is
    /// none, or none that is near enough.
    pub half: Option<Arc<[u8]>>,
    /// What it costs on the CPU provider at fp32, where that is known beforehand.
    pub cpu_profile: Option<Profile>,
}

impl Model {
    /// The model of that name inside the binary. [`super::Catalogue`] knows the others too.
    pub fn built_in(name: &str) -> Option<Self> {
        built_in().into_iter().find(|model| model.card.name == name)
    }
}

/// The models inside the binary (models/README.md tells where they come from).
pub fn built_in() -> Vec<Model> {
    let span = |name: &'static str, sha256: &'static str, scale: u32, onnx: &'static [u8]| Model {
        card: ModelCard {
            name: name.into(),
            sha256: sha256.into(),
            scale: Ratio::whole(scale),
            channels: 3,
            layout: Layout::Nchw,
            input_type: Element::Fp32,
            value_range: [0.0, 1.0],
            precision: Element::Fp32,
            receptive_radius_px: Some(21),
            alignment_px: 1,
            minimum_px: 1,
            border_crop_px: 0,
            fixed_shape: None,
            pools_globally: false,
            batches: true,
            seam_errors: Vec::new(),
            half_decibels: None,
            weights_bytes: onnx.len() as u64,
            licence: "Apache-2.0".into(),
            source: "SPAN (Swift Parameter-free Attention Network), 48 channels".into(),
        },
        onnx: onnx.into(),
        half: None,
        cpu_profile: Some(Profile {
            memory: MemoryNeed {
                holes: SPAN_HOLES,
                ..MemoryNeed::proportional(onnx.len() as u64, SPAN_BYTES_PER_PIXEL)
            },
            speeds: Vec::new(),
            learned: None,
        }),
    };
    vec![
        span(
            "span-x2",
            "2e6327ec9ee05d07bae201ff12f70dc33662e1685e5415122bfaf82d8f5e849c",
            2,
            include_bytes!("../../models/span-x2.onnx"),
        ),
        span(
            "span-x4",
            "1b2c38245ef053e7f7307cfa11d2cc0fcbcb2e6aa944a50dc305c9aa2973ce9b",
            4,
            include_bytes!("../../models/span-x4.onnx"),
        ),
    ]
}

/// What the processor makes of a built-in model's patch (models/README.md tells how it was made).
pub fn built_in_reference(name: &str) -> Option<&'static [u8]> {
    match name {
        "span-x2" => Some(include_bytes!("../../models/span-x2.reference")),
        "span-x4" => Some(include_bytes!("../../models/span-x4.reference")),
        _ => None,
    }
}

/// Peak of the CPU arena over the window's pixels: 8 feature maps of 48 channels in single precision are
/// alive at once. Measured from 128 to 512 pixels square; exactly proportional.
const SPAN_BYTES_PER_PIXEL: f64 = 1536.0;

/// How far the arena's cap has to be above that peak: 1.14 to 1.26 were seen at shapes from 97×101 to 540×533.
const SPAN_HOLES: f64 = 1.35;

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
}
