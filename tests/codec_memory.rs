//! Protects the promise of `[memory] host`: what `ImageHeader::decode_bytes` and `codec::encode_bytes` say is what
//! decoders and encoders hold at most, and where rows stream it does not grow with the picture's height. Counts
//! every allocation of the thread that works; libwebp, which allocates by itself, is not seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::path::Path;

use image::{DynamicImage, ImageEncoder, ImageFormat, RgbImage};
use upscaled::codec::{
    self, Carried, Channels, DecodeLimits, Depth, FeedStopped, ImageHeader, PixelLayout, ResultFormat,
    RowFeed, Sequence, SinkSpec,
};
use upscaled::config::EncodeSettings;
use upscaled::size::Size;

#[path = "../src/codec/read_tests/tiff_file.rs"]
mod tiff_file;

use tiff_file::TiffFile;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that ends has nothing to count with any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new at once, as it may have to be.
        count(size.cast_signed());
        // SAFETY: the caller's promises are passed on.
        let moved = unsafe { System.realloc(place, layout, size) };
        count(-layout.size().cast_signed());
        moved
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that `work` holds beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = LIVE.get();
    PEAK.set(before);
    let value = work();
    ((PEAK.get() - before).unsigned_abs() as u64, value)
}

/// Paths, messages, boxes.
const SMALL_CHANGE: u64 = 64 << 10;

/// Reads all rows; the most that was held, and the header.
fn decoding(path: &Path) -> (u64, ImageHeader) {
    let limits = DecodeLimits::default();
    let header = codec::probe(path, &limits).unwrap();
    let mut row = vec![0; header.layout.row_bytes(header.upright().width)];
    let (held, ()) = peak(|| {
        let mut rows = codec::open(path, &header, &limits).unwrap();
        for _ in 0..rows.size().height as usize * header.sequence.pictures() {
            rows.read_row(&mut row).unwrap();
        }
    });
    (held, header)
}

/// How a file must be read.
enum Held {
    /// Besides the decoder's buffers, so many rows.
    Rows(u64),
    /// All of it, and as much again in other forms: in tenths of it.
    Whole(u64),
}

fn assert_held(name: &str, bytes: &[u8], expected: Held) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let (held, header) = decoding(&path);
    let promised = header.decode_bytes;
    println!("{name}: {held} of {promised} bytes");
    assert!(
        held <= promised + SMALL_CHANGE,
        "{name}: held {held} of {promised}"
    );
    let row_bytes = header.layout.row_bytes(header.stored.width) as u64;
    let most = match expected {
        Held::Rows(rows) => rows * row_bytes,
        Held::Whole(tenths) => row_bytes * u64::from(header.stored.height) * (10 + tenths) / 10,
    };
    assert!(
        promised <= most + (5 << 19),
        "{name}: promised {promised}, expected {most}"
    );
}

const SIZE: (u32, u32) = (2400, 1600);

