//! Where things lie in a TIFF.

use std::fs::File;

use super::*;
use crate::codec::encode::{Output, Rows};

#[test]
fn a_picture_beyond_four_gigabytes_would_become_a_bigtiff_that_others_read() {
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Sixteen,
    };
    let mut spec = spec(ResultFormat::Tiff, layout, Size::new(300, 200));
    spec.metadata.icc = metadata().icc;
    let rows = pixels(layout, spec.size, 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let mut out = Output::new(File::create(&path).unwrap()).unwrap();
    let mut feed = Chunks::new(&spec, rows.clone(), &[33]);
    let written = crate::codec::encode::tiff::write::<::tiff::encoder::TiffKindBig>(
        &spec,
        &mut Rows::new(&spec, &mut feed),
        &mut out,
    );
    assert!(written.is_ok());
    out.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[2], 43);
    assert!(read(&path, layout).1 == rows);
    assert!(tiff_profile(&path) == spec.metadata.icc);
}

#[test]
fn everything_in_a_tiff_begins_at_an_even_offset() {
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    let mut spec = spec(ResultFormat::Tiff, layout, Size::new(401, 397));
    spec.metadata.icc = metadata().icc;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    write(&spec, pixels(layout, spec.size, 4), &[33], &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(u32::from_ne_bytes(bytes[4..8].try_into().unwrap()) % 2, 0);
    let mut decoder = ::tiff::decoder::Decoder::new(File::open(&path).unwrap()).unwrap();
    let offsets = decoder.get_tag_u64_vec(::tiff::tags::Tag::StripOffsets).unwrap();
    assert!(
        offsets.len() > 1 && offsets.iter().all(|offset| offset % 2 == 0),
        "{offsets:?}"
    );
}
