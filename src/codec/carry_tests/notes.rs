//! Owns the tests of what files say beside EXIF, XMP and IPTC: comments, texts, resources of Photoshop, resolution.

use super::*;
use crate::codec::Page;
use crate::codec::density::{Density, Length};
use crate::codec::notes::text::Text;

const ALL: [ResultFormat; 7] = [
    ResultFormat::Jpeg,
    ResultFormat::Png,
    ResultFormat::Webp,
    ResultFormat::Tiff,
    ResultFormat::Avif,
    ResultFormat::Jxl,
    ResultFormat::Gif,
];

/// A resource of Photoshop's: no name, even in length.
fn resource(id: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [b"8BIM", &id.to_be_bytes()[..], b"\0\0", &length, data].concat()
}

fn resolution(across: u32, down: u32) -> Option<Density> {
    Density::new((across, 1), (down, 1), Length::Inch)
}

fn text(keyword: &str, words: &str) -> Text {
    Text::new(keyword, words)
}

/// A source of these notes in this format, as it is read.
fn source(folder: &TempDir, format: ResultFormat, notes: Notes) -> ImageHeader {
    let carried = Carried {
        notes,
        ..Carried::default()
    };
    let name = format!("source.{}", format.as_str());
    let _ = std::fs::remove_file(folder.path().join(&name));
    let (path, warnings) = write(folder, &name, format, Size::new(9, 6), carried);
    assert_eq!(warnings, Vec::<String>::new());
    read(&path)
}

/// What a source becomes in a format: its header, its XMP, all that was told on the way.
fn result(
    folder: &TempDir,
    header: &ImageHeader,
    to: ResultFormat,
    policy: MetadataPolicy,
) -> (ImageHeader, String, Vec<String>) {
    let size = Size::new(18, 12);
    let (carried, mut told) = carry(header, to, size, policy);
    let name = format!("result.{}", to.as_str());
    let _ = std::fs::remove_file(folder.path().join(&name));
    let (path, more) = write(folder, &name, to, size, carried);
    told.extend(more);
    told.retain(|line| !line.contains("colours were reduced"));
    let result = read(&path);
    assert_eq!(result.warnings, Vec::<String>::new(), "{to:?}");
    let xmp = String::from_utf8(result.xmp.clone().unwrap_or_default()).unwrap();
    (result, xmp, told)
}

#[test]
fn a_resolution_is_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for from in [ResultFormat::Jpeg, ResultFormat::Png, ResultFormat::Tiff] {
        let notes = Notes {
            density: resolution(300, 150),
            ..Notes::default()
        };
        let header = source(&folder, from, notes);
        for to in ALL {
            let (result, _, told) = result(&folder, &header, to, MetadataPolicy::Keep);
            let density = result.notes.density;
            match to {
                ResultFormat::Gif => {
                    let own = from != ResultFormat::Tiff;
                    assert!(
                        told.iter().any(|line| line.contains("was not carried")),
                        "{told:?}"
                    );
                    assert_eq!(told[0].contains("gif: the resolution"), own, "{told:?}");
                    continue;
                }
                ResultFormat::Webp | ResultFormat::Avif | ResultFormat::Jxl => {
                    assert_eq!(density, None);
                    let density = Density::of_exif(&result.exif.unwrap()).unwrap();
                    assert_eq!(density.png(), Some(([11_811, 5906], true)), "{from:?} {to:?}");
                }
                _ => assert_eq!(
                    density.unwrap().png(),
                    Some(([11_811, 5906], true)),
                    "{from:?} {to:?}"
                ),
            }
            assert_eq!(told, Vec::<String>::new(), "{from:?} {to:?}");
            if from == to && from != ResultFormat::Tiff {
                assert_eq!(density, header.notes.density, "{from:?}");
            }
        }
        let (result, _, told) = result(&folder, &header, ResultFormat::Jpeg, MetadataPolicy::Strip);
        assert_eq!(
            (result.notes, result.exif, told),
            (Notes::default(), None, Vec::new())
        );
    }
}

