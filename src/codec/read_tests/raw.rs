//! That camera raw files are not taken for the thumbnails in them, nor scans for raw files.

use super::*;

/// Value of a directory's entry: tag, kind, and numbers that fit into it.
type Entry = (u16, u16, u32);

const SHORT: u16 = 3;
const LONG: u16 = 4;
const TEXT: u16 = 2;

/// A TIFF of one grey pixel, with more entries, and a directory below it where there is one.
fn tiff(more: &[Entry], below: &[Entry]) -> Vec<u8> {
    let mut file = b"II\x2a\0\x0c\0\0\0\x80\0\0\0".to_vec();
    let mut first = vec![
        (256, SHORT, 1),
        (257, SHORT, 1),
        (258, SHORT, 8),
        (259, SHORT, 1),
        (262, SHORT, 1),
        (273, LONG, 8),
        (277, SHORT, 1),
        (278, SHORT, 1),
        (279, LONG, 1),
    ];
    first.retain(|(tag, ..)| more.iter().all(|(other, ..)| other != tag));
    first.extend_from_slice(more);
    first.sort_by_key(|(tag, ..)| *tag);
    let below_at = 12 + 2 + (first.len() as u32 + 1) * 12 + 4;
    if !below.is_empty() {
        first.push((330, LONG, below_at));
        first.sort_by_key(|(tag, ..)| *tag);
    }
    for (at, entries) in [(12, &first[..]), (below_at as usize, below)] {
        if entries.is_empty() {
            continue;
        }
        file.resize(at, 0);
        file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&kind.to_le_bytes());
            file.extend_from_slice(&1u32.to_le_bytes());
            file.extend_from_slice(&value.to_le_bytes());
        }
        file.extend_from_slice(&[0; 4]);
    }
    file
}

#[test]
fn raw_files_that_look_like_tiffs_are_refused_with_what_to_do() {
    let folder = Folder::new();
    let make = (271, TEXT, u32::from(b'N'));
    for (name, bytes) in [
        ("a.dng", tiff(&[(50_706, 1, 0x0401)], &[])),
        (
            "a.nef",
            tiff(
                &[make, (254, LONG, 1)],
                &[(259, SHORT, 34_713), (262, SHORT, 32_803)],
            ),
        ),
        (
            "a.arw",
            tiff(&[make], &[(259, SHORT, 32_767), (262, SHORT, 32_803)]),
        ),
        (
            "a.pef",
            tiff(&[make, (259, SHORT, 65_535), (262, SHORT, 32_803)], &[]),
        ),
        ("a.3fr", tiff(&[make, (33_422, 1, 0)], &[])),
        ("a.cr2", b"II\x2a\0\x10\0\0\0CR\x02\0\0\0\0\0".to_vec()),
        ("a.raf", b"FUJIFILMCCD-RAW 0201".to_vec()),
        ("a.orf", b"IIRO\x08\0\0\0".to_vec()),
        ("a.rw2", b"IIU\0\x18\0\0\0".to_vec()),
        ("a.x3f", b"FOVb\0\0\x02\0".to_vec()),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom".to_vec()),
    ] {
        let error = probe(&folder.file(name, &bytes), &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, CodecError::Unsupported { .. }), "{name}: {error}");
        let text = message(error);
        assert!(
            text.contains("camera raw file; develop it and save it as TIFF or JPEG"),
            "{text}"
        );
    }
}

#[test]
fn a_scan_with_a_smaller_version_below_it_is_a_picture() {
    let folder = Folder::new();
    let scan = tiff(
        &[(271, TEXT, u32::from(b'E'))],
        &[(254, LONG, 1), (259, SHORT, 1), (262, SHORT, 2)],
    );
    assert_eq!(read(&folder.file("a.tif", &scan)).unwrap(), [0x80]);
    // Nor does a directory below that is nowhere.
    let lost = tiff(&[(271, TEXT, u32::from(b'E')), (330, LONG, 9_999_999)], &[]);
    assert_eq!(read(&folder.file("b.tif", &lost)).unwrap(), [0x80]);
}
