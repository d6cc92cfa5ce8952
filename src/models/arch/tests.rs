use super::*;
use crate::inference::onnx::proto::GraphProto;
use crate::models::weights::Tensor;

mod damaged;

/// A tensor of this shape.
fn filled(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let values = (0..count).map(|index| ((index * 37) % 19) as f32 / 19.0 - 0.5);
    Tensor::new(shape.to_vec(), values.collect())
}

fn weights(shapes: &[(&str, &[usize])]) -> Weights {
    let mut weights = Weights::default();
    for (name, shape) in shapes {
        weights.insert(*name, filled(shape));
    }
    weights
}

fn add_conv(weights: &mut Weights, name: &str, [outputs, inputs, side]: [usize; 3]) {
    weights.insert(format!("{name}.weight"), filled(&[outputs, inputs, side, side]));
    weights.insert(format!("{name}.bias"), filled(&[outputs]));
}

fn compact(features: usize, convolutions: usize, outputs: usize) -> Weights {
    let mut weights = Weights::default();
    add_conv(&mut weights, "body.0", [features, 3, 3]);
    weights.insert("body.1.weight", filled(&[features]));
    for number in 1..=convolutions {
        add_conv(
            &mut weights,
            &format!("body.{}", 2 * number),
            [features, features, 3],
        );
        weights.insert(format!("body.{}.weight", 2 * number + 1), filled(&[features]));
    }
    add_conv(
        &mut weights,
        &format!("body.{}", 2 * convolutions + 2),
        [outputs, features, 3],
    );
    weights
}

/// Under the names of Real-ESRGAN.
fn esrgan(inputs: usize, blocks: usize, doublings: usize) -> Weights {
    let mut weights = Weights::default();
    add_conv(&mut weights, "conv_first", [4, inputs, 3]);
    for block in 0..blocks {
        for dense in 1..=3 {
            for conv in 1..=5 {
                let outputs = if conv == 5 { 4 } else { 2 };
                let name = format!("body.{block}.rdb{dense}.conv{conv}");
                add_conv(&mut weights, &name, [outputs, 4 + 2 * (conv - 1), 3]);
            }
        }
    }
    for name in ["conv_body", "conv_hr"] {
        add_conv(&mut weights, name, [4, 4, 3]);
    }
    for number in 1..=doublings {
        add_conv(&mut weights, &format!("conv_up{number}"), [4, 4, 3]);
    }
    add_conv(&mut weights, "conv_last", [3, 4, 3]);
    weights
}

fn conv3xc(weights: &mut Weights, name: &str, [outputs, inputs]: [usize; 2], trained: bool) {
    if trained {
        add_conv(weights, &format!("{name}.sk"), [outputs, inputs, 1]);
        add_conv(weights, &format!("{name}.conv.0"), [2 * inputs, inputs, 1]);
        add_conv(weights, &format!("{name}.conv.1"), [2 * outputs, 2 * inputs, 3]);
        add_conv(weights, &format!("{name}.conv.2"), [outputs, 2 * outputs, 1]);
    } else {
        add_conv(weights, &format!("{name}.eval_conv"), [outputs, inputs, 3]);
    }
}

fn span(features: usize, blocks: usize, trained: bool) -> Weights {
    let mut weights = Weights::default();
    conv3xc(&mut weights, "conv_1", [features, 3], trained);
    conv3xc(&mut weights, "conv_2", [features, features], trained);
    for block in 1..=blocks {
        for part in 1..=3 {
            let name = format!("block_{block}.c{part}_r");
            conv3xc(&mut weights, &name, [features, features], trained);
        }
    }
    add_conv(&mut weights, "conv_cat", [features, 4 * features, 1]);
    add_conv(&mut weights, "upsampler.0", [12, features, 3]);
    weights
}

fn graph(built: &Built) -> &GraphProto {
    built.model.graph.as_deref().unwrap()
}

fn operators(built: &Built, operator: &str) -> usize {
    let nodes = graph(built).node.iter();
    nodes
        .filter(|node| node.op_type.as_deref() == Some(operator))
        .count()
}

