//! That colours come out right, whatever they are made of in the file: against values that are computed by hand, and
//! against what another decoder made of files that no encoder at hand writes.

use moxcms::ColorProfile;

use super::tiff_file::TiffFile;
use super::*;
use crate::codec::color::description;
use crate::codec::{Channels, Depth, PixelLayout};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/photos")
        .join(name)
}

/// The greatest difference of rows to what is expected.
fn apart(rows: &[u8], expected: &[u8]) -> u8 {
    assert_eq!(rows.len(), expected.len());
    let each = rows.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    each.max().unwrap_or(0)
}

#[test]
fn what_another_decoder_makes_of_rare_files_is_what_comes_out() {
    for (name, expected, most) in [
        ("rgb.jpg", "rgb.raw", 1),
        ("non-interleaved.jpg", "non-interleaved.raw", 3),
        ("jpeg-strips.tif", "jpeg-strips.raw", 3),
        ("jpeg-tiles.tif", "jpeg-tiles.raw", 1),
        ("g3.tif", "fax.raw", 0),
        ("g4.tif", "fax.raw", 0),
        ("g4-reversed.tif", "fax.raw", 0),
    ] {
        let expected = std::fs::read(fixture(expected)).unwrap();
        let found = apart(&read(&fixture(name)).unwrap(), &expected);
        assert!(found <= most, "{name}: {found}");
    }
}

#[test]
fn an_arithmetic_coded_jpeg_is_refused_with_a_word() {
    let error = probe(&fixture("arithmetic.jpg"), &DecodeLimits::default()).unwrap_err();
    let text = message(error);
    assert!(text.contains("arithmetic-coded"), "{text}");
}

/// Four flat fields of ink, a block each, as a JPEG.
fn ink_jpeg(inks: &[[u8; 4]; 4], color: jpeg_encoder::ColorType) -> Vec<u8> {
    let pixels: Vec<u8> = (0..8 * 32).flat_map(|at| inks[at % 32 / 8]).collect();
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 100);
    encoder.encode(&pixels, 32, 8, color).unwrap();
    bytes
}

/// Without the segment that begins with this marker.
fn without(mut jpeg: Vec<u8>, marker: u8) -> Vec<u8> {
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, marker]).unwrap();
    let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    jpeg.drain(at..at + 2 + length);
    jpeg
}

#[test]
fn ink_of_a_jpeg_looks_the_same_in_all_conventions() {
    use jpeg_encoder::ColorType::{Cmyk, CmykAsYcck};
    let folder = Folder::new();
    let inks = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [30, 200, 90, 40]];
    let inverted = inks.map(|ink| ink.map(|value| 255 - value));
    let expected: Vec<u8> = (0..8 * 32)
        .flat_map(|at| {
            let [c, m, y, k] = inks[at % 32 / 8].map(|value| 1.0 - f32::from(value) / 255.0);
            [c * k, m * k, y * k].map(|light| (light * 255.0).round() as u8)
        })
        .collect();
    // Adobe writes less where there is more; whoever does not say Adobe writes it as it is.
    for (name, bytes) in [
        ("CMYK of Adobe", ink_jpeg(&inks, Cmyk)),
        ("YCCK of Adobe", ink_jpeg(&inks, CmykAsYcck)),
        ("CMYK of others", without(ink_jpeg(&inverted, Cmyk), 0xEE)),
    ] {
        let path = folder.file("a.jpg", &bytes);
        assert_eq!(header(&path).warnings.len(), 1, "{:?}", header(&path).warnings);
        let found = apart(&read(&path).unwrap(), &expected);
        assert!(found <= 3, "{name}: {found}");
    }
    // Luminance halved in the colours, by another encoder.
    let path = fixture("ycck.jpg");
    assert_eq!(header(&path).layout.channels, Channels::Rgb);
    assert!(read(&path).is_ok());
}

