use ort::value::TensorRef;

use super::super::proto::*;
use super::super::{ElementType, OnnxError, decode, encode, inspect, narrow};
use super::widen::half_network;
use super::*;

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// What the model makes of [`picture`].
pub(super) fn run(model: &[u8]) -> (Vec<i64>, Vec<f32>) {
    run_in(session(model))
}

/// A picture of 3 × 9 × 11 values between 0 and 1.
pub(super) fn picture() -> Vec<f32> {
    let value = |i| (i as f32 * 0.37).sin() * 0.5 + 0.5;
    (0..3 * 9 * 11).map(value).collect()
}

/// What the model of this session makes of [`picture`].
pub(super) fn run_in(mut session: Session) -> (Vec<i64>, Vec<f32>) {
    let picture = picture();
    let input = TensorRef::from_array_view(([1_usize, 3, 9, 11], picture.as_slice())).expect("a tensor");
    let outputs = session.run(ort::inputs![input]).expect("it runs");
    let (shape, values) = outputs[0].try_extract_tensor::<f32>().expect("single precision");
    (shape.to_vec(), values.to_vec())
}

/// PSNR in decibels of values between 0 and 1.
pub(super) fn decibels(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    -10.0 * (squares / a.len() as f64).log10()
}

/// A network of these nodes from `x` to `y`, with these weights.
pub(super) fn network(nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> ModelProto {
    model(GraphProto {
        name: Some("single".to_owned()),
        node: nodes,
        initializer: weights,
        input: vec![tensor_value("x", DataType::Float, &[-1, 3, -1, -1])],
        output: vec![tensor_value("y", DataType::Float, &[-1, 3, -1, -1])],
        ..Default::default()
    })
}

pub(super) fn weights() -> TensorProto {
    let values: Vec<f32> = (0..81).map(|i| (i as f32 * 0.7).sin() * 0.1).collect();
    floats("w", &[3, 3, 3, 3], &values)
}

pub(super) fn convolution(input: &str, output: &str) -> NodeProto {
    node("Conv", &[input, "w"], output, vec![ints("pads", &[1, 1, 1, 1])])
}

pub(super) fn narrowed(model: &ModelProto) -> ModelProto {
    decode(&narrow(&encode(model)).expect("it is narrowed")).expect("a model")
}

/// The nodes of an operator.
fn all<'a>(model: &'a ModelProto, operator: &str) -> Vec<&'a NodeProto> {
    let graph = model.graph.as_ref().expect("a graph");
    let wanted = |node: &&NodeProto| node.op_type.as_deref() == Some(operator);
    graph.node.iter().filter(wanted).collect()
}

fn weight<'a>(model: &'a ModelProto, name: &str) -> &'a TensorProto {
    let graph = model.graph.as_ref().expect("a graph");
    let wanted = |tensor: &&TensorProto| tensor.name.as_deref() == Some(name);
    graph
        .initializer
        .iter()
        .find(wanted)
        .expect("a weight of that name")
}

fn halves(tensor: &TensorProto) -> Vec<f32> {
    assert_eq!(tensor.data_type, Some(HALF));
    let raw = tensor.raw_data.as_deref().expect("raw values");
    let values = raw
        .chunks_exact(2)
        .map(|bytes| half::f16::from_le_bytes([bytes[0], bytes[1]]));
    values.map(half::f16::to_f32).collect()
}

/// Refused, with this in the sentence.
fn refused(model: &ModelProto, with: &str) {
    match narrow(&encode(model)) {
        Err(error @ OnnxError::NotNarrowable(_)) => {
            let sentence = error.to_string();
            assert!(sentence.contains(with), "{sentence}");
        }
        other => panic!("{with}: {other:?}"),
    }
}

#[test]
fn the_built_in_models_halve_and_still_do_what_they_did() {
    for (file, bytes) in built_in() {
        let half = narrow(&bytes).expect("it is narrowed");
        assert!(half.len() * 19 < bytes.len() * 10, "{file}: {}", half.len());
        let told = inspect(&half, None).expect("a model");
        assert!(told.half_weights);
        assert_eq!(
            (told.input_type, told.output_type),
            (ElementType::F32, ElementType::F32)
        );
        let model = decode(&half).expect("a model");
        assert_eq!(
            all(&model, "Cast").len(),
            2,
            "one behind the input and one before the output"
        );
        assert_eq!(
            model.metadata_props,
            decode(&bytes).expect("a model").metadata_props
        );
        // Of a pattern that no photograph has, and that drives the network hard: those reach 70 and more.
        let near = decibels(&run(&half).1, &run(&bytes).1);
        assert!(near > 45.0 && near.is_finite(), "{file}: {near} dB");
        assert_eq!(narrow(&half).expect("a model"), half, "once is enough");
    }
}

