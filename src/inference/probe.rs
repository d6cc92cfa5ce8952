//! Owns probing: what a model's card says is found by running the model on the CPU provider, once. Refuses what is no
//! upscaler, with the reason. Never reads files and never keeps cards.
//!
//! From the cheap to the dear: the session's own metadata, the shapes that it runs at, the range of its values, whether
//! it batches, how far a change reaches, and, where that is too far for a halo, what feathering costs. Everything is
//! done with small pictures, and their number is bounded by the speed of the first runs.

mod content;
mod net;
mod reach;
mod seams;
mod shape;
mod values;

use std::borrow::Cow;

use net::Net;
use reach::Reach;

use super::Runtime;
use super::card::{Element, ModelCard};
use crate::clock::{SystemClock, seconds_between};
use crate::error::{Disposition, Fault, Reason, ReasonCode};
use crate::size::Size;

/// What is known of a model without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeInput {
    /// The name it shall go by.
    pub name: String,
    /// sha256 of the .onnx file, hexadecimal.
    pub sha256: String,
    /// Bytes of the weights.
    pub weights_bytes: u64,
    /// Whether the weights are stored in half precision.
    pub half_weights: bool,
    /// Licence of the weights, as far as anybody knows.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
}

/// A model that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the model {name:?}: {refusal}")]
pub struct ProbeError {
    /// Which.
    pub name: String,
    /// Why.
    pub refusal: Refusal,
}

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Damaged, too new, with operators or files that are missing.
    #[error("ONNX Runtime cannot load it: {0}")]
    Unloadable(String),
    /// Not one input.
    #[error("it takes {count} inputs ({names}), an upscaler takes one picture")]
    Inputs {
        /// How many.
        count: usize,
        /// What they are called.
        names: String,
    },
    /// An element type that is not fed.
    #[error("it takes {0} values, only float32 and float16 are fed")]
    InputType(String),
    /// An element type that is not understood.
    #[error("it returns {0} values, only float32 and float16 are understood")]
    OutputType(String),
    /// Not a stack of pictures.
    #[error("its input has {0} dimensions, a stack of pictures has 4")]
    InputRank(usize),
    /// Neither grey nor coloured.
    #[error("its input of the shape {0} has neither 1 nor 3 channels")]
    InputChannels(String),
    /// More than one picture at once, always.
    #[error("it takes exactly {0} pictures at once, a tile is one")]
    Batch(i64),
    /// A classifier, or something else that makes no picture.
    #[error("its output of the shape {0} is no picture of as many channels as its input, an upscaler's is")]
    NoPicture(String),
    /// Nothing runs.
    #[error("it ran at none of the sizes that were tried ({sizes}): {line}")]
    NeverRuns {
        /// In pixels, square or as it says itself.
        sizes: String,
        /// ONNX Runtime's first line about the first size.
        line: String,
    },
    /// Columns and rows do not grow alike.
    #[error("it makes {output} pixels of {input}, columns and rows do not grow alike")]
    Aspect {
        /// What went in.
        input: Size,
        /// What came out.
        output: Size,
    },
    /// Less than half of the input comes out, or no multiple of it.
    #[error("it makes {output} pixels of {input}, which is no enlargement that can be tiled")]
    Scale {
        /// What went in.
        input: Size,
        /// What came out.
        output: Size,
    },
    /// NaN or infinite.
    #[error("its output holds values that are no numbers")]
    NotFinite,
    /// The same everywhere, whatever goes in.
    #[error("its output is the same everywhere")]
    Constant,
    /// A mask, a residual, a depth map.
    #[error("its output does not look like its input (correlation {0}), an upscaler's does")]
    Unlike(String),
    /// Larger than any card that could be used.
    #[error("it needs more than {most_mib} MiB for the smallest tile: {line}")]
    OutOfMemory {
        /// The cap while probing.
        most_mib: u64,
        /// ONNX Runtime's first line.
        line: String,
    },
}

impl From<ProbeError> for Fault {
    /// The configuration's or the model folder's fault, not the picture's: nothing is charged for it.
    fn from(error: ProbeError) -> Self {
        Self {
            disposition: Disposition::Block,
            reason: Reason::new(ReasonCode::Model, error.to_string()),
        }
    }
}

/// The natural patch, cut or mirrored to this size: 3 planes, 0..1.
pub(super) fn natural_patch(size: Size) -> Vec<f32> {
    content::patch(size, super::PLANES)
}

/// A radius beyond this is not paid for: with tiles of 256 pixels the halo is then two thirds of what is computed.
const LARGEST_HALO_PX: u32 = 48;

/// Finds the card of a model, on the CPU provider and under a capped arena. No other session on the CPU provider may be
/// open in this process meanwhile, because its arena is the process's.
///
/// Takes seconds. A slow net takes about three quarters of a minute, and may then end without a receptive radius or with
/// fewer seam errors; on a busy machine two minutes, and whatever run is then under way.
///
/// # Errors
/// [`ProbeError`], if it is no upscaler or cannot be run here.
pub fn probe(runtime: &Runtime, onnx: &[u8], facts: ProbeInput) -> Result<ModelCard, ProbeError> {
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    let named = |refusal| ProbeError {
        name: facts.name.clone(),
        refusal,
    };
    let mut net = Net::open(runtime, onnx, clock.as_ref()).map_err(named)?;
    let card = examine(&mut net, &facts).map_err(named)?;
    tracing::info!(
        model = %card.name,
        scale = card.scale.as_f64(),
        radius_px = card.receptive_radius_px,
        pools_globally = card.pools_globally,
        seconds = seconds_between(begun, clock.monotonic()),
        "model probed"
    );
    Ok(card)
}

fn examine(net: &mut Net<'_>, facts: &ProbeInput) -> Result<ModelCard, Refusal> {
    let first = shape::first(net)?;
    let growth = shape::growth(net, &first)?;
    values::find_range(net, first.size, growth)?;
    let shape = shape::find(net, &first, growth)?;
    let batches = shape::batches(net, &first);
    let reach = reach::measure(net, &shape);
    if reach == Reach::Unknown {
        tracing::warn!(
            model = %facts.name,
            "the receptive radius was not found within what probing may cost; its tiles are feathered"
        );
    }
    let receptive_radius_px = match reach {
        Reach::Radius(radius) => Some(radius),
        Reach::Everything | Reach::Unknown => None,
    };
    let seam_errors = if receptive_radius_px.is_some_and(|radius| radius <= LARGEST_HALO_PX) {
        Vec::new()
    } else {
        seams::measure(net, &shape)
    };
    let text = |text: &String| Cow::Owned(text.clone());
    Ok(ModelCard {
        name: text(&facts.name),
        sha256: text(&facts.sha256),
        scale: shape.scale,
        channels: net.format.channels as u32,
        layout: net.format.layout,
        input_type: net.format.input,
        value_range: net.format.range,
        precision: if facts.half_weights {
            Element::Fp16
        } else {
            Element::Fp32
        },
        receptive_radius_px,
        alignment_px: shape.alignment_px,
        minimum_px: shape.minimum_px,
        border_crop_px: shape.crop_px,
        fixed_shape: shape.fixed.map(|size| [size.width, size.height]),
        pools_globally: reach == Reach::Everything,
        batches,
        seam_errors,
        half_decibels: None,
        weights_bytes: facts.weights_bytes,
        licence: text(&facts.licence),
        source: text(&facts.source),
    })
}