fn refusal(weights: Weights) -> String {
    let text = build(weights).unwrap_err().to_string();
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    text
}

fn renamed(weights: Weights, rules: &[(&str, &str)]) -> Weights {
    weights.renamed(|name| {
        let replaced = rules
            .iter()
            .fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
        Some(replaced)
    })
}

#[test]
fn sizes_are_read_off_the_shapes() {
    let told = |weights| {
        let built = build(weights).unwrap();
        format!("{}: {}", built.network, built.details)
    };
    assert_eq!(
        told(compact(8, 16, 48)),
        "SRVGG Compact: 18 convolutions of 8 features, ×4"
    );
    assert_eq!(
        told(compact(5, 1, 3)),
        "SRVGG Compact: 3 convolutions of 5 features, ×1"
    );
    assert_eq!(told(esrgan(3, 2, 2)), "ESRGAN: 2 blocks of 4 features, ×4");
    assert_eq!(told(esrgan(3, 1, 3)), "ESRGAN: 1 block of 4 features, ×8");
    assert_eq!(told(esrgan(3, 1, 0)), "ESRGAN: 1 block of 4 features, ×1");
    assert_eq!(
        told(esrgan(12, 1, 2)),
        "ESRGAN: 1 block of 4 features, ×2, 2 × 2 pixels as channels"
    );
    assert_eq!(
        told(esrgan(48, 1, 2)),
        "ESRGAN: 1 block of 4 features, ×1, 4 × 4 pixels as channels"
    );
    assert_eq!(told(span(4, 6, false)), "SPAN: 6 blocks of 4 features, ×2");
    assert_eq!(told(span(3, 4, true)), "SPAN: 4 blocks of 3 features, ×2");
}

/// Whoever asks what an imported file is reads it in the file.
#[test]
fn what_it_is_goes_into_the_file() {
    let built = build(esrgan(3, 1, 2)).unwrap();
    let facts: Vec<_> = built
        .model
        .metadata_props
        .iter()
        .map(|fact| (fact.key.as_deref().unwrap(), fact.value.as_deref().unwrap()))
        .collect();
    assert_eq!(
        facts,
        [("network", "ESRGAN"), ("details", "1 block of 4 features, ×4")]
    );
}

/// ESRGAN's three sets of names are of one network.
#[test]
fn the_same_network_has_the_same_graph_under_all_its_names() {
    let modern = build(esrgan(3, 2, 2)).unwrap();
    let trunk = renamed(
        esrgan(3, 2, 2),
        &[
            ("conv_body", "trunk_conv"),
            ("body.", "RRDB_trunk."),
            (".rdb", ".RDB"),
            ("conv_up", "upconv"),
            ("conv_hr", "HRconv"),
        ],
    );
    let mut rules = vec![
        ("conv_first", "model.0"),
        ("conv_body", "model.1.sub.2"),
        ("body.", "model.1.sub."),
        (".rdb", ".RDB"),
        ("conv_up1", "model.3"),
        ("conv_up2", "model.6"),
        ("conv_hr", "model.8"),
        ("conv_last", "model.10"),
    ];
    let convs: Vec<[String; 2]> = (1..=5)
        .map(|conv| [format!(".conv{conv}."), format!(".conv{conv}.0.")])
        .collect();
    rules.extend(convs.iter().map(|[from, to]| (from.as_str(), to.as_str())));
    let first = renamed(esrgan(3, 2, 2), &rules);
    assert!(first.has("model.1.sub.0.RDB1.conv1.0.weight") && first.has("model.1.sub.2.bias"));
    for other in [trunk, first] {
        let other = build(other).unwrap();
        assert_eq!(other.details, modern.details);
        assert_eq!(other.model, modern.model);
    }
}

