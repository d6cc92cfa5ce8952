//! Protects the sandbox, with the real binary on the real kernel: what the daemon may not touch stays untouched, and
//! everything that it promises works inside, folders that are made anew included. On a kernel without Landlock the same
//! tests hold that everything works, and that `doctor` says why nothing is kept away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::site::{Daemon, Signal, Site};
use upscaled::sandbox::kernel;

fn has_landlock() -> bool {
    kernel().is_ok()
}

/// A small model of the tests (tests/models/README.md), put somewhere.
fn model_in(dir: &Path) -> PathBuf {
    let path = dir.join("mine.onnx");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/plain-x2.onnx");
    std::fs::copy(from, &path).unwrap();
    path
}

/// Puts a link in the place of a file.
fn replace_by_link(path: &Path, target: &Path) {
    std::fs::remove_file(path).unwrap();
    symlink(target, path).unwrap();
}

fn configure(site: &Site, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), change(text)).unwrap();
}

fn start(site: &Site, change: impl Fn(&mut Command)) -> Daemon {
    let log = std::fs::File::create(site.path("daemon.log")).unwrap();
    let mut command = site.command(["run"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    change(&mut command);
    Daemon::from(command.spawn().unwrap())
}

fn wait_for_log(site: &Site, text: &str) {
    site.wait_for(&format!("the log says {text:?}"), || {
        site.log().contains(text).then_some(())
    });
}

fn doctors_word(site: &Site) -> serde_json::Value {
    let report = site.json(["doctor", "--json"]);
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "sandbox");
    check.unwrap_or_else(|| panic!("{report}")).clone()
}

#[test]
fn doctor_says_whether_it_is_in_force_and_why_not() {
    let site = Site::new("");
    let before = doctors_word(&site);
    let daemon = site.daemon();
    wait_for_log(&site, "started");
    let during = site.wait_for("the service tells its state", || {
        let word = doctors_word(&site);
        word["detail"]
            .as_str()
            .unwrap()
            .contains("running service")
            .then_some(word)
    });
    if has_landlock() {
        assert_eq!(before["result"], "ok", "{before}");
        assert!(
            before["detail"].as_str().unwrap().contains("Landlock ABI"),
            "{before}"
        );
        assert!(
            during["detail"]
                .as_str()
                .unwrap()
                .contains("in force (Landlock ABI"),
            "{during}"
        );
    } else {
        assert_eq!(before["result"], "warn", "{before}");
        assert!(
            during["detail"].as_str().unwrap().contains("not in force: "),
            "{during}"
        );
    }
    assert_eq!(daemon.stop(), Some(0));
    configure(&site, |text| format!("sandbox = \"off\"\n{text}"));
    let off = doctors_word(&site);
    assert!(
        off["detail"]
            .as_str()
            .unwrap()
            .starts_with("off by the configuration"),
        "{off}"
    );
    let daemon = site.daemon();
    wait_for_log(&site, "sandbox off by the configuration");
    assert_eq!(daemon.stop(), Some(0));
}

/// What a name is made to point to after the start is not what was granted.
#[test]
fn a_model_or_a_configuration_that_leads_elsewhere_after_the_start_is_not_read() {
    let (models, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = model_in(models.path());
    let site = Site::new("");
    configure(&site, |text| text.replace("\"span-x2\"", &format!("{model:?}")));
    let daemon = site.daemon();
    // Examined in a process of its own, which is held as well and can start all the same.
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");

    replace_by_link(&model, &model_in(elsewhere.path()));
    site.drop_photo("b.png", 41, 30);
    let foreign = elsewhere.path().join("upscaled.toml");
    if has_landlock() {
        wait_for_log(&site, "folder photos waits");
        assert_eq!(site.job_file("b.png").filter(|job| job["state"] == "done"), None);
        std::fs::copy(site.config(), &foreign).unwrap();
        replace_by_link(&site.config(), &foreign);
        daemon.signal(Signal::HUP);
        wait_for_log(&site, "cannot read it: permission denied");
        wait_for_log(&site, "the one before stays in force");
    } else {
        site.wait_for_state("b.png", "done");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn sources_are_moved_trashed_and_deleted_inside_it() {
    for (how, source_goes_to) in [
        ("move", Some("in/done/2024/a.png")),
        ("trash", Some("data/Trash/files/a.png")),
        ("delete", None),
    ] {
        let site = Site::new(&format!("on_success = \"{how}\""));
        let daemon = start(&site, |command| {
            command.env("XDG_DATA_HOME", site.path("data"));
        });
        let source = site.drop_photo("2024/a.png", 40, 30);
        site.wait_for_state("2024/a.png", "done");
        site.wait_for(&format!("the source goes ({how})"), || {
            (!source.exists()).then_some(())
        });
        if let Some(place) = source_goes_to {
            assert!(
                site.path(place).is_file(),
                "{how}: {:?}\n{}",
                site.files(""),
                site.log()
            );
        }
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn folders_that_are_made_anew_go_on_working() {
    let site = Site::new("");
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    for (folder, name) in [("in", "b.png"), ("out", "c.png")] {
        std::fs::remove_dir_all(site.path(folder)).unwrap();
        std::fs::create_dir(site.path(folder)).unwrap();
        site.drop_photo(name, 41 + u32::from(name.as_bytes()[0]), 30);
        // Blocked folders are looked at every 30 s; somebody who has just repaired one asks.
        daemon.signal(Signal::USR1);
        site.wait_for_state(name, "done");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_folder_that_comes_late_is_found() {
    let site = Site::new("");
    std::fs::remove_dir(site.path("in")).unwrap();
    let daemon = site.daemon();
    wait_for_log(&site, "started");
    std::fs::create_dir(site.path("in")).unwrap();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    assert_eq!(daemon.stop(), Some(0));
}

/// Right below a home, what holds the folder is too much to grant: then a new process is the way.
#[test]
fn a_folder_out_of_reach_ends_the_service_so_that_its_next_start_sees_it() {
    let site = Site::new("");
    // The configuration is in a directory of its own; the place itself is somebody's home.
    let at_home = |command: &mut Command| {
        command.env("HOME", site.path(""));
    };
    let daemon = start(&site, at_home);
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    std::fs::remove_dir_all(site.path("in")).unwrap();
    std::fs::create_dir(site.path("in")).unwrap();
    site.drop_photo("b.png", 41, 30);
    if has_landlock() {
        daemon.signal(Signal::USR1);
        assert_eq!(daemon.wait(), Some(75), "{}", site.log());
        assert!(
            site.log().contains("is another one than at the start"),
            "{}",
            site.log()
        );
        let daemon = start(&site, at_home);
        site.wait_for_state("b.png", "done");
        assert_eq!(daemon.stop(), Some(0));
    } else {
        site.wait_for_state("b.png", "done");
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn a_reload_that_names_a_folder_elsewhere_is_told_to_need_a_restart() {
    let elsewhere = tempfile::tempdir().unwrap();
    let site = Site::new("");
    let daemon = site.daemon();
    wait_for_log(&site, "started");
    configure(&site, |text| {
        text.replace("input = \"in\"", &format!("input = {:?}", elsewhere.path()))
    });
    daemon.signal(Signal::HUP);
    if has_landlock() {
        wait_for_log(&site, "that needs a restart");
        let log = site.log();
        assert!(
            log.contains("photos") && log.contains(elsewhere.path().to_str().unwrap()),
            "{log}"
        );
        // The old one is in force.
        site.drop_photo("a.png", 40, 30);
        site.wait_for_state("a.png", "done");
    } else {
        wait_for_log(&site, "configuration read again");
    }
    assert_eq!(daemon.stop(), Some(0));
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn the_umask_of_the_configuration_decides_and_nothing_is_ever_open_to_all() {
    for (umask, file, dir) in [("0027", 0o640, 0o750), ("0000", 0o664, 0o775)] {
        let site = Site::new("");
        configure(&site, |text| format!("umask = \"{umask}\"\n{text}"));
        std::fs::remove_dir(site.path("out")).unwrap();
        site.drop_photo("2024/a.png", 40, 30);
        let once = site.run(["once"]);
        assert!(once.status.success(), "{once:?}");
        for path in [
            "out/2024/a_2x.png",
            "out/status.json",
            "out/.upscaled/jobs/2024/a.png.json",
        ] {
            assert_eq!(mode(&site.path(path)), file, "umask {umask}: {path}");
        }
        for path in ["out", "out/2024", "out/.upscaled/jobs/2024"] {
            assert_eq!(mode(&site.path(path)), dir, "umask {umask}: {path}");
        }
    }
}