/// The header's, in its only unit; and what EXIF alone says is said where other programs look first.
#[test]
fn the_resolution_of_a_bmp_and_of_exif_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.bmp");
    image::RgbImage::new(5, 4).save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for (numbers, wanted) in [
        ([11_811_u32, 5906], Density::per_metre(11_811, 5906)),
        ([0, 0], None),
        ([u32::MAX, 1], None),
    ] {
        bytes[38..42].copy_from_slice(&numbers[0].to_le_bytes());
        bytes[42..46].copy_from_slice(&numbers[1].to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let header = read(&path);
        assert_eq!(header.notes.density, wanted);
        let (result, ..) = result(&folder, &header, ResultFormat::Png, MetadataPolicy::Keep);
        assert_eq!(result.notes.density, wanted);
    }
    let mut header = source(&folder, ResultFormat::Webp, Notes::default());
    header.exif = resolution(240, 240).map(Density::exif);
    let (result, ..) = result(&folder, &header, ResultFormat::Jpeg, MetadataPolicy::Keep);
    assert_eq!(result.notes.density, resolution(240, 240));
    assert_eq!(result.exif, header.exif);
}

#[test]
fn a_turned_picture_has_its_resolution_turned_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let photoshop = resource(1005, b"\0\xcc\0\0\0\x01\0\x01\0\x62\0\0\0\x01\0\x01");
    let turned = resource(1005, b"\0\x62\0\0\0\x01\0\x01\0\xcc\0\0\0\x01\0\x01");
    let mut header = source(
        &folder,
        ResultFormat::Jpeg,
        Notes {
            density: resolution(204, 98),
            resources: [photoshop, resource(2000, b"a path")].concat(),
            ..Notes::default()
        },
    );
    header.orientation = 6;
    header.exif = resolution(204, 98).map(Density::exif);
    let (result, _, told) = result(&folder, &header, ResultFormat::Jpeg, MetadataPolicy::Keep);
    assert_eq!(result.notes.density, resolution(98, 204));
    assert_eq!(Density::of_exif(&result.exif.unwrap()), resolution(98, 204));
    assert_eq!(result.notes.resources, turned);
    assert_eq!(
        told,
        ["Photoshop's paths were not carried: the picture was turned"]
    );
}

#[test]
fn each_page_of_a_tiff_has_its_own_resolution() {
    let folder = tempfile::tempdir().unwrap();
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    let page = Page {
        size: Size::new(4, 3),
        layout,
        orientation: 1,
        icc: None,
        density: resolution(204, 98),
    };
    let spec = SinkSpec {
        size: Size::new(4, 3),
        layout,
        format: ResultFormat::Tiff,
        quality: 90,
        settings: crate::config::EncodeSettings::default(),
        metadata: Carried {
            notes: Notes {
                density: resolution(600, 600),
                ..Notes::default()
            },
            ..Carried::default()
        },
        sequence: Sequence::Pages(vec![page]),
    };
    let path = folder.path().join("pages.tif");
    let file = std::fs::File::create_new(&path).unwrap();
    let rows = vec![90; 2 * 4 * 3 * 3];
    let mut feed = Halves(rows);
    encode(&spec, &mut feed, file).unwrap();
    let header = read(&path);
    assert_eq!(header.notes.density, resolution(600, 600));
    let mut page = header.page(1);
    assert_eq!(page.density, resolution(204, 98));
    page.orientation = 6;
    assert_eq!(page.carried_density(MetadataPolicy::Keep), resolution(98, 204));
    assert_eq!(page.carried_density(MetadataPolicy::Strip), None);
}

/// Two pictures of one size.
struct Halves(Vec<u8>);

impl RowFeed for Halves {
    fn next_rows(&mut self, _spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let half = self.0.len().min(4 * 3 * 3);
        Ok(self.0.drain(..half).collect())
    }
}

