//! TensorRT: an engine is built once, and the service has it built while CUDA works.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use upscaled::clock::SystemClock;
use upscaled::config::{Precision, Provider};

use super::report::Seen;
use super::rig::{ENOUGH_BYTES, Rig};
use super::support::site::Site;

/// Longer than a build of a small net takes on any card.
const BUILD_MAX: Duration = Duration::from_secs(20 * 60);

pub fn check(rig: &Rig) -> Seen {
    if let Err(why) = rig.tensorrt() {
        return vec![
            format!("Not there: {why}."),
            "`make test-gpu TENSORRT=1` fetches it, where NVIDIA's package index can be reached.".to_owned(),
        ];
    }
    let clock = SystemClock::shared();
    let open = |precision| {
        let begun = clock.monotonic();
        drop(
            rig.open(Provider::Tensorrt, precision, "span-x4", ENOUGH_BYTES)
                .unwrap(),
        );
        clock.monotonic().since(begun).as_secs_f64()
    };
    // Another one than was opened to see whether it is there.
    let engines_dir = rig.dir.path().join("engines");
    let _ = std::fs::remove_dir_all(&engines_dir);
    let first = open(Precision::Fp16);
    let built = engines(&engines_dir);
    assert!(!built.is_empty(), "no engine in {}", engines_dir.display());
    let second = open(Precision::Fp16);
    assert_eq!(engines(&engines_dir), built, "built again");
    let mut seen = vec![format!(
        "span-x4, half precision: {first:.1} s to build and open, {second:.1} s to open again, {} engine(s).",
        built.len()
    )];
    seen.extend(in_the_background());
    seen
}

fn engines(dir: &Path) -> Vec<(PathBuf, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(engines(&path));
        } else if path.extension().is_some_and(|extension| extension == "engine") {
            found.push((path, entry.metadata().unwrap().modified().unwrap()));
        }
    }
    found.sort();
    found
}

fn in_the_background() -> Seen {
    let site = Site::new("");
    site.run_on("providers = [\"tensorrt\", \"cuda\", \"cpu\"]");
    let daemon = site.daemon();
    let provider = |name: &str| {
        site.drop_photo(name, 640, 480);
        let document = site.wait_for_state(name, "done");
        (
            document["plan"]["provider"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            document["warnings"].to_string(),
        )
    };
    let (meanwhile, warnings) = provider("first.png");
    assert_eq!(meanwhile, "cuda", "{warnings}");
    assert!(warnings.contains("is being built"), "{warnings}");
    let status = String::from_utf8_lossy(&site.run(["status"]).stdout).into_owned();
    let is_building = || {
        let text = std::fs::read(site.path("state/service.json")).unwrap_or_default();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        !document["device"]["building"].is_null()
    };
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    while is_building() && clock.monotonic().since(begun) < BUILD_MAX {
        std::thread::sleep(Duration::from_secs(1));
    }
    let (then, warnings) = provider("second.png");
    assert_eq!(then, "tensorrt", "{warnings}");
    daemon.stop();
    let line = status
        .lines()
        .find(|line| line.contains("TensorRT builds"))
        .unwrap_or("(too late to see)");
    vec![
        "The service did the first picture on CUDA while another process built, the next one on TensorRT. Status said:".to_owned(),
        format!("> {line}"),
    ]
}
