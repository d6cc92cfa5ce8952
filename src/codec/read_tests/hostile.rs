//! What is wrong with bad files, and that nothing worse happens.

use std::os::unix::fs::symlink;

use image::ImageFormat;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use super::tiff_file::TiffFile;
use super::*;
use crate::codec::{Ending, ends_properly};

fn refusal(path: &Path) -> String {
    message(probe(path, &DecodeLimits::default()).unwrap_err())
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("dir.jpg")).unwrap();
    mknodat(CWD, folder.path("fifo.jpg"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    folder.file("real.png", &encoded(&picture(2, 2), ImageFormat::Png));
    symlink("real.png", folder.path("link.png")).unwrap();
    for (name, what) in [
        ("dir.jpg", "a directory"),
        ("fifo.jpg", "a pipe"),
        ("link.png", "a symbolic link"),
    ] {
        let text = refusal(&folder.path(name));
        assert!(text.contains(what) && text.contains(name), "{text}");
        assert_eq!(ends_properly(&folder.path(name)).unwrap(), Ending::Unknown);
    }
    assert!(refusal(&folder.path("gone.png")).contains("the file is gone"));
}

/// Found by fuzzing: sides and depth whose product does not fit 64 bits.
#[test]
fn a_bmp_that_claims_more_than_can_be_counted_is_refused() {
    let mut bytes = b"BM".to_vec();
    bytes.extend(
        [0_u32, 0, 54, 40, i32::MAX as u32, i32::MAX as u32]
            .map(u32::to_le_bytes)
            .concat(),
    );
    // One plane, as many bits as there can be.
    bytes.extend([1, 0, 0xff, 0xff]);
    bytes.extend([0; 24]);
    let folder = Folder::new();
    let path = folder.file("claims.bmp", &bytes);
    assert!(ends_properly(&path).is_ok());
    assert!(refusal(&path).contains("claims.bmp"));
}

#[test]
fn what_is_no_image_is_called_so() {
    let folder = Folder::new();
    let empty = refusal(&folder.file("a.jpg", b""));
    assert!(empty.contains("the file is empty"), "{empty}");
    let text = refusal(&folder.file("a\nb.jpg", b"Dear diary, no picture today."));
    assert!(text.contains("not an image") && !text.contains('\n'), "{text}");
    let psd = refusal(&folder.file("a.png", b"8BPS\0\x01\0\0\0\0"));
    assert!(psd.contains("Photoshop"), "{psd}");
}

/// Headers that claim 60000×60000 pixels, with no data behind them.
fn giants() -> Vec<(&'static str, Vec<u8>)> {
    let side = 60_000u32;
    let mut png = encoded(&picture(1, 1), ImageFormat::Png);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let mut jpeg = encoded(&picture(1, 1), ImageFormat::Jpeg);
    let sof = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[sof + 5..sof + 7].copy_from_slice(&60_000u16.to_be_bytes());
    jpeg[sof + 7..sof + 9].copy_from_slice(&60_000u16.to_be_bytes());
    let mut bmp = encoded(&picture(1, 1), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&side.to_le_bytes());
    bmp[22..26].copy_from_slice(&side.to_le_bytes());
    let mut tiff = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut tiff).unwrap();
    let mut image = encoder.new_image::<colortype::Gray8>(1, 1).unwrap();
    image.encoder().write_tag(Tag::ImageWidth, side).unwrap();
    image.encoder().write_tag(Tag::ImageLength, side).unwrap();
    image.write_data(&[0]).unwrap();
    vec![
        ("png", png),
        ("jpg", jpeg),
        ("bmp", bmp),
        ("tif", tiff.into_inner()),
    ]
}

#[test]
fn a_giant_is_refused_by_its_header_with_its_size_and_the_limit() {
    let folder = Folder::new();
    for (name, bytes) in giants() {
        let path = folder.file(name, &bytes);
        let error = probe(&path, &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge { .. }), "{name}: {error}");
        let text = message(error);
        assert!(text.contains("60000×60000") && text.contains("50000"), "{text}");
    }
    let few = DecodeLimits {
        pixels: 10,
        ..DecodeLimits::default()
    };
    let path = folder.file("a.png", &encoded(&picture(4, 3), ImageFormat::Png));
    assert!(matches!(probe(&path, &few), Err(CodecError::TooLarge { .. })));
}

