//! Owns reading EXIF as far as decoding needs it: where it begins, and how the picture is turned. Never
//! changes it.

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
