//! What the tests of ONNX files share: the built-in models, and small ones made for one purpose.

mod adapt;
mod check;
mod external;
mod hostile;
mod narrow;
mod proto;
mod rounded;
mod widen;

use std::path::PathBuf;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::encode;
use super::proto::*;
use crate::inference::Runtime;

/// The model in ONNX Runtime, without its optimiser.
///
/// What it says of a half-precision network is nearly what single precision gives, for ONNX Runtime leaves out casts
/// to half precision and back where they are its own, optimiser or not: see [`rounded`](super::rounded()).
fn session(model: &[u8]) -> Session {
    session_at(GraphOptimizationLevel::Disable, model)
}

fn session_at(level: GraphOptimizationLevel, model: &[u8]) -> Session {
    let library = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"),
        PathBuf::from,
    );
    let runtime = Runtime::load(Some(&library)).expect("ONNX Runtime loads (`make runtime` fetches it)");
    Session::builder(&runtime.environment)
        .expect("a session builder")
        .with_optimization_level(level)
        .expect("an option")
        .commit_from_memory(model)
        .expect("ONNX Runtime accepts the model")
}

/// The models of the repository: `(file name, bytes)`.
fn built_in() -> Vec<(String, Vec<u8>)> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .expect("the models of the repository")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read(&path).expect("a readable model"),
            )
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "the repository has models");
    found
}

fn attribute(name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        r#type: Some(AttributeType::Int.into()),
        ..attribute(name)
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: values.to_vec(),
        r#type: Some(AttributeType::Ints.into()),
        ..attribute(name)
    }
}

fn value(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto {
        t: Some(Box::new(tensor)),
        r#type: Some(AttributeType::Tensor.into()),
        ..attribute(name)
    }
}

fn subgraph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(Box::new(graph)),
        r#type: Some(AttributeType::Graph.into()),
        ..attribute(name)
    }
}

fn node(operator: &str, input: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: Some(operator.to_owned()),
        attribute: attributes,
        ..Default::default()
    }
}

/// A value whose axes are `-1` where the caller chooses them.
fn tensor_value(name: &str, data_type: DataType, dims: &[i64]) -> ValueInfoProto {
    let axis = |&dim: &i64| Dimension {
        value: Some(match dim {
            -1 => DimensionValue::DimParam("any".to_owned()),
            length => DimensionValue::DimValue(length),
        }),
        ..Default::default()
    };
    let tensor = TensorType {
        elem_type: Some(data_type.into()),
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(axis).collect(),
        }),
    };
    let r#type = TypeProto {
        value: Some(TypeValue::Tensor(tensor)),
        ..Default::default()
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(r#type),
        ..Default::default()
    }
}

fn tensor(name: &str, data_type: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type.into()),
        dims: dims.to_vec(),
        ..Default::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        float_data: values.to_vec(),
        ..tensor(name, DataType::Float, dims)
    }
}

fn int64s(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        int64_data: values.to_vec(),
        ..tensor(name, DataType::Int64, dims)
    }
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

fn operators(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    }
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![operators("", 17)],
        producer_name: Some("a test".to_owned()),
        graph: Some(Box::new(graph)),
        ..Default::default()
    }
}

/// The smallest upscaler there is: the nearest neighbour, twice as large.
fn nearest() -> ModelProto {
    model(GraphProto {
        name: Some("nearest".to_owned()),
        node: vec![node("Resize", &["x", "", "scales"], "y", vec![])],
        initializer: vec![floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0])],
        input: vec![tensor_value("x", DataType::Float, &[-1, 3, -1, -1])],
        output: vec![tensor_value("y", DataType::Float, &[-1, 3, -1, -1])],
        ..Default::default()
    })
}

/// [`nearest`], changed.
fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = nearest();
    change(&mut model);
    encode(&model)
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("a graph")
}
