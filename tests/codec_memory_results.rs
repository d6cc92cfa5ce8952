//! Protects the promise of `[memory] host` for results that are not written row by row, or by a C library:
//! `codec::encode_bytes` is what their encoders hold at most, of noise, which costs most.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use upscaled::codec::{self, Channels, Depth, Page, ResultFormat, Sequence, SinkSpec};
use upscaled::config::{JpegChroma, TiffCompression};

#[path = "support/held.rs"]
mod held;

#[path = "support/feed.rs"]
mod feed;

use feed::{Rows, frames, layout, spec};
use held::{SMALL_CHANGE, alone, peak};

/// That writing it holds no more than was promised, and of what costs most not less than `share` hundredths of it.
fn assert_written(name: &str, spec: &SinkSpec, is_noise: bool, share: u64) {
    let mut rows = Rows::new(spec.size.width, spec.layout, is_noise);
    let file = tempfile::tempfile().unwrap();
    let (held, encoded) = peak(|| codec::encode(spec, &mut rows, file));
    let bytes = encoded.unwrap().bytes;
    let promised = codec::encode_bytes(spec);
    println!(
        "{name}: {held} of {promised} ({}%), file {bytes}",
        held * 100 / promised
    );
    assert!(
        held <= promised + SMALL_CHANGE,
        "{name}: held {held} of {promised}"
    );
    assert!(
        !is_noise || held * 100 >= promised * share,
        "{name}: {held} of {promised} is little"
    );
}

const RGB: Channels = Channels::Rgb;
const RGBA: Channels = Channels::Rgba;

#[test]
fn a_jpeg_xl_is_held_whole_with_what_becomes_of_it() {
    let _alone = alone();
    for (name, channels, depth) in [
        ("rgb", RGB, Depth::Eight),
        ("rgba", RGBA, Depth::Eight),
        ("grey", Channels::Grey, Depth::Eight),
        ("rgb of 16 bits", RGB, Depth::Sixteen),
        ("grey of 16 bits", Channels::Grey, Depth::Sixteen),
    ] {
        for is_noise in [true, false] {
            let spec = spec(ResultFormat::Jxl, layout(channels, depth), (1500, 1000));
            assert_written(name, &spec, is_noise, 60);
        }
    }
}

#[test]
fn a_progressive_jpeg_is_held_with_its_coefficients_and_a_baseline_one_by_the_block() {
    let _alone = alone();
    for (name, channels, chroma) in [
        ("4:4:4", RGB, JpegChroma::Full),
        ("4:2:0", RGB, JpegChroma::Quarter),
        ("grey", Channels::Grey, JpegChroma::Full),
    ] {
        for (is_progressive, is_noise) in [(true, true), (true, false), (false, true)] {
            let mut spec = spec(ResultFormat::Jpeg, layout(channels, Depth::Eight), (1500, 1000));
            spec.settings.jpeg_chroma = chroma;
            spec.settings.jpeg_progressive = is_progressive;
            let share = if is_progressive { 60 } else { 0 };
            assert_written(
                &format!("{name}, progressive {is_progressive}"),
                &spec,
                is_noise,
                share,
            );
        }
    }
}

#[test]
fn a_gif_holds_three_frames_and_one_being_coded() {
    let _alone = alone();
    for (name, channels) in [("rgb", RGB), ("rgba", RGBA)] {
        for (count, is_noise) in [(1, true), (4, true), (4, false)] {
            let mut spec = spec(ResultFormat::Gif, layout(channels, Depth::Eight), (1200, 900));
            spec.sequence = frames(count);
            assert_written(name, &spec, is_noise, 60);
        }
    }
}

#[test]
fn an_animated_png_holds_two_frames_and_what_becomes_of_one() {
    let _alone = alone();
    for (name, channels, depth) in [
        ("rgb", RGB, Depth::Eight),
        ("rgba of 16 bits", RGBA, Depth::Sixteen),
        ("grey", Channels::Grey, Depth::Eight),
    ] {
        for is_noise in [true, false] {
            let mut spec = spec(ResultFormat::Png, layout(channels, depth), (1200, 900));
            spec.sequence = frames(4);
            assert_written(name, &spec, is_noise, 60);
        }
    }
}

/// Cells are coded side by side, each by a thread that holds what it makes of it until it is whole.
#[test]
fn an_avif_holds_a_row_of_cells_and_what_is_made_of_those_in_work() {
    let _alone = alone();
    for (name, channels, depth, quality) in [
        ("rgb, quality 50", RGB, Depth::Eight, 50),
        ("rgb, quality 80", RGB, Depth::Eight, 80),
        ("rgb, quality 92", RGB, Depth::Eight, 92),
        ("rgb, quality 97", RGB, Depth::Eight, 97),
        ("rgb, quality 100", RGB, Depth::Eight, 100),
        ("rgba, quality 92", RGBA, Depth::Eight, 92),
        ("grey, quality 92", Channels::Grey, Depth::Eight, 92),
        ("rgb of 16 bits, quality 92", RGB, Depth::Sixteen, 92),
    ] {
        let mut spec = spec(ResultFormat::Avif, layout(channels, depth), (400, 400));
        spec.quality = quality;
        assert_written(name, &spec, true, 25);
    }
    // Several cells, of which as many are in work as there are cores.
    let spec = spec(ResultFormat::Avif, layout(RGB, Depth::Eight), (1100, 520));
    assert_written("cells", &spec, true, 15);
}

#[test]
fn a_webp_holds_the_picture_and_what_libwebp_makes_of_it() {
    let _alone = alone();
    for (name, channels, quality, size) in [
        ("lossy", RGB, 92, (1600, 1200)),
        ("lossy with alpha", RGBA, 92, (1600, 1200)),
        ("lossless", RGB, 100, (1600, 1200)),
        ("lossless with alpha", RGBA, 100, (1600, 1200)),
        ("small and lossless", RGBA, 100, (200, 150)),
    ] {
        for (count, is_noise) in [(1, true), (1, false), (3, true)] {
            let mut spec = spec(ResultFormat::Webp, layout(channels, Depth::Eight), size);
            spec.quality = quality;
            spec.sequence = if count == 1 {
                Sequence::Single
            } else {
                frames(count)
            };
            // The tables that a small one does not need are for the sizes between.
            let share = if size.0 < 1000 { 5 } else { 50 };
            assert_written(&format!("{name}, {count}"), &spec, is_noise, share);
        }
    }
}

#[test]
fn pages_of_a_tiff_are_written_by_the_strip() {
    let _alone = alone();
    for (compression, channels, depth) in [
        (TiffCompression::Auto, RGB, Depth::Eight),
        (TiffCompression::Deflate, RGB, Depth::Eight),
        (TiffCompression::None, RGB, Depth::Eight),
        (TiffCompression::Auto, RGBA, Depth::Sixteen),
        (TiffCompression::Lzw, RGBA, Depth::Sixteen),
    ] {
        let mut promised = Vec::new();
        for pages in [2, 12] {
            let layout = layout(channels, depth);
            let mut spec = spec(ResultFormat::Tiff, layout, (4000, 400));
            spec.settings.tiff_compression = compression;
            let page = Page {
                size: spec.size,
                layout,
                orientation: 1,
                icc: None,
                density: None,
            };
            spec.sequence = Sequence::Pages(vec![page; pages - 1]);
            assert_written(&format!("{compression:?} {depth:?}, {pages}"), &spec, true, 30);
            promised.push(codec::encode_bytes(&spec));
        }
        assert_eq!(promised[0], promised[1], "grows with the pages");
    }
}
