//! Owns the tests of reading: real files, made on the spot.

mod colors;
mod facts;
mod formats;
mod frames;
#[cfg(feature = "heic")]
mod heic;
mod hostile;
mod hostile_formats;
mod pages;
mod portions;
mod raw;
mod tiff_file;

use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat};
use tempfile::TempDir;

use super::{CodecError, DecodeLimits, ImageHeader, RowSource, open, probe};
use crate::error::Fault;
use frames::read_frames;

/// A folder that goes away with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A picture in which no two pixels of a row or column are alike.
fn picture(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 37 + 11) as u8, (y * 53 + 7) as u8, (x * 5 + y * 91) as u8])
    }))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A small file of every kind that can be read, and its usual extension.
fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let small = picture(21, 13);
    vec![
        ("jpg", encoded(&small, ImageFormat::Jpeg)),
        ("progressive.jpg", progressive(&small)),
        ("png", encoded(&small, ImageFormat::Png)),
        ("webp", encoded(&small, ImageFormat::WebP)),
        ("lossy.webp", lossy_webp(&small)),
        ("tif", encoded(&small, ImageFormat::Tiff)),
        ("bmp", encoded(&small, ImageFormat::Bmp)),
    ]
}

fn progressive(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_progressive(true);
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder
        .encode(picture.as_bytes(), width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

fn lossy_webp(picture: &DynamicImage) -> Vec<u8> {
    webp::Encoder::from_rgb(picture.as_bytes(), picture.width(), picture.height())
        .encode(80.0)
        .to_vec()
}

/// EXIF with an orientation and nothing else.
fn exif_with_orientation(orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    exif
}

/// A PNG with a profile and EXIF.
fn png_with(picture: &DynamicImage, icc: Option<Vec<u8>>, exif: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    if let Some(icc) = icc {
        encoder.set_icc_profile(icc).unwrap();
    }
    if let Some(exif) = exif {
        encoder.set_exif_metadata(exif).unwrap();
    }
    picture.write_with_encoder(encoder).unwrap();
    bytes
}

/// A JPEG with a profile and EXIF.
fn jpeg_with(picture: &DynamicImage, icc: Option<Vec<u8>>, exif: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    if let Some(icc) = icc {
        encoder.set_icc_profile(icc).unwrap();
    }
    if let Some(exif) = exif {
        encoder.set_exif_metadata(exif).unwrap();
    }
    picture.write_with_encoder(encoder).unwrap();
    bytes
}

fn header(path: &Path) -> ImageHeader {
    probe(path, &DecodeLimits::default()).unwrap()
}

/// All rows, as a job reads them: header, then pixels.
fn read(path: &Path) -> Result<Vec<u8>, CodecError> {
    let limits = DecodeLimits::default();
    let header = probe(path, &limits)?;
    drain(open(path, &header, &limits)?)
}

fn drain(mut rows: Box<dyn RowSource>) -> Result<Vec<u8>, CodecError> {
    let size = rows.size();
    let mut pixels = vec![0; rows.layout().row_bytes(size.width) * size.height as usize];
    for row in pixels.chunks_exact_mut(rows.layout().row_bytes(size.width)) {
        rows.read_row(row)?;
    }
    Ok(pixels)
}

/// The message as it reaches people.
fn message(error: CodecError) -> String {
    Fault::from(error).reason.message
}
