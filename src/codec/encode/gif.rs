//! Owns GIF files: of each frame the part that changed, in its best 256 colours. Holds three frames: what is shown, what
//! comes next, and the one after, which decides whether the next must be cleared.

use std::collections::HashMap;
use std::io::Write;

use gif::{AnyExtension, DisposalMethod, Encoder, EncodingError, Frame, Repeat};
use quantette::deps::palette::Srgb;
use quantette::dither::FloydSteinberg;
use quantette::{ImageBuf, PaletteSize, Pipeline};

use super::canvas::Area;
use super::out::BUFFER_BYTES;
use super::{Output, Rows, Stop, refused};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, ResultFormat};
use crate::codec::sequence::{Animation, Delay, Sequence, Ticks};
use crate::codec::sink::{FeedStopped, SinkSpec};
use crate::size::Size;

/// Colours of a frame; one more index is left for what is transparent or as it was.
const COLOURS: usize = 255;

/// Half of the error goes on to the neighbours: skies are smooth, seen side by side, while all of it makes noise that
/// is a quarter larger.
const DIFFUSION: f32 = 0.5;

/// The extension for comments.
const COMMENT: u8 = 0xFE;

/// From here on a pixel is opaque.
const OPAQUE: u8 = 128;

/// A pixel as GIF knows it: opaque, or nothing.
type Pixel = [u8; 4];

/// Nothing.
const CLEAR: Pixel = [0; 4];

/// Writes the frames, or the one picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let still = Animation {
        loops: 1,
        delays: vec![Delay {
            numerator: 0,
            denominator: 1,
        }],
    };
    let animation = match &spec.sequence {
        Sequence::Animation(animation) if !animation.delays.is_empty() => animation,
        _ => &still,
    };
    let sides = (u16::try_from(spec.size.width), u16::try_from(spec.size.height));
    let (Ok(width), Ok(height)) = sides else {
        return Err(refused(ResultFormat::Gif, format_args!("{} pixels", spec.size)));
    };
    let mut canvases = Canvases::new(spec)?;
    let frames = Frames {
        animation,
        width,
        height,
        xmp: spec.metadata.xmp.as_deref(),
        comments: &spec.metadata.notes.comments,
    };
    let written = frames.write(&mut canvases, rows, out);
    written.map_err(|stop| stop.into_error(ResultFormat::Gif, out))?;
    Ok(warnings(spec, &canvases))
}

fn warnings(spec: &SinkSpec, canvases: &Canvases) -> Vec<String> {
    let metadata = &spec.metadata;
    let kinds = [(&metadata.icc, "ICC profile"), (&metadata.exif, "EXIF")];
    let mut warnings: Vec<String> = kinds
        .iter()
        .filter(|(kind, _)| kind.is_some())
        .map(|(_, name)| format!("gif: {name} was not carried: the format has no place for it"))
        .collect();
    if canvases.half_transparent {
        warnings.push("gif: half transparent pixels became opaque or clear".to_owned());
    }
    if canvases.reduced {
        warnings.push("gif: colours were reduced to 256 a frame".to_owned());
    }
    warnings
}

/// What is to be written.
struct Frames<'a> {
    animation: &'a Animation,
    width: u16,
    height: u16,
    xmp: Option<&'a [u8]>,
    comments: &'a [Vec<u8>],
}

impl Frames<'_> {
    fn write(&self, canvases: &mut Canvases, rows: &mut Rows<'_>, out: &mut Output) -> Result<(), Stop> {
        let mut encoder = Encoder::new(out, self.width, self.height, &[])?;
        if self.animation.loops != 1 {
            // The file counts how often it is shown again.
            encoder.set_repeat(match u16::try_from(self.animation.loops) {
                Ok(0) => Repeat::Infinite,
                Ok(times) => Repeat::Finite(times - 1),
                Err(_) => Repeat::Finite(u16::MAX),
            })?;
        }
        if let Some(xmp) = self.xmp {
            write_xmp(encoder.get_mut(), xmp)?;
        }
        for comment in self.comments {
            encoder.write_raw_extension(AnyExtension(COMMENT), &[comment.as_slice()])?;
        }
        let mut clock = Ticks::new(100, u32::from(u16::MAX));
        canvases.read_next(rows)?;
        for delay in &self.animation.delays {
            canvases.advance();
            let goes_on = rows.next_picture();
            if goes_on {
                canvases.read_next(rows)?;
            }
            let mut frame = canvases.frame(goes_on);
            // At most 65,535, as the clock was told.
            frame.delay = clock.of(*delay) as u16;
            encoder.write_frame(&frame)?;
        }
        encoder.into_inner()?;
        Ok(())
    }
}

