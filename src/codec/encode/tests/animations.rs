//! Protects animations on their way out: every frame, how long and how often it is shown, as other decoders see it.

use std::io::Cursor;
use std::time::Duration;

use image::AnimationDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;

use super::*;
use crate::codec::sequence::{Animation, Delay};

const SIZE: Size = Size {
    width: 61,
    height: 43,
};

fn rgba8() -> PixelLayout {
    PixelLayout {
        channels: Channels::Rgba,
        depth: Depth::Eight,
    }
}

/// What animations are made of: a dot that wanders, a frame like the one before, a hole that opens and closes, all new.
fn frames() -> Vec<Vec<u8>> {
    let ground: Vec<u8> = (0..SIZE.height)
        .flat_map(|y| (0..SIZE.width).flat_map(move |x| [(x / 8 * 16) as u8, (y / 8 * 16) as u8, 90, 255]))
        .collect();
    let with = |x: u32, y: u32, pixel: [u8; 4]| {
        let mut frame = ground.clone();
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let at = ((y + dy) * SIZE.width + x + dx) as usize * 4;
            frame[at..at + 4].copy_from_slice(&pixel);
        }
        frame
    };
    let white = [255; 4];
    vec![
        ground.clone(),
        with(3, 5, white),
        with(17, 11, white),
        with(17, 11, white),
        with(20, 20, [0; 4]),
        ground.clone(),
        with(59, 41, white),
        ground
            .iter()
            .map(|sample| sample ^ 0x10 | (u8::from(*sample == 255) * 0xff))
            .collect(),
    ]
}

fn animation(loops: u32) -> Animation {
    Animation {
        loops,
        delays: [
            (1, 30),
            (1, 30),
            (1, 30),
            (7, 100),
            (0, 1),
            (70, 1),
            (1, 3),
            (40, 1000),
        ]
        .into_iter()
        .map(|(numerator, denominator)| Delay {
            numerator,
            denominator,
        })
        .collect(),
    }
}

fn animated(format: ResultFormat, loops: u32) -> SinkSpec {
    let mut spec = spec(format, rgba8(), SIZE);
    spec.sequence = Sequence::Animation(animation(loops));
    spec
}

fn file(spec: &SinkSpec, frames: &[Vec<u8>]) -> (Vec<u8>, Encoded) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let mut feed = Pictures::new(spec, frames);
    let encoded = encode(spec, &mut feed, File::create(&path).unwrap()).unwrap();
    crate::codec::verify(&path, spec.size, frames.len() as u64, spec.format).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, encoded.bytes);
    (bytes, encoded)
}

/// Frames as they are shown, and thousandths of a second.
fn shown<'a>(decoder: impl AnimationDecoder<'a>) -> Vec<(Vec<u8>, f64)> {
    let frames = decoder.into_frames().collect_frames().unwrap();
    frames
        .into_iter()
        .map(|frame| {
            let delay = Duration::from(frame.delay());
            (frame.into_buffer().into_raw(), delay.as_secs_f64() * 1000.0)
        })
        .collect()
}

/// Transparent pixels have no colour that is seen.
fn seen(frame: &[u8]) -> Vec<u8> {
    frame
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|pixel| if pixel[3] == 0 { [0; 4] } else { *pixel })
        .collect()
}

fn assert_frames(got: &[(Vec<u8>, f64)], wanted_ms: &[f64]) {
    let frames = frames();
    assert_eq!(got.len(), frames.len());
    for (index, ((pixels, delay_ms), frame)) in got.iter().zip(&frames).enumerate() {
        assert!(seen(pixels) == seen(frame), "frame {index}");
        assert!(
            (delay_ms - wanted_ms[index]).abs() < 0.01,
            "frame {index}: {delay_ms} ms"
        );
    }
}