#[test]
fn comments_pass_to_the_byte_or_to_where_others_look_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let comments = vec![
        b"first, Gr\xfcn\0".to_vec(),
        vec![b'x'; 300],
        "zweiter: schön".into(),
    ];
    for from in [ResultFormat::Jpeg, ResultFormat::Gif] {
        let notes = Notes {
            comments: comments.clone(),
            ..Notes::default()
        };
        let mut header = source(&folder, from, notes);
        assert_eq!(header.notes.comments, comments);
        for to in ALL {
            let (result, xmp, told) = result(&folder, &header, to, MetadataPolicy::Keep);
            assert_eq!(told, Vec::<String>::new(), "{to:?}");
            match to {
                ResultFormat::Jpeg | ResultFormat::Gif => assert_eq!(result.notes.comments, comments),
                ResultFormat::Png => {
                    let long = "x".repeat(300);
                    let texts = ["first, Grün", long.as_str(), "zweiter: schön"];
                    assert_eq!(result.notes.texts, texts.map(|words| text("Comment", words)));
                }
                _ => assert!(
                    xmp.contains("<dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">first, Grün\nxxx"),
                    "{to:?}: {xmp}"
                ),
            }
            let (result, xmp, told) = result_stripped(&folder, &header, to);
            assert_eq!((result, xmp, told), (Notes::default(), String::new(), Vec::new()));
        }
        // Nothing is said twice, and nothing that is there is changed.
        header.xmp = Some(XMP.replace("dc:rights", "dc:description").into_bytes());
        let (_, xmp, told) = result(&folder, &header, ResultFormat::Webp, MetadataPolicy::Keep);
        assert_eq!(xmp.matches("dc:description>").count(), 2);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("webp: the comment was not carried: "),
            "{told:?}"
        );
    }
}

fn result_stripped(folder: &TempDir, header: &ImageHeader, to: ResultFormat) -> (Notes, String, Vec<String>) {
    let (result, xmp, told) = result(folder, header, to, MetadataPolicy::Strip);
    // A TIFF must have a resolution, also one that says nothing.
    let has_exif = result.exif.is_some() && to != ResultFormat::Tiff;
    assert!(!has_exif, "{to:?}");
    (result.notes, xmp, told)
}

#[test]
fn a_comment_too_long_for_a_segment_is_left_out_of_a_jpeg() {
    let folder = tempfile::tempdir().unwrap();
    let comments = vec![vec![b'a'; 65_533], vec![b'b'; 65_534]];
    let notes = Notes {
        comments: comments.clone(),
        ..Notes::default()
    };
    let header = source(&folder, ResultFormat::Gif, notes);
    let (result, _, told) = result(&folder, &header, ResultFormat::Jpeg, MetadataPolicy::Keep);
    assert_eq!(result.notes.comments, comments[..1]);
    assert_eq!(
        told,
        ["jpeg: a comment was not carried: it has 65534 bytes, the format holds 65533"]
    );
}

