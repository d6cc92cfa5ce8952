//! Protects people from what they did not ask for: nothing is written outside of the folders that they named, and ONNX
//! Runtime does not report to its maker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use support::site::Site;

#[test]
fn onnx_runtime_leaves_no_identifier_in_the_home_directory() {
    let site = Site::new("");
    let home = site.path("home");
    std::fs::create_dir(&home).unwrap();
    site.drop_photo("a.png", 40, 30);
    let mut command = site.command(["once"]);
    // Cargo sets the variable for the tests' own processes; the binary has to do it by itself.
    command
        .env("HOME", &home)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("ORT_DISABLE_TELEMETRY");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(site.files("home").is_empty(), "{:?}", site.files("home"));
}
