//! Protects what systemd is told: READY once everything runs, RELOADING with a time and READY after it (also when the
//! new configuration is refused), WATCHDOG while idle, STOPPING at the end. And what the unit must say, whatever version
//! of systemd reads it; `make check-unit` asks systemd itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use support::site::{Daemon, Signal, Site};

/// What arrives at the socket, until a message holds this text.
fn wait_for(socket: &UnixDatagram, text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("no {text}: {error}; {messages:?}"));
        messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if messages.last().is_some_and(|message| message.contains(text)) {
            return messages;
        }
    }
}

#[test]
fn systemd_hears_of_every_turn_of_the_service() {
    let site = Site::new("");
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let log = std::fs::File::create(site.path("daemon.log")).unwrap();
    let mut command = site.command(["run"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "2000000")
        .env_remove("WATCHDOG_PID");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let daemon = Daemon::from(child);

    wait_for(&socket, "READY=1");
    wait_for(&socket, "WATCHDOG=1");
    site.configure("formatt = \"png\"");
    daemon.signal(Signal::HUP);
    let reloading = wait_for(&socket, "RELOADING=1");
    assert!(
        reloading.last().unwrap().contains("MONOTONIC_USEC="),
        "{reloading:?}"
    );
    wait_for(&socket, "READY=1");
    // systemd's own SIGHUP and the unit's ExecReload= both arrive: each is answered, the second changes nothing.
    site.configure("");
    daemon.signal(Signal::HUP);
    wait_for(&socket, "RELOADING=1");
    wait_for(&socket, "READY=1");
    assert!(
        site.log().contains("the configuration is the one in force"),
        "{}",
        site.log()
    );
    daemon.signal(Signal::TERM);
    wait_for(&socket, "STOPPING=1");
    assert_eq!(daemon.wait(), Some(0));
}

/// The values of a key of the unit, in order.
fn unit(key: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/upscaled.service");
    let text = std::fs::read_to_string(path).unwrap();
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

#[test]
fn every_version_of_systemd_finds_a_type_that_it_knows() {
    // An unknown word is ignored and the value before it stays; before 253 that must not be `simple`.
    assert_eq!(unit("Type"), ["notify", "notify-reload"]);
    assert_eq!(unit("ExecReload").len(), 1);
}

#[test]
fn the_unit_lets_the_service_restrict_itself_and_reach_a_gpu() {
    let filter = unit("SystemCallFilter").join(" ");
    for call in [
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    ] {
        assert!(filter.split(' ').any(|allowed| allowed == call), "{filter}");
    }
    // Each of these has hidden the GPU, broken ONNX Runtime or given the results to nobody.
    for key in [
        "PrivateDevices",
        "DevicePolicy",
        "ProtectClock",
        "MemoryDenyWriteExecute",
        "ProcSubset",
        "PrivateUsers",
        "DynamicUser",
    ] {
        assert_eq!(unit(key), Vec::<String>::new(), "{key}");
    }
}
