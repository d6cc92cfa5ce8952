use half::f16;

use super::super::proto::*;
use super::super::{ElementType, OnnxError, encode, inspect, narrow, rounded};
use super::narrow::{convolution, decibels, narrowed, network, picture, run, run_in, weights};
use super::widen::half_network;
use super::*;

/// To half precision and back.
fn round(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// A network with a weight that half precision has not, and a sum that it has not either: between 1024 and 2048 its
/// numbers are whole. What is left of the picture is black and white, with a tenth of the picture on top.
fn rough() -> ModelProto {
    let nodes = vec![
        node("Mul", &["x", "tenth"], "m", vec![]),
        node("Add", &["x", "many"], "s", vec![]),
        node("Sub", &["s", "many"], "d", vec![]),
        node("Add", &["d", "m"], "y", vec![]),
    ];
    let numbers = vec![
        floats("tenth", &[1, 3, 1, 1], &[0.1, 0.1, 0.1]),
        floats("many", &[], &[1024.0]),
    ];
    network(nodes, numbers)
}

/// What half precision makes of [`picture`] in [`rough`].
fn due() -> Vec<f32> {
    let rough = |x: f32| {
        let x = round(x);
        let whole = round(round(x + 1024.0) - 1024.0);
        round(whole + round(x * round(0.1)))
    };
    picture().into_iter().map(rough).collect()
}

/// The reason for it all: how near half precision comes is measured where ONNX Runtime would compute it in single.
#[test]
fn every_weight_and_every_result_is_rounded_whatever_the_optimiser_does() {
    let rough = encode(&rough());
    let rounded = rounded(&rough).expect("it is rounded");
    for level in [GraphOptimizationLevel::Disable, GraphOptimizationLevel::All] {
        assert_eq!(run_in(session_at(level, &rounded)).1, due());
    }
    let apart = run(&rough)
        .1
        .into_iter()
        .zip(due())
        .map(|(smooth, due)| (smooth - due).abs());
    assert!(
        apart.fold(0.0, f32::max) > 0.4,
        "it does not come to that by itself"
    );
}

#[test]
fn a_network_that_is_half_precision_already_is_rounded_likewise() {
    let single = encode(&rough());
    let half = narrow(&single).expect("it is narrowed");
    assert_eq!(
        rounded(&half).expect("it is rounded"),
        rounded(&single).expect("it is rounded")
    );
}

/// The session feeds single precision, and the network would have got half.
#[test]
fn what_comes_in_in_half_precision_is_rounded_too() {
    let mut model = network(vec![node("Mul", &["x", "one"], "y", vec![])], vec![]);
    graph(&mut model).initializer.push(TensorProto {
        raw_data: Some(f16::ONE.to_le_bytes().to_vec()),
        ..tensor("one", DataType::Float16, &[])
    });
    graph(&mut model).input[0] = tensor_value("x", DataType::Float16, &[-1, 3, -1, -1]);
    graph(&mut model).output[0] = tensor_value("y", DataType::Float16, &[-1, 3, -1, -1]);
    let rounded = rounded(&encode(&model)).expect("it is rounded");
    let told = inspect(&rounded, None).expect("a model");
    assert_eq!(
        (told.input_type, told.output_type),
        (ElementType::F32, ElementType::F32)
    );
    let due: Vec<f32> = picture().into_iter().map(round).collect();
    assert_eq!(run(&rounded).1, due);
    assert_ne!(due, picture());
}

/// Half precision's largest number is 65504: a network that exceeds it shows it.
#[test]
fn a_result_beyond_half_precision_is_infinite() {
    let nodes = vec![
        node("Mul", &["x", "many"], "m", vec![]),
        node("Mul", &["m", "many"], "y", vec![]),
    ];
    let model = encode(&network(nodes, vec![floats("many", &[], &[1024.0])]));
    assert!(
        run(&rounded(&model).expect("it is rounded"))
            .1
            .contains(&f32::INFINITY)
    );
}

#[test]
fn the_built_in_models_round_and_stay_near() {
    for (file, bytes) in built_in() {
        let single = run(&bytes).1;
        let near = decibels(&run(&rounded(&bytes).expect("it is rounded")).1, &single);
        let nearly_single = decibels(&run(&narrow(&bytes).expect("it is narrowed")).1, &single);
        assert!(
            near > 40.0 && near < nearly_single - 3.0,
            "{file}: {near} dB, {nearly_single} dB"
        );
    }
}

/// ONNX Runtime refuses two nodes of one name, and exporters name nodes after what they give.
#[test]
fn nodes_named_after_what_they_give_are_no_hindrance() {
    let mut model = network(
        vec![convolution("x", "m"), convolution("m", "y")],
        vec![weights()],
    );
    for node in &mut graph(&mut model).node {
        node.name = node.output.first().cloned();
    }
    run(&encode(&narrowed(&model)));
    run(&rounded(&encode(&model)).expect("it is rounded"));
}

#[test]
fn a_network_without_anything_to_round_comes_back_as_it_is() {
    let nodes = vec![node("Pow", &["x", "two"], "y", vec![])];
    let bytes = encode(&network(nodes, vec![floats("two", &[], &[2.0])]));
    assert_eq!(rounded(&bytes).expect("a model"), bytes);
}

#[test]
fn a_half_precision_network_of_unknown_parts_is_refused() {
    let refused = |model: &ModelProto, with: &str| match rounded(&encode(model)) {
        Err(error @ OnnxError::NotNarrowable(_)) => assert!(error.to_string().contains(with), "{error}"),
        other => panic!("{with}: {other:?}"),
    };
    let mut own = half_network(false);
    refused(&own, "functions of its own");
    own.functions.clear();
    refused(&own, "\"If\" has a graph inside");
    let mut odd = narrowed(&rough());
    graph(&mut odd).node.push(node("Nonsense", &["m"], "z", vec![]));
    refused(&odd, "operator \"Nonsense\" is not known");
    let mut twice = narrowed(&rough());
    graph(&mut twice).node.push(node("Relu", &["x"], "m", vec![]));
    refused(&twice, "several values \"m\"");
    let mut old = narrowed(&rough());
    old.opset_import = vec![operators("", 6)];
    refused(&old, "version 6");
}