fn photo() -> RgbImage {
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let level = (x / 7 + y / 5) % 200;
        image::Rgb([level as u8, (level + x % 9) as u8, (level + y % 11) as u8])
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn turned_png(orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    photo().write_with_encoder(encoder).unwrap();
    bytes
}

/// Seven passes, each a picture of its own; filter 0, stored.
fn interlaced_png() -> Vec<u8> {
    let mut raw = Vec::new();
    for (left, top, wide, high) in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ] {
        for y in (top..SIZE.1).step_by(high) {
            raw.push(0);
            for x in (left..SIZE.0).step_by(wide) {
                raw.extend([x as u8, y as u8, (x + y) as u8]);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut info = png::Info::with_size(SIZE.0, SIZE.1);
    info.color_type = png::ColorType::Rgb;
    info.interlaced = true;
    let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    use tiff::encoder::compression::{CompressionAlgorithm, Deflate};
    let mut data = Vec::new();
    Deflate::default().write_to(&mut data, &raw).unwrap();
    writer.write_chunk(png::chunk::IDAT, &data).unwrap();
    writer.finish().unwrap();
    bytes
}

fn jpeg(
    color: jpeg_encoder::ColorType,
    progressive: bool,
    sampling: jpeg_encoder::SamplingFactor,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 92);
    encoder.set_progressive(progressive);
    encoder.set_sampling_factor(sampling);
    let samples = photo().into_raw();
    let (samples, height) = match color {
        jpeg_encoder::ColorType::Cmyk | jpeg_encoder::ColorType::CmykAsYcck => (&samples[..], SIZE.1 * 3 / 4),
        jpeg_encoder::ColorType::Luma => (&samples[..(SIZE.0 * SIZE.1) as usize], SIZE.1),
        _ => (&samples[..], SIZE.1),
    };
    encoder
        .encode(samples, SIZE.0 as u16, height as u16, color)
        .unwrap();
    bytes
}

#[test]
fn a_png_is_held_by_the_row_unless_it_is_turned_or_interlaced() {
    let rgb = DynamicImage::from(photo());
    assert_held("rgb.png", &encoded(&rgb, ImageFormat::Png), Held::Rows(24));
    assert_held(
        "rgba16.png",
        &encoded(&rgb.to_rgba16().into(), ImageFormat::Png),
        Held::Rows(26),
    );
    assert_held("mirrored.png", &turned_png(2), Held::Rows(26));
    assert_held("turned.png", &turned_png(6), Held::Whole(1));
    assert_held("upside-down.png", &turned_png(3), Held::Whole(1));
    assert_held("interlaced.png", &interlaced_png(), Held::Whole(1));
    let wide = RgbImage::from_fn(30_000, 400, |x, y| image::Rgb([x as u8, y as u8, (x / 9) as u8]));
    assert_held(
        "wide.png",
        &encoded(&wide.into(), ImageFormat::Png),
        Held::Rows(26),
    );
}

#[test]
fn a_tiff_is_held_by_the_strip_or_by_the_row_of_tiles() {
    let pixels = photo().into_raw();
    let file = TiffFile::new(SIZE.0 as usize, SIZE.1 as usize, 3, 8);
    let strips = TiffFile {
        strip: 40,
        deflate: true,
        ..file
    };
    let tiles = TiffFile {
        tile: Some((256, 256)),
        deflate: true,
        ..file
    };
    let planes = TiffFile {
        planar: true,
        strip: 40,
        deflate: true,
        ..file
    };
    let rows = TiffFile { strip: 1, ..file };
    assert_held("one-strip.tif", &file.bytes(&pixels), Held::Rows(4));
    assert_held("rows.tif", &rows.bytes(&pixels), Held::Rows(40));
    assert_held("strips.tif", &strips.bytes(&pixels), Held::Rows(44));
    assert_held("tiles.tif", &tiles.bytes(&pixels), Held::Rows(300));
    assert_held("planes.tif", &planes.bytes(&pixels), Held::Rows(84));
    assert_held(
        "one-strip-deflated.tif",
        &TiffFile {
            deflate: true,
            ..file
        }
        .bytes(&pixels),
        Held::Whole(1),
    );
    let lzw = encoded(&photo().into(), ImageFormat::Tiff);
    assert_held("of-the-image-crate.tif", &lzw, Held::Rows(60));
}

#[test]
fn a_jpeg_is_held_once_and_the_coefficients_of_a_progressive_one_besides() {
    use jpeg_encoder::{ColorType, SamplingFactor};
    for (name, color, sampling) in [
        ("444.jpg", ColorType::Rgb, SamplingFactor::F_1_1),
        ("422.jpg", ColorType::Rgb, SamplingFactor::F_2_1),
        ("420.jpg", ColorType::Rgb, SamplingFactor::F_2_2),
        ("grey.jpg", ColorType::Luma, SamplingFactor::F_1_1),
        ("cmyk.jpg", ColorType::Cmyk, SamplingFactor::F_1_1),
        ("ycck.jpg", ColorType::CmykAsYcck, SamplingFactor::F_1_1),
    ] {
        let tenths = match color {
            ColorType::Luma => 4,
            // Four inks are held for three colours.
            ColorType::Cmyk | ColorType::CmykAsYcck => 2 + 4,
            _ => 2,
        };
        assert_held(name, &jpeg(color, false, sampling), Held::Whole(tenths));
    }
    let full = jpeg(ColorType::Rgb, true, SamplingFactor::F_1_1);
    assert_held("progressive-444.jpg", &full, Held::Whole(22));
    let quarter = jpeg(ColorType::Rgb, true, SamplingFactor::F_2_2);
    assert_held("progressive-420.jpg", &quarter, Held::Whole(12));
}

#[test]
fn a_bmp_is_held_by_the_row_and_a_webp_whole() {
    assert_held(
        "a.bmp",
        &encoded(&photo().into(), ImageFormat::Bmp),
        Held::Rows(4),
    );
    assert_held(
        "lossless.webp",
        &encoded(&photo().into(), ImageFormat::WebP),
        Held::Whole(24),
    );
    let lossy = webp::Encoder::from_rgb(photo().as_raw(), SIZE.0, SIZE.1)
        .encode(80.0)
        .to_vec();
    assert_held("lossy.webp", &lossy, Held::Whole(12));
}

/// Frames that differ, each as large as the canvas.
fn frames(count: u8) -> impl Iterator<Item = Vec<u8>> {
    let pixels = SIZE.0 as usize * SIZE.1 as usize;
    (0..count).map(move |frame| (0..pixels).map(|at| (at / 900 + at % 7) as u8 ^ frame).collect())
}

#[test]
fn an_animation_is_held_by_the_frame() {
    let mut gif_bytes = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
    let mut encoder = gif::Encoder::new(&mut gif_bytes, SIZE.0 as u16, SIZE.1 as u16, &palette).unwrap();
    for (index, buffer) in frames(4).enumerate() {
        let frame = gif::Frame {
            width: SIZE.0 as u16,
            height: SIZE.1 as u16,
            buffer: buffer.into(),
            dispose: if index == 1 {
                gif::DisposalMethod::Previous
            } else {
                gif::DisposalMethod::Keep
            },
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    // The frame that is read, the one that is decoded, the canvas, and the canvas as it was.
    assert_held("a.gif", &gif_bytes, Held::Whole(35));

    let mut png_bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut png_bytes, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_animated(4, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for frame in frames(4) {
        writer.set_dispose_op(png::DisposeOp::Previous).unwrap();
        writer.write_image_data(&frame).unwrap();
    }
    writer.finish().unwrap();
    assert_held("a.png", &png_bytes, Held::Whole(35));
}

#[test]
fn a_jpeg_xl_is_held_whole_in_wide_numbers() {
    let bytes = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/photos/large.jxl"
    ));
    assert_held("large.jxl", &bytes.unwrap(), Held::Whole(320));
}

/// The same rows again and again, in the buffer that comes back.
struct Same {
    chunk: Option<Vec<u8>>,
}

impl RowFeed for Same {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        // 16-bit samples come back in the byte order of the file; that does no harm here.
        Ok(self.chunk.take().unwrap_or(spent))
    }
}

#[test]
fn png_tiff_and_jpeg_hold_a_band_while_they_are_written() {
    const ROWS: u32 = 60;
    for (format, channels, depth) in [
        (ResultFormat::Png, Channels::Rgb, Depth::Eight),
        (ResultFormat::Png, Channels::Rgba, Depth::Sixteen),
        (ResultFormat::Tiff, Channels::Rgb, Depth::Eight),
        (ResultFormat::Tiff, Channels::Rgba, Depth::Sixteen),
        (ResultFormat::Jpeg, Channels::Rgb, Depth::Eight),
        (ResultFormat::Jpeg, Channels::Grey, Depth::Eight),
    ] {
        let layout = PixelLayout { channels, depth };
        let mut promised = Vec::new();
        for height in [ROWS * 4, ROWS * 20] {
            let size = Size::new(8000, height);
            let metadata = Carried {
                icc: Some(vec![7; 500_000]),
                exif: Some(vec![9; 40_000]),
                ..Carried::default()
            };
            let carried_bytes = 540_000;
            let spec = SinkSpec {
                size,
                layout,
                format,
                quality: 92,
                settings: EncodeSettings::default(),
                metadata,
                sequence: Sequence::Single,
            };
            let chunk = (0..layout.row_bytes(size.width) * ROWS as usize)
                .map(|at| (at / 3 * 7 + at % 3 * at / 971) as u8)
                .collect();
            let mut feed = Same { chunk: Some(chunk) };
            let file: File = tempfile::tempfile().unwrap();
            // The chunk and the metadata were there before.
            let (held, encoded) = peak(|| codec::encode(&spec, &mut feed, file));
            encoded.unwrap();
            let needed = codec::encode_bytes(&spec);
            println!("{format:?} {layout:?} {height}: {held} of {needed}");
            assert!(
                held + carried_bytes <= needed + SMALL_CHANGE,
                "{format:?} {layout:?}: {held} of {needed}"
            );
            promised.push(needed);
        }
        assert!(
            promised[1] < promised[0] + (1 << 20),
            "{format:?} grows with the height: {promised:?}"
        );
    }
}

#[test]
fn verifying_a_result_holds_nothing_of_its_pixels() {
    let folder = tempfile::tempdir().unwrap();
    for format in [ResultFormat::Png, ResultFormat::Jpeg, ResultFormat::Tiff] {
        let bytes = match format {
            ResultFormat::Jpeg => encoded(&photo().into(), ImageFormat::Jpeg),
            ResultFormat::Tiff => encoded(&photo().into(), ImageFormat::Tiff),
            _ => encoded(&photo().into(), ImageFormat::Png),
        };
        let path = folder.path().join("result");
        std::fs::write(&path, bytes).unwrap();
        let (held, outcome) = peak(|| codec::verify(&path, Size::new(SIZE.0, SIZE.1), 1, format));
        outcome.unwrap();
        assert!(held < 1 << 20, "{format:?}: {held}");
    }
}
