//! What a person types and what comes back: exit codes, lines, JSON. Runs the real binary.

#[path = "cli/desk.rs"]
mod desk;
#[path = "cli/ledger.rs"]
mod ledger;
mod support;
#[path = "cli/upscale.rs"]
mod upscale;

use std::fs;
use std::io::Read;

use serde_json::Value;

use desk::{Desk, Run};

// --- the frame

#[test]
fn help_lists_exactly_the_commands_that_work() {
    let desk = Desk::new();
    let help = desk.run(&["--help"]);
    let commands: Vec<&str> = help
        .ok()
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "run",
        "once",
        "upscale",
        "status",
        "pause",
        "resume",
        "rescan",
        "jobs",
        "models",
        "config",
        "doctor",
        "completions",
        "man",
        "help",
    ];
    assert_eq!(commands, expected);
    for (group, expected) in [
        ("jobs", ["list", "show", "retry", "cancel", "remove"].as_slice()),
        ("models", &["list", "show", "import", "remove", "verify", "tune"]),
        ("config", &["check", "show", "init"]),
    ] {
        let help = desk.run(&[group, "--help"]);
        for command in expected {
            assert!(
                help.ok().contains(&format!("  {command} ")),
                "{group} does not list {command}"
            );
        }
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let desk = Desk::new();
    let commands: &[&[&str]] = &[
        &["run"],
        &["once"],
        &["upscale"],
        &["status"],
        &["jobs", "list"],
        &["jobs", "show"],
        &["jobs", "retry"],
        &["jobs", "cancel"],
        &["jobs", "remove"],
        &["pause"],
        &["resume"],
        &["rescan"],
        &["models", "list"],
        &["models", "show"],
        &["models", "verify"],
        &["config", "check"],
        &["config", "show"],
        &["config", "init"],
        &["doctor"],
        &["completions"],
        &["man"],
    ];
    for command in commands {
        let help = desk.run(&[*command, &["--help"]].concat());
        assert!(help.ok().contains("Example"), "{command:?}: {help:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let desk = Desk::new();
    for args in [
        ["upscale"].as_slice(),
        &["frobnicate"],
        &["pause", "--for", "a while"],
        &["pause", "--for", "0s"],
        &["upscale", "a.png", "--tiling", "feathered"],
        &["upscale", "a.png", "--tiling", "none", "--tile", "128"],
        &[
            "upscale",
            "a.png",
            "--tiling",
            "comfy",
            "--tile",
            "128",
            "--overlap",
            "64",
        ],
        &["upscale", "a.png", "--scale", "17"],
        &["upscale", "a.png", "--tiling", "exact", "--overlap", "32"],
        &["upscale", "a.png", "--quality", "101"],
        &["upscale", "a.png", "-o", "a.xyz"],
        &["upscale", "a.png", "-o", "a.jpg", "--format", "png"],
        &["--log-level", "upscaled=loud", "models", "list"],
    ] {
        let run = desk.run(args);
        assert_eq!(run.code, Some(2), "{args:?}: {run:?}");
        assert_eq!(run.stdout, "", "{args:?}");
        run.one_line(2);
    }
}

#[test]
fn version_and_models_need_nothing() {
    let desk = Desk::new();
    assert_eq!(
        desk.run(&["--version"]).ok(),
        format!("upscaled {}\n", env!("CARGO_PKG_VERSION"))
    );
    let cards = desk.run(&["models", "list", "--json"]);
    cards.ok();
    let names: Vec<Value> = cards
        .json()
        .as_array()
        .expect("an array")
        .iter()
        .map(|card| card["name"].clone())
        .collect();
    assert_eq!(names, ["span-x2", "span-x4"]);
    assert_eq!(
        desk.run(&["models", "show", "span-x2", "--json"]).json()["scale"],
        2
    );
    let unknown = desk.run(&["models", "show", "span-x8"]);
    assert!(unknown.one_line(69).contains("span-x2, span-x4"));
}

#[test]
fn completions_and_the_manual_come_from_the_definitions() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.run(&["completions", shell]);
        assert!(script.ok().contains("device-memory"), "{shell}");
    }
    let page = desk.run(&["man"]);
    assert!(
        page.ok().lines().any(|line| line.starts_with(".TH upscaled 1")),
        "{page:?}"
    );
}

#[test]
fn a_reader_that_leaves_early_gets_no_panic_and_no_error() {
    let desk = Desk::new();
    desk.configure();
    for args in [
        ["jobs", "list", "--json"].as_slice(),
        &["completions", "zsh"],
        &["man"],
        &["config", "show"],
        &["--help"],
    ] {
        let mut child = desk.command(args).spawn().expect("the binary runs");
        // Gone before anything is written.
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("stderr")
            .read_to_string(&mut stderr)
            .expect("UTF-8");
        assert_eq!(
            child.wait().expect("it ends").code(),
            Some(0),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr, "", "{args:?}");
    }
}

// --- configuration

