//! Owns the conversion of rows, one at a time, in floating point: no rounding in between. Every pixel becomes the
//! same whichever row it lies in. Never decides what becomes of one.

use std::sync::Arc;

use moxcms::{ColorProfile, Layout, TransformF32Executor};

use super::profile::{Gamut, inverse, options, srgb_encoded, times};
use super::{Plan, Way};
use crate::codec::layout::{Depth, PixelLayout};
use crate::codec::raw::{Alpha, Ink, Model, RawLayout, Sample};

/// Where a and b of Lab are 0, in eight bits and in sixteen.
const LAB_MIDDLE: (f32, f32) = (128.0, 32_768.0);

/// The light of white of the connection space.
const D50: [f64; 3] = [0.9642, 1.0, 0.8249];

/// Colours could not be converted. Nothing is to be read afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct Unconvertible;

/// Converts rows.
pub(in crate::codec) struct Converter {
    raw: RawLayout,
    layout: PixelLayout,
    step: Step,
    /// Of the pixels of a row: what is in them, alpha apart; then what becomes of that.
    colors: Vec<f32>,
    alpha: Vec<f32>,
    converted: Vec<f32>,
}

/// What is done with colours once they are grey, RGB or CMYK.
enum Step {
    Keep,
    Curves(Vec<Curve>),
    /// Ink becomes light by multiplication.
    Multiply,
    Managed(Arc<TransformF32Executor>),
    /// Lab, to which the matrix is that from XYZ to the primaries.
    Lab(moxcms::Matrix3d),
}

/// One channel's curve, from how it is stored to the curve of sRGB.
enum Curve {
    /// For each integer there is.
    Table(Vec<f32>),
    /// For whatever comes.
    Exact(super::profile::Evaluator),
}

impl Curve {
    fn new(evaluator: super::profile::Evaluator, sample: Sample) -> Self {
        let steps = match sample {
            Sample::Eight => 255,
            Sample::Sixteen => 65_535,
            Sample::Float => return Self::Exact(evaluator),
        };
        let at = |step: u32| srgb_encoded(evaluator.evaluate_value(step as f32 / steps as f32));
        Self::Table((0..=steps).map(at).collect())
    }

    fn of(&self, value: f32) -> f32 {
        match self {
            Self::Table(table) => {
                let step = (value * (table.len() - 1) as f32).round() as usize;
                table[step.min(table.len() - 1)]
            }
            Self::Exact(evaluator) => srgb_encoded(evaluator.evaluate_value(value)),
        }
    }
}

impl Converter {
    /// Makes the tables. May panic on a malicious profile.
    pub(in crate::codec) fn new(plan: Plan, width: u32) -> Result<Self, Unconvertible> {
        let (raw, layout) = (plan.raw, plan.layout);
        let step = match (plan.way, raw.model) {
            (Way::Keep, Model::Cmyk(_) | Model::Ycck) => Step::Multiply,
            (Way::Keep, Model::Lab { .. }) => {
                Step::Lab(inverse(Gamut::DisplayP3.profile().colorant_matrix()))
            }
            (Way::Keep, _) => Step::Keep,
            (Way::Curves(curves), _) => {
                // Computed values lie between the steps of a table.
                let sample = match raw.model {
                    Model::YCbCr { .. } => Sample::Float,
                    _ => raw.sample,
                };
                Step::Curves(
                    curves
                        .into_iter()
                        .map(|curve| Curve::new(curve, sample))
                        .collect(),
                )
            }
            (Way::Managed(profile, gamut), model) => Step::Managed(transform(&profile, gamut, model)?),
        };
        let pixels = width as usize;
        Ok(Self {
            raw,
            layout,
            step,
            colors: vec![0.0; pixels * raw.model.samples()],
            alpha: vec![1.0; if raw.alpha == Alpha::None { 0 } else { pixels }],
            converted: vec![0.0; pixels * 3],
        })
    }

