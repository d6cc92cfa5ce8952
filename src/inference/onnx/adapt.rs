//! Owns the rewriting of what a model takes and gives into what is fed here: float32 or float16, red first, any number
//! of pictures; and of what is told about it ([`note`]). Never touches what lies between its ends.
//!
//! The nodes are put behind the input and before the output, which keep their names; inside, the model goes on under
//! new ones.

use super::check::{name, only_input, opset};
use super::edit::{Names, cast, element, float, int, int64s, node, number, set_element, unlist_weights};
use super::error::{OnnxError, quoted};
use super::proto::{
    AttributeProto, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::{decode, encode};

/// Most pictures of a fixed batch. All but one are the same one again, so each costs the time of one: beyond these a
/// model cannot be meant for pictures.
const BATCH_MAX: i64 = 16;

/// The version of the operators from which on `Expand` is one, and the one from which on `Clip` has its bounds as
/// inputs and `Round` is one.
const EXPANDS_SINCE: i64 = 8;
const ROUNDS_SINCE: i64 = 11;

/// The version of the format from which on weights need not be listed among the inputs, as the new ones are not.
const IR_VERSION_MIN: i64 = 4;

/// The greatest value of a byte.
const BYTE_MAX: f32 = 255.0;

/// Planes of a picture in colour.
const PLANES: i64 = 3;

/// The spellings of one fact: who sets it under one of them does not want to read the other.
const SPELLINGS: &[&[&str]] = &[&["license", "licence"], &["author", "authors"]];

/// What is known of a model that its file does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adapt {
    /// It takes and gives blue first.
    pub bgr: bool,
}

/// Gives a model an interface that is fed here.
///
/// - Bytes (uint8) become float32 of the same values: behind the input they are rounded, bounded to 0..255 and cast,
///   before the output cast. Double precision and bfloat16 are cast.
/// - A fixed batch of N becomes one of 1, of which N copies are made inside, and the first result is taken: N times the
///   work, but right.
/// - With [`Adapt::bgr`], red and blue change places on the channels' axis: the one of length 3, the second where that
///   is not told.
///
/// The input and the first output keep their names. A model that needs nothing of this comes back byte for byte, and
/// so does one that is no upscaler at all: [`super::inspect`] says what is wrong with that.
///
/// # Errors
/// As [`super::decode`]; [`OnnxError::NotAdaptable`] for blue first in a model without three channels, a fixed batch
/// of more than 16, and operators too old to make one.
pub fn adapt(bytes: &[u8], wishes: &Adapt) -> Result<Vec<u8>, OnnxError> {
    let mut model = decode(bytes)?;
    let Some(plan) = Plan::of(&model, wishes)? else {
        return Ok(bytes.to_vec());
    };
    let mut names = Names::of(&model);
    if let Some(graph) = model.graph.as_deref_mut() {
        unlist_weights(graph);
        plan.carry_out(graph, &mut names);
    }
    model.ir_version = model.ir_version.map(|version| version.max(IR_VERSION_MIN));
    Ok(encode(&model))
}

/// Sets facts about the model in its metadata, in place of those of the same key. [`super::inspect`] reads `license`,
/// `author` and `description`; others are kept for whoever reads the file.
///
/// # Errors
/// As [`super::decode`].
pub fn note(bytes: &[u8], facts: &[(&str, &str)]) -> Result<Vec<u8>, OnnxError> {
    let mut model = decode(bytes)?;
    let before = model.metadata_props.clone();
    for (key, value) in facts {
        let spellings = SPELLINGS.iter().find(|spellings| {
            spellings
                .iter()
                .any(|spelling| spelling.eq_ignore_ascii_case(key))
        });
        let same = |other: &str| match spellings {
            Some(spellings) => spellings
                .iter()
                .any(|spelling| spelling.eq_ignore_ascii_case(other)),
            None => other == *key,
        };
        model
            .metadata_props
            .retain(|entry| !same(entry.key.as_deref().unwrap_or_default()));
        model.metadata_props.push(StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        });
    }
    match model.metadata_props == before {
        true => Ok(bytes.to_vec()),
        false => Ok(encode(&model)),
    }
}

