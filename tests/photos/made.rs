//! Files whose pixels are known, because they are made here, with encoders that are not ours.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayAlphaImage, GrayImage, Rgba, RgbaImage};
use png::{BitDepth, ColorType};

use super::support;

/// One kind of file.
pub struct Kind {
    /// The file's name.
    pub name: &'static str,
    /// What is in it.
    pub pixels: DynamicImage,
    writer: fn(&DynamicImage, &Path),
}

impl Kind {
    /// Writes it into a folder.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join(self.name);
        (self.writer)(&self.pixels, &path);
        path
    }
}

/// Awkward in both directions.
const SIZE: (u32, u32) = (61, 43);

/// All of them.
pub fn kinds() -> Vec<Kind> {
    let photo = DynamicImage::ImageRgb8(support::photo(SIZE.0, SIZE.1));
    let grey = DynamicImage::ImageLuma8(photo.to_luma8());
    let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| {
        // Steps that 8 bits cannot tell apart.
        image::Rgb([
            9_000 + 37 * x as u16 + 3 * y as u16,
            30_000 + 11 * y as u16,
            52_000 - 29 * x as u16,
        ])
    }));
    let kind = |name, pixels: &DynamicImage, writer| Kind {
        name,
        pixels: pixels.clone(),
        writer,
    };
    let faded = DynamicImage::ImageRgba8(faded(&photo));
    let deep_grey = DynamicImage::ImageLuma16(deep.to_luma16());
    let few = |bits: u32| DynamicImage::ImageLuma8(fewer(&photo.to_luma8(), bits));
    vec![
        kind("rgb.png", &photo, save),
        kind("grey.png", &grey, save),
        kind(
            "grey-alpha.png",
            &DynamicImage::ImageLumaA8(grey_alpha(&photo)),
            save,
        ),
        kind("rgba.png", &faded, save),
        kind("deep.png", &deep, save),
        kind("deep-grey.png", &deep_grey, save),
        kind(
            "deep-rgba.png",
            &DynamicImage::ImageRgba16(faded.to_rgba16()),
            save,
        ),
        kind("grey-1.png", &few(1), |pixels, path| {
            packed(pixels, path, BitDepth::One)
        }),
        kind("grey-2.png", &few(2), |pixels, path| {
            packed(pixels, path, BitDepth::Two)
        }),
        kind("grey-4.png", &few(4), |pixels, path| {
            packed(pixels, path, BitDepth::Four)
        }),
        kind("palette.png", &DynamicImage::ImageRgb8(banded(&photo)), palette),
        kind(
            "palette-trns.png",
            &DynamicImage::ImageRgba8(see_through(&photo)),
            palette,
        ),
        kind("tiff-rgb.tif", &photo, save),
        kind("tiff-deep.tif", &deep, save),
        kind("tiff-grey.tif", &grey, save),
        kind("tiff-rgba.tif", &faded, save),
        kind("bmp-rgb.bmp", &photo, save),
        kind("webp-rgb.webp", &photo, save),
        kind("webp-rgba.webp", &faded, save),
    ]
}

fn save(pixels: &DynamicImage, path: &Path) {
    pixels.save(path).unwrap();
}

/// A photo that fades out to nothing, with pixels of every alpha but 0, whose colours are not kept.
fn faded(photo: &DynamicImage) -> RgbaImage {
    let mut picture = photo.to_rgba8();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        pixel[3] = (255 - 4 * x).max(1) as u8 | u8::from(y % 2 == 0);
    }
    picture
}

fn grey_alpha(photo: &DynamicImage) -> GrayAlphaImage {
    DynamicImage::ImageRgba8(faded(photo)).to_luma_alpha8()
}

/// Grey of so many bits, expanded.
fn fewer(grey: &GrayImage, bits: u32) -> GrayImage {
    let most = (1 << bits) - 1;
    let mut picture = grey.clone();
    for level in picture.iter_mut() {
        let step = (u32::from(*level) * most + 127) / 255;
        *level = (step * 255 / most) as u8;
    }
    picture
}

fn packed(pixels: &DynamicImage, path: &Path, depth: BitDepth) {
    let bits = depth as u32;
    let most = (1 << bits) - 1;
    let grey = pixels.as_luma8().unwrap();
    let bytes: Vec<u8> = grey
        .rows()
        .flat_map(|row| {
            let levels: Vec<u32> = row.map(|level| u32::from(level[0]) * most / 255).collect();
            levels
                .chunks(8 / bits as usize)
                .map(|part| {
                    let packed = part.iter().fold(0, |byte, level| byte << bits | level);
                    (packed << (8 - bits * part.len() as u32)) as u8
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let mut encoder = encoder(path);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
}

fn encoder(path: &Path) -> png::Encoder<'static, BufWriter<File>> {
    png::Encoder::new(BufWriter::new(File::create(path).unwrap()), SIZE.0, SIZE.1)
}

/// A photo of few colours.
fn banded(photo: &DynamicImage) -> image::RgbImage {
    let mut picture = photo.to_rgb8();
    for level in picture.iter_mut() {
        *level = *level / 64 * 85;
    }
    picture
}

/// The same, some of it half transparent.
fn see_through(photo: &DynamicImage) -> RgbaImage {
    let mut picture = DynamicImage::ImageRgb8(banded(photo)).to_rgba8();
    for pixel in picture.pixels_mut() {
        pixel[3] = if pixel[0] > 100 { 255 } else { 120 };
    }
    picture
}

fn palette(pixels: &DynamicImage, path: &Path) {
    let picture = pixels.to_rgba8();
    let mut colours: Vec<Rgba<u8>> = Vec::new();
    let indices: Vec<u8> = picture
        .pixels()
        .map(|pixel| {
            let at = colours.iter().position(|colour| colour == pixel);
            at.unwrap_or_else(|| {
                colours.push(*pixel);
                colours.len() - 1
            }) as u8
        })
        .collect();
    let mut encoder = encoder(path);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(
        colours
            .iter()
            .flat_map(|colour| [colour[0], colour[1], colour[2]])
            .collect::<Vec<_>>(),
    );
    if pixels.color().has_alpha() {
        encoder.set_trns(colours.iter().map(|colour| colour[3]).collect::<Vec<_>>());
    }
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&indices)
        .unwrap();
}

/// A disc of one colour with a soft edge on nothing, below which something else lies hidden.
pub fn disc(colour: [u8; 3], hidden: [u8; 3]) -> RgbaImage {
    RgbaImage::from_fn(64, 64, |x, y| {
        let away = (f64::from(x) - 31.5).hypot(f64::from(y) - 31.5);
        let alpha = ((20.5 - away).clamp(0.0, 1.0) * 255.0).round() as u8;
        let [r, g, b] = if alpha > 0 { colour } else { hidden };
        Rgba([r, g, b, alpha])
    })
}
