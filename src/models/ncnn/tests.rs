#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use half::f16;
use proptest::prelude::*;

use super::*;

/// A `.param` of these layers, behind an input `in` that is given once.
fn text(layers: &[&str]) -> String {
    let mut lines = vec!["Input input 0 1 in".to_owned()];
    lines.extend(layers.iter().map(|line| (*line).to_owned()));
    format!(
        "7767517\n{} {}\n{}\n",
        lines.len(),
        9 * lines.len(),
        lines.join("\n")
    )
}

/// So many weights behind a zero, and so many behind nothing.
fn weights(tagged: usize, plain: usize) -> Vec<u8> {
    let mut bin = vec![0; 4];
    bin.extend((0..tagged + plain).flat_map(|at| (at as f32 * 0.01).to_le_bytes()));
    bin
}

/// Operators of the one layer between an input of three channels and the output.
fn operators(kind: &str, settings: &str, bin: &[u8]) -> Result<Vec<String>, ImportError> {
    let layer = format!("{kind} it 1 1 in out {settings}");
    read(text(&[&layer]).as_bytes(), bin).map(|imported| operators_of(&imported))
}

fn operators_of(imported: &Imported) -> Vec<String> {
    let graph = imported.model.graph.as_ref().expect("a graph");
    let names = graph
        .node
        .iter()
        .map(|node| node.op_type.clone().unwrap_or_default());
    names.filter(|name| name != "Identity").collect()
}

fn input_channels(imported: &Imported) -> String {
    let graph = imported.model.graph.as_ref().expect("a graph");
    format!("{:?}", graph.input)
}

fn error(layers: &[&str], bin: &[u8]) -> String {
    read(text(layers).as_bytes(), bin)
        .expect_err("an error")
        .to_string()
}

/// The committed networks, which ONNX Runtime runs in tests/import_nets.rs.
fn fixtures() -> Vec<(Vec<u8>, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models");
    let mut stems: Vec<_> = std::fs::read_dir(folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "param"))
        .collect();
    stems.sort();
    assert!(stems.len() >= 12, "{stems:?}");
    let load = |path: &std::path::Path| std::fs::read(path).expect("a fixture");
    stems
        .iter()
        .map(|stem| (load(stem), load(&stem.with_extension("bin"))))
        .collect()
}

#[test]
fn every_committed_network_is_imported() {
    for (param, bin) in fixtures() {
        let imported = read(&param, &bin).expect("a network");
        assert!(imported.details.starts_with("ncnn, "), "{}", imported.details);
        assert!(input_channels(&imported).contains("DimValue(3)"));
    }
}

/// Layers without weights, and what they become.
#[test]
fn layers_become_the_operators_that_compute_the_same() {
    for (kind, settings, wanted) in [
        ("ReLU", "", "Relu"),
        ("ReLU", "0=0.2", "LeakyRelu"),
        ("Clip", "0=0 1=1", "Clip"),
        ("Sigmoid", "", "Sigmoid"),
        ("TanH", "", "Tanh"),
        ("Swish", "", "Sigmoid Mul"),
        ("HardSwish", "", "HardSigmoid Mul"),
        ("Mish", "", "Softplus Tanh Mul"),
        ("Dropout", "", ""),
        ("Split", "", ""),
        ("Noop", "", ""),
        ("Interp", "0=1 1=2.0 2=2.0", "Resize"),
        ("Interp", "0=2 3=64 4=64", "Shape Concat Resize"),
        ("Reorg", "0=2 1=1", "SpaceToDepth"),
        ("Reorg", "0=2", "SpaceToDepth Gather"),
        ("BinaryOp", "0=2 1=1 2=0.5", "Mul"),
        ("UnaryOp", "0=5", "Sqrt"),
        ("Crop", "-23309=1,2 -23310=1,-2 -23311=1,1", "Slice"),
        ("Crop", "0=1 1=1 3=8 4=-233 5=-233", "Slice Slice Slice"),
        ("Padding", "0=1 1=1 2=1 3=1 4=2", "Pad"),
        ("Pooling", "0=1 7=1 8=1", "GlobalAveragePool"),
        ("Pooling", "0=0 1=2 2=2", "MaxPool"),
    ] {
        let found =
            operators(kind, settings, &[]).unwrap_or_else(|error| panic!("{kind} {settings}: {error}"));
        assert_eq!(found.join(" "), wanted, "{kind} {settings}");
    }
}