/// Samples of 16 bits in the machine's order.
fn deep(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn layout(channels: Channels, depth: Depth) -> PixelLayout {
    PixelLayout { channels, depth }
}

#[test]
fn all_kinds_of_samples_of_a_tiff_become_grey_or_rgb() {
    use Channels::{Grey, GreyAlpha, Rgb, Rgba};
    use Depth::{Eight, Sixteen};
    let file = |samples, bits, tags| TiffFile {
        tags,
        ..TiffFile::new(2, 1, samples, bits)
    };
    let floats: Vec<u8> = [0.0f32, 0.5, 1.5, 0.25, -1.0, 1.0]
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect();
    let halves: Vec<u8> = [0.0f32, 0.5]
        .iter()
        .flat_map(|value| half::f16::from_f32(*value).to_ne_bytes())
        .collect();
    let folder = Folder::new();
    for (name, file, stored, channels, depth, expected) in [
        (
            "ink",
            file(4, 8, &[(262, &[5])]),
            vec![0, 255, 0, 0, 51, 0, 0, 255],
            Rgb,
            Eight,
            vec![255, 0, 255, 0, 0, 0],
        ),
        (
            "deep ink",
            file(4, 16, &[(262, &[5])]),
            deep(&[0, 65_535, 0, 0, 13_107, 0, 0, 0]),
            Rgb,
            Sixteen,
            deep(&[65_535, 0, 65_535, 52_428, 65_535, 65_535]),
        ),
        (
            "ink and alpha",
            file(5, 8, &[(262, &[5]), (338, &[2])]),
            vec![0, 255, 0, 0, 9, 51, 0, 0, 255, 77],
            Rgba,
            Eight,
            vec![255, 0, 255, 9, 0, 0, 0, 77],
        ),
        (
            "ink and a spot colour",
            file(5, 8, &[(262, &[5]), (338, &[0])]),
            vec![0, 255, 0, 0, 9, 51, 0, 0, 255, 77],
            Rgb,
            Eight,
            vec![255, 0, 255, 0, 0, 0],
        ),
        (
            "white is zero",
            file(1, 8, &[(262, &[0])]),
            vec![0, 200],
            Grey,
            Eight,
            vec![255, 55],
        ),
        (
            "white is zero, with alpha",
            file(2, 8, &[(262, &[0]), (338, &[2])]),
            vec![0, 200, 5, 6],
            GreyAlpha,
            Eight,
            vec![255, 200, 250, 6],
        ),
        (
            "few bits",
            file(1, 4, &[]),
            vec![3, 15],
            Grey,
            Eight,
            vec![51, 255],
        ),
        (
            "few bits of colours",
            file(3, 2, &[]),
            vec![0, 1, 2, 3, 0, 1],
            Rgb,
            Eight,
            vec![0, 85, 170, 255, 0, 85],
        ),
        (
            "a palette",
            file(1, 1, &[(262, &[3]), (320, &[0, 65_535, 257, 514, 0, 32_896])]),
            vec![1, 0],
            Rgb,
            Eight,
            vec![255, 2, 128, 0, 1, 0],
        ),
        (
            "full luminance",
            file(3, 8, &[(262, &[6]), (530, &[1, 1])]),
            vec![255, 128, 128, 76, 85, 255],
            Rgb,
            Eight,
            vec![255, 255, 255, 254, 0, 0],
        ),
        (
            "multiplied alpha",
            file(4, 8, &[(338, &[1])]),
            vec![64, 32, 0, 128, 1, 2, 3, 255],
            Rgba,
            Eight,
            vec![128, 64, 0, 128, 1, 2, 3, 255],
        ),
        (
            "floats",
            file(3, 32, &[(339, &[3])]),
            floats,
            Rgb,
            Sixteen,
            deep(&[0, 32_768, 65_535, 16_384, 0, 65_535]),
        ),
        (
            "halves",
            file(1, 16, &[(339, &[3])]),
            halves,
            Grey,
            Sixteen,
            deep(&[0, 32_768]),
        ),
    ] {
        for big_endian in [false, true] {
            let file = TiffFile { big_endian, ..file };
            let path = folder.file("a.tif", &file.bytes(&stored));
            assert_eq!(header(&path).layout, layout(channels, depth), "{name}");
            assert_eq!(read(&path).unwrap(), expected, "{name}, big endian: {big_endian}");
        }
    }
}

#[test]
fn lab_of_a_tiff_has_signed_colours_unless_it_is_of_icc() {
    let folder = Folder::new();
    let mut pixels = Vec::new();
    // Half light, and a little red and yellow.
    let lab = |tags, stored: [u8; 6]| {
        let file = TiffFile {
            tags,
            ..TiffFile::new(2, 1, 3, 8)
        };
        file.bytes(&stored)
    };
    for bytes in [
        lab(&[(262, &[8])], [128, 20, 10, 128, 236, 246]),
        lab(&[(262, &[9])], [128, 148, 138, 128, 108, 118]),
    ] {
        let path = folder.file("a.tif", &bytes);
        assert_eq!(
            header(&path).icc.as_deref().and_then(description).as_deref(),
            Some("Display P3")
        );
        pixels.push(read(&path).unwrap());
    }
    assert_eq!(pixels[0], pixels[1]);
    let [red, green, blue, other_red, ..] = pixels[0][..] else {
        panic!()
    };
    assert!(red > green && green > blue && other_red < red, "{:?}", pixels[0]);
}

#[test]
fn predictors_and_compressions_of_a_tiff_change_nothing() {
    use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};
    use tiff::tags::Predictor;
    let folder = Folder::new();
    let values: Vec<u16> = (0..60 * 50 * 3u32).map(|at| (at * at % 65_521) as u16).collect();
    for (name, compression) in [
        ("none", Compression::Uncompressed),
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Balanced)),
        ("packbits", Compression::Packbits),
    ] {
        let horizontal = matches!(compression, Compression::Lzw | Compression::Deflate(_));
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new_big(&mut bytes)
            .unwrap()
            .with_compression(compression);
        if horizontal {
            encoder = encoder.with_predictor(Predictor::Horizontal);
        }
        let mut image = encoder.new_image::<colortype::RGB16>(60, 50).unwrap();
        image.rows_per_strip(7).unwrap();
        image.write_data(&values).unwrap();
        let path = folder.file("a.tif", bytes.get_ref());
        assert!(read(&path).unwrap() == deep(&values), "{name}");
    }
}

