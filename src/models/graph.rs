//! Owns the making of ONNX graphs: nodes are added one by one, each giving a value that later ones take. Opset 17;
//! one input, `input`: float32, tiles × channels × rows × columns, the first and the last two of any length; one output,
//! `output`. Never knows where weights come from.

use super::weights::Tensor;
use crate::inference::onnx::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    TypeValue, ValueInfoProto,
};

/// Operators are those of this version.
pub const OPSET: i64 = 17;

/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;

/// What a node gives and others take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// How a convolution is laid out. Default: stride 1, no padding, one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Zeros added at the top, left, bottom and right.
    pub pads: [usize; 4],
    /// Distance between the kernel's taps along rows and columns.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self {
            stride: [1, 1],
            pads: [0; 4],
            dilation: [1, 1],
            groups: 1,
        }
    }
}

impl Conv {
    /// With as many zeros on each side.
    pub fn padded(px: usize) -> Self {
        Self {
            pads: [px; 4],
            ..Self::default()
        }
    }
}

/// How pixels between pixels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest one (of scale 2: each twice).
    Nearest,
    /// A straight line, `align_corners = False` of PyTorch.
    Bilinear,
    /// A cubic with a = −0.75, `align_corners = False` of PyTorch.
    Bicubic,
}

/// A graph in the making.
#[derive(Debug)]
pub struct Graph {
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    channels: usize,
    names: usize,
}

impl Graph {
    /// A graph whose input has so many channels, and that input.
    pub fn new(channels: usize) -> (Self, Value) {
        let graph = Self {
            nodes: Vec::new(),
            weights: Vec::new(),
            channels,
            names: 0,
        };
        (graph, Value("input".to_owned()))
    }

    /// Weights or other constants.
    pub fn constant(&mut self, tensor: Tensor) -> Value {
        let dims = tensor.shape().iter().map(|len| *len as i64).collect();
        let bytes = bytemuck::cast_slice::<f32, u8>(tensor.values()).to_vec();
        self.initializer(dims, DataType::Float, bytes)
    }

