//! Compares a result with what the bare session makes of the source's pixels.

use std::fmt;

use image::{DynamicImage, RgbaImage};
use upscaled::size::Size;

use super::support::whole::Whole;

/// How far a result is from the reference, of 0..1.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    pub mean: f64,
    pub worst: f64,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mean, worst) = (self.mean * 255.0, self.worst * 255.0);
        write!(f, "mean {mean:.4}, worst {worst:.2} levels of 255")
    }
}

/// Channels of a picture as planes of 0..1: one or three of colours, then alpha if there is any.
fn planes(picture: &DynamicImage) -> Vec<Vec<f32>> {
    let channels = usize::from(picture.color().channel_count());
    let samples: Vec<f32> = match picture {
        DynamicImage::ImageLuma16(p) => p.as_raw().iter().map(|s| f32::from(*s) / 65535.0).collect(),
        DynamicImage::ImageLumaA16(p) => p.as_raw().iter().map(|s| f32::from(*s) / 65535.0).collect(),
        DynamicImage::ImageRgb16(p) => p.as_raw().iter().map(|s| f32::from(*s) / 65535.0).collect(),
        DynamicImage::ImageRgba16(p) => p.as_raw().iter().map(|s| f32::from(*s) / 65535.0).collect(),
        other => other.as_bytes().iter().map(|s| f32::from(*s) / 255.0).collect(),
    };
    (0..channels)
        .map(|channel| samples.iter().skip(channel).step_by(channels).copied().collect())
        .collect()
}

/// A result against the reference: grey goes through the model three times over and is the mean of what comes out, and so
/// is alpha, unless it is even.
pub fn judge(session: &mut Whole, source: &DynamicImage, result: &DynamicImage) -> Judged {
    let size = Size::new(source.width(), source.height());
    let mut given = planes(source);
    let alpha = source.color().has_alpha().then(|| given.pop().unwrap());
    let mean = |values: Vec<f32>| -> Vec<f32> {
        let pixels = values.len() / 3;
        (0..pixels)
            .map(|at| (values[at] + values[at + pixels] + values[at + 2 * pixels]) / 3.0)
            .collect()
    };
    let mut wanted: Vec<Vec<f32>> = match &given[..] {
        [grey] => vec![mean(session.run(&grey.repeat(3), size))],
        colours => {
            let values = session.run(&colours.concat(), size);
            values.chunks(values.len() / 3).map(<[f32]>::to_vec).collect()
        }
    };
    if let Some(alpha) = alpha {
        wanted.push(mean(session.run(&alpha.repeat(3), size)));
    }
    let found = planes(result);
    assert_eq!(found.len(), wanted.len(), "channels");
    let pairs = found.iter().flatten().zip(wanted.iter().flatten());
    let differences: Vec<f64> = pairs
        .map(|(found, wanted)| f64::from((found - wanted.clamp(0.0, 1.0)).abs()))
        .collect();
    Judged {
        mean: differences.iter().sum::<f64>() / differences.len() as f64,
        worst: differences.iter().copied().fold(0.0, f64::max),
    }
}

/// How far, in levels, the colour of something of one colour is off where it is put on a ground, weighted by how much of
/// it shows: a halo, dark, light or coloured.
pub fn rim(picture: &RgbaImage, colour: [f64; 3], ground: [f64; 3]) -> f64 {
    let off = |pixel: &image::Rgba<u8>| {
        let alpha = f64::from(pixel[3]) / 255.0;
        let mixed = |of: f64, channel: usize| of * alpha + ground[channel] * (1.0 - alpha);
        (0..3)
            .map(|channel| (mixed(pixel[channel].into(), channel) - mixed(colour[channel], channel)).abs())
            .fold(0.0, f64::max)
    };
    picture.pixels().map(off).fold(0.0, f64::max)
}
