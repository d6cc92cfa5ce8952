//! Owns the frames of an animated WebP, each as a whole canvas. Holds one frame besides the canvas, packed and
//! unpacked.
//!
//! The road not taken: the decoder's own canvas, which clears what a frame leaves only before some frames and, before
//! others, with three bytes a pixel on a canvas of four.

use std::io::{Cursor, Read, Seek, SeekFrom};

use image::ImageError;
use image::error::{DecodingError, ImageFormatHint};
use image_webp::WebPDecoder;

use super::canvas::{Blend, Canvas, Disposal, Place};
use super::{Bands, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth, PixelLayout};
use crate::codec::probe::DecodeLimits;
use crate::size::Size;

const RGBA: PixelLayout = PixelLayout {
    channels: Channels::Rgba,
    depth: Depth::Eight,
};

/// Bytes of a frame's own header, before its chunks.
const FRAME_HEADER_BYTES: usize = 16;

/// Length of `RIFF`, a length and `WEBP`; the chunks follow.
const FILE_HEADER_BYTES: u64 = 12;

/// Tells in the flags of `VP8X` that there is alpha.
const ALPHA: u8 = 0x10;

/// An animated WebP.
pub(super) struct Frames {
    source: Source,
    canvas: Canvas,
    shape: Shape,
    decode_bytes: u64,
    /// Where the next chunk begins.
    at: u64,
    packed: Vec<u8>,
    frame: Vec<u8>,
}

impl Frames {
    pub(super) fn new(source: Source, shape: Shape, limits: &DecodeLimits) -> Self {
        Self {
            source,
            canvas: Canvas::new(shape.size, RGBA),
            shape,
            decode_bytes: limits.decode_bytes,
            at: FILE_HEADER_BYTES,
            packed: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Reads the next frame's chunk.
    fn next_frame(&mut self) -> Result<(), ImageError> {
        let file = &mut self.source.file;
        loop {
            file.seek(SeekFrom::Start(self.at)).map_err(ImageError::IoError)?;
            let mut header = [0; 8];
            file.read_exact(&mut header).map_err(ImageError::IoError)?;
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
            self.at += 8 + u64::from(length) + u64::from(length % 2);
            if header.starts_with(b"ANMF") {
                self.packed.clear();
                file.take(length.into())
                    .read_to_end(&mut self.packed)
                    .map_err(ImageError::IoError)?;
                return Ok(());
            }
        }
    }
}

impl Bands for Frames {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        self.next_frame()?;
        let Some((header, chunks)) = self.packed.split_at_checked(FRAME_HEADER_BYTES) else {
            return Err(Trouble::Changed);
        };
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]);
        let place = Place {
            left: number(0) * 2,
            top: number(3) * 2,
            size: Size::new(number(6) + 1, number(9) + 1),
        };
        let blend = if header[15] & 2 == 0 {
            Blend::Over
        } else {
            Blend::Replace
        };
        let disposal = if header[15] & 1 == 0 {
            Disposal::Keep
        } else {
            Disposal::Clear
        };
        self.frame.clear();
        self.frame
            .resize(RGBA.row_bytes(place.size.width) * place.size.height as usize, 0);
        decode(chunks, place.size, self.decode_bytes, &mut self.frame)?;
        self.canvas.lay(&self.frame, place, blend, disposal);
        self.canvas.write(rows, self.shape.layout);
        Ok(())
    }
}

/// Decodes the chunks of a frame as a file of its own into RGBA.
fn decode(chunks: &[u8], size: Size, decode_bytes: u64, frame: &mut [u8]) -> Result<(), ImageError> {
    let has_alpha_chunk = chunks.starts_with(b"ALPH");
    let mut head = Vec::with_capacity(32);
    head.extend_from_slice(b"WEBP");
    if has_alpha_chunk {
        head.extend_from_slice(b"VP8X\x0a\0\0\0");
        head.extend_from_slice(&[ALPHA, 0, 0, 0]);
        for side in [size.width, size.height] {
            head.extend_from_slice(&(side - 1).to_le_bytes()[..3]);
        }
    }
    let riff_bytes = (head.len() + chunks.len()) as u32;
    let mut file = Vec::with_capacity(8 + head.len() + chunks.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&riff_bytes.to_le_bytes());
    file.extend_from_slice(&head);
    file.extend_from_slice(chunks);
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(image_error)?;
    decoder.set_memory_limit(usize::try_from(decode_bytes).unwrap_or(usize::MAX));
    if decoder.dimensions() != (size.width, size.height) {
        return Err(image_error(image_webp::DecodingError::InconsistentImageSizes));
    }
    if decoder.has_alpha() {
        return decoder.read_image(frame).map_err(image_error);
    }
    // Three bytes a pixel, which are then given room, from the last one on.
    let pixels = size.pixels() as usize;
    decoder
        .read_image(&mut frame[..pixels * 3])
        .map_err(image_error)?;
    for pixel in (0..pixels).rev() {
        frame.copy_within(pixel * 3..pixel * 3 + 3, pixel * 4);
        frame[pixel * 4 + 3] = u8::MAX;
    }
    Ok(())
}

/// In the words that the `image` crate has for it.
fn image_error(error: image_webp::DecodingError) -> ImageError {
    match error {
        image_webp::DecodingError::IoError(error) => ImageError::IoError(error),
        other => ImageError::Decoding(DecodingError::new(
            ImageFormatHint::Exact(image::ImageFormat::WebP),
            other,
        )),
    }
}
