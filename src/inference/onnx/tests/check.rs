use super::super::proto::*;
use super::super::{ElementType, ModelFile, OnnxError, encode, inspect};
use super::*;

fn refusal(bytes: &[u8]) -> String {
    inspect(bytes, None).expect_err("it is refused").to_string()
}

#[test]
fn the_built_in_models_are_upscalers_in_single_precision() {
    for (name, bytes) in built_in() {
        let file = inspect(&bytes, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (file.input_type, file.output_type),
            (ElementType::F32, ElementType::F32),
            "{name}"
        );
        assert_eq!(file.input_dims[1], Some(3), "{name}");
        assert!(file.input_dims[2..].iter().all(Option::is_none), "{name}");
        assert!(!file.half_weights && file.external_files.is_empty(), "{name}");
        let share = file.weights_bytes as f64 / bytes.len() as f64;
        assert!(
            (0.9..1.0).contains(&share),
            "{name}: {} bytes of weights",
            file.weights_bytes
        );
    }
}

#[test]
fn a_model_tells_what_it_is() {
    let bytes = changed(|model| {
        model.producer_version = Some("1.2".to_owned());
        model.metadata_props = vec![entry("License", "CC0\nreally"), entry("author", "Somebody")];
        graph(model).input[0] = tensor_value("x", DataType::Float16, &[1, 3, -1, 64]);
        graph(model)
            .output
            .push(tensor_value("second", DataType::Int64, &[2]));
    });
    assert_eq!(
        inspect(&bytes, None).expect("a model"),
        ModelFile {
            input: "x".to_owned(),
            output: "y".to_owned(),
            input_type: ElementType::F16,
            output_type: ElementType::F32,
            input_dims: [Some(1), Some(3), None, Some(64)],
            output_dims: [None, Some(3), None, None],
            half_weights: false,
            weights_bytes: 16,
            external_files: vec![],
            opset: 17,
            producer: Some("a test 1.2".to_owned()),
            licence: Some("CC0\\nreally".to_owned()),
            source: None,
            author: Some("Somebody".to_owned()),
            description: None,
        }
    );
}

#[test]
fn a_weight_that_old_exporters_list_as_an_input_is_none() {
    let bytes = changed(|model| {
        graph(model)
            .input
            .push(tensor_value("scales", DataType::Float, &[4]))
    });
    assert_eq!(inspect(&bytes, None).expect("a model").input, "x");
}

#[test]
fn half_precision_is_seen_in_constants_too() {
    let constant = TensorProto {
        raw_data: Some(vec![0, 0x3c]),
        ..tensor("", DataType::Float16, &[])
    };
    let bytes = changed(|model| {
        graph(model)
            .node
            .push(node("Constant", &[], "c", vec![value("value", constant)]))
    });
    assert!(inspect(&bytes, None).expect("a model").half_weights);
}

#[test]
fn an_operator_that_the_model_defines_itself_is_no_custom_one() {
    let custom = |model: &mut ModelProto| graph(model).node[0].domain = Some("my.own".to_owned());
    assert_eq!(
        refusal(&changed(custom)),
        "it needs custom operators (\"my.own.Resize\") that ONNX Runtime does not have; export it with standard \
         ones"
    );
    let bytes = changed(|model| {
        custom(model);
        model.functions.push(FunctionProto {
            name: Some("Resize".to_owned()),
            domain: Some("my.own".to_owned()),
            ..Default::default()
        });
    });
    assert!(inspect(&bytes, None).is_ok());
}

#[test]
fn a_custom_operator_inside_a_branch_is_found() {
    let inner = GraphProto {
        node: vec![NodeProto {
            domain: Some("far".to_owned()),
            ..node("Away", &[], "z", vec![])
        }],
        ..Default::default()
    };
    let bytes = changed(|model| {
        graph(model)
            .node
            .push(node("If", &["c"], "z", vec![subgraph("then_branch", inner)]))
    });
    assert!(refusal(&bytes).contains("\"far.Away\""));
}