/// XMP stands in the file as it is, and what follows leads a reader who takes it for blocks to its end.
fn write_xmp(out: &mut Output, xmp: &[u8]) -> Result<(), EncodingError> {
    out.write_all(b"\x21\xff\x0bXMP DataXMP")?;
    out.write_all(xmp)?;
    out.write_all(&[1])?;
    let trailer: Vec<u8> = (0..=255).rev().collect();
    out.write_all(&trailer)?;
    out.write_all(&[0])?;
    Ok(())
}

/// The pictures that decide how a frame is written.
struct Canvases {
    size: Size,
    channels: Channels,
    /// What is shown before the frame.
    shown: Vec<Pixel>,
    /// The frame.
    now: Vec<Pixel>,
    /// The one after.
    next: Vec<Pixel>,
    half_transparent: bool,
    reduced: bool,
}

impl Canvases {
    fn new(spec: &SinkSpec) -> Result<Self, CodecError> {
        let channels = spec.layout.channels;
        if spec.layout.depth != Depth::Eight || !matches!(channels, Channels::Rgb | Channels::Rgba) {
            return Err(refused(ResultFormat::Gif, "it has 8 bits and three colours"));
        }
        Ok(Self {
            size: spec.size,
            channels,
            shown: vec![CLEAR; spec.size.pixels() as usize],
            now: Vec::new(),
            next: Vec::new(),
            half_transparent: false,
            reduced: false,
        })
    }

    fn read_next(&mut self, rows: &mut Rows<'_>) -> Result<(), FeedStopped> {
        self.next.clear();
        self.next.reserve_exact(self.size.pixels() as usize);
        let mut spent = Vec::new();
        while let Some(chunk) = rows.next_chunk(spent)? {
            if self.channels.has_alpha() {
                for &[r, g, b, alpha] in chunk.as_chunks::<4>().0 {
                    self.half_transparent |= !matches!(alpha, 0 | 255);
                    self.next
                        .push(if alpha >= OPAQUE { [r, g, b, 255] } else { CLEAR });
                }
            } else {
                let pixels = chunk.as_chunks::<3>().0.iter();
                self.next.extend(pixels.map(|&[r, g, b]| [r, g, b, 255]));
            }
            spent = chunk;
        }
        Ok(())
    }

    /// The next frame becomes this one.
    fn advance(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
    }

