//! Compares the colours of two files as their profiles mean them: the mean of all pixels in L*a*b*.

use std::path::Path;

use image::{ExtendedColorType, ImageDecoder, ImageEncoder, RgbImage};
use moxcms::{ColorProfile, ToneReprCurve};
use upscaled::codec::{self, DecodeLimits};

use super::support;

/// The profile of iPhones' screens and photos, with the whites and the length that Apple's has.
pub fn display_p3() -> Vec<u8> {
    let mut profile = ColorProfile::new_display_p3();
    profile.media_white_point = Some(moxcms::Xyzd {
        x: 0.9642,
        y: 1.0,
        z: 0.8249,
    });
    profile.chromatic_adaptation = Some(moxcms::Matrix3d {
        v: [
            [1.04788, 0.02292, -0.05020],
            [0.02959, 0.99048, -0.01706],
            [-0.00923, 0.01508, 0.75168],
        ],
    });
    let mut icc = profile.encode().unwrap();
    icc.resize(icc.len().next_multiple_of(4), 0);
    let length = icc.len() as u32;
    icc[..4].copy_from_slice(&length.to_be_bytes());
    icc
}

/// A photo in colours that sRGB does not have, with that profile, as a JPEG.
pub fn write_vivid_photo(path: &Path, icc: &[u8]) {
    let mut photo = support::photo(96, 80);
    for pixel in photo.pixels_mut() {
        let [r, g, b] = pixel.0;
        pixel.0 = [140 + r / 3, g / 3, b / 4];
    }
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(file, 95);
    encoder.set_icc_profile(icc.to_vec()).unwrap();
    let (width, height) = photo.dimensions();
    encoder
        .write_image(&photo, width, height, ExtendedColorType::Rgb8)
        .unwrap();
}

/// Pixels and profile of a file, read by the `image` crate where that knows the format.
pub fn read(path: &Path) -> (RgbImage, Vec<u8>) {
    let reader = image::ImageReader::open(path)
        .unwrap()
        .with_guessed_format()
        .unwrap();
    if let Ok(mut decoder) = reader.into_decoder() {
        let icc = decoder.icc_profile().unwrap().unwrap_or_default();
        return (image::DynamicImage::from_decoder(decoder).unwrap().to_rgb8(), icc);
    }
    let limits = DecodeLimits::default();
    let header = codec::probe(path, &limits).unwrap();
    let mut rows = codec::open(path, &header, &limits).unwrap();
    let row_bytes = rows.layout().row_bytes(rows.size().width);
    let mut pixels = vec![0; row_bytes * rows.size().height as usize];
    for row in pixels.chunks_exact_mut(row_bytes) {
        rows.read_row(row).unwrap();
    }
    let size = rows.size();
    let picture = RgbImage::from_raw(size.width, size.height, pixels).unwrap();
    (picture, header.icc.unwrap_or_default())
}

/// The mean colour of pixels in L*a*b*, by a profile of primaries and curves.
pub fn mean_lab(picture: &RgbImage, icc: &[u8]) -> [f64; 3] {
    let profile = ColorProfile::new_from_slice(icc).unwrap();
    let light = |curve: &Option<ToneReprCurve>| -> Vec<f64> {
        let curve = curve.as_ref().unwrap().make_linear_evaluator().unwrap();
        (0..256_u16)
            .map(|level| f64::from(curve.evaluate_value(f32::from(level) / 255.0)))
            .collect()
    };
    let lights = [&profile.red_trc, &profile.green_trc, &profile.blue_trc].map(light);
    let matrix = profile.colorant_matrix().v;
    let mut sum = [0.0; 3];
    for pixel in picture.pixels() {
        let light = [0, 1, 2].map(|channel| lights[channel][usize::from(pixel[channel])]);
        let xyz = matrix.map(|row| row[0] * light[0] + row[1] * light[1] + row[2] * light[2]);
        // Against the white of the connection space.
        let [x, y, z] = [xyz[0] / 0.9642, xyz[1], xyz[2] / 0.8249].map(|value: f64| {
            if value > 216.0 / 24_389.0 {
                value.cbrt()
            } else {
                (24_389.0 / 27.0 * value + 16.0) / 116.0
            }
        });
        for (sum, value) in sum
            .iter_mut()
            .zip([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)])
        {
            *sum += value;
        }
    }
    sum.map(|sum| sum / f64::from(picture.width() * picture.height()))
}

/// ΔE of 1976: at least as strict as the later ones where colours are vivid.
pub fn delta_e(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}