    /// One number.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.constant(Tensor::new(Vec::new(), vec![value]))
    }

    /// A list of whole numbers, as shapes and axes are given.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = bytemuck::cast_slice::<i64, u8>(values).to_vec();
        self.initializer(vec![values.len() as i64], DataType::Int64, bytes)
    }

    /// A list of numbers.
    pub fn floats(&mut self, values: &[f32]) -> Value {
        self.constant(Tensor::new(vec![values.len()], values.to_vec()))
    }

    fn initializer(&mut self, dims: Vec<i64>, data_type: DataType, little_endian: Vec<u8>) -> Value {
        let value = self.name("w");
        self.weights.push(TensorProto {
            dims,
            data_type: Some(data_type as i32),
            name: Some(value.0.clone()),
            raw_data: Some(little_endian),
            ..TensorProto::default()
        });
        value
    }

    /// A node of this operator with one output.
    pub fn node(&mut self, operator: &str, inputs: &[&Value], attributes: Vec<AttributeProto>) -> Value {
        let [output] = self.nodes_of(operator, inputs, attributes);
        output
    }

    /// A node of this operator with several outputs.
    pub fn nodes_of<const OUTPUTS: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
    ) -> [Value; OUTPUTS] {
        let outputs: [Value; OUTPUTS] = std::array::from_fn(|_| self.name("v"));
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            op_type: Some(operator.to_owned()),
            attribute: attributes,
            ..NodeProto::default()
        });
        outputs
    }

    /// An input that is left out.
    pub fn absent() -> Value {
        Value(String::new())
    }

    fn name(&mut self, kind: &str) -> Value {
        self.names += 1;
        Value(format!("{kind}{}", self.names))
    }

    /// A convolution; `weight`: outputs × inputs per group × rows × columns.
    pub fn conv(&mut self, x: &Value, weight: Tensor, bias: Option<Tensor>, conv: Conv) -> Value {
        self.convolve("Conv", x, weight, bias, conv)
    }

    /// A transposed convolution; `weight`: inputs × outputs per group × rows × columns. `pads` are cut off.
    pub fn deconv(&mut self, x: &Value, weight: Tensor, bias: Option<Tensor>, conv: Conv) -> Value {
        self.convolve("ConvTranspose", x, weight, bias, conv)
    }

    fn convolve(
        &mut self,
        operator: &str,
        x: &Value,
        weight: Tensor,
        bias: Option<Tensor>,
        conv: Conv,
    ) -> Value {
        let kernel = weight.shape()[2..].to_vec();
        let weight = self.constant(weight);
        let bias = bias.map(|bias| self.constant(bias));
        let mut inputs = vec![x, &weight];
        inputs.extend(bias.as_ref());
        let attributes = vec![
            ints("kernel_shape", &kernel),
            ints("strides", &conv.stride),
            ints("pads", &conv.pads),
            ints("dilations", &conv.dilation),
            int("group", conv.groups as i64),
        ];
        self.node(operator, &inputs, attributes)
    }

    /// a + b
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], Vec::new())
    }

    /// a − b
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], Vec::new())
    }

    /// a · b
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], Vec::new())
    }

    /// a · factor
    pub fn scale(&mut self, a: &Value, factor: f32) -> Value {
        let factor = self.scalar(factor);
        self.mul(a, &factor)
    }

    /// Channels of all, one after the other.
    pub fn concat(&mut self, values: &[&Value]) -> Value {
        self.node("Concat", values, vec![int("axis", 1)])
    }

    /// max(x, 0)
    pub fn relu(&mut self, x: &Value) -> Value {
        self.node("Relu", &[x], Vec::new())
    }

    /// x, or slope · x where negative.
    pub fn leaky_relu(&mut self, x: &Value, slope: f32) -> Value {
        self.node("LeakyRelu", &[x], vec![float("alpha", slope)])
    }

    /// x, or slope · x where negative; one slope for each channel, or one for all.
    pub fn prelu(&mut self, x: &Value, slopes: Tensor) -> Value {
        let count = slopes.values().len();
        let slopes = self.constant(slopes.reshaped(vec![count, 1, 1]));
        self.node("PRelu", &[x, &slopes], Vec::new())
    }

    /// 1 / (1 + e⁻ˣ)
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.node("Sigmoid", &[x], Vec::new())
    }

    /// x · sigmoid(x)
    pub fn silu(&mut self, x: &Value) -> Value {
        let gate = self.sigmoid(x);
        self.mul(x, &gate)
    }

    /// The mean of all pixels of each channel, rows × columns = 1 × 1.
    pub fn global_mean(&mut self, x: &Value) -> Value {
        self.node("GlobalAveragePool", &[x], Vec::new())
    }

    /// `factor²` channels become one of `factor` times the rows and columns, as PyTorch's `pixel_shuffle` does.
    pub fn pixel_shuffle(&mut self, x: &Value, factor: usize) -> Value {
        let attributes = vec![int("blocksize", factor as i64), text("mode", "CRD")];
        self.node("DepthToSpace", &[x], attributes)
    }

    /// The reverse of [`Graph::pixel_shuffle`], as PyTorch's `pixel_unshuffle` orders it, of `channels` channels.
    pub fn pixel_unshuffle(&mut self, x: &Value, channels: usize, factor: usize) -> Value {
        // ONNX puts the block before the channel, PyTorch the channel before the block.
        let blocks = self.node("SpaceToDepth", &[x], vec![int("blocksize", factor as i64)]);
        let area = factor * factor;
        let order: Vec<i64> = (0..channels * area)
            .map(|index| ((index % area) * channels + index / area) as i64)
            .collect();
        let order = self.ints(&order);
        self.node("Gather", &[&blocks, &order], vec![int("axis", 1)])
    }

    /// `factor` times the rows and columns.
    pub fn resize(&mut self, x: &Value, factor: f32, interpolation: Interpolation) -> Value {
        let scales = self.floats(&[1.0, 1.0, factor, factor]);
        let nothing = Self::absent();
        let attributes = match interpolation {
            Interpolation::Nearest => vec![
                text("mode", "nearest"),
                text("coordinate_transformation_mode", "asymmetric"),
                text("nearest_mode", "floor"),
            ],
            Interpolation::Bilinear => vec![
                text("mode", "linear"),
                text("coordinate_transformation_mode", "half_pixel"),
            ],
            Interpolation::Bicubic => vec![
                text("mode", "cubic"),
                text("coordinate_transformation_mode", "half_pixel"),
                float("cubic_coeff_a", -0.75),
            ],
        };
        self.node("Resize", &[x, &nothing, &scales], attributes)
    }

    /// What is left after so many pixels were cut off at the top, left, bottom and right.
    pub fn crop(&mut self, x: &Value, [top, left, bottom, right]: [usize; 4]) -> Value {
        let end = |cut: usize| if cut == 0 { i64::MAX } else { -(cut as i64) };
        let starts = self.ints(&[top as i64, left as i64]);
        let ends = self.ints(&[end(bottom), end(right)]);
        let axes = self.ints(&[2, 3]);
        self.node("Slice", &[x, &starts, &ends, &axes], Vec::new())
    }

    /// Pixels added at the top, left, bottom and right: `constant` (zeros), `reflect` or `edge`.
    pub fn pad(&mut self, x: &Value, mode: &str, [top, left, bottom, right]: [usize; 4]) -> Value {
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(|px| px as i64);
        let pads = self.ints(&pads);
        self.node("Pad", &[x, &pads], vec![text("mode", mode)])
    }

    /// The finished model, whose output is `output`. `facts` go into its metadata. The program's version does not: the
    /// same weights shall be the same file, whenever they are imported.
    pub fn finish(mut self, output: &Value, facts: &[(&str, &str)]) -> ModelProto {
        self.nodes.push(NodeProto {
            input: vec![output.0.clone()],
            output: vec!["output".to_owned()],
            op_type: Some("Identity".to_owned()),
            ..NodeProto::default()
        });
        let channels = DimensionValue::DimValue(self.channels as i64);
        let graph = GraphProto {
            name: Some("upscaler".to_owned()),
            node: self.nodes,
            initializer: self.weights,
            input: vec![image(
                "input",
                [any("batch"), channels, any("height"), any("width")],
            )],
            output: vec![image(
                "output",
                [any("batch"), any("channels"), any("out_height"), any("out_width")],
            )],
            ..GraphProto::default()
        };
        ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            producer_name: Some("upscaled".to_owned()),
            graph: Some(Box::new(graph)),
            metadata_props: facts
                .iter()
                .map(|(key, value)| StringStringEntryProto {
                    key: Some((*key).to_owned()),
                    value: Some((*value).to_owned()),
                })
                .collect(),
            ..ModelProto::default()
        }
    }
}

fn any(name: &str) -> DimensionValue {
    DimensionValue::DimParam(name.to_owned())
}

fn image(name: &str, shape: [DimensionValue; 4]) -> ValueInfoProto {
    let dim = shape.map(|value| Dimension {
        value: Some(value),
        ..Dimension::default()
    });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType {
                elem_type: Some(DataType::Float as i32),
                shape: Some(TensorShapeProto { dim: dim.to_vec() }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// A property that is a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

/// A property that is a list of whole numbers.
pub fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|value| *value as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// A property that is a number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

/// A property that is a word.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.as_bytes().to_vec()),
        ..attribute(name, AttributeType::String)
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    }
}
