//! What strangers send in the formats of animations and of HEIF and JPEG XL, and bombs in all of them. Each is refused
//! with a code and a line, or read; nothing ends the process.

use proptest::prelude::*;

use super::formats::fixture;
use super::*;
use crate::codec::{Ending, ends_properly};
use crate::error::ReasonCode;

/// Small enough that a flipped size cannot make a test slow.
fn small() -> DecodeLimits {
    DecodeLimits {
        pixels: 1 << 20,
        decode_bytes: 1 << 28,
        frames: 50,
        sequence_pixels: 1 << 21,
        ..DecodeLimits::default()
    }
}

/// The same for all frames; the reason's code and line where it fails.
fn outcome(path: &Path) -> Result<usize, (ReasonCode, String)> {
    let limits = small();
    let read = || {
        let header = probe(path, &limits)?;
        let mut rows = open(path, &header, &limits)?;
        let mut row = vec![0; header.layout.row_bytes(rows.size().width)];
        for _ in 0..header.sequence.pictures() * rows.size().height as usize {
            rows.read_row(&mut row)?;
        }
        Ok(header.sequence.pictures())
    };
    read().map_err(|error: CodecError| {
        let reason = Fault::from(error).reason;
        (reason.code, reason.message)
    })
}

/// Names of files of every kind that was not tested byte by byte already.
const KINDS: &[&str] = &[
    "420.avif",
    "alpha.avif",
    "grid.avif",
    "limited-709.avif",
    "turned.jxl",
    "from-jpeg.jxl",
    "lossless.jxl",
    "animated.jxl",
    "animated-lossy.webp",
    "decoded/lossless.jxl.png",
    #[cfg(feature = "heic")]
    "420.heic",
    #[cfg(feature = "heic")]
    "alpha.heic",
];

/// A GIF of so many frames of one pixel.
fn gif_of_frames(frames: usize) -> Vec<u8> {
    let mut gif = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..frames {
        gif.extend_from_slice(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    gif.push(0x3B);
    gif
}

/// Replaces the first place where `from` stands.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_giant_of_any_format_is_refused_by_its_header_with_its_size_and_the_limit() {
    let folder = Folder::new();
    let mut gif = gif_of_frames(1);
    gif[6..10].copy_from_slice(&[0x60, 0xEA, 0x60, 0xEA]);
    let side = 60_000u32.to_be_bytes();
    let avif = replaced(
        std::fs::read(fixture("420.avif")).unwrap(),
        b"ispe\0\0\0\0\0\0\0\x28\0\0\0\x18",
        &[b"ispe\0\0\0\0", &side[..], &side].concat(),
    );
    let webp = replaced(
        std::fs::read(fixture("animated-lossy.webp")).unwrap(),
        &[15, 0, 0, 15, 0, 0],
        &[0x5F, 0xEA, 0, 0x5F, 0xEA, 0],
    );
    // Not small; height of 18 bits, 59999; as wide as high.
    let bits = (2u64 << 1) | (59_999 << 3) | (1 << 21);
    let jxl = [&[0xFF, 0x0A], &bits.to_le_bytes()[..], &[0; 40]].concat();
    for (name, bytes) in [("gif", gif), ("avif", avif), ("webp", webp), ("jxl", jxl)] {
        let error = probe(&folder.file(name, &bytes), &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge { .. }), "{name}: {error}");
        let text = message(error);
        assert!(text.contains("60000×60000") && text.contains("50000"), "{text}");
    }
}

/// Made by libjxl's `jxl_from_tree`: a short curve, and one without a colour that claims to be a thousand million pixels
/// long, for which the decoder would make room.
#[test]
fn curves_in_a_jpeg_xl_are_refused_however_long_they_claim_to_be() {
    let folder = Folder::new();
    let short = b"\xff\x0a\x47\x40\x24\xd8\x63\x10\x00\x70\x00\x02\xa0\x28\x15\x19\x8b\x16\x00\x01\x20\x11\
        \x84\x91\x31\x8c\xf3\xa0\xd4\x02\x26\xd1\x12\x4a\x85\x92\x10\x1c\x00";
    let long = b"\xff\x0a\x47\x40\x24\xd8\x63\x10\x00\x88\x00\x02\x20\x5b\x54\x64\x8c\xc1\x24\xd1\x4d\xdb\
        \x08\x20\x08\x41\xf6\x83\x7f\xb2\xe6\xe6\x9f\xac\xb9\x41\x38\xb4\x84\x52\xa1\x24\x04\x07\x00";
    for bytes in [&short[..], long] {
        let (code, text) = outcome(&folder.file("a.jxl", bytes)).unwrap_err();
        assert_eq!(code, ReasonCode::Unsupported, "{text}");
        assert!(text.contains("splines"), "{text}");
    }
}