#[test]
fn no_file_that_was_cut_off_anywhere_gives_a_picture() {
    let folder = Folder::new();
    for (name, bytes) in one_of_each() {
        for length in 0..bytes.len() {
            let path = folder.file("cut", &bytes[..length]);
            let outcome = read(&path);
            assert!(outcome.is_err(), "{name} cut to {length} of {}", bytes.len());
            let ending = ends_properly(&path).unwrap();
            assert_ne!(ending, Ending::Complete, "{name} cut to {length}");
            // Once it is known for what it is, what is wrong is known too.
            if length > 32 {
                assert!(
                    matches!(outcome, Err(CodecError::Truncated { .. })),
                    "{name} {length}"
                );
                assert_eq!(ending, Ending::Incomplete, "{name} cut to {length}");
            }
        }
    }
}

#[test]
fn a_file_whose_space_was_reserved_before_it_was_filled_is_not_complete() {
    let folder = Folder::new();
    for (name, mut bytes) in one_of_each() {
        if !name.ends_with("jpg") && name != "png" {
            continue;
        }
        let half = bytes.len() - 40;
        bytes[half..].fill(0);
        let path = folder.file(name, &bytes);
        assert_eq!(ends_properly(&path).unwrap(), Ending::Incomplete, "{name}");
    }
    let path = folder.file("nothing-yet.png", &[0; 4096]);
    assert_eq!(ends_properly(&path).unwrap(), Ending::Incomplete);
    // What follows its beginning makes no sense as a PNG, and is not damaged for that.
    let mut begun = encoded(&picture(64, 64), ImageFormat::Png);
    let third = begun.len() / 3;
    begun.resize(begun.len() + 4096, 0);
    begun[third..].fill(0);
    let path = folder.file("begun.png", &begun);
    assert_eq!(ends_properly(&path).unwrap(), Ending::Incomplete);
}

#[test]
fn what_follows_a_jpeg_neither_hides_nor_replaces_its_end() {
    let folder = Folder::new();
    let whole = encoded(&picture(21, 13), ImageFormat::Jpeg);
    let video = [b"\0\0\0\x18ftypmp42", &[7; 5000][..]].concat();
    let motion_photo = folder.file("a.jpg", &[&whole[..], &video].concat());
    assert_eq!(ends_properly(&motion_photo).unwrap(), Ending::Complete);
    read(&motion_photo).unwrap();
    let cut = &whole[..whole.len() - 20];
    let two = folder.file("b.jpg", &[cut, &whole[..]].concat());
    assert_eq!(ends_properly(&two).unwrap(), Ending::Incomplete);
}

#[test]
fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
    let folder = Folder::new();
    let thumbnail = encoded(&picture(8, 8), ImageFormat::Jpeg);
    let exif = [exif_with_orientation(1), thumbnail].concat();
    let whole = jpeg_with(&picture(21, 13), None, Some(exif));
    let path = folder.file("a.jpg", &whole[..whole.len() - 2]);
    assert_eq!(ends_properly(&path).unwrap(), Ending::Incomplete);
}

#[test]
fn a_thumbnail_beside_the_picture_does_not_make_a_tiff_a_document() {
    let folder = Folder::new();
    let mut tiff = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut tiff).unwrap();
    encoder.write_image::<colortype::Gray8>(2, 1, &[1, 2]).unwrap();
    let mut small = encoder.new_image::<colortype::Gray8>(1, 1).unwrap();
    small.encoder().write_tag(Tag::NewSubfileType, 1u32).unwrap();
    small.write_data(&[1]).unwrap();
    assert_eq!(read(&folder.file("a.tif", tiff.get_ref())).unwrap(), [1, 2]);
}

