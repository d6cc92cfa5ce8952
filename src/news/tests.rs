//! The event as programs see it, and the messenger with a real pipe, real commands and a real server.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::error::{Reason, ReasonCode};
use crate::report::{JobDocument, JobState, RenderReport};

fn document(state: JobState) -> JobDocument {
    JobDocument {
        version: 1,
        job: Some(12),
        folder: Some("photos".to_owned()),
        source: "a.png".to_owned(),
        source_hex: None,
        source_blake3: None,
        recipe_blake3: None,
        state,
        attempts: 2,
        reason: None,
        result: Some("a_4x.png".to_owned()),
        report: RenderReport::default(),
        queued_at: None,
        started_at: None,
        finished_at: None,
    }
}

fn event(state: JobState) -> Option<Event> {
    let at = crate::clock::SystemClock::shared().wall();
    let source = Path::new(OsStr::from_bytes(b"/in/\xff.png"));
    Event::of_job(at, document(state), source, Some(Path::new("/out/a_4x.png")))
}

#[test]
fn a_command_finds_every_fact_and_the_exact_bytes_of_a_path() {
    let event = event(JobState::Done).unwrap();
    let set: std::collections::BTreeMap<_, _> = event.environment().into_iter().collect();
    assert_eq!(set["UPSCALED_EVENT"], "done");
    assert_eq!(set["UPSCALED_JOB"], "12");
    assert_eq!(set["UPSCALED_FOLDER"], "photos");
    assert_eq!(set["UPSCALED_STATE"], "done");
    assert_eq!(set["UPSCALED_ATTEMPTS"], "2");
    assert_eq!(set["UPSCALED_RESULT"], "/out/a_4x.png");
    assert_eq!(set["UPSCALED_SOURCE"].as_bytes(), b"/in/\xff.png");
    assert!(!set.contains_key("UPSCALED_REASON"));
    let idle = Event::idle(
        event.at,
        Tally {
            done: 3,
            ..Tally::default()
        },
    );
    let set: std::collections::BTreeMap<_, _> = idle.environment().into_iter().collect();
    assert_eq!(
        (&set["UPSCALED_EVENT"], &set["UPSCALED_DONE"]),
        (&"idle".into(), &"3".into())
    );
    assert!(!set.contains_key("UPSCALED_JOB"));
}

#[test]
fn an_event_crosses_the_pipe_as_it_is_and_only_two_ends_of_a_job_are_one() {
    let mut failed = document(JobState::Failed);
    failed.reason = Some(Reason::new(
        ReasonCode::Truncated,
        "a.png ends early; copy it again",
    ));
    let at = ManualClock::default().wall();
    let event = Event::of_job(at, failed, Path::new("/in/a.png"), None).unwrap();
    assert_eq!(event.text, "a.png ends early; copy it again");
    let line = serde_json::to_string(&Line::Tell(Box::new(event.clone()))).unwrap();
    assert!(!line.contains('\n'));
    let Ok(Line::Tell(read)) = serde_json::from_str(&line) else {
        panic!("{line}");
    };
    assert_eq!(*read, event);
    for state in [JobState::Skipped, JobState::Cancelled, JobState::Queued] {
        assert_eq!(self::event(state), None);
    }
}

/// A configuration, and what was told by the commands in it.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let desk = Self { dir };
        std::fs::write(
            desk.config(),
            text.replace("DIR", desk.dir.path().to_str().unwrap()),
        )
        .unwrap();
        desk
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("c.toml")
    }

    /// What the messenger does with these lines, and nothing after them.
    fn tell(&self, lines: &[Line]) {
        let mut pipe = Vec::new();
        for line in lines {
            pipe.extend(serde_json::to_vec(line).unwrap());
            pipe.push(b'\n');
        }
        run(pipe.as_slice(), &self.config()).unwrap();
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("told")).unwrap_or_default()
    }
}