#[test]
fn a_hundred_thousand_frames_are_counted_and_refused() {
    let folder = Folder::new();
    let path = folder.file("a.gif", &gif_of_frames(100_001));
    let text = message(probe(&path, &DecodeLimits::default()).unwrap_err());
    assert!(
        text.contains("100001 frames") && text.contains("at most 10000"),
        "{text}"
    );
    let path = folder.file("b.gif", &gif_of_frames(3));
    assert_eq!(read_frames(&path).unwrap().len(), 3);
}

#[test]
fn a_file_cut_at_any_tenth_is_truncated_or_damaged_and_never_complete() {
    let folder = Folder::new();
    for name in KINDS {
        let bytes = std::fs::read(fixture(name)).unwrap();
        assert!(
            outcome(&folder.file("whole", &bytes)).is_ok(),
            "{name}: {:?}",
            outcome(&folder.path("whole"))
        );
        for tenth in 1..10 {
            let path = folder.file("cut", &bytes[..bytes.len() * tenth / 10]);
            let (code, text) = outcome(&path).expect_err(name);
            let expected = matches!(code, ReasonCode::Truncated | ReasonCode::Unreadable);
            assert!(
                expected && !text.contains('\n'),
                "{name} {tenth}: {code:?} {text}"
            );
            assert_ne!(ends_properly(&path).unwrap(), Ending::Complete, "{name} {tenth}");
        }
    }
}

#[test]
fn what_is_not_filled_yet_is_waited_for() {
    let folder = Folder::new();
    for name in ["420.avif", "turned.jxl", "lossless.jxl"] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        bytes.resize(bytes.len() + 4096, 0);
        let path = folder.file("begun", &bytes);
        assert_ne!(ends_properly(&path).unwrap(), Ending::Complete, "{name}");
    }
}

/// Deflates zeros without holding them.
fn zeros(bytes: u64) -> Vec<u8> {
    use std::io::Read as _;
    use tiff::encoder::compression::{CompressionAlgorithm as _, Deflate};
    let mut some = Vec::new();
    std::io::repeat(0).take(bytes).read_to_end(&mut some).unwrap();
    let mut packed = Vec::new();
    Deflate::default().write_to(&mut packed, &some).unwrap();
    packed
}

#[test]
fn texts_and_profiles_of_a_png_that_unpack_to_more_than_they_should_are_not_unpacked() {
    let folder = Folder::new();
    let packed = zeros(100 << 20);
    for (name, head) in [(b"zTXt", &b"Comment\0\0"[..]), (b"iCCP", b"bomb\0\0")] {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer
            .write_chunk(png::chunk::ChunkType(*name), &[head, &packed].concat())
            .unwrap();
        writer.write_image_data(&[7]).unwrap();
        writer.finish().unwrap();
        let path = folder.file("a.png", &bytes);
        match probe(&path, &DecodeLimits::default()) {
            Ok(header) => assert!(header.icc.is_none()),
            Err(error) => assert!(matches!(error, CodecError::TooLarge { .. }), "{error}"),
        }
    }
}

#[test]
fn exif_of_seventy_kilobytes_travels_with_a_png() {
    let folder = Folder::new();
    let mut exif = exif_with_orientation(3);
    exif.resize(70_000, 7);
    let path = folder.file("a.png", &png_with(&picture(4, 3), None, Some(exif.clone())));
    assert_eq!(header(&path).exif, Some(exif));
}

#[test]
fn a_grid_whose_parts_do_not_fit_or_are_itself_is_damaged() {
    let folder = Folder::new();
    let whole = std::fs::read(fixture("grid.avif")).unwrap();
    // The parts are said to be larger, the columns more, and a part is the grid itself.
    for (from, to) in [
        (&b"ispe\0\0\0\0\0\0\0\x50"[..], &b"ispe\0\0\0\0\0\0\0\x51"[..]),
        (b"dimg\0\x01\0\x04\0\x02", b"dimg\0\x01\0\x04\0\x01"),
        (b"dimg\0\x01\0\x04", b"dimg\0\x01\0\x03"),
    ] {
        let path = folder.file("a.avif", &replaced(whole.clone(), from, to));
        let (code, text) = outcome(&path).unwrap_err();
        assert_eq!(code, ReasonCode::Unreadable, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bits_and_lost_bytes_give_frames_or_one_line(
        kind in 0..=KINDS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..6),
        hole in prop::option::of((any::<prop::sample::Index>(), 1..40usize)),
    ) {
        let mut bytes = match KINDS.get(kind) {
            Some(name) => std::fs::read(fixture(name)).unwrap(),
            None => gif_of_frames(4),
        };
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some((at, length)) = hole {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        let folder = Folder::new();
        let path = folder.file("damaged", &bytes);
        if let Err((_, text)) = outcome(&path) {
            prop_assert!(!text.is_empty() && !text.contains('\n'), "{text}");
        }
        ends_properly(&path).unwrap();
    }
}