#[test]
fn a_merged_convolution_is_the_sum_of_its_branches() {
    let trained = build(span(3, 1, true)).unwrap();
    assert_eq!(operators(&trained, "Conv"), 7, "one for each, and the last two");
    // The first convolution, by its definition: both 1 × 1 around each tap, and the one beside them in the middle.
    let source = span(3, 1, true);
    let of = |name: &str| source.get(&format!("conv_1.{name}")).unwrap().values().to_vec();
    let (expand, middle, reduce) = (of("conv.0.weight"), of("conv.1.weight"), of("conv.2.weight"));
    let beside = of("sk.weight");
    let bytes = graph(&trained)
        .initializer
        .iter()
        .find(|tensor| tensor.dims == [3, 3, 3, 3])
        .and_then(|tensor| tensor.raw_data.as_deref())
        .unwrap();
    let merged: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    for output in 0..3 {
        for input in 0..3 {
            for tap in 0..9 {
                let mut sum = if tap == 4 { beside[output * 3 + input] } else { 0.0 };
                for wide in 0..6 {
                    for narrow in 0..6 {
                        sum += reduce[output * 6 + wide]
                            * middle[(wide * 6 + narrow) * 9 + tap]
                            * expand[narrow * 3 + input];
                    }
                }
                let found = merged[(output * 3 + input) * 9 + tap];
                assert!(
                    (found - sum).abs() < 1e-5,
                    "{output} {input} {tap}: {found}, not {sum}"
                );
            }
        }
    }
}

/// A checkpoint's merged weights may be older than the branches, which go on being trained.
#[test]
fn branches_are_preferred_to_what_was_merged_of_them() {
    let alone = build(span(3, 1, true)).unwrap();
    let mut both = span(3, 1, true);
    for (name, inputs) in [("conv_1", 3), ("conv_2", 3), ("block_1.c1_r", 3)] {
        both.insert(
            format!("{name}.eval_conv.weight"),
            Tensor::new(vec![3, inputs, 3, 3], vec![9.0; 27 * inputs]),
        );
        both.insert(
            format!("{name}.eval_conv.bias"),
            Tensor::new(vec![3], vec![9.0; 3]),
        );
    }
    assert_eq!(build(both).unwrap().model, alone.model);
}

#[test]
fn networks_without_normalisation_say_so_by_a_tensor() {
    let mut plain = span(3, 2, false);
    plain.insert("no_norm", Tensor::new(vec![1], vec![0.0]));
    let (plain, normalised) = (build(plain).unwrap(), build(span(3, 2, false)).unwrap());
    assert_eq!(operators(&normalised, "Sub"), operators(&plain, "Sub") + 1);
}

#[test]
fn a_missing_tensor_is_named() {
    let all = esrgan(3, 2, 2);
    let without = all.renamed(|name| (name != "body.1.rdb2.conv4.weight").then(|| name.to_owned()));
    assert_eq!(
        refusal(without),
        "it looks like ESRGAN, but the tensor body.1.rdb2.conv4.weight is missing"
    );
    // ReLU in place of PReLU has no tensors, and leaky ReLU neither.
    let relu = compact(4, 2, 12).renamed(|name| {
        let slopes = ["body.1.weight", "body.3.weight", "body.5.weight"];
        (!slopes.contains(&name)).then(|| name.to_owned())
    });
    assert_eq!(
        refusal(relu),
        "it looks like SRVGG Compact, but the tensor body.1.weight is missing"
    );
}

#[test]
fn a_shape_that_does_not_fit_is_named() {
    let mut wrong = esrgan(3, 1, 2);
    wrong.insert("conv_up2.weight", filled(&[4, 5, 3, 3]));
    assert_eq!(
        refusal(wrong),
        "it looks like ESRGAN, but the tensor conv_up2.weight has the shape [4, 5, 3, 3] where [4, 4, 3, 3] fits"
    );
    assert!(refusal(compact(4, 2, 13)).contains("body.6.weight has the shape [13, 4, 3, 3]"));
    for name in [
        "conv_first.weight",
        "body.0.rdb1.conv1.weight",
        "conv_last.weight",
    ] {
        for shape in [&[][..], &[0, 3, 3, 3], &[1 << 40, 0, 3, 3], &[4, 4]] {
            let mut hostile = esrgan(3, 1, 2);
            hostile.insert(name, Tensor::new(shape.to_vec(), filled(shape).into_values()));
            assert!(refusal(hostile).contains("has the shape"), "{name} {shape:?}");
        }
    }
}