#[test]
fn what_cannot_be_an_upscaler_is_refused_with_a_sentence() {
    let sequence = TypeValue::Sequence(SequenceType::default());
    let cases = [
        (
            changed(|m| m.graph = None),
            "it has no graph; export the model again",
        ),
        (
            changed(|m| graph(m).node.clear()),
            "it has no graph; export the model again",
        ),
        (
            changed(|m| m.opset_import.clear()),
            "it does not say which version of the ONNX operators it uses; export the model again",
        ),
        (
            changed(|m| graph(m).input.clear()),
            "it takes no input where one picture is due; only models with a single input can be used",
        ),
        (
            changed(|m| {
                graph(m)
                    .input
                    .push(tensor_value("strength", DataType::Float, &[1]))
            }),
            "it takes 2 inputs (\"x\", \"strength\") where one picture is due; only models with a single input can \
             be used",
        ),
        (
            changed(|m| graph(m).output.clear()),
            "it has no output; export the model again",
        ),
        (
            changed(|m| graph(m).input[0] = tensor_value("x", DataType::Float, &[1, 3, 8])),
            "its input \"x\" is a tensor of 3 axes where a tensor of four axes (batch, channels, height, width) is \
             due",
        ),
        (
            changed(|m| graph(m).output[0] = tensor_value("y", DataType::Float, &[1, 1000])),
            "its output \"y\" is a tensor of 2 axes where a tensor of four axes (batch, channels, height, width) is \
             due",
        ),
        (
            changed(|m| graph(m).input[0] = tensor_value("x", DataType::Uint8, &[1, 3, -1, -1])),
            "its input \"x\" is of uint8, where float32 or float16 is due",
        ),
        (
            changed(|m| {
                let types = graph(m).output[0].r#type.as_mut().expect("a type");
                types.value = Some(sequence);
            }),
            "its output \"y\" is a sequence where a tensor of four axes (batch, channels, height, width) is due",
        ),
        (
            changed(|m| graph(m).initializer[0].dims = vec![5]),
            "its weights \"scales\" are damaged (4 values where its shape needs 5); copy or download it again",
        ),
        (
            changed(|m| graph(m).initializer[0].dims = vec![i64::MAX, i64::MAX]),
            "its weights \"scales\" are damaged (the impossible shape [9223372036854775807, 9223372036854775807]); \
             copy or download it again",
        ),
        (
            changed(|m| graph(m).initializer[0].data_type = Some(77)),
            "its weights \"scales\" are damaged (elements of the unknown type 77); copy or download it again",
        ),
    ];
    for (bytes, sentence) in cases {
        assert_eq!(refusal(&bytes), sentence);
    }
}

#[test]
fn an_input_without_stated_shape_is_left_to_the_probe() {
    let bytes = changed(|model| {
        let types = graph(model).input[0].r#type.as_mut().expect("a type");
        let Some(TypeValue::Tensor(tensor)) = &mut types.value else {
            panic!("a tensor")
        };
        tensor.shape = None;
    });
    assert_eq!(inspect(&bytes, None).expect("a model").input_dims, [None; 4]);
}

#[test]
fn other_files_are_told_from_damaged_models() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "it is not an ONNX file but empty; copy or download it again"),
        (
            b"PK\x03\x04\0\0\0\0",
            "it is not an ONNX file but a ZIP archive (PyTorch checkpoints are such); export the model to ONNX",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "it is not an ONNX file"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "it is not an ONNX file"),
        (
            b"<html><body>404",
            "it is not an ONNX file but a web page; the download went wrong",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "it is not an ONNX file but a Git LFS pointer to one; download the file itself",
        ),
        (b"name: a text\n", "it is not an ONNX file"),
        (&[0; 64], "it is not an ONNX file"),
    ];
    for (bytes, sentence) in cases {
        assert_eq!(refusal(bytes), sentence);
    }
}

#[test]
fn a_download_that_stopped_is_called_one() {
    for (name, bytes) in built_in() {
        for end in [100, bytes.len() / 2, bytes.len() - 20] {
            assert_eq!(
                inspect(&bytes[..end], None),
                Err(OnnxError::Truncated),
                "{name} to {end}"
            );
        }
    }
}

#[test]
fn names_out_of_a_file_cannot_flood_or_break_a_message() {
    let bytes = changed(|model| {
        graph(model).input[0] = tensor_value(&"a\nb".repeat(1000), DataType::Float, &[1]);
    });
    let sentence = refusal(&bytes);
    assert!(sentence.len() < 300 && !sentence.contains('\n'), "{sentence}");
}

#[test]
fn weights_that_claim_more_than_a_file_can_hold_are_refused() {
    let mut model = nearest();
    let huge = TensorProto {
        data_type: Some(DataType::Int4.into()),
        ..tensor("h", DataType::Int4, &[1 << 40])
    };
    graph(&mut model).initializer.push(huge);
    assert!(inspect(&encode(&model), None).is_err());
}
