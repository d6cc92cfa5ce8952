//! Pictures to upscale.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, Rgb, RgbImage};

use super::common;

/// Sixteen bits, so that differences far below a level of 255 can be told apart.
pub type Deep = ImageBuffer<Rgb<u16>, Vec<u16>>;

/// Steps of sixteen bits in one level of 255.
pub const STEPS_PER_LEVEL: f64 = 257.0;

/// Writes a made photo of this size into `dir`, with the extension's format.
pub fn write_photo(dir: &Path, (width, height): (u32, u32), extension: &str) -> PathBuf {
    let path = dir.join(format!("photo-{width}x{height}.{extension}"));
    if !path.exists() {
        large_photo(width, height)
            .save(&path)
            .expect("the photo is written");
    }
    path
}

/// A made photo; of the large ones a part is repeated, since computing it takes longer than upscaling it.
fn large_photo(width: u32, height: u32) -> RgbImage {
    const PATCH_PX: u32 = 2048;
    let patch = common::photo(width.min(PATCH_PX), height.min(PATCH_PX));
    if (width, height) == patch.dimensions() {
        return patch;
    }
    RgbImage::from_fn(width, height, |x, y| *patch.get_pixel(x % PATCH_PX, y % PATCH_PX))
}

/// A cutting of the repository's sample, extended by mirroring where it is smaller.
pub fn natural(width: u32, height: u32) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sample/astronaut.jpg");
    let sample = image::open(&path).expect("the sample can be read").to_rgb8();
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (
            mirrored(i64::from(x), sample.width()),
            mirrored(i64::from(y), sample.height()),
        );
        *sample.get_pixel(x, y)
    })
}

/// What tears tiles apart if anything does: noise, lines of one pixel, and steps between extremes.
pub fn test_pattern(width: u32, height: u32) -> RgbImage {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    RgbImage::from_fn(width, height, |x, y| match (x / 32 + y / 32) % 4 {
        0 => Rgb([noise(), noise(), noise()]),
        1 => Rgb([if x % 2 == 0 { 255 } else { 0 }; 3]),
        2 => Rgb([if y % 3 == 0 { 0 } else { 255 }, (x * 7) as u8, (y * 5) as u8]),
        _ => Rgb([if (x / 8 + y / 8) % 2 == 0 { 0 } else { 255 }; 3]),
    })
}

/// Index of a pixel beyond the end, by reflection about the last one.
pub fn mirrored(index: i64, len: u32) -> u32 {
    let len = i64::from(len);
    let period = (2 * (len - 1)).max(1);
    let index = index.rem_euclid(period);
    u32::try_from(if index < len { index } else { period - index }).expect("inside the picture")
}

/// Writes a picture with sixteen bits, which the result then has too.
pub fn write_deep(path: &Path, picture: &RgbImage) {
    let deep = Deep::from_fn(picture.width(), picture.height(), |x, y| {
        Rgb(picture.get_pixel(x, y).0.map(|level| u16::from(level) * 257))
    });
    DynamicImage::ImageRgb16(deep)
        .save(path)
        .expect("the picture is written");
}

/// Reads a result of sixteen bits.
pub fn read_deep(path: &Path) -> Deep {
    let result = image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match result {
        DynamicImage::ImageRgb16(deep) => deep,
        other => panic!("{} is {:?}", path.display(), other.color()),
    }
}

/// How two pictures differ, in levels of 255.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// Anywhere.
    pub greatest: f64,
    /// Of one sample in a thousand or less.
    pub percentile_99_9: f64,
}

impl Difference {
    /// Between pictures of one size.
    pub fn between(one: &Deep, other: &Deep) -> Self {
        assert_eq!(one.dimensions(), other.dimensions(), "two sizes");
        let pairs = one.as_raw().iter().zip(other.as_raw());
        let mut steps: Vec<u16> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
        let rank = (steps.len() - 1) * 999 / 1000;
        let (_, percentile, _) = steps.select_nth_unstable(rank);
        let percentile_99_9 = f64::from(*percentile) / STEPS_PER_LEVEL;
        let greatest = steps
            .iter()
            .max()
            .map_or(0.0, |steps| f64::from(*steps) / STEPS_PER_LEVEL);
        Self {
            greatest,
            percentile_99_9,
        }
    }
}
