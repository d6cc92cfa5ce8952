//! Owns how SwinIR and the networks that follow it begin and end: the mean that is taken off and put back, whole
//! windows, the convolution at the end of each group, and the enlargement. Never knows what happens between.

use super::super::error::ImportError;
use super::super::graph::{Interpolation, Value, int, text};
use super::super::weights::Tensor;
use super::Layers;
use super::layers::{shuffle_factor, sizes};
use super::windows::Frame;

/// Mean of red, green and blue in the pictures that the nets were trained with; of other channels it is 0.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];

/// Slope of the leaky ReLU before the enlargement: what PyTorch takes where none is given.
const SLOPE_BEFORE: f32 = 0.01;

/// Slope of all other leaky ReLUs.
const SLOPE: f32 = 0.2;

/// Steps of the enlargement by two: more than 16 times is no upscaler.
const DOUBLINGS_MAX: usize = 4;

/// Longest multiple of two that sides are found to be asked for by trying.
const FOUND_MAX: usize = 64;

/// (x − mean) · range
pub fn centred(net: &mut Layers, x: &Value, channels: usize, range: f32) -> Value {
    let x = if channels == MEAN.len() {
        let mean = mean(net);
        net.graph.sub(x, &mean)
    } else {
        x.clone()
    };
    scaled(net, &x, range)
}

/// x / range + mean
pub fn uncentred(net: &mut Layers, x: &Value, channels: usize, range: f32) -> Value {
    let x = scaled(net, x, range.recip());
    if channels == MEAN.len() {
        let mean = mean(net);
        net.graph.add(&x, &mean)
    } else {
        x
    }
}

fn scaled(net: &mut Layers, x: &Value, factor: f32) -> Value {
    if factor == 1.0 {
        x.clone()
    } else {
        net.graph.scale(x, factor)
    }
}

fn mean(net: &mut Layers) -> Value {
    net.graph
        .constant(Tensor::new(vec![1, MEAN.len(), 1, 1], MEAN.to_vec()))
}

/// A picture that is made of whole windows. Sides of powers of two are asked of whoever runs the net, who finds them by
/// trying and keeps the windows of neighbouring tiles in step; for others the graph itself adds rows and columns, by
/// reflection below and at the right, and cuts their result off.
pub struct Whole {
    /// The picture.
    pub picture: Value,
    added: Option<Frame>,
}

impl Whole {
    /// `x`, whose sides are or are made multiples.
    pub fn new(net: &mut Layers, x: &Value, multiple: usize) -> Self {
        if multiple.is_power_of_two() && multiple <= FOUND_MAX {
            return Self {
                picture: x.clone(),
                added: None,
            };
        }
        let frame = Frame::of(net, x);
        let step = net.graph.ints(&[multiple as i64]);
        let [rows, columns] = [&frame.rows, &frame.columns].map(|length| {
            let lacking = net.graph.sub(&step, length);
            // The sign is the divisor's: 7 − 9 is 5 modulo 7.
            net.graph.node("Mod", &[&lacking, &step], vec![int("fmod", 0)])
        });
        let none = net.graph.ints(&[0; 6]);
        let pads = net
            .graph
            .node("Concat", &[&none, &rows, &columns], vec![int("axis", 0)]);
        Self {
            picture: net.graph.node("Pad", &[x, &pads], vec![text("mode", "reflect")]),
            added: Some(frame),
        }
    }

    /// Of a result so many times as large what belongs to the picture.
    pub fn cut(&self, net: &mut Layers, x: &Value, factor: usize, divisor: usize) -> Value {
        let Some(frame) = &self.added else {
            return x.clone();
        };
        let [factor, divisor] = [factor, divisor].map(|times| net.graph.ints(&[times as i64]));
        let [rows, columns] = [&frame.rows, &frame.columns].map(|length| {
            let length = net.graph.mul(length, &factor);
            net.graph.node("Div", &[&length, &divisor], Vec::new())
        });
        let ends = net.graph.node("Concat", &[&rows, &columns], vec![int("axis", 0)]);
        let (starts, axes) = (net.graph.ints(&[0, 0]), net.graph.ints(&[2, 3]));
        net.graph.node("Slice", &[x, &starts, &ends, &axes], Vec::new())
    }
}