#[test]
fn an_animated_png_shows_every_frame_as_long_as_the_source() {
    let (bytes, _) = file(&animated(ResultFormat::Png, 3), &frames());
    let decoder = PngDecoder::new(Cursor::new(&bytes)).unwrap().apng().unwrap();
    let third = 1000.0 / 30.0;
    assert_frames(
        &shown(decoder),
        &[third, third, third, 70.0, 0.0, 70_000.0, 1000.0 / 3.0, 40.0],
    );
    let info = ::png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
    assert_eq!(info.info().animation_control().unwrap().num_plays, 3);
}

#[test]
fn an_animated_png_of_sixteen_bits_keeps_them() {
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Sixteen,
    };
    let mut spec = spec(ResultFormat::Png, layout, SIZE);
    let delays = animation(0).delays[..3].to_vec();
    spec.sequence = Sequence::Animation(Animation { loops: 0, delays });
    let first = pixels(layout, SIZE, 1);
    let mut second = first.clone();
    second[1000..1200].fill(7);
    let (bytes, _) = file(&spec, &[first.clone(), second.clone(), second]);
    let mut reader = ::png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
    let mut frame = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut frame).unwrap();
    for sample in frame.as_chunks_mut::<2>().0 {
        *sample = u16::from_be_bytes(*sample).to_ne_bytes();
    }
    assert!(frame == first);
    reader.next_frame_info().unwrap();
    let next = reader.info().frame_control().unwrap();
    assert!(next.height < SIZE.height, "only what changed is written");
}

#[test]
fn an_animated_webp_shows_every_frame_as_long_as_the_source() {
    let mut spec = animated(ResultFormat::Webp, 2);
    spec.metadata = metadata();
    spec.metadata.xmp = Some(b"<x:xmpmeta/>".to_vec());
    let (bytes, _) = file(&spec, &frames());
    let decoder = WebPDecoder::new(Cursor::new(&bytes)).unwrap();
    // Thousandths; what rounding took from the first goes to the second.
    assert_frames(
        &shown(decoder),
        &[33.0, 34.0, 33.0, 70.0, 0.0, 70_000.0, 333.0, 40.0],
    );
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(
        decoder.loop_count(),
        image_webp::LoopCount::Times(2.try_into().unwrap())
    );
    assert!(decoder.icc_profile().unwrap() == spec.metadata.icc);
    assert!(decoder.exif_metadata().unwrap() == spec.metadata.exif);
    assert!(decoder.xmp_metadata().unwrap() == spec.metadata.xmp);
}

#[test]
fn a_lossy_webp_animation_stays_close_to_its_frames() {
    let layout = PixelLayout {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };
    let mut spec = spec(ResultFormat::Webp, layout, SIZE);
    spec.quality = 90;
    spec.sequence = Sequence::Animation(animation(0));
    let opaque: Vec<Vec<u8>> = frames()
        .iter()
        .map(|frame| {
            frame
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(|p| [p[0], p[1], p[2]])
                .collect()
        })
        .collect();
    let (bytes, _) = file(&spec, &opaque);
    let got = shown(WebPDecoder::new(Cursor::new(&bytes)).unwrap());
    for ((pixels, _), frame) in got.iter().zip(&opaque) {
        let pixels: Vec<u8> = pixels
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|p| [p[0], p[1], p[2]])
            .collect();
        let psnr = peak_signal_to_noise_db(frame, &pixels);
        assert!(psnr > 24.0, "{psnr:.1} dB");
    }
}

/// What a viewer shows of a GIF, by the rules of its specification; with hundredths of a second.
fn shown_gif(bytes: &[u8]) -> (Vec<(Vec<u8>, f64)>, ::gif::Repeat) {
    let mut options = ::gif::DecodeOptions::new();
    options.set_color_output(::gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(Cursor::new(bytes)).unwrap();
    let mut canvas = vec![0; (SIZE.width * SIZE.height * 4) as usize];
    let mut shown = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let place = |x: usize, y: usize| {
            ((y + usize::from(frame.top)) * SIZE.width as usize + x + usize::from(frame.left)) * 4
        };
        let (width, height) = (usize::from(frame.width), usize::from(frame.height));
        let spots = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        for ((x, y), pixel) in spots.clone().zip(frame.buffer.as_chunks::<4>().0) {
            if pixel[3] > 0 {
                canvas[place(x, y)..place(x, y) + 4].copy_from_slice(pixel);
            }
        }
        shown.push((canvas.clone(), f64::from(frame.delay) * 10.0));
        if frame.dispose == ::gif::DisposalMethod::Background {
            for (x, y) in spots {
                canvas[place(x, y)..place(x, y) + 4].fill(0);
            }
        }
    }
    (shown, decoder.repeat())
}