    /// What the buffers for a row take, and the row itself before it is converted.
    pub(super) fn row_bytes(raw: RawLayout, width: u32) -> u64 {
        let floats = (raw.samples() + 3) * size_of::<f32>();
        u64::from(width) * (floats + raw.bytes_per_pixel()) as u64
    }

    /// Converts a row.
    pub(in crate::codec) fn convert(&mut self, raw: &[u8], row: &mut [u8]) -> Result<(), Unconvertible> {
        self.load(raw);
        self.divide_by_alpha();
        self.simplify();
        let channels = if self.raw.model == Model::Grey { 1 } else { 3 };
        match &self.step {
            Step::Keep => {}
            Step::Curves(curves) => {
                for pixel in self.colors.chunks_exact_mut(channels) {
                    for (value, curve) in pixel.iter_mut().zip(curves) {
                        *value = curve.of(*value);
                    }
                }
            }
            Step::Multiply => {
                let light = self.converted.as_chunks_mut::<3>().0.iter_mut();
                for (light, ink) in light.zip(self.colors.as_chunks::<4>().0) {
                    let white = 1.0 - ink[3];
                    *light = [0, 1, 2].map(|at| (1.0 - ink[at]) * white);
                }
            }
            Step::Managed(transform) => transform
                .transform(&self.colors, &mut self.converted)
                .map_err(|_| Unconvertible)?,
            Step::Lab(matrix) => {
                let light = self.converted.as_chunks_mut::<3>().0.iter_mut();
                for (light, lab) in light.zip(self.colors.as_chunks::<3>().0) {
                    *light = lab_to_light(*lab, matrix);
                }
            }
        }
        let colors = match self.step {
            Step::Keep | Step::Curves(_) => &self.colors,
            Step::Multiply | Step::Managed(_) | Step::Lab(_) => &self.converted,
        };
        store(colors, &self.alpha, channels, self.layout.depth, row);
        Ok(())
    }

    /// Takes the samples apart: 0.0 to 1.0.
    fn load(&mut self, raw: &[u8]) {
        let samples = self.raw.model.samples();
        let each = self.raw.samples();
        let (colors, alpha) = (&mut self.colors, &mut self.alpha);
        let mut put = |at: usize, value: f32| {
            let (pixel, sample) = (at / each, at % each);
            if sample < samples {
                colors[pixel * samples + sample] = value;
            } else {
                alpha[pixel] = value;
            }
        };
        match self.raw.sample {
            Sample::Eight => {
                for (at, byte) in raw.iter().enumerate() {
                    put(at, f32::from(*byte) / 255.0);
                }
            }
            Sample::Sixteen => {
                for (at, bytes) in raw.as_chunks::<2>().0.iter().enumerate() {
                    put(at, f32::from(u16::from_ne_bytes(*bytes)) / 65_535.0);
                }
            }
            Sample::Float => {
                for (at, bytes) in raw.as_chunks::<4>().0.iter().enumerate() {
                    let value = f32::from_ne_bytes(*bytes);
                    // What is no number is nothing.
                    let value = if value.is_nan() { 0.0 } else { value };
                    put(at, value.clamp(0.0, 1.0));
                }
            }
        }
    }

    fn divide_by_alpha(&mut self) {
        if self.raw.alpha != Alpha::Premultiplied {
            return;
        }
        let pixels = self.colors.chunks_exact_mut(self.raw.model.samples());
        for (pixel, alpha) in pixels.zip(&self.alpha) {
            if *alpha > 0.0 {
                for value in pixel {
                    *value = (*value / alpha).min(1.0);
                }
            }
        }
    }

