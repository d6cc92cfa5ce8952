//! Owns the frames of a JPEG XL, each as a whole picture, turned as the file says. Never lets its decoder hold more
//! than was promised. It holds every frame that it has given: it has no way to let go of one and keep those that the next
//! one is laid upon.

mod profile;

use std::fs::File;
use std::io::Read;

use image::ImageError;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use jxl_oxide::{AllocTracker, InitializeResult, JxlImage, PixelFormat};

use super::parts::Parts;
use super::{Bands, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::outline::{Facts, Outline, delay};
use crate::codec::sequence::Animation;
use crate::size::Size;

/// sRGB, as primaries, transfer, matrix and range are numbered in every modern format: it needs no profile.
const SRGB: [u8; 3] = [1, 13, 0];

/// A JPEG XL that is read and not yet decoded.
pub(super) struct Frames {
    image: JxlImage,
    shape: Shape,
    next: usize,
}

impl Frames {
    pub(super) fn open(source: Source, shape: Shape) -> Result<Self, Trouble> {
        let (image, _) = read(&source.file, &source.outline)?;
        shape.insist(Size::new(image.width(), image.height()), layout(&image))?;
        Ok(Self {
            image,
            shape,
            next: 0,
        })
    }
}

impl Bands for Frames {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let frame = self.image.render_frame(self.next).map_err(image_error)?;
        self.next += 1;
        let mut samples = frame.stream();
        let channels = self.shape.layout.channels.count();
        let size = Size::new(samples.width(), samples.height());
        if (size, samples.channels() as usize) != (self.shape.size, channels) {
            return Err(Trouble::Changed);
        }
        match self.shape.layout.depth {
            Depth::Eight => {
                samples.write_to_buffer(rows);
            }
            Depth::Sixteen => {
                let mut row = vec![0u16; self.shape.size.width as usize * channels];
                for line in rows.chunks_exact_mut(self.shape.row_bytes()) {
                    samples.write_to_buffer(&mut row);
                    for (bytes, sample) in line.as_chunks_mut::<2>().0.iter_mut().zip(&row) {
                        *bytes = sample.to_ne_bytes();
                    }
                }
            }
        }
        Ok(())
    }
}

/// What only the decoder tells.
pub(in crate::codec) struct Told {
    pub(in crate::codec) facts: Facts,
    /// How the frames run, if it is an animation.
    pub(in crate::codec) animation: Option<Animation>,
    /// Most bytes that the decoder holds besides what the outline promised.
    pub(in crate::codec) work_bytes: u64,
}

/// What is to be known before a row is read.
pub(in crate::codec) fn told(file: &File, outline: &Outline) -> Result<Told, ImageError> {
    let (image, work_bytes) = read(file, outline)?;
    let header = image.image_header();
    if image.hdr_type().is_some() {
        return Err(unsupported("a high dynamic range (PQ or HLG)"));
    }
    let layout = layout(&image).ok_or_else(|| {
        let what = match image.pixel_format() {
            PixelFormat::Cmyk | PixelFormat::Cmyka => "CMYK",
            _ => "samples of more than 16 bits",
        };
        unsupported(what)
    })?;
    if Some(Size::new(image.width(), image.height())) != outline.size {
        return Err(damaged("its headers contradict each other"));
    }
    let animation = header.metadata.animation.as_ref().map(|animation| {
        let frames = 0..image.num_loaded_keyframes();
        let ticks = frames.map(|frame| image.frame_header(frame).map_or(0, |header| header.duration));
        Animation {
            loops: animation.num_loops,
            delays: ticks
                .map(|ticks| {
                    let numerator = ticks.saturating_mul(animation.tps_denominator);
                    delay(numerator, animation.tps_numerator)
                })
                .collect(),
        }
    });
    let is_srgb = image.rendered_cicp().is_some_and(|cicp| cicp.starts_with(&SRGB));
    let facts = Facts {
        raw: layout.into(),
        // The decoder turns, and EXIF does not count.
        orientation: Some(1),
        icc: (!is_srgb).then(|| image.rendered_icc()),
        exif: outline.exif.clone(),
        xmp: outline.xmp.clone(),
    };
    Ok(Told {
        facts,
        animation,
        work_bytes,
    })
}

