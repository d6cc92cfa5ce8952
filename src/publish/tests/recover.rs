//! What recovery and the sweep find after a crash.

use std::fs;
use std::os::unix::fs::symlink;

use super::Room;
use crate::publish::{Instance, PublishError};
use crate::queue::{Publishing, Resolution};

fn interrupted(room: &Room, final_name: &str, text: &str) -> Publishing {
    Publishing {
        temp: room.at(&format!(
            ".upscaled-{}-7-1.tmp",
            Instance::of_state_dir(room.root())
        )),
        final_path: room.at(final_name),
        digest: *blake3::hash(text.as_bytes()).as_bytes(),
    }
}

#[test]
fn recovery_goes_by_the_bytes() {
    // (what the temporary name holds, what the final name holds) → done?, what the final name holds then.
    let table = [
        (None, Some("result"), true, Some("result")),
        (Some("result"), Some("result"), true, Some("result")),
        (Some("result"), None, true, Some("result")),
        (Some("res"), None, false, None),
        (None, None, false, None),
        (Some("result"), Some("theirs"), false, Some("theirs")),
        (None, Some("theirs"), false, Some("theirs")),
    ];
    for (temp, final_, done, then) in table {
        let room = Room::new();
        let publishing = interrupted(&room, "2024/a.png", "result");
        fs::create_dir(room.at("2024")).unwrap();
        temp.inspect(|text| fs::write(&publishing.temp, text).unwrap());
        final_.inspect(|text| room.put("2024/a.png", text));
        let resolution = room.publisher.recover(room.root(), &publishing).unwrap();
        let expected = if done {
            Resolution::Done {
                result: "2024/a.png".into(),
            }
        } else {
            Resolution::Requeue
        };
        assert_eq!(resolution, expected, "{temp:?} {final_:?}");
        assert!(!publishing.temp.exists(), "{temp:?} {final_:?}");
        assert_eq!(fs::read_to_string(&publishing.final_path).ok().as_deref(), then);
    }
}

#[test]
fn recovery_neither_follows_a_link_nor_waits_for_a_fifo() {
    let room = Room::new();
    room.put("elsewhere", "result");
    symlink(room.at("elsewhere"), room.at("link.png")).unwrap();
    room.fifo("fifo.png");
    for name in ["link.png", "fifo.png"] {
        let publishing = interrupted(&room, name, "result");
        let resolution = room.publisher.recover(room.root(), &publishing).unwrap();
        assert_eq!(resolution, Resolution::Requeue, "{name}");
        assert!(fs::symlink_metadata(room.at(name)).is_ok(), "{name} was removed");
    }
}

#[test]
fn an_unmounted_output_folder_is_no_reason_to_do_the_work_again() {
    let room = Room::new();
    let publishing = interrupted(&room, "out/a.png", "result");
    let error = room.publisher.recover(&room.at("out"), &publishing).unwrap_err();
    assert!(matches!(error, PublishError::RootMissing { .. }), "{error}");
}

#[test]
fn the_sweep_takes_our_leftovers_and_those_of_dead_commands_and_nothing_else() {
    let room = Room::new();
    let us = Instance::of_state_dir(room.root());
    // The largest number that Linux gives to a process is 4194304.
    let swept = [
        format!(".upscaled-{us}-1-1.tmp"),
        format!("a/b/.upscaled-{us}-2-1.tmp"),
        ".upscaled-cli-4999999-x.tmp".to_owned(),
        ".upscaled/jobs/.upscaled-doc-4999999-3.tmp".to_owned(),
    ];
    let kept = [
        ".upscaled-0123abcd-1-1.tmp".to_owned(),
        format!(".upscaled-cli-{}-x.tmp", std::os::unix::process::parent_id()),
        ".upscaled-cli-x.tmp".to_owned(),
        format!(".upscaled-{us}-1-1.tmp.png"),
        format!("upscaled-{us}-1-1.tmp"),
        ".upscaled.tmp".to_owned(),
        "a/photo.png".to_owned(),
    ];
    for name in swept.iter().chain(&kept) {
        room.put(name, "x");
    }
    let outside = tempfile::tempdir().unwrap();
    let beyond = outside.path().join(format!(".upscaled-{us}-9-1.tmp"));
    fs::write(&beyond, "x").unwrap();
    symlink(outside.path(), room.at("link")).unwrap();
    let working = room
        .publisher
        .stage(room.root(), &room.at("a/z.png"), "8-1")
        .unwrap();

    assert_eq!(room.publisher.sweep(room.root()).unwrap(), swept.len() as u64);
    for name in &swept {
        assert!(!room.at(name).exists(), "{name}");
    }
    for name in &kept {
        assert!(room.at(name).exists(), "{name}");
    }
    assert!(working.path().exists() && beyond.exists());
    assert_eq!(room.publisher.sweep(room.root()).unwrap(), 0);
}
