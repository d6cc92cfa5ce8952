//! What becomes of sources (I5).

use std::fs;
use std::path::{Path, PathBuf};

use super::Room;
use crate::config::OnSuccess;
use crate::fs::{FileIdentity, Filesystem, RealFilesystem};
use crate::publish::{Disposal, Instance, PublishError, Publisher};

fn dispose(room: &Room, name: &str, how: OnSuccess) -> Disposal {
    let identity = FileIdentity::read(&room.at(name)).unwrap();
    room.publisher
        .dispose(room.root(), Path::new(name), &identity, how)
        .unwrap()
}

#[test]
fn a_source_is_kept_moved_or_deleted_as_the_folder_wants() {
    let room = Room::new();
    room.put("trip/a.png", "1");
    assert_eq!(dispose(&room, "trip/a.png", OnSuccess::Keep), Disposal::Kept);
    let moved = |to: &str| Disposal::Moved { to: to.into() };
    assert_eq!(
        dispose(&room, "trip/a.png", OnSuccess::Move),
        moved("done/trip/a.png")
    );
    room.put("trip/a.png", "2");
    assert_eq!(
        dispose(&room, "trip/a.png", OnSuccess::Move),
        moved("done/trip/a-1.png")
    );
    assert_eq!(
        room.text("done/trip/a.png") + &room.text("done/trip/a-1.png"),
        "12"
    );
    room.put("trip/a.png", "3");
    assert_eq!(dispose(&room, "trip/a.png", OnSuccess::Delete), Disposal::Deleted);
    assert!(!room.at("trip/a.png").exists());
}

#[test]
fn i5_a_source_that_changed_since_it_was_upscaled_is_left_alone() {
    let room = Room::new();
    for how in [OnSuccess::Move, OnSuccess::Trash, OnSuccess::Delete] {
        room.put("a.png", "upscaled");
        let identity = FileIdentity::read(&room.at("a.png")).unwrap();
        room.put("b.png", "changed!");
        RealFilesystem
            .rename_replace(&room.at("b.png"), &room.at("a.png"))
            .unwrap();
        let dispose = |name: &str| {
            room.publisher
                .dispose(room.root(), Path::new(name), &identity, how)
                .unwrap()
        };
        assert_eq!(dispose("a.png"), Disposal::Changed, "{how:?}");
        assert_eq!(room.text("a.png"), "changed!", "{how:?}");
        assert_eq!(dispose("gone.png"), Disposal::Changed, "{how:?}");
    }
    assert_eq!(room.names(), ["a.png"]);
}

#[test]
fn a_source_that_cannot_be_moved_stays() {
    let room = Room::new();
    room.put("done", "a file where the folder should be");
    room.put("a.png", "x");
    let identity = FileIdentity::read(&room.at("a.png")).unwrap();
    let error = room
        .publisher
        .dispose(room.root(), Path::new("a.png"), &identity, OnSuccess::Move)
        .unwrap_err();
    assert!(
        matches!(error, PublishError::InTheWay { what: "a file", .. }),
        "{error}"
    );
    assert_eq!(room.text("a.png"), "x");
}

/// The trash is found through the environment, which a test must not change for the others: the test runs
/// itself once more in a process of its own.
#[test]
fn the_trash_takes_a_source_or_leaves_it_with_a_reason() {
    const INSIDE: &str = "UPSCALED_TEST_TRASH";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let dir = PathBuf::from(dir);
        let publisher = Publisher::new(RealFilesystem::shared(), Instance::of_command());
        let identity = FileIdentity::read(&dir.join("a.png")).unwrap();
        let trashed = publisher.dispose(&dir, Path::new("a.png"), &identity, OnSuccess::Trash);
        match trashed {
            Ok(disposal) => assert_eq!(disposal, Disposal::Trashed),
            Err(error) => fs::write(dir.join("error"), error.to_string()).unwrap(),
        }
        return;
    }
    let run = |room: &Room, data_home: &Path| {
        room.put("a.png", "x");
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "publish::tests::dispose::the_trash_takes_a_source_or_leaves_it_with_a_reason",
            ])
            .env(INSIDE, room.root())
            .env("XDG_DATA_HOME", data_home)
            .output()
            .unwrap()
            .status;
        assert!(status.success());
    };
    let room = Room::new();
    run(&room, &room.at("data"));
    assert!(!room.at("a.png").exists());
    assert_eq!(room.text("data/Trash/files/a.png"), "x");

    let room = Room::new();
    room.put("data", "a file where the trash should be");
    run(&room, &room.at("data"));
    assert_eq!(room.text("a.png"), "x");
    let error = room.text("error");
    assert!(
        error.starts_with("cannot move ") && error.ends_with("; the source is kept"),
        "{error}"
    );
}
