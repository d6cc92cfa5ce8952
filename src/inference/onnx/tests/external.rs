use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::proto::*;
use super::super::{decode, embed, encode, inspect};
use super::*;

/// [`nearest`] with its scales at `location`, four bytes into the file.
fn outside(location: &str) -> Vec<u8> {
    changed(|model| {
        let scales = &mut graph(model).initializer[0];
        scales.float_data.clear();
        scales.data_location = Some(DataLocation::External.into());
        scales.external_data = vec![
            entry("location", location),
            entry("offset", "4"),
            entry("length", "16"),
        ];
    })
}

fn scales() -> Vec<u8> {
    [9.0_f32, 1.0, 1.0, 2.0, 2.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn refusal(bytes: &[u8], directory: &Path) -> String {
    let error = inspect(bytes, Some(directory)).expect_err("it is refused");
    assert_eq!(
        embed(bytes, directory).expect_err("it is refused"),
        error,
        "both see the same"
    );
    error.to_string()
}

#[test]
fn weights_beside_the_model_are_taken_in() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("parts")).expect("a directory");
    let file = directory.path().join("parts/weights.bin");
    std::fs::write(&file, scales()).expect("a file");
    let bytes = outside("./parts/weights.bin");

    let told = inspect(&bytes, Some(directory.path())).expect("a model");
    assert_eq!(told.external_files, [file.canonicalize().expect("a path")]);
    assert_eq!(told.weights_bytes, 16);

    let whole = embed(&bytes, directory.path()).expect("a model");
    let scales_in = &decode(&whole)
        .expect("a model")
        .graph
        .expect("a graph")
        .initializer[0];
    assert_eq!(scales_in.raw_data.as_deref(), Some(&scales()[4..]));
    let mut told_of_whole = inspect(&whole, None).expect("it needs no other file");
    told_of_whole.external_files = told.external_files.clone();
    assert_eq!(told_of_whole, told);
}

#[test]
fn a_model_without_other_files_is_left_alone() {
    let bytes = encode(&nearest());
    assert_eq!(embed(&bytes, Path::new("/nowhere")), Ok(bytes));
}

#[test]
fn a_model_reads_nothing_outside_its_own_directory() {
    let parent = tempfile::tempdir().expect("a directory");
    let own = parent.path().join("own");
    std::fs::create_dir(&own).expect("a directory");
    let secret = parent.path().join("secret");
    std::fs::write(&secret, scales()).expect("a file");
    std::fs::create_dir(own.join("below")).expect("a directory");
    symlink(&secret, own.join("link")).expect("a link");
    symlink(parent.path(), own.join("up")).expect("a link");
    let absolute = secret.display().to_string();
    for location in ["../secret", "below/../../secret", "link", "up/secret", &absolute] {
        let sentence = refusal(&outside(location), &own);
        assert!(
            sentence.ends_with("outside its own directory; only files in it and below it are read"),
            "{location}: {sentence}"
        );
    }
    // A link that stays inside is a file like any other.
    std::fs::write(own.join("below/real"), scales()).expect("a file");
    symlink(own.join("below/real"), own.join("inside")).expect("a link");
    assert!(inspect(&outside("inside"), Some(&own)).is_ok());
}

#[test]
fn what_is_no_file_of_weights_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let own = directory.path();
    std::fs::create_dir(own.join("directory")).expect("a directory");
    std::fs::write(own.join("short"), &scales()[..19]).expect("a file");
    let cases = [
        (
            "gone",
            "its weights \"gone\" cannot be read: no such file or directory; put the file beside the model",
        ),
        (
            "short",
            "its weights \"short\" cannot be read: the file ends after 19 bytes; put the file beside the model",
        ),
        (
            "directory",
            "it keeps weights in \"directory\", which is no regular file; put the weights there",
        ),
        (
            "",
            "it keeps weights in \"\", which is no file; export the model again",
        ),
        (
            "*/_ORT_MEM_ADDR_/*",
            "it keeps weights in \"*/_ORT_MEM_ADDR_/*\", which is no file; export the model again",
        ),
    ];
    for (location, sentence) in cases {
        assert_eq!(refusal(&outside(location), own), sentence);
    }
    assert_eq!(
        inspect(&outside("short"), None)
            .expect_err("it is refused")
            .to_string(),
        "it keeps weights in \"short\", and only the model itself was given"
    );
}

#[test]
fn a_pipe_beside_the_model_does_not_stop_the_service() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    assert!(refusal(&outside("pipe"), directory.path()).contains("no regular file"));
}

#[test]
fn a_length_that_contradicts_the_shape_is_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("w"), scales()).expect("a file");
    for (key, text, part) in [
        ("length", "12", "12 bytes where its shape needs 16"),
        ("offset", "-4", "offset \"-4\" is no number"),
        ("offset", "18446744073709551615", "ends after 20 bytes"),
    ] {
        let mut model = decode(&outside("w")).expect("a model");
        graph(&mut model).initializer[0]
            .external_data
            .push(entry(key, text));
        let sentence = refusal(&encode(&model), directory.path());
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_small_file_behind_many_tensors_does_not_fill_the_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("w"), scales()).expect("a file");
    let shared = |times: usize| {
        let mut model = decode(&outside("w")).expect("a model");
        let scales = graph(&mut model).initializer[0].clone();
        graph(&mut model).initializer = vec![scales; times];
        encode(&model)
    };
    assert!(
        embed(&shared(2), directory.path()).is_ok(),
        "tied weights are real"
    );
    assert!(refusal(&shared(100), directory.path()).contains("many times over"));
}
