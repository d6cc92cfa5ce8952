//! HEIC, read by the system's libheif: `cargo test --features heic --lib codec`. Against what the pictures were before
//! they were coded, and against libheif's own program.

use image::DynamicImage;
use image::metadata::Orientation;

use super::formats::{assert_like, difference, fixture, reference};
use super::*;
use crate::codec::{Channels, Depth, Ending, SourceFormat, ends_properly};
use crate::error::ReasonCode;
use crate::size::Size;

/// What `420.heic`, `lossless.heic` and the others were made of, as JPEG XL kept it exactly.
fn original() -> DynamicImage {
    reference("lossless.jxl")
}

#[test]
fn heic_is_what_the_reference_makes_of_it() {
    use Channels::{Rgb, Rgba};
    for (name, channels, most) in [
        ("lossless.heic", Rgb, 0),
        ("420.heic", Rgb, 2),
        ("alpha.heic", Rgba, 1),
        ("turned.heic", Rgb, 0),
        ("exif6.heic", Rgb, 1),
    ] {
        assert_like(name, channels, Depth::Eight, &reference(name), most);
        assert_eq!(header(&fixture(name)).format, SourceFormat::Heic);
    }
}

#[test]
fn heic_is_what_it_was_made_of_as_far_as_its_coding_lets_it() {
    // Lossless but for colours that became light and differences of 8 bits.
    assert_like("lossless.heic", Channels::Rgb, Depth::Eight, &original(), 2);
    for name in ["420.heic", "exif6.heic"] {
        let rows = read(&fixture(name)).unwrap();
        let differences = rows.iter().zip(original().as_bytes().to_vec());
        let sum: u32 = differences.map(|(a, b)| u32::from(a.abs_diff(b))).sum();
        let mean = sum as f32 / rows.len() as f32;
        assert!(mean < 8.0, "{name}: {mean}");
    }
}

#[test]
fn a_heic_is_turned_as_its_container_says_and_only_once() {
    let turned = header(&fixture("turned.heic"));
    assert_eq!(
        (turned.stored, turned.orientation, turned.upright()),
        (Size::new(40, 24), 8, Size::new(24, 40))
    );
    let mut expected = original();
    expected.apply_orientation(Orientation::Rotate270);
    assert_like("turned.heic", Channels::Rgb, Depth::Eight, &expected, 2);
    // The very samples of the one that it was made of.
    let (width, height) = (40, 24);
    let stored = image::RgbImage::from_raw(width, height, read(&fixture("lossless.heic")).unwrap()).unwrap();
    let again = DynamicImage::from(stored).rotate270();
    assert_eq!(difference(&read(&fixture("turned.heic")).unwrap(), &again), 0);
}

#[test]
fn exif_of_a_heic_travels_on_and_does_not_turn_it() {
    let header = header(&fixture("exif6.heic"));
    assert_eq!((header.upright(), header.orientation), (Size::new(40, 24), 1));
    assert_eq!(header.exif, Some(exif_with_orientation(6)));
    for name in ["420.heic", "lossless.heic", "turned.heic"] {
        assert_eq!(self::header(&fixture(name)).exif, None, "{name}");
    }
}

#[test]
fn alpha_of_a_heic_is_that_of_the_same_picture_as_avif() {
    let rows = read(&fixture("alpha.heic")).unwrap();
    let avif = reference("alpha.avif");
    let pixels = || {
        rows.as_chunks::<4>()
            .0
            .iter()
            .zip(avif.as_bytes().as_chunks::<4>().0)
    };
    assert_eq!(pixels().count(), 40 * 24);
    let most = pixels().map(|(ours, theirs)| ours[3].abs_diff(theirs[3])).max();
    assert!(most.unwrap() <= 2, "{most:?}");
    assert!(pixels().any(|(ours, _)| ours[3] == 255) && pixels().any(|(ours, _)| ours[3] < 40));
}

