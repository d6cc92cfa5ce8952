//! By how much a result is moved against its source: the whole result against the source enlarged without a net.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::pictures::Deep;

/// Pixels of the result on each side that are tried.
const REACH: i64 = 2;

/// Columns and rows by which `result` lies to the right of and below `source`, in its own pixels; a parabola through
/// the differences at whole pixels tells parts of them.
pub fn between(source: &RgbImage, result: &Deep) -> (f64, f64) {
    let (width, height) = result.dimensions();
    let grey = imageops::grayscale(source);
    let enlarged = imageops::resize(&grey, width, height, FilterType::CatmullRom);
    let result = GrayImage::from_fn(width, height, |x, y| {
        let [red, green, blue] = result.get_pixel(x, y).0.map(|value| f64::from(value) / 257.0);
        image::Luma([(0.2126 * red + 0.7152 * green + 0.0722 * blue).round() as u8])
    });
    let across: Vec<f64> = (-REACH..=REACH)
        .map(|dx| difference(&enlarged, &result, dx, 0))
        .collect();
    let down: Vec<f64> = (-REACH..=REACH)
        .map(|dy| difference(&enlarged, &result, 0, dy))
        .collect();
    (lowest(&across), lowest(&down))
}

/// Mean square of the difference where `result` is taken to be moved by so much.
fn difference(enlarged: &GrayImage, result: &GrayImage, dx: i64, dy: i64) -> f64 {
    let (width, height) = (i64::from(result.width()), i64::from(result.height()));
    let (mut sum, mut count) = (0.0, 0u64);
    for y in REACH..height - REACH {
        for x in REACH..width - REACH {
            let moved = result.get_pixel((x + dx) as u32, (y + dy) as u32).0[0];
            let still = enlarged.get_pixel(x as u32, y as u32).0[0];
            sum += (f64::from(moved) - f64::from(still)).powi(2);
            count += 1;
        }
    }
    sum / count as f64
}

/// Where the parabola through the least value and its neighbours is lowest.
fn lowest(values: &[f64]) -> f64 {
    let least = (0..values.len())
        .min_by(|a, b| values[*a].total_cmp(&values[*b]))
        .expect("there are values");
    let centre = least as f64 - REACH as f64;
    if least == 0 || least + 1 == values.len() {
        return centre;
    }
    let (before, at, after) = (values[least - 1], values[least], values[least + 1]);
    let curvature = before - 2.0 * at + after;
    if curvature > 0.0 {
        centre + (before - after) / (2.0 * curvature)
    } else {
        centre
    }
}
