//! Protects what a lost device comes to, seen from outside: the process ends with 76 and not by a crash, its job is
//! given back once and quarantined the second time, and whoever looks is told why.
//!
//! The device is ONNX Runtime's, between it and the real binary: a library that passes everything on and fails at the
//! first run as CUDA's provider does (support/lost_device.c).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use sqlx::{ConnectOptions, Connection};
use support::runtime_library;
use support::site::Site;

const MESSAGE: &str = "Non-zero status code returned while running Conv node. Name:'/conv_1/Conv' Status Message: CUDA \
    failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=nas ; file=gpu_data_transfer.cc ; line=63";

/// A place whose ONNX Runtime has such a device.
fn site() -> Site {
    let site = Site::new("");
    let library = site.path("libonnxruntime.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/lost_device.c");
    // The compiler that Rust links with.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(format!("-DREAL={:?}", runtime_library()))
        .arg(format!("-DMESSAGE={MESSAGE:?}"))
        .arg(source)
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let real = format!("{:?}", runtime_library());
    assert!(config.contains(&real));
    // This library opens another one elsewhere, which is just what the sandbox forbids.
    let config = config.replace(&real, &format!("{library:?}"));
    std::fs::write(site.config(), format!("sandbox = \"off\"\n{config}")).unwrap();
    site
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lets the job be claimed now. How long it waits is the ledger's affair and tested there.
fn let_it_be_due(site: &Site) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.path("state/state.db"));
        let mut ledger = options.connect().await.unwrap();
        let due = sqlx::query("UPDATE jobs SET not_before_ms = 0").execute(&mut ledger);
        assert_eq!(due.await.unwrap().rows_affected(), 1);
        ledger.close().await.unwrap();
    });
}

#[test]
fn the_service_ends_with_76_gives_the_job_back_once_and_quarantines_it_the_second_time() {
    let site = site();
    site.drop_photo("a.png", 64, 48);
    assert_eq!(site.daemon().wait(), Some(76), "{}", site.log());
    let job = site.job_file("a.png").unwrap();
    assert_eq!((&job["state"], &job["attempts"]), (&"queued".into(), &0.into()));
    let status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.path("out/status.json")).unwrap()).unwrap();
    let why = status["blocked_reason"].as_str().unwrap();
    assert!(
        why.contains("the device was lost: CUDA failure 700") && why.ends_with("clean device"),
        "{why}"
    );
    let log = site.log();
    assert!(log.lines().last().unwrap().contains(why), "{log}");

    let_it_be_due(&site);
    assert_eq!(site.daemon().wait(), Some(76), "{}", site.log());
    let job = site.job_file("a.png").unwrap();
    assert_eq!(
        (&job["state"], &job["reason"]["code"]),
        (&"failed".into(), &"model".into())
    );
    let message = job["reason"]["message"].as_str().unwrap();
    assert!(
        message.contains("CUDA failure 700") && message.contains("`upscaled jobs retry 1`"),
        "{message}"
    );
    assert!(site.path("out/failed/a.png.error.txt").is_file());

    // With the device that the fresh process has, the next picture is none the worse.
    site.configure("");
    site.drop_photo("b.png", 64, 48);
    assert_eq!(site.run(["once"]).status.code(), Some(0));
    assert_eq!(site.results(), [Path::new("b_2x.png")]);
}

#[test]
fn commands_without_a_service_end_with_76_too_after_a_line_that_says_why() {
    let site = site();
    let photo = site.drop_photo("a.png", 64, 48);
    let once = site.run(["once"]);
    assert_eq!(once.status.code(), Some(76), "{once:?}");
    let told = stderr(&once);
    assert!(
        told.lines().last().unwrap().contains("CUDA failure 700"),
        "{told}"
    );

    let upscale = site.run(["upscale", "-o", "result.png", photo.to_str().unwrap()]);
    assert_eq!(upscale.status.code(), Some(76), "{upscale:?}");
    let told = stderr(&upscale);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains("CUDA failure 700") && told.contains("run it again"),
        "{told}"
    );
    assert!(!site.path("result.png").exists());
}
