//! Protects the promise of `[memory] host` for sources of several pictures, and for what a file may hold besides its
//! pixels: `ImageHeader::decode_bytes` is what decoders hold at most, and it is not much more.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::path::{Path, PathBuf};

use upscaled::codec::{self, Channels, DecodeLimits, Depth, ResultFormat};

#[path = "support/held.rs"]
mod held;

#[path = "support/feed.rs"]
mod feed;

#[path = "../src/codec/read_tests/tiff_file.rs"]
mod tiff_file;

use feed::{Rows, frames, layout, spec};
use held::{SMALL_CHANGE, alone, assert_decoded, peak};
use tiff_file::TiffFile;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/photos")
        .join(name)
}

const MIB: u64 = 1 << 20;

#[test]
fn an_animated_webp_is_held_by_the_frame() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let pixels = 1200 * 900;
    for (name, channels, quality) in [
        ("lossy.webp", Channels::Rgb, 80),
        ("lossy-alpha.webp", Channels::Rgba, 80),
        ("lossless.webp", Channels::Rgb, 100),
        ("lossless-alpha.webp", Channels::Rgba, 100),
    ] {
        let mut spec = spec(ResultFormat::Webp, layout(channels, Depth::Eight), (1200, 900));
        (spec.quality, spec.sequence) = (quality, frames(3));
        let path = folder.path().join(name);
        let mut rows = Rows::new(1200, spec.layout, true);
        codec::encode(&spec, &mut rows, std::fs::File::create_new(&path).unwrap()).unwrap();
        // The canvas, what is given of it, a frame and its decoder's; noise is as large packed.
        let packed = std::fs::metadata(&path).unwrap().len() / 3;
        assert_decoded(&path, pixels * (4 + 4 + 4 + 10) + 6 * packed + 3 * MIB);
    }
    assert_decoded(&fixture("animated-lossy.webp"), 2 * MIB);
}

#[test]
fn an_animated_jpeg_xl_is_held_with_all_its_frames() {
    let _alone = alone();
    let pixels = 1000 * 750;
    for name in ["large-animated.jxl", "large-animated-lossless.jxl"] {
        // Twelve frames, of four channels in 32 bits.
        assert_decoded(&fixture(name), pixels * (4 + 56 + 11 * 16) + 26 * MIB);
    }
    assert_decoded(&fixture("animated.jxl"), 26 * MIB);
    // A second frame that is only seen in patches of the first one.
    assert_decoded(&fixture("patches.jxl"), 320 * 200 * (4 + 56 + 16 + 38) + 26 * MIB);
}

#[test]
fn of_the_pages_of_a_tiff_only_one_is_held() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (2000, 1500);
    let pixels: Vec<u8> = (0..width * height * 3)
        .map(|at| (at / 900 + at % 7) as u8)
        .collect();
    let whole = TiffFile {
        deflate: true,
        ..TiffFile::new(width, height, 3, 8)
    };
    let strips = TiffFile { strip: 50, ..whole };
    let small = TiffFile {
        width: 100,
        height: 80,
        strip: 80,
        ..whole
    };
    let rows = TiffFile {
        deflate: false,
        strip: 1,
        ..whole
    };
    let tiles = TiffFile {
        tile: Some((256, 256)),
        planar: true,
        ..whole
    };
    let (row, all) = (width as u64 * 3, pixels.len() as u64);
    for (name, pages, most) in [
        ("strips.tif", vec![strips; 6], row * 104 + MIB),
        ("rows.tif", vec![small, rows, rows, small], row * 40 + MIB),
        ("tiles.tif", vec![strips, tiles, small], row * 360 + 2 * MIB),
        ("one-whole.tif", vec![small, strips, whole, strips], all + 2 * MIB),
    ] {
        let of_page = |page: &TiffFile| &pixels[..page.width * page.height * 3];
        let pages: Vec<_> = pages.iter().map(|page| (*page, of_page(page))).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, TiffFile::document(&pages)).unwrap();
        assert_decoded(&path, most);
    }
}

#[test]
fn an_animated_avif_is_refused_before_anything_is_held() {
    let _alone = alone();
    let (held, outcome) = peak(|| codec::probe(&fixture("animated.avif"), &DecodeLimits::default()));
    assert!(outcome.is_err());
    assert!(held < SMALL_CHANGE, "{held}");
}

/// A profile of sRGB with so many bytes that belong to nothing.
fn long_profile(bytes: usize) -> Vec<u8> {
    let mut profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    profile.extend((0..bytes).map(|at| (at * at / 7) as u8));
    let length = profile.len() as u32;
    profile[..4].copy_from_slice(&length.to_be_bytes());
    profile
}

