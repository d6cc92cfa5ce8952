//! Puts a source and its result beside each other in one PNG: left the source, enlarged by a plain bicubic filter
//! to the result's size, right the result. Shows the part with the most detail, at the result's full resolution.
//!
//! ```sh
//! cargo run --example before_after -- photo.jpg photo_4x.jpg before-after.png
//! ```
#![allow(clippy::print_stderr, reason = "a command-line program")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::imageops::{self, FilterType};
use image::{GenericImageView, GrayImage, ImageDecoder, ImageReader, Rgb, RgbImage};

/// Sides of each half at most: both beside each other fit a README and stay below half a megabyte.
const HALF: (u32, u32) = (440, 400);

/// The white line between the halves.
const GAP_PX: u32 = 4;

/// Places for the cut-out are compared this many pixels of the source apart; finer changes nothing to see.
const STEP_PX: u32 = 4;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, result, out] = arguments.as_slice() else {
        eprintln!("usage: before_after SOURCE RESULT OUT.png");
        return ExitCode::from(2);
    };
    match compare(source, result, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("before_after: {message}");
            ExitCode::FAILURE
        }
    }
}

fn compare(source: &Path, result: &Path, out: &Path) -> Result<(), String> {
    let before = read(source)?;
    let after = read(result)?;
    let scale = f64::from(after.width()) / f64::from(before.width());
    if scale < 1.0 {
        return Err(format!(
            "{} is smaller than {}; name the source first, then the result",
            result.display(),
            source.display()
        ));
    }
    let (width, height) = (HALF.0.min(after.width()), HALF.1.min(after.height()));
    let in_source = |px: u32| ((f64::from(px) / scale) as u32).max(1);
    let (x, y) = liveliest(&imageops::grayscale(&before), in_source(width), in_source(height));
    let in_result = |px: u32, size: u32, room: u32| ((f64::from(px) * scale) as u32).min(room - size);
    let (x, y) = (
        in_result(x, width, after.width()),
        in_result(y, height, after.height()),
    );

    // CatmullRom is the bicubic filter that most programs enlarge with.
    let enlarged = imageops::resize(&before, after.width(), after.height(), FilterType::CatmullRom);
    let mut picture = RgbImage::from_pixel(2 * width + GAP_PX, height, Rgb([255; 3]));
    for (half, left) in [(&enlarged, 0), (&after, width + GAP_PX)] {
        imageops::replace(&mut picture, &*half.view(x, y, width, height), i64::from(left), 0);
    }
    picture
        .save(out)
        .map_err(|error| format!("cannot write {}: {error}", out.display()))
}

/// A picture the way up that it is meant to be seen: sources carry an orientation, results have it baked in.
fn read(path: &Path) -> Result<RgbImage, String> {
    let read = || {
        let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = image::DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture.into_rgb8())
    };
    read().map_err(|error: image::ImageError| format!("cannot read {}: {error}", path.display()))
}

/// The upper left corner of the `width` × `height` part in which neighbours differ most.
fn liveliest(picture: &GrayImage, width: u32, height: u32) -> (u32, u32) {
    let last = (
        picture.width().saturating_sub(width),
        picture.height().saturating_sub(height),
    );
    let places = (0..=last.1)
        .step_by(STEP_PX as usize)
        .flat_map(|y| (0..=last.0).step_by(STEP_PX as usize).map(move |x| (x, y)));
    let detail = summed_detail(picture);
    let at = |x: u32, y: u32| detail[y as usize * (picture.width() as usize + 1) + x as usize];
    places
        .max_by_key(|&(x, y)| {
            let (right, bottom) = (
                (x + width).min(picture.width()),
                (y + height).min(picture.height()),
            );
            at(right, bottom) + at(x, y) - at(right, y) - at(x, bottom)
        })
        .unwrap_or((0, 0))
}

/// Summed-area table of how much each pixel differs from its right and lower neighbour; one column and one row
/// more than the picture.
fn summed_detail(picture: &GrayImage) -> Vec<u64> {
    let (width, height) = picture.dimensions();
    let stride = width as usize + 1;
    let mut sums = vec![0; stride * (height as usize + 1)];
    for y in 0..height {
        let mut row = 0;
        for x in 0..width {
            let here = picture.get_pixel(x, y)[0];
            let right = picture.get_pixel((x + 1).min(width - 1), y)[0];
            let below = picture.get_pixel(x, (y + 1).min(height - 1))[0];
            row += u64::from(here.abs_diff(right)) + u64::from(here.abs_diff(below));
            let (column, line) = (x as usize + 1, y as usize + 1);
            sums[line * stride + column] = sums[(line - 1) * stride + column] + row;
        }
    }
    sums
}