/// As programs write them that make pictures of words, and as Photoshop and cameras' owners do.
#[test]
fn texts_of_a_png_pass_to_the_byte_and_elsewhere_to_xmp_where_it_has_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let texts = vec![
        text("parameters", "a cat\nSteps: 20, Sampler: Euler a"),
        text("workflow", "{\"nodes\": []}"),
        text("Title", "Grün & <Co>"),
        text("Author", "Somebody"),
        text("Comment", "a comment"),
        text("Software", "A tool"),
        text("GPS Latitude", "52,31N"),
    ];
    let notes = Notes {
        texts: texts.clone(),
        ..Notes::default()
    };
    let header = source(&folder, ResultFormat::Png, notes);
    assert_eq!(header.notes.texts, texts);
    for to in ALL {
        let (result, xmp, told) = result(&folder, &header, to, MetadataPolicy::KeepNoGps);
        if to == ResultFormat::Png {
            assert_eq!(result.notes.texts, texts[..6]);
            assert_eq!(told, Vec::<String>::new());
            let (result, ..) = self::result(&folder, &header, to, MetadataPolicy::Keep);
            assert_eq!(result.notes.texts, texts);
            continue;
        }
        assert_eq!(
            told,
            ["texts of the PNG were not carried: parameters, workflow"],
            "{to:?}"
        );
        for said in [
            "<dc:title><rdf:Alt><rdf:li xml:lang=\"x-default\">Grün &amp; &lt;Co&gt;</rdf:li></rdf:Alt></dc:title>",
            "<dc:creator><rdf:Seq><rdf:li>Somebody</rdf:li></rdf:Seq></dc:creator>",
            "<xmp:CreatorTool>A tool</xmp:CreatorTool>",
        ] {
            assert!(xmp.contains(said), "{to:?}: {xmp}");
        }
        let has_comments = matches!(to, ResultFormat::Jpeg | ResultFormat::Gif);
        let comments: &[&[u8]] = if has_comments { &[b"a comment"] } else { &[] };
        assert_eq!(result.notes.comments, comments, "{to:?}");
        assert_eq!(xmp.contains("a comment"), !has_comments, "{to:?}");
    }
}

/// Chunks before a PNG's picture, or behind it.
fn png_with(folder: &TempDir, chunks: &[(&[u8; 4], Vec<u8>)], behind: bool) -> ImageHeader {
    let name = "plain.png";
    let _ = std::fs::remove_file(folder.path().join(name));
    let (path, _) = write(
        folder,
        name,
        ResultFormat::Png,
        Size::new(4, 4),
        Carried::default(),
    );
    let plain = std::fs::read(&path).unwrap();
    let at = if behind { plain.len() - 12 } else { 33 };
    let mut bytes = plain[..at].to_vec();
    for (name, data) in chunks {
        let body = [&name[..], data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&body);
        bytes.extend(crc32(&body).to_be_bytes());
    }
    bytes.extend(&plain[at..]);
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

#[test]
fn texts_that_repeat_what_is_told_elsewhere_and_damaged_ones_stay_behind() {
    let folder = tempfile::tempdir().unwrap();
    for behind in [false, true] {
        let header = png_with(
            &folder,
            &[
                (b"tEXt", b"date:create\x002024".to_vec()),
                (b"tEXt", b"exif:GPSLatitude\x0052".to_vec()),
                (b"tEXt", b"Thumb::URI\0file:///home".to_vec()),
                (b"tEXt", [b"XML:com.adobe.xmp\0", XMP.as_bytes()].concat()),
                (b"zTXt", b"packed\0\0no zlib".to_vec()),
                (b"tEXt", [&b"huge\0"[..], &vec![b'x'; 9 << 20]].concat()),
                (b"tEXt", b"prompt\0a cat".to_vec()),
            ],
            behind,
        );
        assert_eq!(header.notes.texts, [text("prompt", "a cat")]);
        assert_eq!(header.xmp.as_deref(), Some(XMP.as_bytes()));
        assert_eq!(
            header.warnings,
            ["texts of the PNG are damaged, too large or too many and are not carried over: huge, packed"]
        );
    }
    let many: Vec<_> = (0..300)
        .map(|at| (b"tEXt", format!("key {at}\0x").into_bytes()))
        .collect();
    let header = png_with(&folder, &many, false);
    assert_eq!(header.notes.texts.len(), 256);
    assert_eq!(header.warnings.len(), 1, "{:?}", header.warnings);
}

#[test]
fn too_many_comments_and_too_large_ones_are_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let large = vec![b'x'; 65_000];
    let segments: Vec<(u8, &[u8])> = (0..40).map(|_| (0xFE, &b"x"[..])).collect();
    let header = with_segments(&folder, "many.jpg", &segments, b"");
    assert_eq!(
        (header.notes.comments.len(), header.warnings.len()),
        (32, 1),
        "{:?}",
        header.warnings
    );
    let segments: Vec<(u8, &[u8])> = (0..20).map(|_| (0xFE, large.as_slice())).collect();
    let header = with_segments(&folder, "large.jpg", &segments, b"");
    assert_eq!(
        (header.notes.comments.len(), header.warnings.len()),
        (16, 1),
        "{:?}",
        header.warnings
    );
}