fn tell(state: JobState) -> Line {
    Line::Tell(Box::new(event(state).unwrap()))
}

#[test]
fn what_waits_when_the_service_ends_is_told_in_order_by_what_the_file_says_then() {
    let script = |word| format!("[\"/bin/sh\", \"-c\", \"echo {word} $UPSCALED_JOB >> DIR/told\"]");
    let desk = Desk::new(&format!(
        "[hooks]\non_done = {}\non_idle = {}\n",
        script("done"),
        script("idle")
    ));
    let idle = || {
        Line::Tell(Box::new(Event::idle(
            ManualClock::default().wall(),
            Tally::default(),
        )))
    };
    desk.tell(&[
        tell(JobState::Done),
        tell(JobState::Failed),
        idle(),
        Line::Reload,
        tell(JobState::Done),
    ]);
    assert_eq!(desk.told(), "done 12\nidle\ndone 12\n");
}

#[test]
fn a_command_that_asks_for_it_is_run_again_and_one_that_fails_is_not() {
    let desk = Desk::new(
        "[hooks]\non_done = [\"/bin/sh\", \"-c\", \"echo x >> DIR/told; test $(wc -l < DIR/told) -gt 2 || exit 75\"]\n\
         on_failed = [\"/bin/sh\", \"-c\", \"echo failed >> DIR/told; exit 3\"]\n",
    );
    desk.tell(&[tell(JobState::Done), tell(JobState::Failed)]);
    assert_eq!(desk.told(), "x\nx\nx\nfailed\n");
}

/// With what it started in the background, which has the pipe of the test open, so that the test sees its end.
#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let desk = Desk::new(
        "[hooks]\ntimeout = \"1s\"\n\
         on_done = [\"/bin/sh\", \"-c\", \"trap '' TERM; sleep 1000 & echo $! > DIR/child; wait; sleep 1000\"]\n\
         on_failed = [\"/bin/sh\", \"-c\", \"echo failed >> DIR/told\"]\n",
    );
    desk.tell(&[tell(JobState::Done), tell(JobState::Failed)]);
    assert_eq!(desk.told(), "failed\n", "the next one is not kept from running");
    let child = std::fs::read_to_string(desk.dir.path().join("child")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

/// One request's head and body.
fn request(stream: &mut std::net::TcpStream) -> (String, String) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    let head = String::from_utf8(read).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_webhook_gets_its_message_again_after_a_failure_and_is_never_sent_elsewhere() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let desk = Desk::new(&format!(
        "[[webhook]]\nurl = \"http://{address}/topic\"\nformat = \"ntfy\"\ntoken_file = \"token\"\n\
         headers = {{ X-Key = \"k\" }}\nevents = [\"done\", \"idle\"]\n"
    ));
    std::fs::write(desk.dir.path().join("token"), "secret\n").unwrap();
    let answers = ["503 Busy", "302 Found\r\nLocation: http://127.0.0.1:1/", "200 OK"];
    let served = std::thread::spawn(move || {
        answers.map(|answer| {
            let mut stream = server.accept().unwrap().0;
            let request = request(&mut stream);
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            request
        })
    });
    let idle = Event::idle(crate::clock::SystemClock::shared().wall(), Tally::default());
    desk.tell(&[
        tell(JobState::Done),
        tell(JobState::Failed),
        Line::Tell(Box::new(idle)),
    ]);
    let [first, second, third] = served.join().unwrap();
    assert_eq!(first.1, second.1, "the same message once more");
    assert!(first.0.starts_with("POST /topic HTTP/1.1\r\n"), "{}", first.0);
    let head = first.0.to_ascii_lowercase();
    for line in [
        "authorization: bearer secret",
        "x-key: k",
        "title: upscaled: done",
        "priority: default",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert_eq!(first.1, "a.png is done: a_4x.png");
    assert_eq!(
        third.1, "the queue is empty: 0 done, 0 failed",
        "a redirect is not followed"
    );
}
