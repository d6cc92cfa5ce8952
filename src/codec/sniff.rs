//! Owns the first bytes of a file: what it is, whatever its name says. Never looks further than
//! [`SNIFF_BYTES`].

use super::layout::SourceFormat;

/// Enough for every magic below.
pub(super) const SNIFF_BYTES: usize = 64;

/// Sizes of the second BMP header that exist; `BM` alone begins many a text.
const DIB_HEADER_BYTES: [u32; 8] = [12, 16, 40, 52, 56, 64, 108, 124];

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of those that can be read.
    Image(SourceFormat),
    /// Known, and not processed: what it is, with its article, and what to do.
    Foreign(&'static str),
    /// Nothing known.
    Unknown,
}

/// Looks at the first bytes of a file.
pub(super) fn sniff(head: &[u8]) -> Kind {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(0, &[0xFF, 0xD8, 0xFF]) {
        Kind::Image(SourceFormat::Jpeg)
    } else if at(0, b"\x89PNG\r\n\x1a\n") {
        Kind::Image(SourceFormat::Png)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Kind::Image(SourceFormat::Webp)
    } else if is_tiff_raw(head) {
        Kind::Foreign(RAW)
    } else if at(0, b"II\x2a\0") || at(0, b"MM\0\x2a") || at(0, b"II\x2b\0") || at(0, b"MM\0\x2b") {
        Kind::Image(SourceFormat::Tiff)
    } else if is_bmp(head) {
        Kind::Image(SourceFormat::Bmp)
    } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
        Kind::Image(SourceFormat::Gif)
    } else if at(0, &JXL_CODESTREAM) || at(0, JXL_BOX) {
        Kind::Image(SourceFormat::Jxl)
    } else if at(4, b"ftyp") {
        iso_media(head)
    } else {
        foreign(head).map_or(Kind::Unknown, Kind::Foreign)
    }
}

/// Begins a bare JPEG XL.
const JXL_CODESTREAM: [u8; 2] = [0xFF, 0x0A];

/// Begins the container of a JPEG XL.
const JXL_BOX: &[u8] = b"\0\0\0\x0cJXL \r\n\x87\n";

const RAW: &str = "it is a camera raw file; develop it and save it as TIFF or JPEG";

/// Canon's CR2 and its predecessor are TIFFs with a mark of their own; the others have magics of their own.
fn is_tiff_raw(head: &[u8]) -> bool {
    head.get(8..10) == Some(b"CR") && (head.starts_with(b"II\x2a\0") || head.starts_with(b"MM\0\x2a"))
        || head.starts_with(b"IIRO")
        || head.starts_with(b"IIRS")
        || head.starts_with(b"IIU\0")
        || head.starts_with(b"FUJIFILMCCD-RAW")
        || head.starts_with(b"FOVb")
        || head.get(6..14) == Some(b"HEAPCCDR")
}

fn is_bmp(head: &[u8]) -> bool {
    head.starts_with(b"BM")
        && head
            .get(14..18)
            .and_then(|four| four.try_into().ok())
            .is_some_and(|four| DIB_HEADER_BYTES.contains(&u32::from_le_bytes(four)))
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    const JP2_BOX: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
    let begins = |magic: &[u8]| head.starts_with(magic);
    Some(if begins(JP2_BOX) || begins(&[0xFF, 0x4F, 0xFF, 0x51]) {
        "it is a JPEG 2000; save it as PNG or TIFF"
    } else if begins(b"8BPS") {
        "it is a Photoshop document; export it as TIFF or PNG"
    } else if begins(b"%PDF-") {
        "it is a PDF; export its pictures as PNG or JPEG"
    } else if begins(b"\x76\x2f\x31\x01") {
        "it is an OpenEXR; save it as 16-bit TIFF or PNG"
    } else if begins(b"#?RADIANCE") {
        "it is a Radiance HDR; save it as 16-bit TIFF or PNG"
    } else if begins(b"\0\0\x01\0") && head.get(4).is_some_and(|count| *count > 0) {
        "it is an icon; save it as PNG"
    } else if begins(b"gimp xcf") {
        "it is a GIMP document; export it as TIFF or PNG"
    } else if begins(b"qoif") {
        "it is a QOI; save it as PNG"
    } else if head.len() > 2
        && matches!(&head[..2], b"P1" | b"P2" | b"P3" | b"P4" | b"P5" | b"P6" | b"P7")
        && head[2].is_ascii_whitespace()
    {
        "it is a Netpbm; save it as PNG"
    } else if begins(b"<svg") {
        "it is an SVG; it needs no upscaling, render it as PNG in the size wanted"
    } else {
        return None;
    })
}