/// What is to be done with a value that is a picture.
struct End {
    name: String,
    /// The type that it has, if it is to be float32.
    cast: Option<DataType>,
    /// The axis on which red and blue change places.
    swapped: Option<i64>,
}

struct Plan {
    input: End,
    output: End,
    /// The length of the fixed batch, if it is to be 1.
    batch: Option<i64>,
    version: i64,
}

impl Plan {
    /// `None` where nothing is to be done, or nothing can.
    fn of(model: &ModelProto, wishes: &Adapt) -> Result<Option<Self>, OnnxError> {
        let (Some(graph), Some(version)) = (model.graph.as_deref(), opset(model)) else {
            return Ok(None);
        };
        let (Ok(input), Some(output)) = (only_input(graph), graph.output.first()) else {
            return Ok(None);
        };
        // A model whose output no node gives, or that has several values of one name, is none.
        let producers = graph.node.iter().flat_map(|node| &node.output);
        if producers.filter(|given| *given == name(output)).count() != 1 || name(input) == name(output) {
            return Ok(None);
        }
        let (Some(axes), Some(output_axes)) = (axes(input), axes(output)) else {
            return Ok(None);
        };
        let batch = axes[0].filter(|length| *length > 1);
        let swapped = match wishes.bgr {
            true => Some(channels(input, &axes)?),
            false => None,
        };
        let plan = Self {
            input: End {
                name: name(input).to_owned(),
                cast: other_type(input),
                swapped: swapped.map(|swapped| swapped as i64),
            },
            output: End {
                name: name(output).to_owned(),
                cast: other_type(output),
                swapped: swapped.map(|like| output_channels(&output_axes, like) as i64),
            },
            batch,
            version,
        };
        let nothing = batch.is_none() && !plan.input.changes() && !plan.output.changes();
        if nothing {
            return Ok(None);
        }
        plan.refuse_impossible()?;
        Ok(Some(plan))
    }

    fn refuse_impossible(&self) -> Result<(), OnnxError> {
        match self.batch {
            Some(batch) if batch > BATCH_MAX => Err(OnnxError::NotAdaptable(format!(
                "its input {} takes {batch} pictures at once, and only up to {BATCH_MAX} are made of one",
                quoted(&self.input.name)
            ))),
            _ if self.version < EXPANDS_SINCE && (self.batch.is_some() || self.input.cast.is_some()) => {
                Err(OnnxError::NotAdaptable(format!(
                    "its input {} has to be changed, and its operators are of version {}, older than {EXPANDS_SINCE}",
                    quoted(&self.input.name),
                    self.version
                )))
            }
            _ => Ok(()),
        }
    }

    fn carry_out(&self, graph: &mut GraphProto, names: &mut Names) {
        let batched = self.batch.is_some();
        let mut front = Chain::from(&self.input.name);
        if self.input.changes() || batched {
            front.bound(self.input.cast, self.version, names);
            front.swap(self.input.swapped, names);
            front.repeat(self.batch, names);
            rename(graph, &self.input.name, &front.at, Sides::Uses);
        }
        let mut back = Chain::from(&names.fresh(&self.output.name, "inside"));
        if self.output.changes() || batched {
            rename(graph, &self.output.name, &back.at, Sides::Both);
            back.first(batched, names);
            back.swap(self.output.swapped, names);
            if self.output.cast.is_some() {
                back.push(
                    "Cast",
                    &[],
                    vec![int("to", DataType::Float as i64)],
                    "single",
                    names,
                );
            }
            back.end_as(&self.output.name);
        }
        graph.node.splice(0..0, front.nodes);
        graph.node.append(&mut back.nodes);
        graph.initializer.append(&mut front.weights);
        graph.initializer.append(&mut back.weights);
        for (values, end) in [(&mut graph.input, &self.input), (&mut graph.output, &self.output)] {
            for value in values.iter_mut().filter(|value| name(value) == end.name) {
                if end.cast.is_some() {
                    set_element(value, DataType::Float);
                }
                if batched {
                    set_batch_to_one(value);
                }
            }
        }
        // The ends are told about among them already, and what is told here would be what they were.
        let ends = [&self.input.name, &self.output.name];
        graph
            .value_info
            .retain(|value| !ends.iter().any(|end| *end == name(value)));
    }
}