#[test]
fn what_is_not_translated_is_named() {
    for (kind, settings, named) in [
        ("Softmax", "0=1", "of the type Softmax"),
        ("Convolution", "0=4 1=3 6=108 8=1", "eight-bit"),
        ("Convolution", "0=4 1=3 6=108 19=1", "computed weights"),
        ("Convolution", "0=4 1=3 6=108 4=-7", "borders of [-7, -7, -7, -7]"),
        ("Convolution", "0=4 1=3 6=108 9=7", "activation 7"),
        ("Convolution", "0=4 1=3 6=108 9=2", "activation 2 of 0 parameters"),
        ("Convolution", "0=4 1=3 6=108 3=2 2=2 4=-233", "dilated"),
        (
            "Convolution",
            "0=4 1=3 6=108 3=2 4=-233 18=1.0",
            "border that is not zero",
        ),
        ("Deconvolution", "0=4 1=3 6=108 4=-233", "borders of [-233"),
        ("Deconvolution", "0=4 1=3 6=108 20=64", "fixed size"),
        ("Deconvolution", "0=4 1=3 6=108 28=1", "computed weights"),
        ("Deconvolution", "0=4 1=3 6=108 18=1", "more than a step"),
        ("InnerProduct", "0=4 2=12", "size would have to be fixed"),
        ("Interp", "0=0", "the Interp 0"),
        ("Interp", "0=2 1=0", "an Interp by [0.0, 1.0]"),
        ("Interp", "0=2 9=\"64,64\"", "computed size"),
        ("Crop", "19=\"0\" 20=\"1\"", "computed"),
        ("Crop", "0=1 3=8 4=0 5=-233", "length of 0"),
        ("BinaryOp", "0=10 1=1", "the BinaryOp 10"),
        ("UnaryOp", "0=99", "the UnaryOp 99"),
        ("Pooling", "0=1 7=1 8=4", "fixed size"),
        ("Pooling", "0=1 1=2 2=3", "last windows"),
        ("Pooling", "0=2 4=1", "the Pooling 2"),
        ("Padding", "4=3", "the Padding 3"),
        ("Padding", "4=1 7=1", "channels by other channels"),
        ("Reduction", "0=0", "the Reduction 0"),
        ("Reshape", "0=-1", "a Reshape of pixels"),
        ("Flatten", "", "a Flatten of pixels"),
        ("HardSwish", "0=-1.0", "falls"),
        ("MemoryData", "0=3", "a MemoryData"),
    ] {
        let refused = operators(kind, settings, &weights(108, 4)).expect_err("refused");
        let message = refused.to_string();
        assert!(
            matches!(refused, ImportError::Layer { .. }),
            "{kind} {settings}: {message}"
        );
        assert!(
            message.contains(named) && message.contains("its layer it is"),
            "{message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn settings_that_contradict_are_damage() {
    for (kind, settings, told) in [
        ("Convolution", "0=4 1=3 6=107", "107 weights"),
        ("Convolution", "0=4 1=3 6=150", "150 weights"),
        ("Convolution", "0=0 1=3 6=108", "0 as its setting 0"),
        ("Convolution", "0=-4 1=3 6=108", "-4 as its setting 0"),
        (
            "Convolution",
            "0=4 1=2147483647 6=108",
            "2147483647 as its setting 1",
        ),
        ("Convolution", "0=4 1=3 3=0 6=108", "0 as its setting 3"),
        ("Convolution", "0=4 1=1.5 6=108", "no whole number"),
        ("ConvolutionDepthWise", "0=4 1=3 6=36 7=3", "36 weights"),
        ("PReLU", "0=4", "4 values for 3 channels"),
        ("BatchNorm", "0=2147483647", "2147483647 values"),
        ("Scale", "0=-1", "-1 values"),
        ("PixelShuffle", "0=2", "shuffles 3 channels"),
        ("Concat", "0=3", "axis 3 of 3"),
        ("Slice", "-23300=1,4", "of no length"),
        ("Slice", "", "how long"),
        ("Crop", "-23309=1,3 -23310=1,-233 -23311=1,0", "leaves none"),
        ("Crop", "-23309=2,1,1 -23310=1,-1 -23311=1,0", "as many starts"),
        ("Crop", "-23309=2,1,1 -23310=2,-1,-1 -23311=2,1,1", "twice"),
        ("Eltwise", "0=1", "1 blob"),
    ] {
        let message = match operators(kind, settings, &weights(144, 4)) {
            Ok(found) => panic!("{kind} {settings} became {found:?}"),
            Err(error) => error.to_string(),
        };
        let refused_memory = kind == "MemoryData" && message.contains("MemoryData");
        assert!(
            message.contains(told) || refused_memory,
            "{kind} {settings}: {message}"
        );
    }
}

#[test]
fn weights_are_read_as_they_are_stored() {
    let halves = |bin: &mut Vec<u8>, count: usize| {
        bin.extend(0x0130_6B47_u32.to_le_bytes());
        bin.extend((0..count).flat_map(|at| f16::from_f32(at as f32).to_le_bytes()));
        bin.resize(bin.len().next_multiple_of(4), 0);
    };
    let mut bin = Vec::new();
    halves(&mut bin, 3);
    bin.extend(1.5_f32.to_le_bytes());
    bin.extend(0x0002_C056_u32.to_le_bytes());
    bin.extend(2.5_f32.to_le_bytes());
    bin.extend(0xABCD_u32.to_le_bytes());
    bin.extend((0..256).flat_map(|at| (at as f32).to_le_bytes()));
    bin.extend([7, 255, 0, 9, 1, 0, 0, 0]);
    let mut reader = bin::Bin::new(&bin);
    assert_eq!(reader.tagged(3), Ok(vec![0.0, 1.0, 2.0]));
    assert_eq!(reader.plain(1), Ok(vec![1.5]));
    assert_eq!(reader.tagged(1), Ok(vec![2.5]));
    assert_eq!(reader.tagged(5), Ok(vec![7.0, 255.0, 0.0, 9.0, 1.0]));
    assert_eq!(reader.left(), 0);
    let int8 = 0x000D_4B38_u32.to_le_bytes();
    assert_eq!(bin::Bin::new(&int8).tagged(4), Err(bin::BinError::Int8));
    assert_eq!(bin::Bin::new(&[0; 64]).tagged(0), Err(bin::BinError::None));
    assert_eq!(
        bin::Bin::new(&[0; 64]).plain(usize::MAX),
        Err(bin::BinError::TooMany)
    );
}

#[test]
fn weights_that_no_layer_needs_are_damage() {
    let mut bin = weights(108, 0);
    assert!(operators("Convolution", "0=4 1=3 6=108", &bin).is_ok());
    bin.extend([0; 8]);
    let message = operators("Convolution", "0=4 1=3 6=108", &bin)
        .expect_err("damage")
        .to_string();
    assert!(message.contains("8 bytes more"), "{message}");
}

/// The first convolution tells how many channels the input has, also through what gathers pixels into channels.
#[test]
fn the_input_has_the_channels_that_the_first_convolution_takes() {
    let of = |layers: &[&str], count| {
        let imported = read(text(layers).as_bytes(), &weights(count, 0)).expect("a network");
        input_channels(&imported)
    };
    let grey = of(&["Convolution c 1 1 in out 0=2 1=1 6=2"], 2);
    assert!(grey.contains("DimValue(1)"), "{grey}");
    let gathered = of(
        &["Reorg r 1 1 in a 0=2", "Convolution c 1 1 a out 0=2 1=1 6=24"],
        24,
    );
    assert!(gathered.contains("DimValue(3)"), "{gathered}");
    // Something else comes before it that changes the number of channels: colours are tried.
    let padded = of(
        &["Padding p 1 1 in a 7=1", "Convolution c 1 1 a out 0=2 1=1 6=8"],
        8,
    );
    assert!(padded.contains("DimValue(3)"), "{padded}");
}

#[test]
fn the_ends_of_a_network_are_found_or_counted() {
    let no_input = "7767517\n1 2\nReLU r 1 1 data result\n";
    assert!(read(no_input.as_bytes(), &[]).is_ok());
    let preferred = ["Split s 1 2 in a b", "ReLU r 1 1 a other", "TanH t 1 1 b out0"];
    let imported = read(text(&preferred).as_bytes(), &[]).expect("a network");
    assert!(operators_of(&imported).contains(&"Tanh".to_owned()));
    let two = error(&["Split s 1 2 in a b"], &[]);
    assert!(two.contains("2 results (a, b)"), "{two}");
    let inputs = error(&["Input second 0 1 in2", "BinaryOp b 2 1 in in2 out"], &[]);
    assert!(inputs.contains("2 inputs (in, in2)"), "{inputs}");
    let vector = error(&["Pooling p 1 1 in out 0=1 4=1"], &[]);
    assert!(vector.contains("its result out is no image"), "{vector}");
}

#[test]
fn blobs_that_are_missing_made_twice_or_in_a_circle_are_damage() {
    for (layers, told) in [
        (vec!["BinaryOp b 2 1 in nothing out"], "takes a blob nothing"),
        (
            vec!["ReLU a 1 1 in x", "ReLU b 1 1 in x", "ReLU c 1 1 x out"],
            "makes a blob x again",
        ),
        (
            vec!["ReLU a 1 1 in in", "ReLU c 1 1 in out"],
            "makes a blob in again",
        ),
        (
            vec!["BinaryOp a 2 1 in y x", "Split b 1 2 x y out"],
            "takes a blob y",
        ),
        (vec!["ReLU a 1 2 in x out"], "makes 2 blobs"),
        (vec!["ReLU a 2 1 in in out"], "takes 2 blobs"),
        (vec!["ReLU a 0 1 out", "ReLU b 1 0 in"], "takes 0 blobs"),
    ] {
        let message = error(&layers, &[]);
        assert!(message.contains(told), "{layers:?}: {message}");
    }
}

#[test]
fn what_is_no_text_of_a_network_is_told_from_a_damaged_one() {
    let message = |param: &[u8]| read(param, &[]).expect_err("an error").to_string();
    assert!(message(&7_767_517_i32.to_le_bytes()).contains("binary form"));
    for not_one in [
        &b""[..],
        b"hello",
        b"7767516\n1 1\n",
        b"7767517\n",
        b"7767517\n1\n",
        b"\xff\xfe",
    ] {
        assert!(
            message(not_one).contains("not an ncnn .param"),
            "{}",
            message(not_one)
        );
    }
    for (param, told) in [
        ("7767517\n2147483648 1\n", "2147483648 layers, 16384 are read"),
        ("7767517\n1 99999999999\n", "blobs"),
        ("7767517\n-1 1\n", "-1 layers"),
        ("7767517\n0 0\n", "0 layers"),
        (
            "7767517\n2 2\nInput i 0 1 in\n",
            "says that it has 2 layers, and has 1",
        ),
        (
            "7767517\n1 1\nInput i 0 1 in\nReLU r 1 1 in out\n",
            "goes on after its 1 layers",
        ),
        ("7767517\n1 1\nSplit i 1 3 in a b c\n", "1 blobs, and makes 3"),
        ("7767517\n1 1\nInput i 0 99999999 in\n", "how many blobs"),
        ("7767517\n1 1\nInput i 0 -1 in\n", "how many blobs"),
        ("7767517\n1 1\nInput i 0 4 in\n", "ends too early"),
        ("7767517\n1 1\nInput i 0 1 in 32=1\n", "the setting 32=1"),
        ("7767517\n1 1\nInput i 0 1 in -23332=0\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in -2147483648=0\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in -23301=3,1,2\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in 1=1e99\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in 1=-inf\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in 1=\n", "the setting"),
        ("7767517\n1 1\nInput i 0 1 in 1\n", "the setting"),
    ] {
        let found = message(param.as_bytes());
        assert!(found.contains(told), "{param}: {found}");
    }
    let long = format!("7767517\n1 1\nInput {} 0 1 in\n", "n".repeat(300));
    assert!(message(long.as_bytes()).contains("too long"));
    assert!(message(&[b'\n'; (4 << 20) + 1]).contains("bytes"));
}

/// A name cannot reach the terminal of whoever reads the log.
#[test]
fn names_are_shown_without_control_characters() {
    let message = error(&["Soft\u{1b}[31m evil\u{7} 1 1 in out"], &[]);
    assert!(message.contains("Soft\u{fffd}[31m"), "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

/// Channels that double with each layer, and lists that no file holds, end before memory does.
#[test]
fn small_texts_cannot_ask_for_much() {
    let doubling: Vec<String> = (0..64)
        .map(|at| {
            let from = if at == 0 {
                "in".to_owned()
            } else {
                format!("b{at}")
            };
            format!("Concat c{at} 2 1 {from} {from} b{}", at + 1)
        })
        .collect();
    let doubling: Vec<&str> = doubling.iter().map(String::as_str).collect();
    assert!(error(&doubling, &[]).contains("channels"));
    let gathering = ["Padding p 1 1 in a 7=16384 8=16384", "Reorg r 1 1 a out 0=64"];
    assert!(error(&gathering, &[]).contains("reorder channels"));
    let memory = [
        "MemoryData m 0 1 m 0=16384 1=16384 2=16384",
        "BinaryOp b 2 1 in m out",
    ];
    assert!(error(&memory, &[]).contains("more than any upscaler"));
    let absent = ["Convolution c 1 1 in out 0=65536 1=64 6=805306368"];
    assert!(error(&absent, &[0; 4]).contains("more than any upscaler"));
    let absent = ["Convolution c 1 1 in out 0=4096 1=64 6=50331648"];
    assert!(error(&absent, &[0; 4]).contains("201326592 bytes of weights, and its .bin has 0 left"));
}

#[test]
fn a_text_cut_anywhere_gives_a_line() {
    for (param, bin) in fixtures() {
        // Without its last line's end it is still whole.
        for len in 0..param.len() - 1 {
            if let Err(error) = read(&param[..len], &bin) {
                assert!(!error.to_string().contains('\n'));
            }
        }
    }
}

#[test]
fn weights_cut_anywhere_are_damage() {
    let (param, bin) = fixtures().pop().expect("a network");
    for len in 0..bin.len() {
        let error = read(&param, &bin[..len]).expect_err("cut");
        assert!(matches!(error, ImportError::Damaged(_)), "{len}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes that changed in any way give a network or a line.
    #[test]
    fn changed_bytes_give_an_answer(which in 0_usize..12, at in any::<prop::sample::Index>(), byte: u8, in_text: bool) {
        let (mut param, mut bin) = fixtures().swap_remove(which);
        let changed = if in_text { &mut param } else { &mut bin };
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Err(error) = read(&param, &bin) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    /// A setting that became any other number gives a network or a line.
    #[test]
    fn changed_settings_give_an_answer(
        which in 0_usize..12,
        at in any::<prop::sample::Index>(),
        value in prop_oneof![Just(0_i64), Just(-1), Just(-233), Just(1 << 31), Just(65_536), 0_i64..70, any::<i64>()],
    ) {
        let (param, bin) = fixtures().swap_remove(which);
        let param = String::from_utf8(param).expect("a text");
        let places: Vec<usize> = param.match_indices('=').map(|(place, _)| place + 1).collect();
        let place = places[at.index(places.len())];
        let rest = param[place..].trim_start_matches(|c: char| !c.is_whitespace() && c != ',');
        let param = format!("{}{value}{rest}", &param[..place]);
        if let Err(error) = read(param.as_bytes(), &bin) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
