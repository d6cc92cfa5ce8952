//! Weights that somebody brings, with the real binary: they become models with names, are used, refused or removed, and
//! a folder whose model disappears waits for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "cli/desk.rs"]
mod desk;
mod support;

use std::path::Path;

use desk::Desk;
use serde_json::{Value, json};
use support::site::Site;

/// Real-ESRGAN's compact network, ×2, whose last convolution adds nothing: it doubles every pixel.
fn doubling_safetensors() -> Vec<u8> {
    let tensors: [(&str, &[usize]); 5] = [
        ("params.body.0.weight", &[4, 3, 3, 3]),
        ("params.body.0.bias", &[4]),
        ("params.body.1.weight", &[4]),
        ("params.body.2.weight", &[12, 4, 3, 3]),
        ("params.body.2.bias", &[12]),
    ];
    let mut header = serde_json::Map::new();
    let mut bytes = 0;
    for (name, shape) in tensors {
        let end = bytes + 4 * shape.iter().product::<usize>();
        header.insert(
            name.to_owned(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [bytes, end]}),
        );
        bytes = end;
    }
    let header = Value::Object(header).to_string().into_bytes();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + bytes, 0);
    file
}

/// An ncnn network that doubles every pixel, without weights.
const DOUBLING_PARAM: &str = "7767517\n2 2\nInput in 0 1 data\nInterp up 1 1 data output 0=1 1=2.0 2=2.0\n";