impl End {
    fn changes(&self) -> bool {
        self.cast.is_some() || self.swapped.is_some()
    }
}

/// Nodes that follow on each other.
struct Chain {
    /// The value that the last one gives.
    at: String,
    base: String,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
}

impl Chain {
    fn from(name: &str) -> Self {
        Self {
            at: name.to_owned(),
            base: name.to_owned(),
            nodes: Vec::new(),
            weights: Vec::new(),
        }
    }

    fn push(
        &mut self,
        operator: &str,
        others: &[&str],
        attributes: Vec<AttributeProto>,
        what: &str,
        names: &mut Names,
    ) {
        let output = names.fresh(&self.base, what);
        let inputs: Vec<_> = [self.at.as_str()]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        self.nodes.push(node(operator, &inputs, &output, attributes));
        self.at = output;
    }

    fn number(&mut self, value: f32, what: &str, names: &mut Names) -> String {
        let name = names.fresh(&self.base, what);
        self.weights.push(number(&name, value));
        name
    }

    fn int64s(&mut self, values: &[i64], what: &str, names: &mut Names) -> String {
        let name = names.fresh(&self.base, what);
        self.weights.push(int64s(&name, values));
        name
    }

    /// From float32 to another type; whole numbers from 0 to 255 to bytes.
    fn bound(&mut self, to: Option<DataType>, version: i64, names: &mut Names) {
        let Some(to) = to else { return };
        if to == DataType::Uint8 {
            if version >= ROUNDS_SINCE {
                self.push("Round", &[], vec![], "rounded", names);
                let least = self.number(0.0, "least", names);
                let most = self.number(BYTE_MAX, "most", names);
                self.push("Clip", &[&least, &most], vec![], "bounded", names);
            } else {
                let half = self.number(0.5, "shift", names);
                self.push("Add", &[&half], vec![], "shifted", names);
                self.push("Floor", &[], vec![], "rounded", names);
                let bounds = vec![float("min", 0.0), float("max", BYTE_MAX)];
                self.push("Clip", &[], bounds, "bounded", names);
            }
        }
        let output = names.fresh(&self.base, "cast");
        self.nodes.push(cast(&self.at, &output, to));
        self.at = output;
    }

    /// Red and blue change places.
    fn swap(&mut self, axis: Option<i64>, names: &mut Names) {
        let Some(axis) = axis else { return };
        let order = self.int64s(&[2, 1, 0], "order", names);
        self.push("Gather", &[&order], vec![int("axis", axis)], "swapped", names);
    }

    /// One picture as often as the batch is long.
    fn repeat(&mut self, batch: Option<i64>, names: &mut Names) {
        let Some(batch) = batch else { return };
        let shape = self.int64s(&[batch, 1, 1, 1], "batch", names);
        self.push("Expand", &[&shape], vec![], "repeated", names);
    }

    /// The first picture of a batch.
    fn first(&mut self, batched: bool, names: &mut Names) {
        if batched {
            let first = self.int64s(&[0], "index", names);
            self.push("Gather", &[&first], vec![int("axis", 0)], "first", names);
        }
    }

    /// Lets the last node give a value of this name.
    fn end_as(&mut self, name: &str) {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![name.to_owned()];
        }
    }
}

/// Whether only those who use a value learn its new name, or who gives it, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sides {
    Uses,
    Both,
}

