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
        Kind::Foreign("it is a camera raw file; develop it and save it as TIFF or JPEG")
    } else if at(0, b"II\x2a\0") || at(0, b"MM\0\x2a") || at(0, b"II\x2b\0") || at(0, b"MM\0\x2b") {
        Kind::Image(SourceFormat::Tiff)
    } else if is_bmp(head) {
        Kind::Image(SourceFormat::Bmp)
    } else {
        foreign(head).map_or(Kind::Unknown, Kind::Foreign)
    }
}

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
    const JXL_BOX: &[u8] = b"\0\0\0\x0cJXL \r\n\x87\n";
    const JP2_BOX: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";
    if head.get(4..8) == Some(b"ftyp") {
        return Some(iso_media(head.get(8..12).unwrap_or_default()));
    }
    let begins = |magic: &[u8]| head.starts_with(magic);
    Some(if begins(b"GIF87a") || begins(b"GIF89a") {
        "it is a GIF; save the picture as PNG"
    } else if begins(&[0xFF, 0x0A]) || begins(JXL_BOX) {
        "it is a JPEG XL; save it as PNG or JPEG"
    } else if begins(JP2_BOX) || begins(&[0xFF, 0x4F, 0xFF, 0x51]) {
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

/// Containers of the ISO family tell their content in a brand.
fn iso_media(brand: &[u8]) -> &'static str {
    match brand {
        b"avif" | b"avis" => "it is an AVIF; save it as PNG or JPEG",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            "it is a HEIC; save it as JPEG or PNG"
        }
        b"crx " => "it is a camera raw file; develop it and save it as TIFF or JPEG",
        _ => "it is a video; extract its frames as PNG",
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
    fn known_kinds_that_are_not_processed_are_named() {
        for (head, word) in [
            (&b"GIF89a\x01\0\x01\0"[..], "GIF"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypmp42", "video"),
            (b"\xff\x0a\xfa", "JPEG XL"),
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
