//! Owns the tests of metadata on their way through files: every format in, every format out.

mod notes;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::metadata::{Carried, carry};
use super::sink::{FeedStopped, RowFeed, SinkSpec, encode};
use super::{
    Channels, DecodeLimits, Depth, ImageHeader, Notes, PixelLayout, Provenance, ResultFormat, Sequence, probe,
};
use crate::config::MetadataPolicy;
use crate::size::Size;

const FORMATS: [ResultFormat; 4] = [
    ResultFormat::Jpeg,
    ResultFormat::Png,
    ResultFormat::Webp,
    ResultFormat::Tiff,
];

/// As Canon's: its offsets count from the beginning of the block, and nothing says in which byte order it is.
const MAKER_NOTE: &[u8] = b"\x01\0\x01\0\x07\0\x05\0\0\0\x50\0\0\0\0\0 private words of a camera";

/// As Apple's: it may lie anywhere.
const MOVABLE_NOTE: &[u8] = b"Apple iOS\0\0\x01MM\0\0 private words of a phone";

const IPTC: &[u8] = b"\x1c\x02\x00\x00\x02\x00\x04\x1c\x02\x05\x00\x05Haus!";

const XMP: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
    <rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:exif='http://ns.adobe.com/exif/1.0/' \
    exif:GPSLatitude='52,31N' exif:PixelXDimension='9'><dc:rights>Gr\u{fc}n &amp; Co</dc:rights></rdf:Description>\
    </rdf:RDF></x:xmpmeta>";

struct Feed(Vec<u8>);

impl RowFeed for Feed {
    fn next_rows(&mut self, _spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        Ok(std::mem::take(&mut self.0))
    }
}

fn write(
    folder: &TempDir,
    name: &str,
    format: ResultFormat,
    size: Size,
    metadata: Carried,
) -> (PathBuf, Vec<String>) {
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    let spec = SinkSpec {
        size,
        layout,
        format,
        quality: 90,
        settings: crate::config::EncodeSettings::default(),
        metadata,
        sequence: Sequence::Single,
    };
    let path = folder.path().join(name);
    let file = std::fs::File::create_new(&path).unwrap();
    let rows = vec![90; layout.row_bytes(size.width) * size.height as usize];
    let encoded = encode(&spec, &mut Feed(rows), file).unwrap();
    (path, encoded.warnings)
}

fn read(path: &Path) -> ImageHeader {
    probe(path, &DecodeLimits::default()).unwrap()
}

/// A block with names, details with a MakerNote at an odd place, a subject, and a place on earth.
fn exif(big_endian: bool, note: &[u8]) -> Vec<u8> {
    let short = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let long = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let entry = |tag: u16, kind: u16, count: u32, field: [u8; 4]| {
        [&short(tag)[..], &short(kind), &long(count), &field].concat()
    };
    let two = |a: u16, b: u16| {
        let ([a, b], [c, d]) = (short(a), short(b));
        [a, b, c, d]
    };
    let (details, gps, model, density, area, latitude) = (80, 150, 200, 210, 220, 230);
    let mut block = if big_endian {
        b"MM\0\x2a".to_vec()
    } else {
        b"II\x2a\0".to_vec()
    };
    block.extend(long(8));
    block.extend(short(5));
    block.extend(entry(0x0110, 2, 8, long(model)));
    block.extend(entry(0x0112, 3, 1, two(6, 0)));
    block.extend(entry(0x0131, 2, 4, *b"Sw1\0"));
    block.extend(entry(0x8769, 4, 1, long(details)));
    block.extend(entry(0x8825, 4, 1, long(gps)));
    block.resize(details as usize, 0);
    block.extend(short(5));
    block.extend(entry(0x9214, 3, 4, long(area)));
    block.extend(entry(0x927c, 7, note.len() as u32, long(301)));
    block.extend(entry(0xa002, 3, 1, two(9, 0)));
    block.extend(entry(0xa20e, 5, 1, long(density)));
    block.extend(entry(0xa20f, 5, 1, long(density)));
    block.resize(gps as usize, 0);
    block.extend(short(2));
    block.extend(entry(1, 2, 2, *b"N\0\0\0"));
    block.extend(entry(2, 5, 3, long(latitude)));
    block.resize(model as usize, 0);
    block.extend(b"Model 7\0");
    block.resize(density as usize, 0);
    block.extend([long(3000), long(2)].concat());
    block.resize(area as usize, 0);
    block.extend([short(4), short(3), short(2), short(1)].concat());
    block.resize(latitude as usize, 0);
    block.extend([long(52), long(1), long(31), long(1), long(1234), long(100)].concat());
    block.resize(301, 0);
    block.extend(note);
    block
}

