//! Animations: that each frame comes as what a viewer shows. The expected canvases are painted by a few lines of their
//! own, pixel by pixel.

use std::borrow::Cow;

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use png::{BlendOp, DisposeOp};

use super::*;
use crate::codec::{Animation, Channels, Delay, Sequence};
use crate::size::Size;

/// All frames of a file.
pub(super) fn read_frames(path: &Path) -> Result<Vec<Vec<u8>>, CodecError> {
    let limits = DecodeLimits::default();
    let header = probe(path, &limits)?;
    let mut rows = open(path, &header, &limits)?;
    let row_bytes = header.layout.row_bytes(rows.size().width);
    let mut frames = Vec::new();
    for _ in 0..header.sequence.pictures() {
        let mut frame = vec![0; row_bytes * rows.size().height as usize];
        for row in frame.chunks_exact_mut(row_bytes) {
            rows.read_row(row)?;
        }
        frames.push(frame);
    }
    let mut beyond = vec![0; row_bytes];
    assert!(
        rows.read_row(&mut beyond).is_err(),
        "no row follows the last frame"
    );
    Ok(frames)
}

fn animation(path: &Path) -> Animation {
    match header(path).sequence {
        Sequence::Animation(animation) => animation,
        other => panic!("{other:?}"),
    }
}

fn milliseconds(animation: &Animation) -> Vec<u32> {
    let each = animation.delays.iter();
    each.map(
        |Delay {
             numerator,
             denominator,
         }| numerator * 1000 / denominator,
    )
    .collect()
}

const CANVAS: (usize, usize) = (6, 5);

/// A part of a canvas in one colour; `None` is transparent.
#[derive(Clone, Copy)]
struct Patch {
    left: usize,
    top: usize,
    wide: usize,
    high: usize,
    color: Option<[u8; 3]>,
    disposal: Away,
}

#[derive(Clone, Copy, PartialEq)]
enum Away {
    Stays,
    Cleared,
    Restored,
}

/// What a viewer shows, painted pixel by pixel.
fn shown(patches: &[Patch]) -> Vec<Vec<u8>> {
    let mut canvas = vec![[0u8; 4]; CANVAS.0 * CANVAS.1];
    let mut frames = Vec::new();
    for patch in patches {
        let before = canvas.clone();
        let inside = |at: usize| {
            let (x, y) = (at % CANVAS.0, at / CANVAS.0);
            (patch.left..patch.left + patch.wide).contains(&x)
                && (patch.top..patch.top + patch.high).contains(&y)
        };
        for (at, pixel) in canvas.iter_mut().enumerate() {
            if let (true, Some([r, g, b])) = (inside(at), patch.color) {
                *pixel = [r, g, b, 255];
            }
        }
        frames.push(canvas.concat());
        for (at, pixel) in canvas.iter_mut().enumerate() {
            match patch.disposal {
                Away::Stays => {}
                Away::Cleared if inside(at) => *pixel = [0; 4],
                Away::Cleared => {}
                Away::Restored => *pixel = before[at],
            }
        }
    }
    frames
}

fn patches() -> Vec<Patch> {
    let patch = |left, top, wide, high, color, disposal| Patch {
        left,
        top,
        wide,
        high,
        color,
        disposal,
    };
    vec![
        patch(0, 0, 6, 5, Some([10, 20, 30]), Away::Stays),
        patch(1, 1, 3, 2, Some([200, 0, 0]), Away::Restored),
        patch(2, 0, 2, 5, Some([0, 200, 0]), Away::Cleared),
        patch(3, 3, 3, 2, None, Away::Stays),
        patch(5, 4, 1, 1, Some([0, 0, 200]), Away::Restored),
        patch(0, 0, 1, 1, Some([9, 9, 9]), Away::Stays),
    ]
}

