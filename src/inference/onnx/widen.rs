//! Owns the rewriting of a half-precision network into one that computes in single precision. Never loses a value:
//! every half-precision number is a single-precision number.
//!
//! ONNX Runtime has no half-precision kernels on most processors: it casts around each operator and leaves out the
//! casts that meet, as far as its version manages to. What remains of them costs time, and how much precision the
//! result has depends on it; a widened network has neither problem, nor float16 at its ends.

use std::collections::HashSet;

use prost::Message as _;

use super::error::{OnnxError, quoted};
use super::proto::{
    AttributeProto, DataType, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto,
    TensorProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::tensor::{damaged, elements, inline_bytes, is_external, is_half};
use super::walk::Parts;
use super::{FILE_BYTES_MAX, decode, encode};

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// Attributes that name an element type by its number, by operator. `CastLike`, `ConstantOfShape` and `Constant`
/// take theirs from a tensor, which is rewritten as every other.
const TYPE_ATTRIBUTES: &[(&str, &str)] = &[
    ("Attention", "softmax_precision"),
    ("Bernoulli", "dtype"),
    ("BlackmanWindow", "output_datatype"),
    ("Cast", "to"),
    ("DequantizeLinear", "output_dtype"),
    ("EyeLike", "dtype"),
    ("GroupNormalization", "stash_type"),
    ("HammingWindow", "output_datatype"),
    ("HannWindow", "output_datatype"),
    ("LayerNormalization", "stash_type"),
    ("MelWeightMatrix", "output_datatype"),
    ("QuantizeLinear", "precision"),
    ("RMSNormalization", "stash_type"),
    ("RandomNormal", "dtype"),
    ("RandomNormalLike", "dtype"),
    ("RandomUniform", "dtype"),
    ("RandomUniformLike", "dtype"),
    ("SequenceEmpty", "dtype"),
    ("SimplifiedLayerNormalization", "stash_type"),
    ("SkipLayerNormalization", "stash_type"),
];

/// The one operator that cares how wide a number is.
const BIT_CAST: &str = "BitCast";

/// Functions that hand a type on to each other, at most. Exporters write one or two.
const FUNCTION_CHAIN_MAX: usize = 32;

/// Makes a half-precision network a single-precision one: weights, constants, casts, declared types, the graphs
/// inside nodes and the model's own functions. Inputs and outputs that were float16 are float32 afterwards. A model
/// without half precision comes back as it is.
///
/// # Errors
/// As [`super::decode`]; [`OnnxError::NotEmbedded`] for half-precision weights in other files (see
/// [`super::embed`]), [`OnnxError::Weights`] for damaged ones, [`OnnxError::NotWidenable`] for a network that works
/// on the bits of its numbers, and [`OnnxError::TooLarge`] if the result exceeds [`FILE_BYTES_MAX`].
pub fn widen(bytes: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let mut model = decode(bytes)?;
    let mut widener = Widener {
        typed: TypedAttributes::of(&model)?,
        changed: false,
        bit_cast: None,
    };
    widener.model(&mut model)?;
    match widener {
        Widener { changed: false, .. } => Ok(bytes.to_vec()),
        Widener {
            bit_cast: Some(node), ..
        } => Err(OnnxError::NotWidenable(node)),
        _ if model.encoded_len() as u64 > FILE_BYTES_MAX => Err(OnnxError::TooLarge),
        _ => Ok(encode(&model)),
    }
}

/// Which attributes name element types: those of the standard, and parameters of functions that end up in them.
struct TypedAttributes {
    /// Domain and name of each function of the model.
    functions: HashSet<(String, String)>,
    /// Domain and name of a function, and its parameter.
    parameters: HashSet<(String, String, String)>,
}

impl TypedAttributes {
    fn of(model: &ModelProto) -> Result<Self, OnnxError> {
        let mut typed = Self {
            functions: model.functions.iter().map(function_name).collect(),
            parameters: HashSet::new(),
        };
        // A function may hand its parameter on to another one, so again until nothing is new.
        for _ in 0..FUNCTION_CHAIN_MAX {
            let before = typed.parameters.len();
            model.functions.iter().for_each(|function| typed.learn(function));
            if typed.parameters.len() == before {
                return Ok(typed);
            }
        }
        Err(OnnxError::Absurd("its functions call each other too deep"))
    }

    fn learn(&mut self, function: &FunctionProto) {
        for node in Parts::of_nodes(&function.node).nodes {
            for attribute in &node.attribute {
                let parameter = attribute.ref_attr_name.as_deref().unwrap_or_default();
                if !parameter.is_empty() && self.names_type(node_operator(node), attribute) {
                    let (domain, name) = function_name(function);
                    self.parameters.insert((domain, name, parameter.to_owned()));
                }
            }
        }
    }

    fn names_type(&self, (domain, operator): (String, String), attribute: &AttributeProto) -> bool {
        let attribute = attribute.name.as_deref().unwrap_or_default();
        let standard = TYPE_ATTRIBUTES.contains(&(operator.as_str(), attribute));
        if !standard && self.parameters.is_empty() {
            return false;
        }
        let key = (domain, operator);
        if !self.functions.contains(&key) {
            return standard;
        }
        self.parameters.contains(&(key.0, key.1, attribute.to_owned()))
    }
}

fn function_name(function: &FunctionProto) -> (String, String) {
    (
        function.domain.clone().unwrap_or_default(),
        function.name.clone().unwrap_or_default(),
    )
}

fn node_operator(node: &NodeProto) -> (String, String) {
    (
        node.domain.clone().unwrap_or_default(),
        node.op_type.clone().unwrap_or_default(),
    )
}

struct Widener {
    typed: TypedAttributes,
    /// Whether anything was half precision.
    changed: bool,
    /// A node that works on bits.
    bit_cast: Option<String>,
}

impl Widener {
    fn model(&mut self, model: &mut ModelProto) -> Result<(), OnnxError> {
        if let Some(graph) = model.graph.as_deref_mut() {
            self.graph(graph)?;
        }
        for function in &mut model.functions {
            self.nodes(&mut function.node)?;
            self.values(&mut function.value_info);
            let operator = function_name(function);
            for default in &mut function.attribute_proto {
                self.attribute(&operator, default)?;
            }
        }
        Ok(())
    }

    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), OnnxError> {
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        for sparse in &mut graph.sparse_initializer {
            self.sparse(sparse)?;
        }
        for values in [&mut graph.input, &mut graph.output, &mut graph.value_info] {
            self.values(values);
        }
        self.nodes(&mut graph.node)
    }

    fn nodes(&mut self, nodes: &mut [NodeProto]) -> Result<(), OnnxError> {
        for node in nodes {
            let operator = node_operator(node);
            if operator.1 == BIT_CAST {
                let name = node.name.as_deref().filter(|name| !name.is_empty());
                self.bit_cast = Some(quoted(name.unwrap_or(BIT_CAST)));
            }
            for attribute in &mut node.attribute {
                self.attribute(&operator, attribute)?;
            }
        }
        Ok(())
    }

    fn attribute(
        &mut self,
        operator: &(String, String),
        attribute: &mut AttributeProto,
    ) -> Result<(), OnnxError> {
        if attribute.i == Some(i64::from(HALF)) && self.typed.names_type(operator.clone(), attribute) {
            attribute.i = Some(i64::from(SINGLE));
            self.changed = true;
        }
        let tensors = attribute.t.as_deref_mut().into_iter();
        for tensor in tensors.chain(&mut attribute.tensors) {
            self.tensor(tensor)?;
        }
        let sparse = attribute.sparse_tensor.as_deref_mut().into_iter();
        for sparse in sparse.chain(&mut attribute.sparse_tensors) {
            self.sparse(sparse)?;
        }
        let types = attribute.tp.as_deref_mut().into_iter();
        for r#type in types.chain(&mut attribute.type_protos) {
            self.r#type(r#type);
        }
        let graphs = attribute.g.as_deref_mut().into_iter();
        for graph in graphs.chain(&mut attribute.graphs) {
            self.graph(graph)?;
        }
        Ok(())
    }

    fn values(&mut self, values: &mut [ValueInfoProto]) {
        let types = values.iter_mut().filter_map(|value| value.r#type.as_mut());
        types.for_each(|r#type| self.r#type(r#type));
    }

    fn r#type(&mut self, r#type: &mut TypeProto) {
        match &mut r#type.value {
            Some(TypeValue::Tensor(tensor)) => self.element(&mut tensor.elem_type),
            Some(TypeValue::SparseTensor(tensor)) => self.element(&mut tensor.elem_type),
            Some(TypeValue::Sequence(sequence)) => {
                sequence.elem_type.iter_mut().for_each(|inner| self.r#type(inner));
            }
            Some(TypeValue::Optional(optional)) => {
                optional.elem_type.iter_mut().for_each(|inner| self.r#type(inner));
            }
            Some(TypeValue::Map(map)) => {
                map.value_type.iter_mut().for_each(|inner| self.r#type(inner));
            }
            Some(TypeValue::Opaque(_)) | None => {}
        }
    }

    fn element(&mut self, element: &mut Option<i32>) {
        if *element == Some(HALF) {
            *element = Some(SINGLE);
            self.changed = true;
        }
    }

    fn sparse(&mut self, sparse: &mut SparseTensorProto) -> Result<(), OnnxError> {
        sparse
            .values
            .iter_mut()
            .try_for_each(|values| self.tensor(values))
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), OnnxError> {
        if !is_half(tensor) {
            return Ok(());
        }
        if is_external(tensor) {
            return Err(OnnxError::NotEmbedded(quoted(
                tensor.name.as_deref().unwrap_or_default(),
            )));
        }
        inline_bytes(tensor)?;
        let single = match tensor.raw_data.as_deref().filter(|raw| !raw.is_empty()) {
            Some(raw) => singles(raw.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes))),
            // The number's bits are the lower half of each entry, whatever sign the writer extended it with.
            None => singles(tensor.int32_data.iter().map(|bits| *bits as u16)),
        };
        if elements(&tensor.dims).and_then(|count| count.checked_mul(4)) != Some(single.len() as u64) {
            return Err(damaged(tensor, "its values do not fit its shape".to_owned()));
        }
        tensor.raw_data = Some(single);
        tensor.int32_data = Vec::new();
        tensor.data_type = Some(SINGLE);
        self.changed = true;
        Ok(())
    }
}

/// Little-endian single-precision numbers with the values of these half-precision bits.
fn singles(halves: impl ExactSizeIterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * halves.len());
    for bits in halves {
        bytes.extend_from_slice(&single_of_half(bits).to_le_bytes());
    }
    bytes
}

/// The single-precision number with the value of these half-precision bits (IEEE 754 binary16). Exact; a NaN keeps
/// its payload.
fn single_of_half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let fraction = u32::from(bits & 0x03ff);
    match u32::from(bits >> 10 & 0x1f) {
        0 => {
            // Zero, or below the least normal number: multiples of 2⁻²⁴.
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(sign | magnitude.to_bits())
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // The exponent is biased by 15 there and by 127 here.
        exponent => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_precision_number_keeps_its_value() {
        for bits in 0..=u16::MAX {
            let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => fraction * 2_f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
            };
            let single = single_of_half(bits);
            assert_eq!(single.is_sign_negative(), sign == 1, "{bits:#06x}");
            assert_eq!(single.is_nan(), magnitude.is_nan(), "{bits:#06x}");
            assert!(
                single.is_nan() || f64::from(single.abs()) == magnitude,
                "{bits:#06x}"
            );
        }
    }
}
