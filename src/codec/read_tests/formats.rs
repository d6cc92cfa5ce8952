//! AVIF, JPEG XL and HEIC against what the reference programs make of the same files.

use image::DynamicImage;
use image::metadata::Orientation;

use super::*;
use crate::codec::{Channels, Depth, Ending, Sequence, SourceFormat, ends_properly};
use crate::size::Size;

/// A file of tests/fixtures/photos.
pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/photos")
        .join(name)
}

/// The reference decode of a file.
pub(super) fn reference(name: &str) -> DynamicImage {
    image::open(fixture(&format!("decoded/{name}.png"))).unwrap()
}

/// Greatest difference between rows and a picture with the same samples.
pub(super) fn difference(rows: &[u8], picture: &DynamicImage) -> i32 {
    assert_eq!(rows.len(), picture.as_bytes().len(), "sizes");
    let deep = matches!(
        picture.color(),
        image::ColorType::L16 | image::ColorType::La16 | image::ColorType::Rgb16 | image::ColorType::Rgba16
    );
    let samples = |bytes: &[u8]| -> Vec<i32> {
        if deep {
            let pairs = bytes.as_chunks::<2>().0.iter();
            pairs.map(|pair| u16::from_ne_bytes(*pair).into()).collect()
        } else {
            bytes.iter().map(|byte| (*byte).into()).collect()
        }
    };
    let (ours, theirs) = (samples(rows), samples(picture.as_bytes()));
    ours.iter()
        .zip(&theirs)
        .map(|(a, b)| (a - b).abs())
        .max()
        .unwrap()
}

pub(super) fn assert_like(name: &str, channels: Channels, depth: Depth, expected: &DynamicImage, most: i32) {
    let path = fixture(name);
    let header = header(&path);
    assert_eq!(
        (header.layout.channels, header.layout.depth),
        (channels, depth),
        "{name}"
    );
    assert_eq!(
        header.upright(),
        Size::new(expected.width(), expected.height()),
        "{name}"
    );
    assert_eq!(header.sequence, Sequence::Single, "{name}");
    let found = difference(&read(&path).unwrap(), expected);
    assert!(found <= most, "{name}: {found}");
}

#[test]
fn avif_of_every_depth_and_sampling_is_what_the_reference_makes_of_it() {
    use Channels::{Grey, Rgb, Rgba};
    for (name, channels, depth, most) in [
        ("lossless.avif", Rgb, Depth::Eight, 0),
        ("420.avif", Rgb, Depth::Eight, 2),
        ("limited-709.avif", Rgb, Depth::Eight, 1),
        ("grey.avif", Grey, Depth::Eight, 0),
        ("alpha.avif", Rgba, Depth::Eight, 1),
        ("grid.avif", Rgb, Depth::Eight, 0),
        // The reference computes these with ten and twelve bits.
        ("422-10.avif", Rgb, Depth::Sixteen, 256),
        ("444-12.avif", Rgb, Depth::Sixteen, 64),
    ] {
        let mut expected = reference(name);
        if name == "limited-709.avif" {
            // Three quarters against the clock, which the reference leaves to others.
            expected.apply_orientation(Orientation::Rotate90);
        }
        assert_like(name, channels, depth, &expected, most);
    }
}

#[test]
fn an_avif_is_turned_as_its_container_says_and_only_once() {
    // A quarter against the clock, then upside down.
    let expected = reference("turned.avif").rotate270().flipv();
    assert_like("turned.avif", Channels::Rgb, Depth::Eight, &expected, 2);
    // EXIF says 6 as well, and does not count; it travels on.
    let header = header(&fixture("limited-709.avif"));
    assert_eq!(header.orientation, 6);
    assert_eq!(header.exif, Some(exif_with_orientation(6)));
    assert!(header.xmp.unwrap().starts_with(b"<x:xmpmeta"));
    assert!(self::header(&fixture("alpha.avif")).icc.unwrap().len() > 500);
}

#[test]
fn an_avif_is_cropped_as_its_container_says() {
    let expected = reference("cropped.avif").crop_imm(8, 6, 20, 12);
    assert_like("cropped.avif", Channels::Rgb, Depth::Eight, &expected, 1);
}

#[test]
fn colours_multiplied_by_alpha_are_given_without_it() {
    let expected = reference("premultiplied.avif");
    let rows = read(&fixture("premultiplied.avif")).unwrap();
    for (pixel, expected) in rows
        .as_chunks::<4>()
        .0
        .iter()
        .zip(expected.as_bytes().as_chunks::<4>().0)
    {
        assert_eq!(pixel[3], expected[3]);
        // What is nearly invisible has nearly no colour.
        let most = if pixel[3] > 100 { 5 } else { 255 };
        for channel in 0..3 {
            assert!(
                pixel[channel].abs_diff(expected[channel]) <= most,
                "{pixel:?} {expected:?}"
            );
        }
    }
}