/// A GIF of patches, each with a palette of its own.
fn gif_of(patches: &[Patch], canvas: (u16, u16), repeat: Option<Repeat>, delays: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, canvas.0, canvas.1, &[]).unwrap();
    if let Some(repeat) = repeat {
        encoder.set_repeat(repeat).unwrap();
    }
    for (index, patch) in patches.iter().enumerate() {
        encoder
            .write_frame(&Frame {
                left: patch.left as u16,
                top: patch.top as u16,
                width: patch.wide as u16,
                height: patch.high as u16,
                palette: Some(patch.color.unwrap_or_default().to_vec()),
                transparent: patch.color.is_none().then_some(0),
                buffer: Cow::Owned(vec![0; patch.wide * patch.high]),
                delay: delays[index % delays.len()],
                dispose: match patch.disposal {
                    Away::Stays => DisposalMethod::Keep,
                    Away::Cleared => DisposalMethod::Background,
                    Away::Restored => DisposalMethod::Previous,
                },
                ..Frame::default()
            })
            .unwrap();
    }
    drop(encoder);
    bytes
}

#[test]
fn the_frames_of_a_gif_are_what_a_viewer_shows() {
    let folder = Folder::new();
    let path = folder.file("a.gif", &gif_of(&patches(), (6, 5), Some(Repeat::Infinite), &[7]));
    assert_eq!(header(&path).layout.channels, Channels::Rgba);
    assert_eq!(read_frames(&path).unwrap(), shown(&patches()));
    assert_eq!(animation(&path).loops, 0);
}

#[test]
fn a_gif_without_transparency_has_none() {
    let folder = Folder::new();
    let opaque = [patches()[0], patches()[5]];
    let path = folder.file("a.gif", &gif_of(&opaque, (6, 5), None, &[7]));
    assert_eq!(header(&path).layout.channels, Channels::Rgb);
    let expected: Vec<Vec<u8>> = shown(&opaque)
        .iter()
        .map(|frame| {
            frame
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(|pixel| pixel[..3].to_vec())
                .collect()
        })
        .collect();
    assert_eq!(read_frames(&path).unwrap(), expected);
    // Shown once, since it says nothing else; with three repetitions, four times.
    assert_eq!(animation(&path).loops, 1);
    let path = folder.file("b.gif", &gif_of(&opaque, (6, 5), Some(Repeat::Finite(3)), &[7]));
    assert_eq!(animation(&path).loops, 4);
}

#[test]
fn no_delay_and_the_shortest_one_are_what_browsers_make_of_them() {
    let folder = Folder::new();
    let path = folder.file("a.gif", &gif_of(&patches(), (6, 5), None, &[0, 1, 2, 250]));
    assert_eq!(milliseconds(&animation(&path)), [100, 100, 20, 2500, 100, 100]);
}

#[test]
fn one_frame_of_a_gif_is_a_picture() {
    let folder = Folder::new();
    let path = folder.file(
        "a.gif",
        &gif_of(&patches()[..1], (6, 5), Some(Repeat::Infinite), &[7]),
    );
    assert_eq!(header(&path).sequence, Sequence::Single);
    assert_eq!(read(&path).unwrap(), [10, 20, 30].repeat(30));
}

#[test]
fn a_canvas_that_does_not_hold_its_first_frame_grows_and_later_frames_are_cut() {
    let folder = Folder::new();
    let mut off = patches();
    off[1].left = 4;
    off[1].top = 4;
    let path = folder.file("a.gif", &gif_of(&off, (2, 2), None, &[7]));
    assert_eq!(header(&path).stored, Size::new(6, 5));
    assert_eq!(read_frames(&path).unwrap(), shown(&off));
}

#[test]
fn an_interlaced_gif_has_its_rows_in_order() {
    let folder = Folder::new();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 1, 9, &[]).unwrap();
    // In the order in which they are stored: every eighth row, those between, those between.
    let stored = [0, 8, 4, 2, 6, 1, 3, 5, 7];
    encoder
        .write_frame(&Frame {
            width: 1,
            height: 9,
            interlaced: true,
            palette: Some((0..9).flat_map(|level| [level; 3]).collect()),
            buffer: Cow::Borrowed(&stored),
            ..Frame::default()
        })
        .unwrap();
    drop(encoder);
    let path = folder.file("a.gif", &bytes);
    let expected: Vec<u8> = (0..9).flat_map(|level| [level; 3]).collect();
    assert_eq!(read(&path).unwrap(), expected);
}

