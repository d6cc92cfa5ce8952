//! Protects what the settings of the formats promise: every one of them is read by another decoder, the lossless ones
//! give every sample back, and the lossy ones what they say.

use super::*;
use crate::codec::encode::isobmff::boxed;
use crate::codec::sequence::Page;

fn rgb8() -> PixelLayout {
    PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    }
}

fn written(spec: &SinkSpec, rows: &[u8]) -> (tempfile::TempDir, std::path::PathBuf, Encoded) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let encoded = write(spec, rows.to_vec(), &[7, 30], &path).unwrap();
    (folder, path, encoded)
}

#[test]
fn jpeg_in_scans_and_with_coarse_colours_is_read_by_another_decoder() {
    // Odd on both sides: blocks reach beyond.
    let size = Size::new(203, 101);
    let rows: Vec<u8> = (0..size.height)
        .flat_map(|y| (0..size.width).map(move |x| (x, y)))
        .flat_map(|(x, y)| [x as u8, (x + y) as u8, (2 * y) as u8])
        .collect();
    let mut sizes = Vec::new();
    for (jpeg_chroma, jpeg_progressive, sampling, marker) in [
        (JpegChroma::Full, false, 0x11, 0xC0),
        (JpegChroma::Quarter, false, 0x22, 0xC0),
        (JpegChroma::Full, true, 0x11, 0xC2),
        (JpegChroma::Quarter, true, 0x22, 0xC2),
    ] {
        let mut spec = spec(ResultFormat::Jpeg, rgb8(), size);
        spec.settings.jpeg_chroma = jpeg_chroma;
        spec.settings.jpeg_progressive = jpeg_progressive;
        let (_folder, path, encoded) = written(&spec, &rows);
        let psnr = peak_signal_to_noise_db(&rows, &read(&path, rgb8()).1);
        assert!(psnr > 35.0, "{:?}: {psnr:.1} dB", spec.settings);
        let bytes = std::fs::read(&path).unwrap();
        let frame = bytes
            .windows(2)
            .position(|pair| pair[0] == 0xFF && matches!(pair[1], 0xC0 | 0xC2))
            .unwrap();
        assert_eq!((bytes[frame + 1], bytes[frame + 11]), (marker, sampling));
        sizes.push(encoded.bytes);
    }
    assert!(sizes[1] < sizes[0] && sizes[3] < sizes[2], "{sizes:?}");
}

#[test]
fn every_effort_of_png_gives_the_same_pixels() {
    for channels in CHANNELS {
        for depth in [Depth::Eight, Depth::Sixteen] {
            let layout = PixelLayout { channels, depth };
            let size = Size::new(301, 203);
            let rows = pixels(layout, size, 7);
            for effort in [PngEffort::Fast, PngEffort::Balanced, PngEffort::Small] {
                let mut spec = spec(ResultFormat::Png, layout, size);
                spec.settings.png_effort = effort;
                let (_folder, path, _) = written(&spec, &rows);
                assert!(
                    read(&path, layout) == (size, rows.clone()),
                    "{effort:?} {layout:?}"
                );
            }
        }
    }
}

#[test]
fn every_compression_of_tiff_gives_the_same_pixels() {
    for compression in [
        TiffCompression::Auto,
        TiffCompression::Lzw,
        TiffCompression::Deflate,
        TiffCompression::None,
    ] {
        for channels in CHANNELS {
            for depth in [Depth::Eight, Depth::Sixteen] {
                let layout = PixelLayout { channels, depth };
                let size = Size::new(401, 397);
                let rows = pixels(layout, size, 7);
                let mut spec = spec(ResultFormat::Tiff, layout, size);
                spec.settings.tiff_compression = compression;
                let (_folder, path, encoded) = written(&spec, &rows);
                assert!(
                    read(&path, layout) == (size, rows.clone()),
                    "{compression:?} {layout:?}"
                );
                if compression == TiffCompression::None {
                    assert!(encoded.bytes >= rows.len() as u64);
                }
            }
        }
    }
}