#[test]
fn jpeg_xl_of_every_kind_is_what_the_reference_makes_of_it() {
    use Channels::{Grey, GreyAlpha, Rgb, Rgba};
    for (name, channels, depth, most) in [
        ("lossless.jxl", Rgb, Depth::Eight, 0),
        ("lossy-alpha.jxl", Rgba, Depth::Eight, 1),
        ("grey16.jxl", Grey, Depth::Sixteen, 0),
        ("grey-alpha.jxl", GreyAlpha, Depth::Eight, 0),
        ("from-jpeg.jxl", Rgb, Depth::Eight, 1),
        ("turned.jxl", Rgb, Depth::Eight, 0),
        ("patches.jxl", Rgb, Depth::Eight, 1),
    ] {
        assert_like(name, channels, depth, &reference(name), most);
    }
}

/// Brotli without compressing anything.
fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
    let head = ((bytes.len() as u32 - 1) << 4) | (1 << 20);
    [&head.to_le_bytes()[..3], bytes, &[3]].concat()
}

#[test]
fn a_jpeg_xl_is_turned_once_and_its_metadata_travel_on_packed_or_not() {
    let folder = Folder::new();
    let file = std::fs::read(fixture("turned.jxl")).unwrap();
    let boxed =
        |name: &[u8], content: &[u8]| [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat();
    let exif = [&[0; 4][..], &exif_with_orientation(6)].concat();
    let plain = [file.clone(), boxed(b"Exif", &exif), boxed(b"xml ", b"<x/>")].concat();
    let packed = [
        file,
        boxed(b"brob", &[b"Exif", &stored_brotli(&exif)[..]].concat()),
        boxed(b"brob", &[b"xml ", &stored_brotli(b"<x/>")[..]].concat()),
    ]
    .concat();
    for bytes in [plain, packed] {
        let path = folder.file("a.jxl", &bytes);
        let header = header(&path);
        assert_eq!((header.stored, header.orientation), (Size::new(24, 40), 1));
        assert_eq!(header.exif, Some(exif_with_orientation(6)));
        assert_eq!(header.xmp.as_deref(), Some(&b"<x/>"[..]));
        assert_eq!(header.icc, None, "sRGB needs no profile");
        assert_eq!(difference(&read(&path).unwrap(), &reference("turned.jxl")), 0);
    }
}

#[test]
fn an_animated_jpeg_xl_gives_all_its_frames() {
    let path = fixture("animated.jxl");
    let header = header(&path);
    let Sequence::Animation(animation) = &header.sequence else {
        panic!("{:?}", header.sequence)
    };
    let seconds = |index: usize| {
        f64::from(animation.delays[index].numerator) / f64::from(animation.delays[index].denominator)
    };
    assert_eq!(animation.loops, 0);
    assert_eq!([seconds(0), seconds(1), seconds(2)], [0.1, 0.2, 0.3]);
    for (index, frame) in read_frames(&path).unwrap().iter().enumerate() {
        let channels = header.layout.channels.count();
        for (at, pixel) in frame.chunks_exact(channels).enumerate() {
            let expected = if at == index * 16 + index {
                [255, 0, 0]
            } else {
                [40 * index as u8 + 20, 200 - 50 * index as u8, 90]
            };
            assert_eq!(pixel[..3], expected, "{index} {at}");
        }
    }
}

#[test]
fn an_animated_avif_is_refused_and_not_taken_for_its_first_frame() {
    let text = message(probe(&fixture("animated.avif"), &DecodeLimits::default()).unwrap_err());
    assert!(
        text.contains("animated AVIF") && text.contains("save it as"),
        "{text}"
    );
}

#[cfg(not(feature = "heic"))]
#[test]
fn a_heic_is_refused_with_what_to_do() {
    let path = fixture("420.heic");
    let text = message(probe(&path, &DecodeLimits::default()).unwrap_err());
    for word in ["HEIC", "--features heic", "heif-convert"] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(ends_properly(&path).unwrap(), Ending::Complete);
}

#[test]
fn the_end_of_each_format_is_known_where_it_can_be() {
    for (name, ending) in [
        ("420.avif", Ending::Complete),
        ("from-jpeg.jxl", Ending::Complete),
        ("lossless.jxl", Ending::Unknown),
    ] {
        assert_eq!(ends_properly(&fixture(name)).unwrap(), ending, "{name}");
        assert_ne!(header(&fixture(name)).format, SourceFormat::Png);
    }
}