#[test]
fn the_parts_of_a_grid_lie_where_they_belong() {
    let path = fixture("large-grid.heic");
    assert_eq!(header(&path).stored, Size::new(2000, 1500));
    let rows = read(&path).unwrap();
    // All parts are the same.
    for (at, pixel) in rows.as_chunks::<3>().0.iter().enumerate() {
        let (x, y) = (at % 2000, at / 2000);
        let first = (y % 512 * 2000 + x % 512) * 3;
        assert_eq!(pixel, &rows[first..first + 3], "{x} {y}");
    }
    // From green above to pink below.
    assert!(rows[1] > 180 && rows[511 * 6000] > 220);
}

/// Small enough that a flipped size cannot make a test slow.
fn outcome(path: &Path) -> Result<Vec<u8>, (ReasonCode, String)> {
    read(path).map_err(|error| {
        let reason = Fault::from(error).reason;
        (reason.code, reason.message)
    })
}

#[test]
fn a_heic_cut_at_any_tenth_is_truncated_or_damaged() {
    let folder = Folder::new();
    for name in [
        "420.heic",
        "alpha.heic",
        "exif6.heic",
        "lossless.heic",
        "large-grid.heic",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for tenth in 1..10 {
            let path = folder.file("cut.heic", &bytes[..bytes.len() * tenth / 10]);
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

/// Where this stands in a file, behind it.
fn behind(bytes: &[u8], mark: &[u8]) -> usize {
    let at = bytes.windows(mark.len()).position(|window| window == mark);
    at.unwrap() + mark.len()
}

#[test]
fn a_heic_with_wrong_lengths_is_an_error_with_a_line() {
    let folder = Folder::new();
    let whole = std::fs::read(fixture("420.heic")).unwrap();
    // The length of each box, each of its bytes in its turn.
    for name in [
        b"meta", b"iloc", b"iinf", b"infe", b"iprp", b"ipco", b"ipma", b"hvcC", b"ispe", b"mdat",
    ] {
        let at = behind(&whole, name) - 8;
        for byte in 0..4 {
            for value in [0, 1, 7, 0x7F, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at + byte] = value;
                if bytes == whole {
                    continue;
                }
                let path = folder.file("a.heic", &bytes);
                // Some say the same in another way: a last box without a length is as long as the file.
                if let Err((_, text)) = outcome(&path) {
                    assert!(!text.is_empty() && !text.contains('\n'), "{text}");
                }
            }
        }
    }
    // Lengths within the coded picture, where libheif is asked. It takes some that are too short.
    let data = behind(&whole, b"mdat");
    for (byte, value) in [(0, 0x7F), (1, 1), (2, 0xFF), (3, 0), (3, 0xFF), (2, 1)] {
        let mut bytes = whole.clone();
        bytes[data + byte] = value;
        let outcome = outcome(&folder.file("a.heic", &bytes));
        assert!(outcome.is_err() || byte > 1, "{byte} {value}");
        if let Err((code, text)) = outcome {
            assert_eq!(code, ReasonCode::Unreadable, "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}

#[test]
fn a_heic_that_is_coded_larger_than_it_says_promises_what_its_decoder_holds() {
    let folder = Folder::new();
    let mut bytes = std::fs::read(fixture("large.heic")).unwrap();
    let honest = header(&fixture("large.heic")).decode_bytes;
    let at = behind(&bytes, b"ispe\0\0\0\0");
    bytes[at..at + 8].copy_from_slice(&[0, 0, 0, 40, 0, 0, 0, 24]);
    let path = folder.file("a.heic", &bytes);
    let promised = header(&path).decode_bytes;
    assert!(
        promised > 2000 * 1500 * 8 && promised < honest,
        "{promised} {honest}"
    );
    let (code, text) = outcome(&path).unwrap_err();
    assert_eq!(code, ReasonCode::Unreadable, "{text}");
    let limits = DecodeLimits {
        decode_bytes: 20 << 20,
        ..DecodeLimits::default()
    };
    let error = probe(&path, &limits).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
}