#[test]
fn pages_of_a_tiff_have_their_own_size_samples_and_profile() {
    let first = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Sixteen,
    };
    let pages: Vec<Page> = [
        (Size::new(30, 470), Channels::Grey, Depth::Eight, None),
        (
            Size::new(900, 200),
            Channels::Rgba,
            Depth::Eight,
            Some(vec![5; 301]),
        ),
    ]
    .into_iter()
    .map(|(size, channels, depth, icc)| Page {
        size,
        layout: PixelLayout { channels, depth },
        orientation: 1,
        icc,
        density: None,
    })
    .collect();
    let mut spec = spec(ResultFormat::Tiff, first, Size::new(211, 90));
    spec.metadata.icc = Some(vec![9; 200]);
    spec.sequence = Sequence::Pages(pages.clone());
    let mut pictures = vec![pixels(first, spec.size, 3)];
    pictures.extend(pages.iter().map(|page| pixels(page.layout, page.size, 4)));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let mut feed = Pictures::new(&spec, &pictures);
    encode(&spec, &mut feed, File::create(&path).unwrap()).unwrap();
    crate::codec::verify(&path, spec.size, 3, ResultFormat::Tiff).unwrap();
    assert!(crate::codec::verify(&path, spec.size, 2, ResultFormat::Tiff).is_err());

    let mut decoder = tiff_decoder(&path);
    for (index, picture) in pictures.iter().enumerate() {
        if index > 0 {
            decoder.next_image().unwrap();
        }
        let page = spec.picture(index);
        let (width, height) = decoder.dimensions().unwrap();
        assert_eq!(Size::new(width, height), page.size);
        let profile = decoder.get_tag_u8_vec(::tiff::tags::Tag::IccProfile).ok();
        assert!(profile == page.metadata.icc, "page {index}");
        let number = ::tiff::tags::Tag::Unknown(297);
        assert_eq!(decoder.get_tag_u32_vec(number).unwrap(), [index as u32, 3]);
        let got = match decoder.read_image().unwrap() {
            DecodingResult::U8(samples) => samples,
            DecodingResult::U16(samples) => bytemuck::cast_slice(&samples).to_vec(),
            other => panic!("{other:?}"),
        };
        assert!(got == *picture, "page {index}");
    }
    assert!(!decoder.more_images());
}

/// All layouts of JPEG XL, sizes around its groups of 256 pixels, with and without what goes into boxes.
#[test]
fn jpeg_xl_gives_back_every_sample_its_profile_and_its_boxes() {
    for channels in CHANNELS {
        for depth in [Depth::Eight, Depth::Sixteen] {
            if channels.has_alpha() && depth == Depth::Sixteen {
                continue;
            }
            for (size, has_metadata) in [
                (Size::new(2, 3), false),
                (Size::new(40, 30), true),
                (Size::new(257, 300), true),
                (Size::new(600, 513), false),
            ] {
                let layout = PixelLayout { channels, depth };
                let rows = pixels(layout, size, 11);
                let mut spec = spec(ResultFormat::Jxl, layout, size);
                if has_metadata {
                    spec.metadata = Carried {
                        icc: Some(profile(channels)),
                        xmp: Some(b"<x:xmpmeta/>".to_vec()),
                        ..metadata_without_profile()
                    };
                }
                let (_folder, path, _) = written(&spec, &rows);
                let bytes = std::fs::read(&path).unwrap();
                let picture = jxl_oxide::JxlImage::builder().read(bytes.as_slice()).unwrap();
                assert_eq!((picture.width(), picture.height()), (size.width, size.height));
                let exact = picture.original_icc().map(<[u8]>::to_vec);
                assert!(exact == spec.metadata.icc, "{layout:?}: profile");
                if has_metadata {
                    let exif = [&[0; 4], spec.metadata.exif.as_ref().unwrap().as_slice()].concat();
                    for content in [boxed(b"Exif", &exif), boxed(b"xml ", b"<x:xmpmeta/>")] {
                        assert!(bytes.windows(content.len()).any(|window| window == content));
                    }
                }
                let frame = picture.render_frame(0).unwrap();
                let most = if depth == Depth::Eight { 255.0 } else { 65_535.0 };
                let got: Vec<u16> = frame
                    .image_all_channels()
                    .buf()
                    .iter()
                    .map(|sample| (sample * most).round() as u16)
                    .collect();
                let wanted: Vec<u16> = match depth {
                    Depth::Eight => rows.iter().map(|sample| u16::from(*sample)).collect(),
                    Depth::Sixteen => bytemuck::pod_collect_to_vec(&rows),
                };
                assert!(got == wanted, "{layout:?} {size}");
            }
        }
    }
}

