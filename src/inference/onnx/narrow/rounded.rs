//! Owns the single-precision network that comes to what a half-precision one comes to on a graphics processor: sums are
//! single precision, and what is stored is rounded. For the measurement of half precision where there is none. Never
//! decides what is half precision: it asks the half-precision network.
//!
//! ONNX Runtime's processor has few half-precision kernels. It casts around each operator to single precision and back,
//! and then leaves out the casts that meet, with its optimiser or without it: a half-precision network runs there nearly
//! in single precision and says nothing of its own roundings. Casts to half precision and back again that stand in a
//! single-precision network are part of what it means, and stay.

use std::collections::{HashMap, HashSet};

use prost::Message as _;

use super::super::edit::{Names, cast, element, has_subgraph, is_standard};
use super::super::error::{OnnxError, quoted};
use super::super::proto::{DataType, GraphProto, ModelProto, NodeProto};
use super::super::tensor::is_half;
use super::super::{FILE_BYTES_MAX, decode, encode, widen};
use super::operators::{Gives, Operator, stated_element};
use super::{HALF, name, narrow, operators_version, refused};

/// Makes the network that rounds where the half-precision one does: weights and every result that is float16 there are
/// float32 here and hold numbers that float16 has. Of a single-precision network, as [`narrow`] would make it half
/// precision, and of one that is half precision as it is; then inputs that are float16 are rounded, too. A model without
/// half precision, where none would be made either, comes back as it is.
///
/// # Errors
/// As [`narrow`] and [`widen`]; those of `narrow` for a half-precision network, too.
pub fn rounded(bytes: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let half = narrow(bytes)?;
    let halves = half_values(&decode(&half)?)?;
    let single = widen(&half)?;
    if halves.is_empty() {
        return Ok(single);
    }
    drop(half);
    let mut model = decode(&single)?;
    drop(single);
    let mut names = Names::of(&model);
    let graph = model.graph.as_deref_mut().ok_or(OnnxError::NoGraph)?;
    round_all(graph, &halves, &mut names);
    match model.encoded_len() as u64 > FILE_BYTES_MAX {
        true => Err(OnnxError::TooLarge),
        false => Ok(encode(&model)),
    }
}

/// The names of all values that are half precision.
fn half_values(model: &ModelProto) -> Result<HashSet<String>, OnnxError> {
    let version = operators_version(model)?;
    if !model.functions.is_empty() {
        return Err(refused("it has functions of its own".to_owned()));
    }
    let graph = model.graph.as_deref().ok_or(OnnxError::NoGraph)?;
    let inputs = graph.input.iter().filter(|input| element(input) == Some(HALF));
    let weights = graph.initializer.iter().filter(|tensor| is_half(tensor));
    let mut halves: HashSet<String> = inputs.map(|input| name(input).to_owned()).collect();
    halves.extend(weights.filter_map(|tensor| tensor.name.clone()));
    let mut given = HashSet::new();
    for node in &graph.node {
        if let Some(again) = node
            .output
            .iter()
            .find(|name| !name.is_empty() && !given.insert(name.as_str()))
        {
            return Err(refused(format!("it has several values {}", quoted(again))));
        }
        let operator = node.op_type.as_deref().unwrap_or_default();
        if has_subgraph(node) {
            return Err(refused(format!("its {} has a graph inside", quoted(operator))));
        }
        let gives = gives_half(node, version, &halves)
            .ok_or_else(|| refused(format!("its operator {} is not known here", quoted(operator))))?;
        let outputs = node.output.iter().zip(gives);
        halves.extend(outputs.filter(|(_, half)| *half).map(|(name, _)| name.clone()));
    }
    halves.remove("");
    Ok(halves)
}

/// Of each output, whether it is half precision; `None` for an operator that is not known here.
fn gives_half(node: &NodeProto, version: i64, halves: &HashSet<String>) -> Option<Vec<bool>> {
    if !is_standard(node) {
        return None;
    }
    let of_all = |half| Some(vec![half; node.output.len()]);
    let operator = node.op_type.as_deref().unwrap_or_default();
    if operator == "Constant" {
        let tensors = node
            .attribute
            .iter()
            .filter_map(|attribute| attribute.t.as_deref());
        return of_all(tensors.into_iter().any(is_half));
    }
    if let Some(element) = stated_element(node) {
        return of_all(element == HALF);
    }
    let known = Operator::find(operator, version)?;
    let half = |index| match known.gives.get(index).or(known.gives.last()) {
        Some(Gives::Input(from)) => node.input.get(*from).is_some_and(|input| halves.contains(input)),
        Some(Gives::Type(_)) | None => false,
    };
    Some((0..node.output.len()).map(half).collect())
}

/// Puts casts to half precision and back behind everything that gives one of these values. What gives it gives it under
/// another name from now on, and its name is that of the rounded value, so that nothing else changes.
fn round_all(graph: &mut GraphProto, halves: &HashSet<String>, names: &mut Names) {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.as_deref())
        .collect();
    let mut nodes = Vec::new();
    // An input keeps its name, which is known outside; those who read it read another.
    let mut inputs = HashMap::new();
    for input in graph.input.iter().map(name) {
        if halves.contains(input) && !weights.contains(input) {
            let rounded = names.fresh(input, "rounded");
            nodes.extend(rounding(input, &rounded, names));
            inputs.insert(input.to_owned(), rounded);
        }
    }
    for mut node in std::mem::take(&mut graph.node) {
        for input in &mut node.input {
            if let Some(rounded) = inputs.get(input) {
                input.clone_from(rounded);
            }
        }
        // Constants are rounded already.
        let computes = !matches!(node.op_type.as_deref(), Some("Constant" | "ConstantOfShape"));
        let mut casts = Vec::new();
        for output in node
            .output
            .iter_mut()
            .filter(|name| computes && halves.contains(*name))
        {
            let rounded = std::mem::take(output);
            *output = names.fresh(&rounded, "exact");
            casts.extend(rounding(output, &rounded, names));
        }
        nodes.push(node);
        nodes.append(&mut casts);
    }
    graph.node = nodes;
}

/// Casts to half precision and back.
fn rounding(from: &str, to: &str, names: &mut Names) -> [NodeProto; 2] {
    let half = names.fresh(from, "half");
    [
        cast(from, &half, DataType::Float16),
        cast(&half, to, DataType::Float),
    ]
}
