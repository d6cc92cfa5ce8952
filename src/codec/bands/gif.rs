//! Owns the frames of a GIF, each as a whole canvas. Holds one frame besides the canvas.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit};
use image::ImageError;
use image::error::{DecodingError as Damage, ImageFormatHint, LimitError, LimitErrorKind};

use super::canvas::{Blend, Canvas, Disposal, Place};
use super::{Bands, Bounded, Shape, Trouble, bounded};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

/// What the decoder is asked for.
const RGBA: PixelLayout = PixelLayout {
    channels: Channels::Rgba,
    depth: Depth::Eight,
};

/// A GIF whose header is read.
pub(super) struct Frames {
    decoder: Decoder<Bounded>,
    canvas: Canvas,
    shape: Shape,
    frame: Vec<u8>,
    /// No frame was laid yet.
    first: bool,
}

impl Frames {
    pub(super) fn open(source: Source, shape: Shape, limits: &DecodeLimits) -> Result<Self, Trouble> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.allow_unknown_blocks(true);
        if let Some(bytes) = NonZeroU64::new(limits.decode_bytes) {
            options.set_memory_limit(MemoryLimit::Bytes(bytes));
        }
        Ok(Self {
            decoder: options.read_info(bounded(source)).map_err(image_error)?,
            canvas: Canvas::new(shape.size, RGBA),
            shape,
            frame: Vec::new(),
            first: true,
        })
    }
}

impl Bands for Frames {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let info = self.decoder.next_frame_info().map_err(image_error)?;
        let frame = info.ok_or(Trouble::Changed)?;
        let mut place = Place {
            left: frame.left.into(),
            top: frame.top.into(),
            size: Size::new(frame.width.into(), frame.height.into()),
        };
        let disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear,
            DisposalMethod::Previous => Disposal::Restore,
        };
        if std::mem::take(&mut self.first) && place.size == self.shape.size {
            // The canvas was made as large as the frame, wherever that was to lie.
            (place.left, place.top) = (0, 0);
        }
        self.frame.clear();
        self.frame
            .resize(RGBA.row_bytes(place.size.width) * place.size.height as usize, 0);
        self.decoder
            .read_into_buffer(&mut self.frame)
            .map_err(image_error)?;
        self.canvas.lay(&self.frame, place, Blend::Over, disposal);
        self.canvas.write(rows, self.shape.layout);
        Ok(())
    }
}

/// In the words that the `image` crate has for it.
fn image_error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::Io(error) => ImageError::IoError(error),
        DecodingError::UnexpectedEof => ImageError::IoError(std::io::ErrorKind::UnexpectedEof.into()),
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        other => ImageError::Decoding(Damage::new(ImageFormatHint::Name("GIF".to_owned()), other)),
    }
}
