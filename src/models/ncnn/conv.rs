//! Owns the layers that multiply by matrices: `Convolution`, `Deconvolution`, both of groups (`DepthWise`), and
//! `InnerProduct`. Never computes anything but the order of weights.

use super::super::error::ImportError;
use super::super::graph::{Value, int, ints, text};
use super::super::weights::Tensor;
use super::elementwise::fused_activation;
use super::param::Layer;
use super::translate::{Blob, EXTENT_MAX, Layout, Translation};
use crate::inference::onnx::proto::AttributeProto;

/// Outputs and groups of one layer.
const CHANNELS_MAX: usize = 1 << 16;

/// As many pixels at the border as keep the size; the odd one at the right and bottom.
const SAME_UPPER: i64 = -233;

/// The same, the odd one at the left and top.
const SAME_LOWER: i64 = -234;

/// What convolutions and deconvolutions have in common.
struct Window {
    outputs: usize,
    groups: usize,
    /// Rows × columns, as all pairs here.
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    bias: bool,
    weights: usize,
}

impl Window {
    fn of(layer: &Layer) -> Result<Self, ImportError> {
        let pair = |columns: i32, rows: i32, default: usize| -> Result<[usize; 2], ImportError> {
            let columns = layer.count(columns, default, 1, EXTENT_MAX)?;
            Ok([layer.count(rows, columns, 1, EXTENT_MAX)?, columns])
        };
        let grouped = layer.kind.ends_with("DepthWise");
        Ok(Self {
            outputs: layer.count(0, 0, 1, CHANNELS_MAX)?,
            groups: if grouped {
                layer.count(7, 1, 1, CHANNELS_MAX)?
            } else {
                1
            },
            kernel: pair(1, 11, 0)?,
            dilation: pair(2, 12, 1)?,
            stride: pair(3, 13, 1)?,
            bias: layer.flag(5)?,
            weights: layer.count(6, 0, 1, i32::MAX as usize)?,
        })
    }

    /// Pixels that the kernel spans along an axis.
    fn extent(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Channels that each group takes, if the number of weights is a whole multiple.
    fn inputs_per_group(&self) -> Option<usize> {
        let each = self
            .outputs
            .checked_mul(self.kernel[0])?
            .checked_mul(self.kernel[1])?;
        self.weights.is_multiple_of(each).then_some(self.weights / each)
    }

    /// Checks the weights against the blob that is taken, and gives the channels that each group takes.
    fn fit(&self, layer: &Layer, blob: &Blob) -> Result<usize, ImportError> {
        let inputs = self.inputs_per_group();
        let fits = self.outputs.is_multiple_of(self.groups)
            && inputs.and_then(|inputs| inputs.checked_mul(self.groups)) == Some(blob.channels);
        match inputs {
            Some(inputs) if fits => Ok(inputs),
            _ => Err(layer.damaged(format_args!(
                "has {} weights, which fit no {} by {} kernel from {} to {} channels",
                self.weights, self.kernel[0], self.kernel[1], blob.channels, self.outputs
            ))),
        }
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.stride),
            ints("dilations", &self.dilation),
            int("group", self.groups as i64),
        ]
    }
}

/// Channels that a convolution takes, if its settings make sense.
pub(super) fn channels_taken(layer: &Layer) -> Option<usize> {
    let window = Window::of(layer).ok()?;
    window.inputs_per_group()?.checked_mul(window.groups)
}

/// Borders at the top, left, bottom and right as the settings give them.
pub(super) fn borders(layer: &Layer, ids: [i32; 4]) -> Result<[i64; 4], ImportError> {
    let [top, left, bottom, right] = ids;
    let left = layer.int(left, 0)?;
    let right = layer.int(right, left)?;
    let top = layer.int(top, left)?;
    Ok([top, left, layer.int(bottom, top)?, right])
}

/// Borders that are lengths.
pub(super) fn lengths(layer: &Layer, borders: [i64; 4]) -> Result<[usize; 4], ImportError> {
    let fits = |border: &i64| (0..=EXTENT_MAX as i64).contains(border);
    if borders.iter().all(fits) {
        Ok(borders.map(|border| border as usize))
    } else {
        Err(layer.refused(format!("a {} with borders of {borders:?} pixels", layer.kind)))
    }
}

