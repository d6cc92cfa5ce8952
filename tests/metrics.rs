//! Protects what a monitoring sees, with the real binary: numbers that follow the jobs, a health answer that follows the
//! service, an address that is taken, and a log that does not repeat itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use support::site::{Daemon, Signal, Site};

/// An address that nobody had a moment ago.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Status and body; `None` while nobody answers.
fn ask(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line?.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn the_numbers_follow_the_jobs() {
    let address = free();
    let site = Site::new(&format!("[metrics]\nlisten = {address:?}\n"));
    let daemon = site.daemon();
    let metrics = || Some(ask(&address, "GET /metrics")?.1);
    let before = site.wait_for("the queue is known", || {
        metrics().filter(|text| value(text, "upscaled_queue_depth") == Some(0.0))
    });
    assert_eq!(value(&before, "upscaled_source_pixels_total"), Some(0.0));
    assert_eq!(value(&before, "upscaled_paused"), Some(0.0));
    assert!(!before.contains("upscaled_jobs_ended_total{"), "{before}");

    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    let done = "upscaled_jobs{folder=\"photos\",state=\"done\"}";
    let after = site.wait_for("the job is counted", || {
        metrics().filter(|text| value(text, done) == Some(1.0))
    });
    let version = format!("upscaled_build_info{{version={:?}}}", env!("CARGO_PKG_VERSION"));
    for (name, expected) in [
        (
            "upscaled_jobs_ended_total{folder=\"photos\",outcome=\"done\"}",
            1.0,
        ),
        ("upscaled_source_pixels_total", 1200.0),
        ("upscaled_result_pixels_total", 4800.0),
        ("upscaled_stage_seconds_count{stage=\"inference\"}", 1.0),
        ("upscaled_stage_seconds_bucket{stage=\"encode\",le=\"+Inf\"}", 1.0),
        ("upscaled_oom_retries_total", 0.0),
        ("upscaled_folder_blocked{folder=\"photos\"}", 0.0),
        ("upscaled_service_state{state=\"running\"}", 1.0),
        ("upscaled_host_memory_budget_bytes", f64::from(1 << 30)),
        (version.as_str(), 1.0),
    ] {
        assert_eq!(value(&after, name), Some(expected), "{name} in\n{after}");
    }
    for name in [
        "upscaled_tile_pixels{side=\"width\"}",
        "upscaled_host_memory_peak_bytes",
        "upscaled_resident_memory_bytes",
        "upscaled_folder_last_scan_timestamp_seconds{folder=\"photos\"}",
        "upscaled_start_time_seconds",
    ] {
        assert!(
            value(&after, name).is_some_and(|value| value > 0.0),
            "{name} in\n{after}"
        );
    }
    assert_eq!(ask(&address, "POST /metrics").unwrap().0, 405);
    assert_eq!(ask(&address, "GET /secret").unwrap().0, 404);
    assert_eq!(ask(&address, "nonsense").map(|answer| answer.0), Some(400));
    assert_eq!(daemon.stop(), Some(0));
}

#[expect(clippy::disallowed_methods, reason = "what an unmounted share looks like")]
fn move_dir(site: &Site, from: &str, to: &str) {
    std::fs::rename(site.path(from), site.path(to)).unwrap();
}

#[test]
fn health_follows_the_service() {
    let address = free();
    let site = Site::new(&format!("[metrics]\nlisten = {address:?}\n"));
    let daemon = site.daemon();
    let health = |status: u16| {
        let (_, body) = site.wait_for(&format!("health is {status}"), || {
            ask(&address, "GET /health").filter(|answer| answer.0 == status)
        });
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let well = health(200);
    assert_eq!((&well["ok"], &well["service"]), (&true.into(), &"running".into()));
    assert!(well["last_progress_at"].is_string());
    move_dir(&site, "in", "away");
    let ill = health(503);
    assert_eq!((&ill["ok"], &ill["service"]), (&false.into(), &"blocked".into()));
    assert!(
        ill["blocked_reason"].as_str().unwrap().contains("input folder"),
        "{ill}"
    );
    move_dir(&site, "away", "in");
    health(200);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn an_address_that_is_taken_stops_nothing_and_a_reload_brings_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = |address: &str| format!("[metrics]\nlisten = {address:?}\n");
    let site = Site::new(&lines(&taken.local_addr().unwrap().to_string()));
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    assert!(site.log().contains("cannot answer metrics at"), "{}", site.log());
    let address = free();
    site.configure(&lines(&address));
    daemon.signal(Signal::HUP);
    site.wait_for("it answers", || ask(&address, "GET /health"));
    site.configure("");
    daemon.signal(Signal::HUP);
    site.wait_for("it answers no more", || {
        ask(&address, "GET /health").is_none().then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_log_that_repeats_itself_is_summed_up() {
    let site = Site::new("");
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let ready = || {
        let mut buffer = [0; 4096];
        while !buffer.starts_with(b"READY=1") {
            buffer.fill(0);
            socket.recv(&mut buffer).unwrap();
        }
    };
    let log = std::fs::File::create(site.path("daemon.log")).unwrap();
    let mut command = site.command(["run"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let daemon = Daemon::from(command.stderr(log).spawn().unwrap());
    ready();
    site.configure("formatt = \"png\"");
    let wrong = "did you mean \"format\"";
    for _ in 0..3 {
        daemon.signal(Signal::HUP);
        ready();
    }
    assert_eq!(daemon.stop(), Some(0));
    let log = site.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(wrong)).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[1].contains("(repeated 2 times)"), "{log}");
}