fn all(big_endian: bool, note: &[u8]) -> Carried {
    Carried {
        icc: None,
        exif: Some(exif(big_endian, note)),
        xmp: Some(XMP.as_bytes().to_vec()),
        iptc: Some(IPTC.to_vec()),
        notes: Notes::default(),
    }
}

/// A value of a block, read by another library: `image` knows the orientation, the rest is found by its bytes.
fn holds(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Every format in, every format out: what was in the source is in the result, with its MakerNote at its place.
#[test]
fn metadata_pass_from_every_format_to_every_other() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in FORMATS.iter().flat_map(|from| FORMATS.map(|to| (*from, to))) {
        for (big_endian, note) in [(false, MAKER_NOTE), (true, MOVABLE_NOTE), (true, MAKER_NOTE)] {
            let name = format!("{from:?}{to:?}{big_endian}{}", note.len());
            let (path, _) = write(
                &folder,
                &format!("s{name}"),
                from,
                Size::new(9, 6),
                all(big_endian, note),
            );
            let header = read(&path);
            assert_eq!(header.warnings, Vec::<String>::new(), "{name}");
            let is_tiff = from == ResultFormat::Tiff;
            if !is_tiff {
                assert_eq!(
                    header.exif.as_deref(),
                    Some(exif(big_endian, note).as_slice()),
                    "{name}"
                );
            }
            assert_eq!(header.orientation, 6, "{name}");
            let lost_iptc = from == ResultFormat::Webp;
            assert_eq!(header.iptc.as_deref(), (!lost_iptc).then_some(IPTC), "{name}");
            assert_eq!(header.xmp.as_deref(), Some(XMP.as_bytes()), "{name}");

            let size = Size::new(24, 36);
            let (carried, warnings) = carry(&header, to, size, MetadataPolicy::Keep);
            assert_eq!(warnings, Vec::<String>::new(), "{name}");
            let (path, warnings) = write(&folder, &format!("r{name}"), to, size, carried);
            let unsure = to == ResultFormat::Tiff && big_endian && note == MAKER_NOTE && !is_tiff;
            assert_eq!(warnings.len(), usize::from(unsure), "{name}: {warnings:?}");
            let result = read(&path);
            assert_eq!(result.orientation, 1, "{name}");
            let after = result.exif.unwrap();
            assert_eq!(
                holds(&after, note),
                Some(301),
                "{name}: the MakerNote's offsets hold"
            );
            assert!(holds(&after, b"Model 7\0").is_some(), "{name}");
            let xmp = String::from_utf8(result.xmp.unwrap()).unwrap();
            assert!(xmp.contains("exif:PixelXDimension='24'"), "{name}: {xmp}");
            assert!(xmp.contains("Gr\u{fc}n &amp; Co"), "{name}: {xmp}");
            // Where there is no place for records, XMP says what they did.
            let told = to == ResultFormat::Webp && !lost_iptc;
            assert_eq!(xmp.contains(">Haus!<"), told, "{name}: {xmp}");
        }
    }
}

#[test]
fn the_place_does_not_pass_where_it_is_not_wanted_and_nothing_passes_with_strip() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in FORMATS.iter().flat_map(|from| FORMATS.map(|to| (*from, to))) {
        let (path, _) = write(
            &folder,
            &format!("s{from:?}{to:?}"),
            from,
            Size::new(9, 6),
            all(false, MAKER_NOTE),
        );
        let header = read(&path);
        for policy in [MetadataPolicy::KeepNoGps, MetadataPolicy::Strip] {
            let (carried, _) = carry(&header, to, Size::new(24, 36), policy);
            let (path, _) = write(
                &folder,
                &format!("r{from:?}{to:?}{policy:?}"),
                to,
                Size::new(24, 36),
                carried,
            );
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(holds(&bytes, b"52,31N"), None, "{from:?} {to:?}");
            assert_eq!(holds(&bytes, &1234_u32.to_le_bytes()), None, "{from:?} {to:?}");
            let kept = holds(&bytes, MAKER_NOTE).is_some();
            assert_eq!(kept, policy == MetadataPolicy::KeepNoGps, "{from:?} {to:?}");
        }
    }
}

