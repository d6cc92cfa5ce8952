//! Names and places; what is remembered of files and what is not.

use std::path::Path;

use super::*;
use crate::fs::RealFilesystem;

fn catalogue(places: &[&Path]) -> Catalogue {
    let places = places.iter().map(|place| (*place).to_owned()).collect();
    Catalogue::new(places, None, RealFilesystem::shared())
}

/// Files in `models/` of a state directory.
fn state_dir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(MODELS_DIR)).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(MODELS_DIR).join(name), bytes).unwrap();
    }
    dir
}

#[test]
fn an_unknown_model_is_answered_with_the_known_ones_and_the_places() {
    let first = state_dir(&[("mine.onnx", b"x"), ("note.txt", b"x"), (".hidden.onnx", b"x")]);
    let second = state_dir(&[("mine.onnx", b"x"), ("other.onnx", b"x")]);
    let error = catalogue(&[first.path(), second.path()])
        .card("span-x8")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "unknown model \"span-x8\"; use one of: span-x2, span-x4, mine, other; or put span-x8.onnx into {} or {}",
            first.path().join("models").display(),
            second.path().join("models").display()
        )
    );
}

#[test]
fn a_name_cannot_leave_the_directory_of_models() {
    let dir = state_dir(&[]);
    std::fs::write(dir.path().join("secret.onnx"), b"x").unwrap();
    let catalogue = catalogue(&[dir.path()]);
    for name in [
        "",
        "..",
        "..\\secret",
        ".secret",
        "-x",
        "a\nb",
        "a ",
        &"x".repeat(300),
    ] {
        assert!(
            matches!(catalogue.card(name), Err(ModelError::BadName { .. })),
            "{name:?}"
        );
    }
}

#[test]
fn a_built_in_model_wins_over_a_file_of_its_name_and_the_list_says_so() {
    let dir = state_dir(&[("span-x2.onnx", b"not it")]);
    let catalogue = catalogue(&[dir.path()]);
    assert_eq!(catalogue.find("span-x2").unwrap().card.scale.to_string(), "2");
    let listed = catalogue.list();
    let hidden = listed.iter().find(|model| model.hidden_by.is_some()).unwrap();
    assert!(hidden.name.ends_with("/span-x2.onnx"), "{hidden:?}");
    assert_eq!(hidden.hidden_by.as_deref(), Some("the built-in model span-x2"));
}

#[test]
fn what_is_no_regular_file_is_refused_without_being_opened() {
    let dir = state_dir(&[]);
    std::fs::create_dir(dir.path().join("models/folder.onnx")).unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.path().join("models/link.onnx")).unwrap();
    let fifo = dir.path().join("models/pipe.onnx");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let catalogue = catalogue(&[dir.path()]);
    let said = |name: &str| catalogue.card(name).unwrap_err().to_string();
    assert!(said("folder").contains("not a regular file"));
    assert!(said("pipe").contains("not a regular file"));
    assert!(said("link").contains("no such file"), "{}", said("link"));
    assert!(said("./there/is/none.onnx").contains("no such file"));
}

#[test]
fn cards_of_another_version_or_file_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CardCache::new(vec![dir.path().to_owned()], RealFilesystem::shared());
    let card = ModelCard {
        sha256: "aa".into(),
        name: "mine".into(),
        ..Model::built_in("span-x2").unwrap().card
    };
    assert_eq!(cache.get("aa"), None);
    cache.put(&card);
    assert_eq!(cache.get("aa"), Some(card));
    let file = dir.path().join("cards/aa.json");
    std::fs::copy(&file, dir.path().join("cards/bb.json")).unwrap();
    assert_eq!(cache.get("bb"), None);
    let other = std::fs::read_to_string(&file)
        .unwrap()
        .replace("\"version\": ", "\"version\": 9");
    std::fs::write(&file, other).unwrap();
    assert_eq!(cache.get("aa"), None);
    std::fs::write(&file, "{").unwrap();
    assert_eq!(cache.get("aa"), None);
}

#[test]
fn a_place_that_cannot_be_written_is_no_failure_and_the_next_one_is_used() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory would be: unwritable for root too.
    let first = dir.path().join("first");
    std::fs::write(&first, "").unwrap();
    let second = dir.path().join("second");
    let card = Model::built_in("span-x2").unwrap().card;
    CardCache::new(vec![first.clone()], RealFilesystem::shared()).put(&card);
    let cache = CardCache::new(vec![first, second.clone()], RealFilesystem::shared());
    cache.put(&card);
    assert_eq!(cache.get(&card.sha256), Some(card.clone()));
    assert!(second.join("cards").is_dir());
}
