//! Owns what is known of a model without running it, and the refusal of one that cannot be an upscaler here. Never
//! starts ONNX Runtime: a file is judged before code that is not ours parses it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{OnnxError, listed, quoted};
use super::external::Files;
use super::proto::{
    DataType, DimensionValue, GraphProto, ModelProto, TensorProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::tensor::{inline_bytes, is_external, is_half, type_name};
use super::walk::Parts;
use crate::error::one_line;

/// Domains whose operators ONNX Runtime brings along in every build.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// Characters of a text about the model that are kept: a sentence, not a licence's full text.
const TEXT_CHARS_MAX: usize = 200;

/// Type of the numbers that a model takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        })
    }
}

/// What a model file says of itself. Texts are fit for one line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Name of the input, to be used with ONNX Runtime.
    pub input: String,
    /// Name of the output; the first one, if there are several.
    pub output: String,
    /// Type of the input.
    pub input_type: ElementType,
    /// Type of the output.
    pub output_type: ElementType,
    /// Axes of the input: the length where it is fixed, `None` where the caller chooses it.
    pub input_dims: [Option<i64>; 4],
    /// Axes of the output, as the exporter stated them: `None` where the length depends on the input.
    pub output_dims: [Option<i64>; 4],
    /// Whether any weight or constant is in half precision: [`super::widen`] is for such a model.
    pub half_weights: bool,
    /// Bytes of all weights and constants, those in other files included.
    pub weights_bytes: u64,
    /// The other files that hold weights, absolute and without symlinks, sorted.
    pub external_files: Vec<PathBuf>,
    /// Version of the ONNX operators.
    pub opset: i64,
    /// What wrote the file, with its version: `pytorch 2.4.0`.
    pub producer: Option<String>,
    /// The licence, if the metadata tell one.
    pub licence: Option<String>,
    /// Where the weights come from, if the metadata tell it.
    pub source: Option<String>,
    /// The author, if the metadata tell one.
    pub author: Option<String>,
    /// The description that the file carries.
    pub description: Option<String>,
}

/// Reads what a model says of itself and refuses what cannot be used as an upscaler. `directory` is where the model
/// lies, for weights in other files; these are not read, only seen to be there.
///
/// # Errors
/// An [`OnnxError`] that says in one sentence what is wrong; see its kinds.
pub fn inspect(bytes: &[u8], directory: Option<&Path>) -> Result<ModelFile, OnnxError> {
    let model = super::decode(bytes)?;
    let graph = model.graph.as_deref().filter(|graph| !graph.node.is_empty());
    let graph = graph.ok_or(OnnxError::NoGraph)?;
    let opset = opset(&model).ok_or(OnnxError::NoOperatorSet)?;
    let parts = Parts::of(&model);
    refuse_custom_operators(&model, &parts)?;
    let input = only_input(graph)?;
    let output = graph.output.first().ok_or(OnnxError::NoOutput)?;
    let (input_type, input_dims) = picture("input", input)?;
    let (output_type, output_dims) = picture("output", output)?;
    let (weights_bytes, external_files) = weights(&parts.tensors, directory)?;
    Ok(ModelFile {
        input: name(input).to_owned(),
        output: name(output).to_owned(),
        input_type,
        output_type,
        input_dims,
        output_dims,
        half_weights: parts.tensors.iter().any(|tensor| is_half(tensor)),
        weights_bytes,
        external_files,
        opset,
        producer: producer(&model),
        licence: metadata(&model, &["licence", "license"]),
        source: metadata(&model, &["source"]),
        author: metadata(&model, &["author", "authors"]),
        description: metadata(&model, &["description"]).or_else(|| text(model.doc_string.as_deref()?)),
    })
}

/// Version of the standard operators.
pub(super) fn opset(model: &ModelProto) -> Option<i64> {
    let standard = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    model
        .opset_import
        .iter()
        .find(|set| standard(&set.domain))
        .and_then(|set| set.version)
}

fn refuse_custom_operators(model: &ModelProto, parts: &Parts<'_>) -> Result<(), OnnxError> {
    // Operators that the model defines itself are nodes of the standard ones in the end.
    let own: HashSet<_> = model
        .functions
        .iter()
        .map(|function| {
            (
                function.domain.as_deref().unwrap_or(""),
                function.name.as_deref().unwrap_or(""),
            )
        })
        .collect();
    let custom: BTreeSet<_> = parts
        .nodes
        .iter()
        .map(|node| {
            (
                node.domain.as_deref().unwrap_or(""),
                node.op_type.as_deref().unwrap_or(""),
            )
        })
        .filter(|operator| !DOMAINS.contains(&operator.0) && !own.contains(operator))
        .map(|(domain, operator)| format!("{domain}.{operator}"))
        .collect();
    if custom.is_empty() {
        return Ok(());
    }
    Err(OnnxError::CustomOperators(listed(
        custom.iter().map(String::as_str),
    )))
}