/// JPEG holds 64 kB of a packet in a place.
#[test]
fn a_long_packet_passes_through_jpeg_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let depth = "QUJD".repeat(60_000);
    let mut metadata = all(true, MAKER_NOTE);
    let long = XMP.replace("Gr\u{fc}n", &depth);
    metadata.xmp = Some(long.into_bytes());
    metadata.iptc = Some([IPTC, &[0; 70_000]].concat());
    let (path, warnings) = write(
        &folder,
        "long.jpg",
        ResultFormat::Jpeg,
        Size::new(9, 6),
        metadata.clone(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    let header = read(&path);
    assert_eq!(header.warnings, Vec::<String>::new());
    assert_eq!(header.iptc, metadata.iptc);
    let (carried, _) = carry(
        &header,
        ResultFormat::Png,
        Size::new(24, 36),
        MetadataPolicy::Keep,
    );
    let xmp = String::from_utf8(carried.xmp.unwrap()).unwrap();
    assert!(xmp.contains(&depth) && xmp.contains("exif:PixelXDimension='24'"));
    assert!(!xmp.contains("HasExtendedXMP"));

    // A part that is missing is missed, and the rest stays.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = holds(&bytes, b"http://ns.adobe.com/xmp/extension/").unwrap();
    bytes[at] = b'H';
    let path = folder.path().join("torn.jpg");
    std::fs::write(&path, bytes).unwrap();
    let header = read(&path);
    assert_eq!(
        header.warnings,
        ["a part of the XMP is missing or damaged and is not carried over"]
    );
    assert!(header.xmp.is_some());
}

/// What makes a result is told in it, within the memory that was promised, and found again.
#[test]
fn a_result_says_what_made_it() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let mut carried = Carried::default();
        carried.sign(&Provenance {
            tool: "upscaled 1".to_owned(),
            model: "m".repeat(200),
            scale: "4".to_owned(),
            tiling: "feather".to_owned(),
        });
        assert!(carried.xmp.as_ref().unwrap().len() as u64 <= Carried::default().bytes());
        let (path, _) = write(&folder, format.as_str(), format, Size::new(4, 4), carried);
        let xmp = String::from_utf8(read(&path).xmp.unwrap()).unwrap();
        assert!(xmp.contains("scale 4, tiling feather"), "{xmp}");
    }
}

