//! Protects the daemon against what people drop: every bad file ends in one clear line and a job state, nothing
//! half-written is left, and the next good photo is processed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::site::Site;

/// A PNG whose header claims this size and whose pixels are missing.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    for chunk in [header, b"IDAT".to_vec(), b"IEND".to_vec()] {
        bytes.extend(u32::try_from(chunk.len() - 4).unwrap().to_be_bytes());
        bytes.extend(&chunk);
        bytes.extend(crc32(&chunk).to_be_bytes());
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn every_bad_file_fails_with_its_reason_and_the_next_good_one_is_done() {
    let site = Site::new("");
    let input = |name: &str| site.path("in").join(name);
    std::fs::write(input("text.jpg"), "this is not a picture\n".repeat(20)).unwrap();
    std::fs::write(input("huge.png"), png_header(60_000, 60_000)).unwrap();
    for name in ["cut.jpg", "cut.png"] {
        let path = site.drop_photo(name, 200, 160);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        // Old enough that nobody can still be writing it.
        std::fs::File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    }
    std::fs::write(input("empty.png"), "").unwrap();
    std::fs::create_dir(input("folder.png")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(input("fifo.png"))
            .status()
            .unwrap()
            .success()
    );
    let elsewhere = site.path("elsewhere.png");
    support::photo(30, 20).save(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, input("link.png")).unwrap();

    let output = site.run(["once", "--json"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    for (name, code) in [
        ("text.jpg", "unreadable"),
        ("huge.png", "too_large"),
        ("cut.jpg", "truncated"),
        ("cut.png", "truncated"),
    ] {
        let document = site
            .job_file(name)
            .unwrap_or_else(|| panic!("{name} has no job file: {output:?}"));
        assert_eq!(document["state"], "failed", "{name}");
        assert_eq!(document["reason"]["code"], code, "{name}");
        let message = document["reason"]["message"].as_str().unwrap();
        assert!(message.contains(name) && !message.contains('\n'), "{message}");
        let text =
            std::fs::read_to_string(site.path("out/failed").join(format!("{name}.error.txt"))).unwrap();
        assert!(text.contains(message), "{text}");
    }
    for name in ["empty.png", "folder.png", "fifo.png", "link.png"] {
        assert!(site.job_file(name).is_none(), "{name} is no candidate");
    }
    assert!(site.results().is_empty());

    let daemon = site.daemon();
    site.drop_photo("good.png", 40, 30);
    site.wait_for_state("good.png", "done");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(site.results(), [PathBuf::from("good_2x.png")]);
}

#[test]
fn names_with_newlines_and_names_that_are_not_utf8_come_back_under_their_names() {
    let site = Site::new("");
    let strange = OsStr::from_bytes(b"ger\xe4t.png");
    site.drop_photo("two\nlines.png", 40, 30);
    site.drop_photo(strange, 42, 30);
    let output = site.run(["once", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("\"source_hex\":\"676572e4742e706e67\""), "{text}");
    let mut wanted = vec![
        PathBuf::from("two\nlines_2x.png"),
        PathBuf::from(OsStr::from_bytes(b"ger\xe4t_2x.png")),
    ];
    wanted.sort();
    assert_eq!(site.results(), wanted);
    for line in String::from_utf8(site.run(["jobs", "list"]).stdout)
        .unwrap()
        .lines()
    {
        assert!(!line.starts_with("lines"), "a name cannot break the table");
    }
}

#[test]
fn an_output_that_cannot_be_written_blocks_the_queue_and_charges_nobody() {
    let site = Site::new("");
    std::fs::remove_dir(site.path("out")).unwrap();
    std::fs::write(site.path("out"), "a file where the folder should be").unwrap();
    site.drop_photo("a.png", 40, 30);
    let output = site.run(["once"]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("output folder"), "{message}");
    let jobs = site.json(["jobs", "list", "--json"]);
    // What lies in the output folder tells what is new: until that can be read nothing is taken in.
    assert_eq!(jobs, serde_json::json!([]));

    std::fs::remove_file(site.path("out")).unwrap();
    let output = site.run(["once"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(site.results(), [PathBuf::from("a_2x.png")]);
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_one_and_78() {
    let site = Site::new("modle = \"span-x4\"");
    for command in [["run"].as_slice(), &["once"], &["config", "check"]] {
        let output = site.run(command);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            message.contains("modle") && message.contains("\"model\""),
            "{message}"
        );
    }
}

#[test]
fn without_onnx_runtime_the_one_command_that_installs_it_is_told_with_69() {
    let site = Site::new("");
    let text = std::fs::read_to_string(site.config()).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("library"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(site.config(), without).unwrap();
    let photo = site.drop_photo("a.png", 40, 30);
    for args in [
        vec![OsStr::new("run")],
        vec![OsStr::new("once")],
        vec![OsStr::new("upscale"), photo.as_os_str()],
    ] {
        let output = site
            .command(&args)
            .env("ORT_DYLIB_PATH", "/nonexistent/libonnxruntime.so")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("scripts/fetch-runtime"), "{message}");
        // What the log says before it is not the message.
        let told = message.lines().filter(|line| line.starts_with("upscaled: "));
        assert_eq!(told.count(), 1, "{message}");
    }
    assert!(!Path::new(&site.path("in/a_4x.png")).exists());
}

#[test]
fn a_file_that_is_replaced_after_it_failed_is_tried_again() {
    let site = Site::new("");
    std::fs::write(site.path("in/a.png"), "not a picture, not yet at least").unwrap();
    let _daemon = site.daemon();
    site.wait_for_state("a.png", "failed");
    // The text comes a moment after the job file.
    let text = site.path("out/failed/a.png.error.txt");
    site.wait_for("the failure is told", || text.exists().then_some(()));
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    site.wait_for("the failure is history", || (!text.exists()).then_some(()));
}