#[test]
fn the_profile_of_a_jpeg_xl_is_promised_too() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for bytes in [0, 1_000_000] {
        let mut spec = spec(ResultFormat::Jxl, layout(Channels::Rgb, Depth::Eight), (120, 90));
        spec.metadata.icc = Some(long_profile(bytes));
        let path = folder.path().join(format!("{bytes}.jxl"));
        let mut rows = Rows::new(120, spec.layout, true);
        codec::encode(&spec, &mut rows, std::fs::File::create_new(&path).unwrap()).unwrap();
        assert_decoded(&path, 26 * MIB + 10 * bytes as u64);
    }
}

/// Bits from the lowest of each byte upwards.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: usize, value: u64) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 != 0));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| (0..).zip(bits).map(|(at, bit)| u8::from(*bit) << at).sum();
        self.0.chunks(8).map(byte).collect()
    }
}

/// A JPEG XL of 8×8 pixels whose profile claims to be so long, packed and unpacked. Nothing of it follows.
fn claiming(packed: u64, unpacked: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(16, 0x0AFF);
    bits.put(1 + 5 + 3, 1 | 1 << 6); // 8 high, as wide as high
    bits.put(2, 0); // not all default, no extra fields
    bits.put(3, 0); // 8 bits
    bits.put(1, 1);
    bits.put(3, 0); // no alpha, not XYB
    bits.put(4, 0b0010); // a profile, RGB
    bits.put(2, 0); // no extensions
    bits.put(1, 1); // the usual transforms
    bits.put(2, 3);
    bits.put(12, packed & 0xFFF);
    for eight in [packed >> 12, packed >> 20, packed >> 28] {
        bits.put(1, 1);
        bits.put(8, eight & 0xFF);
    }
    bits.put(1, 0);
    // Codes of eight bits, as the encoder writes them too (src/codec/encode/jxl.rs).
    for (count, value) in [
        (1, 0),
        (3, 1),
        (1, 1),
        (4, 8),
        (4, 0),
        (4, 0),
        (1, 1),
        (4, 7),
        (7, 127),
        (2, 0),
    ] {
        bits.put(count, value);
    }
    for length in [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        bits.put(2, if length == 8 { 2 } else { 0 });
    }
    let seven = |shift: u64| (unpacked >> shift & 0x7F) as u8 | 0x80;
    let mut stream = vec![seven(0), seven(7), seven(14), seven(21), (unpacked >> 28) as u8];
    // No commands, and a profile of zeros.
    stream.extend([0; 400]);
    for byte in stream {
        bits.put(8, u64::from(byte.reverse_bits()));
    }
    bits.bytes()
}

#[test]
fn a_jpeg_xl_whose_profile_claims_to_be_huge_is_refused_before_there_is_room_for_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for (packed, unpacked) in [
        (1 << 28, 1 << 28),
        (300, 1 << 28),
        (17 << 20, 17 << 20),
        (1 << 35, 5),
    ] {
        let path = folder.path().join("a.jxl");
        std::fs::write(&path, claiming(packed, unpacked)).unwrap();
        let (held, outcome) = peak(|| codec::probe(&path, &DecodeLimits::default()));
        let text = outcome.unwrap_err().to_string();
        println!("{packed} {unpacked}: {held}: {text}");
        assert!(held < 2 * MIB, "{held}");
        assert!(text.contains("colour profile claims"), "{text}");
    }
    // What is claimed and not there is missing.
    let path = folder.path().join("b.jxl");
    std::fs::write(&path, claiming(4 << 20, 4 << 20)).unwrap();
    let (held, outcome) = peak(|| codec::probe(&path, &DecodeLimits::default()));
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("to its end"), "{text}");
    assert!(held < 30 * MIB, "{held}");
}

#[cfg(feature = "heic")]
#[test]
fn a_heic_is_held_whole_by_libheif_and_by_us() {
    let _alone = alone();
    for name in ["large.heic", "large-grid.heic"] {
        assert_decoded(&fixture(name), 2000 * 1500 * (3 + 16) + 6 * MIB);
    }
    for name in [
        "420.heic",
        "alpha.heic",
        "lossless.heic",
        "turned.heic",
        "exif6.heic",
    ] {
        assert_decoded(&fixture(name), 6 * MIB);
    }
}

#[cfg(feature = "heic")]
#[test]
fn a_heic_that_is_coded_larger_than_it_says_holds_what_it_promised_while_it_fails() {
    let _alone = alone();
    let mut bytes = std::fs::read(fixture("large.heic")).unwrap();
    let mark = b"ispe\0\0\0\0";
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap()
        + mark.len();
    bytes[at..at + 8].copy_from_slice(&[0, 0, 0, 40, 0, 0, 0, 24]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.heic");
    std::fs::write(&path, bytes).unwrap();
    let limits = DecodeLimits::default();
    let header = codec::probe(&path, &limits).unwrap();
    let mut row = [0; 40 * 3];
    let (held, outcome) = peak(|| codec::open(&path, &header, &limits).unwrap().read_row(&mut row));
    assert!(outcome.is_err());
    println!("{held} of {}", header.decode_bytes);
    assert!(
        held <= header.decode_bytes + SMALL_CHANGE,
        "{held} of {}",
        header.decode_bytes
    );
}
