//! Protects what a person asks of the ledger while a daemon runs: pauses, rescans, quiet hours; and what becomes of it
//! on the worst day: a damaged ledger costs no picture twice, an old history goes without taking too much along.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::site::{Signal, Site};
use upscaled::clock::ManualClock;
use upscaled::fs::FileIdentity;
use upscaled::queue::{NewJob, Publishing, Store};
use upscaled::report::RenderReport;

/// `status.json`, once it says this.
fn wait_for_status(site: &Site, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    site.wait_for(what, || {
        let text = std::fs::read(site.path("out/status.json")).ok()?;
        serde_json::from_slice(&text).ok().filter(|status| is(status))
    })
}

fn stdout(site: &Site, args: &[&str]) -> String {
    let output = site.run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_pause_holds_the_queue_of_a_running_daemon_and_of_the_next_one() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("first.png", 40, 30);
    site.wait_for_state("first.png", "done");
    assert!(stdout(&site, &["pause"]).contains("a running job is finished"));
    wait_for_status(&site, "the status says paused", |status| {
        status["service"] == "paused"
    });
    site.drop_photo("a.png", 41, 30);
    site.wait_for_state("a.png", "queued");
    assert_eq!(daemon.stop(), Some(0));

    let daemon = site.daemon();
    wait_for_status(&site, "it is paused still", |status| {
        status["service"] == "paused" && status["counts"]["queued"] == 1
    });
    assert!(stdout(&site, &["status"]).contains("until somebody resumes it"));
    assert_eq!(daemon.stop(), Some(0));
    let once = site.run(["once"]);
    assert_eq!(once.status.code(), Some(75), "a person's word holds for it too");
    assert!(
        String::from_utf8_lossy(&once.stderr).contains("`upscaled resume` ends that"),
        "{once:?}"
    );
    let daemon = site.daemon();
    assert!(stdout(&site, &["resume"]).contains("resumed"));
    site.wait_for_state("a.png", "done");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_rescan_reaches_the_daemon_through_the_ledger() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.wait_for("it runs", || site.log().contains("started").then_some(()));
    assert!(stdout(&site, &["rescan"]).contains("scanned now"));
    site.wait_for("it heard", || {
        site.log().contains("rescan asked for").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// Hours that begin in two hours and end in three, by the clock on this wall.
fn hours_to_come() -> String {
    let now = upscaled::clock::SystemClock::shared().local();
    let hour = |ahead: i8| (now.hour() + ahead).rem_euclid(24);
    format!("{:02}:00-{:02}:30", hour(2), hour(3))
}

#[test]
fn outside_of_its_hours_a_folder_takes_in_and_waits_says_so_and_once_does_not() {
    let closed = format!("schedule = {:?}", hours_to_come());
    let site = Site::new(&closed);
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    let job = site.wait_for_state("a.png", "queued")["job"].to_string();
    let status = wait_for_status(&site, "it says until when", |status| {
        status["waits_until"].is_string() && status["counts"]["queued"] == 1
    });
    assert_eq!(status["service"], "running");
    let told = stdout(&site, &["status"]);
    assert!(
        told.contains("waits until ") && told.contains(":00 (schedule)"),
        "{told}"
    );
    // A person's retry waits like everything else.
    assert!(stdout(&site, &["jobs", "cancel", &job]).contains("cancelled"));
    assert!(stdout(&site, &["jobs", "retry", &job]).contains("queued again"));
    // What is waited for here is nothing: a look at the queue or two.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(site.job_file("a.png").unwrap()["state"], "queued");

    site.configure("");
    daemon.signal(Signal::HUP);
    site.wait_for_state("a.png", "done");
    wait_for_status(&site, "it waits no longer", |status| {
        status["waits_until"].is_null() && status["counts"]["done"] == 1
    });
    assert_eq!(daemon.stop(), Some(0));

    site.configure(&closed);
    site.drop_photo("b.png", 41, 30);
    assert!(
        stdout(&site, &["once"]).contains("b.png"),
        "who types it means now"
    );
    site.wait_for_state("b.png", "done");
}

#[test]
fn a_folders_own_hours_go_before_those_of_all() {
    let site = Site::new("schedule = \"always\"");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("schedule = {:?}\n{text}", hours_to_come())).unwrap();
    site.drop_photo("a.png", 40, 30);
    let daemon = site.daemon();
    site.wait_for_state("a.png", "done");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_damaged_ledger_is_set_aside_and_no_picture_is_upscaled_twice() {
    let site = Site::new("");
    site.drop_photo("a.png", 40, 30);
    site.drop_photo("sub/b.png", 42, 30);
    std::fs::write(
        site.path("in/bad.png"),
        b"\x89PNG\r\n\x1a\n nothing that follows is a picture",
    )
    .unwrap();
    let output = site.run(["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let before = site.job_file("a.png").unwrap();
    let database = site.path("state/state.db");
    let file = std::fs::File::options().write(true).open(&database).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    let damaged = std::fs::read(&database).unwrap();
    // Who only looks is told what will happen, and changes nothing.
    let told = site.run(["status"]);
    assert_eq!(told.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&told.stderr).contains("the next start of the service sets it aside"));

    let daemon = site.daemon();
    let failed = site.wait_for_state("bad.png", "failed");
    // What comes after it is seen, so the others have been seen too.
    site.drop_photo("c.png", 44, 30);
    site.wait_for_state("c.png", "done");
    let mut results = ["a_2x.png", "c_2x.png", "sub/b_2x.png"].map(PathBuf::from);
    results.sort();
    assert_eq!(site.results(), results, "{}", site.log());
    assert_eq!(site.job_file("a.png").unwrap(), before);
    assert_eq!(failed["attempts"], 1);
    let jobs = site.json(["jobs", "list", "--json"]);
    assert_eq!(jobs.as_array().unwrap().len(), 4, "{jobs}");

    let aside: Vec<PathBuf> = site
        .files("state")
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(".corrupt-"))
        .collect();
    let [aside] = aside.as_slice() else {
        panic!("{aside:?}")
    };
    assert!(
        std::fs::read(site.path("state").join(aside)).unwrap() == damaged,
        "byte for byte"
    );
    let name = aside.to_str().unwrap();
    assert!(site.log().contains(name));
    assert!(stdout(&site, &["status"]).contains(name));
    let doctor = site.json(["doctor", "--json"]);
    let checks = doctor["checks"].as_array().unwrap();
    let warning = checks
        .iter()
        .find(|check| check["name"] == "ledger:damaged")
        .unwrap();
    assert_eq!(warning["result"], "warn");

    // New content finds its own earlier result.
    site.drop_photo("a.png", 50, 30);
    site.wait_for("the second result is there", || {
        site.job_file("a.png")
            .filter(|document| document["output"]["width"] == 100 && document["state"] == "done")
    });
    assert_eq!(site.results(), results);
    std::fs::remove_file(site.path("state").join(aside)).unwrap();
    assert!(!stdout(&site, &["status"]).contains("damaged"), "acknowledged");
    assert_eq!(daemon.stop(), Some(0));
}

/// A disk that is full when the service starts must not make it forget to read what job files know.
#[test]
fn a_lost_ledger_learns_from_the_job_files_also_where_nothing_can_be_written_yet() {
    let site = Site::new("");
    site.drop_photo("a.png", 40, 30);
    assert_eq!(site.run(["once"]).status.code(), Some(0));
    let before = site.job_file("a.png").unwrap();
    for file in site.files("state") {
        if file.to_string_lossy().starts_with("state.db") {
            std::fs::remove_file(site.path("state").join(file)).unwrap();
        }
    }
    let text = std::fs::read_to_string(site.config()).unwrap();
    let full: String = text
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("min_free", _)) => "min_free = \"1000TiB\"\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(full, text);
    std::fs::write(site.config(), full).unwrap();
    let daemon = site.daemon();
    site.drop_photo("c.png", 44, 30);
    site.wait_for_state("c.png", "queued");
    assert_eq!(site.job_file("a.png").unwrap(), before);
    assert_eq!(daemon.stop(), Some(0));

    std::fs::write(site.config(), text).unwrap();
    let daemon = site.daemon();
    site.wait_for_state("c.png", "done");
    assert_eq!(
        site.results(),
        ["a_2x.png", "c_2x.png"].map(PathBuf::from),
        "{}",
        site.log()
    );
    assert_eq!(site.job_file("a.png").unwrap(), before);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_source_that_is_put_back_after_its_result_went_away_is_nobodys_to_remove() {
    let site = Site::new("on_success = \"delete\"");
    let source = site.drop_photo("a.png", 40, 30);
    assert_eq!(site.run(["once"]).status.code(), Some(0));
    assert!(!source.exists());
    std::fs::remove_file(site.path("out/a_2x.png")).unwrap();
    site.drop_photo("a.png", 40, 30);
    let daemon = site.daemon();
    site.drop_photo("c.png", 44, 30);
    site.wait_for_state("c.png", "done");
    assert_eq!(daemon.stop(), Some(0));
    assert!(
        source.exists() || site.path("out/a_2x.png").exists(),
        "the last copy is gone: {}",
        site.log()
    );
}

/// A ledger with two jobs of a year ago: the source of one is gone since then, the other's lies there.
fn old_ledger(site: &Site) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(&site.path("state"), Arc::new(ManualClock::default()))
            .await
            .unwrap();
        for (content, name) in [(1_u8, "gone.png"), (2, "there.png")] {
            let source = site.path("in").join(name);
            std::fs::write(&source, name).unwrap();
            let new = NewJob {
                folder: "photos".to_owned(),
                source: PathBuf::from(name),
                output_root: site.path("out"),
                output: PathBuf::from(name),
                content: [content; 32],
                recipe: [0; 32],
                identity: FileIdentity::read(&source).unwrap(),
                priority: 0,
            };
            store.admit(&new).await.unwrap();
            let claim = store
                .claim("then", Duration::from_secs(60), &[])
                .await
                .unwrap()
                .unwrap();
            let publishing = Publishing {
                temp: site.path("out/.x"),
                final_path: site.path("out").join(name),
                digest: [0; 32],
            };
            let report = RenderReport::default();
            store
                .record_publishing(&claim, &publishing, &report)
                .await
                .unwrap();
            store.record_done(claim, Path::new(name), &report).await.unwrap();
            let document = site.path("out/.upscaled/jobs").join(format!("{name}.json"));
            std::fs::create_dir_all(document.parent().unwrap()).unwrap();
            std::fs::write(document, "{}").unwrap();
        }
        std::fs::remove_file(site.path("in/gone.png")).unwrap();
        let gone = [(PathBuf::from("gone.png"), false)];
        store.mark_gone("photos", &gone).await.unwrap();
        store.finish_adoption("photos").await.unwrap();
        store.close().await;
    });
}

#[test]
fn an_old_history_goes_at_the_start_but_not_what_still_lies_there() {
    let site = Site::new("");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("history = \"30d\"\n{text}")).unwrap();
    old_ledger(&site);
    let daemon = site.daemon();
    site.wait_for("the old job is forgotten", || {
        (!site.path("out/.upscaled/jobs/gone.png.json").exists()).then_some(())
    });
    let jobs = site.json(["jobs", "list", "--state", "done", "--json"]);
    let sources: Vec<_> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["source"])
        .collect();
    assert_eq!(sources, ["there.png"]);
    assert_eq!(daemon.stop(), Some(0));
}
