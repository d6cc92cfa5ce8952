//! `upscaled upscale`: where results go, what is refused, what is told.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::desk::{Desk, Run};

fn sizes(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).expect("a picture")
}

#[test]
fn a_picture_is_upscaled_beside_itself_and_told_in_one_line() {
    let desk = Desk::new();
    desk.photo("photo.png", 40, 30);
    let run = desk.run(&["upscale", "photo.png"]);
    let line = run.ok();
    assert!(line.starts_with("photo.png → photo_4x.png  160×120  "), "{run:?}");
    assert_eq!(line.lines().count(), 1);
    assert_eq!(run.stderr, "", "no bar where stderr is no terminal");
    assert_eq!(sizes(&desk.path("photo_4x.png")), (160, 120));
    assert_eq!(desk.names(), ["photo.png", "photo_4x.png"]);
}

#[test]
fn results_go_where_o_says() {
    let desk = Desk::new();
    desk.photo("a.png", 16, 12);
    desk.photo("b.png", 12, 16);
    desk.run(&["upscale", "a.png", "-o", "one.jpg", "--model", "span-x2"])
        .ok();
    assert_eq!(
        &fs::read(desk.path("one.jpg")).expect("a result")[..2],
        b"\xff\xd8",
        "the extension names the format"
    );
    assert_eq!(sizes(&desk.path("one.jpg")), (32, 24));
    desk.run(&[
        "upscale", "a.png", "b.png", "-o", "new/dir", "--model", "span-x2", "--format", "webp",
    ])
    .ok();
    assert_eq!(sizes(&desk.path("new/dir/a_2x.webp")), (32, 24));
    assert_eq!(sizes(&desk.path("new/dir/b_2x.webp")), (24, 32));
    desk.run(&["upscale", "a.png", "-o", "alone/"]).ok();
    assert!(desk.path("alone/a_4x.png").is_file());
    let missing = desk.run(&["upscale", "a.png", "-o", "nowhere/a.png"]);
    assert!(missing.one_line(74).contains("nowhere"), "{missing:?}");
}

#[test]
fn a_picture_with_a_wrong_extension_gives_a_result_with_the_right_one() {
    let desk = Desk::new();
    let real = desk.photo("real.png", 8, 8);
    fs::copy(real, desk.path("liar.jpg")).expect("a copy");
    desk.run(&["upscale", "liar.jpg"]).ok();
    assert!(desk.path("liar_4x.png").is_file(), "{:?}", desk.names());
}

#[test]
fn an_existing_result_is_untouched_without_overwrite() {
    let desk = Desk::new();
    desk.photo("a.png", 8, 8);
    desk.write("a_4x.png", "precious");
    let refused = desk.run(&["upscale", "a.png"]);
    assert!(
        refused.one_line(74).contains("exists; use --overwrite"),
        "{refused:?}"
    );
    assert_eq!(fs::read(desk.path("a_4x.png")).expect("the file"), b"precious");
    desk.run(&["upscale", "a.png", "--overwrite"]).ok();
    assert_eq!(sizes(&desk.path("a_4x.png")), (32, 32));
    assert_eq!(desk.names(), ["a.png", "a_4x.png"]);
}

#[test]
fn an_input_is_never_replaced_by_a_result() {
    let desk = Desk::new();
    let source = desk.photo("a.png", 8, 8);
    let before = fs::read(&source).expect("the source");
    std::os::unix::fs::symlink("a.png", desk.path("link.png")).expect("a link");
    for out in ["a.png", "./a.png", "link.png"] {
        assert_eq!(desk.run(&["upscale", "a.png", "-o", out]).code, Some(74), "{out}");
        assert_eq!(
            desk.run(&["upscale", "a.png", "-o", out, "--overwrite"]).code,
            Some(2),
            "{out}"
        );
    }
    assert_eq!(fs::read(&source).expect("the source"), before);
}

#[test]
fn two_inputs_with_one_result_are_refused_before_any_work() {
    let desk = Desk::new();
    desk.photo("x/a.png", 8, 8);
    desk.photo("y/a.png", 8, 8);
    let run = desk.run(&["upscale", "x/a.png", "y/a.png", "-o", "out"]);
    assert!(run.one_line(2).contains("a_4x.png"), "{run:?}");
    assert!(!desk.path("out").exists());
    desk.write("file", "");
    assert_eq!(
        desk.run(&["upscale", "x/a.png", "y/a.png", "-o", "file"]).code,
        Some(2)
    );
}

