//! Other programs as judges: libvips decodes what was there and what came out, exiftool reads what both say about
//! themselves. They are not part of the project's set-up; `make test-photos` says so where they are missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::DynamicImage;
use serde_json::Value;

use super::support::{self, whole::Whole};
use super::{judge, made, open};

/// Formats that every source is turned into.
pub const FORMATS: [&str; 5] = ["same", "jpeg", "png", "webp", "tiff"];

/// Mean difference, in levels, of a source and its result brought back to its size: a turned, shifted or differently
/// coloured picture is far beyond it. What the model changes is below: half a level in most photos, five where all is
/// edges.
const SAME_PICTURE_LEVELS: f64 = 6.0;

/// The same where the result is a WebP with losses, whose colours are half as fine.
const SAME_WEBP_LEVELS: f64 = 8.0;

/// Fails where a judge is missing, and says which.
pub fn required() {
    for (program, package) in [("exiftool", "libimage-exiftool-perl"), ("vips", "libvips-tools")] {
        let there = Command::new(program)
            .arg("--version")
            .output()
            .or_else(|_| Command::new(program).output());
        assert!(
            there.is_ok(),
            "make test-photos needs {program}: apt install {package}"
        );
    }
}

/// What a program says.
pub fn run(program: &str, args: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Files of every kind: made here, kept among the fixtures, and photos that exiftool wrote metadata into.
pub fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = made::kinds().iter().map(|kind| kind.write(dir)).collect();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photos");
    let mut kept: Vec<PathBuf> = std::fs::read_dir(&fixtures)
        .unwrap_or_else(|error| panic!("{}: {error}", fixtures.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !NOT_SOURCES.iter().any(|end| text(path).ends_with(end)))
        .collect();
    kept.sort();
    for path in kept {
        // Two kinds of one picture would have results of one name.
        let name = path.file_name().unwrap().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let copy = dir.join(format!("kept-{extension}-{name}"));
        std::fs::copy(&path, &copy).unwrap();
        all.push(copy);
    }
    for extension in ["jpg", "png", "webp", "tif"] {
        for orientation in 1..=8 {
            let path = dir.join(format!("told-{extension}-{orientation}.{extension}"));
            DynamicImage::ImageRgb8(support::photo(64, 40))
                .save(&path)
                .unwrap();
            tell(&path, orientation);
            all.push(path);
        }
    }
    all
}

/// All in their own format; in another one those that differ in what it must hold, not in how they are turned.
pub fn worth_asking(sources: &[PathBuf], format: &str) -> Vec<PathBuf> {
    let is_worth = |path: &&PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        format == "same" || !name.starts_with("told-") || name.ends_with("-6")
    };
    sources.iter().filter(is_worth).cloned().collect()
}

/// Fixtures that are no pictures, need a feature, are large for what they show, or are refused on purpose.
const NOT_SOURCES: [&str; 8] = [
    ".md",
    ".raw",
    ".heic",
    "large-animated.jxl",
    "large-animated-lossless.jxl",
    "arithmetic.jpg",
    "animated.avif",
    "cropped.avif",
];

/// Sources whose pixels libvips sees otherwise for reasons of its own, or of which the model makes another picture: its
/// press profile for CMYK without one, the first frame that is not the canvas, colours that were multiplied with alpha and
/// that it leaves so, alpha of 16 bits, which it cuts off at 255, text, and dithering in black and white.
const NOT_COMPARED: [&str; 11] = [
    "ycck",
    "animated",
    "premultiplied",
    "deep-rgba.png as jpeg",
    "deep-rgba.png as webp",
    "patches.jxl",
    "g3",
    "g4",
    "grey-1",
    "grey-2",
    "grey16",
];

/// What exiftool (12) holds against compression 8: it knows TIFF 6.0 of 1992, and not Adobe's supplement of 2002. Ours is
/// compressed so where it has 16 bits.
const DEFLATED: &str = "Invalid value for IFD0 tag 0x0103 Compression";

/// What a camera and its owner would write.
fn tell(path: &Path, orientation: u8) {
    let orientation = format!("-IFD0:Orientation#={orientation}");
    let tags = [
        "-overwrite_original",
        "-q",
        &orientation,
        "-Make=Maker",
        "-Model=Camera 1",
        "-ExifIFD:DateTimeOriginal=2024:05:06 07:08:09",
        "-ExifIFD:SubSecTimeOriginal=123",
        "-ExifIFD:OffsetTimeOriginal=+02:00",
        "-ExifIFD:ExifImageWidth=64",
        "-ExifIFD:ExifImageHeight=40",
        "-ExifIFD:UserComment=a comment of some length",
        "-GPS:GPSLatitude=47.3",
        "-GPS:GPSLatitudeRef=N",
        "-GPS:GPSLongitude=8.5",
        "-GPS:GPSLongitudeRef=E",
        "-IFD0:Artist=Somebody",
        "-IFD0:Copyright=theirs",
        "-XMP-dc:Title=A title",
        "-XMP-dc:Subject=one",
        "-XMP-dc:Subject=two",
        "-XMP-xmp:Rating=4",
        "-IPTC:Keywords=key",
        "-IPTC:Caption-Abstract=caption",
    ];
    let mut args: Vec<&str> = tags.to_vec();
    args.push(text(path));
    // WebP has no place for IPTC.
    if path.extension().is_some_and(|extension| extension == "webp") {
        args.retain(|arg| !arg.starts_with("-IPTC"));
    }
    run("exiftool", &args).unwrap();
}

