mod animations;
mod failures;
mod formats;
mod tiff;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ::tiff::decoder::DecodingResult;
use image::{DynamicImage, ImageDecoder, ImageReader};
use proptest::prelude::*;

use super::*;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::metadata::Carried;
use crate::codec::sequence::Sequence;
use crate::codec::sink::{Encoded, FeedStopped, RowFeed, SinkSpec, encode, encode_bytes, side_limit};
use crate::config::{EncodeSettings, JpegChroma, PngEffort, TiffCompression};
use crate::size::Size;

/// Gives rows in chunks of these heights, over and over, and stops where the bytes end.
struct Chunks {
    rows: Vec<u8>,
    row_bytes: usize,
    heights: Vec<usize>,
    given: usize,
    at: usize,
}

impl Chunks {
    fn new(spec: &SinkSpec, rows: Vec<u8>, heights: &[usize]) -> Self {
        Self {
            rows,
            row_bytes: spec.layout.row_bytes(spec.size.width),
            heights: heights.to_vec(),
            given: 0,
            at: 0,
        }
    }
}

impl RowFeed for Chunks {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        drop(spent);
        let rest = &self.rows[self.at..];
        if rest.is_empty() {
            return Err(FeedStopped);
        }
        let height = self.heights[self.given % self.heights.len()];
        let chunk = rest[..rest.len().min(height * self.row_bytes)].to_vec();
        self.given += 1;
        self.at += chunk.len();
        Ok(chunk)
    }
}

/// Gives pictures one after the other, each in chunks of seven rows, and stops where they end.
struct Pictures {
    chunks: std::vec::IntoIter<Vec<u8>>,
}

impl Pictures {
    fn new(spec: &SinkSpec, pictures: &[Vec<u8>]) -> Self {
        let chunks = pictures.iter().enumerate().flat_map(|(index, picture)| {
            let page = spec.picture(index);
            let chunk_bytes = 7 * page.layout.row_bytes(page.size.width);
            picture
                .chunks(chunk_bytes)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        });
        Self {
            chunks: chunks.collect::<Vec<_>>().into_iter(),
        }
    }
}

impl RowFeed for Pictures {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        drop(spent);
        self.chunks.next().ok_or(FeedStopped)
    }
}

const CHANNELS: [Channels; 4] = [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba];

fn is_lossy(format: ResultFormat) -> bool {
    matches!(format, ResultFormat::Jpeg | ResultFormat::Avif)
}

/// Every format that the `image` crate reads, with every layout that it holds.
fn combinations() -> Vec<(ResultFormat, PixelLayout)> {
    let mut all = Vec::new();
    for channels in CHANNELS {
        for depth in [Depth::Eight, Depth::Sixteen] {
            let layout = PixelLayout { channels, depth };
            all.push((ResultFormat::Png, layout));
            all.push((ResultFormat::Tiff, layout));
        }
    }
    for (format, channels) in [
        (ResultFormat::Jpeg, Channels::Grey),
        (ResultFormat::Jpeg, Channels::Rgb),
        (ResultFormat::Webp, Channels::Rgb),
        (ResultFormat::Webp, Channels::Rgba),
    ] {
        let depth = Depth::Eight;
        all.push((format, PixelLayout { channels, depth }));
    }
    all
}

/// Every format, those with few layouts in all of them.
fn all_formats() -> Vec<(ResultFormat, PixelLayout)> {
    let mut all = combinations();
    for (format, channels, depth) in [
        (ResultFormat::Avif, Channels::Rgb, Depth::Eight),
        (ResultFormat::Avif, Channels::GreyAlpha, Depth::Sixteen),
        (ResultFormat::Jxl, Channels::Rgb, Depth::Eight),
        (ResultFormat::Jxl, Channels::Rgba, Depth::Eight),
        (ResultFormat::Gif, Channels::Rgb, Depth::Eight),
        (ResultFormat::Gif, Channels::Rgba, Depth::Eight),
    ] {
        all.push((format, PixelLayout { channels, depth }));
    }
    all
}