#[test]
fn a_half_precision_model_comes_back_as_it_is() {
    for ends in [false, true] {
        let bytes = encode(&half_network(ends));
        assert_eq!(narrow(&bytes).expect("a model"), bytes);
    }
}

#[test]
fn factors_of_sizes_stay_single_precision() {
    let scales = floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let nodes = vec![
        convolution("x", "c"),
        node("Resize", &["c", "", "scales"], "y", vec![]),
    ];
    let model = network(nodes, vec![weights(), scales]);
    let half = narrowed(&model);
    assert_eq!(weight(&half, "scales").data_type, Some(SINGLE));
    assert_eq!(all(&half, "Resize")[0].input, ["c", "", "scales"]);
    assert_eq!(run(&encode(&half)).0, [1, 3, 18, 22]);
}

/// Half precision has no 2049: a picture of that width would come out too narrow.
#[test]
fn arithmetic_on_sizes_stays_single_precision() {
    let nodes = vec![
        convolution("x", "c"),
        node("Shape", &["c"], "s", vec![]),
        node("Cast", &["s"], "f", vec![int("to", DataType::Float as i64)]),
        node("Mul", &["f", "factors"], "g", vec![]),
        node("Floor", &["g"], "h", vec![]),
        node("Cast", &["h"], "i", vec![int("to", DataType::Int64 as i64)]),
        node("Resize", &["c", "", "", "i"], "y", vec![]),
    ];
    let factors = floats("factors", &[4], &[1.0, 1.0, 3.0, 3.0]);
    let half = narrowed(&network(nodes, vec![weights(), factors]));
    assert_eq!(all(&half, "Mul")[0].input, ["f", "factors"]);
    assert_eq!(all(&half, "Floor")[0].input, ["g"]);
    assert_eq!(
        all(&half, "Cast").len(),
        4,
        "the two that were there, and the two ends"
    );
    assert_eq!(run(&encode(&half)).0, [1, 3, 27, 33]);
}

#[test]
fn numbers_beyond_half_precision_are_computed_with_in_single() {
    let nodes = vec![
        convolution("x", "c"),
        node("Mul", &["c", "million"], "m", vec![]),
        node("Add", &["m", "million"], "a", vec![]),
        node("Div", &["a", "million"], "d", vec![]),
        convolution("d", "y"),
    ];
    let model = network(nodes, vec![weights(), floats("million", &[], &[1e6])]);
    let half = narrowed(&model);
    assert_eq!(weight(&half, "million").data_type, Some(SINGLE));
    assert_eq!(
        all(&half, "Cast").len(),
        4,
        "between the convolutions, and at the ends"
    );
    let near = decibels(&run(&encode(&half)).1, &run(&encode(&model)).1);
    assert!(near > 60.0, "{near} dB");
}

#[test]
fn bounds_beyond_half_precision_are_none() {
    let nodes = vec![
        convolution("x", "c"),
        node("Clip", &["c", "zero", "most"], "y", vec![]),
    ];
    let bounds = vec![
        weights(),
        floats("zero", &[], &[0.0]),
        floats("most", &[], &[f32::MAX]),
    ];
    let half = narrowed(&network(nodes, bounds));
    assert_eq!(halves(weight(&half, "most_half")), [f32::INFINITY]);
}

#[test]
fn what_keeps_a_divisor_from_zero_does_so_in_half_precision() {
    let nodes = vec![
        convolution("x", "c"),
        node("Add", &["c", "epsilon"], "e", vec![]),
        node("Mul", &["e", "few"], "y", vec![]),
    ];
    let few = floats("few", &[1, 3, 1, 1], &[1e-12, 2.0, -3e-8]);
    let half = narrowed(&network(
        nodes,
        vec![weights(), few, floats("epsilon", &[], &[1e-12])],
    ));
    let least = 2_f32.powi(-24);
    assert_eq!(halves(weight(&half, "epsilon_half")), [least]);
    assert_eq!(
        halves(weight(&half, "few_half")),
        [0.0, 2.0, -least],
        "weights round"
    );
}

/// A square exceeds the range of half precision long before its root does.
#[test]
fn squares_and_what_becomes_of_them_are_single_precision() {
    let nodes = vec![
        convolution("x", "c"),
        node("Mul", &["c", "many"], "m", vec![]),
        node("Pow", &["m", "two"], "p", vec![]),
        node("ReduceMean", &["p"], "r", vec![ints("axes", &[1])]),
        node("Sqrt", &["r"], "s", vec![]),
        node("Div", &["m", "s"], "y", vec![]),
    ];
    let numbers = vec![weights(), floats("many", &[], &[6e4]), floats("two", &[], &[2.0])];
    let model = network(nodes, numbers);
    let half = narrowed(&model);
    assert_eq!(all(&half, "Pow")[0].input, ["m_single", "two"]);
    assert_eq!(all(&half, "ReduceMean")[0].input, ["p"]);
    assert_eq!(all(&half, "Sqrt")[0].input, ["r"]);
    assert_eq!(all(&half, "Div")[0].input, ["m", "s_half"]);
    let near = decibels(&run(&encode(&half)).1, &run(&encode(&model)).1);
    assert!(near > 50.0, "{near} dB");
}

