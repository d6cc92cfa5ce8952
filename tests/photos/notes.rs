//! What files say beside EXIF, XMP and IPTC, written by exiftool before and read by it after.

use std::path::{Path, PathBuf};

use image::DynamicImage;
use serde_json::Value;

use super::others::{run, tags, text};
use super::support;

/// A file of each kind that has such things, and what exiftool is told to write into it.
const TOLD: [(&str, &[&str]); 4] = [
    (
        "jpg",
        &[
            "-File:Comment=a comment, schön",
            "-JFIF:ResolutionUnit=inches",
            "-JFIF:XResolution=300",
            "-JFIF:YResolution=300",
            "-Photoshop:CopyrightFlag#=1",
            "-Photoshop:URL=https://example.org",
            "-IPTC:Headline=a headline",
            "-IPTC:Keywords=one",
            "-IPTC:Keywords=zwölf",
        ],
    ),
    (
        "png",
        &[
            "-PNG:Comment=a comment, schön",
            "-PNG:Source=a source",
            "-PNG:Title=a title",
            "-PNG-pHYs:PixelUnits=meters",
            "-PNG-pHYs:PixelsPerUnitX=11811",
            "-PNG-pHYs:PixelsPerUnitY=11811",
        ],
    ),
    (
        "tif",
        &[
            "-IFD0:XResolution=300",
            "-IFD0:YResolution=300",
            "-IFD0:ResolutionUnit=inches",
            "-Photoshop:CopyrightFlag#=1",
            "-IPTC:Headline=a headline",
        ],
    ),
    ("gif", &["-Comment=a comment, schön"]),
];

/// Writes the files.
pub fn sources(dir: &Path) -> Vec<PathBuf> {
    let write = |(extension, told): &(&str, &[&str])| {
        let path = dir.join(format!("notes-{extension}.{extension}"));
        if *extension == "gif" {
            save_gif(&path);
        } else {
            let photo = DynamicImage::ImageRgb8(support::photo(48, 32));
            photo.save(&path).unwrap();
        }
        let mut args = vec!["-overwrite_original", "-q", "-codedcharacterset=utf8"];
        args.extend(*told);
        if !told.iter().any(|tag| tag.starts_with("-IPTC")) {
            args.retain(|arg| !arg.starts_with("-coded"));
        }
        args.push(text(&path));
        run("exiftool", &args).unwrap();
        path
    };
    TOLD.iter().map(write).collect()
}

/// Stripes.
fn save_gif(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = gif::Encoder::new(file, 48, 32, &[200, 40, 60, 20, 90, 220]).unwrap();
    let stripes: Vec<u8> = (0..48 * 32_u16).map(|at| (at / 48 / 8 % 2) as u8).collect();
    let frame = gif::Frame::from_indexed_pixels(48, 32, stripes, None);
    encoder.write_frame(&frame).unwrap();
}

/// What is missing from a result, or another thing there.
pub fn compare(source: &Path, result: &Path, document: &Value, format: &str) -> Vec<String> {
    let (before, after) = (tags(source), tags(result));
    let extension = source.extension().unwrap().to_str().unwrap();
    let mut complaints = Vec::new();
    let mut wants = |what: &str, is_there: bool| {
        if !is_there {
            let warnings = &document["warnings"];
            complaints.push(format!(
                "{extension} as {format}: {what}\n{after:#?}\n{warnings:#}"
            ));
        }
    };
    let (_, told) = TOLD.iter().find(|(name, _)| *name == extension).unwrap();
    for arg in *told {
        // GIF becomes PNG.
        if format == "same" && extension != "gif" {
            let tag = arg.trim_start_matches('-').split(['=', '#']).next().unwrap();
            wants(tag, before.contains_key(tag) && after.get(tag) == before.get(tag));
        }
        // Words are somewhere, whatever they are called there; one of them has no place but in a PNG.
        let words = arg.split('=').next_back().unwrap();
        if words.contains(' ') && (words != "a source" || extension == result.extension().unwrap()) {
            wants(words, after.values().any(|value| value.contains(words)));
        }
    }
    let said = document["warnings"].to_string();
    wants(
        "a word about the text",
        extension != "png" || format == "same" || format == "png" || said.contains("Source"),
    );
    // In an inch, in a centimetre, in a metre.
    let numbers = ["300", "118.11", "11811"];
    let is_resolution = |(tag, value): (&String, &String)| {
        (tag.ends_with(":XResolution") || tag.ends_with(":PixelsPerUnitX"))
            && numbers.contains(&value.as_str())
    };
    wants(
        "the resolution",
        extension == "gif" || after.iter().any(is_resolution),
    );
    let flag = "Photoshop:CopyrightFlag";
    let has_place =
        ["jpg", "jpeg", "png", "tif", "tiff"].contains(&result.extension().unwrap().to_str().unwrap());
    if before.contains_key(flag) {
        wants(flag, after.contains_key(flag) == has_place);
        wants("a word about Photoshop", has_place || said.contains("Photoshop"));
    }
    complaints
}
