use ort::value::TensorRef;

use super::super::proto::*;
use super::super::{Adapt, ElementType, OnnxError, adapt, decode, encode, inspect, note};
use super::*;

const RGB: Adapt = Adapt { bgr: false };
const BGR: Adapt = Adapt { bgr: true };

/// A network that tells its channels apart: each is multiplied by a number of its own. Takes and gives this type on
/// these axes, the channels on that of length 3, or on the second.
pub(super) fn network(kind: DataType, dims: &[i64]) -> ModelProto {
    let factors_dims: &[i64] = if dims[3] == 3 {
        &[1, 1, 1, 3]
    } else {
        &[1, 3, 1, 1]
    };
    model(GraphProto {
        name: Some("factors".to_owned()),
        node: vec![
            node("Cast", &["input"], "f", vec![int("to", DataType::Float as i64)]),
            node("Mul", &["f", "factors"], "m", vec![]),
            node("Cast", &["m"], "output", vec![int("to", kind as i64)]),
        ],
        initializer: vec![floats("factors", factors_dims, &[1.0, 0.5, 0.25])],
        input: vec![tensor_value("input", kind, dims)],
        output: vec![tensor_value("output", kind, dims)],
        ..Default::default()
    })
}

/// [`network`] on bytes.
pub(super) fn byte_network(dims: &[i64]) -> ModelProto {
    network(DataType::Uint8, dims)
}

/// What the model makes of one picture of these axes.
fn run(model: &[u8], dims: [usize; 4], picture: &[f32]) -> (Vec<i64>, Vec<f32>) {
    let mut session = session(model);
    let input = TensorRef::from_array_view((dims, picture)).expect("a tensor");
    let outputs = session.run(ort::inputs!["input" => input]).expect("it runs");
    let (shape, values) = outputs["output"]
        .try_extract_tensor::<f32>()
        .expect("single precision");
    (shape.to_vec(), values.to_vec())
}

/// The rewritten model, which needs nothing more.
fn adapted(model: &ModelProto, wishes: &Adapt) -> Vec<u8> {
    let bytes = adapt(&encode(model), wishes).expect("it is adapted");
    assert_eq!(adapt(&bytes, &RGB).expect("it is fed"), bytes, "once is enough");
    bytes
}

#[test]
fn a_model_that_is_fed_as_it_is_comes_back_byte_for_byte() {
    let half = encode(&network(DataType::Float16, &[-1, 3, -1, -1]));
    let single = encode(&network(DataType::Float, &[1, -1, -1, 3]));
    for bytes in [half, single]
        .into_iter()
        .chain(built_in().into_iter().map(|(_, bytes)| bytes))
    {
        assert_eq!(adapt(&bytes, &RGB).expect("a model"), bytes);
    }
}

#[test]
fn what_is_no_upscaler_is_left_to_inspect_which_says_why() {
    let mut several = byte_network(&[1, 3, 4, 4]);
    graph(&mut several)
        .input
        .push(tensor_value("more", DataType::Float, &[1]));
    let mut silent = byte_network(&[1, 3, 4, 4]);
    graph(&mut silent).output.clear();
    let mut flat = byte_network(&[1, 3, 4, 4]);
    graph(&mut flat).input = vec![tensor_value("input", DataType::Uint8, &[4, 4])];
    let mut given_twice = byte_network(&[1, 3, 4, 4]);
    graph(&mut given_twice)
        .node
        .push(node("Identity", &["m"], "output", vec![]));
    let mut empty = byte_network(&[1, 3, 4, 4]);
    empty.graph = None;
    for model in [several, silent, flat, given_twice, empty] {
        let bytes = encode(&model);
        assert_eq!(adapt(&bytes, &BGR).expect("no judgement"), bytes);
        assert!(inspect(&bytes, None).is_err());
    }
}