/// An animated PNG of patches; optionally behind a picture that is none of them.
fn apng_of(patches: &[Patch], understudy: bool, deep: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, CANVAS.0 as u32, CANVAS.1 as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(if deep {
        png::BitDepth::Sixteen
    } else {
        png::BitDepth::Eight
    });
    encoder.set_animated(patches.len() as u32, 3).unwrap();
    encoder.set_sep_def_img(understudy).unwrap();
    let samples = |pixel: [u8; 4]| {
        if deep {
            pixel.iter().flat_map(|s| [*s; 2]).collect()
        } else {
            pixel.to_vec()
        }
    };
    let mut writer = encoder.write_header().unwrap();
    if understudy {
        writer
            .write_image_data(&samples([1, 2, 3, 4]).repeat(30))
            .unwrap();
    }
    for patch in patches {
        // What the last frame was would limit this one.
        writer.reset_frame_position().unwrap();
        writer
            .set_frame_dimension(patch.wide as u32, patch.high as u32)
            .unwrap();
        writer
            .set_frame_position(patch.left as u32, patch.top as u32)
            .unwrap();
        writer.set_frame_delay(1, 8).unwrap();
        writer.set_blend_op(BlendOp::Over).unwrap();
        writer
            .set_dispose_op(match patch.disposal {
                Away::Stays => DisposeOp::None,
                Away::Cleared => DisposeOp::Background,
                Away::Restored => DisposeOp::Previous,
            })
            .unwrap();
        let pixel = patch.color.map_or([0; 4], |[r, g, b]| [r, g, b, 255]);
        writer
            .write_image_data(&samples(pixel).repeat(patch.wide * patch.high))
            .unwrap();
    }
    writer.finish().unwrap();
    bytes
}

#[test]
fn the_frames_of_an_animated_png_are_what_a_viewer_shows_at_both_depths() {
    let folder = Folder::new();
    for (understudy, deep) in [(false, false), (true, false), (false, true)] {
        let path = folder.file("a.png", &apng_of(&patches(), understudy, deep));
        let mut expected = shown(&patches());
        if deep {
            expected = expected
                .iter()
                .map(|frame| frame.iter().flat_map(|sample| [*sample; 2]).collect())
                .collect();
        }
        assert_eq!(read_frames(&path).unwrap(), expected, "{understudy} {deep}");
        let animation = animation(&path);
        assert_eq!((animation.loops, milliseconds(&animation)), (3, vec![125; 6]));
    }
}

#[test]
fn a_picture_that_is_none_of_the_frames_is_not_shown() {
    let folder = Folder::new();
    let path = folder.file("a.png", &apng_of(&patches()[..1], true, false));
    assert_eq!(header(&path).sequence, Sequence::Single);
    assert_eq!(read(&path).unwrap(), [10, 20, 30, 255].repeat(30));
    // The other way round there is nothing to choose.
    let path = folder.file("b.png", &apng_of(&patches()[..1], false, false));
    assert_eq!(read(&path).unwrap(), [10, 20, 30, 255].repeat(30));
}

