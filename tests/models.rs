//! Models that somebody brings, with the real binary: by path, by name, replaced while the daemon runs, and files that
//! are no upscalers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "cli/desk.rs"]
mod desk;
mod support;

use std::path::{Path, PathBuf};

use desk::Desk;
use serde_json::Value;
use support::site::Site;

/// A small model of the tests (tests/models/README.md).
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/models")
        .join(format!("{name}.onnx"))
}

fn copy(name: &str, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    // Beside its place first, as whoever replaces a file that is in use does.
    let beside = to.with_extension("new");
    std::fs::copy(model(name), &beside).unwrap();
    #[expect(clippy::disallowed_methods, reason = "not one of our own files")]
    std::fs::rename(beside, to).unwrap();
}

#[test]
fn a_model_is_used_by_its_path_and_examined_once() {
    let desk = Desk::new();
    desk.photo("a.png", 60, 40);
    copy("plain-x2", &desk.path("nets/mine.onnx"));
    let upscale = |out: &str| {
        let run = desk.run(&[
            "upscale",
            "a.png",
            "--model",
            "nets/mine.onnx",
            "-o",
            out,
            "--json",
        ]);
        assert_eq!(run.code, Some(0), "{run:?}");
        run
    };
    let first = upscale("first.png");
    assert!(first.stderr.contains("examining the model"), "{first:?}");
    assert_eq!(first.json()["model"]["name"], "mine");
    assert_eq!(first.json()["output"]["width"], 120);
    let second = upscale("second.png");
    assert_eq!(second.stderr, "");
    // Known by its content: neither its name nor its place matter.
    copy("plain-x2", &desk.path("other.onnx"));
    let moved = desk.run(&["models", "show", "other.onnx", "--json"]);
    assert_eq!(moved.stderr, "");
    assert_eq!(moved.json()["name"], "other");
}

#[test]
fn a_file_in_the_state_directory_is_a_model_by_name_and_one_that_cannot_be_used_is_listed_with_the_reason() {
    let desk = Desk::new();
    desk.configure();
    desk.photo("a.png", 60, 40);
    copy("plain-x2", &desk.path("state/models/mine.onnx"));
    copy("classifier", &desk.path("state/models/cats.onnx"));
    copy("plain-x2", &desk.path("state/models/span-x4.onnx"));
    let list = desk.run(&["models", "list", "--json"]);
    assert_eq!(list.code, Some(0));
    let names: Vec<Value> = list
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|card| card["name"].clone())
        .collect();
    assert_eq!(names, ["span-x2", "span-x4", "mine"]);
    let reason = |of: &str| {
        let line = list
            .stderr
            .lines()
            .find(|line| line.contains(of) && !line.contains("examining"));
        line.unwrap_or_else(|| panic!("{of} is not told: {list:?}"))
            .to_owned()
    };
    assert!(reason("cats.onnx").contains("cannot use the model"));
    assert!(reason("span-x4.onnx").contains("hidden by the built-in model"));
    assert_eq!(desk.run(&["upscale", "a.png", "--model", "mine"]).code, Some(0));
    assert!(desk.path("a_2x.png").is_file());
    assert!(desk.path("state/cards").is_dir());
}

#[test]
fn a_file_that_is_no_upscaler_is_refused_where_it_is_named_and_before_any_job() {
    let desk = Desk::new();
    desk.photo("a.png", 60, 40);
    desk.write("text.onnx", "this is no model");
    copy("classifier", &desk.path("cats.onnx"));
    for (name, args) in [
        (
            "text.onnx",
            ["upscale", "a.png", "--model", "text.onnx"].as_slice(),
        ),
        ("cats.onnx", &["upscale", "a.png", "--model", "cats.onnx"]),
        ("cats.onnx", &["models", "show", "./cats.onnx"]),
        ("none.onnx", &["models", "show", "none.onnx"]),
    ] {
        let run = desk.run(args);
        assert_eq!(run.code, Some(69), "{run:?}");
        let told = run.stderr.lines().last().unwrap();
        assert!(told.contains(name), "{run:?}");
        assert_eq!(run.stdout, "");
    }

    let site = Site::new("");
    site.drop_photo("a.png", 40, 30);
    copy("classifier", &site.path("cats.onnx"));
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("\"span-x2\"", "\"cats.onnx\"")).unwrap();
    for args in [["config", "check"].as_slice(), &["once"], &["run"]] {
        let run = site.run(args);
        let told = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(69), "{args:?}: {told}");
        assert!(
            told.contains("photos") && told.contains("cats.onnx"),
            "{args:?}: {told}"
        );
    }
    assert_ne!(site.run(["doctor"]).status.code(), Some(0));
    assert_eq!(
        site.json(["jobs", "list", "--json"]),
        serde_json::json!([]),
        "no job"
    );
}

#[test]
fn the_next_job_uses_a_model_that_was_replaced_and_waits_for_one_that_cannot_be_used() {
    let site = Site::new("");
    let file = site.path("state/models/mine.onnx");
    copy("plain-x2", &file);
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("\"span-x2\"", "\"mine\"")).unwrap();
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    let first = site.wait_for_state("a.png", "done");
    assert_eq!(first["output"]["width"], 80);

    copy("times1.5", &file);
    site.drop_photo("b.png", 40, 30);
    let second = site.wait_for_state("b.png", "done");
    assert_eq!(second["output"]["width"], 60, "{second}");
    assert_ne!(second["model"]["sha256"], first["model"]["sha256"]);
    // What the old one made is made again.
    site.wait_for("the first picture is made by the new model", || {
        site.job_file("a.png")
            .filter(|job| job["state"] == "done" && job["model"] == second["model"])
    });

    copy("classifier", &file);
    site.drop_photo("c.png", 40, 30);
    let status = site.path("out/status.json");
    site.wait_for("the folder says what it waits for", || {
        let status: Value = serde_json::from_slice(&std::fs::read(&status).ok()?).ok()?;
        let reason = status["blocked_reason"].to_string();
        reason.contains("mine.onnx").then_some(())
    });
    assert_eq!(site.job_file("c.png").unwrap()["state"], "queued");
    copy("plain-x2", &file);
    let third = site.wait_for_state("c.png", "done");
    assert_eq!(third["output"]["width"], 80);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_cannot_be_kept_is_found_anew_and_hinders_nobody() {
    let desk = Desk::new();
    desk.configure();
    desk.photo("a.png", 60, 40);
    copy("plain-x2", &desk.path("mine.onnx"));
    // Files where directories would be: neither place can be written, by root neither.
    desk.write("state", "");
    let mut command = desk.command(&["upscale", "a.png", "--model", "mine.onnx"]);
    let run = command.env("XDG_DATA_HOME", desk.path("state")).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}

#[test]
fn the_built_in_models_make_what_they_made_when_their_references_were_stored() {
    let desk = Desk::new();
    for name in ["span-x2", "span-x4"] {
        let run = desk.run(&["models", "verify", name, "--json"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let verified = run.json();
        let on_cpu = verified
            .as_array()
            .unwrap()
            .iter()
            .find(|place| place["provider"] == "cpu")
            .unwrap();
        assert!(on_cpu["levels"].as_f64().unwrap() < 0.1, "{verified}");
        assert!(on_cpu["decibels"].as_f64().unwrap() > 80.0, "{verified}");
    }
    // Twice the weights of another: the reference tells.
    copy("plain-x2", &desk.path("mine.onnx"));
    assert_eq!(desk.run(&["models", "verify", "mine.onnx"]).code, Some(0));
}
