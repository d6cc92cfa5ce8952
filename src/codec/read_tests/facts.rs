//! What is told of good files, and their pixels.

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use super::*;
use crate::codec::color::test_profile;
use crate::codec::{Channels, Depth, Ending, PixelLayout, ResultFormat, SourceFormat, ends_properly, verify};
use crate::size::Size;

/// The picture as a camera would store it that was held so that `orientation` turns it upright.
fn stored(upright: &DynamicImage, orientation: u8) -> DynamicImage {
    let inverse = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    let mut stored = upright.clone();
    stored.apply_orientation(Orientation::from_exif(inverse).unwrap());
    stored
}

/// As the whole of a file's rows should be.
fn samples(picture: &DynamicImage) -> Vec<u8> {
    picture.as_bytes().to_vec()
}

#[test]
fn every_orientation_of_a_picture_comes_out_upright_at_every_pixel_size() {
    let folder = Folder::new();
    let rgb = picture(3, 2);
    let depths = [
        rgb.clone(),
        rgb.to_luma8().into(),
        rgb.to_luma_alpha8().into(),
        rgb.to_rgba8().into(),
        rgb.to_rgb16().into(),
        rgb.to_rgba16().into(),
    ];
    for upright in &depths {
        for orientation in 1..=8 {
            let exif = exif_with_orientation(orientation);
            let file = png_with(&stored(upright, orientation), None, Some(exif));
            let path = folder.file("a.png", &file);
            let header = header(&path);
            assert_eq!(header.orientation, orientation);
            assert_eq!(header.upright(), Size::new(3, 2));
            assert_eq!(
                read(&path).unwrap(),
                samples(upright),
                "{orientation} {:?}",
                header.layout
            );
        }
    }
}

#[test]
fn the_orientation_of_jpeg_and_tiff_is_found_in_their_own_places() {
    let folder = Folder::new();
    let exif = exif_with_orientation(6);
    let jpeg = folder.file("a.jpg", &jpeg_with(&picture(5, 3), None, Some(exif.clone())));
    let facts = header(&jpeg).facts();
    assert_eq!((facts.orientation, facts.width, facts.height), (6, 5, 3));
    assert_eq!(header(&jpeg).exif, Some(exif));

    let upright = picture(3, 2);
    let turned = stored(&upright, 7);
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder
        .new_image::<colortype::RGB8>(turned.width(), turned.height())
        .unwrap();
    image.encoder().write_tag(Tag::Orientation, 7u16).unwrap();
    image.write_data(turned.as_bytes()).unwrap();
    let tiff = folder.file("a.tif", bytes.get_ref());
    assert_eq!(header(&tiff).orientation, 7);
    assert_eq!(read(&tiff).unwrap(), samples(&upright));
}

#[test]
fn the_format_is_told_by_the_content_and_never_by_the_name() {
    let folder = Folder::new();
    let path = folder.file("a.jpg", &encoded(&picture(4, 4), ImageFormat::WebP));
    assert_eq!(header(&path).format, SourceFormat::Webp);
}

#[test]
fn lossless_files_of_every_format_give_their_pixels() {
    let folder = Folder::new();
    let original = picture(21, 13);
    for (name, bytes) in one_of_each() {
        let path = folder.file(name, &bytes);
        let header = header(&path);
        assert_eq!(header.stored, Size::new(21, 13), "{name}");
        assert_eq!(ends_properly(&path).unwrap(), Ending::Complete, "{name}");
        let pixels = read(&path).unwrap();
        if name.ends_with("jpg") || name == "lossy.webp" {
            assert_eq!(pixels.len(), samples(&original).len(), "{name}");
        } else {
            assert_eq!(pixels, samples(&original), "{name}");
        }
    }
}

#[test]
fn few_bits_and_palettes_are_expanded_and_told_apart_from_eight_bits() {
    let folder = Folder::new();
    let path = folder.path("a.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 3, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(&[1, 2, 3, 40, 50, 60, 7, 8, 9][..]);
    encoder.set_trns(&[255, 128][..]);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[0b00_01_10_00])
        .unwrap();
    let header = header(&path);
    let rgba = PixelLayout {
        channels: Channels::Rgba,
        depth: Depth::Eight,
    };
    assert_eq!((header.stored_bits, header.layout), (2, rgba));
    assert_eq!(header.facts().bit_depth, 8);
    assert_eq!(
        read(&path).unwrap(),
        [1, 2, 3, 255, 40, 50, 60, 128, 7, 8, 9, 255]
    );
}