/// The one input that has to be given. Old exporters list the weights among the inputs, too.
pub(super) fn only_input(graph: &GraphProto) -> Result<&ValueInfoProto, OnnxError> {
    let dense = graph.initializer.iter();
    let sparse = graph
        .sparse_initializer
        .iter()
        .filter_map(|sparse| sparse.values.as_ref());
    let given: HashSet<_> = dense
        .chain(sparse)
        .filter_map(|tensor| tensor.name.as_deref())
        .collect();
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !given.contains(name(input)))
        .collect();
    match inputs.as_slice() {
        [input] => Ok(input),
        [] => Err(OnnxError::Inputs("no input".to_owned())),
        several => Err(OnnxError::Inputs(format!(
            "{} inputs ({})",
            several.len(),
            listed(several.iter().map(|input| name(input)))
        ))),
    }
}

/// Type and axes of a value that is a picture or a batch of them.
fn picture(what: &'static str, value: &ValueInfoProto) -> Result<(ElementType, [Option<i64>; 4]), OnnxError> {
    let wrong = |is: String| OnnxError::NotPicture {
        what,
        name: quoted(name(value)),
        is,
    };
    let tensor = match value.r#type.as_ref() {
        Some(TypeProto {
            value: Some(TypeValue::Tensor(tensor)),
            ..
        }) => tensor,
        Some(TypeProto {
            value: Some(other), ..
        }) => return Err(wrong(kind(other).to_owned())),
        _ => return Err(wrong("of no stated type".to_owned())),
    };
    let number = tensor.elem_type.unwrap_or_default();
    let element = match DataType::try_from(number) {
        Ok(DataType::Float) => ElementType::F32,
        Ok(DataType::Float16) => ElementType::F16,
        _ => {
            let is = type_name(number);
            return Err(OnnxError::Elements {
                what,
                name: quoted(name(value)),
                is,
            });
        }
    };
    let Some(shape) = &tensor.shape else {
        return Ok((element, [None; 4]));
    };
    let axes: Vec<_> = shape
        .dim
        .iter()
        .map(|axis| match axis.value {
            // Some exporters write 0 or −1 where they mean that any length will do.
            Some(DimensionValue::DimValue(length)) if length > 0 => Some(length),
            _ => None,
        })
        .collect();
    let axes = axes.as_slice().try_into().map_err(|_| match axes.len() {
        0 => wrong("a single number".to_owned()),
        1 => wrong("a tensor of one axis".to_owned()),
        several => wrong(format!("a tensor of {several} axes")),
    })?;
    Ok((element, axes))
}

fn kind(value: &TypeValue) -> &'static str {
    match value {
        TypeValue::Tensor(_) => "a tensor",
        TypeValue::Sequence(_) => "a sequence",
        TypeValue::Map(_) => "a map",
        TypeValue::Optional(_) => "an optional value",
        TypeValue::SparseTensor(_) => "a sparse tensor",
        TypeValue::Opaque(_) => "of a private type",
    }
}

/// Bytes of all values, and the files beside the model that hold some of them.
fn weights(tensors: &[&TensorProto], directory: Option<&Path>) -> Result<(u64, Vec<PathBuf>), OnnxError> {
    let mut files = Files::below(directory);
    let mut total = 0_u64;
    for tensor in tensors {
        let bytes = if is_external(tensor) {
            files.find(tensor)?.length
        } else {
            inline_bytes(tensor)?
        };
        total = total.saturating_add(bytes);
    }
    if total > super::FILE_BYTES_MAX {
        return Err(OnnxError::TooLarge);
    }
    Ok((total, files.paths()))
}

pub(super) fn name(value: &ValueInfoProto) -> &str {
    value.name.as_deref().unwrap_or_default()
}

fn producer(model: &ModelProto) -> Option<String> {
    let parts = [&model.producer_name, &model.producer_version];
    let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
    text(&parts.join(" "))
}

/// The first entry of the metadata under one of these keys, whatever their case.
fn metadata(model: &ModelProto, keys: &[&str]) -> Option<String> {
    let wanted = |key: &str| keys.iter().any(|wanted| key.eq_ignore_ascii_case(wanted));
    let entry = model
        .metadata_props
        .iter()
        .find(|entry| entry.key.as_deref().is_some_and(wanted))?;
    text(entry.value.as_deref()?)
}

/// A text out of the file, on one line and not too long; `None` if it is empty.
fn text(text: &str) -> Option<String> {
    let text = text.trim();
    let short: String = one_line(text).chars().take(TEXT_CHARS_MAX).collect();
    (!short.is_empty()).then_some(short)
}