/// Containers of the ISO family tell their content in brands: the major one, a version, and those that they are
/// compatible with.
fn iso_media(head: &[u8]) -> Kind {
    const STILL_HEIC: [&[u8]; 4] = [b"heic", b"heix", b"heim", b"heis"];
    let brands = head.get(8..).unwrap_or_default().chunks_exact(4);
    let major = brands.clone().next().unwrap_or_default();
    // Some writers put the general brand first, and what it is in particular behind it.
    let first_of = |wanted: &[&[u8]]| brands.clone().find(|brand| wanted.contains(brand)).is_some();
    match major {
        b"avif" => Kind::Image(SourceFormat::Avif),
        b"avis" => Kind::Foreign("it is an animated AVIF; save it as animated WebP, PNG or GIF"),
        b"mif1" | b"miaf" if first_of(&[b"avif"]) => Kind::Image(SourceFormat::Avif),
        _ if STILL_HEIC.contains(&major) => Kind::Image(SourceFormat::Heic),
        b"mif1" | b"miaf" if first_of(&STILL_HEIC) => Kind::Image(SourceFormat::Heic),
        b"hevc" | b"hevx" | b"msf1" => {
            Kind::Foreign("it is a HEIC with a sequence of pictures; save the one you want as JPEG or PNG")
        }
        b"mif1" | b"miaf" => Kind::Foreign("it is a HEIF of an unknown coding; save it as JPEG or PNG"),
        b"crx " => Kind::Foreign(RAW),
        _ => Kind::Foreign("it is a video; extract its frames as PNG"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_begins_like_a_bmp_is_no_image() {
        assert_eq!(sniff(b"BMW is a maker of cars and other things"), Kind::Unknown);
        assert_eq!(sniff(b""), Kind::Unknown);
        assert_eq!(sniff(b"hello, world"), Kind::Unknown);
    }

    #[test]
    fn a_container_is_known_by_any_of_its_brands() {
        for (head, format) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1"[..], SourceFormat::Heic),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", SourceFormat::Heic),
            (b"\0\0\0\x18ftypavif\0\0\0\0mif1", SourceFormat::Avif),
            (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", SourceFormat::Avif),
            (b"\xff\x0a\xfa", SourceFormat::Jxl),
            (JXL_BOX, SourceFormat::Jxl),
        ] {
            assert_eq!(sniff(head), Kind::Image(format));
        }
    }

    #[test]
    fn known_kinds_that_are_not_processed_are_named() {
        for (head, word) in [
            (&b"\0\0\0\x18ftypavis\0\0\0\0avif"[..], "animated AVIF"),
            (b"\0\0\0\x18ftyphevc", "HEIC"),
            (b"\0\0\0\x18ftypmp42", "video"),
            (b"\0\0\0\x18ftypcrx ", "raw"),
            (b"8BPS\0\x01", "Photoshop"),
            (b"%PDF-1.7", "PDF"),
            (b"II\x2a\0\x10\0\0\0CR\x02\0", "raw"),
        ] {
            let Kind::Foreign(text) = sniff(head) else {
                panic!("{head:?} is not recognised")
            };
            assert!(text.contains(word), "{text}");
        }
    }
}