#[test]
fn a_bilevel_tiff_becomes_black_and_white() {
    // Two pixels, white and black, one strip of one byte at offset 8.
    let folder = Folder::new();
    let mut file = b"II\x2a\0\x0a\0\0\0\x80\0".to_vec();
    let entries: [(u16, u16, u32); 8] = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 1),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (278, 3, 1),
        (279, 4, 1),
    ];
    file.extend_from_slice(&8u16.to_le_bytes());
    for (tag, kind, value) in entries {
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&[0; 4]);
    let path = folder.file("a.tif", &file);
    assert_eq!(header(&path).stored_bits, 1);
    assert_eq!(read(&path).unwrap(), [255, 0]);
}

#[test]
fn sixteen_bits_stay_sixteen_in_the_machines_order() {
    let folder = Folder::new();
    let grey: image::ImageBuffer<image::Luma<u16>, _> =
        image::ImageBuffer::from_vec(2, 1, vec![0x1234u16, 0xFEDC]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let path = folder.file("a", &encoded(&grey.clone().into(), format));
        assert_eq!(header(&path).facts().bit_depth, 16);
        let expected: Vec<u8> = grey.as_raw().iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(read(&path).unwrap(), expected);
    }
}

#[test]
fn premultiplied_tiff_colours_come_out_without_alpha() {
    let folder = Folder::new();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::RGBA8>(1, 1).unwrap();
    image.encoder().write_tag(Tag::ExtraSamples, &[1u16][..]).unwrap();
    image.write_data(&[64, 32, 0, 128]).unwrap();
    let path = folder.file("a.tif", bytes.get_ref());
    assert_eq!(read(&path).unwrap(), [128, 64, 0, 128]);
}

#[test]
fn a_profile_is_kept_and_named_if_it_fits_the_pixels() {
    let folder = Folder::new();
    let profile = test_profile(b"RGB ", "Display P3");
    for file in [
        png_with(&picture(4, 4), Some(profile.clone()), None),
        jpeg_with(&picture(4, 4), Some(profile.clone()), None),
    ] {
        let header = header(&folder.file("a", &file));
        assert_eq!(header.facts().icc.as_deref(), Some("Display P3"));
        assert_eq!(header.icc.as_ref(), Some(&profile));
        assert!(header.warnings.is_empty(), "{:?}", header.warnings);
    }
}

#[test]
fn a_profile_of_another_colour_space_is_dropped_with_a_warning_that_names_it() {
    let folder = Folder::new();
    let profile = test_profile(b"CMYK", "Coated FOGRA39");
    let header = header(&folder.file("a.jpg", &jpeg_with(&picture(4, 4), Some(profile), None)));
    assert_eq!(header.icc, None);
    assert_eq!(
        header.warnings,
        [
            "the ICC profile (Coated FOGRA39) is for CMYK and is not carried over: the pixels are RGB; \
             colours may differ"
        ]
    );
}

#[test]
fn a_picture_whose_decoding_exceeds_the_limit_is_refused_before_it_is_decoded() {
    let folder = Folder::new();
    let path = folder.file("a.webp", &encoded(&picture(600, 500), ImageFormat::WebP));
    let needs = header(&path).decode_bytes;
    assert!(needs >= 600 * 500 * 3);
    let limits = DecodeLimits {
        decode_bytes: needs - 1,
        ..DecodeLimits::default()
    };
    assert!(matches!(probe(&path, &limits), Err(CodecError::TooLarge { .. })));
}

#[test]
fn a_result_is_verified_by_format_size_and_end() {
    let folder = Folder::new();
    let png = encoded(&picture(9, 5), ImageFormat::Png);
    let path = folder.file("staged", &png);
    let size = Size::new(9, 5);
    verify(&path, size, 1, ResultFormat::Png).unwrap();
    assert!(verify(&path, Size::new(5, 9), 1, ResultFormat::Png).is_err());
    assert!(verify(&path, size, 1, ResultFormat::Jpeg).is_err());
    folder.file("staged", &png[..png.len() - 1]);
    assert!(verify(&path, size, 1, ResultFormat::Png).is_err());
}
