//! Protects the main promise with the real binary: a photo that is dropped comes back larger, with a status that
//! anyone can read, and signals do what the contract says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};

use support::site::{Signal, Site};

#[test]
fn a_dropped_photo_comes_back_larger_in_the_same_place_of_the_tree() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("2024/trip/IMG_2.png", 60, 40);
    site.drop_photo("IMG_1.jpg", 50, 30);

    let document = site.wait_for_state("2024/trip/IMG_2.png", "done");
    assert_eq!(document["result"], "2024/trip/IMG_2_2x.png");
    assert_eq!(document["attempts"], 1);
    assert_eq!(document["plan"]["provider"], "cpu");
    assert_eq!(document["model"]["name"], "span-x2");
    let result = image::open(site.path("out/2024/trip/IMG_2_2x.png")).unwrap();
    assert_eq!((result.width(), result.height()), (120, 80));
    site.wait_for_state("IMG_1.jpg", "done");
    let result = image::open(site.path("out/IMG_1_2x.jpg")).unwrap();
    assert_eq!((result.width(), result.height()), (100, 60));

    let status = site.wait_for("the status counts two", || {
        let status: serde_json::Value =
            serde_json::from_slice(&std::fs::read(site.path("out/status.json")).ok()?).ok()?;
        (status["counts"]["done"] == 2).then_some(status)
    });
    assert_eq!(status["service"], "running");
    assert_eq!(status["recent"][0]["state"], "done");
    assert_eq!(daemon.stop(), Some(0));
    let status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.path("out/status.json")).unwrap()).unwrap();
    assert_eq!(status["service"], "stopped");
}

#[test]
fn restart_touch_and_rename_back_produce_nothing_twice() {
    let site = Site::new("");
    let photo = site.drop_photo("a.png", 40, 30);
    let daemon = site.daemon();
    let first = site.wait_for_state("a.png", "done");
    std::fs::File::options()
        .append(true)
        .open(&photo)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(daemon.stop(), Some(0));
    let daemon = site.daemon();
    // What comes after it is seen, so it has been seen too.
    site.drop_photo("b.png", 41, 30);
    site.wait_for_state("b.png", "done");
    assert_eq!(
        site.job_file("a.png").unwrap()["finished_at"],
        first["finished_at"]
    );
    assert_eq!(
        site.results(),
        [PathBuf::from("a_2x.png"), PathBuf::from("b_2x.png")]
    );
    drop(daemon);
}

#[test]
fn new_content_under_an_old_name_replaces_its_own_result() {
    let site = Site::new("");
    site.drop_photo("a.png", 40, 30);
    let _daemon = site.daemon();
    site.wait_for_state("a.png", "done");
    site.drop_photo("a.png", 44, 30);
    let document = site.wait_for("the second result is there", || {
        site.job_file("a.png")
            .filter(|document| document["output"]["width"] == 88 && document["state"] == "done")
    });
    assert_eq!(document["result"], "a_2x.png");
    assert_eq!(site.results(), [PathBuf::from("a_2x.png")]);
}

#[test]
fn somebody_elses_file_under_the_results_name_is_never_touched() {
    let site = Site::new("");
    std::fs::write(site.path("out/a_2x.png"), "precious").unwrap();
    site.drop_photo("a.png", 40, 30);
    let _daemon = site.daemon();
    let document = site.wait_for_state("a.png", "done");
    assert_eq!(
        std::fs::read_to_string(site.path("out/a_2x.png")).unwrap(),
        "precious"
    );
    assert_ne!(document["result"], "a_2x.png");
    assert!(
        site.path("out")
            .join(document["result"].as_str().unwrap())
            .is_file()
    );
}

#[test]
fn a_signal_reloads_the_configuration_and_a_wrong_one_leaves_the_old_in_force() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    site.configure("formatt = \"png\"");
    daemon.signal(Signal::HUP);
    site.wait_for("the problem is told", || {
        site.log().contains("did you mean \"format\"").then_some(())
    });
    site.drop_photo("b.bmp", 40, 30);
    assert_eq!(site.wait_for_state("b.bmp", "done")["output"]["format"], "png");

    site.configure("format = \"jpeg\"");
    daemon.signal(Signal::HUP);
    site.wait_for("a is made again as the new settings want it", || {
        site.path("out/a_2x.jpg").exists().then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_stop_gives_the_running_job_back_unspent() {
    let site = Site::new("");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("shutdown_grace = \"0s\"\n{text}")).unwrap();
    site.drop_photo("large.png", 1600, 1200);
    let daemon = site.daemon();
    site.wait_for_state("large.png", "running");
    assert_eq!(daemon.stop(), Some(0));
    let jobs = site.json(["jobs", "list", "--json"]);
    assert_eq!(jobs[0]["state"], "queued", "{jobs}");
    assert_eq!(jobs[0]["attempts"], 0);
    assert!(site.results().is_empty());
    assert_no_leftovers(&site);
}

#[test]
fn a_running_job_is_cancelled_by_command_and_comes_back_by_command() {
    let site = Site::new("");
    site.drop_photo("large.png", 1600, 1200);
    let _daemon = site.daemon();
    let job = site.wait_for_state("large.png", "running")["job"].to_string();
    assert!(site.run(["jobs", "cancel", &job]).status.success());
    let document = site.wait_for_state("large.png", "cancelled");
    assert!(document["reason"]["message"].as_str().is_some());
    assert_no_leftovers(&site);
    std::fs::remove_file(site.path("in/large.png")).unwrap();
    site.drop_photo("small.png", 40, 30);
    site.wait_for_state("small.png", "done");
}

#[test]
fn moved_sources_lie_in_done_only_after_their_result_is_there() {
    let site = Site::new("on_success = \"move\"");
    site.drop_photo("trip/a.png", 40, 30);
    let _daemon = site.daemon();
    site.wait_for("the source is moved", || {
        site.path("in/done/trip/a.png").exists().then_some(())
    });
    assert!(site.path("out/trip/a_2x.png").is_file());
    assert!(!site.path("in/trip/a.png").exists());
    site.drop_photo("b.png", 41, 30);
    site.wait_for_state("b.png", "done");
    assert_eq!(
        site.results(),
        [PathBuf::from("b_2x.png"), PathBuf::from("trip/a_2x.png")],
        "done/ is not watched"
    );
}

#[test]
fn a_second_daemon_on_the_same_state_directory_is_refused_with_75() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    let second = site.run(["run"]);
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains(&daemon.pid().to_string()), "{message}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn once_processes_what_is_ready_and_says_it_line_by_line() {
    let site = Site::new("");
    site.drop_photo("a.png", 40, 30);
    site.drop_photo("sub/b.png", 42, 30);
    let output = site.run(["once", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["state"] == "done"), "{lines:?}");
    let again = site.run(["once", "--json"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(again.stdout.is_empty(), "nothing is done twice");
    assert_eq!(
        site.results(),
        [PathBuf::from("a_2x.png"), PathBuf::from("sub/b_2x.png")]
    );
    assert_no_leftovers(&site);
}

fn assert_no_leftovers(site: &Site) {
    let leftovers: Vec<PathBuf> = site
        .files("out")
        .into_iter()
        .filter(|path| {
            Path::new(path.file_name().unwrap())
                .to_string_lossy()
                .starts_with(".upscaled-")
        })
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}
