use ort::value::TensorRef;

use super::super::proto::*;
use super::super::{ElementType, OnnxError, decode, encode, inspect, widen};
use super::*;

const HALF: i64 = DataType::Float16 as i64;
const SINGLE: i64 = DataType::Float as i64;

/// Half-precision bits of numbers that have an exact counterpart.
fn half_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    assert!(
        value != 0.0 && bits & 0x1fff == 0,
        "{value} has no exact counterpart"
    );
    let exponent = (bits >> 23 & 0xff) - 112;
    (bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff) as u16
}

/// A half-precision tensor, in the form that most exporters write.
fn raw_halves(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values
        .iter()
        .flat_map(|&value| half_bits(value).to_le_bytes())
        .collect();
    TensorProto {
        raw_data: Some(raw),
        ..tensor(name, DataType::Float16, dims)
    }
}

/// A half-precision tensor, in the form that protobuf has no better list for.
fn listed_halves(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let bits = values.iter().map(|&value| i32::from(half_bits(value))).collect();
    TensorProto {
        int32_data: bits,
        ..tensor(name, DataType::Float16, dims)
    }
}

fn constant(output: &str, tensor: TensorProto) -> NodeProto {
    node("Constant", &[], output, vec![value("value", tensor)])
}

/// A branch that multiplies `a` by a half-precision number.
fn branch(name: &str, factor: f32) -> GraphProto {
    let (number, result) = (format!("{name}_factor"), format!("{name}_result"));
    GraphProto {
        name: Some(name.to_owned()),
        node: vec![
            constant(&number, raw_halves("", &[], &[factor])),
            node("Mul", &["a", &number], &result, vec![]),
        ],
        output: vec![tensor_value(&result, DataType::Float16, &[-1, -1, -1, -1])],
        ..Default::default()
    }
}

/// A function that casts to the type that its caller names and doubles.
fn doubling() -> FunctionProto {
    let to = AttributeProto {
        ref_attr_name: Some("kind".to_owned()),
        r#type: Some(AttributeType::Int.into()),
        ..attribute("to")
    };
    FunctionProto {
        name: Some("Doubling".to_owned()),
        domain: Some("of.this.model".to_owned()),
        input: vec!["p".to_owned()],
        output: vec!["q".to_owned()],
        attribute: vec!["kind".to_owned()],
        node: vec![
            node("Cast", &["p"], "r", vec![to]),
            constant("two", listed_halves("", &[], &[2.0])),
            node("Mul", &["r", "two"], "q", vec![]),
        ],
        opset_import: vec![operators("", 17)],
        ..Default::default()
    }
}

/// A network that computes in half precision and has it in every place where a model can: weights in both forms,
/// constants, casts, shapes' values, branches, a function. With `half_ends`, input and output are half precision
/// too; else they are cast.
pub(super) fn half_network(half_ends: bool) -> ModelProto {
    let weights: Vec<f32> = (0..81).map(|i| ((i * 37 % 64) as f32 - 31.5) / 128.0).collect();
    let then_else = vec![
        subgraph("then_branch", branch("then", 0.75)),
        subgraph("else_branch", branch("else", -1.0)),
    ];
    let call = NodeProto {
        domain: Some("of.this.model".to_owned()),
        ..node("Doubling", &["s"], "d", vec![int("kind", HALF)])
    };
    let ends = if half_ends {
        DataType::Float16
    } else {
        DataType::Float
    };
    let mut nodes = vec![
        node("Conv", &["h", "w", "b"], "c", vec![ints("pads", &[1, 1, 1, 1])]),
        constant("k", raw_halves("", &[], &[1.25])),
        node("Mul", &["c", "k"], "m", vec![]),
        node(
            "ConstantOfShape",
            &["one"],
            "z",
            vec![value("value", raw_halves("", &[1], &[0.25]))],
        ),
        node("Add", &["m", "z"], "a", vec![]),
        node("If", &["yes"], "i", then_else),
        node("CastLike", &["e", "i"], "l", vec![]),
        node("Add", &["i", "l"], "s", vec![]),
        call,
    ];
    if half_ends {
        nodes.insert(0, node("Identity", &["x"], "h", vec![]));
        nodes.push(node("Identity", &["d"], "y", vec![]));
    } else {
        nodes.insert(0, node("Cast", &["x"], "h", vec![int("to", HALF)]));
        nodes.push(node("Cast", &["d"], "y", vec![int("to", SINGLE)]));
    }
    let mut model = model(GraphProto {
        name: Some("half".to_owned()),
        node: nodes,
        initializer: vec![
            raw_halves("w", &[3, 3, 3, 3], &weights),
            listed_halves("b", &[3], &[0.5, -0.125, 0.0625]),
            int64s("one", &[1], &[1]),
            floats("e", &[1], &[0.375]),
            TensorProto {
                raw_data: Some(vec![1]),
                ..tensor("yes", DataType::Bool, &[])
            },
        ],
        input: vec![tensor_value("x", ends, &[1, 3, -1, -1])],
        output: vec![tensor_value("y", ends, &[1, 3, -1, -1])],
        value_info: vec![tensor_value("c", DataType::Float16, &[1, 3, -1, -1])],
        ..Default::default()
    });
    model.opset_import.push(operators("of.this.model", 1));
    model.functions.push(doubling());
    model
}