fn spec(format: ResultFormat, layout: PixelLayout, size: Size) -> SinkSpec {
    SinkSpec {
        size,
        layout,
        format,
        quality: if is_lossy(format) { 92 } else { 100 },
        settings: EncodeSettings::default(),
        metadata: Carried::default(),
        sequence: Sequence::Single,
    }
}

/// Pixels that resemble a photo: gradients, an edge, and a little noise from `seed`.
fn pixels(layout: PixelLayout, size: Size, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            for channel in 0..layout.channels.count() as u32 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let edge = if (x / 9 + y / 7) % 2 == 0 { 40 } else { 90 };
                let value = (edge + x + 2 * y + 17 * channel) % 250 + (state >> 30);
                match layout.depth {
                    Depth::Eight => bytes.push(value as u8),
                    Depth::Sixteen => bytes.extend((value as u16 * 257 + (state >> 24) as u16).to_ne_bytes()),
                }
            }
        }
    }
    bytes
}

fn write(spec: &SinkSpec, rows: Vec<u8>, heights: &[usize], path: &Path) -> Result<Encoded, CodecError> {
    let mut feed = Chunks::new(spec, rows, heights);
    encode(spec, &mut feed, File::create(path).unwrap())
}

/// The samples as a decoder that is not ours reads them.
fn read(path: &Path, layout: PixelLayout) -> (Size, Vec<u8>) {
    let (size, bytes) = if is_tiff_for_few(path, layout) {
        read_tiff(path)
    } else {
        let picture = reader(path).decode().unwrap();
        let size = Size::new(picture.width(), picture.height());
        (size, samples(picture))
    };
    assert_eq!(
        bytes.len(),
        layout.row_bytes(size.width) * size.height as usize,
        "layout"
    );
    (size, bytes)
}

/// What the `image` crate does not read: BigTIFF, and grey with alpha.
fn is_tiff_for_few(path: &Path, layout: PixelLayout) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"II\x2a\0") && layout.channels == Channels::GreyAlpha
}

fn samples(picture: DynamicImage) -> Vec<u8> {
    match picture {
        DynamicImage::ImageLuma16(picture) => bytemuck::cast_slice(picture.as_raw()).to_vec(),
        DynamicImage::ImageLumaA16(picture) => bytemuck::cast_slice(picture.as_raw()).to_vec(),
        DynamicImage::ImageRgb16(picture) => bytemuck::cast_slice(picture.as_raw()).to_vec(),
        DynamicImage::ImageRgba16(picture) => bytemuck::cast_slice(picture.as_raw()).to_vec(),
        other => other.into_bytes(),
    }
}

fn tiff_decoder(path: &Path) -> ::tiff::decoder::Decoder<BufReader<File>> {
    // The default limits refuse to read a profile beyond 32 KiB.
    ::tiff::decoder::Decoder::new(BufReader::new(File::open(path).unwrap()))
        .unwrap()
        .with_limits(::tiff::decoder::Limits::unlimited())
}

fn read_tiff(path: &Path) -> (Size, Vec<u8>) {
    let mut decoder = tiff_decoder(path);
    let (width, height) = decoder.dimensions().unwrap();
    let bytes = match decoder.read_image().unwrap() {
        DecodingResult::U8(samples) => samples,
        DecodingResult::U16(samples) => bytemuck::cast_slice(&samples).to_vec(),
        other => panic!("{other:?}"),
    };
    (Size::new(width, height), bytes)
}

fn tiff_profile(path: &Path) -> Option<Vec<u8>> {
    tiff_decoder(path)
        .get_tag_u8_vec(::tiff::tags::Tag::IccProfile)
        .ok()
}

fn reader(path: &Path) -> ImageReader<BufReader<File>> {
    let mut reader = ImageReader::open(path).unwrap().with_guessed_format().unwrap();
    reader.no_limits();
    reader
}

