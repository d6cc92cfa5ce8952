//! That all pages of a document are read, one after the other, and nothing that is no page.

use super::tiff_file::TiffFile;
use super::*;
use crate::codec::{Channels, Sequence};
use crate::size::Size;

/// All rows of all pages.
fn read_pages(path: &Path) -> Vec<Vec<u8>> {
    let header = header(path);
    let mut rows = open(path, &header, &DecodeLimits::default()).unwrap();
    let pages = (0..header.sequence.pictures()).map(|index| {
        let page = header.page(index);
        let size = page.upright();
        let mut pixels = vec![0; page.layout.row_bytes(size.width) * size.height as usize];
        for row in pixels.chunks_exact_mut(page.layout.row_bytes(size.width)) {
            rows.read_row(row).unwrap();
        }
        pixels
    });
    let pages: Vec<_> = pages.collect();
    let last = header.page(header.sequence.pictures() - 1);
    let mut row = vec![0; last.layout.row_bytes(last.upright().width)];
    assert!(
        rows.read_row(&mut row).is_err(),
        "there is more than the header says"
    );
    pages
}

#[test]
fn pages_come_one_after_the_other_each_as_it_is() {
    let folder = Folder::new();
    let grey = TiffFile::new(2, 3, 1, 8);
    let turned = TiffFile {
        tags: &[(274, &[6])],
        ..TiffFile::new(2, 1, 3, 8)
    };
    let deep = TiffFile {
        deflate: true,
        strip: 1,
        ..TiffFile::new(1, 2, 3, 16)
    };
    let bytes = TiffFile::document(&[
        (grey, &[1, 2, 3, 4, 5, 6]),
        (turned, &[10, 20, 30, 40, 50, 60]),
        (deep, &[7; 12]),
    ]);
    let path = folder.file("a.tif", &bytes);
    let header = header(&path);
    assert_eq!(header.stored, Size::new(2, 3));
    assert_eq!(header.sequence.pictures(), 3);
    let Sequence::Pages(pages) = &header.sequence else {
        panic!("{:?}", header.sequence)
    };
    assert_eq!((pages[0].orientation, pages[0].upright()), (6, Size::new(1, 2)));
    assert_eq!(pages[0].layout.channels, Channels::Rgb);
    let rows = read_pages(&path);
    assert_eq!(rows[0], [1, 2, 3, 4, 5, 6]);
    assert_eq!(rows[1], [10, 20, 30, 40, 50, 60]);
    assert_eq!(rows[2], [7; 12]);
}

#[test]
fn smaller_versions_and_masks_are_no_pages_wherever_they_are() {
    let folder = Folder::new();
    let page = TiffFile::new(2, 1, 1, 8);
    let thumbnail = TiffFile {
        tags: &[(254, &[1])],
        ..TiffFile::new(1, 1, 1, 8)
    };
    let mask = TiffFile {
        tags: &[(254, &[4]), (262, &[4])],
        ..TiffFile::new(2, 1, 1, 8)
    };
    for pages in [
        &[(page, &[5, 6][..]), (thumbnail, &[1]), (mask, &[2, 2])][..],
        &[(thumbnail, &[1]), (page, &[5, 6])],
        &[(page, &[5, 6])],
    ] {
        let path = folder.file("a.tif", &TiffFile::document(pages));
        assert_eq!(header(&path).sequence, Sequence::Single);
        assert_eq!(read_pages(&path), [[5, 6]]);
    }
}

#[test]
fn too_many_pages_too_many_pixels_and_a_page_that_cannot_be_read_are_told() {
    let folder = Folder::new();
    let page = TiffFile::new(10, 10, 1, 8);
    let odd = TiffFile {
        tags: &[(339, &[2])],
        ..page
    };
    let pixels = &[0; 100][..];
    let path = folder.file("a.tif", &TiffFile::document(&[(page, pixels); 3]));
    let refusal = |limits: DecodeLimits| message(probe(&path, &limits).unwrap_err());
    let text = refusal(DecodeLimits {
        frames: 2,
        ..DecodeLimits::default()
    });
    assert!(text.contains("3 pages") && text.contains("at most 2"), "{text}");
    let text = refusal(DecodeLimits {
        sequence_pixels: 299,
        ..DecodeLimits::default()
    });
    assert!(text.contains("3 pages"), "{text}");
    let path = folder.file("b.tif", &TiffFile::document(&[(page, pixels), (odd, pixels)]));
    let text = message(probe(&path, &DecodeLimits::default()).unwrap_err());
    assert!(text.contains("page 2") && text.contains("signed"), "{text}");
}

#[test]
fn a_document_of_many_pages_needs_no_more_open_files_than_one() {
    let folder = Folder::new();
    let pages = vec![(TiffFile::new(2, 1, 1, 8), &[1, 2][..]); 1500];
    let path = folder.file("a.tif", &TiffFile::document(&pages));
    let header = header(&path);
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let rows = open(&path, &header, &DecodeLimits::default()).unwrap();
    // Other tests open some too.
    assert!(open_files() < before + 500);
    drop(rows);
    assert_eq!(read_pages(&path).len(), 1500);
}

#[test]
fn a_document_holds_one_page_at_a_time() {
    let folder = Folder::new();
    let page = TiffFile {
        deflate: true,
        ..TiffFile::new(500, 400, 1, 8)
    };
    let pixels = vec![9; 500 * 400];
    let one = header(&folder.file("a.tif", &page.bytes(&pixels))).decode_bytes;
    let pages = vec![(page, &pixels[..]); 5];
    let five = header(&folder.file("b.tif", &TiffFile::document(&pages))).decode_bytes;
    assert_eq!(one, five);
}
