//! That it makes no difference in which portions a picture lies in its file and comes out of it.

use image::ImageFormat;
use proptest::prelude::*;

use super::tiff_file::TiffFile;
use super::*;
use crate::codec::Depth;

/// Samples of no order, in the machine's bytes.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// What is left of interleaved samples: at most four of a pixel.
fn wanted(file: TiffFile, pixels: &[u8]) -> Vec<u8> {
    let pixel = file.samples * file.bits / 8;
    let kept = file.samples.min(4) * file.bits / 8;
    pixels
        .chunks_exact(pixel)
        .flat_map(|pixel| &pixel[..kept])
        .copied()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_tiff_gives_the_same_pixels_however_they_lie_in_it(
        (width, height) in (1..70usize, 1..60usize),
        samples in prop::sample::select(vec![1usize, 3, 4, 5]),
        bits in prop::sample::select(vec![8usize, 16]),
        strip in 1..70usize,
        tile in prop::option::of((1..4usize, 1..4usize)),
        planar: bool,
        deflate: bool,
        big_endian: bool,
        seed: u64,
    ) {
        let file = TiffFile {
            width, height, samples, bits, strip,
            tile: tile.map(|(wide, high)| (wide * 16, high * 16)),
            planar,
            deflate, big_endian,
            tags: &[],
        };
        let pixels = noise(width * height * samples * bits / 8, seed);
        let folder = Folder::new();
        let path = folder.file("a.tif", &file.bytes(&pixels));
        let header = header(&path);
        prop_assert_eq!(header.layout.depth == Depth::Sixteen, bits == 16);
        prop_assert!(read(&path).unwrap() == wanted(file, &pixels), "{:?}", file);
    }
}

#[test]
fn a_strip_without_compression_is_read_by_the_row() {
    let folder = Folder::new();
    let file = TiffFile::new(600, 2000, 3, 16);
    let path = folder.file("a.tif", &file.bytes(&noise(600 * 2000 * 6, 3)));
    assert!(header(&path).decode_bytes < 2 << 20);
    let deflated = TiffFile {
        deflate: true,
        ..file
    };
    let path = folder.file("b.tif", &deflated.bytes(&noise(600 * 2000 * 6, 3)));
    assert!(header(&path).decode_bytes > 600 * 2000 * 6);
}

#[test]
fn both_directions_and_widths_of_plain_bmps_give_the_same_rows() {
    let folder = Folder::new();
    let (width, height) = (7, 5);
    let original = picture(width, height);
    let bottom_up = encoded(&original, ImageFormat::Bmp);
    assert_eq!(
        read(&folder.file("a.bmp", &bottom_up)).unwrap(),
        original.as_bytes()
    );

    let mut top_down = bottom_up[..54].to_vec();
    top_down[22..26].copy_from_slice(&(-(height as i32)).to_le_bytes());
    for row in bottom_up[54..].chunks_exact(24).rev() {
        top_down.extend_from_slice(row);
    }
    assert_eq!(
        read(&folder.file("b.bmp", &top_down)).unwrap(),
        original.as_bytes()
    );

    let mut wide = bottom_up[..54].to_vec();
    wide[28..30].copy_from_slice(&32u16.to_le_bytes());
    for row in bottom_up[54..].chunks_exact(24) {
        for pixel in row[..21].chunks_exact(3) {
            wide.extend_from_slice(&[pixel[0], pixel[1], pixel[2], 0]);
        }
    }
    assert_eq!(read(&folder.file("c.bmp", &wide)).unwrap(), original.as_bytes());
}

#[test]
fn a_jpeg_is_the_same_through_a_window_as_from_memory() {
    let folder = Folder::new();
    // Larger than the window, with restart intervals and without.
    let samples = noise(900 * 600 * 3, 5);
    use jpeg_encoder::{ColorType, SamplingFactor};
    for (color, progressive, restart, sampling) in [
        (ColorType::Rgb, false, None, SamplingFactor::F_1_1),
        (ColorType::Rgb, false, Some(3), SamplingFactor::F_2_2),
        (ColorType::Rgb, true, None, SamplingFactor::F_2_1),
        (ColorType::Cmyk, false, Some(5), SamplingFactor::F_1_1),
        (ColorType::CmykAsYcck, true, None, SamplingFactor::F_1_1),
    ] {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
        encoder.set_progressive(progressive);
        encoder.set_sampling_factor(sampling);
        if let Some(interval) = restart {
            encoder.set_restart_interval(interval);
        }
        let height = if color == ColorType::Rgb { 600 } else { 450 };
        encoder.encode(&samples, 900, height, color).unwrap();
        assert!(bytes.len() > 4 << 16);
        let path = folder.file("a.jpg", &bytes);
        let whole = image::load_from_memory(&bytes).unwrap();
        // Ink is converted here, in floating point and not in integers.
        let most = if color == ColorType::CmykAsYcck { 2 } else { 0 };
        let rows = read(&path).unwrap();
        let apart = rows
            .iter()
            .zip(whole.as_bytes())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(
            rows.len() == whole.as_bytes().len() && apart <= Some(most),
            "{color:?} {sampling:?}: {apart:?}"
        );
    }
}

#[test]
fn damage_in_the_last_rows_of_a_png_is_found_though_the_first_were_given() {
    let folder = Folder::new();
    let original = image::RgbImage::from_raw(400, 300, noise(400 * 300 * 3, 8)).unwrap();
    let mut bytes = encoded(&original.into(), ImageFormat::Png);
    let at = bytes.len() - 200;
    bytes[at] ^= 0x10;
    let path = folder.file("a.png", &bytes);
    let limits = DecodeLimits::default();
    let mut rows = open(&path, &header(&path), &limits).unwrap();
    let mut row = vec![0; 1200];
    rows.read_row(&mut row).unwrap();
    let rest = (1..300).map(|_| rows.read_row(&mut row)).find_map(Result::err);
    let text = message(rest.unwrap());
    assert!(text.contains("damaged"), "{text}");
    // And nothing comes after it.
    assert!(rows.read_row(&mut row).is_err());
}
