//! Protects what travels beside a photo: its sidecars and its time, for the daemon and for the command. A person's own
//! files are never replaced.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use support::site::Site;

const SIDECAR: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
    <rdf:Description rdf:about='' xmlns:tiff='http://ns.adobe.com/tiff/1.0/' xmlns:exif='http://ns.adobe.com/exif/1.0/' \
    xmlns:xmp='http://ns.adobe.com/xap/1.0/' tiff:ImageWidth='40' exif:GPSLatitude='52,31N' xmp:Rating='5'/>\
    </rdf:RDF></x:xmpmeta>";

/// A summer long ago.
fn back_then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_089_000_000)
}

fn set_time(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(back_then()).unwrap();
}

fn assert_is_the_results(sidecar: &Path) {
    let text = fs::read_to_string(sidecar).unwrap();
    for wanted in [
        "tiff:ImageWidth='80'",
        "xmp:Rating='5'",
        "model span-x2, scale 2, tiling",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn sidecars_and_time_come_along_and_nobodys_file_is_replaced() {
    let site = Site::new("");
    fs::write(site.path("in/a.xmp"), SIDECAR).unwrap();
    fs::write(site.path("in/a.png.XMP"), SIDECAR).unwrap();
    fs::write(site.path("in/b.xmp"), SIDECAR).unwrap();
    fs::write(site.path("in/c.xmp"), "no XMP").unwrap();
    fs::write(site.path("out/b_2x.xmp"), "precious").unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        let width = 40 + u32::from(name.as_bytes()[0] - b'a');
        set_time(&site.drop_photo(name, width, 30));
    }
    let daemon = site.daemon();
    let document = site.wait_for_state("a.png", "done");
    assert_eq!(document["warnings"], serde_json::json!([]));
    assert_is_the_results(&site.path("out/a_2x.xmp"));
    assert_is_the_results(&site.path("out/a_2x.png.XMP"));
    let time = site.path("out/a_2x.png").metadata().unwrap().modified().unwrap();
    assert_eq!(time, back_then());

    let document = site.wait_for_state("b.png", "done");
    assert_eq!(fs::read_to_string(site.path("out/b_2x.xmp")).unwrap(), "precious");
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("the sidecar b.xmp was not carried:"),
        "{warning}"
    );
    let document = site.wait_for_state("c.png", "done");
    let warning = document["warnings"][0].as_str().unwrap();
    assert_eq!(
        warning,
        "the sidecar c.xmp was not carried: it is no XMP, or damaged"
    );
    assert!(!site.path("out/c_2x.xmp").exists());

    // Another picture under the same name: the sidecar of its result is ours, and follows.
    fs::write(site.path("in/a.xmp"), SIDECAR.replace("'5'", "'1'")).unwrap();
    site.drop_photo("a.png", 50, 30);
    site.wait_for("the second result's sidecar is there", || {
        let text = fs::read_to_string(site.path("out/a_2x.xmp")).ok()?;
        (text.contains("tiff:ImageWidth='100'") && text.contains("xmp:Rating='1'")).then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_folder_without_places_or_metadata_has_sidecars_without_or_none() {
    for (policy, is_there) in [("keep-no-gps", true), ("strip", false)] {
        let site = Site::new(&format!("metadata = \"{policy}\""));
        fs::write(site.path("in/a.xmp"), SIDECAR).unwrap();
        site.drop_photo("a.png", 40, 30);
        let _daemon = site.daemon();
        site.wait_for_state("a.png", "done");
        let sidecar = site.path("out/a_2x.xmp");
        assert_eq!(sidecar.exists(), is_there);
        if is_there {
            assert_is_the_results(&sidecar);
            assert!(!fs::read_to_string(&sidecar).unwrap().contains("52,31N"));
        }
    }
}

#[test]
fn the_command_carries_them_too() {
    let site = Site::new("");
    let photo = site.drop_photo("a.png", 40, 30);
    set_time(&photo);
    fs::write(site.path("in/a.xmp"), SIDECAR).unwrap();
    let result = site.path("out/larger.webp");
    let args = ["upscale", "--model", "span-x2", "-o"].map(std::ffi::OsStr::new);
    let output = site.run(args.into_iter().chain([result.as_os_str(), photo.as_os_str()]));
    assert!(output.status.success(), "{output:?}");
    assert_is_the_results(&site.path("out/larger.xmp"));
    assert_eq!(result.metadata().unwrap().modified().unwrap(), back_then());
}