#[test]
fn what_cannot_be_read_has_its_code_and_its_line() {
    let desk = Desk::new();
    desk.write("text.jpg", "this is no picture");
    desk.write("empty.png", "");
    desk.photo("whole.png", 64, 64);
    let whole = fs::read(desk.path("whole.png")).expect("the picture");
    desk.write("half.png", &whole[..whole.len() / 2]);
    fs::create_dir(desk.path("folder.png")).expect("a directory");
    assert!(
        desk.run(&["upscale", "missing.png"])
            .one_line(74)
            .contains("missing.png")
    );
    for name in ["text.jpg", "empty.png", "half.png"] {
        assert!(desk.run(&["upscale", name]).one_line(65).contains(name));
    }
    let folder = desk.run(&["upscale", "folder.png"]);
    assert!(matches!(folder.code, Some(65 | 74)), "{folder:?}");
    assert_eq!(
        desk.names(),
        ["empty.png", "folder.png", "half.png", "text.jpg", "whole.png"]
    );
}

#[test]
fn one_bad_input_does_not_keep_the_others() {
    let desk = Desk::new();
    desk.write("bad.jpg", "no picture");
    desk.photo("good.png", 8, 8);
    let run = desk.run(&["upscale", "bad.jpg", "good.png"]);
    assert!(run.one_line(1).contains("bad.jpg"), "{run:?}");
    assert!(desk.path("good_4x.png").is_file());
}

#[test]
fn json_has_a_document_for_every_input_and_nothing_else() {
    let desk = Desk::new();
    desk.write("bad.jpg", "no picture");
    desk.photo("good.png", 10, 8);
    let run = desk.run(&["upscale", "bad.jpg", "good.png", "--json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr, "");
    let documents: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document"))
        .collect();
    assert_eq!(documents.len(), 2);
    let [bad, good] = [&documents[0], &documents[1]];
    assert_eq!(
        (&bad["state"], &bad["reason"]["code"], &bad["source"]),
        (
            &Value::from("failed"),
            &Value::from("unreadable"),
            &Value::from("bad.jpg")
        )
    );
    assert_eq!(good["state"], "done");
    assert_eq!(good["result"], "good_4x.png");
    assert_eq!(good["job"], Value::Null);
    assert_eq!(good["output"]["width"], 40);
    assert_eq!(good["model"]["name"], "span-x4");
    assert_eq!(good["plan"]["provider"], "cpu");
    let bytes = fs::metadata(desk.path("good_4x.png")).expect("a result").len();
    assert_eq!(good["output"]["bytes"], bytes);
    let hash = blake3::hash(&fs::read(desk.path("good.png")).expect("the source"));
    assert_eq!(good["source_blake3"], hash.to_hex().as_str());
}

#[test]
fn without_onnx_runtime_the_line_names_the_remedy() {
    let desk = Desk::new();
    desk.photo("a.png", 8, 8);
    desk.photo("b.png", 8, 8);
    let missing = |args: &[&str]| {
        Run::of(
            desk.command(args)
                .env("ORT_DYLIB_PATH", "/nonexistent/libonnxruntime.so"),
        )
    };
    assert!(
        missing(&["upscale", "a.png"])
            .one_line(69)
            .contains("ORT_DYLIB_PATH")
    );
    let both = missing(&["upscale", "a.png", "b.png", "--json"]);
    assert_eq!(both.code, Some(69));
    assert_eq!(both.stdout.lines().count(), 2, "{both:?}");
    assert_eq!(desk.names(), ["a.png", "b.png"]);
    let doctor = missing(&["doctor", "--json"]);
    assert_eq!(doctor.code, Some(69), "{doctor:?}");
}

#[test]
fn unknown_models_are_answered_with_the_known_ones() {
    let desk = Desk::new();
    desk.photo("a.png", 8, 8);
    assert!(
        desk.run(&["upscale", "a.png", "--model", "span-x8"])
            .one_line(69)
            .contains("span-x4")
    );
}

#[test]
fn ctrl_c_stops_at_the_next_tile_and_leaves_nothing() {
    let desk = Desk::new();
    for name in ["a.png", "b.png", "c.png"] {
        desk.photo(name, 400, 300);
    }
    // Small tiles: the next one is never far. The first result tells that work has begun, not how far it is.
    let args = ["upscale", "a.png", "b.png", "c.png", "--tile", "64", "--json"];
    let mut child = desk.command(&args).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("JSON");
    assert_eq!(first["state"], "done");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let rest: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.expect("UTF-8")).expect("JSON"))
        .collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[1]["state"], "cancelled", "{rest:?}");
    assert!(
        desk.names().iter().all(|name| !name.starts_with('.')),
        "{:?}",
        desk.names()
    );
    assert!(!desk.path("c_4x.png").exists());
}
