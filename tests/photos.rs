//! Protects photos: every kind of file goes through the real binary and the built-in model, and comes out as the bare
//! session makes it of pixels that are known another way.
//!
//! Here the pixels are known because the tests made them. `make test-photos` runs the ignored tests too, which ask other
//! programs: libvips for pixels, exiftool for metadata, before and after.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

#[path = "photos/colours.rs"]
mod colours;
#[path = "photos/judge.rs"]
mod judge;
#[path = "photos/made.rs"]
mod made;
#[path = "photos/notes.rs"]
mod notes;
#[path = "photos/others.rs"]
mod others;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use image::DynamicImage;
use judge::judge;
use support::whole::Whole;

const MODEL: &str = "span-x2";

/// Upscales files with the real binary; the job document of each, in their order.
fn upscale(dir: &Path, sources: &[PathBuf], args: &[&str]) -> Vec<serde_json::Value> {
    std::fs::create_dir_all(dir).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_upscaled"))
        .args(["upscale", "--json", "--model", MODEL, "--overwrite", "-o"])
        .arg(dir)
        .args(args)
        .args(sources)
        .env("ORT_DYLIB_PATH", support::runtime_library())
        .env("XDG_CONFIG_HOME", dir)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines.len(),
        sources.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    lines
}

/// The file that a job document names.
fn result_of(dir: &Path, document: &serde_json::Value) -> PathBuf {
    assert_eq!(document["state"], "done", "{document:#}");
    dir.join(document["result"].as_str().unwrap())
}

/// Opens whatever its name says.
fn open(path: &Path) -> DynamicImage {
    let reader = image::ImageReader::open(path)
        .unwrap()
        .with_guessed_format()
        .unwrap();
    reader
        .decode()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Sixteen bits against the float reference, eight bits within a level: for every lossless kind that the tests can make.
#[test]
fn every_kind_of_file_comes_out_as_the_bare_session_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = made::kinds();
    let sources: Vec<PathBuf> = kinds.iter().map(|kind| kind.write(dir.path())).collect();
    let out = dir.path().join("out");
    let documents = upscale(&out, &sources, &["--format", "png"]);
    let mut session = Whole::open(MODEL);
    for (kind, document) in kinds.iter().zip(&documents) {
        let result = open(&result_of(&out, document));
        let judged = judge(&mut session, &kind.pixels, &result);
        println!("{:28} {judged}", kind.name);
        let deep = matches!(
            kind.pixels,
            DynamicImage::ImageRgb16(_)
                | DynamicImage::ImageRgba16(_)
                | DynamicImage::ImageLuma16(_)
                | DynamicImage::ImageLumaA16(_)
        );
        assert_eq!(
            result.color().channel_count(),
            kind.pixels.color().channel_count(),
            "{}",
            kind.name
        );
        if deep {
            assert!(judged.mean < 1.0 / 20_000.0, "{}: {judged}", kind.name);
            assert_eq!(document["input"]["bit_depth"], 16, "{}", kind.name);
        }
        assert!(judged.worst <= 1.0 / 255.0, "{}: {judged}", kind.name);
        assert_eq!(document["warnings"], serde_json::json!([]), "{}", kind.name);
    }
}

/// No dark, light or coloured rim around something drawn on nothing, on whatever it is put, and whatever lies hidden.
#[test]
fn transparent_edges_have_no_halo_on_any_ground() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for hidden in [[0, 0, 0], [255, 255, 255], [0, 255, 0]] {
        let source = dir.path().join("disc.png");
        made::disc([200, 40, 60], hidden).save(&source).unwrap();
        let documents = upscale(&out, std::slice::from_ref(&source), &[]);
        let result = open(&result_of(&out, &documents[0])).to_rgba8();
        for ground in [[255.0, 255.0, 255.0], [0.0; 3], [20.0, 90.0, 220.0]] {
            let rim = judge::rim(&result, [200.0, 40.0, 60.0], ground);
            assert!(rim < 6.0, "hidden {hidden:?} on {ground:?}: {rim} levels");
        }
        let visible: Vec<u8> = result.pixels().map(|pixel| pixel[3]).collect();
        assert!(visible.contains(&0) && visible.contains(&255));

        let documents = upscale(
            &out,
            std::slice::from_ref(&source),
            &["--format", "jpeg", "--quality", "98"],
        );
        let flat = open(&result_of(&out, &documents[0])).to_rgb8();
        assert!(
            flat.get_pixel(0, 0).0.iter().all(|level| *level > 250),
            "on white"
        );
        let warning = documents[0]["warnings"][0].as_str().unwrap();
        assert!(
            warning.contains("transparency") && warning.contains("#ffffff"),
            "{warning}"
        );
    }
}