fn metadata_without_profile() -> Carried {
    Carried {
        icc: None,
        ..metadata()
    }
}

/// A profile that decoders accept, as small as they come: matrix and curve of the primaries, or a curve alone.
fn profile(channels: Channels) -> Vec<u8> {
    let is_grey = matches!(channels, Channels::Grey | Channels::GreyAlpha);
    let xyz = |numbers: [u32; 3]| -> Vec<u8> {
        let mut bytes = b"XYZ \0\0\0\0".to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes
    };
    let curve = b"curv\0\0\0\0\0\0\0\x01\x02\x33\0\0".to_vec();
    let mut tags = vec![(*b"wtpt", xyz([0xf6d6, 0x1_0000, 0xd32d]))];
    if is_grey {
        tags.push((*b"kTRC", curve));
    } else {
        tags.push((*b"rXYZ", xyz([0x83df, 0x3dbf, 0xffff_ffbb])));
        tags.push((*b"gXYZ", xyz([0x4abf, 0xb137, 0x0ab9])));
        tags.push((*b"bXYZ", xyz([0x2838, 0x110b, 0xc8b9])));
        tags.extend([*b"rTRC", *b"gTRC", *b"bTRC"].map(|name| (name, curve.clone())));
    }
    let mut at = 128 + 4 + 12 * tags.len();
    let mut table = (tags.len() as u32).to_be_bytes().to_vec();
    let mut data: Vec<u8> = Vec::new();
    for (name, content) in &tags {
        table.extend(name);
        table.extend((at as u32).to_be_bytes());
        table.extend((content.len() as u32).to_be_bytes());
        data.extend(content);
        at += content.len();
    }
    let mut bytes = vec![0; 128];
    bytes[..4].copy_from_slice(&(at as u32).to_be_bytes());
    bytes[8..12].copy_from_slice(&[4, 0x20, 0, 0]);
    bytes[12..16].copy_from_slice(b"mntr");
    bytes[16..20].copy_from_slice(if is_grey { b"GRAY" } else { b"RGB " });
    bytes[20..24].copy_from_slice(b"XYZ ");
    bytes[36..44].copy_from_slice(b"acspAPPL");
    bytes[68..80].copy_from_slice(b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d");
    bytes.extend(table);
    bytes.extend(data);
    bytes
}

#[test]
fn what_a_format_cannot_hold_is_refused_before_a_row_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let animation = Sequence::Animation(crate::codec::Animation {
        loops: 0,
        delays: vec![
            crate::codec::Delay {
                numerator: 1,
                denominator: 10
            };
            3
        ],
    });
    for format in ResultFormat::ALL {
        let mut spec = spec(format, rgb8(), Size::new(4, 4));
        spec.sequence = animation.clone();
        let can = matches!(format, ResultFormat::Png | ResultFormat::Webp | ResultFormat::Gif);
        assert_eq!(crate::codec::holds(format, &animation), can);
        if !can {
            let outcome = write(&spec, Vec::new(), &[1], &folder.path().join("result"));
            assert!(
                matches!(outcome, Err(CodecError::Encode { .. })),
                "{format:?}: {outcome:?}"
            );
        }
        let mut spec = super::spec(format, rgb8(), Size::new(side_limit(format) + 1, 1));
        spec.settings = EncodeSettings::default();
        let outcome = write(&spec, Vec::new(), &[1], &folder.path().join("result"));
        assert!(
            matches!(outcome, Err(CodecError::Encode { .. })),
            "{format:?}: {outcome:?}"
        );
    }
}