/// Blending with half-transparent pixels, which the source replaces instead if it says so.
#[test]
fn an_opaque_animated_png_stays_without_alpha_and_gets_it_where_holes_appear() {
    let folder = Folder::new();
    for (dispose, channels) in [
        (DisposeOp::None, Channels::Rgb),
        (DisposeOp::Background, Channels::Rgba),
    ] {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_animated(2, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.set_dispose_op(dispose).unwrap();
        writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        writer.set_frame_dimension(1, 1).unwrap();
        writer.set_dispose_op(DisposeOp::None).unwrap();
        writer.write_image_data(&[7, 8, 9]).unwrap();
        writer.finish().unwrap();
        let path = folder.file("a.png", &bytes);
        assert_eq!(header(&path).layout.channels, channels);
        let frames = read_frames(&path).unwrap();
        match channels {
            Channels::Rgb => assert_eq!(frames, [[1, 2, 3, 4, 5, 6], [7, 8, 9, 4, 5, 6]]),
            _ => assert_eq!(frames, [[1, 2, 3, 255, 4, 5, 6, 255], [7, 8, 9, 255, 0, 0, 0, 0]]),
        }
    }
}

/// A WebP of patches, lossless.
fn webp_of(patches: &[Patch]) -> Vec<u8> {
    let u24 = |value: usize| (value as u32).to_le_bytes()[..3].to_vec();
    let chunk = |name: &[u8], content: &[u8]| {
        let pad = &[0][..content.len() % 2];
        [name, &(content.len() as u32).to_le_bytes(), content, pad].concat()
    };
    let mut chunks = chunk(
        b"VP8X",
        &[&[0x12, 0, 0, 0][..], &u24(CANVAS.0 - 1), &u24(CANVAS.1 - 1)].concat(),
    );
    chunks.extend(chunk(b"ANIM", &[1, 2, 3, 4, 5, 0]));
    for (index, patch) in patches.iter().enumerate() {
        let pixel = patch.color.map_or([0; 4], |[r, g, b]| [r, g, b, 255]);
        let mut still = Vec::new();
        image_webp::WebPEncoder::new(&mut still)
            .encode(
                &pixel.repeat(patch.wide * patch.high),
                patch.wide as u32,
                patch.high as u32,
                image_webp::ColorType::Rgba8,
            )
            .unwrap();
        let flags = if patch.disposal == Away::Cleared { 1 } else { 0 };
        let header = [
            u24(patch.left / 2),
            u24(patch.top / 2),
            u24(patch.wide - 1),
            u24(patch.high - 1),
            u24(40 * (index + 1)),
            vec![flags],
        ];
        // Without the header of a file.
        chunks.extend(chunk(b"ANMF", &[&header.concat(), &still[12..]].concat()));
    }
    [
        b"RIFF",
        &(chunks.len() as u32 + 4).to_le_bytes()[..],
        b"WEBP",
        &chunks,
    ]
    .concat()
}

#[test]
fn the_frames_of_an_animated_webp_are_what_a_viewer_shows() {
    let folder = Folder::new();
    let mut patches = patches();
    for patch in &mut patches {
        // Corners lie on even places, and nothing is restored.
        (patch.left, patch.top) = (patch.left & !1, patch.top & !1);
        if patch.disposal == Away::Restored {
            patch.disposal = Away::Cleared;
        }
    }
    let path = folder.file("a.webp", &webp_of(&patches));
    assert_eq!(read_frames(&path).unwrap(), shown(&patches));
    let animation = animation(&path);
    assert_eq!(animation.loops, 5);
    assert_eq!(milliseconds(&animation), [40, 80, 120, 160, 200, 240]);
}

#[test]
fn a_frame_of_lossy_webp_is_decoded_with_its_alpha() {
    let path = super::formats::fixture("animated-lossy.webp");
    let frames = read_frames(&path).unwrap();
    assert_eq!((frames.len(), header(&path).layout.channels), (2, Channels::Rgba));
    // A disc on nothing: transparent corners, a middle that is nearly red.
    for frame in frames {
        let middle = &frame[(8 * 16 + 8) * 4..][..4];
        assert_eq!(frame[3], 0);
        assert!(
            middle[0] > 200 && middle[1] < 60 && middle[3] == 255,
            "{middle:?}"
        );
    }
}

#[test]
fn too_many_frames_and_too_many_pixels_are_refused_with_the_limit() {
    let folder = Folder::new();
    let path = folder.file("a.gif", &gif_of(&patches(), (6, 5), None, &[7]));
    let few = DecodeLimits {
        frames: 5,
        ..DecodeLimits::default()
    };
    let text = message(probe(&path, &few).unwrap_err());
    assert!(text.contains("6 frames") && text.contains("at most 5"), "{text}");
    let small = DecodeLimits {
        sequence_pixels: 179,
        ..DecodeLimits::default()
    };
    let error = probe(&path, &small).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
}