/// A PNG of one grey or RGB pixel row with chunks before the pixels.
fn png_with_chunks(color: png::ColorType, pixels: &[u8], chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, (pixels.len() / color.samples()) as u32, 1);
    encoder.set_color(color);
    let mut writer = encoder.write_header().unwrap();
    for (name, data) in chunks {
        writer.write_chunk(png::chunk::ChunkType(**name), data).unwrap();
    }
    writer.write_image_data(pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

fn longs(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Name, method, and the profile.
fn iccp(icc: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut data = flate2::write::ZlibEncoder::new(b"p\0\0".to_vec(), flate2::Compression::fast());
    data.write_all(icc).unwrap();
    data.finish().unwrap()
}

#[test]
fn what_a_png_says_of_its_colours_counts_in_the_right_order() {
    let folder = Folder::new();
    let adobe = ColorProfile::new_adobe_rgb().encode().unwrap();
    let p3 = longs(&[31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000]);
    let gamma = |value| (b"gAMA", longs(&[value]));
    let iccp = (b"iCCP", iccp(&adobe));
    let srgb = (b"sRGB", vec![0]);
    let named = |name: &str| Some(name.to_owned());
    for (chunks, wanted) in [
        (vec![], None),
        (vec![gamma(45_455)], None),
        (
            vec![gamma(45_455), (b"cHRM", p3.clone())],
            named("PNG primaries, gamma 2.20"),
        ),
        (vec![srgb.clone(), gamma(45_455), (b"cHRM", p3.clone())], None),
        (vec![gamma(55_556)], named("PNG primaries, gamma 1.80")),
        (vec![gamma(100_000), iccp.clone()], description(&adobe)),
        (
            vec![(b"cICP", vec![12, 13, 0, 1]), iccp.clone()],
            named("Display P3"),
        ),
        (vec![(b"cICP", vec![1, 13, 0, 1]), iccp.clone()], None),
        // Nobody knows these numbers: the next best is taken.
        (vec![(b"cICP", vec![99, 99, 0, 1]), iccp], description(&adobe)),
    ] {
        let names: Vec<_> = chunks.iter().map(|(name, _)| *name).collect();
        let bytes = png_with_chunks(png::ColorType::Rgb, &[1, 2, 3], &chunks);
        let path = folder.file("a.png", &bytes);
        let found = header(&path).icc.as_deref().and_then(description);
        assert_eq!(found, wanted, "{names:?}");
        assert_eq!(read(&path).unwrap(), [1, 2, 3]);
    }
}

#[test]
fn a_png_of_linear_light_is_converted_and_one_for_hdr_is_refused() {
    let folder = Folder::new();
    let linear = (b"gAMA", longs(&[100_000]));
    for color in [png::ColorType::Rgb, png::ColorType::Grayscale] {
        let bytes = png_with_chunks(color, &[0, 55, 255], std::slice::from_ref(&linear));
        let path = folder.file("a.png", &bytes);
        assert_eq!(header(&path).layout.depth, Depth::Sixteen);
        let middle = 1.055 * (55.0f64 / 255.0).powf(1.0 / 2.4) - 0.055;
        assert_eq!(
            read(&path).unwrap(),
            deep(&[0, (middle * 65_535.0).round() as u16, 65_535])
        );
    }
    for transfer in [16, 18] {
        let chunk = (b"cICP", vec![9, transfer, 0, 1]);
        let path = folder.file(
            "b.png",
            &png_with_chunks(png::ColorType::Rgb, &[1, 2, 3], &[chunk]),
        );
        let text = message(probe(&path, &DecodeLimits::default()).unwrap_err());
        assert!(text.contains("HDR"), "{text}");
    }
}
