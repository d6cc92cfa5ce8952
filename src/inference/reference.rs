//! Owns the reference of a model: a fixed patch and what the processor makes of it at single precision, against which
//! other providers and precisions are held. Never decides whether a difference is too large for a picture.

use std::path::PathBuf;

use super::card::{Model, ModelCard};
use super::library::Runtime;
use super::session::{OrtUpscaler, SessionSettings};
use super::{InferenceError, PLANES, Planes, Upscaler};
use crate::config::{Precision, Provider, ProviderChoices};
use crate::size::Size;

/// Side of the patch where the model leaves it free, input pixels: more than twice the halo of the small models, so
/// that some of it is seen with all of its surroundings, and little enough to be kept in the binary.
const PATCH_PX: u32 = 48;

/// Enough for the patch on any model; a cap all the same, like everywhere.
const MAKING_BYTES: u64 = 2 << 30;

/// First bytes of a kept reference; the digit is its version.
const MAGIC: &[u8; 8] = b"UPSREF1\n";

/// Magic, then columns and rows of the window and of the output.
const HEADER_BYTES: usize = MAGIC.len() + 4 * size_of::<u32>();

/// Largest kept reference that is believed: a fixed window of 512 pixels at scale 4.
pub const REFERENCE_MAX_BYTES: u64 = 64 << 20;

/// Values of 0..1 are kept in so many steps: 0.004 levels of 255 each, far below what is looked for.
const STEPS: f32 = 65_535.0;

/// What the patch becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    window: Size,
    output: Size,
    /// Plane by plane, clamped to 0..1 as a result is.
    values: Vec<u16>,
}

/// How far a result is from the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The largest difference of a value, in levels of 255.
    pub levels: f64,
    /// Peak signal to noise ratio, decibels; 100 and more is rounding.
    pub decibels: f64,
}

impl Difference {
    /// How far results of 0..1 are from those that are due.
    pub fn between(values: &[f32], due: &[f32]) -> Self {
        let (mut largest, mut squares) = (0.0f64, 0.0f64);
        for (value, due) in values.iter().zip(due) {
            let apart = f64::from(*value) - f64::from(*due);
            largest = largest.max(apart.abs());
            squares += apart * apart;
        }
        // Rounding to steps is the least that can be told; without a floor, equal results would be infinitely good.
        let mean = (squares / values.len().max(1) as f64).max(1e-12);
        Self {
            levels: largest * 255.0,
            decibels: -10.0 * mean.log10(),
        }
    }
}

impl Reference {
    /// Runs the patch on the processor.
    ///
    /// # Errors
    /// Those of the session.
    pub fn make(runtime: &Runtime, model: &Model) -> Result<Self, InferenceError> {
        let window = window(&model.card);
        let (output, values) = on_processor(runtime, model, window, &patch(window))?;
        let values = values.into_iter().map(|value| (value * STEPS).round() as u16);
        Ok(Self {
            window,
            output,
            values: values.collect(),
        })
    }