/// What ONNX Runtime makes of a picture of 3 × 9 × 11 values.
fn run(model: &[u8]) -> Vec<f32> {
    let mut session = session(model);
    let picture: Vec<f32> = (0..3 * 9 * 11)
        .map(|i| (i as f32 * 0.37).sin() * 0.5 + 0.5)
        .collect();
    let input = TensorRef::from_array_view(([1_usize, 3, 9, 11], picture.as_slice())).expect("a tensor");
    let outputs = session.run(ort::inputs![input]).expect("it runs");
    outputs[0]
        .try_extract_tensor::<f32>()
        .expect("single precision")
        .1
        .to_vec()
}

fn greatest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The network ends in values of up to about 4, whose half-precision steps are 2⁻⁹ to 2⁻⁸; a few roundings add up.
const HALF_PRECISION_ERROR: f32 = 4.0 / 256.0;

#[test]
fn a_widened_network_computes_what_it_computed_but_more_exactly() {
    let half = encode(&half_network(false));
    let single = widen(&half).expect("it is widened");
    let (before, after) = (run(&half), run(&single));
    let difference = greatest_difference(&before, &after);
    assert!(difference < HALF_PRECISION_ERROR, "{difference}");
    assert!(
        difference > 0.0,
        "the network really computes in single precision"
    );
    let spread = after.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(spread > 0.5, "the network does something: {spread}");
}

#[test]
fn half_precision_at_the_ends_becomes_single_too() {
    let half = encode(&half_network(true));
    let told = inspect(&half, None).expect("a model");
    assert_eq!(
        (told.input_type, told.output_type),
        (ElementType::F16, ElementType::F16)
    );
    let single = widen(&half).expect("it is widened");
    let told = inspect(&single, None).expect("a model");
    assert_eq!(
        (told.input_type, told.output_type),
        (ElementType::F32, ElementType::F32)
    );
    assert!(!told.half_weights);
    let cast = widen(&encode(&half_network(false))).expect("it is widened");
    assert_eq!(run(&single), run(&cast));
}

#[test]
fn nothing_of_half_precision_is_left_anywhere() {
    let single = decode(&widen(&encode(&half_network(true))).expect("it is widened")).expect("a model");
    // In the debug output every element type, cast target and parameter is a number behind its name.
    let text = format!("{single:?}");
    for trace in ["data_type: Some(10)", "elem_type: Some(10)", "i: Some(10)"] {
        assert!(!text.contains(trace), "{trace}");
    }
}

#[test]
fn a_single_precision_model_is_left_alone() {
    for (name, bytes) in built_in() {
        assert!(widen(&bytes).expect("a model") == bytes, "{name} changed");
    }
}

#[test]
fn an_integer_that_happens_to_be_ten_is_no_type() {
    let mut model = half_network(false);
    graph(&mut model)
        .node
        .push(node("Softmax", &["y"], "p", vec![int("axis", HALF)]));
    let single = decode(&widen(&encode(&model)).expect("it is widened")).expect("a model");
    let last = single.graph.expect("a graph").node.pop().expect("a node");
    assert_eq!(last.attribute[0].i, Some(HALF));
}

#[test]
fn what_cannot_be_widened_is_refused() {
    let mut odd = half_network(false);
    graph(&mut odd).initializer[0].raw_data = Some(vec![0; 161]);
    assert!(matches!(widen(&encode(&odd)), Err(OnnxError::Weights { .. })));

    let mut outside = half_network(false);
    graph(&mut outside).initializer[0].raw_data = None;
    graph(&mut outside).initializer[0].data_location = Some(DataLocation::External.into());
    assert!(matches!(widen(&encode(&outside)), Err(OnnxError::NotEmbedded(_))));

    let mut bits = half_network(false);
    graph(&mut bits)
        .node
        .push(node("BitCast", &["h"], "n", vec![int("to", 4)]));
    assert!(matches!(widen(&encode(&bits)), Err(OnnxError::NotWidenable(_))));

    let mut chain = half_network(false);
    for i in 0..40 {
        let mut link = doubling();
        link.name = Some(format!("F{i}"));
        link.node[0].domain = Some("of.this.model".to_owned());
        link.node[0].op_type = Some(format!("F{}", i + 1));
        link.node[0].attribute[0].name = Some("kind".to_owned());
        chain.functions.push(link);
    }
    chain.functions.push(FunctionProto {
        name: Some("F40".to_owned()),
        ..doubling()
    });
    assert!(matches!(widen(&encode(&chain)), Err(OnnxError::Absurd(_))));
}