#[test]
fn constants_in_nodes_are_weights_too() {
    let listed = AttributeProto {
        floats: vec![0.1, 0.2, 0.3],
        r#type: Some(AttributeType::Floats.into()),
        ..attribute("value_floats")
    };
    let nodes = vec![
        node("Constant", &[], "w", vec![value("value", weights())]),
        node("Identity", &["w"], "v", vec![]),
        node("Constant", &[], "b", vec![listed]),
        node("Conv", &["x", "v", "b"], "y", vec![ints("pads", &[1, 1, 1, 1])]),
    ];
    let model = network(nodes, vec![]);
    let half = narrowed(&model);
    assert!(all(&half, "Constant").is_empty() && all(&half, "Identity").is_empty());
    assert_eq!(half.graph.as_ref().expect("a graph").initializer.len(), 2);
    let near = decibels(&run(&encode(&half)).1, &run(&encode(&model)).1);
    assert!(near > 60.0, "{near} dB");
}

#[test]
fn new_names_are_new_and_stated_types_true() {
    let nodes = vec![
        node("Add", &["x", "x"], "x_half", vec![]),
        convolution("x_half", "y_half"),
        node("Add", &["y_half", "x"], "y", vec![]),
    ];
    let mut model = network(nodes, vec![weights()]);
    model.ir_version = Some(3);
    graph(&mut model)
        .input
        .push(tensor_value("w", DataType::Float, &[3, 3, 3, 3]));
    graph(&mut model).value_info = vec![
        tensor_value("y_half", DataType::Float, &[-1, 3, -1, -1]),
        tensor_value("y", DataType::Float, &[-1, 3, -1, -1]),
    ];
    let half = narrowed(&model);
    let told = half.graph.as_ref().expect("a graph").value_info.as_slice();
    assert_eq!(
        told[0],
        tensor_value("y_half", DataType::Float16, &[-1, 3, -1, -1])
    );
    assert_eq!(told[1], tensor_value("y", DataType::Float, &[-1, 3, -1, -1]));
    assert_eq!(
        half.ir_version,
        Some(4),
        "from here on weights need not be listed as inputs"
    );
    assert_eq!(half.graph.as_ref().expect("a graph").input.len(), 1);
    run(&encode(&half));
}

#[test]
fn a_network_without_anything_to_narrow_comes_back_as_it_is() {
    let nodes = vec![node("Pow", &["x", "two"], "y", vec![])];
    let bytes = encode(&network(nodes, vec![floats("two", &[], &[2.0])]));
    assert_eq!(narrow(&bytes).expect("a model"), bytes);
}

#[test]
fn what_cannot_be_narrowed_is_refused_in_a_sentence() {
    let plain = || network(vec![convolution("x", "y")], vec![weights()]);
    let with = |extra: NodeProto| {
        let mut model = plain();
        graph(&mut model).node.push(extra);
        model
    };
    let branch = subgraph("then_branch", GraphProto::default());
    refused(
        &with(node("If", &["x"], "z", vec![branch])),
        "\"If\" has a graph inside",
    );
    refused(
        &with(node("Nonsense", &["x"], "z", vec![])),
        "operator \"Nonsense\" is not known",
    );
    let foreign = NodeProto {
        domain: Some("com.microsoft".to_owned()),
        ..node("Gelu", &["x"], "z", vec![])
    };
    refused(&with(foreign), "operator \"Gelu\" is not known");
    refused(
        &with(node("Relu", &["nothing"], "z", vec![])),
        "nothing gives its value \"nothing\"",
    );
    refused(&with(node("Relu", &["x"], "y", vec![])), "several values \"y\"");
    refused(&with(node("Relu", &[], "z", vec![])), "lacks an input");
    refused(&with(node("Constant", &[], "z", vec![])), "without a value");
    let mut own = plain();
    own.functions.push(FunctionProto::default());
    refused(&own, "functions");
    let mut old = plain();
    old.opset_import = vec![operators("", 6)];
    refused(&old, "version 6");

    let mut outside = plain();
    graph(&mut outside).initializer[0].data_location = Some(DataLocation::External.into());
    assert!(matches!(
        narrow(&encode(&outside)),
        Err(OnnxError::NotEmbedded(_))
    ));
    let mut short = plain();
    graph(&mut short).initializer[0].float_data.pop();
    assert!(matches!(narrow(&encode(&short)), Err(OnnxError::Weights { .. })));
}