#[test]
fn a_gif_shows_every_frame_with_few_colours_exactly() {
    for (loops, repeat) in [
        (0, ::gif::Repeat::Infinite),
        (1, ::gif::Repeat::Finite(0)),
        (4, ::gif::Repeat::Finite(3)),
    ] {
        let (bytes, encoded) = file(&animated(ResultFormat::Gif, loops), &frames());
        assert_eq!(encoded.warnings, Vec::<String>::new());
        let (shown, repeats) = shown_gif(&bytes);
        assert_eq!(repeats, repeat);
        assert_frames(&shown, &[30.0, 40.0, 30.0, 70.0, 0.0, 70_000.0, 330.0, 40.0]);
    }
}

#[test]
fn a_gif_of_many_colours_is_close_and_says_what_was_lost() {
    let mut spec = animated(ResultFormat::Gif, 0);
    spec.metadata = metadata();
    spec.metadata.xmp = Some(b"<x:xmpmeta/>".to_vec());
    let frames: Vec<Vec<u8>> = (0..8)
        .map(|frame| {
            (0..SIZE.height)
                .flat_map(|y| {
                    (0..SIZE.width).flat_map(move |x| {
                        [
                            (x * 4) as u8,
                            (y * 5) as u8,
                            (x + y + frame) as u8,
                            if x < 9 { 100 } else { 255 },
                        ]
                    })
                })
                .collect()
        })
        .collect();
    let (bytes, encoded) = file(&spec, &frames);
    assert_eq!(encoded.warnings.len(), 4, "{:?}", encoded.warnings);
    let (shown, _) = shown_gif(&bytes);
    for ((pixels, _), frame) in shown.iter().zip(&frames) {
        let both = || pixels.as_chunks::<4>().0.iter().zip(frame.as_chunks::<4>().0);
        assert!(both().all(|(got, wanted)| got[3] == if wanted[3] == 100 { 0 } else { 255 }));
        let colours = |pixel: &[u8; 4]| [pixel[0], pixel[1], pixel[2]];
        let (got, wanted): (Vec<_>, Vec<_>) = both()
            .filter(|(_, wanted)| wanted[3] == 255)
            .map(|(got, wanted)| (colours(got), colours(wanted)))
            .unzip();
        let psnr = peak_signal_to_noise_db(wanted.as_flattened(), got.as_flattened());
        assert!(psnr > 24.0, "{psnr:.1} dB");
    }
    assert!(
        bytes
            .windows(23)
            .any(|window| window == b"XMP DataXMP<x:xmpmeta/>")
    );
}

#[test]
fn a_still_picture_fits_into_gif_too() {
    let spec = spec(ResultFormat::Gif, rgba8(), SIZE);
    let (bytes, _) = file(&spec, &frames()[1..2]);
    let (shown, repeats) = shown_gif(&bytes);
    assert_eq!((shown.len(), repeats), (1, ::gif::Repeat::Finite(0)));
    assert!(seen(&shown[0].0) == seen(&frames()[1]));
}

#[test]
fn frames_that_stop_coming_end_the_file_with_that_word() {
    for format in [ResultFormat::Png, ResultFormat::Webp, ResultFormat::Gif] {
        let spec = animated(format, 0);
        let mut feed = Pictures::new(&spec, &frames()[..3]);
        let outcome = encode(&spec, &mut feed, tempfile::tempfile().unwrap());
        assert!(
            matches!(outcome, Err(CodecError::FeedStopped)),
            "{format:?}: {outcome:?}"
        );
    }
}
