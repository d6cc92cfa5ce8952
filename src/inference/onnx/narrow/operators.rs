//! Owns what is known of the standard operators: which element types they give, and which of them compute in half
//! precision. Never looks at a graph.
//!
//! Of the operators' schemas up to version 28 (`onnx.defs`), and of ONNX Runtime's list of kernels: where CUDA has a
//! kernel for single precision only, an operator in half precision would go to the processor.

use super::super::proto::{DataType, NodeProto};

/// The type of the elements of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// That of this input.
    Input(usize),
    /// Always this one.
    Type(DataType),
}

/// The precision in which an operator should compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Half: it is where the time goes.
    Half,
    /// That in which its inputs come: two casts would cost more than it gains.
    Either,
    /// Single: it has no other, or half precision is too narrow for what it does.
    Single,
    /// It does not compute with its input, or with whatever it gets: no cast is worth it.
    Whatever,
}

/// What is known of an operator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator {
    /// Of each output; the last one stands for all that follow.
    pub(super) gives: &'static [Gives],
    pub(super) wants: Wants,
    /// Inputs that stay single precision whatever the others are.
    pub(super) single_inputs: &'static [usize],
    /// Whether constants beyond half precision may become infinite: they are bounds.
    pub(super) has_bounds: bool,
}

const FIRST: &[Gives] = &[Gives::Input(0)];
const SECOND: &[Gives] = &[Gives::Input(1)];
const THIRD: &[Gives] = &[Gives::Input(2)];
const INDICES: &[Gives] = &[Gives::Type(DataType::Int64)];
const TRUTH: &[Gives] = &[Gives::Type(DataType::Bool)];
const FIRST_AND_INDICES: &[Gives] = &[Gives::Input(0), Gives::Type(DataType::Int64)];
const FIRST_AND_TRUTH: &[Gives] = &[Gives::Input(0), Gives::Type(DataType::Bool)];
const FIRST_AND_SINGLE: &[Gives] = &[Gives::Input(0), Gives::Type(DataType::Float)];

/// The version from which on CUDA clips half precision.
const CLIPS_HALF_SINCE: i64 = 12;

impl Operator {
    /// Looks a standard operator up, as it is in this version of them. `None` for one that is not known here, such as
    /// those on sequences, of quantised networks, of chance, and of training.
    pub(super) fn find(name: &str, version: i64) -> Option<Self> {
        let plain = |gives, wants| Self {
            gives,
            wants,
            single_inputs: &[],
            has_bounds: false,
        };
        Some(match name {
            "Attention" | "Conv" | "ConvTranspose" | "Einsum" | "Gemm" | "MatMul" => {
                plain(FIRST, Wants::Half)
            }
            // The position and the size of the result: 1.0001 and 4096 are no half-precision numbers.
            "Resize" | "Upsample" => Self {
                single_inputs: &[1, 2],
                ..plain(FIRST, Wants::Either)
            },
            "Clip" if version < CLIPS_HALF_SINCE => plain(FIRST, Wants::Single),
            "Clip" | "Max" | "Min" => Self {
                has_bounds: true,
                ..plain(FIRST, Wants::Either)
            },
            "MaxPool" | "TopK" => plain(FIRST_AND_INDICES, Wants::Either),
            "Dropout" => plain(FIRST_AND_TRUTH, Wants::Either),
            "LayerNormalization" => plain(FIRST_AND_SINGLE, Wants::Either),
            "RMSNormalization" | "Where" => plain(SECOND, Wants::Either),
            "OneHot" => plain(THIRD, Wants::Either),
            "CastLike" => plain(SECOND, Wants::Single),
            "Shape" | "Size" | "NonZero" => plain(INDICES, Wants::Whatever),
            "And" | "IsNaN" | "Not" | "Or" | "Xor" => plain(TRUTH, Wants::Whatever),
            "ArgMax" | "ArgMin" => plain(INDICES, Wants::Either),
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => plain(TRUTH, Wants::Either),
            "IsInf" => plain(TRUTH, Wants::Single),
            "NonMaxSuppression" => plain(INDICES, Wants::Single),
            _ if SINGLE.contains(&name) => plain(FIRST, Wants::Single),
            _ if EITHER.contains(&name) => plain(FIRST, Wants::Either),
            _ => return None,
        })
    }
}

/// The type that a `Cast` or `ConstantOfShape` states for its result; `None` for other operators.
pub(super) fn stated_element(node: &NodeProto) -> Option<i32> {
    let attribute = |name| {
        let mut attributes = node.attribute.iter();
        attributes.find(move |attribute| attribute.name.as_deref() == Some(name))
    };
    match node.op_type.as_deref() {
        Some("Cast") => {
            let to = attribute("to").and_then(|attribute| attribute.i);
            Some(to.and_then(|to| i32::try_from(to).ok()).unwrap_or_default())
        }
        Some("ConstantOfShape") => {
            let value = attribute("value").and_then(|attribute| attribute.t.as_deref());
            Some(value.map_or(DataType::Float.into(), |tensor| {
                tensor.data_type.unwrap_or_default()
            }))
        }
        _ => None,
    }
}

/// Operators that give what their first input is, and have no half precision, on CUDA at least, or need more: squares
/// and sums over a picture soon exceed 65504.
const SINGLE: &[&str] = &[
    "AffineGrid",
    "Celu",
    "CumSum",
    "DeformConv",
    "GlobalLpPool",
    "GridSample",
    "LpNormalization",
    "LpPool",
    "MeanVarianceNormalization",
    "Pow",
    "Range",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "RoiAlign",
];

/// Operators that give what their first input is, in either precision.
const EITHER: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BatchNormalization",
    "Ceil",
    "CenterCropPad",
    "Col2Im",
    "Compress",
    "Concat",
    "Cos",
    "Cosh",
    "DepthToSpace",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mean",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "Relu",
    "Reshape",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
];
