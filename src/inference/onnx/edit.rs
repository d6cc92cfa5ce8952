//! Owns the small tools of those who rewrite graphs: names that nothing has yet, nodes, and numbers as weights. Never
//! decides what is rewritten.

use std::collections::HashSet;

use super::proto::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto,
    TypeValue, ValueInfoProto,
};
use super::walk::Parts;

/// The names of a model's values.
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Those of the graph and of the graphs inside its nodes.
    pub(super) fn of(model: &ModelProto) -> Self {
        let parts = Parts::of(model);
        let mut names = HashSet::new();
        for node in parts.nodes {
            names.extend(node.input.iter().chain(&node.output).cloned());
        }
        names.extend(parts.tensors.iter().filter_map(|tensor| tensor.name.clone()));
        for graph in model.graph.iter() {
            let ends = graph.input.iter().chain(&graph.output);
            names.extend(ends.filter_map(|value| value.name.clone()));
        }
        Self(names)
    }

    /// A name that nothing has yet, to be recognised by the name that it comes from.
    pub(super) fn fresh(&mut self, from: &str, what: &str) -> String {
        let mut name = format!("{from}_{what}");
        let mut number = 1;
        while self.0.contains(&name) {
            number += 1;
            name = format!("{from}_{what}{number}");
        }
        self.0.insert(name.clone());
        name
    }
}

/// A node of the standard operators. Without a name, which it does not need: ONNX Runtime refuses two nodes of one name,
/// and exporters like to name theirs after what they give.
pub(super) fn node(
    operator: &str,
    input: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(operator.to_owned()),
        attribute,
        ..Default::default()
    }
}

/// A node that changes the type of elements.
pub(super) fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    node("Cast", &[input], output, vec![int("to", i64::from(to as i32))])
}

/// An attribute that is a whole number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(AttributeType::Int.into()),
        ..Default::default()
    }
}

/// An attribute that is a number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        f: Some(value),
        r#type: Some(AttributeType::Float.into()),
        ..Default::default()
    }
}

/// A list of whole numbers.
pub(super) fn int64s(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int64.into()),
        dims: vec![values.len() as i64],
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..Default::default()
    }
}

/// A single number without axes.
pub(super) fn number(name: &str, value: f32) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Float.into()),
        raw_data: Some(value.to_le_bytes().to_vec()),
        ..Default::default()
    }
}

/// The type of a value's elements; `None` for what is no tensor, or of no stated type.
pub(super) fn element(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeValue::Tensor(tensor) => tensor.elem_type,
        _ => None,
    }
}

/// Changes the type of a tensor's elements.
pub(super) fn set_element(value: &mut ValueInfoProto, to: DataType) {
    if let Some(TypeProto {
        value: Some(TypeValue::Tensor(tensor)),
        ..
    }) = &mut value.r#type
    {
        tensor.elem_type = Some(to.into());
    }
}

/// Whether the node has a graph inside it.
pub(super) fn has_subgraph(node: &NodeProto) -> bool {
    node.attribute
        .iter()
        .any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
}

/// Whether the node's operator is one of the standard.
pub(super) fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
}

/// Takes the weights out of the list of inputs, where old exporters put them, too. From version 4 of the format on
/// they need not be there.
pub(super) fn unlist_weights(graph: &mut GraphProto) {
    let weights: HashSet<_> = graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.as_deref())
        .collect();
    graph
        .input
        .retain(|input| !weights.contains(input.name.as_deref().unwrap_or_default()));
}