/// One convolution of 3 × 3, or three with fewer channels between, whichever there are tensors for.
///
/// # Errors
/// [`ImportError::Missing`] and [`ImportError::Shape`].
pub fn residual_conv(net: &mut Layers, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
    let middle = format!("{name}.2.weight");
    if !net.weights.has(&middle) {
        return net.conv(x, name, [channels, channels], 3);
    }
    let [few, _, _, _] = sizes(net.network(), &net.weights, &middle)?;
    let x = net.conv(x, &format!("{name}.0"), [few, channels], 3)?;
    let x = net.graph.leaky_relu(&x, SLOPE);
    let x = net.conv(&x, &format!("{name}.2"), [few, few], 1)?;
    let x = net.graph.leaky_relu(&x, SLOPE);
    net.conv(&x, &format!("{name}.4"), [channels, few], 3)
}

/// The enlarged picture of `channels` made of `features`, and how many times it is as large; none where the network
/// only restores, and so gives what is to be added to the picture.
///
/// # Errors
/// [`ImportError::Missing`] and [`ImportError::Shape`].
pub fn enlarged(
    net: &mut Layers,
    x: &Value,
    features: usize,
    channels: usize,
) -> Result<(Value, Option<usize>), ImportError> {
    if !net.weights.has("conv_before_upsample.0.weight") {
        return if net.weights.has("upsample.0.weight") {
            let (x, factor) = shuffled(net, x, "upsample.0", features, channels)?;
            Ok((x, Some(factor)))
        } else {
            Ok((net.conv(x, "conv_last", [channels, features], 3)?, None))
        };
    }
    let [wide, _, _, _] = sizes(net.network(), &net.weights, "conv_before_upsample.0.weight")?;
    let x = net.conv(x, "conv_before_upsample.0", [wide, features], 3)?;
    let mut x = net.graph.leaky_relu(&x, SLOPE_BEFORE);
    let mut factor = 1;
    if net.weights.has("conv_up1.weight") {
        for step in 1..=DOUBLINGS_MAX {
            let name = format!("conv_up{step}");
            if net.weights.has(&format!("{name}.weight")) {
                x = net.graph.resize(&x, 2.0, Interpolation::Nearest);
                x = net.conv(&x, &name, [wide, wide], 3)?;
                x = net.graph.leaky_relu(&x, SLOPE);
                factor *= 2;
            }
        }
        x = net.conv(&x, "conv_hr", [wide, wide], 3)?;
        x = net.graph.leaky_relu(&x, SLOPE);
    } else {
        for step in 0..DOUBLINGS_MAX {
            let name = format!("upsample.{}", 2 * step);
            if net.weights.has(&format!("{name}.weight")) {
                let (larger, by) = shuffled(net, &x, &name, wide, wide)?;
                x = larger;
                factor *= by;
            }
        }
    }
    Ok((net.conv(&x, "conv_last", [channels, wide], 3)?, Some(factor)))
}

/// A convolution of 3 × 3 and a pixel shuffle that leaves `channels`, and its factor.
fn shuffled(
    net: &mut Layers,
    x: &Value,
    name: &str,
    features: usize,
    channels: usize,
) -> Result<(Value, usize), ImportError> {
    let weight = format!("{name}.weight");
    let [outputs, _, _, _] = sizes(net.network(), &net.weights, &weight)?;
    let factor = shuffle_factor(outputs, channels).ok_or_else(|| ImportError::Shape {
        network: net.network(),
        name: weight,
        found: net
            .weights
            .shape(&format!("{name}.weight"))
            .unwrap_or_default()
            .to_vec(),
        expected: vec![4 * channels, features, 3, 3],
    })?;
    let x = net.conv(x, name, [outputs, features], 3)?;
    Ok((net.graph.pixel_shuffle(&x, factor), factor))
}