#[test]
fn directories_of_a_tiff_that_form_a_loop_do_not_keep_anyone_busy() {
    let folder = Folder::new();
    let mut tiff = encoded(&picture(1, 1), ImageFormat::Tiff);
    let first = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes(tiff[first..first + 2].try_into().unwrap()));
    let next = first + 2 + entries * 12;
    tiff.copy_within(4..8, next);
    let text = refusal(&folder.file("a.tif", &tiff));
    assert!(text.contains("loop"), "{text}");
}

#[test]
fn kinds_of_tiff_that_cannot_be_upscaled_are_named() {
    let folder = Folder::new();
    let grey = TiffFile::new(2, 1, 1, 8);
    let rgb = TiffFile::new(2, 1, 3, 8);
    for (file, word) in [
        (with(grey, &[(339, &[2])]), "signed"),
        (with(grey, &[(262, &[4])]), "only a mask"),
        (with(grey, &[(262, &[32_845])]), "LogLuv"),
        (with(grey, &[(262, &[777])]), "unknown colour space"),
        (with(grey, &[(259, &[50_000])]), "ZSTD"),
        (with(grey, &[(259, &[34_887])]), "LERC"),
        (with(grey, &[(259, &[6])]), "old kind"),
        (with(grey, &[(259, &[4])]), "faxes with colours"),
        (with(rgb, &[(262, &[5])]), "3 samples where 4"),
        (with(rgb, &[(262, &[6])]), "halved colours"),
        (with(rgb, &[(258, &[24]), (339, &[3])]), "24-bit"),
        (with(rgb, &[(262, &[8]), (339, &[3])]), "neither grey nor RGB"),
        (with(rgb, &[(259, &[8]), (317, &[9])]), "unknown predictor"),
        (
            with(TiffFile::new(2, 1, 4, 8), &[(262, &[5]), (332, &[2])]),
            "other inks",
        ),
    ] {
        let text = refusal(&folder.file("a.tif", &file.bytes(&[0; 8])));
        assert!(
            text.contains(word) && text.contains("; save it"),
            "{word}: {text}"
        );
    }
    let mut wide = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut wide).unwrap();
    encoder.write_image::<colortype::Gray32>(1, 1, &[9]).unwrap();
    let text = refusal(&folder.file("a.tif", wide.get_ref()));
    assert!(text.contains("32-bit"), "{text}");
}

fn with(file: TiffFile, tags: &'static [(u16, &'static [u32])]) -> TiffFile {
    TiffFile { tags, ..file }
}

#[test]
fn a_file_that_is_replaced_between_header_and_pixels_is_not_taken_for_the_old_one() {
    let folder = Folder::new();
    let limits = DecodeLimits::default();
    let path = folder.file("a.png", &encoded(&picture(4, 4), ImageFormat::Png));
    let header = probe(&path, &limits).unwrap();
    let grey = picture(4, 4).to_luma8().into();
    for other in [
        encoded(&picture(5, 4), ImageFormat::Png),
        encoded(&grey, ImageFormat::Png),
    ] {
        folder.file("a.png", &other);
        assert!(open(&path, &header, &limits).and_then(drain).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bits_and_lost_bytes_give_a_picture_or_one_line(
        kind in 0..7usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..6),
        hole in prop::option::of((any::<prop::sample::Index>(), 1..40usize)),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let (_, mut bytes) = one_of_each().swap_remove(kind);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some((at, length)) = hole {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let folder = Folder::new();
        let path = folder.file("damaged", &bytes);
        // Small enough that a flipped size cannot make the test slow.
        let limits = DecodeLimits { pixels: 1 << 20, decode_bytes: 1 << 25, ..DecodeLimits::default() };
        let outcome = probe(&path, &limits).and_then(|header| drain(open(&path, &header, &limits)?));
        if let Err(error) = outcome {
            let text = message(error);
            prop_assert!(!text.is_empty() && !text.contains('\n'), "{text}");
        }
        ends_properly(&path).unwrap();
    }
}