fn names(desk: &Desk) -> Vec<String> {
    let list = desk.run(&["models", "list", "--json"]).json();
    let cards = list.as_array().unwrap().iter();
    cards
        .map(|card| card["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn weights_become_models_with_names_that_are_used_like_every_other() {
    let desk = Desk::new();
    desk.configure();
    desk.photo("a.png", 60, 40);
    desk.write("4x-Tiny.safetensors", doubling_safetensors());
    let run = desk.run(&[
        "models",
        "import",
        "4x-Tiny.safetensors",
        "--name",
        "tiny",
        "--licence",
        "CC0-1.0",
        "--source",
        "https://example.org/tiny",
    ]);
    assert!(run.ok().contains("imported as tiny (SRVGG Compact"), "{run:?}");
    let again = desk.run(&["models", "import", "4x-Tiny.safetensors", "--name", "tiny"]);
    assert_eq!(
        again.code,
        Some(74),
        "without the licence it is another file: {again:?}"
    );

    desk.write("double.param", DOUBLING_PARAM);
    desk.write("double.bin", "");
    // Either file of the two names both.
    let both = desk.run(&["models", "import", "--json", "double.bin"]);
    assert_eq!(both.code, Some(0), "{both:?}");
    assert_eq!(both.json()[0]["card"]["scale"], 2);
    let same = desk.run(&["models", "import", "double.param"]);
    assert!(same.ok().contains("is there already"), "{same:?}");
    assert_eq!(names(&desk), ["span-x2", "span-x4", "double", "tiny"]);

    let shown = desk.run(&["models", "show", "tiny"]);
    assert!(shown.ok().contains("CC0-1.0"), "{shown:?}");
    assert!(shown.ok().contains("https://example.org/tiny"), "{shown:?}");
    assert!(shown.ok().contains("from single precision"), "{shown:?}");
    for model in ["tiny", "double"] {
        let out = format!("{model}.png");
        desk.run(&["upscale", "a.png", "--model", model, "-o", &out]).ok();
        let (source, result) = (open(&desk.path("a.png")), open(&desk.path(&out)));
        assert_eq!(result.dimensions(), (120, 80));
        for (x, y, pixel) in result.enumerate_pixels() {
            assert_eq!(pixel, source.get_pixel(x / 2, y / 2), "{model} at {x}, {y}");
        }
    }
}

fn open(path: &Path) -> image::RgbImage {
    image::open(path).unwrap().to_rgb8()
}

/// A file of strangers gives one line, and leaves nothing.
#[test]
fn what_cannot_be_imported_is_refused_with_the_reason_and_nothing_stays() {
    let desk = Desk::new();
    desk.configure();
    // torch.save's protocol, with a call that deletes files when it is unpickled.
    desk.write("evil.pth", b"\x80\x02cos\nsystem\nX\x05\0\0\0rm -r\x85R.");
    desk.write("short.safetensors", &doubling_safetensors()[..40]);
    desk.write("none.param", DOUBLING_PARAM);
    desk.write("text.onnx", "this is no model");
    for (file, code, why) in [
        ("evil.pth", 69, "os.system"),
        ("short.safetensors", 69, "cannot import short.safetensors"),
        ("none.param", 74, "none.bin"),
        ("text.onnx", 69, "cannot import text.onnx"),
        ("nowhere.pth", 74, "no such file"),
        (".", 74, "not a regular file"),
    ] {
        let run = desk.run(&["models", "import", file]);
        assert!(run.one_line(code).contains(why), "{run:?}");
        assert_eq!(run.stdout, "");
    }
    let classifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/classifier.onnx");
    let run = desk.run(&["models", "import", classifier.to_str().unwrap()]);
    assert_eq!(run.code, Some(69), "{run:?}");
    desk.write("good.safetensors", doubling_safetensors());
    for (name, code) in [("span-x4", 74), ("../out", 2), (".x", 2), ("good.onnx", 2)] {
        let run = desk.run(&["models", "import", "good.safetensors", "--name", name]);
        assert!(run.one_line(code).contains(name), "{run:?}");
    }
    let left: Vec<_> = match std::fs::read_dir(desk.path("state/models")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
        Err(_) => Vec::new(),
    };
    assert!(left.is_empty(), "{left:?}");

    // One that fails does not keep the others from it. What a killed import left goes.
    desk.write("state/models/.import-4194305-old.onnx", "half a file");
    let run = desk.run(&["models", "import", "evil.pth", "good.safetensors"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(names(&desk), ["span-x2", "span-x4", "good"]);
    assert_eq!(std::fs::read_dir(desk.path("state/models")).unwrap().count(), 1);
}

/// A copy at home would look imported, and the daemon would never find it.
#[test]
fn a_state_directory_that_cannot_be_written_is_told() {
    let desk = Desk::new();
    desk.configure();
    desk.write(
        "state",
        "a file where the directory would be: root cannot write there either",
    );
    desk.write("tiny.safetensors", doubling_safetensors());
    let run = desk.run(&["models", "import", "tiny.safetensors"]);
    assert!(run.one_line(74).contains("tiny.onnx"), "{run:?}");
    assert_eq!(names(&desk), ["span-x2", "span-x4"]);
}

#[test]
fn a_model_is_removed_unless_a_folder_needs_it() {
    let desk = Desk::new();
    let config = desk.configure();
    desk.write("tiny.safetensors", doubling_safetensors());
    desk.run(&["models", "import", "tiny.safetensors"]).ok();
    assert!(
        desk.run(&["models", "remove", "span-x2"])
            .one_line(2)
            .contains("inside")
    );
    assert!(
        desk.run(&["models", "remove", "other"])
            .one_line(69)
            .contains("unknown model")
    );
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}model = \"tiny\"\n")).unwrap();
    assert!(
        desk.run(&["models", "remove", "tiny"])
            .one_line(2)
            .contains("photos")
    );
    std::fs::write(&config, text).unwrap();
    desk.run(&["models", "remove", "tiny"]).ok();
    assert_eq!(names(&desk), ["span-x2", "span-x4"]);
    let left = |dir: &str| std::fs::read_dir(desk.path(dir)).unwrap().count();
    assert_eq!(
        (left("state/models"), left("state/cards")),
        (0, 0),
        "its card is gone too"
    );
}

#[test]
fn a_folder_whose_model_disappears_waits_for_it_and_fails_no_job() {
    let site = Site::new("");
    let weights = site.path("mine.safetensors");
    std::fs::write(&weights, doubling_safetensors()).unwrap();
    let imported = site.run(["models", "import", weights.to_str().unwrap()]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("\"span-x2\"", "\"mine\"")).unwrap();
    let daemon = site.daemon();
    site.drop_photo("a.png", 40, 30);
    site.wait_for_state("a.png", "done");
    std::fs::remove_file(site.path("state/models/mine.onnx")).unwrap();
    site.drop_photo("b.png", 40, 30);
    let status = site.path("out/status.json");
    site.wait_for("the folder says what it waits for", || {
        let status: Value = serde_json::from_slice(&std::fs::read(&status).ok()?).ok()?;
        let reason = status["blocked_reason"].to_string();
        reason.contains("mine").then_some(())
    });
    let job = site.job_file("b.png").unwrap();
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&json!("queued"), &Value::Null),
        "{job}"
    );
    let imported = site.run(["models", "import", weights.to_str().unwrap()]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    site.wait_for_state("b.png", "done");
    assert_eq!(daemon.stop(), Some(0));
}