    /// This frame, and what is shown after it. A pixel can only be made clear again by clearing a frame.
    fn frame(&mut self, goes_on: bool) -> Frame<'static> {
        let vanishes = |(now, next): (&Pixel, &Pixel)| *now != CLEAR && *next == CLEAR;
        let is_cleared = goes_on && self.now.iter().zip(&self.next).any(vanishes);
        let whole = Area::whole(self.size);
        let area = if is_cleared {
            whole
        } else {
            Area::changed(self.shown.as_flattened(), self.now.as_flattened(), self.size)
        };
        let mut frame = self.coded(area);
        if is_cleared {
            frame.dispose = DisposalMethod::Background;
            self.shown.fill(CLEAR);
        } else {
            frame.dispose = DisposalMethod::Keep;
            self.shown.copy_from_slice(&self.now);
        }
        frame
    }

    /// The pixels of an area, as indices into a palette of its own. What is as it was is left out: that compresses
    /// best, and a part that stands still does not flicker.
    fn coded(&mut self, area: Area) -> Frame<'static> {
        let cut = |canvas: &[Pixel]| -> Vec<Pixel> {
            let bytes = area.cut(canvas.as_flattened(), self.size.width, size_of::<Pixel>());
            bytes.as_chunks().0.to_vec()
        };
        let (shown, now) = (cut(&self.shown), cut(&self.now));
        let drawn = |(shown, now): (&Pixel, &Pixel)| (shown != now).then_some([now[0], now[1], now[2]]);
        let pixels: Vec<Option<[u8; 3]>> = shown.iter().zip(&now).map(drawn).collect();
        let (palette, mut indices) = match few_colours(&pixels) {
            Some(exact) => exact,
            None => {
                self.reduced = true;
                reduced(&now, area.size)
            }
        };
        let clear = (palette.len() / 3) as u8;
        let mut is_partly_clear = false;
        for (index, _) in indices
            .iter_mut()
            .zip(&pixels)
            .filter(|(_, pixel)| pixel.is_none())
        {
            *index = clear;
            is_partly_clear = true;
        }
        // Within the canvas, whose sides are u16.
        let [left, top, width, height] =
            [area.x, area.y, area.size.width, area.size.height].map(|side| side as u16);
        let mut palette = palette;
        palette.extend([0; 3]);
        Frame {
            left,
            top,
            ..Frame::from_palette_pixels(width, height, indices, palette, is_partly_clear.then_some(clear))
        }
    }
}

/// A palette of all colours, if they fit into one, and the pixels in it.
fn few_colours(pixels: &[Option<[u8; 3]>]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut known: HashMap<[u8; 3], u8> = HashMap::new();
    let mut palette = Vec::new();
    let mut indices = Vec::with_capacity(pixels.len());
    let mut last = None;
    for pixel in pixels {
        let Some(colour) = pixel else {
            indices.push(0);
            continue;
        };
        let index = match last {
            Some((before, index)) if before == *colour => index,
            _ => match known.get(colour) {
                Some(index) => *index,
                None if known.len() == COLOURS => return None,
                None => {
                    let index = known.len() as u8;
                    known.insert(*colour, index);
                    palette.extend(colour);
                    index
                }
            },
        };
        last = Some((*colour, index));
        indices.push(index);
    }
    Some((palette, indices))
}

/// The palette that fits a picture best, and its pixels in it: Wu's cut of Oklab. On enlarged photos of 3 MP four times as
/// fast as `NeuQuant`, and 3 to 5 dB behind it in plain differences, which dithering makes good to the eye.
fn reduced(pixels: &[Pixel], size: Size) -> (Vec<u8>, Vec<u8>) {
    let colours = pixels.iter().map(|&[r, g, b, _]| Srgb::new(r, g, b)).collect();
    let Ok(image) = ImageBuf::new(size.width, size.height, colours) else {
        // A picture of two pixels that are not there: sizes agree, as the area was cut.
        return (Vec::new(), vec![0; pixels.len()]);
    };
    let (palette, indices) = Pipeline::new()
        .palette_size(PaletteSize::from_u8_clamped(COLOURS as u8))
        .ditherer(FloydSteinberg::with_error_diffusion(DIFFUSION))
        // Would sort the whole picture's colours, and hold them once more.
        .dedup(false)
        .input_image(image.as_ref())
        .output_srgb8_indexed_image()
        .into_parts();
    let palette = palette
        .into_iter()
        .flat_map(|colour| [colour.red, colour.green, colour.blue]);
    (palette.collect(), indices)
}

/// What quantisation holds of a pixel: itself with and without what was before, in three floats of Oklab, as an
/// index, as the code of an LZW.
const WORK_BYTES_PER_PIXEL: u64 = 40;

/// Histograms, tables, dictionary.
const WORK_TABLE_BYTES: u64 = 4 << 20;

/// Most bytes held besides the rows: three frames, and one being coded.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let canvases = 3 * size_of::<Pixel>() as u64;
    spec.size.pixels() * (canvases + WORK_BYTES_PER_PIXEL) + WORK_TABLE_BYTES + BUFFER_BYTES as u64
}