fn peak_signal_to_noise_db(wanted: &[u8], got: &[u8]) -> f64 {
    let sum: f64 = wanted
        .iter()
        .zip(got)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    10.0 * (255.0_f64.powi(2) * wanted.len() as f64 / sum.max(1.0)).log10()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn every_pixel_arrives_however_the_rows_come(
        which in any::<prop::sample::Index>(),
        width in 1_u32..90,
        height in 1_u32..70,
        heights in prop::collection::vec(1_usize..20, 1..5),
        seed: u32,
    ) {
        let all = combinations();
        let (format, layout) = all[which.index(all.len())];
        let size = Size::new(width, height);
        let spec = spec(format, layout, size);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        let rows = pixels(layout, size, seed);
        let encoded = write(&spec, rows.clone(), &heights, &path).unwrap();
        prop_assert_eq!(encoded.bytes, std::fs::metadata(&path).unwrap().len());
        prop_assert_eq!(encoded.warnings, Vec::<String>::new());
        let (read_size, got) = read(&path, layout);
        prop_assert_eq!(read_size, size);
        if format == ResultFormat::Jpeg {
            prop_assert!(got.len() == rows.len());
        } else {
            prop_assert_eq!(got, rows);
        }
    }
}

#[test]
fn every_layout_of_every_lossless_format_is_exact_beyond_one_strip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    for (format, layout) in combinations() {
        if format == ResultFormat::Jpeg {
            continue;
        }
        let size = Size::new(613, 611);
        let rows = pixels(layout, size, 5);
        write(&spec(format, layout, size), rows.clone(), &[64], &path).unwrap();
        assert!(read(&path, layout) == (size, rows), "{format:?} {layout:?}");
    }
}

#[test]
fn jpeg_at_92_stays_close_and_keeps_full_colour_resolution() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    for channels in [Channels::Grey, Channels::Rgb] {
        let layout = PixelLayout {
            channels,
            depth: Depth::Eight,
        };
        let size = Size::new(203, 101);
        // Smooth in space, opposed in colour: what subsampling would smear.
        let rows: Vec<u8> = (0..size.height)
            .flat_map(|y| (0..size.width).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let wave = |period: f64| 127.0 + 100.0 * ((f64::from(x) + f64::from(y)) / period).sin();
                [wave(9.0) as u8, wave(13.0) as u8, wave(7.0) as u8]
                    .into_iter()
                    .take(channels.count())
            })
            .collect();
        write(&spec(ResultFormat::Jpeg, layout, size), rows.clone(), &[7], &path).unwrap();
        let psnr = peak_signal_to_noise_db(&rows, &read(&path, layout).1);
        assert!(psnr > 35.0, "{channels:?}: {psnr:.1} dB");
    }
}