/// What the judges have against a result.
pub fn compare(
    session: &mut Whole,
    source: &Path,
    document: &Value,
    out: &Path,
    format: &str,
) -> Vec<String> {
    let name = format!("{} as {format}", source.file_name().unwrap().to_string_lossy());
    if document["state"] != "done" {
        return match document["reason"]["message"].as_str() {
            // A format that cannot hold several pages is a clear answer.
            Some(message) if message.contains("pages") => Vec::new(),
            message => vec![format!("{name}: {message:?}")],
        };
    }
    let result = out.join(document["result"].as_str().unwrap());
    let mut complaints = Vec::new();
    if !NOT_COMPARED.iter().any(|part| name.contains(part)) {
        complaints.extend(pixels(session, source, &result, document));
    }
    complaints.extend(metadata(source, &result, document));
    complaints
        .iter_mut()
        .for_each(|complaint| *complaint = format!("{name}: {complaint}"));
    complaints
}

/// The first picture of a file as libvips shows it: upright, in sRGB.
fn shown(path: &Path) -> Result<DynamicImage, String> {
    let dir = tempfile::tempdir().unwrap();
    let (upright, srgb) = (dir.path().join("upright.v"), dir.path().join("srgb.png"));
    run("vips", &["autorot", text(path), text(&upright)])?;
    run(
        "vips",
        &[
            "icc_transform",
            text(&upright),
            text(&srgb),
            "srgb",
            "--embedded",
            "--depth",
            "8",
        ],
    )
    .or_else(|_| run("vips", &["colourspace", text(&upright), text(&srgb), "srgb"]))
    .or_else(|_| run("vips", &["copy", text(&upright), text(&srgb)]))?;
    Ok(open(&srgb))
}

/// Whether all decoders see the same samples: those of lossy formats differ by a level here and there, of which the model
/// makes more.
fn is_exact(document: &Value, source: &Path) -> bool {
    let format = document["input"]["format"].as_str().unwrap_or_default();
    ["png", "tiff", "bmp", "gif", "webp"].contains(&format)
        && document["input"]["bit_depth"] == 8
        // JPEG inside of a TIFF.
        && !text(source).contains("jpeg-")
}

fn pixels(session: &mut Whole, source: &Path, result: &Path, document: &Value) -> Vec<String> {
    let (before, after) = match (shown(source), shown(result)) {
        (Ok(before), Ok(after)) => (before, after),
        // What libvips cannot read of the source it need not judge; the result it must read.
        (Err(_), Ok(_)) => return Vec::new(),
        (_, Err(error)) => return vec![error],
    };
    if (after.width(), after.height()) != (2 * before.width(), 2 * before.height()) {
        return vec![format!("libvips sees {}×{}", after.width(), after.height())];
    }
    let flat = |picture: &DynamicImage| {
        let mut flat = image::RgbImage::new(picture.width(), picture.height());
        for (pixel, rgba) in flat.pixels_mut().zip(picture.to_rgba8().pixels()) {
            let alpha = u32::from(rgba[3]);
            pixel.0 = [0, 1, 2].map(|at| ((u32::from(rgba[at]) * alpha + 255 * (255 - alpha)) / 255) as u8);
        }
        flat
    };
    let back = image::imageops::resize(
        &flat(&after),
        before.width(),
        before.height(),
        image::imageops::FilterType::Triangle,
    );
    let differences = flat(&before)
        .iter()
        .zip(back.iter())
        .map(|(a, b)| f64::from(a.abs_diff(*b)))
        .sum::<f64>();
    let mean = differences / back.len() as f64;
    let mut complaints = Vec::new();
    let most = match document["output"]["format"].as_str() {
        Some("webp") => SAME_WEBP_LEVELS,
        _ => SAME_PICTURE_LEVELS,
    };
    if mean > most {
        complaints.push(format!(
            "libvips sees another picture: {mean:.1} levels off in the mean"
        ));
    }
    let plain = document["input"]["icc"].is_null() && document["output"]["format"] == "png";
    if plain && before.color() == after.color() && is_exact(document, source) {
        // libvips makes three channels of grey; the model's three are not alike.
        let is_grey = document["input"]["channels"] == 1;
        let as_told = |picture: &DynamicImage| match picture {
            DynamicImage::ImageRgb8(rgb) if is_grey => {
                let red = rgb.pixels().map(|pixel| pixel[0]).collect();
                image::GrayImage::from_raw(rgb.width(), rgb.height(), red)
                    .unwrap()
                    .into()
            }
            other => other.clone(),
        };
        let judged = judge::judge(session, &as_told(&before), &as_told(&after));
        if judged.worst > 1.5 / 255.0 && !before.color().has_alpha() {
            complaints.push(format!("not what the session makes of libvips' pixels: {judged}"));
        }
    }
    complaints
}