/// Reads all but the pixels; only the coded stream, so that the decoder never unpacks metadata, which it would do
/// without a limit. Also tells what it holds besides what the outline promised.
fn read(file: &File, outline: &Outline) -> Result<(JxlImage, u64), ImageError> {
    let work_bytes = profile::work_bytes(file, outline)?;
    let bytes = usize::try_from(outline.work_bytes).unwrap_or(usize::MAX);
    let tracker = AllocTracker::with_limit(bytes);
    let mut portions = Portions::new(Parts::new(file, &outline.parts));
    let mut image = begin(&mut portions, tracker.clone())?;
    while !image.is_loading_done() && portions.feed(|bytes| image.feed_bytes(bytes))? {}
    if !image.is_loading_done() || image.num_loaded_keyframes() == 0 {
        return Err(ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let drawn_bytes = drawn_bytes(&image)?;
    let kept_bytes = kept_bytes(&image);
    tracker.expand_limit(usize::try_from(kept_bytes).unwrap_or(usize::MAX));
    Ok((
        image,
        work_bytes.saturating_add(kept_bytes).saturating_add(drawn_bytes),
    ))
}

/// Bytes that the decoder may hold, past its tracker, of what frames lay upon their pixels: patches, of which it takes up to
/// one for four pixels, each with a list of what every channel does.
///
/// Splines are refused. No camera and no encoder makes them, only people who draw with them; and a curve without a colour
/// may be as long as its file claims, for which jxl-oxide (0.12, `Splines::estimate_area`) makes room without a limit.
fn drawn_bytes(image: &JxlImage) -> Result<u64, ImageError> {
    let channels = 1 + image.image_header().metadata.ec_info.len() as u64;
    let mut bytes = 0_u64;
    for header in (0..image.num_loaded_frames())
        .filter_map(|index| image.frame(index))
        .map(|frame| frame.header())
    {
        if header.flags.splines() {
            return Err(unsupported("splines"));
        }
        if header.flags.patches() {
            let pixels = Size::new(header.width, header.height).pixels();
            // A target is 32 bytes and its list 12 for a channel, 32 at least; a vector that grows is there twice.
            let target = 32 + (12 * channels).max(32);
            bytes = bytes.saturating_add(pixels.saturating_mul(target) / 4 * 2 + pixels * 6);
        }
    }
    Ok(bytes)
}

/// Bytes of all frames but one, which the outline promised: a 32-bit number for each sample.
fn kept_bytes(image: &JxlImage) -> u64 {
    let channels = 3 + image.image_header().metadata.ec_info.len() as u64;
    let more = image.num_loaded_frames().saturating_sub(1) as u64;
    let pixels = Size::new(image.width(), image.height()).pixels();
    more.saturating_mul(pixels).saturating_mul(channels * 4)
}

/// Reads the header and the profile. The decoder begins them anew whenever it is asked whether they are there, so it is
/// asked when there is twice as much.
fn begin(portions: &mut Portions<'_>, tracker: AllocTracker) -> Result<JxlImage, ImageError> {
    let mut waiting = JxlImage::builder().alloc_tracker(tracker).build_uninit();
    let mut wanted = 0;
    loop {
        let is_more = portions.feed(|bytes| waiting.feed_bytes(bytes))?;
        if is_more && portions.fed < wanted {
            continue;
        }
        wanted = portions.fed * 2;
        match waiting.try_init().map_err(image_error)? {
            InitializeResult::Initialized(image) => return Ok(image),
            InitializeResult::NeedMoreData(again) if is_more => waiting = again,
            InitializeResult::NeedMoreData(_) => {
                return Err(ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// Bytes that the decoder takes in at once.
const PORTION_BYTES: usize = 16 << 10;

/// The coded stream, a portion at a time.
struct Portions<'a> {
    parts: Parts<'a>,
    bytes: Vec<u8>,
    /// Those that were read and not taken.
    left: usize,
    /// Bytes taken so far.
    fed: usize,
}

impl<'a> Portions<'a> {
    fn new(parts: Parts<'a>) -> Self {
        Self {
            parts,
            bytes: vec![0; PORTION_BYTES],
            left: 0,
            fed: 0,
        }
    }

    /// Reads a portion and hands it to the decoder, which tells how much it took; `false` at the end.
    fn feed(&mut self, mut take: impl FnMut(&[u8]) -> jxl_oxide::Result<usize>) -> Result<bool, ImageError> {
        let read = self
            .parts
            .read(&mut self.bytes[self.left..])
            .map_err(ImageError::IoError)?;
        if read == 0 {
            return Ok(false);
        }
        let there = self.left + read;
        let taken = take(&self.bytes[..there]).map_err(image_error)?.min(there);
        self.bytes.copy_within(taken..there, 0);
        self.left = there - taken;
        self.fed += taken;
        Ok(true)
    }
}

/// How rows come out; `None` for what cannot be had as 8- or 16-bit integers of grey or RGB.
fn layout(image: &JxlImage) -> Option<PixelLayout> {
    let channels = match image.pixel_format() {
        PixelFormat::Gray => Channels::Grey,
        PixelFormat::Graya => Channels::GreyAlpha,
        PixelFormat::Rgb => Channels::Rgb,
        PixelFormat::Rgba => Channels::Rgba,
        PixelFormat::Cmyk | PixelFormat::Cmyka => return None,
    };
    let depth = match image.image_header().metadata.bit_depth.bits_per_sample() {
        0..=8 => Depth::Eight,
        9..=16 => Depth::Sixteen,
        _ => return None,
    };
    Some(PixelLayout { channels, depth })
}

fn hint() -> ImageFormatHint {
    ImageFormatHint::Name("JPEG XL".to_owned())
}

fn unsupported(what: &str) -> ImageError {
    let kind = UnsupportedErrorKind::GenericFeature(what.to_owned());
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(hint(), kind))
}

fn damaged(what: &'static str) -> ImageError {
    ImageError::Decoding(DecodingError::new(hint(), what))
}

/// In the words that the `image` crate has for it.
fn image_error(error: Box<dyn std::error::Error + Send + Sync>) -> ImageError {
    // Its limits have a type that it does not show.
    if std::iter::successors(Some(error.as_ref() as &dyn std::error::Error), |error| {
        error.source()
    })
    .any(|error| error.to_string().contains("failed to allocate"))
    {
        return ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory));
    }
    match error.downcast::<std::io::Error>() {
        Ok(error) => ImageError::IoError(*error),
        Err(error) => ImageError::Decoding(DecodingError::new(hint(), error)),
    }
}
