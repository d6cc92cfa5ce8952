//! Owns the walk through a WebP's RIFF chunks. Never decodes a bit stream.

use std::io::{Read, Seek};

use super::stream::Stream;
use super::{Flaw, Outline, delay};
use crate::size::Size;

/// Length of `RIFF`, a length and `WEBP`.
const HEADER_BYTES: u64 = 12;

/// Tells that the canvas is animated, in the flags of `VP8X`.
const ANIMATED: u8 = 0x02;

/// Walks to where the RIFF header says that the file ends.
pub(super) fn walk<R: Read + Seek>(stream: &mut Stream<R>, outline: &mut Outline) -> Result<(), Flaw> {
    stream.skip(4)?;
    let riff_end = 8 + u64::from(stream.u32_le()?);
    stream.skip(4)?;
    // A writer that streams fills in the length last.
    if riff_end <= HEADER_BYTES {
        return Err(Flaw::Short);
    }
    let (mut animated, mut has_data) = (false, false);
    let mut frames = Frames::default();
    while stream.at() + 8 <= riff_end {
        let name: [u8; 4] = stream.bytes()?;
        // Zeros: the rest of a file whose space was reserved before it was filled.
        if name == [0; 4] {
            return Err(Flaw::Short);
        }
        let length = u64::from(stream.u32_le()?);
        let end = stream.at() + length;
        match &name {
            b"VP8X" if length >= 10 => {
                animated = stream.byte()? & ANIMATED != 0;
                stream.skip(3)?;
                let size = Size::new(u24(stream)? + 1, u24(stream)? + 1);
                outline.size = Some(size);
            }
            b"VP8L" if length >= 5 && !has_data => {
                has_data = true;
                stream.skip(1)?;
                let bits = stream.u32_le()?;
                let size = Size::new((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1);
                outline.size.get_or_insert(size);
                // All four channels before alpha is dropped, and tables of the transforms.
                outline.add_work(padded_pixels(size) * 6);
            }
            b"VP8 " if length >= 10 && !has_data => {
                has_data = true;
                stream.skip(6)?;
                let [a, b, c, d] = stream.bytes()?;
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                let size = Size::new(side(a, b), side(c, d));
                outline.size.get_or_insert(size);
                // Luminance, quartered chrominance and what is known of blocks; the compressed partitions while
                // they are read into growing buffers.
                outline.add_work(padded_pixels(size) * 2 + length * 4);
            }
            b"ALPH" => {
                // Decoded as if it had four channels.
                outline.add_work(outline.size.map_or(0, padded_pixels) * 6 + length * 4);
            }
            b"ANIM" if length >= 6 => {
                stream.skip(4)?;
                frames.loops = stream.u16_le()?.into();
            }
            b"ANMF" if animated && length >= FRAME_HEADER_BYTES => frames.frame(stream, outline, end)?,
            _ => outline.add_work(length),
        }
        // Past the file: cut off. Past the RIFF but inside the file: somebody else's chunk length.
        stream.seek_to(end)?;
        if length % 2 == 1 && end < stream.len() {
            stream.skip(1)?;
        }
    }
    if animated {
        frames.finish(outline)?;
    } else if !has_data {
        return Err(Flaw::Damaged("it holds no picture"));
    }
    stream.seek_to(riff_end)
}

/// Length of a frame's own header, before its chunks.
const FRAME_HEADER_BYTES: u64 = 16;

/// What is known of the frames of an animation.
#[derive(Debug, Default)]
struct Frames {
    found: u64,
    loops: u32,
    /// What the hungriest frame takes.
    work_bytes: u64,
}

impl Frames {
    /// Reads a frame's header and the beginning of what it holds.
    fn frame<R: Read + Seek>(
        &mut self,
        stream: &mut Stream<R>,
        outline: &mut Outline,
        end: u64,
    ) -> Result<(), Flaw> {
        let packed_bytes = end - stream.at();
        let place = (u24(stream)?, u24(stream)?);
        let size = Size::new(u24(stream)? + 1, u24(stream)? + 1);
        let thousandths = u24(stream)?;
        let disposes = stream.byte()? & 1 != 0;
        let chunk: [u8; 4] = stream.bytes()?;
        stream.skip(4)?;
        let has_alpha = match &chunk {
            b"VP8L" => stream.bytes::<5>()?[4] & 0x10 != 0,
            b"VP8 " => false,
            _ => true,
        };
        self.found += 1;
        outline.pictures = self.found;
        let covers = self.found > 1 || place == (0, 0) && outline.size == Some(size);
        outline.holes |= has_alpha || disposes || !covers;
        let canvas_px = outline.size.map_or(0, Size::pixels);
        outline.add_frame(canvas_px.max(size.pixels()), delay(thousandths, 1000));
        // Its pixels, its decoder's planes and tables, and twice the packed bytes, in buffers that doubled.
        let work_bytes = padded_pixels(size)
            .saturating_mul(4 + 9)
            .saturating_add(packed_bytes * 6);
        self.work_bytes = self.work_bytes.max(work_bytes);
        Ok(())
    }

    /// The end was reached.
    fn finish(&self, outline: &mut Outline) -> Result<(), Flaw> {
        if self.found == 0 {
            return Err(Flaw::Damaged("it holds no picture"));
        }
        if let Some(animation) = &mut outline.animation {
            animation.loops = self.loops;
        }
        outline.framed = true;
        let canvas_px = outline.size.map_or(0, Size::pixels);
        outline.add_work(canvas_px.saturating_mul(4));
        outline.add_work(self.work_bytes);
        Ok(())
    }
}

fn u24<R: Read + Seek>(stream: &mut Stream<R>) -> Result<u32, Flaw> {
    let [a, b, c] = stream.bytes()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

fn padded_pixels(size: Size) -> u64 {
    let side = |side: u32| u64::from(side).next_multiple_of(16) + 16;
    side(size.width) * side(size.height)
}