/// Tags by group and name, as exiftool tells them.
pub fn tags(path: &Path) -> BTreeMap<String, String> {
    let json = run(
        "exiftool",
        &["-j", "-G1", "-a", "-u", "-n", "-struct", text(path)],
    )
    .unwrap();
    let all: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&json).unwrap();
    all[0]
        .iter()
        .map(|(tag, value)| (tag.clone(), value.to_string()))
        .collect()
}

fn warnings(path: &Path) -> Vec<String> {
    let told = run(
        "exiftool",
        &["-validate", "-warning", "-error", "-a", "-s3", text(path)],
    )
    .unwrap_or_default();
    String::from_utf8_lossy(&told)
        .lines()
        .filter(|line| !line.starts_with("OK") && !line.is_empty())
        .filter(|line| line.starts_with('[') || !line.contains("Warning"))
        // What each format wants EXIF to say is not what another one had to.
        .filter(|line| !line.contains("Missing required"))
        .map(str::to_owned)
        .collect()
}

/// Groups of tags that belong to people and cameras, not to the file.
const KEPT_GROUPS: [&str; 9] = [
    "IFD0:",
    "ExifIFD:",
    "GPS:",
    "InteropIFD:",
    "IPTC:",
    "XMP-dc:",
    "XMP-xmp:",
    "MakerNotes:",
    "ICC-header:",
];

/// What is about the pixels, and therefore another thing afterwards.
const CHANGED: [&str; 33] = [
    "Orientation",
    "ImageWidth",
    "ImageHeight",
    "ExifImageWidth",
    "ExifImageHeight",
    "ThumbnailOffset",
    "ThumbnailLength",
    "StripOffsets",
    "StripByteCounts",
    "RowsPerStrip",
    "Compression",
    "BitsPerSample",
    "PhotometricInterpretation",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "Predictor",
    "XResolution",
    "YResolution",
    "ResolutionUnit",
    "ExtraSamples",
    "SampleFormat",
    "CreatorTool",
    "FillOrder",
    "PageNumber",
    "T4Options",
    "TileWidth",
    "TileLength",
    "TileOffsets",
    "TileByteCounts",
    "JPEGTables",
    "ReferenceBlackWhite",
    "YCbCrPositioning",
    "YCbCrSubSampling",
];

fn metadata(source: &Path, result: &Path, document: &Value) -> Vec<String> {
    let told = document["warnings"].to_string();
    // EXIF's order of a JPEG's components has no place in a TIFF of another source.
    let is_forgotten = |tag: &str| {
        tag == "ExifIFD:ComponentsConfiguration"
            && document["output"]["format"] == "tiff"
            && document["input"]["format"] != "tiff"
    };
    let (before, after) = (tags(source), tags(result));
    let mut complaints = Vec::new();
    for (tag, value) in &before {
        let name = tag.rsplit(':').next().unwrap_or(tag);
        let kept = KEPT_GROUPS.iter().any(|group| tag.starts_with(group)) && !CHANGED.contains(&name);
        let excused = [("IPTC", "IPTC:"), ("XMP", "XMP-"), ("EXIF", "IFD")]
            .iter()
            .any(|(word, group)| told.contains(&format!("{word} was not carried")) && tag.contains(group));
        let kept = kept && !name.starts_with("PreviewImage") && !is_forgotten(tag);
        // Where there is no place for records, XMP says what they did.
        let said = |(other, found): (&String, &String)| {
            other.starts_with("XMP-") && found.contains(value.trim_matches('"'))
        };
        let is_moved =
            tag.starts_with("IPTC:") && (name == "ApplicationRecordVersion" || after.iter().any(said));
        if kept && !excused && !is_moved && after.get(tag) != Some(value) {
            let found = after.get(tag).map_or("nothing", String::as_str);
            complaints.push(format!("{tag} was {value}, is {found}"));
        }
    }
    let known = warnings(source);
    let is_deflated = document["output"]["format"] == "tiff" && document["input"]["bit_depth"] != 8;
    complaints.extend(
        warnings(result)
            .into_iter()
            .filter(|warning| !(known.contains(warning) || is_deflated && warning == DEFLATED)),
    );
    complaints
}