#[test]
fn without_a_configuration_the_line_names_the_places_and_the_remedy() {
    let desk = Desk::new();
    for args in [
        ["status"].as_slice(),
        &["jobs", "list"],
        &["config", "check"],
        &["run"],
        &["once"],
    ] {
        let run = desk.run(args);
        let line = run.one_line(78);
        assert!(
            line.contains("upscaled.toml") && line.contains("upscaled config init"),
            "{line}"
        );
    }
}

#[test]
fn every_problem_of_a_configuration_has_a_line_of_its_own() {
    let desk = Desk::new();
    let path = desk.write("bad.toml", "state_dri = \"/x\"\nmin_free = 5\n");
    let check = desk.run(&["config", "check", "--config", "bad.toml"]);
    assert_eq!(check.code, Some(78));
    let lines: Vec<&str> = check.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{check:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("upscaled: bad.toml: ")),
        "{check:?}"
    );
    assert!(
        check.stderr.contains("state_dri") && check.stderr.contains("state_dir"),
        "{check:?}"
    );
    let json = desk.run(&["--config", "bad.toml", "config", "check", "--json"]);
    assert_eq!(json.code, Some(78));
    assert_eq!(json.json()["problems"].as_array().map(Vec::len), Some(2));
    let by_environment = Run::of(desk.command(&["config", "check"]).env("UPSCALED_CONFIG", &path));
    assert_eq!(by_environment.code, Some(78), "UPSCALED_CONFIG is not read");
}

#[test]
fn a_starter_file_is_valid_and_never_replaces_another() {
    let desk = Desk::new();
    let init = desk.run(&["config", "init"]);
    assert!(init.ok().contains("upscaled.toml"), "{init:?}");
    assert!(desk.run(&["config", "check"]).ok().starts_with("ok: "));
    desk.write("upscaled.toml", "# mine");
    assert!(desk.run(&["config", "init"]).one_line(74).contains("exists"));
    assert_eq!(
        fs::read_to_string(desk.path("upscaled.toml")).expect("the file"),
        "# mine"
    );
    desk.run(&["config", "init", "--config", "sub/dir/new.toml"]).ok();
    assert!(desk.path("sub/dir/new.toml").is_file());
}

#[test]
fn the_units_drop_in_names_the_folders_of_the_configuration() {
    let desk = Desk::new();
    desk.run(&["config", "init", "--systemd"]).one_line(78);
    desk.configure();
    let printed = desk.run(&["config", "init", "--systemd", "--print"]);
    let text = printed.ok();
    assert!(text.contains("ProtectSystem=strict"), "{text}");
    // The temporary directory is hidden by the unit's PrivateTmp=, so the folders are bound into it.
    let place = desk.path("").canonicalize().expect("the place");
    let opened = text.lines().any(|line| {
        let path = line.split_once("=-").map(|(_, path)| path);
        path.is_some_and(|path| place.starts_with(path) || std::path::Path::new(path).starts_with(&place))
    });
    assert!(opened, "{text}");
    let starter = desk.run(&["config", "init", "--print"]);
    assert!(starter.ok().contains("[[folder]]"), "{starter:?}");
}

#[test]
fn the_configuration_is_shown_with_every_default() {
    let desk = Desk::new();
    desk.configure();
    let toml = desk.run(&["config", "show"]);
    assert!(toml.ok().contains("quality = 92"), "{toml:?}");
    assert_eq!(
        desk.run(&["config", "show", "--json"]).json()["folder"][0]["name"],
        "photos"
    );
}

// --- doctor

#[test]
fn doctor_checks_one_line_each_and_tells_each_provider() {
    let desk = Desk::new();
    desk.configure();
    let run = desk.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let checks = run.json()["checks"].as_array().expect("checks").clone();
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    for name in [
        "config",
        "state_dir",
        "runtime",
        "provider:tensorrt",
        "provider:cuda",
        "provider:cpu",
        "model",
    ] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
    for check in &checks {
        let keys: Vec<&str> = check
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert!(
            ["ok", "warn", "fail"].contains(&check["result"].as_str().expect("a word")),
            "{check}"
        );
        assert!(
            check["result"] == "ok" || check["remedy"].is_string(),
            "no remedy: {check}"
        );
    }
    assert!(!desk.path("state").exists(), "doctor only looks");
    assert_eq!(
        fs::read_dir(desk.path("out")).expect("the folder").count(),
        0,
        "doctor cleans up"
    );
    let text = desk.run(&["doctor"]);
    assert_eq!(
        text.ok()
            .lines()
            .filter(|line| line.contains("provider:cpu"))
            .count(),
        1,
        "{text:?}"
    );
}

#[test]
fn doctor_finds_a_missing_folder_and_a_wrong_configuration() {
    let desk = Desk::new();
    desk.configure();
    fs::remove_dir(desk.path("in")).expect("removed");
    let run = desk.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let checks = run.json();
    let failed: Vec<&Value> = checks["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["result"] == "fail")
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0]["detail"].as_str().expect("a detail").contains("in"),
        "{failed:?}"
    );
    desk.write("upscaled.toml", "nonsense = 1");
    assert_eq!(desk.run(&["doctor"]).code, Some(78));
}