/// An alpha channel that hides nothing changes no colour and asks nothing of the model.
#[test]
fn opaque_alpha_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let photo = support::photo(90, 70);
    let (plain, opaque) = (dir.path().join("plain.png"), dir.path().join("opaque.png"));
    photo.save(&plain).unwrap();
    DynamicImage::ImageRgb8(photo).to_rgba8().save(&opaque).unwrap();
    let documents = upscale(&out, &[plain, opaque], &[]);
    let computed = |index: usize| documents[index]["plan"]["computed"].as_f64().unwrap();
    // Of a picture with alpha twice as many pixels are due.
    assert!((computed(1) * 2.0 - computed(0)).abs() < 1e-9);
    let [plain, opaque] = [0, 1].map(|index| open(&result_of(&out, &documents[index])));
    assert_eq!(opaque.to_rgb8(), plain.to_rgb8());
    assert!(opaque.to_rgba8().pixels().all(|pixel| pixel[3] == 255));
}

/// A photo in Display P3 has the colours it had, in every format: its profile goes along, and the mean of
/// what it means is off by less than anybody sees.
#[test]
fn a_photo_in_display_p3_keeps_its_colours_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let source = dir.path().join("IMG_1.JPG");
    let icc = colours::display_p3();
    colours::write_vivid_photo(&source, &icc);
    let (before, _) = colours::read(&source);
    let wanted = colours::mean_lab(&before, &icc);
    // Taken for sRGB it would be another picture: a profile that gets lost is seen here.
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    assert!(colours::delta_e(wanted, colours::mean_lab(&before, &srgb)) > 5.0);
    for format in ["same", "png", "webp", "avif", "tiff", "jxl"] {
        let documents = upscale(&out, std::slice::from_ref(&source), &["--format", format]);
        assert_eq!(documents[0]["warnings"], serde_json::json!([]), "{format}");
        let (after, profile) = colours::read(&result_of(&out, &documents[0]));
        // The reader of JPEG XL writes a profile of its own for primaries that it knows.
        assert!(profile == icc || format == "jxl", "{format}");
        assert_eq!(
            (after.width(), after.height()),
            (2 * before.width(), 2 * before.height())
        );
        let off = colours::delta_e(wanted, colours::mean_lab(&after, &profile));
        println!("{format:6} ΔE {off:.3}");
        assert!(off < 1.0, "{format}: ΔE {off}");
    }
}

/// What libvips decodes, the session makes larger; what exiftool reads before, it reads after.
#[test]
#[ignore = "asks libvips and exiftool: make test-photos"]
fn other_programs_see_what_we_see() {
    others::required();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let sources = others::sources(dir.path());
    let mut session = Whole::open(MODEL);
    let mut complaints = Vec::new();
    for format in others::FORMATS {
        let sources = others::worth_asking(&sources, format);
        let documents = upscale(&out, &sources, &["--format", format]);
        for (source, document) in sources.iter().zip(&documents) {
            let told = others::compare(&mut session, source, document, &out, format);
            told.iter().for_each(|complaint| println!("{complaint}"));
            complaints.extend(told);
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Comments, texts, Photoshop's resources and the resolution, as exiftool reads them before and after.
#[test]
#[ignore = "asks exiftool: make test-photos"]
fn other_programs_read_what_files_say_beside_exif() {
    others::required();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let sources = notes::sources(dir.path());
    let mut complaints = Vec::new();
    for format in ["same", "jpeg", "png", "webp", "tiff", "avif", "jxl"] {
        let documents = upscale(&out, &sources, &["--format", format]);
        for (source, document) in sources.iter().zip(&documents) {
            let result = result_of(&out, document);
            complaints.extend(notes::compare(source, &result, document, format));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