    /// Runs the patch on this session and says how far its result is from this one.
    ///
    /// # Errors
    /// Those of the session.
    pub fn compare(
        &self,
        upscaler: &mut dyn Upscaler,
        device_bytes: u64,
    ) -> Result<Difference, InferenceError> {
        let (output, values) = run(upscaler, self.window, &patch(self.window), device_bytes)?;
        if output != self.output {
            let (Size { width, height }, due) = (output, self.output);
            return Err(InferenceError::Model(format!(
                "it makes {width}×{height} pixels where the processor makes {}×{}",
                due.width, due.height
            )));
        }
        let due: Vec<f32> = self.values.iter().map(|due| f32::from(*due) / STEPS).collect();
        Ok(Difference::between(&values, &due))
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sides = [
            self.window.width,
            self.window.height,
            self.output.width,
            self.output.height,
        ];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(sides.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// A kept one; `None` if it is damaged, of another version, or of another patch than the one of this card.
    pub fn from_bytes(bytes: &[u8], card: &ModelCard) -> Option<Self> {
        let (header, values) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, sides) = header.split_at(MAGIC.len());
        let sides: Vec<u32> = sides
            .chunks_exact(size_of::<u32>())
            .filter_map(|side| side.try_into().ok().map(u32::from_le_bytes))
            .collect();
        let &[width, height, out_width, out_height] = sides.as_slice() else {
            return None;
        };
        let reference = Self {
            window: Size::new(width, height),
            output: Size::new(out_width, out_height),
            values: values
                .chunks_exact(size_of::<u16>())
                .filter_map(|value| value.try_into().ok().map(u16::from_le_bytes))
                .collect(),
        };
        let is_whole = reference.values.len() as u64 == PLANES as u64 * reference.output.pixels()
            && values.len() % size_of::<u16>() == 0;
        (magic == MAGIC && is_whole && reference.window == window(card)).then_some(reference)
    }
}

/// The window of the patch: the only one that the model takes, or the least around [`PATCH_PX`] that it accepts.
pub(super) fn window(card: &ModelCard) -> Size {
    if let Some([width, height]) = card.fixed_shape {
        return Size::new(width, height);
    }
    let side = (PATCH_PX + 2 * card.border_crop_px).max(card.minimum_px);
    let side = side.next_multiple_of(card.alignment_px.max(1));
    Size::new(side, side)
}

/// What the processor makes of a picture at single precision; as [`run`].
///
/// # Errors
/// Those of the session.
pub(super) fn on_processor(
    runtime: &Runtime,
    model: &Model,
    window: Size,
    picture: &[f32],
) -> Result<(Size, Vec<f32>), InferenceError> {
    let settings = SessionSettings {
        providers: vec![Provider::Cpu],
        device_id: 0,
        threads: None,
        precision: Precision::Fp32,
        engines_dir: PathBuf::new(),
        choices: ProviderChoices::default(),
    };
    let (mut upscaler, _) = OrtUpscaler::open(runtime, model.clone(), settings, MAKING_BYTES)?;
    run(&mut upscaler, window, picture, MAKING_BYTES)
}

/// The result's size, and its values clamped to 0..1. What is not a number becomes 0, far from anything due.
fn run(
    upscaler: &mut dyn Upscaler,
    window: Size,
    picture: &[f32],
    device_bytes: u64,
) -> Result<(Size, Vec<f32>), InferenceError> {
    upscaler.prepare(window, 1, device_bytes)?;
    let mut result = (Size::new(0, 0), Vec::new());
    upscaler.upscale(Planes::new(picture, window), &mut |planes| {
        let visible = |value: &f32| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(0.0, 1.0)
            }
        };
        result = (planes.size, planes.data.iter().map(visible).collect());
    })?;
    Ok(result)
}

/// What photos have: a soft gradient, an edge, fine texture, each channel a little different. Far from black and
/// white, so that overshoots are seen too. Changing it makes every kept reference wrong: raise [`MAGIC`] then.
fn patch(window: Size) -> Vec<f32> {
    let mut values = Vec::with_capacity(PLANES * window.pixels() as usize);
    for plane in 0..PLANES {
        for y in 0..window.height {
            for x in 0..window.width {
                let (u, v, shift) = (f64::from(x), f64::from(y), plane as f64);
                let soft = 0.45 + 0.12 * (u / 19.0 + shift).sin() + 0.10 * (v / 23.0).cos();
                let texture = 0.05 * (u * 0.9 + shift).sin() * (v * 0.7).cos();
                let edge = if (u - 30.0).hypot(v - 26.0) < 13.0 {
                    0.2
                } else {
                    0.0
                };
                values.push((soft + texture + edge) as f32);
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_reference_is_read_back_and_a_damaged_one_is_not() {
        let card = Model::built_in("span-x2").unwrap().card;
        let window = window(&card);
        let reference = Reference {
            window,
            output: Size::new(2, 1),
            values: vec![0, 1, 2, 3, 4, u16::MAX],
        };
        let bytes = reference.to_bytes();
        assert_eq!(Reference::from_bytes(&bytes, &card), Some(reference));
        for damaged in [
            &bytes[..bytes.len() - 1],
            &bytes[..bytes.len() - 2],
            &bytes[1..],
            b"",
        ] {
            assert_eq!(Reference::from_bytes(damaged, &card), None);
        }
        let other = ModelCard {
            minimum_px: 200,
            ..card
        };
        assert_eq!(Reference::from_bytes(&bytes, &other), None, "another patch");
    }

    #[test]
    fn the_window_of_the_patch_is_one_that_the_model_takes() {
        let card = Model::built_in("span-x2").unwrap().card;
        let side = |alignment_px, minimum_px, border_crop_px| {
            window(&ModelCard {
                alignment_px,
                minimum_px,
                border_crop_px,
                ..card.clone()
            })
            .width
        };
        assert_eq!(side(1, 1, 0), 48);
        assert_eq!(side(16, 64, 0), 64);
        assert_eq!(side(4, 1, 18), 84);
        let fixed = ModelCard {
            fixed_shape: Some([128, 64]),
            ..card
        };
        assert_eq!(window(&fixed), Size::new(128, 64));
    }
}
