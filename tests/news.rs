//! Protects what other programs are told, with the real binary: commands find the facts, webhooks get their messages
//! also after a failure, and nobody who hangs or fails is in the queue's way.

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
use std::path::Path;

use rustix::process::{Pid, kill_process};
use support::site::{Daemon, Signal, Site};

/// A command that writes down its environment: appears whole, or not at all.
fn note(site: &Site, name: &str) -> String {
    let path = site.path(name).display().to_string();
    let script = format!("env | grep ^UPSCALED_ | sort >> {path}.new; mv {path}.new {path}");
    format!("[\"/bin/sh\", \"-c\", {script:?}]")
}

fn noted(site: &Site, name: &str) -> String {
    site.wait_for(&format!("{name} is written"), || {
        std::fs::read_to_string(site.path(name)).ok()
    })
}

fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|found| found == line),
        "{line} is not in\n{text}"
    );
}

#[test]
fn a_command_finds_the_facts_of_a_job_that_is_done_and_of_one_that_failed() {
    let site = Site::new("");
    site.configure(&format!(
        "[hooks]\non_done = {}\non_failed = {}\n",
        note(&site, "done"),
        note(&site, "failed")
    ));
    let daemon = site.daemon();
    site.drop_photo("2024/a b.png", 40, 30);
    std::fs::write(site.path("in/text.jpg"), "this is not a picture\n".repeat(20)).unwrap();

    let done = noted(&site, "done");
    let document = site.wait_for_state("2024/a b.png", "done");
    for line in [
        "UPSCALED_EVENT=done".to_owned(),
        "UPSCALED_STATE=done".to_owned(),
        "UPSCALED_FOLDER=photos".to_owned(),
        "UPSCALED_MODEL=span-x2".to_owned(),
        "UPSCALED_WIDTH=80".to_owned(),
        format!("UPSCALED_JOB={}", document["job"]),
        format!("UPSCALED_SOURCE={}", site.path("in/2024/a b.png").display()),
        format!("UPSCALED_RESULT={}", site.path("out/2024/a b_2x.png").display()),
        format!("UPSCALED_CONFIG={}", site.config().display()),
    ] {
        assert_line(&done, &line);
    }
    let failed = noted(&site, "failed");
    assert_line(&failed, "UPSCALED_EVENT=failed");
    let document = site.wait_for_state("text.jpg", "failed");
    let (code, reason) = (&document["reason"]["code"], &document["reason"]["message"]);
    assert_line(
        &failed,
        &format!("UPSCALED_REASON_CODE={}", code.as_str().unwrap()),
    );
    assert_line(&failed, &format!("UPSCALED_REASON={}", reason.as_str().unwrap()));
    assert!(!failed.contains("UPSCALED_RESULT="), "{failed}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_command_that_hangs_is_killed_and_the_queue_does_not_wait_for_it() {
    let site = Site::new(
        "[hooks]\ntimeout = \"1s\"\non_done = [\"/bin/sh\", \"-c\", \"sleep 1000 & sleep 1000\"]\n",
    );
    let daemon = site.daemon();
    for name in ["a.png", "b.png", "c.png"] {
        site.drop_photo(name, 40, 30);
    }
    for name in ["a.png", "b.png", "c.png"] {
        site.wait_for_state(name, "done");
    }
    site.wait_for("the command was killed", || {
        site.log()
            .contains("still ran after 1 s and was killed")
            .then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// Reads a request and answers it. Its body.
fn answer(stream: &mut TcpStream, status: &str) -> (String, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn server() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?key=hunter2", server.local_addr().unwrap());
    (server, url)
}

#[test]
fn a_webhook_that_fails_is_tried_again_and_its_secrets_are_in_no_log() {
    let (server, url) = server();
    let site = Site::new(&format!(
        "[[webhook]]\nurl = {url:?}\nevents = [\"done\"]\ntoken = \"hunter3\"\nheaders = {{ X-Key = \"hunter4\" }}\n"
    ));
    site.drop_photo("a.png", 40, 30);
    let daemon = site.daemon();
    let mut hang_up = server.accept().unwrap().0;
    let mut some = [0];
    hang_up.read_exact(&mut some).unwrap();
    drop(hang_up);
    answer(&mut server.accept().unwrap().0, "502 Bad Gateway");
    let (head, body) = answer(&mut server.accept().unwrap().0, "204 No Content");
    assert!(head.contains("authorization: bearer hunter3\r\n"), "{head}");
    assert!(head.contains("x-key: hunter4\r\n"), "{head}");
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event["version"], 1);
    assert_eq!(event["event"], "done");
    assert_eq!(event["source_path"], site.path("in/a.png").to_str().unwrap());
    assert_eq!(event["result_path"], site.path("out/a_2x.png").to_str().unwrap());
    assert_eq!(event["job"]["state"], "done");
    assert_eq!(event["job"]["output"]["width"], 80);
    site.wait_for("it is told that it hears again", || {
        site.log().contains("hears again").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    assert!(site.log().contains("it is tried again"), "{}", site.log());
    let shown = site.run(["config", "show"]);
    for text in [
        site.log(),
        String::from_utf8(shown.stdout).unwrap().replace(&url, ""),
    ] {
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn a_stop_delivers_what_waits() {
    let (server, url) = server();
    let site = Site::new(&format!("[[webhook]]\nurl = {url:?}\nformat = \"ntfy\"\n"));
    site.drop_photo("a.png", 40, 30);
    let daemon = site.daemon();
    site.wait_for_state("a.png", "done");
    // The first message is on its way and nobody has answered it yet.
    let mut first = server.accept().unwrap().0;
    daemon.signal(Signal::TERM);
    let (head, body) = answer(&mut first, "200 OK");
    assert!(head.contains("title: upscaled: done\r\n"), "{head}");
    assert!(body.starts_with("a.png is done: a_2x.png, 80 × 60, "), "{body}");
    // Whether the queue is seen empty before it is stopped is chance; if so, that is told, too.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = server.accept() {
            answer(&mut stream, "200 OK");
        }
    });
    assert_eq!(daemon.wait(), Some(0));
    assert!(!site.log().contains("not told before the end"), "{}", site.log());
}

#[test]
fn an_empty_queue_is_told_once_for_what_ended() {
    let site = Site::new("");
    let path = site.path("idle").display().to_string();
    let script = format!("echo $UPSCALED_EVENT $UPSCALED_DONE >> {path}");
    site.configure(&format!("[hooks]\non_idle = [\"/bin/sh\", \"-c\", {script:?}]\n"));
    let idle = || std::fs::read_to_string(site.path("idle")).unwrap_or_default();
    let sum = |text: &str| {
        let numbers = text.lines().filter_map(|line| line.strip_prefix("idle "));
        numbers.map(|n| n.parse::<u64>().unwrap()).sum::<u64>()
    };
    site.drop_photo("a.png", 40, 30);
    site.drop_photo("b.png", 41, 30);
    let daemon = site.daemon();
    site.wait_for("both were told", || (sum(&idle()) == 2).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    let told = idle();
    // A service that finds nothing to do has nothing to tell.
    let daemon = site.daemon();
    site.wait_for("it has looked", || site.log().contains("started").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(idle(), told);
    site.drop_photo("c.png", 42, 30);
    site.drop_photo("d.png", 43, 30);
    assert!(site.run(["once"]).status.success());
    assert_eq!(
        idle(),
        format!("{told}idle 2\n"),
        "once tells it, too, and waits for that"
    );
}

/// The only child of a daemon.
fn messenger(daemon: &Daemon) -> Pid {
    let pid = daemon.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_reload_brings_commands_and_a_dead_messenger_is_told_once_and_stops_nothing() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    site.configure(&format!("[hooks]\non_done = {}\n", note(&site, "done")));
    daemon.signal(Signal::HUP);
    site.wait_for("it is read again", || {
        site.log().contains("configuration read again").then_some(())
    });
    site.drop_photo("b.png", 41, 30);
    assert_line(
        &noted(&site, "done"),
        &format!("UPSCALED_SOURCE={}", site.path("in/b.png").display()),
    );

    let messenger = messenger(&daemon);
    kill_process(messenger, Signal::KILL).unwrap();
    site.wait_for("its end is told", || {
        site.log().contains("the messenger ended").then_some(())
    });
    assert!(
        !Path::new(&format!("/proc/{}", messenger.as_raw_nonzero())).exists(),
        "no zombie"
    );
    site.drop_photo("c.png", 42, 30);
    site.wait_for_state("c.png", "done");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(site.log().matches("messenger").count(), 1, "{}", site.log());
}

#[test]
fn the_messenger_outlives_a_killed_service_only_for_what_waits() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.wait_for("it has started", || site.log().contains("started").then_some(()));
    let messenger = messenger(&daemon);
    daemon.kill();
    let stat = format!("/proc/{}/stat", messenger.as_raw_nonzero());
    site.wait_for("it is gone", || {
        let stat = std::fs::read_to_string(&stat).ok();
        stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
    });
}
