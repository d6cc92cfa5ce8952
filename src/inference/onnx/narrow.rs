//! Owns the rewriting of a single-precision network into one that computes in half precision, for processors of
//! graphics, which do so at twice the speed and more. Never changes what the network takes and gives, and never
//! judges whether half precision is enough for it: that is measured.
//!
//! Every value knows in which precisions it exists; a node that wants the other one gets a cast before it, once for
//! all. So the casts stand where precision changes and nowhere else: behind the input, before the output, and around
//! the few operators that stay as they were ([`operators`]). Arithmetic on sizes stays single precision in any case: an
//! operator computes in half precision only if what it computes depends on the picture.

mod constant;
mod operators;
mod rounded;

pub use rounded::rounded;

use std::collections::{HashMap, HashSet};
use std::mem::take;

use prost::Message as _;

use self::constant::Constant;
use self::operators::{Gives, Operator, Wants, stated_element};
use super::check::{name, opset};
use super::edit::{Names, cast, element, has_subgraph, is_standard, set_element, unlist_weights};
use super::error::{OnnxError, quoted};
use super::proto::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, TensorProto};
use super::tensor::is_half;
use super::walk::Parts;
use super::{FILE_BYTES_MAX, decode, encode};

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// The oldest version of the operators that is rewritten: ONNX Runtime's own limit, and older ones broadcast
/// otherwise.
const OPSET_MIN: i64 = 7;

/// The version of the format from which on weights need not be listed among the inputs.
const IR_VERSION_MIN: i64 = 4;

/// Makes the half-precision variant of a single-precision network: weights and computation are float16, inputs and
/// outputs stay float32. What cannot be float16 stays as it is: the factors of `Resize`, arithmetic on sizes,
/// operators that are defined or fast in single precision only, and those with a constant beyond 65504. Weights below
/// the least normal number round. A model that has any half precision already comes back as it is, and so does one
/// in which nothing would change.
///
/// # Errors
/// As [`super::decode`]; [`OnnxError::NotNarrowable`] for a network with branches, loops or functions of its own, and
/// for one with an operator that is not known here; [`OnnxError::NotEmbedded`] for weights in other files (see
/// [`super::embed`]), [`OnnxError::Weights`] for damaged ones, and [`OnnxError::TooLarge`].
pub fn narrow(bytes: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let mut model = decode(bytes)?;
    if has_half(&model) {
        return Ok(bytes.to_vec());
    }
    let version = operators_version(&model)?;
    if !model.functions.is_empty() {
        return Err(refused("it has functions of its own".to_owned()));
    }
    let names = Names::of(&model);
    let graph = model.graph.as_deref_mut().ok_or(OnnxError::NoGraph)?;
    let mut narrower = Narrower::new(version, names, graph)?;
    for node in take(&mut graph.node) {
        narrower.node(node)?;
    }
    if !narrower.changed {
        return Ok(bytes.to_vec());
    }
    narrower.finish(graph);
    model.ir_version = model.ir_version.map(|version| version.max(IR_VERSION_MIN));
    match model.encoded_len() as u64 > FILE_BYTES_MAX {
        true => Err(OnnxError::TooLarge),
        false => Ok(encode(&model)),
    }
}

/// The version of the operators, if it is one that is rewritten.
fn operators_version(model: &ModelProto) -> Result<i64, OnnxError> {
    let version = opset(model).ok_or(OnnxError::NoOperatorSet)?;
    match version < OPSET_MIN {
        true => Err(refused(format!(
            "its operators are of version {version}, and only those from {OPSET_MIN} on are narrowed"
        ))),
        false => Ok(version),
    }
}

/// Whether anything is half precision already: somebody has decided then what should be.
fn has_half(model: &ModelProto) -> bool {
    let ends = model
        .graph
        .iter()
        .flat_map(|graph| graph.input.iter().chain(&graph.output));
    let parts = Parts::of(model);
    let attributes = parts.nodes.iter().flat_map(|node| &node.attribute);
    ends.into_iter().any(|value| element(value) == Some(HALF))
        || parts.tensors.iter().any(|tensor| is_half(tensor))
        || attributes
            .into_iter()
            .any(|attribute| attribute.name.as_deref() == Some("to") && attribute.i == Some(i64::from(HALF)))
}