/// Segments before the picture of a JPEG.
fn with_segments(folder: &TempDir, name: &str, segments: &[(u8, &[u8])], behind: &[u8]) -> ImageHeader {
    let (path, _) = write(
        folder,
        &format!("plain-{name}"),
        ResultFormat::Jpeg,
        Size::new(8, 8),
        Carried::default(),
    );
    let plain = std::fs::read(path).unwrap();
    let mut bytes = plain[..2].to_vec();
    for (marker, data) in segments {
        bytes.extend([0xFF, *marker]);
        bytes.extend((data.len() as u16 + 2).to_be_bytes());
        bytes.extend(*data);
    }
    bytes.extend(&plain[2..]);
    bytes.extend(behind);
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

#[test]
fn what_lies_beside_a_picture_is_told_once_and_its_tags_do_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let xmp = |properties: &str| {
        let packet = XMP.replace("exif:GPSLatitude='52,31N'", properties);
        [b"http://ns.adobe.com/xap/1.0/\0", packet.as_bytes()].concat()
    };
    let camera = "xmlns:GCamera='http://ns.google.com/photos/1.0/camera/' GCamera:MotionPhoto='1'";
    let map = "xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'";
    let video = b"\0\0\0\x18ftypmp42";
    for (name, segments, behind, said) in [
        (
            "motion.jpg",
            vec![(0xE1, xmp(camera))],
            &video[..],
            "Motion Photo",
        ),
        ("mute.jpg", vec![], &video[..], "Motion Photo"),
        (
            "samsung.jpg",
            vec![],
            b"..MotionPhoto_Data....ftyp",
            "Motion Photo",
        ),
        (
            "ultra.jpg",
            vec![(0xE1, xmp(map)), (0xE2, b"MPF\0II".to_vec())],
            b"\xff\xd8",
            "Ultra HDR",
        ),
        (
            "iso.jpg",
            vec![(0xE2, b"urn:iso:std:iso:ts:21496:-1\0".to_vec())],
            b"",
            "Ultra HDR",
        ),
        (
            "mpo.jpg",
            vec![(0xE2, b"MPF\0II".to_vec())],
            b"",
            "further pictures",
        ),
        (
            "c2pa.jpg",
            vec![(0xEB, b"JP\0\0\0\0\0\x01\0\0\0\0jumb".to_vec())],
            b"",
            "Content Credentials",
        ),
    ] {
        let segments: Vec<(u8, &[u8])> = segments.iter().map(|(at, data)| (*at, data.as_slice())).collect();
        let header = with_segments(&folder, name, &segments, behind);
        assert_eq!(header.warnings.len(), 1, "{name}: {:?}", header.warnings);
        assert!(
            header.warnings[0].starts_with(said),
            "{name}: {:?}",
            header.warnings
        );
        let (carried, _) = carry(
            &header,
            ResultFormat::Jpeg,
            Size::new(32, 32),
            MetadataPolicy::Keep,
        );
        let (path, _) = write(
            &folder,
            &format!("result-{name}"),
            ResultFormat::Jpeg,
            Size::new(32, 32),
            carried,
        );
        let bytes = std::fs::read(path).unwrap();
        for tag in [
            &b"hdrgm:Version"[..],
            b"GCamera:MotionPhoto",
            b"MPF\0",
            b"21496",
            b"ftyp",
        ] {
            assert_eq!(holds(&bytes, tag), None, "{name}");
        }
    }
}

/// Photoshop's and ImageMagick's ways: a profile in hexadecimal digits, IPTC in resources.
#[test]
fn profiles_in_digits_are_read_as_imagemagick_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = write(
        &folder,
        "plain.png",
        ResultFormat::Png,
        Size::new(4, 4),
        Carried::default(),
    );
    let plain = std::fs::read(path).unwrap();
    let profile = |kind: &str, bytes: &[u8]| {
        let text = format!("\n{kind}\n{:8}\n{}\n", bytes.len(), crate::report::hex(bytes));
        let data = [b"tEXtRaw profile type ", kind.as_bytes(), b"\0", text.as_bytes()].concat();
        let crc = crc32(&data);
        [
            &(data.len() as u32 - 4).to_be_bytes()[..],
            &data,
            &crc.to_be_bytes(),
        ]
        .concat()
    };
    let exif = exif(true, MAKER_NOTE);
    let resources = [&b"8BIM\x04\x04\0\0\0\0\0"[..], &[IPTC.len() as u8], IPTC].concat();
    let chunks = [
        profile("exif", &[b"Exif\0\0", exif.as_slice()].concat()),
        profile("iptc", &resources),
        profile("xmp", XMP.as_bytes()),
    ]
    .concat();
    // Before the picture, and behind it.
    for at in [33, plain.len() - 12] {
        let path = folder.path().join(format!("{at}.png"));
        std::fs::write(&path, [&plain[..at], &chunks, &plain[at..]].concat()).unwrap();
        let header = read(&path);
        assert_eq!(header.warnings, Vec::<String>::new());
        assert_eq!(header.exif.as_deref(), Some(exif.as_slice()));
        assert_eq!(header.orientation, 6);
        assert_eq!(header.iptc.as_deref(), Some(IPTC));
        assert_eq!(header.xmp.as_deref(), Some(XMP.as_bytes()));
    }
    let torn = profile("iptc", &resources[..9]);
    let path = folder.path().join("torn.png");
    std::fs::write(&path, [&plain[..33], &torn, &plain[33..]].concat()).unwrap();
    assert_eq!(read(&path).iptc, None);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