/// Gives a value of the graph another name. The graphs inside nodes see it, too, unless they have one of that name.
fn rename(graph: &mut GraphProto, from: &str, to: &str, sides: Sides) {
    for node in &mut graph.node {
        rename_in_node(node, from, to);
        if sides == Sides::Both {
            for output in node.output.iter_mut().filter(|output| *output == from) {
                to.clone_into(output);
            }
        }
    }
    for annotation in &mut graph.quantization_annotation {
        if annotation.tensor_name.as_deref() == Some(from) {
            annotation.tensor_name = Some(to.to_owned());
        }
    }
}

fn rename_in_node(node: &mut NodeProto, from: &str, to: &str) {
    for input in node.input.iter_mut().filter(|input| *input == from) {
        to.clone_into(input);
    }
    for attribute in &mut node.attribute {
        let inner = attribute.g.as_deref_mut().into_iter();
        for graph in inner.chain(&mut attribute.graphs) {
            if defines(graph, from) {
                continue;
            }
            graph
                .node
                .iter_mut()
                .for_each(|node| rename_in_node(node, from, to));
            for output in graph.output.iter_mut().filter(|output| name(output) == from) {
                output.name = Some(to.to_owned());
            }
        }
    }
}

fn defines(graph: &GraphProto, wanted: &str) -> bool {
    graph.input.iter().any(|input| name(input) == wanted)
        || graph
            .initializer
            .iter()
            .any(|tensor| tensor.name.as_deref() == Some(wanted))
        || graph
            .node
            .iter()
            .flat_map(|node| &node.output)
            .any(|output| output == wanted)
}

/// The type that a value has where it should be float32.
fn other_type(value: &ValueInfoProto) -> Option<DataType> {
    let kind = DataType::try_from(element(value)?).ok()?;
    matches!(kind, DataType::Uint8 | DataType::Double | DataType::Bfloat16).then_some(kind)
}

fn shape(value: &ValueInfoProto) -> Option<&TensorShapeProto> {
    match value.r#type.as_ref()? {
        TypeProto {
            value: Some(TypeValue::Tensor(tensor)),
            ..
        } => tensor.shape.as_ref(),
        _ => None,
    }
}

/// The lengths of four axes, as far as they are fixed; `None` for what has another number of them.
fn axes(value: &ValueInfoProto) -> Option<[Option<i64>; 4]> {
    element(value)?;
    let Some(shape) = shape(value) else {
        return Some([None; 4]);
    };
    let length = |axis: &Dimension| match axis.value {
        Some(DimensionValue::DimValue(length)) if length > 0 => Some(length),
        _ => None,
    };
    let lengths: Vec<_> = shape.dim.iter().map(length).collect();
    lengths.as_slice().try_into().ok()
}

/// The axis of the input's channels.
fn channels(input: &ValueInfoProto, axes: &[Option<i64>; 4]) -> Result<usize, OnnxError> {
    match axes {
        [_, Some(PLANES), _, _] => Ok(1),
        [_, _, _, Some(PLANES)] => Ok(3),
        [_, None, _, _] => Ok(1),
        [_, Some(others), _, _] => Err(OnnxError::NotAdaptable(format!(
            "blue first is for three channels, and its input {} has {others}",
            quoted(name(input))
        ))),
    }
}

/// The axis of the output's channels, given that of the input's.
fn output_channels(axes: &[Option<i64>; 4], like: usize) -> usize {
    match axes {
        [_, Some(PLANES), _, _] => 1,
        [_, _, _, Some(PLANES)] => 3,
        _ => like,
    }
}

fn set_batch_to_one(value: &mut ValueInfoProto) {
    let Some(TypeProto {
        value: Some(TypeValue::Tensor(tensor)),
        ..
    }) = &mut value.r#type
    else {
        return;
    };
    if let Some(first) = tensor.shape.as_mut().and_then(|shape| shape.dim.first_mut()) {
        first.value = Some(DimensionValue::DimValue(1));
    }
}