/// The two precisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Half,
    Single,
}

/// What is known of a value of the graph.
#[derive(Debug, Clone, Default)]
struct Value {
    /// Type of its elements, as it was.
    element: i32,
    /// Its name in single precision, or in its own type if that is no floating point; `None` as long as it is only
    /// there in half precision.
    single: Option<String>,
    /// Its name in half precision, if it is there.
    half: Option<String>,
    /// Whether what it holds depends on the picture, and not on its size alone.
    of_picture: bool,
    /// Whether it was computed in single precision for a reason, so that what follows should be, too.
    stays_single: bool,
    /// Which of the constants it is.
    constant: Option<usize>,
}

struct Narrower {
    /// Of the operators.
    version: i64,
    names: Names,
    values: HashMap<String, Value>,
    constants: Vec<Constant>,
    /// Names of the graph's outputs, which stay single precision.
    outputs: HashSet<String>,
    /// What has been written so far.
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    /// Whether anything computes in half precision.
    changed: bool,
}

impl Narrower {
    fn new(version: i64, names: Names, graph: &GraphProto) -> Result<Self, OnnxError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(refused("it has sparse weights".to_owned()));
        }
        let mut narrower = Self {
            version,
            names,
            values: HashMap::new(),
            constants: Vec::new(),
            outputs: graph
                .output
                .iter()
                .map(|output| name(output).to_owned())
                .collect(),
            nodes: Vec::new(),
            weights: Vec::new(),
            changed: false,
        };
        for tensor in &graph.initializer {
            let value = narrower.constant(tensor)?;
            narrower.define(tensor.name.as_deref().unwrap_or_default(), value)?;
        }
        for input in &graph.input {
            if narrower.values.contains_key(name(input)) {
                continue;
            }
            let element = element(input)
                .ok_or_else(|| refused(format!("its input {} is of no stated type", quoted(name(input)))))?;
            let value = Value {
                element,
                single: Some(name(input).to_owned()),
                of_picture: true,
                ..Value::default()
            };
            narrower.define(name(input), value)?;
        }
        Ok(narrower)
    }

    fn define(&mut self, name: &str, value: Value) -> Result<(), OnnxError> {
        match self.values.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(refused(format!("it has several values {}", quoted(name)))),
        }
    }

    /// Rounds a weight or constant.
    fn constant(&mut self, tensor: &TensorProto) -> Result<Value, OnnxError> {
        let mut value = Value {
            element: tensor.data_type.unwrap_or_default(),
            single: tensor.name.clone(),
            ..Value::default()
        };
        if value.element == SINGLE {
            value.constant = Some(self.constants.len());
            self.constants.push(Constant::of(tensor)?);
        }
        Ok(value)
    }

    fn node(&mut self, node: NodeProto) -> Result<(), OnnxError> {
        let operator = node.op_type.as_deref().unwrap_or_default();
        if has_subgraph(&node) {
            return Err(refused(format!("its {} has a graph inside", quoted(operator))));
        }
        let unknown = || refused(format!("its operator {} is not known here", quoted(operator)));
        if !is_standard(&node) {
            return Err(unknown());
        }
        match operator {
            "Constant" => self.constant_node(node),
            _ => match (stated_element(&node), Operator::find(operator, self.version)) {
                (Some(element), _) => self.unchanged(node, element),
                (None, Some(known)) => self.computing(node, known),
                (None, None) => Err(unknown()),
            },
        }
    }

    fn constant_node(&mut self, node: NodeProto) -> Result<(), OnnxError> {
        let Some(output) = node.output.first().cloned() else {
            return Ok(());
        };
        let value = match node.attribute.as_slice() {
            [AttributeProto { t: Some(tensor), .. }] => self.constant(tensor)?,
            [attribute] => {
                let numbers = match (attribute.name.as_deref(), attribute.f) {
                    (Some("value_float"), Some(number)) => Some((vec![number], Vec::new())),
                    (Some("value_floats"), _) => {
                        Some((attribute.floats.clone(), vec![attribute.floats.len() as i64]))
                    }
                    (Some("value_int" | "value_ints" | "value_string" | "value_strings"), _) => None,
                    _ => {
                        return Err(refused(format!(
                            "it has a constant {} of no known kind",
                            quoted(&output)
                        )));
                    }
                };
                let tensor = numbers.map(|(float_data, dims)| TensorProto {
                    data_type: Some(SINGLE),
                    dims,
                    float_data,
                    ..Default::default()
                });
                match tensor {
                    Some(tensor) => self.constant(&tensor)?,
                    // A text is none, but nothing here computes with one either.
                    None => Value {
                        element: DataType::Int64.into(),
                        ..Value::default()
                    },
                }
            }
            _ => {
                return Err(refused(format!(
                    "it has a constant {} without a value",
                    quoted(&output)
                )));
            }
        };
        let single = Some(output.clone());
        self.define(&output, Value { single, ..value })?;
        self.nodes.push(node);
        Ok(())
    }

    /// A node that takes its inputs as they are and gives this type.
    fn unchanged(&mut self, mut node: NodeProto, element: i32) -> Result<(), OnnxError> {
        let inputs = self.inputs(&node)?;
        let of_picture = inputs.iter().flatten().any(|value| value.of_picture);
        // A cast from single precision to itself is none, and no reason to stay there.
        let stays_single = inputs
            .iter()
            .flatten()
            .any(|value| value.of_picture && (value.element != SINGLE || value.stays_single));
        for name in node.input.iter_mut().filter(|name| !name.is_empty()) {
            *name = self.as_it_is(name);
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            let value = Value {
                element,
                single: Some(output.clone()),
                of_picture,
                stays_single,
                ..Value::default()
            };
            self.define(output, value)?;
        }
        self.nodes.push(node);
        Ok(())
    }

    fn computing(&mut self, mut node: NodeProto, operator: Operator) -> Result<(), OnnxError> {
        let inputs = self.inputs(&node)?;
        let precision = self.precision(&inputs, operator);
        // What depends on the size of a picture only does not depend on the picture.
        let forgets = matches!(node.op_type.as_deref(), Some("Shape" | "Size"));
        let of_picture = !forgets && inputs.iter().flatten().any(|value| value.of_picture);
        let alias = match node.op_type.as_deref() {
            Some("Identity") => inputs.first().and_then(|value| value.as_ref()?.constant),
            _ => None,
        };
        for (index, input) in node.input.iter_mut().enumerate() {
            if inputs[index].as_ref().is_none_or(|value| value.element != SINGLE) {
                continue;
            }
            *input = match (operator.wants, precision) {
                (Wants::Whatever, _) => self.as_it_is(input),
                (_, Precision::Half) if !operator.single_inputs.contains(&index) => self.halved(input),
                _ => self.singled(input),
            };
        }
        let mut casts = Vec::new();
        for (index, output) in node
            .output
            .iter_mut()
            .enumerate()
            .filter(|(_, name)| !name.is_empty())
        {
            let gives = operator.gives.get(index).or(operator.gives.last());
            let (element, fixed) = match gives {
                Some(Gives::Type(kind)) => (i32::from(*kind), true),
                Some(Gives::Input(from)) => (given(&inputs, *from)?, false),
                None => continue,
            };
            let narrowed = element == SINGLE && precision == Precision::Half && !fixed;
            let mut value = Value {
                element,
                single: (!narrowed).then(|| output.clone()),
                half: narrowed.then(|| output.clone()),
                of_picture,
                stays_single: !narrowed,
                constant: alias,
            };
            let original = output.clone();
            if narrowed && self.outputs.contains(&original) {
                *output = self.names.fresh(&original, "half");
                casts.push(cast(output, &original, DataType::Float));
                value.half = Some(output.clone());
                value.single = Some(original.clone());
            }
            self.define(&original, value)?;
        }
        self.changed |= precision == Precision::Half;
        self.nodes.push(node);
        self.nodes.append(&mut casts);
        Ok(())
    }

    /// What is known of each input; `None` for one that is left out.
    fn inputs(&self, node: &NodeProto) -> Result<Vec<Option<Value>>, OnnxError> {
        let known = |name: &String| match name.is_empty() {
            true => Ok(None),
            false => match self.values.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(refused(format!("nothing gives its value {}", quoted(name)))),
            },
        };
        node.input.iter().map(known).collect()
    }

    /// The precision in which a node computes.
    fn precision(&self, inputs: &[Option<Value>], operator: Operator) -> Precision {
        if matches!(operator.wants, Wants::Single | Wants::Whatever) {
            return Precision::Single;
        }
        let narrowable = || {
            let numbers = inputs.iter().enumerate();
            numbers
                .filter(|(index, _)| !operator.single_inputs.contains(index))
                .filter_map(|(_, value)| value.as_ref().filter(|value| value.element == SINGLE))
        };
        let fits = |value: &Value| match value.constant.and_then(|index| self.constants.get(index)) {
            Some(constant) => constant.fits || operator.has_bounds,
            None => true,
        };
        let mut pictures = narrowable().filter(|value| value.of_picture).peekable();
        let computes = pictures.peek().is_some();
        let comes_single = pictures.all(|value| value.stays_single) && operator.wants == Wants::Either;
        match computes && !comes_single && narrowable().all(fits) {
            true => Precision::Half,
            false => Precision::Single,
        }
    }

    /// The name of a value in the precision in which it is there.
    fn as_it_is(&self, name: &str) -> String {
        let value = self.values.get(name);
        let there = value.and_then(|value| match value.stays_single {
            true => value.single.as_ref().or(value.half.as_ref()),
            false => value.half.as_ref().or(value.single.as_ref()),
        });
        there.map_or(name, String::as_str).to_owned()
    }

    /// The name of a value in half precision, which is made where it is not there.
    fn halved(&mut self, name: &str) -> String {
        let Some(value) = self.values.get_mut(name) else {
            return name.to_owned();
        };
        if let Some(half) = &value.half {
            return half.clone();
        }
        let constant = value.constant.and_then(|index| self.constants.get_mut(index));
        let half = match constant {
            Some(Constant { name: Some(half), .. }) => half.clone(),
            Some(constant) => {
                let half = self.names.fresh(name, "half");
                constant.name = Some(half.clone());
                let tensor = constant.half.take().unwrap_or_default();
                self.weights.push(TensorProto {
                    name: Some(half.clone()),
                    ..tensor
                });
                half
            }
            None => {
                let half = self.names.fresh(name, "half");
                let single = value.single.as_deref().unwrap_or(name);
                self.nodes.push(cast(single, &half, DataType::Float16));
                half
            }
        };
        value.half = Some(half.clone());
        half
    }

    /// The name of a value in single precision, which is made where it is not there.
    fn singled(&mut self, name: &str) -> String {
        let Some(value) = self.values.get_mut(name) else {
            return name.to_owned();
        };
        if let Some(single) = &value.single {
            return single.clone();
        }
        let single = self.names.fresh(name, "single");
        let half = value.half.as_deref().unwrap_or(name);
        self.nodes.push(cast(half, &single, DataType::Float));
        value.single = Some(single.clone());
        single
    }

    /// Puts everything into the graph.
    fn finish(mut self, graph: &mut GraphProto) {
        unlist_weights(graph);
        let mut used = self.outputs;
        // From behind: a constant is used if somebody after it uses it.
        self.nodes.reverse();
        self.nodes.retain(|node| {
            let constant = matches!(node.op_type.as_deref(), Some("Constant" | "Identity"));
            let kept = !constant || node.output.iter().any(|name| used.contains(name));
            if kept {
                used.extend(node.input.iter().cloned());
            }
            kept
        });
        self.nodes.reverse();
        graph.node = self.nodes;
        graph
            .initializer
            .retain(|tensor| used.contains(tensor.name.as_deref().unwrap_or_default()));
        graph.initializer.append(&mut self.weights);
        for value in &mut graph.value_info {
            let known = self.values.get(name(value));
            let half = known.and_then(|known| known.half.as_deref());
            if half == Some(name(value)) {
                set_element(value, DataType::Float16);
            }
        }
    }
}

/// The type of the elements of an input.
fn given(inputs: &[Option<Value>], index: usize) -> Result<i32, OnnxError> {
    match inputs.get(index) {
        Some(Some(value)) => Ok(value.element),
        _ => Err(refused("one of its nodes lacks an input".to_owned())),
    }
}

fn refused(why: String) -> OnnxError {
    OnnxError::NotNarrowable(why)
}