#[test]
fn resources_of_photoshop_pass_between_the_formats_that_have_a_place_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let stays = [
        resource(1034, b"\x01\0"),
        resource(10_000, b"print!"),
        resource(2000, b"a path"),
    ]
    .concat();
    let mut carried = all(false, MAKER_NOTE);
    carried.notes.resources = stays.clone();
    for from in [ResultFormat::Jpeg, ResultFormat::Png, ResultFormat::Tiff] {
        let (path, _) = write(&folder, from.as_str(), from, Size::new(9, 6), carried.clone());
        let mut header = read(&path);
        header.orientation = 1;
        assert_eq!(header.notes.resources, stays, "{from:?}");
        assert_eq!(header.iptc.as_deref(), Some(IPTC), "{from:?}");
        for to in ALL {
            let (result, xmp, told) = result(&folder, &header, to, MetadataPolicy::KeepNoGps);
            let resources = told.iter().filter(|line| line.contains("Photoshop"));
            if matches!(to, ResultFormat::Jpeg | ResultFormat::Png | ResultFormat::Tiff) {
                assert_eq!(
                    (result.notes.resources, resources.count()),
                    (stays.clone(), 0),
                    "{from:?} {to:?}"
                );
                assert_eq!(result.iptc.as_deref(), Some(IPTC), "{from:?} {to:?}");
            } else {
                assert_eq!(resources.count(), 1, "{told:?}");
                assert!(
                    xmp.contains("<dc:title>") && xmp.contains(">Haus!<"),
                    "{to:?}: {xmp}"
                );
                assert!(!told.iter().any(|line| line.contains("IPTC")), "{told:?}");
            }
        }
    }
    // As a file has them, a thumbnail among them.
    let block = [b"Photoshop 3.0\0", resource(1036, b"a jpeg").as_slice(), &stays].concat();
    let header = with_segments(&folder, "photoshop.jpg", &[(0xED, &block)], b"");
    assert_eq!(header.notes.resources, stays);
}

/// The XMP says something else, or has no place.
#[test]
fn records_that_no_other_place_tells_are_told_by_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = source(&folder, ResultFormat::Jpeg, Notes::default());
    header.xmp = Some(XMP.as_bytes().to_vec());
    header.iptc = Some(b"\x1c\x02\x74\x00\x05other\x1c\x02\x96\x00\x01\x31".to_vec());
    for to in ALL {
        let (result, xmp, told) = result(&folder, &header, to, MetadataPolicy::Keep);
        if matches!(to, ResultFormat::Jpeg | ResultFormat::Png | ResultFormat::Tiff) {
            assert_eq!((result.iptc, told), (header.iptc.clone(), Vec::new()));
            continue;
        }
        assert!(
            xmp.contains("Gr\u{fc}n &amp; Co") && !xmp.contains("other"),
            "{xmp}"
        );
        assert_eq!(
            told,
            [format!(
                "{}: a part of the IPTC was not carried (2:150, 2:116): the format has no place for it, and the XMP \
                 none or says something else",
                to.as_str()
            )]
        );
    }
    // It says the same.
    header.iptc = Some("\u{1c}\u{2}\u{74}\0\u{a}Grün & Co".into());
    let (.., told) = result(&folder, &header, ResultFormat::Webp, MetadataPolicy::Keep);
    assert_eq!(told, Vec::<String>::new());
    // They are none.
    header.iptc = Some(b"\x1c\x02\x74\x80\x04".to_vec());
    let (.., told) = result(&folder, &header, ResultFormat::Webp, MetadataPolicy::Keep);
    assert_eq!(
        told,
        ["webp: IPTC was not carried: the format has no place for it"]
    );
}
