//! Owns the look for a video that belongs to a still: a Live Photo's, beside it. Never reads the video.

use std::path::Path;

/// How Apple's MakerNote begins; its directory follows, in its own byte order, which is always this.
const APPLE: &[u8] = b"Apple iOS\0\0\x01MM";

/// Joins a still and a video.
const CONTENT_IDENTIFIER: [u8; 2] = [0x00, 0x11];

/// What is said of a still whose Live Photo's video lies beside it.
pub(super) fn live_photo(path: &Path, exif: &[u8]) -> Option<String> {
    if !is_of_a_live_photo(exif) {
        return None;
    }
    let video = ["MOV", "mov"].map(|extension| path.with_extension(extension));
    let video = video.iter().find(|video| video.is_file())?;
    let name = video.file_name()?.to_string_lossy();
    Some(crate::error::one_line(&format!(
        "Live Photo: its video, {name}, was not carried; the still was upscaled"
    )))
}

fn is_of_a_live_photo(exif: &[u8]) -> bool {
    let Some(at) = exif.windows(APPLE.len()).position(|window| window == APPLE) else {
        return false;
    };
    let directory = &exif[at + APPLE.len()..];
    let Some((count, entries)) = directory.split_first_chunk::<2>() else {
        return false;
    };
    let entries = entries.chunks_exact(12).take(u16::from_be_bytes(*count).into());
    entries
        .into_iter()
        .any(|entry| entry.starts_with(&CONTENT_IDENTIFIER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_photo_needs_both_the_identifier_and_the_video() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("IMG_1.JPG");
        let mut exif = b"MM\0\x2a....".to_vec();
        exif.extend(APPLE);
        exif.extend([0, 1]);
        let without = exif.clone();
        exif.extend([0, 0x11, 0, 2, 0, 0, 0, 37, 0, 0, 0, 90]);
        assert_eq!(live_photo(&path, &exif), None);
        std::fs::write(folder.path().join("IMG_1.MOV"), "").unwrap();
        assert!(live_photo(&path, &exif).unwrap().contains("IMG_1.MOV"));
        assert_eq!(live_photo(&path, &without), None);
        assert_eq!(live_photo(&path, b"II"), None);
    }
}
