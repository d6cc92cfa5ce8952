//! Owns what is known of EXIF without changing it: where it begins, how the picture is turned, which tags describe a
//! picture and which a file.

use image::metadata::Orientation;

/// Stands before the TIFF structure in JPEG, and by mistake in some PNG and WebP files.
const JPEG_PREFIX: &[u8] = b"Exif\0\0";

/// EXIF from the byte-order mark on; `None` if there is none.
pub(super) fn tiff_structure(mut exif: Vec<u8>) -> Option<Vec<u8>> {
    if exif.starts_with(JPEG_PREFIX) {
        exif.drain(..JPEG_PREFIX.len());
    }
    (exif.starts_with(b"II\x2a\0") || exif.starts_with(b"MM\0\x2a")).then_some(exif)
}

/// The orientation, 1..=8, where there is a valid one.
pub(super) fn orientation(exif: &[u8]) -> Option<u8> {
    Orientation::from_exif_chunk(exif).map(Orientation::to_exif)
}

/// Whether a tag of the primary directory describes the picture. The others say how a TIFF's samples lie.
pub(super) fn is_of_a_picture(tag: u16) -> bool {
    // Names, texts, camera, orientation, resolution, program, times, people, rating, Windows' own texts.
    matches!(
        tag,
        269..=272 | 274 | 282 | 283 | 285 | 296 | 305 | 306 | 315 | 316 | 33_432
    ) || matches!(tag, 18_246 | 18_249 | 40_091..=40_095)
}

/// Whether a MakerNote counts its offsets from itself and says in which byte order it is, so that it may lie
/// anywhere.
pub(super) fn knows_its_order(note: &[u8]) -> bool {
    const MAKERS: [&[u8]; 6] = [
        b"Apple iOS\0",
        b"Nikon\0\x02",
        b"FUJIFILM",
        b"OLYMPUS\0",
        b"OM SYSTEM\0",
        b"PENTAX \0",
    ];
    MAKERS.iter().any(|maker| note.starts_with(maker))
}
