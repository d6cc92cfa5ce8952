use super::*;

#[test]
fn a_feed_that_stops_early_is_told_as_such_by_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    for (format, layout) in all_formats() {
        let size = Size::new(400, 300);
        let spec = spec(format, layout, size);
        for given in [0, 1, 8, 149, 299] {
            let mut rows = pixels(layout, size, 1);
            rows.truncate(given * layout.row_bytes(size.width));
            let outcome = write(&spec, rows, &[16], &path);
            assert!(
                matches!(outcome, Err(CodecError::FeedStopped)),
                "{format:?} {given}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_full_disk_is_told_in_the_words_of_the_kernel_by_every_format() {
    for (format, layout) in all_formats() {
        // Small: fails when flushed. Large: fails within the encoder.
        for size in [Size::new(3, 2), Size::new(700, 900)] {
            let spec = spec(format, layout, size);
            let full = File::options().read(true).write(true).open("/dev/full").unwrap();
            let mut feed = Chunks::new(&spec, noise(layout, size), &[64]);
            match encode(&spec, &mut feed, full) {
                Err(CodecError::Output(error)) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{format:?} {size}");
                }
                other => panic!("{format:?} {size}: {other:?}"),
            }
        }
    }
}

#[test]
#[should_panic(expected = "I6")]
fn more_rows_than_the_picture_has_are_a_bug_and_no_picture() {
    let layout = PixelLayout {
        channels: Channels::Grey,
        depth: Depth::Eight,
    };
    let spec = spec(ResultFormat::Png, layout, Size::new(5, 4));
    let _ = write(
        &spec,
        vec![0; 25],
        &[3, 2],
        &tempfile::tempdir().unwrap().path().join("result"),
    );
}

#[test]
#[should_panic(expected = "I6")]
fn a_torn_row_is_a_bug_and_no_picture() {
    let layout = PixelLayout {
        channels: Channels::Grey,
        depth: Depth::Eight,
    };
    let spec = spec(ResultFormat::Jpeg, layout, Size::new(5, 4));
    let _ = write(
        &spec,
        vec![0; 18],
        &[4],
        &tempfile::tempdir().unwrap().path().join("result"),
    );
}

#[test]
fn a_size_or_layout_that_the_format_cannot_hold_is_refused_in_words() {
    let eight = |channels| PixelLayout {
        channels,
        depth: Depth::Eight,
    };
    let rgb = eight(Channels::Rgb);
    let deep = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Sixteen,
    };
    let small = Size::new(5, 4);
    for (format, layout, size) in [
        (ResultFormat::Jpeg, rgb, Size::new(65_536, 1)),
        (ResultFormat::Webp, rgb, Size::new(1, 16_384)),
        (ResultFormat::Png, rgb, Size::new(0, 1)),
        (ResultFormat::Tiff, rgb, Size::new(1, 0)),
        (ResultFormat::Jpeg, eight(Channels::Rgba), small),
        (ResultFormat::Jpeg, deep, small),
        (ResultFormat::Webp, deep, small),
        (ResultFormat::Webp, eight(Channels::Grey), small),
    ] {
        let spec = spec(format, layout, size);
        let outcome = write(
            &spec,
            Vec::new(),
            &[1],
            &tempfile::tempdir().unwrap().path().join("result"),
        );
        assert!(
            matches!(outcome, Err(CodecError::Encode { .. })),
            "{format:?} {size}: {outcome:?}"
        );
    }
    assert_eq!(side_limit(ResultFormat::Jpeg), 65_535);
}