/// How a convolution's border is made.
enum Border {
    Fixed([usize; 4]),
    /// ONNX Runtime computes it from the size of the image.
    Auto(&'static str),
}

fn border(layer: &Layer, window: &Window) -> Result<Border, ImportError> {
    let borders = borders(layer, [14, 4, 16, 15])?;
    let upper = match borders {
        [SAME_UPPER, SAME_UPPER, SAME_UPPER, SAME_UPPER] => true,
        [SAME_LOWER, SAME_LOWER, SAME_LOWER, SAME_LOWER] => false,
        _ => return Ok(Border::Fixed(lengths(layer, borders)?)),
    };
    if window.stride == [1, 1] {
        let [rows, columns] = [0, 1].map(|axis| window.extent(axis) - 1);
        let [low_rows, low_columns] = [rows / 2, columns / 2];
        let fixed = [low_rows, low_columns, rows - low_rows, columns - low_columns];
        return Ok(Border::Fixed(if upper {
            fixed
        } else {
            [fixed[2], fixed[3], fixed[0], fixed[1]]
        }));
    }
    if window.dilation != [1, 1] {
        return Err(layer.refused("a dilated convolution in steps with a border of the same size"));
    }
    Ok(Border::Auto(if upper { "SAME_UPPER" } else { "SAME_LOWER" }))
}

fn refuse_int8(layer: &Layer) -> Result<(), ImportError> {
    if layer.flag(8)? {
        return Err(layer.refused("stored in eight-bit integers"));
    }
    Ok(())
}

/// `Convolution` and `ConvolutionDepthWise`.
pub(super) fn convolution(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    refuse_int8(layer)?;
    if layer.flag(19)? {
        return Err(layer.refused("a convolution by computed weights"));
    }
    let blob = t.one_moving(layer)?;
    let window = Window::of(layer)?;
    let inputs = window.fit(layer, &blob)?;
    t.settled = true;
    let point = window.kernel == [1, 1] && window.stride == [1, 1];
    if blob.layout == Layout::Vector && !point {
        return Err(layer.refused("a convolution of a vector"));
    }
    let weights = t.tagged(layer, window.weights)?;
    let [rows, columns] = window.kernel;
    let weights = Tensor::new(vec![window.outputs, inputs, rows, columns], weights);
    let mut attributes = window.attributes();
    let mut x = blob.value.clone();
    let mut keeps_size = point;
    let filling = layer.float(18, 0.0)?;
    match border(layer, &window)? {
        Border::Auto(mode) if filling == 0.0 => attributes.push(text("auto_pad", mode)),
        Border::Auto(_) => {
            return Err(layer.refused("a convolution in steps with a border that is not zero"));
        }
        Border::Fixed(borders) => {
            keeps_size &= borders == [0; 4];
            if filling == 0.0 || borders == [0; 4] {
                attributes.push(ints("pads", &borders));
            } else {
                x = super::shaping::pad(t, &x, "constant", borders, filling);
            }
        }
    }
    let value = multiply(
        t,
        layer,
        "Conv",
        &x,
        weights,
        (window.bias, window.outputs),
        attributes,
    )?;
    let layout = if keeps_size { blob.layout } else { Layout::Image };
    Ok(Blob {
        value: fused_activation(t, layer, value)?,
        layout,
        channels: window.outputs,
    })
}

/// `Deconvolution` and `DeconvolutionDepthWise`.
pub(super) fn deconvolution(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if layer.flag(28)? {
        return Err(layer.refused("a deconvolution by computed weights"));
    }
    if layer.int(20, 0)? != 0 || layer.int(21, 0)? != 0 {
        return Err(layer.refused("a deconvolution to a fixed size"));
    }
    let blob = t.one_image(layer)?;
    let window = Window::of(layer)?;
    let inputs = window.fit(layer, &blob)?;
    t.settled = true;
    let cut = lengths(layer, borders(layer, [14, 4, 16, 15])?)?;
    let more_columns = layer.count(18, 0, 0, EXTENT_MAX)?;
    let more = [layer.count(19, more_columns, 0, EXTENT_MAX)?, more_columns];
    if (0..2).any(|axis| more[axis] >= window.stride[axis].max(window.dilation[axis]) && more[axis] > 0) {
        return Err(layer.refused("a deconvolution that adds more than a step at its end"));
    }
    let weights = inputs_first(t.tagged(layer, window.weights)?, &window, inputs);
    let mut attributes = window.attributes();
    attributes.push(ints("pads", &cut));
    attributes.push(ints("output_padding", &more));
    let to = (window.bias, window.outputs);
    let value = multiply(t, layer, "ConvTranspose", &blob.value, weights, to, attributes)?;
    Ok(Blob {
        value: fused_activation(t, layer, value)?,
        layout: Layout::Image,
        channels: window.outputs,
    })
}

/// ncnn stores a deconvolution as groups × outputs × inputs × kernel, ONNX wants groups × inputs × outputs × kernel.
fn inputs_first(weights: Vec<f32>, window: &Window, inputs: usize) -> Tensor {
    let area = window.kernel[0] * window.kernel[1];
    let outputs = window.outputs / window.groups;
    let mut ordered = Vec::with_capacity(weights.len());
    for group in weights.chunks_exact(outputs * inputs * area) {
        for input in 0..inputs {
            for output in group.chunks_exact(inputs * area) {
                ordered.extend(output.iter().skip(input * area).take(area));
            }
        }
    }
    let [rows, columns] = window.kernel;
    Tensor::new(vec![window.groups * inputs, outputs, rows, columns], ordered)
}

/// `InnerProduct` of a vector, or of an image of one pixel.
pub(super) fn inner_product(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    refuse_int8(layer)?;
    let blob = t.one_moving(layer)?;
    if blob.layout == Layout::Image {
        return Err(layer.refused("an inner product of an image, whose size would have to be fixed"));
    }
    let outputs = layer.count(0, 0, 1, CHANNELS_MAX)?;
    let count = layer.count(2, 0, 1, i32::MAX as usize)?;
    if outputs.checked_mul(blob.channels) != Some(count) {
        return Err(layer.damaged(format_args!(
            "has {count} weights, which do not lead from {} to {outputs} values",
            blob.channels
        )));
    }
    let weights = t.tagged(layer, count)?;
    let weights = Tensor::new(vec![outputs, blob.channels, 1, 1], weights);
    let to = (layer.flag(1)?, outputs);
    let value = multiply(t, layer, "Conv", &blob.value, weights, to, Vec::new())?;
    Ok(Blob {
        value: fused_activation(t, layer, value)?,
        layout: Layout::Vector,
        channels: outputs,
    })
}

fn multiply(
    t: &mut Translation<'_>,
    layer: &Layer,
    operator: &str,
    x: &Value,
    weights: Tensor,
    (bias, outputs): (bool, usize),
    attributes: Vec<AttributeProto>,
) -> Result<Value, ImportError> {
    let weights = t.graph.constant(weights);
    let mut inputs = vec![x, &weights];
    let bias = if bias {
        let values = t.plain(layer, outputs)?;
        Some(t.graph.constant(Tensor::new(vec![outputs], values)))
    } else {
        None
    };
    inputs.extend(&bias);
    Ok(t.graph.node(operator, &inputs, attributes))
}
