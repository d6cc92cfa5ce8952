use super::super::proto::*;
use super::super::{decode, encode};
use super::*;

#[test]
fn the_built_in_models_come_back_byte_for_byte() {
    for (name, bytes) in built_in() {
        let model = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(encode(&model) == bytes, "{name} changed");
    }
}

#[test]
fn a_model_that_uses_the_whole_schema_comes_back() {
    let mut full = nearest();
    full.functions.push(FunctionProto {
        name: Some("f".to_owned()),
        overload: Some("o".to_owned()),
        attribute: vec!["a".to_owned()],
        attribute_proto: vec![int("b", 3)],
        value_info: vec![tensor_value("v", DataType::Int4, &[1])],
        metadata_props: vec![entry("k", "v")],
        ..Default::default()
    });
    full.training_info.push(TrainingInfoProto {
        initialization: full.graph.clone(),
        update_binding: vec![entry("a", "b")],
        ..Default::default()
    });
    full.configuration.push(DeviceConfigurationProto {
        name: Some("two".to_owned()),
        num_devices: Some(2),
        device: vec!["a".to_owned(), "b".to_owned()],
    });
    let graph = graph(&mut full);
    graph.quantization_annotation.push(TensorAnnotation {
        tensor_name: Some("x".to_owned()),
        quant_parameter_tensor_names: vec![entry("SCALE_TENSOR", "s")],
    });
    graph.sparse_initializer.push(SparseTensorProto {
        values: Some(floats("s", &[1], &[1.5])),
        indices: Some(int64s("i", &[1], &[-1])),
        dims: vec![3],
    });
    let sequence = SequenceType {
        elem_type: graph.input[0].r#type.clone().map(Box::new),
    };
    graph.value_info.push(ValueInfoProto {
        name: Some("list".to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Sequence(sequence)),
            denotation: Some("IMAGE".to_owned()),
        }),
        ..Default::default()
    });
    graph.node[0]
        .device_configurations
        .push(NodeDeviceConfigurationProto {
            configuration_id: Some("two".to_owned()),
            sharding_spec: vec![ShardingSpecProto {
                tensor_name: Some("x".to_owned()),
                device: vec![0, -1],
                index_to_device_group_map: vec![IntIntListEntryProto {
                    key: Some(-1),
                    value: vec![0, 1],
                }],
                sharded_dim: vec![ShardedDimProto {
                    axis: Some(0),
                    simple_sharding: vec![SimpleShardedDimProto {
                        dim: Some(ShardedDimValue::DimParam("n".to_owned())),
                        num_shards: Some(2),
                    }],
                }],
            }],
            pipeline_stage: Some(1),
        });
    let bytes = encode(&full);
    assert_eq!(decode(&bytes).expect("a model"), full);
}