#[test]
fn bytes_are_fed_as_numbers_rounded_and_bounded() {
    for version in [9, 17] {
        let mut model = byte_network(&[1, 3, -1, -1]);
        model.opset_import = vec![operators("", version)];
        let bytes = adapted(&model, &RGB);
        let told = inspect(&bytes, None).expect("a model");
        assert_eq!(
            (told.input_type, told.output_type),
            (ElementType::F32, ElementType::F32)
        );
        assert_eq!((told.input.as_str(), told.output.as_str()), ("input", "output"));
        let picture = [
            -7.0, 0.4, 99.6, 300.0, 10.0, 20.0, 30.0, 255.0, 4.0, 8.0, 12.0, 200.0,
        ];
        let (_, values) = run(&bytes, [1, 3, 2, 2], &picture);
        assert_eq!(
            values,
            [
                0.0, 0.0, 100.0, 255.0, 5.0, 10.0, 15.0, 127.0, 1.0, 2.0, 3.0, 50.0
            ]
        );
    }
}

#[test]
fn double_precision_is_cast() {
    let bytes = adapted(&network(DataType::Double, &[1, 3, -1, -1]), &RGB);
    let (_, values) = run(&bytes, [1, 3, 1, 1], &[0.5, 0.5, 0.5]);
    assert_eq!(values, [0.5, 0.25, 0.125]);
}

#[test]
fn a_fixed_batch_is_fed_one_picture_and_gives_one() {
    for kind in [DataType::Float, DataType::Uint8] {
        let bytes = adapted(&network(kind, &[5, 3, 2, 2]), &RGB);
        let told = inspect(&bytes, None).expect("a model");
        assert_eq!((told.input_dims[0], told.output_dims[0]), (Some(1), Some(1)));
        let picture: Vec<f32> = (1..=12).map(|i| (i * 4) as f32).collect();
        let (shape, values) = run(&bytes, [1, 3, 2, 2], &picture);
        assert_eq!(shape, [1, 3, 2, 2]);
        let due = [4, 8, 12, 16, 10, 12, 14, 16, 9, 10, 11, 12].map(|value| value as f32);
        assert_eq!(values, due);
    }
}

/// The factors 1, 1/2, 1/4 go with blue, green, red then.
#[test]
fn blue_first_is_red_first_outside_wherever_the_channels_are() {
    let cases: [(&[i64], [usize; 4]); 4] = [
        (&[1, 3, -1, -1], [1, 3, 1, 1]),
        (&[-1, -1, -1, -1], [1, 3, 1, 1]),
        (&[1, -1, -1, 3], [1, 1, 1, 3]),
        (&[4, 3, -1, -1], [1, 3, 1, 1]),
    ];
    for (dims, fed) in cases {
        let model = network(DataType::Float, dims);
        let bytes = adapted(&model, &BGR);
        let (_, values) = run(&bytes, fed, &[0.5, 0.5, 1.0]);
        assert_eq!(values, [0.125, 0.25, 1.0], "{dims:?}");
    }
}

/// The outer values are visible in a branch: it has to follow when they get another name.
#[test]
fn branches_follow_the_new_names() {
    let branch = |name: &str| GraphProto {
        name: Some(name.to_owned()),
        node: vec![node("Add", &["input", "output"], name, vec![])],
        output: vec![tensor_value(name, DataType::Float, &[-1, -1, -1, -1])],
        ..Default::default()
    };
    let mut model = network(DataType::Float, &[2, 3, -1, -1]);
    graph(&mut model).initializer.push(TensorProto {
        raw_data: Some(vec![1]),
        ..tensor("yes", DataType::Bool, &[])
    });
    graph(&mut model).node.push(node(
        "If",
        &["yes"],
        "also",
        vec![
            subgraph("then_branch", branch("then")),
            subgraph("else_branch", branch("else")),
        ],
    ));
    graph(&mut model)
        .output
        .push(tensor_value("also", DataType::Float, &[2, 3, -1, -1]));
    let bytes = adapted(&model, &BGR);
    let mut session = session(&bytes);
    let picture = [0.5_f32, 0.5, 1.0];
    let input = TensorRef::from_array_view(([1_usize, 3, 1, 1], &picture[..])).expect("a tensor");
    let outputs = session.run(ort::inputs!["input" => input]).expect("it runs");
    let also = outputs["also"]
        .try_extract_tensor::<f32>()
        .expect("single precision")
        .1;
    assert_eq!(
        also,
        [2.0, 0.75, 0.625, 2.0, 0.75, 0.625],
        "as inside: blue first, two of it"
    );
}

