//! Protects folders from each other and from themselves: two may share an output tree, and no result is ever taken
//! for a source, whatever links and other services do. The real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::site::{Signal, Site};

/// Another folder beside `photos`.
fn folder(name: &str, input: &str, output: &str) -> String {
    format!(
        "\n[[folder]]\nname = {name:?}\ninput = {input:?}\noutput = {output:?}\nmodel = \"span-x2\"\n\
         settle = \"200ms\"\nrescan = \"1s\"\n"
    )
}

fn size(path: &Path) -> (u32, u32) {
    let picture = image::open(path).unwrap();
    (picture.width(), picture.height())
}

fn document(site: &Site, path: &str) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(site.path(path)).ok()?).ok()
}

/// Waits until a job file anywhere says done for content of that width.
fn until_done(site: &Site, path: &str, width: u32) -> Value {
    site.wait_for(&format!("{path} is done, {width} px wide"), || {
        document(site, path).filter(|job| job["state"] == "done" && job["input"]["width"] == width)
    })
}

/// How the folder `photos` fares, once its intake says something that is worth it.
fn until_told(site: &Site, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
    site.wait_for(what, || {
        let output = site.run(["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let folder = status["folders"][0].clone();
        is_it(&folder).then_some(folder)
    })
}

#[test]
fn two_folders_share_an_output_tree_and_neither_touches_the_others_results() {
    let site = Site::new(&folder("scans", "in2", "out"));
    std::fs::create_dir(site.path("in2")).unwrap();
    site.drop_photo("trip/a.png", 30, 20);
    let daemon = site.daemon();
    until_done(&site, "out/.upscaled/jobs/trip/a.png.json", 30);
    site.drop_photo("../in2/trip/a.png", 40, 20);
    let second = until_done(&site, "out/.upscaled/jobs.scans/trip/a.png.json", 40);
    let second = PathBuf::from(second["result"].as_str().unwrap());
    let first = Path::new("trip/a_2x.png");
    assert_ne!(second, first);
    assert_eq!(size(&site.path("out").join(first)), (60, 40));
    assert_eq!(size(&site.path("out").join(&second)), (80, 40));
    // New content on either side replaces its own result and no other.
    site.drop_photo("../in2/trip/a.png", 50, 20);
    until_done(&site, "out/.upscaled/jobs.scans/trip/a.png.json", 50);
    site.drop_photo("trip/a.png", 36, 20);
    until_done(&site, "out/.upscaled/jobs/trip/a.png.json", 36);
    assert_eq!(size(&site.path("out").join(first)), (72, 40));
    assert_eq!(size(&site.path("out").join(&second)), (100, 40));
    assert_eq!(site.files("out/trip").len(), 2, "{:?}", site.files("out"));
    assert_eq!(daemon.stop(), Some(0));
    for (path, name) in [("out/status.json", "photos"), ("out/status.scans.json", "scans")] {
        let status = document(&site, path).unwrap();
        assert_eq!(
            (&status["folder"], &status["counts"]["done"]),
            (&name.into(), &2.into())
        );
    }
}

#[test]
fn results_of_another_service_below_the_input_are_no_sources_and_it_says_so() {
    let site = Site::new("");
    // What the other one has left there, as it would.
    for name in ["theirs/.upscaled/jobs", "theirs/2024"] {
        std::fs::create_dir_all(site.path("in").join(name)).unwrap();
    }
    site.drop_photo("theirs/2024/b_2x.png", 30, 20);
    symlink(site.path("out"), site.path("in/link-to-results")).unwrap();
    let daemon = site.daemon();
    site.drop_photo("a.png", 20, 20);
    site.wait_for_state("a.png", "done");
    // Found by an event too: it looks like any other new file.
    site.drop_photo("theirs/2024/c_2x.png", 31, 20);
    site.drop_photo("theirs/new/d_2x.png", 32, 20);
    site.drop_photo("e.png", 21, 20);
    site.wait_for_state("e.png", "done");
    daemon.signal(Signal::USR1);
    let folder = until_told(&site, "the results are told of", |folder| {
        folder["problem"].is_string()
    });
    let problem = folder["problem"].as_str().unwrap();
    assert!(
        problem.contains("in/theirs holds results of upscaled"),
        "{problem}"
    );
    let jobs = site.json(["jobs", "list", "--json"]);
    let mut sources: Vec<&str> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["source"].as_str().unwrap())
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["a.png", "e.png"]);
    drop(daemon);
}

#[test]
fn a_chain_of_folders_upscales_twice_and_no_more() {
    let site = Site::new(&folder("again", "out", "out2"));
    std::fs::create_dir(site.path("out2")).unwrap();
    let daemon = site.daemon();
    site.drop_photo("a.png", 20, 16);
    until_done(&site, "out2/.upscaled/jobs/a_2x.png.json", 40);
    assert_eq!(size(&site.path("out2/a_2x_2x.png")), (80, 64));
    // What comes after it has been seen.
    site.drop_photo("b.png", 22, 16);
    until_done(&site, "out2/.upscaled/jobs/b_2x.png.json", 44);
    assert_eq!(site.json(["jobs", "list", "--json"]).as_array().unwrap().len(), 4);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn folders_that_feed_themselves_through_a_link_are_refused_before_anything_runs() {
    let site = Site::new("");
    std::fs::remove_dir(site.path("out")).unwrap();
    symlink(site.path("in"), site.path("out")).unwrap();
    for command in [&["config", "check"][..], &["run"], &["once"]] {
        let output = site.run(command);
        assert_eq!(output.status.code(), Some(78), "{command:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            told.contains("through links, is the input folder itself"),
            "{told}"
        );
    }
    let told = site.json(["config", "check", "--json"]);
    assert_eq!(told["ok"], false);
}

#[test]
fn an_input_that_comes_to_lead_into_its_output_is_blocked_until_it_does_not() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("a.png", 20, 20);
    site.wait_for_state("a.png", "done");
    // Somebody replaces the folder while the service runs.
    std::fs::remove_dir_all(site.path("in")).unwrap();
    symlink(site.path("out"), site.path("in")).unwrap();
    daemon.signal(Signal::USR1);
    let folder = until_told(&site, "the folder is blocked", |folder| {
        folder["blocked_reason"].is_string()
    });
    let reason = folder["blocked_reason"].as_str().unwrap();
    assert!(reason.contains("leads into its own output folder"), "{reason}");
    assert_eq!(folder["watch"], "scan");
    std::fs::remove_file(site.path("in")).unwrap();
    std::fs::create_dir(site.path("in")).unwrap();
    site.drop_photo("b.png", 21, 20);
    daemon.signal(Signal::USR1);
    site.wait_for_state("b.png", "done");
    let jobs = site.json(["jobs", "list", "--json"]);
    assert_eq!(jobs.as_array().unwrap().len(), 2, "{jobs}");
    assert_eq!(daemon.stop(), Some(0));
}