#[test]
fn colours_below_full_transparency_survive_lossless_webp() {
    let layout = PixelLayout {
        channels: Channels::Rgba,
        depth: Depth::Eight,
    };
    let size = Size::new(40, 30);
    let mut rows = pixels(layout, size, 9);
    rows.chunks_exact_mut(4).step_by(2).for_each(|pixel| pixel[3] = 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    write(&spec(ResultFormat::Webp, layout, size), rows.clone(), &[3], &path).unwrap();
    assert!(read(&path, layout).1 == rows);
}

#[test]
fn lossy_webp_with_alpha_and_metadata_is_read_by_another_decoder() {
    let layout = PixelLayout {
        channels: Channels::Rgba,
        depth: Depth::Eight,
    };
    let mut spec = spec(ResultFormat::Webp, layout, Size::new(41, 33));
    spec.quality = 92;
    spec.metadata = metadata();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let rows = pixels(layout, spec.size, 9);
    write(&spec, rows.clone(), &[5], &path).unwrap();
    let (size, got) = read(&path, layout);
    assert_eq!(size, spec.size);
    let alpha = |bytes: &[u8]| bytes.iter().skip(3).step_by(4).copied().collect::<Vec<_>>();
    assert_eq!(alpha(&got), alpha(&rows));
    assert_metadata(&path, &spec.metadata);
}

/// Odd in length: the formats pad.
fn metadata() -> Carried {
    let mut exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    exif.extend(b"the rest, and more!");
    Carried {
        // A size that needs two segments in JPEG.
        icc: Some((0..70_001_u32).map(|i| (i % 251) as u8).collect()),
        exif: Some(exif),
        ..Carried::default()
    }
}

fn assert_metadata(path: &Path, wanted: &Carried) {
    let mut decoder = reader(path).into_decoder().unwrap();
    assert!(decoder.icc_profile().unwrap() == wanted.icc, "ICC");
    assert_eq!(decoder.exif_metadata().unwrap(), wanted.exif, "EXIF");
}

#[test]
fn profile_and_exif_are_found_again_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (format, layout) in combinations() {
        let path = folder.path().join("result");
        let size = Size::new(19, 11);
        let rows = pixels(layout, size, 3);
        let mut spec = spec(format, layout, size);
        spec.metadata = metadata();
        let encoded = write(&spec, rows.clone(), &[4], &path).unwrap();
        if format == ResultFormat::Tiff {
            assert_eq!(encoded.warnings, Vec::<String>::new());
            assert!(tiff_profile(&path) == spec.metadata.icc);
        } else {
            assert_eq!(encoded.warnings, Vec::<String>::new());
            assert_metadata(&path, &spec.metadata);
        }
        if format != ResultFormat::Jpeg {
            assert!(read(&path, layout).1 == rows, "{format:?} {layout:?}");
        }
    }
}

#[test]
fn each_of_the_two_alone_fits_into_webp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    for (icc, exif) in [(metadata().icc, None), (None, metadata().exif)] {
        let mut spec = spec(ResultFormat::Webp, layout, Size::new(5, 4));
        spec.metadata = Carried {
            icc,
            exif,
            ..Carried::default()
        };
        write(&spec, pixels(layout, spec.size, 3), &[9], &path).unwrap();
        assert_metadata(&path, &spec.metadata);
    }
}

#[test]
fn exif_and_profile_too_long_for_jpeg_are_left_out_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    for (longer, warnings) in [(0, 0), (1, 2)] {
        let mut spec = spec(ResultFormat::Jpeg, layout, Size::new(5, 4));
        spec.metadata = Carried {
            icc: Some(vec![1; 254 * 65_519 + longer]),
            exif: Some(vec![2; 65_527 + longer]),
            ..Carried::default()
        };
        let encoded = write(&spec, pixels(layout, spec.size, 3), &[9], &path).unwrap();
        assert_eq!(encoded.warnings.len(), warnings, "{:?}", encoded.warnings);
        assert_eq!(read(&path, layout).0, spec.size);
    }
}

/// Does not compress, so that buffers overflow early.
fn noise(layout: PixelLayout, size: Size) -> Vec<u8> {
    let mut state = 1_u64;
    (0..layout.row_bytes(size.width) * size.height as usize)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn jpeg_png_and_tiff_take_rows_while_they_write() {
    /// Sees whether the file grows while rows are still being asked for.
    struct Watched {
        chunks: Chunks,
        file: File,
        seen: u64,
    }
    impl RowFeed for Watched {
        fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
            self.seen = self.file.metadata().unwrap().len();
            self.chunks.next_rows(spent)
        }
    }
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    let size = Size::new(1024, 1024);
    for format in [ResultFormat::Jpeg, ResultFormat::Png, ResultFormat::Tiff] {
        let spec = spec(format, layout, size);
        let file = tempfile::tempfile().unwrap();
        let mut feed = Watched {
            chunks: Chunks::new(&spec, noise(layout, size), &[16]),
            file: file.try_clone().unwrap(),
            seen: 0,
        };
        let encoded = encode(&spec, &mut feed, file).unwrap();
        assert!(
            feed.seen > encoded.bytes / 2,
            "{format:?}: {} of {}",
            feed.seen,
            encoded.bytes
        );
        assert!(encode_bytes(&spec) < 4 << 20, "{format:?}");
    }
}