#[test]
fn names_and_facts_survive() {
    let mut model = byte_network(&[3, 3, -1, -1]);
    model.metadata_props = vec![entry("license", "MIT")];
    // Names that the new values would have.
    graph(&mut model).node[0].output = vec!["input_cast".to_owned()];
    graph(&mut model).node[1].input[0] = "input_cast".to_owned();
    graph(&mut model).node[1].output = vec!["output_inside".to_owned()];
    graph(&mut model).node[2].input[0] = "output_inside".to_owned();
    graph(&mut model)
        .value_info
        .push(tensor_value("input", DataType::Uint8, &[3, 3, -1, -1]));
    let bytes = adapted(&model, &BGR);
    let told = inspect(&bytes, None).expect("a model");
    assert_eq!((told.input.as_str(), told.output.as_str()), ("input", "output"));
    assert_eq!(told.licence.as_deref(), Some("MIT"));
    assert_eq!(
        run(&bytes, [1, 3, 1, 1], &[100.0, 100.0, 200.0]).1,
        [25.0, 50.0, 200.0]
    );
}

#[test]
fn what_cannot_be_fed_is_refused_in_a_sentence() {
    let sentence = |model: &ModelProto, wishes| match adapt(&encode(model), wishes) {
        Err(error @ OnnxError::NotAdaptable(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let grey = network(DataType::Float, &[1, 1, -1, -1]);
    assert_eq!(
        sentence(&grey, &BGR),
        "it cannot be fed: blue first is for three channels, and its input \"input\" has 1"
    );
    let crowd = network(DataType::Float, &[1 << 40, 3, -1, -1]);
    assert!(sentence(&crowd, &RGB).contains("1099511627776 pictures at once"));
    let mut old = byte_network(&[1, 3, -1, -1]);
    old.opset_import = vec![operators("", 6)];
    assert!(sentence(&old, &RGB).contains("version 6"));
}

/// ONNX Runtime takes weights that are not listed among the inputs from version 4 of the format on.
#[test]
fn the_weights_of_old_exporters_are_no_inputs_afterwards() {
    let mut model = byte_network(&[1, 3, -1, -1]);
    model.ir_version = Some(3);
    graph(&mut model)
        .input
        .push(tensor_value("factors", DataType::Float, &[1, 3, 1, 1]));
    let model = decode(&adapted(&model, &RGB)).expect("a model");
    assert_eq!(model.ir_version, Some(4));
    assert_eq!(model.graph.expect("a graph").input.len(), 1);
}

#[test]
fn facts_replace_those_of_the_same_key_in_every_spelling() {
    let bytes = changed(|model| {
        model.metadata_props = vec![
            entry("Licence", "unknown"),
            entry("scale", "2"),
            entry("source", "a"),
        ];
    });
    assert_eq!(note(&bytes, &[]).expect("a model"), bytes);
    assert_eq!(note(&bytes, &[("source", "a")]).expect("a model"), bytes);
    let noted = note(&bytes, &[("license", "MIT"), ("source", "b")]).expect("a model");
    let told = inspect(&noted, None).expect("a model");
    assert_eq!(told.licence.as_deref(), Some("MIT"));
    let facts = decode(&noted).expect("a model").metadata_props;
    assert_eq!(
        facts,
        [entry("scale", "2"), entry("license", "MIT"), entry("source", "b")]
    );
}