/// A network with more than is built would compute something else.
#[test]
fn tensors_that_are_left_over_refuse_the_file() {
    let mut more = esrgan(3, 1, 2);
    more.insert(
        "body.0.rdb1.conv1.num_batches_tracked",
        Tensor::new(vec![1], vec![7.0]),
    );
    assert!(build(more.clone()).is_ok(), "a counter of training is no layer");
    more.insert("am_list.0.fc.0.weight", filled(&[4, 4]));
    assert_eq!(
        refusal(more),
        "its tensors are of no network that can be imported: closest to ESRGAN; \"am_list.0.fc.0.weight\" does not fit"
    );
}

/// Merging takes the third power of steps, so a small file could ask for days.
#[test]
fn branches_wider_than_any_are_refused_before_merging() {
    let mut wide = span(3, 1, true);
    wide.insert("conv_1.conv.1.weight", filled(&[6, 300, 3, 3]));
    assert!(refusal(wide).starts_with("it is too large: 300 channels in conv_1"));
}

#[test]
fn unknown_networks_are_guessed_at() {
    let guess = |names: &[&str]| {
        let shapes: Vec<(&str, &[usize])> = names.iter().map(|name| (*name, &[1][..])).collect();
        refusal(weights(&shapes))
    };
    let mut names = vec!["conv_after_body.bias".to_owned()];
    names.extend((0..40).map(|block| format!("layers.{block}.residual_group.hf_blocks.0.attn.temperature")));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        guess(&names),
        "its tensors are of no network that can be imported: closest to CRAFT, which is not translated; \
         \"layers.0.residual_group.hf_blocks.0.attn.temperature\", \"layers.1.residual_group.hf_blocks.0.attn.temperature\" \
         and 39 more do not fit"
    );
    assert_eq!(
        guess(&["fc.bias", "fc.weight"]),
        "its tensors are of no network that can be imported: \"fc.bias\" and \"fc.weight\" do not fit any"
    );
    assert!(
        guess(&["model.diffusion_model.out.0.weight", "first_stage_model.x"])
            .contains("a diffusion checkpoint")
    );
    assert!(guess(&["block_1.c1_r.weight", "conv_cat.weight"]).contains("closest to SPAN; "));
    assert!(guess(&[]).ends_with(": there are none"));
}

/// Names come from strangers: they could be long or hold line ends and worse.
#[test]
fn strange_names_are_shown_on_one_short_line() {
    let long = "\u{1b}[2J\n".repeat(5000);
    let text = refusal(weights(&[(&long, &[1]), ("another\nline", &[1])]));
    assert!(
        text.contains("\\u{1b}[2J\\n") && !text.contains('\u{1b}'),
        "{text}"
    );
}

/// Whatever the names and shapes are, the answer is a graph or a sentence.
#[test]
fn any_one_tensor_lost_or_misshapen_is_an_error_or_harmless() {
    for all in [
        compact(3, 1, 12),
        esrgan(12, 1, 1),
        span(3, 1, true),
        span(3, 1, false),
    ] {
        let names: Vec<String> = all.names().map(str::to_owned).collect();
        for name in &names {
            let lost = all
                .clone()
                .renamed(|other| (other != name).then(|| other.to_owned()));
            let optional_bias = name.ends_with(".bias");
            assert!(build(lost).is_err() || optional_bias, "without {name}");
            for shape in [&[][..], &[0], &[1, 2, 3, 4, 5], &[2, 2, 2, 2]] {
                let mut wrong = all.clone();
                wrong.insert(name.clone(), filled(shape));
                assert!(build(wrong).is_err(), "{name} as {shape:?}");
            }
        }
    }
}