    /// Grey, RGB, CMYK with as much ink as the number says, or Lab in its own units.
    fn simplify(&mut self) {
        match self.raw.model {
            Model::Grey | Model::Rgb | Model::Cmyk(Ink::Full) => {}
            Model::Cmyk(Ink::None) => self.colors.iter_mut().for_each(|value| *value = 1.0 - *value),
            Model::YCbCr { red, blue } => {
                for pixel in self.colors.as_chunks_mut::<3>().0 {
                    *pixel = from_differences(*pixel, red, blue);
                }
            }
            Model::Ycck => {
                for pixel in self.colors.as_chunks_mut::<4>().0 {
                    // Twice inverted: as red, green and blue that are no ink, and as Adobe does it.
                    let [c, m, y] = from_differences([pixel[0], pixel[1], pixel[2]], 0.299, 0.114);
                    *pixel = [c, m, y, 1.0 - pixel[3]];
                }
            }
            Model::Lab { icc } => {
                let sixteen = self.raw.sample == Sample::Sixteen;
                let white = if sixteen && icc { 65_535.0 / 65_280.0 } else { 1.0 };
                for pixel in self.colors.as_chunks_mut::<3>().0 {
                    let shifted = |value: f32| {
                        if sixteen {
                            (value * 65_535.0 - LAB_MIDDLE.1) / 256.0
                        } else {
                            value * 255.0 - LAB_MIDDLE.0
                        }
                    };
                    *pixel = [
                        (pixel[0] * white * 100.0).min(100.0),
                        shifted(pixel[1]),
                        shifted(pixel[2]),
                    ];
                }
            }
        }
    }
}

fn transform(
    profile: &ColorProfile,
    gamut: Gamut,
    model: Model,
) -> Result<Arc<TransformF32Executor>, Unconvertible> {
    let layout = match model.samples() {
        4 => Layout::Rgba,
        _ => Layout::Rgb,
    };
    profile
        .create_transform_f32(layout, &gamut.profile(), Layout::Rgb, options(profile))
        .map_err(|_| Unconvertible)
}

/// RGB of luminance and differences, full range.
fn from_differences([luminance, cb, cr]: [f32; 3], red: f32, blue: f32) -> [f32; 3] {
    const MIDDLE: f32 = 128.0 / 255.0;
    let r = luminance + 2.0 * (1.0 - red) * (cr - MIDDLE);
    let b = luminance + 2.0 * (1.0 - blue) * (cb - MIDDLE);
    let g = (luminance - red * r - blue * b) / (1.0 - red - blue);
    [r, g, b].map(|value| value.clamp(0.0, 1.0))
}

/// Light of a Lab colour, with the curve of sRGB.
fn lab_to_light([l, a, b]: [f32; 3], matrix: &moxcms::Matrix3d) -> [f32; 3] {
    /// Where the cube root of the definition becomes a line.
    const KNEE: f64 = 6.0 / 29.0;
    let y = (f64::from(l) + 16.0) / 116.0;
    let (x, z) = (y + f64::from(a) / 500.0, y - f64::from(b) / 200.0);
    let linear = |value: f64| {
        if value > KNEE {
            value.powi(3)
        } else {
            3.0 * KNEE * KNEE * (value - 4.0 / 29.0)
        }
    };
    let xyz = [linear(x) * D50[0], linear(y) * D50[1], linear(z) * D50[2]];
    times(matrix, xyz).map(|light| srgb_encoded(light.clamp(0.0, 1.0) as f32))
}

/// Rounds once.
fn store(colors: &[f32], alpha: &[f32], channels: usize, depth: Depth, row: &mut [u8]) {
    let pixels = colors.chunks_exact(channels);
    let each = channels + usize::from(!alpha.is_empty());
    let values = pixels
        .enumerate()
        .flat_map(|(at, pixel)| pixel.iter().chain(alpha.get(at)));
    debug_assert_eq!(row.len(), colors.len() / channels * each * depth.bytes());
    match depth {
        Depth::Eight => {
            for (byte, value) in row.iter_mut().zip(values) {
                *byte = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        }
        Depth::Sixteen => {
            for (bytes, value) in row.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                *bytes = ((value.clamp(0.0, 1.0) * 65_535.0).round() as u16).to_ne_bytes();
            }
        }
    }
}
